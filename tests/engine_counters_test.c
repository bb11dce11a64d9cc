/* Counters of engines: adding them up, printing them, and reading them while vCPUs run and halt. */
#include <stdlib.h>
#include <string.h>

#include "scripted_engine.h"
#include "vm/engine_counters.h"

/* What was printed; valid until the next call. */
static const char *printed(const struct engine_counters *counters)
{
    static char text[8192];
    text[0] = '\0'; /* nothing is written when nothing is printed */
    FILE *out = fmemopen(text, sizeof(text), "w");
    engine_counters_print(counters, "engine x:", out);
    fclose(out);
    return text;
}

static bool prints(const struct engine_counter *counter, const char *expected)
{
    struct engine_counters counters = {.count = 1, .each = {*counter}};
    char line[256];
    snprintf(line, sizeof(line), "engine x:\n  %-44s%s\n", counter->name, expected);
    bool good = strcmp(printed(&counters), line) == 0;
    if (!good) {
        fprintf(stderr, "is       %sexpected %s", printed(&counters), line);
    }
    return good;
}

static void test_units(void)
{
    static const struct {
        struct engine_counter counter;
        const char *text;
    } cases[] = {
        {{"a", ENGINE_COUNT, 0, 0}, "             0"},
        {{"a", ENGINE_COUNT, 123456789, 0}, "     123456789"},
        {{"a", ENGINE_COUNT, 1, 8}, "             1 (12.50 %)"},
        {{"a", ENGINE_BYTES, 1023, 0}, "          1023 bytes"},
        {{"a", ENGINE_BYTES, 1536, 0}, "           1.5 KiB"},
        {{"a", ENGINE_BYTES, 67108864, 0}, "         64.00 MiB"},
        {{"a", ENGINE_NANOSECONDS, 1234567, 0}, "         1.235 ms"},
        {{"a", ENGINE_NANOSECONDS, 3000000, 4000000}, "         3.000 ms (75.00 %)"},
        {{"a", ENGINE_PERCENT, 999, 1000}, "         99.90 % of 1000"},
        {{"a", ENGINE_RATIO, 7, 2}, "          3.50"},
        {{"a", ENGINE_NANOSECONDS_EACH, 1000, 8}, "         125.0 ns"},
        {{"a", ENGINE_COUNT, UINT64_MAX, 0}, "18446744073709551615"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CHECK(prints(&cases[i].counter, cases[i].text));
    }
}

/* Quotients of nothing are left out, and a title without lines. */
static void test_left_out(void)
{
    const struct engine_counters nothing = {.count = 0};
    const struct engine_counters quotients = {.count = 4,
                                              .each = {{"percent", ENGINE_PERCENT, 0, 0},
                                                       {"ratio", ENGINE_RATIO, 5, 0},
                                                       {"each", ENGINE_NANOSECONDS_EACH, 5, 0},
                                                       {"count", ENGINE_COUNT, 5, 0}}};
    CHECK(printed(&nothing)[0] == '\0');
    const char *text = printed(&quotients);
    CHECK(strstr(text, "percent") == NULL && strstr(text, "ratio") == NULL);
    CHECK(strstr(text, "each") == NULL && strstr(text, "count") != NULL);
}

/* By name: a vCPU may have counted what another has not. */
static void test_sum(void)
{
    const struct engine_counters first = {
        .count = 2, .each = {{"hits", ENGINE_PERCENT, 1, 2}, {"blocks", ENGINE_COUNT, 5, 0}}};
    const struct engine_counters second = {.count = 3,
                                           .each = {{"blocks", ENGINE_COUNT, 7, 0},
                                                    {"more", ENGINE_BYTES, 100, 0},
                                                    {"hits", ENGINE_PERCENT, 2, 2}}};
    struct engine_counters sum = {.count = 0};
    engine_counters_add(&sum, &first);
    engine_counters_add(&sum, &second);
    CHECK_EQUAL(sum.count, 3);
    CHECK(strcmp(sum.each[0].name, "hits") == 0 && sum.each[0].unit == ENGINE_PERCENT);
    CHECK(sum.each[0].value == 3 && sum.each[0].of == 4);
    CHECK_EQUAL(sum.each[1].value, 12);
    CHECK(strcmp(sum.each[2].name, "more") == 0 && sum.each[2].value == 100);

    /* One too many. */
    struct engine_counters full = {.count = ENGINE_COUNTERS_MAX};
    for (unsigned int i = 0; i < ENGINE_COUNTERS_MAX; i++) {
        full.each[i].name = "hits";
    }
    engine_counters_add(&full, &second);
    CHECK_EQUAL(full.count, ENGINE_COUNTERS_MAX);
    CHECK_EQUAL(full.each[0].value, 2);
}

/* How many steps the vCPUs have played, by the statistics that vm_print_stats prints. */
static uint64_t steps_printed(struct vm *vm)
{
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    vm_print_stats(vm, out);
    fclose(out);
    const char *line = strstr(text, "engine script:\n  steps played");
    uint64_t steps = line != NULL ? strtoull(strchr(line, 'd') + 1, NULL, 10) : UINT64_MAX;
    free(text);
    return steps;
}

/* vCPU 0 halts after two steps, vCPU 1 waits to be kicked after three. */
static void test_while_running(void)
{
    struct vm *vm = make_scripted(2);
    script.steps[0][0] = exit_step(EXIT_KICKED);
    script.steps[0][1] = exit_step(EXIT_HLT);
    script.steps[0][1].rflags = X86_FLAGS_ONE;
    script.steps[1][0] = exit_step(EXIT_KICKED);
    script.steps[1][1] = exit_step(EXIT_KICKED);
    script.steps[1][2] = exit_step(EXIT_KICKED);
    vm->vcpus[1].initial.activity = X86_ACTIVE;
    CHECK_EQUAL(steps_printed(vm), UINT64_MAX); /* nothing ran: nothing is printed */
    start(vm);
    wait_until(&script.runs[0], 2);
    wait_until(&script.runs[1], 4);
    while (steps_printed(vm) != 5) {
        vm_update_stats(vm); /* gives up after some time, should the machine be slow */
    }
    vm_destroy(vm);
}

/* What the last run counted is there after the end, whoever asked before. */
static void test_at_the_end(void)
{
    struct vm *vm = make_scripted(1);
    script.steps[0][0] = exit_step(EXIT_KICKED);
    script.steps[0][1] = exit_step(EXIT_SHUTDOWN);
    start(vm);
    CHECK_EQUAL(vm_wait(vm), VM_TRIPLE_FAULT);
    CHECK_EQUAL(steps_printed(vm), 2);
    vm_destroy(vm);
}

int main(void)
{
    test_units();
    test_left_out();
    test_sum();
    test_while_running();
    test_at_the_end();
    return check_summary();
}
