/* The real-time clock and its calendar. */
#include <time.h>

#include "check.h"
#include "chipset/clock_ratio.h"
#include "chipset/rtc.h"
#include "chipset/rtc_calendar.h"
#include "chipset_helpers.h"
#include "manual_timer.h"

struct bench {
    struct rtc rtc;
    struct manual_timer timers;
    struct watched_line irq8;
    uint64_t wall_origin; /* what the wall clock showed when the timers began */
    uint64_t wall_step;   /* by how much somebody has set it since */
};

#define SECOND NANOSECONDS_PER_SECOND
/* Wednesday 2024-02-28 23:59:50 UTC. */
#define TEST_TIME UINT64_C(1709164790)

static uint64_t wall(void *context)
{
    const struct bench *bench = context;

    return bench->wall_origin + bench->wall_step + bench->timers.time;
}

static void set_up_at(struct bench *bench, uint64_t nanoseconds)
{
    *bench = (struct bench){0};
    manual_timer_init(&bench->timers);
    bench->wall_origin = nanoseconds - bench->timers.time;
    rtc_init(&bench->rtc, &(struct rtc_config){.timers = &bench->timers.host,
                                               .irq8 = watched_irq(&bench->irq8),
                                               .wall_clock = wall,
                                               .wall_clock_context = bench,
                                               .memory_below_4g = UINT64_C(512) << 20,
                                               .memory_above_4g = UINT64_C(3) << 30});
}

static void set_up(struct bench *bench)
{
    set_up_at(bench, TEST_TIME * SECOND);
}

static uint8_t in(struct bench *bench, uint8_t index)
{
    device_write(rtc_io, &bench->rtc, 0, 1, index);
    return (uint8_t)device_read(rtc_io, &bench->rtc, 1, 1);
}

static void out(struct bench *bench, uint8_t index, uint8_t value)
{
    /* One word write selects and writes, as on the ISA bus. */
    device_write(rtc_io, &bench->rtc, 0, 2, (uint64_t)value << 8 | index);
}

static void pass(struct bench *bench, uint64_t nanoseconds)
{
    manual_timer_advance(&bench->timers, nanoseconds);
}

/* century, year, month, day, hour, minute, second as eight hexadecimal digits and six. */
static uint64_t date_of(struct bench *bench)
{
    return (uint64_t)in(bench, 0x32) << 24 | (uint64_t)in(bench, 9) << 16 |
           (uint64_t)in(bench, 8) << 8 | in(bench, 7);
}

static uint64_t time_of(struct bench *bench)
{
    return (uint64_t)in(bench, 4) << 16 | (uint64_t)in(bench, 2) << 8 | in(bench, 0);
}

static void test_calendar(void)
{
    /* Against the C library, over 3,000 years in steps that hit every day of the year. */
    for (int64_t seconds = -30000000000; seconds < 66000000000; seconds += 7919 * 61) {
        time_t time = (time_t)seconds;
        struct tm expected;
        struct calendar_time actual = calendar_from_seconds(seconds);
        gmtime_r(&time, &expected);
        bool good = actual.year == (unsigned int)expected.tm_year + 1900 &&
                    actual.month == (unsigned int)expected.tm_mon + 1 &&
                    actual.day == (unsigned int)expected.tm_mday &&
                    actual.hour == (unsigned int)expected.tm_hour &&
                    actual.minute == (unsigned int)expected.tm_min &&
                    actual.second == (unsigned int)expected.tm_sec &&
                    actual.day_of_week == (unsigned int)expected.tm_wday + 1 &&
                    calendar_to_seconds(&actual) == seconds;
        if (!good) {
            CHECK(good);
            return;
        }
    }
    /* Every day around the turns of four centuries and at both ends. */
    static const int64_t years[] = {0, 1899, 1999, 2099, 2399, 9998};
    for (unsigned int i = 0; i < sizeof(years) / sizeof(years[0]); i++) {
        struct calendar_time start = {.year = (unsigned int)years[i], .month = 1, .day = 1};
        int64_t seconds = calendar_to_seconds(&start);
        bool good = true;
        for (unsigned int day = 0; day < 700; day++, seconds += 86400) {
            struct calendar_time time = calendar_from_seconds(seconds);
            good = good && calendar_to_seconds(&time) == seconds && time.month >= 1 &&
                   time.month <= 12 && time.day >= 1 && time.day <= 31;
        }
        CHECK(good);
    }
    struct calendar_time nonsense = {.year = 2023, .month = 99, .day = 99};
    struct calendar_time last = {.year = 2023, .month = 12, .day = 31};
    CHECK(calendar_to_seconds(&nonsense) == calendar_to_seconds(&last));
    nonsense = (struct calendar_time){.year = 2023, .month = 2, .day = 31};
    struct calendar_time march = {.year = 2023, .month = 3, .day = 3};
    CHECK(calendar_to_seconds(&nonsense) == calendar_to_seconds(&march));
    calendar_from_seconds(INT64_MAX);
    calendar_from_seconds(INT64_MIN);
}

static void test_time(void)
{
    struct bench bench;

    set_up(&bench);
    CHECK_EQUAL(date_of(&bench), 0x20240228);
    CHECK_EQUAL(time_of(&bench), 0x235950);
    CHECK_EQUAL(in(&bench, 6), 4); /* Wednesday */
    CHECK_EQUAL(in(&bench, 0x0a), 0x26);
    CHECK_EQUAL(in(&bench, 0x0b), 0x02);
    CHECK_EQUAL(in(&bench, 0x0d), 0x80);
    pass(&bench, 10 * SECOND);
    CHECK_EQUAL(date_of(&bench), 0x20240229); /* a leap day */
    CHECK_EQUAL(time_of(&bench), 0x000000);
    out(&bench, 0x0b, 0x06); /* binary */
    pass(&bench, 13 * 3600 * SECOND);
    CHECK_EQUAL(time_of(&bench), 0x0d0000);
    out(&bench, 0x0b, 0x04); /* 12 hours */
    CHECK_EQUAL(in(&bench, 4), 0x81);
    out(&bench, 0x0b, 0x00); /* in BCD */
    pass(&bench, 10 * 3600 * SECOND);
    CHECK_EQUAL(in(&bench, 4), 0x91); /* 11 pm */
    pass(&bench, 3600 * SECOND);
    CHECK_EQUAL(in(&bench, 4), 0x12); /* 12 am is midnight */
    pass(&bench, 12 * 3600 * SECOND);
    CHECK_EQUAL(in(&bench, 4), 0x92); /* 12 pm is noon */
    device_write(rtc_io, &bench.rtc, 0, 1, 0x80 | 0x0d);
    CHECK(bench.rtc.nmi_disabled);
    CHECK_EQUAL(device_read(rtc_io, &bench.rtc, 0, 1), 0x0d);
}

static void test_setting(void)
{
    struct bench bench;

    set_up(&bench);
    pass(&bench, SECOND / 4);
    out(&bench, 0x0b, 0x82); /* SET */
    pass(&bench, 100 * SECOND);
    CHECK_EQUAL(time_of(&bench), 0x235950); /* frozen */
    out(&bench, 0x32, 0x19);
    out(&bench, 0x09, 0x99);
    out(&bench, 0x08, 0x12);
    out(&bench, 0x07, 0x31);
    out(&bench, 0x04, 0x23);
    out(&bench, 0x02, 0x59);
    out(&bench, 0x00, 0x59);
    CHECK_EQUAL(date_of(&bench), 0x19991231);
    out(&bench, 0x0b, 0x02);
    CHECK_EQUAL(time_of(&bench), 0x235959);
    pass(&bench, SECOND / 4 * 3 - 1); /* the divider ran on */
    CHECK_EQUAL(time_of(&bench), 0x235959);
    pass(&bench, 1);
    CHECK_EQUAL(date_of(&bench), 0x20000101);
    CHECK_EQUAL(time_of(&bench), 0x000000);
    CHECK_EQUAL(in(&bench, 6), 7); /* Saturday */
    /* A single register while it runs. */
    out(&bench, 0x02, 0x30);
    CHECK_EQUAL(time_of(&bench), 0x003000);
    /* The divider held: time begins half a second before the first update. */
    out(&bench, 0x0a, 0x76);
    pass(&bench, 5 * SECOND + SECOND / 3);
    CHECK_EQUAL(time_of(&bench), 0x003000);
    out(&bench, 0x0a, 0x26);
    pass(&bench, SECOND / 2 - 1);
    CHECK_EQUAL(time_of(&bench), 0x003000);
    pass(&bench, 1);
    CHECK_EQUAL(time_of(&bench), 0x003001);
    /* Nonsense in all of them is some time. */
    out(&bench, 0x0b, 0x82);
    for (uint8_t i = 0; i < 10; i++) {
        out(&bench, i, 0xff);
    }
    out(&bench, 0x32, 0xff);
    out(&bench, 0x0b, 0x02);
    pass(&bench, SECOND);
    CHECK(in(&bench, 0) <= 0x59 && in(&bench, 4) <= 0x23 && in(&bench, 8) <= 0x12);
    CHECK_EQUAL(in(&bench, 0x0d), 0x80);
}

static void test_update_in_progress(void)
{
    struct bench bench;

    set_up(&bench);
    pass(&bench, SECOND - 245000);
    CHECK_EQUAL(in(&bench, 0x0a), 0x26);
    pass(&bench, 2000);
    CHECK_EQUAL(in(&bench, 0x0a), 0xa6);
    pass(&bench, 243000);
    CHECK_EQUAL(in(&bench, 0x0a), 0x26);
    CHECK_EQUAL(time_of(&bench), 0x235951);
    out(&bench, 0x0a, 0xa6); /* the bit can't be written */
    CHECK_EQUAL(in(&bench, 0x0a), 0x26);
}

/* Here and below the periodic flag (40h) of the rate that is set anyhow is looked away from. */
static void test_update_interrupt(void)
{
    struct bench bench;

    set_up(&bench);
    pass(&bench, SECOND / 2);
    CHECK(bench.timers.first == NULL); /* nobody wants anything: no timer */
    out(&bench, 0x0b, 0x12);
    pass(&bench, SECOND / 2 - 1);
    CHECK(!bench.irq8.level);
    pass(&bench, 1);
    CHECK(bench.irq8.level);
    pass(&bench, 5 * SECOND);
    CHECK_EQUAL(bench.irq8.rises, 1); /* until C is read */
    CHECK_EQUAL(in(&bench, 0x0c) & 0xb0, 0x90);
    CHECK(!bench.irq8.level);
    CHECK_EQUAL(in(&bench, 0x0c), 0);
    pass(&bench, SECOND);
    CHECK_EQUAL(bench.irq8.rises, 2);
    out(&bench, 0x0b, 0x92); /* SET takes the enable bit away */
    CHECK_EQUAL(in(&bench, 0x0b), 0x82);
    CHECK(!bench.irq8.level);
    out(&bench, 0x0b, 0x02);
    in(&bench, 0x0c);
    pass(&bench, SECOND);
    CHECK_EQUAL(in(&bench, 0x0c) & 0xb0, 0x10); /* the flag is set without an interrupt, too */
}

static void test_alarm(void)
{
    struct bench bench;

    set_up(&bench);
    out(&bench, 5, 0x00);
    out(&bench, 3, 0x00);
    out(&bench, 1, 0x05); /* 00:00:05 */
    out(&bench, 0x0b, 0x22);
    pass(&bench, 15 * SECOND - 1);
    CHECK(!bench.irq8.level);
    pass(&bench, 1);
    CHECK(bench.irq8.level);
    CHECK_EQUAL(in(&bench, 0x0c) & 0xb0, 0xb0);
    pass(&bench, 86400 * SECOND - 1);
    CHECK(!bench.irq8.level);
    pass(&bench, 1);
    CHECK(bench.irq8.level);
    in(&bench, 0x0c);
    /* Each minute at :30, any hour. */
    out(&bench, 5, 0xff);
    out(&bench, 3, 0xc0);
    out(&bench, 1, 0x30);
    pass(&bench, 25 * SECOND);
    CHECK(bench.irq8.level);
    in(&bench, 0x0c);
    pass(&bench, 60 * SECOND);
    CHECK(bench.irq8.level);
    in(&bench, 0x0c);
    /* An hour that never comes. */
    out(&bench, 5, 0x30);
    pass(&bench, 86400 * SECOND);
    CHECK_EQUAL(in(&bench, 0x0c) & 0xb0, 0x10);
    /* Somebody sets the wall clock past the alarm: noticed within a minute. */
    set_up(&bench);
    out(&bench, 5, 0x05);
    out(&bench, 0x0b, 0x22);
    bench.wall_step = 6 * 3600 * SECOND;
    pass(&bench, 60 * SECOND);
    CHECK(bench.irq8.level);
}

static void test_periodic(void)
{
    struct bench bench;
    unsigned int count = 0;

    set_up(&bench);
    out(&bench, 0x0b, 0x42); /* rate 6: 1024 Hz */
    for (unsigned int i = 0; i < 10000; i++) {
        pass(&bench, SECOND / 10000);
        if (bench.irq8.level) {
            CHECK_EQUAL(in(&bench, 0x0c) & 0xc0, 0xc0);
            count++;
        }
    }
    CHECK_EQUAL(count, 1024);
    static const unsigned int rates[16] = {0,   256, 128, 8192, 4096, 2048, 1024, 512,
                                           256, 128, 64,  32,   16,   8,    4,    2};
    for (uint8_t rate = 0; rate < 16; rate++) {
        set_up(&bench);
        out(&bench, 0x0a, 0x20 | rate);
        out(&bench, 0x0b, 0x42);
        count = 0;
        for (unsigned int i = 0; i < 32768; i++) {
            pass(&bench, SECOND / 32768 + (i % 2));
            if (bench.irq8.level) {
                in(&bench, 0x0c);
                count++;
            }
        }
        CHECK(count >= rates[rate] - (rates[rate] != 0) && count <= rates[rate]);
    }
    set_up(&bench);
    pass(&bench, SECOND);
    CHECK_EQUAL(in(&bench, 0x0c) & 0x40, 0x40); /* polled */
    out(&bench, 0x0a, 0x66);                    /* divider held: no ticks */
    in(&bench, 0x0c);
    pass(&bench, SECOND);
    CHECK_EQUAL(in(&bench, 0x0c), 0);
}

static void test_ram(void)
{
    struct bench bench;

    set_up(&bench);
    CHECK_EQUAL(in(&bench, 0x15) | in(&bench, 0x16) << 8, 640);
    CHECK_EQUAL(in(&bench, 0x17) | in(&bench, 0x18) << 8, 65535); /* as much as it can say */
    CHECK_EQUAL(in(&bench, 0x34) | in(&bench, 0x35) << 8, (512 - 16) * 16);
    CHECK_EQUAL(in(&bench, 0x5b) | in(&bench, 0x5c) << 8 | in(&bench, 0x5d) << 16, 3 * 1024 * 16);
    for (uint8_t i = 0x40; i < 0x58; i++) {
        out(&bench, i, (uint8_t)(i * 3));
    }
    pass(&bench, 3 * SECOND);
    out(&bench, 0x0b, 0x52);
    pass(&bench, 3 * SECOND);
    rtc_reset(&bench.rtc);
    CHECK(!bench.irq8.level);
    CHECK_EQUAL(in(&bench, 0x0b), 0x02); /* interrupts off, the format stays */
    for (uint8_t i = 0x40; i < 0x58; i++) {
        CHECK_EQUAL(in(&bench, i), (uint8_t)(i * 3));
    }
    CHECK_EQUAL(time_of(&bench), 0x235956);
    CHECK_EQUAL(device_read(rtc_io, &bench.rtc, 5, 1), 0xff);
}

int main(void)
{
    test_calendar();
    test_time();
    test_setting();
    test_update_in_progress();
    test_update_interrupt();
    test_alarm();
    test_periodic();
    test_ram();
    return check_summary();
}
