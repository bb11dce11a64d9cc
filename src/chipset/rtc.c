#include "chipset/rtc.h"

#include "chipset/byte_access.h"
#include "chipset/clock_ratio.h"
#include "chipset/rtc_calendar.h"

/* "Address Map". */
enum cmos_register {
    CMOS_SECONDS = 0x00,
    CMOS_SECONDS_ALARM = 0x01,
    CMOS_MINUTES = 0x02,
    CMOS_MINUTES_ALARM = 0x03,
    CMOS_HOURS = 0x04,
    CMOS_HOURS_ALARM = 0x05,
    CMOS_DAY_OF_WEEK = 0x06,
    CMOS_DAY = 0x07,
    CMOS_MONTH = 0x08,
    CMOS_YEAR = 0x09,
    CMOS_A = 0x0a,
    CMOS_B = 0x0b,
    CMOS_C = 0x0c,
    CMOS_D = 0x0d,
    /* What firmware keeps in the RAM behind them. */
    CMOS_BASE_MEMORY = 0x15,     /* KiB, 16 bits */
    CMOS_EXTENDED_MEMORY = 0x17, /* KiB above 1 MiB, 16 bits; again at 30h */
    CMOS_EXTENDED_MEMORY_2 = 0x30,
    CMOS_ABOVE_16M = 0x34, /* 64 KiB units above 16 MiB, 16 bits */
    CMOS_ABOVE_4G = 0x5b   /* 64 KiB units above 4 GiB, 24 bits */
};

#define A_UPDATE_IN_PROGRESS 0x80
#define A_RATE               0x0f
#define A_DIVIDER_SHIFT      4
#define A_DIVIDER_HELD       6 /* 110 and 111 hold the divider chain in reset */
#define A_AFTER_INIT         0x26

#define B_SET          0x80
#define B_PERIODIC     0x40
#define B_ALARM        0x20
#define B_UPDATE_ENDED 0x10
#define B_SQUARE_WAVE  0x08
#define B_BINARY       0x04
#define B_24_HOURS     0x02
#define B_INTERRUPTS   (B_PERIODIC | B_ALARM | B_UPDATE_ENDED) /* as the flags in C */

#define C_REQUEST 0x80
#define D_VALID   0x80

#define HOURS_PM        0x80
#define ALARM_DONT_CARE 0xc0
#define NMI_DISABLE     0x80

#define BASE_CLOCK_HZ      UINT64_C(32768)
#define UPDATE_WARNING_NS  UINT64_C(244000) /* UIP is set that long before an update */
#define HALF_SECOND_NS     UINT64_C(500000000)
#define UPDATE_TIMER_MAX_S 60 /* the wall clock may be set: look again */
#define KIB                UINT64_C(1024)
#define MIB                UINT64_C(1048576)

static uint64_t host_time(const struct rtc *rtc)
{
    return rtc->config.timers->now(rtc->config.timers);
}

/* True while nothing counts: SET is on or the divider is held. */
static bool is_held(const struct rtc *rtc)
{
    return (rtc->cmos[CMOS_B] & B_SET) != 0 ||
           rtc->cmos[CMOS_A] >> A_DIVIDER_SHIFT >= A_DIVIDER_HELD;
}

/* The guest's time: seconds since 1970 and the nanoseconds of the current one. */
static int64_t guest_time(const struct rtc *rtc, uint64_t *nanoseconds)
{
    uint64_t time =
        rtc->config.wall_clock(rtc->config.wall_clock_context) + rtc->offset_nanoseconds;

    *nanoseconds = time % NANOSECONDS_PER_SECOND;
    return (int64_t)(time / NANOSECONDS_PER_SECOND) + rtc->offset_seconds;
}

/* Makes the guest's time seconds.nanoseconds from now on. */
static void set_guest_time(struct rtc *rtc, int64_t seconds, uint64_t nanoseconds)
{
    uint64_t wall = rtc->config.wall_clock(rtc->config.wall_clock_context);
    uint64_t fraction = wall % NANOSECONDS_PER_SECOND;
    bool borrow = nanoseconds < fraction;

    rtc->offset_nanoseconds = nanoseconds + (borrow ? NANOSECONDS_PER_SECOND : 0) - fraction;
    rtc->offset_seconds = seconds - (int64_t)(wall / NANOSECONDS_PER_SECOND) - (borrow ? 1 : 0);
    rtc->last_update = seconds;
}

static uint8_t encode(const struct rtc *rtc, unsigned int value)
{
    if ((rtc->cmos[CMOS_B] & B_BINARY) != 0) {
        return (uint8_t)value;
    }
    return (uint8_t)(value / 10 % 10 << 4 | value % 10);
}

static unsigned int decode(const struct rtc *rtc, uint8_t value)
{
    if ((rtc->cmos[CMOS_B] & B_BINARY) != 0) {
        return value;
    }
    return (value >> 4) * 10u + (value & 0xfu);
}

static uint8_t encode_hour(const struct rtc *rtc, unsigned int hour)
{
    if ((rtc->cmos[CMOS_B] & B_24_HOURS) != 0) {
        return encode(rtc, hour);
    }

    uint8_t value = encode(rtc, hour % 12 == 0 ? 12 : hour % 12);

    return hour >= 12 ? value | HOURS_PM : value;
}

static unsigned int decode_hour(const struct rtc *rtc, uint8_t value)
{
    if ((rtc->cmos[CMOS_B] & B_24_HOURS) != 0) {
        return decode(rtc, value);
    }
    return decode(rtc, value & (uint8_t)~HOURS_PM) % 12 + ((value & HOURS_PM) != 0 ? 12 : 0);
}

/* Fills the time registers from a time. */
static void show_time(struct rtc *rtc, int64_t seconds)
{
    struct calendar_time time = calendar_from_seconds(seconds);

    rtc->cmos[CMOS_SECONDS] = encode(rtc, time.second);
    rtc->cmos[CMOS_MINUTES] = encode(rtc, time.minute);
    rtc->cmos[CMOS_HOURS] = encode_hour(rtc, time.hour);
    rtc->cmos[CMOS_DAY_OF_WEEK] = encode(rtc, time.day_of_week);
    rtc->cmos[CMOS_DAY] = encode(rtc, time.day);
    rtc->cmos[CMOS_MONTH] = encode(rtc, time.month);
    rtc->cmos[CMOS_YEAR] = encode(rtc, time.year % 100);
    rtc->cmos[RTC_CMOS_CENTURY] = encode(rtc, time.year / 100);
}

/* The time that the registers show; whatever is in them, it is some time. */
static int64_t shown_time(const struct rtc *rtc)
{
    struct calendar_time time = {
        .year = decode(rtc, rtc->cmos[RTC_CMOS_CENTURY]) % 100 * 100 +
                decode(rtc, rtc->cmos[CMOS_YEAR]) % 100,
        .month = decode(rtc, rtc->cmos[CMOS_MONTH]),
        .day = decode(rtc, rtc->cmos[CMOS_DAY]),
        .hour = decode_hour(rtc, rtc->cmos[CMOS_HOURS]) % 24,
        .minute = decode(rtc, rtc->cmos[CMOS_MINUTES]) % 60,
        .second = decode(rtc, rtc->cmos[CMOS_SECONDS]) % 60,
    };

    return calendar_to_seconds(&time);
}

static void refresh(struct rtc *rtc)
{
    uint64_t nanoseconds;

    if (!is_held(rtc)) {
        show_time(rtc, guest_time(rtc, &nanoseconds));
    }
}

/* One part of the alarm: what it must be, or anything ("don't care", the two highest bits). */
static bool alarm_matches(const struct rtc *rtc, enum cmos_register alarm, unsigned int value)
{
    uint8_t wanted = rtc->cmos[alarm];

    if ((wanted & ALARM_DONT_CARE) == ALARM_DONT_CARE) {
        return true;
    }
    return (alarm == CMOS_HOURS_ALARM ? decode_hour(rtc, wanted) : decode(rtc, wanted)) == value;
}

/* The first second after a time at which the alarm goes off; INT64_MAX for an impossible one. */
static int64_t next_alarm(const struct rtc *rtc, int64_t after)
{
    int64_t second_of_day = ((after + 1) % 86400 + 86400) % 86400;
    int64_t passed = 0;

    /* An hour, a minute or a second at a time: some 200 steps at most within a day. */
    while (passed < 86400) {
        int64_t at = (second_of_day + passed) % 86400;

        if (!alarm_matches(rtc, CMOS_HOURS_ALARM, (unsigned int)(at / 3600))) {
            passed += 3600 - at % 3600;
        } else if (!alarm_matches(rtc, CMOS_MINUTES_ALARM, (unsigned int)(at / 60 % 60))) {
            passed += 60 - at % 60;
        } else if (!alarm_matches(rtc, CMOS_SECONDS_ALARM, (unsigned int)(at % 60))) {
            passed++;
        } else {
            return after + 1 + passed;
        }
    }
    return INT64_MAX;
}

/* Ticks of the 32768 Hz clock between periodic interrupts; 0 for none ("Periodic Rates"). */
static uint64_t periodic_ticks_of(const struct rtc *rtc)
{
    unsigned int rate = rtc->cmos[CMOS_A] & A_RATE;

    if (rate == 0 || rtc->cmos[CMOS_A] >> A_DIVIDER_SHIFT >= A_DIVIDER_HELD) {
        return 0;
    }
    return UINT64_C(1) << (rate <= 2 ? rate + 6 : rate - 1);
}

static uint64_t base_ticks(const struct rtc *rtc)
{
    return ticks_from_ns(host_time(rtc) - rtc->periodic_origin, BASE_CLOCK_HZ);
}

static void schedule_periodic(struct rtc *rtc)
{
    uint64_t period = periodic_ticks_of(rtc);

    rtc->periodic_next = period == 0 ? UINT64_MAX : (base_ticks(rtc) / period + 1) * period;
}

/* Sets the flags in C for all that has happened by now. */
static void catch_up(struct rtc *rtc)
{
    uint64_t nanoseconds;
    int64_t now = guest_time(rtc, &nanoseconds);

    if (!is_held(rtc) && now > rtc->last_update) {
        rtc->cmos[CMOS_C] |= B_UPDATE_ENDED;
        if (next_alarm(rtc, rtc->last_update) <= now) {
            rtc->cmos[CMOS_C] |= B_ALARM;
        }
    }
    if (now != rtc->last_update) { /* backwards, too: the wall clock may have been set */
        rtc->last_update = now;
    }
    if (base_ticks(rtc) >= rtc->periodic_next) {
        rtc->cmos[CMOS_C] |= B_PERIODIC;
        schedule_periodic(rtc);
    }
}

/* Arms a timer only for flags that would interrupt and are not set yet. */
static void rearm(struct rtc *rtc)
{
    struct timer_host *timers = rtc->config.timers;
    uint8_t wanted = rtc->cmos[CMOS_B] & (uint8_t)~rtc->cmos[CMOS_C];
    uint64_t nanoseconds;
    int64_t now = guest_time(rtc, &nanoseconds);
    int64_t event = INT64_MAX;

    if ((wanted & B_PERIODIC) != 0 && rtc->periodic_next != UINT64_MAX) {
        timers->arm(timers, &rtc->periodic_timer,
                    rtc->periodic_origin + ns_from_ticks(rtc->periodic_next, BASE_CLOCK_HZ));
    } else {
        timers->cancel(timers, &rtc->periodic_timer);
    }
    if ((wanted & B_ALARM) != 0) {
        event = next_alarm(rtc, now);
    }
    if ((wanted & B_UPDATE_ENDED) != 0) {
        event = now + 1;
    }
    if (event == INT64_MAX || is_held(rtc)) {
        timers->cancel(timers, &rtc->update_timer);
        return;
    }

    uint64_t seconds = (uint64_t)(event - now);

    if (seconds > UPDATE_TIMER_MAX_S) {
        seconds = UPDATE_TIMER_MAX_S;
    }
    timers->arm(timers, &rtc->update_timer,
                host_time(rtc) + seconds * NANOSECONDS_PER_SECOND - nanoseconds);
}

/* IRQF is the or of the flags whose interrupts are enabled; the line follows it. */
static void update(struct rtc *rtc)
{
    bool request = (rtc->cmos[CMOS_B] & rtc->cmos[CMOS_C] & B_INTERRUPTS) != 0;

    rtc->cmos[CMOS_C] &= (uint8_t)~C_REQUEST;
    if (request) {
        rtc->cmos[CMOS_C] |= C_REQUEST;
    }
    irq_line_set(&rtc->config.irq8, request);
    rearm(rtc);
}

static void timer_expired(void *context)
{
    catch_up(context);
    update(context);
}

/* A or B changed: the clock may have been stopped or have started again. */
static void change_control(struct rtc *rtc, enum cmos_register index, uint8_t value)
{
    bool was_held = is_held(rtc);
    bool divider_was_held = rtc->cmos[CMOS_A] >> A_DIVIDER_SHIFT >= A_DIVIDER_HELD;
    uint8_t old = rtc->cmos[index];
    uint64_t nanoseconds;

    refresh(rtc);
    rtc->cmos[index] = value;
    if (was_held && !is_held(rtc)) {
        guest_time(rtc, &nanoseconds);
        /* The first update comes half a second after the divider is let go ("DV2, DV1, DV0"). */
        set_guest_time(rtc, shown_time(rtc), divider_was_held ? HALF_SECOND_NS : nanoseconds);
    }
    if (index == CMOS_A && ((value ^ old) & (uint8_t)~A_UPDATE_IN_PROGRESS) != 0) {
        schedule_periodic(rtc);
    }
}

static void write_register(struct rtc *rtc, uint8_t index, uint8_t value)
{
    uint64_t nanoseconds;

    switch (index) {
    case CMOS_SECONDS:
    case CMOS_MINUTES:
    case CMOS_HOURS:
    case CMOS_DAY_OF_WEEK:
    case CMOS_DAY:
    case CMOS_MONTH:
    case CMOS_YEAR:
    case RTC_CMOS_CENTURY:
        refresh(rtc);
        rtc->cmos[index] = value;
        if (!is_held(rtc)) {
            guest_time(rtc, &nanoseconds);
            set_guest_time(rtc, shown_time(rtc), nanoseconds);
        }
        break;
    case CMOS_A:
        change_control(rtc, CMOS_A, value & (uint8_t)~A_UPDATE_IN_PROGRESS);
        break;
    case CMOS_B:
        if ((value & B_SET) != 0) {
            value &= (uint8_t)~B_UPDATE_ENDED; /* SET clears UIE */
        }
        change_control(rtc, CMOS_B, value);
        break;
    case CMOS_C:
    case CMOS_D:
        break; /* read only */
    default:
        rtc->cmos[index] = value;
        break;
    }
}

static uint8_t read_register(struct rtc *rtc, uint8_t index)
{
    uint64_t nanoseconds;
    uint8_t value;

    switch (index) {
    case CMOS_A:
        guest_time(rtc, &nanoseconds);
        if (!is_held(rtc) && nanoseconds >= NANOSECONDS_PER_SECOND - UPDATE_WARNING_NS) {
            return rtc->cmos[CMOS_A] | A_UPDATE_IN_PROGRESS;
        }
        return rtc->cmos[CMOS_A];
    case CMOS_C: /* reading takes all requests back */
        value = rtc->cmos[CMOS_C];
        rtc->cmos[CMOS_C] = 0;
        return value;
    default:
        refresh(rtc);
        return rtc->cmos[index];
    }
}

static uint8_t read_port(void *device, uint64_t offset)
{
    struct rtc *rtc = device;
    uint8_t value;

    if (offset == 0) {
        return rtc->index;
    }
    if (offset != 1) {
        return 0xff;
    }
    catch_up(rtc);
    update(rtc); /* IRQF must be right when C is read */
    value = read_register(rtc, rtc->index);
    update(rtc);
    return value;
}

static void write_port(void *device, uint64_t offset, uint8_t value)
{
    struct rtc *rtc = device;

    if (offset == 0) {
        rtc->index = value & (RTC_CMOS_SIZE - 1);
        rtc->nmi_disabled = (value & NMI_DISABLE) != 0;
    } else if (offset == 1) {
        catch_up(rtc);
        write_register(rtc, rtc->index, value);
        update(rtc);
    }
}

void rtc_io(void *device, struct bus_access *access)
{
    byte_access(device, access, read_port, write_port);
}

static void store(struct rtc *rtc, unsigned int index, uint64_t value, unsigned int bytes)
{
    uint64_t limit = (UINT64_C(1) << (8 * bytes)) - 1;

    value = value < limit ? value : limit;
    for (unsigned int i = 0; i < bytes; i++) {
        rtc->cmos[index + i] = (uint8_t)(value >> (8 * i));
    }
}

static void store_memory_sizes(struct rtc *rtc)
{
    uint64_t below = rtc->config.memory_below_4g;
    uint64_t extended = below > MIB ? (below - MIB) / KIB : 0;

    store(rtc, CMOS_BASE_MEMORY, below < 640 * KIB ? below / KIB : 640, 2);
    store(rtc, CMOS_EXTENDED_MEMORY, extended, 2);
    store(rtc, CMOS_EXTENDED_MEMORY_2, extended, 2);
    store(rtc, CMOS_ABOVE_16M, below > 16 * MIB ? (below - 16 * MIB) / (64 * KIB) : 0, 2);
    store(rtc, CMOS_ABOVE_4G, rtc->config.memory_above_4g / (64 * KIB), 3);
}

void rtc_reset(struct rtc *rtc)
{
    refresh(rtc);
    rtc->index = 0;
    rtc->nmi_disabled = false;
    rtc->cmos[CMOS_B] &= (uint8_t) ~(B_INTERRUPTS | B_SQUARE_WAVE);
    rtc->cmos[CMOS_C] = 0;
    update(rtc);
}

void rtc_init(struct rtc *rtc, const struct rtc_config *config)
{
    uint64_t nanoseconds;

    *rtc = (struct rtc){.config = *config};
    timer_init(&rtc->periodic_timer, timer_expired, rtc);
    timer_init(&rtc->update_timer, timer_expired, rtc);
    rtc->periodic_origin = host_time(rtc);
    rtc->cmos[CMOS_A] = A_AFTER_INIT;
    rtc->cmos[CMOS_B] = B_24_HOURS;
    rtc->cmos[CMOS_D] = D_VALID;
    rtc->last_update = guest_time(rtc, &nanoseconds);
    schedule_periodic(rtc);
    store_memory_sizes(rtc);
    rtc_reset(rtc);
}
