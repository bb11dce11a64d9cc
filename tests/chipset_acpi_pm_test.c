/* ACPI fixed hardware. */
#include "check.h"
#include "chipset/acpi_pm.h"
#include "chipset/clock_ratio.h"
#include "chipset_helpers.h"
#include "manual_timer.h"

struct bench {
    struct acpi_pm pm;
    struct manual_timer timers;
    struct watched_line sci;
    struct watched_stop stop;
};

static void set_up(struct bench *bench, bool timer_is_32_bit)
{
    *bench = (struct bench){0};
    manual_timer_init(&bench->timers);
    acpi_pm_init(&bench->pm, &(struct acpi_pm_config){.timers = &bench->timers.host,
                                                      .sci = watched_irq(&bench->sci),
                                                      .control = watched_control(&bench->stop),
                                                      .timer_is_32_bit = timer_is_32_bit});
}

static uint64_t in(struct bench *bench, uint64_t offset, uint8_t size)
{
    return device_read(acpi_pm_io, &bench->pm, offset, size);
}

static void out(struct bench *bench, uint64_t offset, uint8_t size, uint64_t value)
{
    device_write(acpi_pm_io, &bench->pm, offset, size, value);
}

static void test_power_off(void)
{
    struct bench bench;

    set_up(&bench, false);
    CHECK_EQUAL(in(&bench, ACPI_PM1A_CONTROL, 2), 0x0001); /* SCI_EN: in ACPI mode always */
    out(&bench, ACPI_PM1A_CONTROL, 2, 0x0000);
    CHECK_EQUAL(in(&bench, ACPI_PM1A_CONTROL, 2), 0x0001);
    out(&bench, ACPI_PM1A_CONTROL, 2, 0x1401); /* S5 without SLP_EN */
    CHECK_EQUAL(bench.stop.count, 0);
    CHECK_EQUAL(in(&bench, ACPI_PM1A_CONTROL, 2), 0x1401);
    out(&bench, ACPI_PM1A_CONTROL, 2, 0x2401); /* SLP_EN, another type */
    CHECK_EQUAL(bench.stop.count, 0);
    CHECK_EQUAL(in(&bench, ACPI_PM1A_CONTROL, 2), 0x0401);
    out(&bench, ACPI_PM1A_CONTROL, 2, 0x3401);
    CHECK_EQUAL(bench.stop.count, 1);
    CHECK_EQUAL(bench.stop.outcome, VM_POWERED_OFF);
}

static void test_timer(void)
{
    for (unsigned int wide = 0; wide < 2; wide++) {
        struct bench bench;
        uint64_t half = wide ? UINT64_C(1) << 31 : UINT64_C(1) << 23;

        set_up(&bench, wide);
        CHECK_EQUAL(in(&bench, ACPI_PM_TIMER, 4), 0);
        manual_timer_advance(&bench.timers, NANOSECONDS_PER_SECOND);
        CHECK_EQUAL(in(&bench, ACPI_PM_TIMER, 4), 3579545);
        CHECK_EQUAL(in(&bench, ACPI_PM_TIMER + 1, 1), 3579545 >> 8 & 0xff);
        out(&bench, ACPI_PM_TIMER, 4, 0);
        CHECK_EQUAL(in(&bench, ACPI_PM_TIMER, 4), 3579545);
        CHECK_EQUAL(in(&bench, ACPI_PM1A_EVENT, 2), 0);
        uint64_t target = bench.pm.origin + ns_from_ticks(half, ACPI_PM_TIMER_HZ);
        manual_timer_advance(&bench.timers, target - bench.timers.time);
        CHECK_EQUAL(in(&bench, ACPI_PM_TIMER, 4), half);
        CHECK_EQUAL(in(&bench, ACPI_PM1A_EVENT, 2), 1); /* set without being enabled */
        CHECK(!bench.sci.level);
        out(&bench, ACPI_PM1A_EVENT, 2, 1);
        CHECK_EQUAL(in(&bench, ACPI_PM1A_EVENT, 2), 0);
        out(&bench, ACPI_PM1A_EVENT + 2, 2, 1); /* TMR_EN */
        target = bench.pm.origin + ns_from_ticks(2 * half, ACPI_PM_TIMER_HZ);
        manual_timer_advance(&bench.timers, target - bench.timers.time - 1);
        CHECK(!bench.sci.level);
        manual_timer_advance(&bench.timers, 1);
        CHECK(bench.sci.level);
        CHECK_EQUAL(in(&bench, ACPI_PM_TIMER, 4), 0); /* wrapped */
        out(&bench, ACPI_PM1A_EVENT, 1, 1);
        CHECK(!bench.sci.level);
        CHECK(bench.timers.first != NULL);
        out(&bench, ACPI_PM1A_EVENT + 2, 2, 0);
        CHECK(bench.timers.first == NULL);
    }
}

static void test_power_button(void)
{
    struct bench bench;

    set_up(&bench, false);
    CHECK(!acpi_pm_power_button_enabled(&bench.pm));
    acpi_pm_power_button(&bench.pm);
    CHECK(!bench.sci.level);
    CHECK_EQUAL(in(&bench, ACPI_PM1A_EVENT, 4), 0x00000100);
    out(&bench, ACPI_PM1A_EVENT + 2, 2, 0xffff);
    CHECK_EQUAL(in(&bench, ACPI_PM1A_EVENT + 2, 2), 0x0721);
    CHECK(acpi_pm_power_button_enabled(&bench.pm));
    CHECK(bench.sci.level);
    out(&bench, ACPI_PM1A_EVENT + 1, 1, 0x00); /* zeroes clear nothing */
    CHECK(bench.sci.level);
    out(&bench, ACPI_PM1A_EVENT + 1, 1, 0x01);
    CHECK(!bench.sci.level);
    acpi_pm_power_button(&bench.pm);
    CHECK(bench.sci.level);
    acpi_pm_reset(&bench.pm);
    CHECK(!bench.sci.level);
    CHECK_EQUAL(in(&bench, ACPI_PM1A_EVENT, 4), 0);
}

/* Stock Linux enables the clock's event and reads the bit back. */
static void test_rtc_alarm(void)
{
    struct bench bench;

    set_up(&bench, false);
    out(&bench, ACPI_PM1A_EVENT + 2, 2, 0x0400);
    CHECK_EQUAL(in(&bench, ACPI_PM1A_EVENT + 2, 2), 0x0400);
    acpi_pm_rtc_alarm(&bench.pm);
    CHECK_EQUAL(in(&bench, ACPI_PM1A_EVENT, 2) & 0x0400, 0x0400);
    out(&bench, ACPI_PM1A_EVENT, 2, 0x0400);
    CHECK_EQUAL(in(&bench, ACPI_PM1A_EVENT, 2) & 0x0400, 0);
}

static void test_general_events(void)
{
    struct bench bench;

    set_up(&bench, false);
    acpi_pm_general_event(&bench.pm, 9);
    acpi_pm_general_event(&bench.pm, 16); /* no such event */
    CHECK_EQUAL(in(&bench, ACPI_PM_GPE0, 4), 0x00000200);
    CHECK(!bench.sci.level);
    out(&bench, ACPI_PM_GPE0 + 2, 2, 0x0200);
    CHECK(bench.sci.level);
    CHECK_EQUAL(in(&bench, ACPI_PM_GPE0 + 3, 1), 0x02);
    out(&bench, ACPI_PM_GPE0, 2, 0xffff);
    CHECK(!bench.sci.level);
    CHECK_EQUAL(in(&bench, ACPI_PM_GPE0, 4), 0x02000000);
    for (uint64_t offset = 0; offset < ACPI_PM_PORTS + 16; offset++) {
        if (offset < ACPI_PM1A_CONTROL || offset > ACPI_PM1A_CONTROL + 1) {
            out(&bench, offset, 1, 0xff);
            in(&bench, offset, 1);
        }
    }
    CHECK_EQUAL(in(&bench, 0x10, 4), 0);
    CHECK_EQUAL(bench.stop.count, 0);
}

int main(void)
{
    test_power_off();
    test_timer();
    test_power_button();
    test_rtc_alarm();
    test_general_events();
    return check_summary();
}
