/* The 8254 against its data sheet. */
#include "check.h"
#include "chipset/clock_ratio.h"
#include "chipset/pit.h"
#include "chipset_helpers.h"
#include "manual_timer.h"

struct bench {
    struct pit pit;
    struct manual_timer timers;
    struct watched_line irq0;
};

static void set_up(struct bench *bench)
{
    *bench = (struct bench){0};
    manual_timer_init(&bench->timers);
    pit_init(&bench->pit, &(struct pit_config){.timers = &bench->timers.host,
                                               .irq0 = watched_irq(&bench->irq0)});
}

static void out(struct bench *bench, uint64_t offset, uint8_t value)
{
    device_write(pit_io, &bench->pit, offset, 1, value);
}

static uint8_t in(struct bench *bench, uint64_t offset)
{
    return (uint8_t)device_read(pit_io, &bench->pit, offset, 1);
}

static unsigned int in_both(struct bench *bench, uint64_t offset)
{
    unsigned int low = in(bench, offset);

    return low | (unsigned int)in(bench, offset) << 8;
}

static void load(struct bench *bench, unsigned int channel, uint8_t mode, uint16_t count)
{
    out(bench, 3, (uint8_t)(channel << 6 | 0x30u | (unsigned int)mode << 1));
    out(bench, channel, (uint8_t)count);
    out(bench, channel, (uint8_t)(count >> 8));
}

/* Moves to the instant at which a number of ticks have passed since the PIT was made. */
static void run_to(struct bench *bench, uint64_t tick)
{
    uint64_t target = bench->pit.origin + ns_from_ticks(tick, PIT_HZ);

    manual_timer_advance(&bench->timers, target - bench->timers.time);
}

static bool out2(struct bench *bench)
{
    return (device_read(pit_port61_io, &bench->pit, 0, 1) & 0x20) != 0;
}

static void gate2(struct bench *bench, bool gate)
{
    device_write(pit_port61_io, &bench->pit, 0, 1, gate ? 1 : 0);
}

static void test_mode0(void)
{
    struct bench bench;

    set_up(&bench);
    gate2(&bench, true);
    out(&bench, 3, 0xb0);
    CHECK(!out2(&bench)); /* low from the control word on */
    out(&bench, 2, 100);
    out(&bench, 2, 0);
    run_to(&bench, 1);
    CHECK_EQUAL(in_both(&bench, 2), 100); /* loaded by the first tick */
    run_to(&bench, 100);
    CHECK_EQUAL(in_both(&bench, 2), 1);
    CHECK(!out2(&bench));
    run_to(&bench, 101);
    CHECK(out2(&bench)); /* N + 1 ticks after the count was written */
    CHECK_EQUAL(in_both(&bench, 2), 0);
    run_to(&bench, 102);
    CHECK_EQUAL(in_both(&bench, 2), 0xffff); /* it counts on */
    CHECK(out2(&bench));
    out(&bench, 2, 10); /* the first byte of a new count stops it and lowers OUT */
    CHECK(!out2(&bench));
    run_to(&bench, 500);
    CHECK(!out2(&bench));
    out(&bench, 2, 0);
    run_to(&bench, 511);
    CHECK(out2(&bench));
}

static void test_gate(void)
{
    struct bench bench;

    set_up(&bench);
    gate2(&bench, true);
    load(&bench, 2, 0, 1000);
    run_to(&bench, 101);
    gate2(&bench, false);
    CHECK_EQUAL(in_both(&bench, 2), 900);
    run_to(&bench, 5000);
    CHECK_EQUAL(in_both(&bench, 2), 900);
    gate2(&bench, true);
    run_to(&bench, 5100);
    CHECK_EQUAL(in_both(&bench, 2), 800);
    run_to(&bench, 5899);
    CHECK(!out2(&bench));
    run_to(&bench, 5900);
    CHECK(out2(&bench));

    /* Mode 3: a low gate forces OUT high; its rise begins the cycle anew. */
    set_up(&bench);
    gate2(&bench, true);
    load(&bench, 2, 3, 100);
    run_to(&bench, 61);
    CHECK(!out2(&bench));
    gate2(&bench, false);
    CHECK(out2(&bench));
    run_to(&bench, 1000);
    gate2(&bench, true);
    run_to(&bench, 1050);
    CHECK(out2(&bench));
    run_to(&bench, 1051);
    CHECK(!out2(&bench));
}

static void test_mode1(void)
{
    struct bench bench;

    set_up(&bench);
    load(&bench, 2, 1, 50);
    run_to(&bench, 1000);
    CHECK(out2(&bench)); /* no trigger yet */
    gate2(&bench, true);
    run_to(&bench, 1001);
    CHECK(!out2(&bench));
    run_to(&bench, 1031);
    gate2(&bench, false); /* a low gate changes nothing */
    gate2(&bench, true);  /* but a second trigger begins anew */
    run_to(&bench, 1060);
    CHECK(!out2(&bench));
    run_to(&bench, 1082);
    CHECK(out2(&bench));
    /* A count written meanwhile waits for the next trigger. */
    gate2(&bench, false);
    gate2(&bench, true);
    out(&bench, 2, 200);
    out(&bench, 2, 0);
    run_to(&bench, 1140);
    CHECK(out2(&bench));
    gate2(&bench, false);
    gate2(&bench, true);
    run_to(&bench, 1300);
    CHECK(!out2(&bench));
    run_to(&bench, 1341);
    CHECK(out2(&bench));
}

static void test_mode2(void)
{
    struct bench bench;

    set_up(&bench);
    load(&bench, 0, 2, 1000);
    run_to(&bench, 1);
    CHECK_EQUAL(in_both(&bench, 0), 1000);
    run_to(&bench, 1000);
    CHECK_EQUAL(in_both(&bench, 0), 1);
    CHECK_EQUAL(bench.irq0.rises, 1); /* OUT went high when it was programmed */
    run_to(&bench, 1001);
    CHECK_EQUAL(in_both(&bench, 0), 1000);
    CHECK_EQUAL(bench.irq0.rises, 2);
    run_to(&bench, 1 + 1000 * 1000);
    CHECK_EQUAL(bench.irq0.rises, 1001); /* nothing lost, nothing drifted */
    /* A new count takes over at the end of the cycle. */
    run_to(&bench, 1000501);
    out(&bench, 0, 100);
    out(&bench, 0, 0);
    CHECK_EQUAL(in_both(&bench, 0), 500);
    run_to(&bench, 1001001);
    CHECK_EQUAL(in_both(&bench, 0), 100);
    CHECK_EQUAL(bench.irq0.rises, 1002);
    run_to(&bench, 1001101);
    CHECK_EQUAL(bench.irq0.rises, 1003);
}

static void test_mode3(void)
{
    struct bench bench;

    set_up(&bench);
    gate2(&bench, true);
    load(&bench, 2, 3, 10);
    for (uint64_t i = 0; i < 40; i++) {
        run_to(&bench, 1 + i);
        CHECK_EQUAL(out2(&bench), i % 10 < 5);
        CHECK_EQUAL(in_both(&bench, 2), 10 - 2 * (i % 5));
    }
    load(&bench, 2, 3, 5); /* odd: high for one tick more than low */
    uint64_t start = 41;
    for (uint64_t i = 0; i < 20; i++) {
        run_to(&bench, start + i);
        CHECK_EQUAL(out2(&bench), i % 5 < 3);
    }
    set_up(&bench);
    load(&bench, 0, 3, 0); /* 65536: 18.2 Hz */
    manual_timer_advance(&bench.timers, 10 * NANOSECONDS_PER_SECOND);
    CHECK_EQUAL(bench.irq0.rises, 1 + 182);
}

static void test_mode4_and_5(void)
{
    struct bench bench;

    set_up(&bench);
    load(&bench, 0, 4, 300); /* what Linux uses for one shot */
    run_to(&bench, 301);
    CHECK_EQUAL(bench.irq0.rises, 1);
    run_to(&bench, 302);
    CHECK_EQUAL(bench.irq0.rises, 2);
    manual_timer_advance(&bench.timers, NANOSECONDS_PER_SECOND);
    CHECK_EQUAL(bench.irq0.rises, 2); /* once */
    CHECK(bench.timers.first == NULL);

    set_up(&bench);
    load(&bench, 2, 5, 20);
    run_to(&bench, 100);
    gate2(&bench, true);
    run_to(&bench, 120);
    CHECK(out2(&bench));
    run_to(&bench, 121);
    CHECK(!out2(&bench)); /* the strobe */
    run_to(&bench, 122);
    CHECK(out2(&bench));
}

static void test_bcd(void)
{
    struct bench bench;

    set_up(&bench);
    gate2(&bench, true);
    out(&bench, 3, 0xb1);
    out(&bench, 2, 0x00);
    out(&bench, 2, 0x10); /* 1000 */
    run_to(&bench, 2);
    CHECK_EQUAL(in_both(&bench, 2), 0x0999);
    run_to(&bench, 1001);
    CHECK(out2(&bench));
    run_to(&bench, 1002);
    CHECK_EQUAL(in_both(&bench, 2), 0x9999);
    out(&bench, 3, 0xb1);
    out(&bench, 2, 0xff); /* no digits at all: some count, no harm */
    out(&bench, 2, 0xff);
    run_to(&bench, 50000);
    CHECK(in_both(&bench, 2) <= 0x9999);
}

static void test_latches(void)
{
    struct bench bench;

    set_up(&bench);
    gate2(&bench, true);
    load(&bench, 2, 2, 1000);
    run_to(&bench, 101);
    out(&bench, 3, 0x80); /* latch */
    run_to(&bench, 201);
    out(&bench, 3, 0x80); /* ignored: the first has not been read */
    CHECK_EQUAL(in_both(&bench, 2), 900);
    CHECK_EQUAL(in_both(&bench, 2), 800);
    out(&bench, 3, 0xc8); /* read back: count and status of channel 2 */
    run_to(&bench, 301);
    CHECK_EQUAL(in(&bench, 2), 0x80 | 0x30 | 2 << 1); /* status first: OUT high */
    CHECK_EQUAL(in_both(&bench, 2), 800);
    CHECK_EQUAL(in_both(&bench, 2), 700);
    load(&bench, 2, 2, 1000);
    out(&bench, 3, 0xe8);                    /* status alone */
    CHECK_EQUAL(in(&bench, 2) & 0x40, 0x40); /* null count: not loaded yet */
    run_to(&bench, 310);
    out(&bench, 3, 0xe8);
    CHECK_EQUAL(in(&bench, 2) & 0x40, 0);
    /* One-byte accesses. */
    out(&bench, 3, 0x94); /* low byte only */
    out(&bench, 2, 200);
    run_to(&bench, 321);
    CHECK_EQUAL(in(&bench, 2), 190);
    CHECK_EQUAL(in(&bench, 2), 190);
    out(&bench, 3, 0xa4); /* high byte only */
    out(&bench, 2, 2);
    run_to(&bench, 423);
    CHECK_EQUAL(in(&bench, 2), 1);
    CHECK_EQUAL(in(&bench, 3), 0xff); /* the control word is for writing */
}

static void test_flood(void)
{
    struct bench bench;

    set_up(&bench);
    out(&bench, 3, 0x14);
    out(&bench, 0, 1); /* 838 ns a tick, if that were possible */
    manual_timer_advance(&bench.timers, NANOSECONDS_PER_SECOND);
    CHECK(bench.timers.fired <= NANOSECONDS_PER_SECOND / TIMER_PERIOD_MIN_NS);
    CHECK(bench.timers.fired >= 10000);
    /* A host that overslept makes up for a few ticks and skips the rest. */
    load(&bench, 0, 2, 1193);
    manual_timer_advance(&bench.timers, NANOSECONDS_PER_SECOND);
    unsigned int before = bench.irq0.rises;
    manual_timer_oversleep(&bench.timers, NANOSECONDS_PER_SECOND);
    manual_timer_advance(&bench.timers, 10 * TIMER_PERIOD_MIN_NS);
    CHECK(bench.irq0.rises - before <= TIMER_CATCH_UP_MAX + 2);
    before = bench.irq0.rises;
    manual_timer_advance(&bench.timers, NANOSECONDS_PER_SECOND);
    CHECK(bench.irq0.rises - before >= 999 && bench.irq0.rises - before <= 1001);
}

static void test_port61(void)
{
    struct bench bench;

    set_up(&bench);
    device_write(pit_port61_io, &bench.pit, 0, 1, 0xff);
    CHECK_EQUAL(device_read(pit_port61_io, &bench.pit, 0, 1) & 0xcf, 0x0f);
    unsigned int toggles = 0;
    uint64_t before = device_read(pit_port61_io, &bench.pit, 0, 1) & 0x10;
    for (unsigned int i = 0; i < 1000; i++) {
        manual_timer_advance(&bench.timers, 1000);
        uint64_t now = device_read(pit_port61_io, &bench.pit, 0, 1) & 0x10;
        toggles += now != before;
        before = now;
    }
    CHECK(toggles >= 65 && toggles <= 67); /* each 15.09 us within a millisecond */
    pit_reset(&bench.pit);
    CHECK_EQUAL(device_read(pit_port61_io, &bench.pit, 0, 1) & 0x0f, 0);
}

int main(void)
{
    test_mode0();
    test_gate();
    test_mode1();
    test_mode2();
    test_mode3();
    test_mode4_and_5();
    test_bcd();
    test_latches();
    test_flood();
    test_port61();
    return check_summary();
}
