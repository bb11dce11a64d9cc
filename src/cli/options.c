#include "cli/options.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#define WORD_MAX  32u /* longer words have no near ones */
#define WORDS_MAX 64u
#define NEAR      3u /* edits */

/* How many characters have to be inserted, removed or changed to make one word the other. */
static unsigned int edit_distance(const char *left, const char *right)
{
    unsigned int row[WORD_MAX + 1];
    size_t width = strlen(right);
    for (unsigned int column = 0; column <= width; column++) {
        row[column] = column;
    }
    for (unsigned int line = 1; left[line - 1] != '\0'; line++) {
        unsigned int diagonal = row[0];
        row[0] = line;
        for (size_t column = 1; column <= width; column++) {
            unsigned int changed = diagonal + (left[line - 1] != right[column - 1]);
            unsigned int best = row[column] < row[column - 1] ? row[column] : row[column - 1];
            diagonal = row[column];
            row[column] = best + 1 < changed ? best + 1 : changed;
        }
    }
    return row[width];
}

const char *nearest_word(const char *word, const char *const *words)
{
    const char *nearest = NULL;
    size_t length = strlen(word);
    unsigned int limit = length < 2 * NEAR ? (unsigned int)(length + 1) / 2 : NEAR;
    if (length > WORD_MAX) {
        return NULL;
    }
    for (; *words != NULL; words++) {
        if (strlen(*words) > WORD_MAX) {
            continue;
        }
        unsigned int distance = edit_distance(word, *words);
        /* The beginning of a word is near it, however much is missing. */
        if (length >= 2 && strncmp(word, *words, length) == 0) {
            distance = 0;
        }
        if (distance <= limit && (nearest == NULL || distance < limit)) {
            nearest = *words;
            limit = distance;
        }
    }
    return nearest;
}

static int unknown_option(const struct option *table, const char *name, struct error *error)
{
    const char *words[WORDS_MAX];
    unsigned int count = 0;
    for (; table->name != NULL && count < WORDS_MAX - 1; table++) {
        if (table->name[0] != '\0') {
            words[count++] = table->name;
        }
    }
    words[count] = NULL;
    const char *nearest = nearest_word(name, words);
    if (nearest == NULL) {
        return error_set(error, EINVAL, "there is no option --%s; --help lists those there are",
                         name);
    }
    return error_set(error, EINVAL, "there is no option --%s; did you mean --%s?", name, nearest);
}

static const struct option *find_long(const struct option *table, const char *name, size_t length)
{
    for (; table->name != NULL; table++) {
        if (strlen(table->name) == length && memcmp(table->name, name, length) == 0) {
            return table;
        }
    }
    return NULL;
}

static const struct option *find_letter(const struct option *table, char letter)
{
    for (; table->name != NULL; table++) {
        if (letter != '\0' && table->letter == letter) {
            return table;
        }
    }
    return NULL;
}

/* Splits one argument into its option and the value behind '=', if any. */
static int find_option(const struct option *table, const char *argument,
                       const struct option **option, const char **value, struct error *error)
{
    *value = NULL;
    if (argument[0] == '-' && argument[1] == '-' && argument[2] != '\0') {
        const char *name = argument + 2;
        const char *equals = strchr(name, '=');
        size_t length = equals != NULL ? (size_t)(equals - name) : strlen(name);
        *option = length != 0 ? find_long(table, name, length) : NULL;
        *value = equals != NULL ? equals + 1 : NULL;
        if (*option == NULL) {
            char copy[64];
            snprintf(copy, sizeof(copy), "%.*s", (int)(length < 60 ? length : 60), name);
            return unknown_option(table, copy, error);
        }
        return 0;
    }
    if (argument[0] == '-' && argument[1] != '\0' && argument[2] == '\0') {
        *option = find_letter(table, argument[1]);
        if (*option != NULL) {
            return 0;
        }
    }
    if (argument[0] == '-') {
        return error_set(error, EINVAL, "there is no option %s; --help lists those there are",
                         argument);
    }
    *option = find_long(table, OPTION_PLAIN, 0);
    if (*option != NULL) {
        *value = argument;
        return 0;
    }
    return error_set(error, EINVAL, "'%s' is no option; a kernel is given with --kernel FILE",
                     argument);
}

/* "-vv": several short options without values in one word. */
static bool are_letters(const struct option *table, const char *argument)
{
    if (argument[0] != '-' || argument[1] == '\0' || argument[1] == '-') {
        return false;
    }
    for (const char *letter = argument + 1; *letter != '\0'; letter++) {
        const struct option *option = find_letter(table, *letter);
        if (option == NULL || option->value != NULL) {
            return false;
        }
    }
    return true;
}

static int set_letters(const struct option *table, const char *argument, void *target,
                       struct error *error)
{
    int result = 0;
    for (const char *letter = argument + 1; *letter != '\0' && result == 0; letter++) {
        result = find_letter(table, *letter)->set(target, NULL, error);
    }
    return result;
}

int options_parse(const struct option *table, char **arguments, int count, void *target,
                  struct error *error)
{
    for (int i = 0; i < count; i++) {
        if (are_letters(table, arguments[i])) {
            int code = set_letters(table, arguments[i], target, error);
            if (code != 0) {
                return code;
            }
            continue;
        }
        const struct option *option = NULL;
        const char *value;
        int result = find_option(table, arguments[i], &option, &value, error);
        if (result != 0) {
            return result;
        }
        if (option->value == NULL && value != NULL) {
            return error_set(error, EINVAL, "--%s takes no value", option->name);
        }
        if (option->value != NULL && value == NULL) {
            if (i + 1 == count) {
                return error_set(error, EINVAL, "--%s needs a value: --%s %s", option->name,
                                 option->name, option->value);
            }
            value = arguments[++i];
        }
        result = option->set(target, value, error);
        if (result != 0) {
            if (option->name[0] != '\0') {
                error_prefix(error, "--%s", option->name);
            }
            return result;
        }
    }
    return 0;
}

int option_set_once(const char **place, const char *value, const char *only_one,
                    struct error *error)
{
    if (*place != NULL) {
        return error_set(error, EINVAL, "%s: '%s' or '%s'?", only_one, *place, value);
    }
    *place = value;
    return 0;
}

#define HELP_COLUMN 26

void options_print(const struct option *table, FILE *out)
{
    for (; table->name != NULL; table++) {
        char head[64];
        char letter[8] = "    ";
        if (table->letter != '\0') {
            snprintf(letter, sizeof(letter), "-%c, ", table->letter);
        }
        snprintf(head, sizeof(head), "  %s%s%s%s%s", letter, table->name[0] != '\0' ? "--" : "",
                 table->name, table->value != NULL && table->name[0] != '\0' ? " " : "",
                 table->value != NULL ? table->value : "");
        fprintf(out, "%-*s  ", HELP_COLUMN, head);
        for (const char *at = table->help; *at != '\0'; at++) {
            fputc(*at, out);
            if (*at == '\n') {
                fprintf(out, "%*s", HELP_COLUMN + 2, "");
            }
        }
        fputc('\n', out);
    }
}
