/* What the soft engine's counters become for people. */
#include <string.h>

#include "check.h"
#include "engines/soft/statistics.h"

static struct soft_block_statistics blocks = {
    .built = 50, .dropped = 5, .flushes = 1, .arena_bytes = 4096};

static struct translate_statistics translator = {
    .blocks_translated = 10,
    .guest_instructions_translated = 80,
    .guest_bytes = 300,
    .host_bytes = 1200,
    .translate_ns = 16000,
    .blocks_dropped = 2,
    .regions_evicted = 1,
    .links_made = 12,
    .links_unmade = 3,
    .blocks_run = 1000,
    .translated_entries = 40,
    .dispatches = 50,
    .dispatch_hits = 45,
    .jump_hits = 90,
    .jump_misses = 10,
    .direct_exits = 7,
    .tlb_accesses = 2000,
    .slow_reads = 6,
    .slow_writes = 4,
    .group_misses = 8,
    .callouts = 100,
    .interpreted_blocks = 60,
    .interpreted_instructions = 200,
    .ns_translated = 75000,
    .ns_interpreter = 9000,
};

static struct engine_counter rows[ENGINE_COUNTERS_MAX];
static unsigned int row_count;

static void make_rows(uint64_t instructions)
{
    struct soft_statistics_source source = {
        .blocks = &blocks, .translator = &translator, .instructions = instructions};
    row_count = soft_statistics_rows(&source, rows, ENGINE_COUNTERS_MAX);
}

/* The row whose name begins so and has these numbers; checks that there is one of that name. */
static bool has_row(const char *begin, uint64_t value, uint64_t of)
{
    const struct engine_counter *found = NULL;
    for (unsigned int i = 0; i < row_count; i++) {
        if (strncmp(rows[i].name, begin, strlen(begin)) == 0) {
            CHECK(found == NULL);
            found = &rows[i];
        }
    }
    return found != NULL && found->value == value && found->of == of;
}

static void test_all(void)
{
    make_rows(4000);
    CHECK(has_row("blocks translated", 10, 0));
    CHECK(has_row("... instructions in them", 80, 0));
    CHECK(has_row("... guest code", 300, 0));
    CHECK(has_row("... host code", 1200, 0));
    CHECK(has_row("... host bytes for a guest byte", 1200, 300));
    CHECK(has_row("... time for an instruction", 16000, 80));
    CHECK(has_row("... regions evicted", 1, 0));
    CHECK(has_row("links between blocks made", 12, 0));
    CHECK(has_row("... undone", 3, 0));
    CHECK(has_row("chain rate", 960, 1000));
    CHECK(has_row("translated code entered from C", 40, 0));
    CHECK(has_row("... left by a jump without a link", 7, 0));
    CHECK(has_row("jump cache hits, indirect jumps", 90, 100));
    CHECK(has_row("jump cache hits, from C", 45, 50));
    CHECK(has_row("TLB hits", 1990, 2000));
    CHECK(has_row("... slow reads", 6, 0) && has_row("... slow writes", 4, 0));
    CHECK(has_row("... shared checks made again", 8, 0));
    CHECK(has_row("instructions called out to C", 100, 4000));
    CHECK(has_row("time in translated code", 75000, 100000));
    CHECK(has_row("time in the interpreter", 9000, 100000));
    CHECK(has_row("time translating", 16000, 100000));
    CHECK(has_row("interpreter: blocks decoded", 50, 0));
    CHECK(has_row("interpreter: blocks dropped", 5, 0));
    CHECK(has_row("interpreter: times that all were dropped", 1, 0));
    CHECK(has_row("interpreter: memory for blocks", 4096, 0));
    CHECK(has_row("interpreter: blocks run", 60, 0));
    CHECK(has_row("interpreter: instructions run", 200, 4000));
    CHECK(row_count < ENGINE_COUNTERS_MAX);
}

/* The sum over vCPUs goes by names: no two may be the same. */
static void test_names(void)
{
    translator.lockstep_blocks = 1;
    make_rows(4000);
    translator.lockstep_blocks = 0;
    for (unsigned int i = 0; i < row_count; i++) {
        for (unsigned int k = i + 1; k < row_count; k++) {
            if (!CHECK(strcmp(rows[i].name, rows[k].name) != 0)) {
                fprintf(stderr, "    %s\n", rows[i].name);
            }
        }
    }
}

/* Without --stats some numbers stay 0; nothing may be concluded from them. */
static void test_not_counted(void)
{
    struct translate_statistics all = translator;
    translator.blocks_run = translator.tlb_accesses = translator.jump_hits = 0;
    translator.jump_misses = translator.ns_translated = translator.ns_interpreter = 0;
    make_rows(0);
    CHECK(has_row("chain rate", 0, 0)); /* a share of nothing: not printed */
    CHECK(has_row("TLB hits", 0, 0));
    CHECK(has_row("jump cache hits, indirect jumps", 0, 0));
    CHECK(!has_row("time translating", 16000, 16000));
    CHECK(!has_row("interpreter: instructions run", 200, 0));
    CHECK(has_row("instructions called out to C", 100, 0));
    translator = all;
}

static void test_interpreter_alone(void)
{
    struct translate_statistics all = translator;
    memset(&translator, 0, sizeof(translator));
    make_rows(4000);
    CHECK_EQUAL(row_count, 4);
    CHECK(has_row("interpreter: blocks decoded", 50, 0));
    translator = all;
}

static void test_no_room(void)
{
    struct soft_statistics_source source = {.blocks = &blocks, .translator = &translator};
    rows[3].name = "untouched";
    CHECK_EQUAL(soft_statistics_rows(&source, rows, 3), 3);
    CHECK(strcmp(rows[3].name, "untouched") == 0);
}

int main(void)
{
    test_all();
    test_names();
    test_not_counted();
    test_interpreter_alone();
    test_no_room();
    return check_summary();
}
