/* `trapeze probe`: what this host offers. */
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/options.h"
#include "cli/outcome_report.h"
#include "vm/engine.h"

static const struct option probe_option_table[] = {{.name = NULL}};

static void help(FILE *out)
{
    fputs(
        "Usage: trapeze probe\n"
        "\n"
        "Tries every engine on this host and prints whether it can be used, why not, and how fast\n"
        "it is; for KVM also its API version, the extensions that matter, and whether small "
        "guests\n"
        "run in each CPU mode. Takes some milliseconds.\n",
        out);
}

static void print_details(const char *details)
{
    while (*details != '\0') {
        size_t length = strcspn(details, "\n");
        printf("      %.*s\n", (int)length, details);
        details += length + (details[length] == '\n');
    }
}

static void print_engine(const struct engine_ops *engine)
{
    struct engine_probe probe = {.usable = false};
    engine->probe(&probe);
    printf("%-4s  %s: %s\n", engine->name, probe.usable ? "usable" : "not usable", probe.why);
    if (probe.mips > 0) {
        printf("      speed: %.*f million instructions a second", probe.mips < 100 ? 1 : 0,
               probe.mips);
        if (probe.exit_us > 0) {
            printf(", %.3g us for a port access", probe.exit_us);
        }
        printf("\n");
    }
    print_details(probe.details);
}

static int run(char **arguments, int count)
{
    struct error error;
    if (options_parse(probe_option_table, arguments, count, NULL, &error) != 0) {
        print_problem(error.text);
        return EXIT_CODE_USAGE;
    }
    for (unsigned int i = 0; engine_table[i] != NULL; i++) {
        print_engine(engine_table[i]);
    }
    return EXIT_CODE_OK;
}

const struct command probe_command = {
    .name = "probe",
    .summary = "tell what this host offers: engines, their speed, KVM's abilities",
    .run = run,
    .help = help,
};
