/*
 * Random guest programs on the soft engine, interpreted and translated, as tests/translate_test.c
 * runs them.
 *
 * Input: eight bytes of seed for the registers and memory, then the decisions of which the program
 * is made (program_generate).
 */
#include <stdlib.h>
#include <string.h>

#include "../tests/program.h"

#define PATIENCE_MS 1000

struct machines {
    struct program_machine *expected, *actual;
    struct differential_forms *forms;
};

/*
 * The machines stay until the end, and what they hold may be known only to memory that LSan does
 * not look at. tests/translate_test.c takes its machines down and shows leaks.
 */
const char *__asan_default_options(void);

const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}

static void require(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void open_machines(struct machines *machines)
{
    static const struct program_machine_options expected = {
        .arguments = "tier=interpreter", .vcpu_count = 1, .patience_ms = PATIENCE_MS};
    static const struct program_machine_options actual = {.arguments =
                                                              "tier=translate,translate-after=0",
                                                          .vcpu_count = 1,
                                                          .patience_ms = 20 * PATIENCE_MS};
    struct error error = {{0}};
    require(program_machine_create(&expected, &machines->expected, &error) == 0);
    require(program_machine_create(&actual, &machines->actual, &error) == 0);
    machines->forms =
        differential_forms_create(program_machine_cpuid(machines->expected), X86_OP_INVALID);
    require(machines->forms != NULL);
}

static bool agree(const struct machines *machines, const struct program *program, FILE *to)
{
    static const struct program_tolerance none = {0};
    static struct program_outcome expected, again, actual;
    program_machine_run(machines->expected, program, &expected);
    if (expected.end == PROGRAM_ENDLESS) {
        return true;
    }
    program_machine_run(machines->actual, program, &actual);
    if (program_compare(&expected, &actual, &none, NULL) || program_is_open(program, &expected)) {
        return true;
    }
    program_machine_run(machines->expected, program, &again);
    if (!program_compare(&expected, &again, &none, NULL)) {
        return true; /* it tells the time, or the like */
    }
    program_compare(&expected, &actual, &none, to);
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct machines machines;
    static struct program program;
    uint64_t seed;
    if (size < sizeof(seed) + 1) {
        return 0;
    }
    if (machines.expected == NULL) {
        open_machines(&machines);
    }
    memcpy(&seed, data, sizeof(seed));
    program_generate(machines.forms, seed, data + sizeof(seed), size - sizeof(seed), &program);
    if (!agree(&machines, &program, stderr)) {
        program_show(&program, stderr);
        program_write("translate-difference", &program);
        abort();
    }
    return 0;
}
