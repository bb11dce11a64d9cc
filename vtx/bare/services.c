#include "vtx/bare/services.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "chipset/rtc_calendar.h"
#include "vtx/bare/console.h"
#include "vtx/bare/format.h"
#include "vtx/bare/machine_interrupts.h"
#include "vtx/bare/ports.h"

#define CALIBRATION_US 20000u
#define RTC_INDEX      0x70
#define RTC_DATA       0x71
#define RTC_UPDATING   0x80 /* of register A */
#define RTC_BINARY     0x04 /* of register B */
#define RTC_READS_MAX  1000000u

struct event_loop {
    uint64_t deadline;
    event_deadline_fn *reached;
    void *context;
};

/* The image's own state: there is one machine. */
static struct {
    uint64_t tsc_start, tsc_hz;
    uint64_t ns_of_ticks; /* nanoseconds of 2^32 ticks */
    uint64_t boot_time_ns;
    bool verbose;
    struct event_loop loop;
} services = {.loop = {.deadline = EVENT_LOOP_NEVER}};

/* ---- base/clock.h ---- */

uint64_t clock_tsc(void)
{
    return __builtin_ia32_rdtsc();
}

uint64_t clock_tsc_hz(const char **source)
{
    if (source != NULL) {
        *source = "measured against the 8254";
    }
    return services.tsc_hz;
}

uint64_t clock_now_ns(void)
{
    unsigned __int128 ticks = clock_tsc() - services.tsc_start;
    return (uint64_t)(ticks * services.ns_of_ticks >> 32);
}

static uint8_t read_rtc(uint8_t index)
{
    port_write8(RTC_INDEX, index);
    return port_read8(RTC_DATA);
}

static unsigned int rtc_number(uint8_t index)
{
    uint8_t value = read_rtc(index);
    return (read_rtc(0x0b) & RTC_BINARY) != 0 ? value : (value >> 4) * 10u + (value & 0xfu);
}

/* "Time, Calendar and Alarm Locations" of the MC146818A; this century, 24-hour mode. */
static uint64_t seconds_of_day_clock(void)
{
    for (unsigned int i = 0; i < RTC_READS_MAX && (read_rtc(0x0a) & RTC_UPDATING) != 0; i++) {
    }
    struct calendar_time time = {.year = 2000 + rtc_number(9),
                                 .month = rtc_number(8),
                                 .day = rtc_number(7),
                                 .hour = rtc_number(4),
                                 .minute = rtc_number(2),
                                 .second = rtc_number(0)};
    int64_t seconds = calendar_to_seconds(&time);
    return seconds > 0 ? (uint64_t)seconds : 0;
}

void services_init(void)
{
    uint64_t begin = clock_tsc();
    machine_spin(CALIBRATION_US);
    uint64_t ticks = clock_tsc() - begin;
    services.tsc_hz = (ticks != 0 ? ticks : 1) * (1000000u / CALIBRATION_US);
    services.ns_of_ticks = (uint64_t)(((unsigned __int128)1000000000u << 32) / services.tsc_hz);
    services.tsc_start = begin;
    services.boot_time_ns = seconds_of_day_clock() * 1000000000u;
}

uint64_t services_boot_time_ns(void)
{
    return services.boot_time_ns;
}

/* ---- base/event_loop.h: the deadline ---- */

struct event_loop *services_event_loop(void)
{
    return &services.loop;
}

static void set_timer(const struct event_loop *loop)
{
    uint64_t now = clock_now_ns();
    uint64_t wait = loop->deadline > now ? loop->deadline - now : 0;
    machine_timer_set(wait < MACHINE_TIMER_MAX_NS ? wait : MACHINE_TIMER_MAX_NS);
}

void event_loop_on_deadline(struct event_loop *loop, event_deadline_fn *reached, void *context)
{
    loop->reached = reached;
    loop->context = context;
}

void event_loop_set_deadline(struct event_loop *loop, uint64_t deadline_ns)
{
    loop->deadline = deadline_ns;
    set_timer(loop);
}

void services_run_deadline(struct event_loop *loop)
{
    if (loop->reached != NULL && clock_now_ns() >= loop->deadline) {
        loop->deadline = EVENT_LOOP_NEVER;
        loop->reached(loop->context);
    }
    set_timer(loop);
}

/* ---- base/error.h ---- */

static int set_text(struct error *error, int code, const char *format, va_list arguments)
{
    if (error != NULL) {
        format_text(error->text, sizeof(error->text), format, arguments);
    }
    return code > 0 ? -code : code;
}

int error_set(struct error *error, int code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int result = set_text(error, code, format, arguments);
    va_end(arguments);
    return result;
}

/* ---- base/log.h ---- */

static void log_line(const char *format, va_list arguments)
{
    print("trapeze-bare: ");
    print_arguments(format, arguments);
    print("\n");
}

void log_warn(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    log_line(format, arguments);
    va_end(arguments);
}

void log_info(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (services.verbose) {
        log_line(format, arguments);
    }
    va_end(arguments);
}

void services_be_verbose(void)
{
    services.verbose = true;
}
