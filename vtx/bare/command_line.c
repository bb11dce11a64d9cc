#include "vtx/bare/command_line.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#define MEMORY_MIB_MAX 3072
#define COUNT_MAX      1000000

bool command_line_number(const char *text, unsigned int maximum, unsigned int *number)
{
    uint64_t value = 0;
    if (*text == 0) {
        return false;
    }
    for (; *text != 0; text++) {
        if (*text < '0' || *text > '9') {
            return false;
        }
        value = value * 10 + (uint64_t)(*text - '0');
        if (value > maximum) {
            return false;
        }
    }
    *number = (unsigned int)value;
    return true;
}

/* An option that is a number: where it goes. */
struct number_option {
    const char *name;
    size_t field; /* of an unsigned int in struct bare_options */
    unsigned int maximum;
};

static const struct number_option number_options[] = {
    {"memory=", offsetof(struct bare_options, memory_mib), MEMORY_MIB_MAX},
    {"timeout=", offsetof(struct bare_options, timeout), COUNT_MAX},
    {"trace=", offsetof(struct bare_options, trace), COUNT_MAX},
};

/* A word that stands for itself: which bool it sets, or clears. */
struct switch_option {
    const char *word;
    size_t field;
    bool value;
};

static const struct switch_option switch_options[] = {
    {"trap=all", offsetof(struct bare_options, trap_all), true},
    {"trap=shadow", offsetof(struct bare_options, trap_all), false},
    {"exits=1", offsetof(struct bare_options, exits), true},
    {"verbose=1", offsetof(struct bare_options, verbose), true},
};

static const struct {
    const char *word;
    enum bare_command command;
} commands[] = {{"test", BARE_TEST}, {"linux", BARE_LINUX}, {"flat", BARE_FLAT}};

static bool set_command(const char *word, struct bare_options *options)
{
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (options->command == BARE_DEFAULT && strcmp(word, commands[i].word) == 0) {
            options->command = commands[i].command;
            return true;
        }
    }
    return false;
}

static bool set_option(const char *word, struct bare_options *options)
{
    for (size_t i = 0; i < sizeof(switch_options) / sizeof(switch_options[0]); i++) {
        if (strcmp(word, switch_options[i].word) == 0) {
            *(bool *)((char *)options + switch_options[i].field) = switch_options[i].value;
            return true;
        }
    }
    for (size_t i = 0; i < sizeof(number_options) / sizeof(number_options[0]); i++) {
        const struct number_option *option = &number_options[i];
        size_t length = strlen(option->name);
        if (strncmp(word, option->name, length) == 0) {
            return command_line_number(word + length, option->maximum,
                                       (unsigned int *)(void *)((char *)options + option->field));
        }
    }
    return false;
}

static bool take_word(const char *word, struct bare_options *options, struct error *error)
{
    if (set_command(word, options) || set_option(word, options)) {
        return true;
    }
    if (options->command == BARE_TEST && options->name == NULL) {
        options->name = word;
        return true;
    }
    error_set(error, EINVAL,
              "the command line has '%s', which is none of: test [NAME], linux, flat, "
              "memory=MIB (at most %d), trap=all|shadow, trace=N, timeout=SECONDS, exits=1, "
              "verbose=1, append=TEXT",
              word, MEMORY_MIB_MAX);
    return false;
}

bool command_line_parse(char *line, struct bare_options *options, struct error *error)
{
    static const char append[] = "append=";
    *options = (struct bare_options){.append = ""};
    while (*line != 0) {
        if (*line == ' ') {
            line++;
            continue;
        }
        if (strncmp(line, append, sizeof(append) - 1) == 0) {
            options->append = line + sizeof(append) - 1;
            return true;
        }
        const char *word = line;
        while (*line != 0 && *line != ' ') {
            line++;
        }
        if (*line == ' ') {
            *line++ = 0;
        }
        if (!take_word(word, options, error)) {
            return false;
        }
    }
    return true;
}

void command_line_value(const char *line, const char *name, char *value, size_t size)
{
    size_t length = 0;
    size_t name_length = strlen(name);
    for (const char *at = line; (at = strstr(at, name)) != NULL; at++) {
        if ((at == line || at[-1] == ' ') && at[name_length] == '=') {
            for (at += name_length + 1; *at != 0 && *at != ' ' && length + 1 < size; at++) {
                value[length++] = *at;
            }
            break;
        }
    }
    value[length] = 0;
}
