/* `trapeze check-state`: which rules of VM entry does a saved vCPU state break? */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/options.h"
#include "cli/outcome_report.h"
#include "cli/state_file.h"
#include "x86/entry_checks.h"

struct check_options {
    const char *file;
    bool list;
};

static int set_file(void *target, const char *value, struct error *error)
{
    return option_set_once(&((struct check_options *)target)->file, value,
                           "one file is checked at a time", error);
}

static int set_list(void *target, const char *value, struct error *error)
{
    (void)value;
    (void)error;
    ((struct check_options *)target)->list = true;
    return 0;
}

static const struct option check_option_table[] = {
    {OPTION_PLAIN, 0, "FILE", "the state, as 'trapeze run --dump-state FILE' writes it", set_file},
    {"list", 0, NULL, "list the rules instead, by the manual's sections", set_list},
    {.name = NULL},
};

static void help(FILE *out)
{
    fputs(
        "Usage: trapeze check-state FILE\n"
        "       trapeze check-state --list\n"
        "\n"
        "Reads the state of a vCPU from a file, as 'trapeze run --dump-state FILE' writes it, and\n"
        "prints which of the checks that a processor makes on VM entry it would not pass, with\n"
        "the registers that matter. The file is text: a name and a number on each line.\n"
        "\n"
        "Options:\n",
        out);
    options_print(check_option_table, out);
    fputs("\nExit codes:\n"
          "  0       the state can be entered\n"
          "  1       rules are broken\n"
          "  126     bad usage, or a file that can't be read\n",
          out);
}

static int parse(char **arguments, int count, struct check_options *options, struct error *error)
{
    *options = (struct check_options){.file = NULL};
    int code = options_parse(check_option_table, arguments, count, options, error);
    if (code != 0) {
        return code;
    }
    if (options->file == NULL && !options->list) {
        return error_set(error, EINVAL, "nothing to check: give the FILE of a saved vCPU state");
    }
    if (options->file != NULL && options->list) {
        return error_set(error, EINVAL, "--list takes no file");
    }
    return 0;
}

static void print_registers(const struct entry_rule *rule)
{
    const char *separator = "  for ";
    for (unsigned int i = 0; i < entry_instance_count(rule->instances); i++) {
        if ((rule->mask & (1u << i)) != 0) {
            printf("%s%s", separator, entry_instance_name(rule->instances, i));
            separator = ", ";
        }
    }
}

static void list_rules(void)
{
    for (const struct entry_section *const *section = entry_sections; *section != NULL; section++) {
        printf("%s%s\n", section == entry_sections ? "" : "\n", (*section)->title);
        for (unsigned int i = 0; i < (*section)->rule_count; i++) {
            const struct entry_rule *rule = &(*section)->rules[i];
            printf("  %s", rule->id);
            print_registers(rule);
            printf("\n      %s\n", rule->words);
        }
    }
}

static unsigned int count_rules(void)
{
    unsigned int count = 0;
    for (const struct entry_section *const *section = entry_sections; *section != NULL; section++) {
        count += (*section)->rule_count;
    }
    return count;
}

static int check(const char *file)
{
    struct saved_state state;
    struct error error;
    if (state_file_read(file, &state, &error) != 0) {
        print_problem(error.text);
        return EXIT_CODE_USAGE;
    }
    struct entry_violation violations[ENTRY_VIOLATIONS_MAX];
    unsigned int count = entry_checks_run(&state.entry, violations, ENTRY_VIOLATIONS_MAX);
    for (unsigned int i = 0; i < count && i < ENTRY_VIOLATIONS_MAX; i++) {
        char text[ENTRY_TEXT_MAX];
        entry_violation_describe(&violations[i], text, sizeof(text));
        fputs(text, stdout);
        fputc('\n', stdout);
    }
    if (count == 0) {
        printf("VM entry takes this state: it keeps all %u rules\n", count_rules());
        return EXIT_CODE_OK;
    }
    printf("VM entry refuses this state: %u %s broken\n", count,
           count == 1 ? "rule is" : "rules are");
    return EXIT_CODE_RULES_BROKEN;
}

static int run(char **arguments, int count)
{
    struct check_options options;
    struct error error;
    if (parse(arguments, count, &options, &error) != 0) {
        print_problem(error.text);
        return EXIT_CODE_USAGE;
    }
    if (options.list) {
        list_rules();
        return EXIT_CODE_OK;
    }
    return check(options.file);
}

const struct command check_state_command = {
    .name = "check-state",
    .summary = "tell why VM entry refuses a vCPU's saved state",
    .run = run,
    .help = help,
};
