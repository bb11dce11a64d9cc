/* The local APIC's timer: one-shot, periodic, TSC-deadline. */
#include "check.h"
#include "chipset/clock_ratio.h"
#include "chipset_lapic_bench.h"

#define DIVIDE_BY_1  0xbu
#define DIVIDE_BY_2  0x0u
#define DIVIDE_BY_16 0x3u
#define PERIODIC     0x20000u
#define DEADLINE     0x40000u

static bool take(struct bench *bench, int vector)
{
    bool good = lapic_acknowledge(&bench->lapics, 0) == vector;

    write_apic(bench, 0, EOI, 0);
    return good;
}

static void test_one_shot(void)
{
    struct bench bench;

    set_up_enabled(&bench, 1);
    write_apic(&bench, 0, LVT_TIMER, 0x50);
    write_apic(&bench, 0, DIVIDE, DIVIDE_BY_16);
    CHECK_EQUAL(read_apic(&bench, 0, CURRENT_COUNT), 0);
    write_apic(&bench, 0, INITIAL_COUNT, 1000);
    CHECK_EQUAL(read_apic(&bench, 0, CURRENT_COUNT), 1000);
    manual_timer_advance(&bench.timers, 16 * 400);
    CHECK_EQUAL(read_apic(&bench, 0, CURRENT_COUNT), 600);
    manual_timer_advance(&bench.timers, 16 * 600 - 1);
    CHECK_EQUAL(read_apic(&bench, 0, CURRENT_COUNT), 1);
    CHECK(!lapic_pending(&bench.lapics, 0));
    manual_timer_advance(&bench.timers, 1);
    CHECK_EQUAL(read_apic(&bench, 0, CURRENT_COUNT), 0);
    CHECK(take(&bench, 0x50));
    manual_timer_advance(&bench.timers, NANOSECONDS_PER_SECOND);
    CHECK(!lapic_pending(&bench.lapics, 0)); /* once */
    CHECK_EQUAL(read_apic(&bench, 0, INITIAL_COUNT), 1000);
    /* 0 stops it. */
    write_apic(&bench, 0, INITIAL_COUNT, 1000);
    write_apic(&bench, 0, INITIAL_COUNT, 0);
    manual_timer_advance(&bench.timers, NANOSECONDS_PER_SECOND);
    CHECK(!lapic_pending(&bench.lapics, 0));
    /* Masked it counts all the same. */
    write_apic(&bench, 0, LVT_TIMER, 0x10050);
    write_apic(&bench, 0, INITIAL_COUNT, 100);
    manual_timer_advance(&bench.timers, 800);
    CHECK_EQUAL(read_apic(&bench, 0, CURRENT_COUNT), 50);
    manual_timer_advance(&bench.timers, 800);
    CHECK_EQUAL(read_apic(&bench, 0, CURRENT_COUNT), 0);
    CHECK(!lapic_pending(&bench.lapics, 0));
}

static void test_dividers(void)
{
    static const uint32_t settings[8] = {0xb, 0x0, 0x1, 0x2, 0x3, 0x8, 0x9, 0xa};
    struct bench bench;

    set_up_enabled(&bench, 1);
    write_apic(&bench, 0, LVT_TIMER, 0x50);
    for (unsigned int i = 0; i < 8; i++) { /* 1, 2, 4 … 128 */
        write_apic(&bench, 0, DIVIDE, settings[i]);
        CHECK_EQUAL(read_apic(&bench, 0, DIVIDE), settings[i]);
        write_apic(&bench, 0, INITIAL_COUNT, 1000);
        manual_timer_advance(&bench.timers, UINT64_C(300) << i);
        CHECK_EQUAL(read_apic(&bench, 0, CURRENT_COUNT), 700);
    }
    /* In the middle of a count it goes on at the new speed. */
    write_apic(&bench, 0, DIVIDE, DIVIDE_BY_2);
    CHECK_EQUAL(read_apic(&bench, 0, CURRENT_COUNT), 700);
    manual_timer_advance(&bench.timers, 2 * 699);
    CHECK(!lapic_pending(&bench.lapics, 0));
    manual_timer_advance(&bench.timers, 2);
    CHECK(take(&bench, 0x50));
    write_apic(&bench, 0, DIVIDE, 0xffffffff);
    CHECK_EQUAL(read_apic(&bench, 0, DIVIDE), 0xb);
    /* The largest of all. */
    write_apic(&bench, 0, DIVIDE, 0xa);
    write_apic(&bench, 0, INITIAL_COUNT, UINT32_MAX);
    manual_timer_advance(&bench.timers, UINT64_C(0xffffffff) * 128 - 1);
    CHECK(!lapic_pending(&bench.lapics, 0));
    manual_timer_advance(&bench.timers, 1);
    CHECK(lapic_pending(&bench.lapics, 0));
}

static void test_periodic(void)
{
    struct bench bench;
    unsigned int ticks = 0;

    set_up_enabled(&bench, 1);
    write_apic(&bench, 0, LVT_TIMER, PERIODIC | 0x51);
    write_apic(&bench, 0, DIVIDE, DIVIDE_BY_1);
    write_apic(&bench, 0, INITIAL_COUNT, 1000003);
    for (unsigned int i = 0; i < 1000; i++) {
        manual_timer_advance(&bench.timers, 1000003);
        ticks += take(&bench, 0x51);
    }
    CHECK_EQUAL(ticks, 1000);
    manual_timer_advance(&bench.timers, 1000);
    CHECK_EQUAL(read_apic(&bench, 0, CURRENT_COUNT), 999003);
    /* A host that overslept: a few ticks are made up for, and then the old rhythm goes on. */
    uint64_t before = bench.timers.fired;
    manual_timer_oversleep(&bench.timers, UINT64_C(100) * 1000003);
    manual_timer_advance(&bench.timers, 20 * TIMER_PERIOD_MIN_NS);
    CHECK(bench.timers.fired - before <= TIMER_CATCH_UP_MAX + 2);
    CHECK_EQUAL(read_apic(&bench, 0, CURRENT_COUNT), 1000003 - 1000 - 20 * TIMER_PERIOD_MIN_NS);
    /* A period of 1 ns does not flood the host. */
    write_apic(&bench, 0, INITIAL_COUNT, 1);
    before = bench.timers.fired;
    manual_timer_advance(&bench.timers, NANOSECONDS_PER_SECOND / 10);
    CHECK(bench.timers.fired - before <= NANOSECONDS_PER_SECOND / 10 / TIMER_PERIOD_MIN_NS + 1);
    CHECK(bench.timers.fired - before >= 1000);
    /* Periodic to one-shot: the last cycle ends it. */
    write_apic(&bench, 0, INITIAL_COUNT, 1000000);
    write_apic(&bench, 0, LVT_TIMER, 0x52);
    lapic_acknowledge(&bench.lapics, 0);
    write_apic(&bench, 0, EOI, 0);
    manual_timer_advance(&bench.timers, 1000000);
    CHECK(take(&bench, 0x52));
    CHECK(bench.timers.first == NULL);
}

/* From one-shot to periodic and back the count goes on; what was due came in the old mode. */
static void test_change_of_mode(void)
{
    struct bench bench;

    set_up_enabled(&bench, 1);
    write_apic(&bench, 0, DIVIDE, DIVIDE_BY_1);
    write_apic(&bench, 0, LVT_TIMER, 0x50);
    write_apic(&bench, 0, INITIAL_COUNT, 1000);
    manual_timer_advance(&bench.timers, 400);
    write_apic(&bench, 0, LVT_TIMER, PERIODIC | 0x50);
    CHECK_EQUAL(read_apic(&bench, 0, CURRENT_COUNT), 600);
    manual_timer_advance(&bench.timers, 900);
    CHECK_EQUAL(read_apic(&bench, 0, CURRENT_COUNT), 700);
    CHECK(take(&bench, 0x50));
    write_apic(&bench, 0, LVT_TIMER, 0x50);
    CHECK_EQUAL(read_apic(&bench, 0, CURRENT_COUNT), 700);
    bench.timers.time += 1500; /* the host's timer is late */
    write_apic(&bench, 0, LVT_TIMER, PERIODIC | 0x50);
    CHECK_EQUAL(read_apic(&bench, 0, CURRENT_COUNT), 0);
    CHECK(take(&bench, 0x50));
    manual_timer_advance(&bench.timers, 5000);
    CHECK_EQUAL(read_apic(&bench, 0, CURRENT_COUNT), 0);
    CHECK(!lapic_pending(&bench.lapics, 0));
}

static void test_deadline(void)
{
    struct bench bench;

    set_up_enabled(&bench, 1);
    uint64_t tsc = 2 * bench.timers.time; /* now, at 2 GHz */
    CHECK(write_msr(&bench, 0, 0x6e0, tsc + 1000));
    CHECK_EQUAL(read_msr(&bench, 0, 0x6e0), 0); /* ignored in another mode */
    write_apic(&bench, 0, LVT_TIMER, DEADLINE | 0x53);
    write_apic(&bench, 0, INITIAL_COUNT, 10); /* likewise */
    CHECK(bench.timers.first == NULL);
    CHECK(write_msr(&bench, 0, 0x6e0, tsc + 1000));
    CHECK_EQUAL(read_msr(&bench, 0, 0x6e0), tsc + 1000);
    CHECK_EQUAL(read_apic(&bench, 0, CURRENT_COUNT), 0);
    manual_timer_advance(&bench.timers, 499);
    CHECK(!lapic_pending(&bench.lapics, 0));
    manual_timer_advance(&bench.timers, 1);
    CHECK(take(&bench, 0x53));
    CHECK_EQUAL(read_msr(&bench, 0, 0x6e0), 0); /* disarmed */
    /* Already past: at once. */
    write_msr(&bench, 0, 0x6e0, 1);
    CHECK(take(&bench, 0x53));
    /* 0 disarms. */
    write_msr(&bench, 0, 0x6e0, tsc + 10000);
    write_msr(&bench, 0, 0x6e0, 0);
    CHECK(bench.timers.first == NULL);
    /* The guest sets its TSC ahead. */
    write_msr(&bench, 0, 0x6e0, 2 * bench.timers.time + 2000000);
    bench.tsc_offset = 1000000;
    lapics_tsc_changed(&bench.lapics, 0);
    manual_timer_advance(&bench.timers, 500000);
    CHECK(take(&bench, 0x53));
    /* And back, while a deadline is armed. */
    write_msr(&bench, 0, 0x6e0, 2 * bench.timers.time + bench.tsc_offset + 2000);
    bench.tsc_offset = 0;
    lapics_tsc_changed(&bench.lapics, 0);
    manual_timer_advance(&bench.timers, 1000);
    CHECK(!lapic_pending(&bench.lapics, 0));
    manual_timer_advance(&bench.timers, 500000);
    CHECK(take(&bench, 0x53));
    /* Never. */
    write_msr(&bench, 0, 0x6e0, UINT64_MAX);
    CHECK(bench.timers.first == NULL);
    CHECK_EQUAL(read_msr(&bench, 0, 0x6e0), UINT64_MAX);
    /* Leaving the mode disarms. */
    write_msr(&bench, 0, 0x6e0, 2 * bench.timers.time + 2000);
    write_apic(&bench, 0, LVT_TIMER, 0x53);
    CHECK(bench.timers.first == NULL);

    bench.config.has_tsc_deadline = false;
    lapics_init(&bench.lapics, &bench.config);
    uint64_t value;
    CHECK(!write_msr(&bench, 0, 0x6e0, 5));
    CHECK(!lapics_rdmsr(&bench.lapics, 0, 0x6e0, &value));
    write_apic(&bench, 0, LVT_TIMER, DEADLINE | 0x53);
    CHECK_EQUAL(read_apic(&bench, 0, LVT_TIMER), 0x10053);
}

static void test_reserved_mode(void)
{
    struct bench bench;

    set_up_enabled(&bench, 1);
    write_apic(&bench, 0, LVT_TIMER, DEADLINE | PERIODIC | 0x54); /* 11: reserved */
    write_apic(&bench, 0, INITIAL_COUNT, 1000);
    manual_timer_advance(&bench.timers, NANOSECONDS_PER_SECOND);
    CHECK(bench.timers.fired <= 1);
    lapics_reset(&bench.lapics);
    CHECK(bench.timers.first == NULL);
    CHECK(!lapic_pending_hint(&bench.lapics, 0));
}

int main(void)
{
    test_one_shot();
    test_dividers();
    test_periodic();
    test_change_of_mode();
    test_deadline();
    test_reserved_mode();
    return check_summary();
}
