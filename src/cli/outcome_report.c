#include "cli/outcome_report.h"

struct outcome_entry {
    int exit_code;
    const char *sentence;
    const char *help;
};

static const struct outcome_entry outcomes[] = {
    [VM_RUNNING] = {EXIT_CODE_MONITOR_ERROR, "the run ended without an outcome", NULL},
    [VM_POWERED_OFF] = {EXIT_CODE_OK, "the guest powered off", "the guest powered off"},
    [VM_DEBUG_EXIT] = {0, NULL,
                       "the guest ended the run through the debug-exit port\n"
                       "with this code (255 stands for all above)"},
    [VM_RESET] = {EXIT_CODE_RESET, "the guest asked for a reboot", "the guest asked for a reboot"},
    [VM_PANICKED] = {EXIT_CODE_PANIC, "the guest's kernel panicked", "the guest's kernel panicked"},
    [VM_TRIPLE_FAULT] = {EXIT_CODE_TRIPLE_FAULT, "the guest's CPU shut down: a triple fault",
                         "triple fault: the guest's CPU shut down"},
    [VM_STUCK] = {EXIT_CODE_STUCK,
                  "the guest is stuck: every vCPU is halted and nothing can wake it",
                  "stuck: every vCPU halted with interrupts off"},
    [VM_TIMED_OUT] = {EXIT_CODE_TIMEOUT, "the time is over (--timeout)",
                      "the time given with --timeout is over"},
    [VM_ENGINE_FAILED] = {EXIT_CODE_MONITOR_ERROR, "the monitor cannot go on",
                          "the monitor, the engine or the host failed"},
    [VM_QUIT] = {EXIT_CODE_QUIT, "ended on request",
                 "ended on request: Ctrl-A x, SIGINT, SIGTERM, SIGHUP"},
};

/* The order in which help lists them. */
static const enum vm_outcome help_order[] = {
    VM_POWERED_OFF, VM_DEBUG_EXIT, VM_RESET,         VM_PANICKED, VM_TRIPLE_FAULT,
    VM_STUCK,       VM_TIMED_OUT,  VM_ENGINE_FAILED, VM_QUIT,
};

int outcome_exit_code(enum vm_outcome outcome, int code)
{
    if (outcome == VM_DEBUG_EXIT) {
        return code >= 0 && code <= DEBUG_EXIT_CODE_MAX ? code : DEBUG_EXIT_CODE_MAX;
    }
    return outcomes[outcome].exit_code;
}

void outcome_sentence(enum vm_outcome outcome, int code, const char *details, char *text,
                      size_t size)
{
    char sentence[128];
    if (outcome == VM_DEBUG_EXIT) {
        snprintf(sentence, sizeof(sentence), "the guest ended the run with code %u",
                 (unsigned int)code);
    } else {
        snprintf(sentence, sizeof(sentence), "%s", outcomes[outcome].sentence);
    }
    snprintf(text, size, "%s%s%s", sentence, details[0] != '\0' ? ": " : "", details);
}

static void print_code(FILE *out, const char *code, const char *help)
{
    fprintf(out, "  %-6s  ", code);
    for (; *help != '\0'; help++) {
        fputc(*help, out);
        if (*help == '\n') {
            fprintf(out, "%10s", "");
        }
    }
    fputc('\n', out);
}

void outcome_print_codes(FILE *out)
{
    for (unsigned int i = 0; i < sizeof(help_order) / sizeof(help_order[0]); i++) {
        const struct outcome_entry *entry = &outcomes[help_order[i]];
        char code[16] = "0..255";
        if (help_order[i] != VM_DEBUG_EXIT) {
            snprintf(code, sizeof(code), "%d", entry->exit_code);
        }
        print_code(out, code, entry->help);
        if (help_order[i] == VM_ENGINE_FAILED) {
            print_code(out, "126", "bad usage, or a file that can't be used");
        }
    }
}

void print_problem(const char *text)
{
    fprintf(stderr, "trapeze: %s\n", text);
}
