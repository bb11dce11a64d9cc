/*
 * The MC146818 real-time clock with its CMOS RAM.
 *
 * Purpose: time of day, alarm, periodic and update-ended interrupts on IRQ 8, and the bytes in
 *          which firmware leaves memory sizes.
 * Source:  Motorola MC146818A data sheet, "Address Map", "Time, Calendar and Alarm Locations",
 *          "Registers"; Intel ICH data sheets, "RTC Registers".
 * Owner:   the machine embeds a struct rtc. Thread: under the device lock. Freestanding.
 */
#ifndef TRAPEZE_CHIPSET_RTC_H
#define TRAPEZE_CHIPSET_RTC_H

#include <stdbool.h>
#include <stdint.h>

#include "vm/bus.h"
#include "vm/irq.h"
#include "vm/timer.h"

#define RTC_PORT         0x70 /* 2 ports: rtc_io */
#define RTC_CMOS_SIZE    128
#define RTC_CMOS_CENTURY 0x32 /* for the FADT's CENTURY field */

struct rtc_config {
    struct timer_host *timers;
    struct irq_line irq8;
    uint64_t (*wall_clock)(void *context); /* nanoseconds since 1970-01-01 00:00 UTC */
    void *wall_clock_context;
    uint64_t memory_below_4g; /* bytes of RAM from address 0 on */
    uint64_t memory_above_4g;
};

struct rtc {
    struct rtc_config config;
    uint8_t index;     /* of the register that port 71h shows */
    bool nmi_disabled; /* bit 7 of port 70h */
    /* The time registers hold what is shown while SET or the divider stops the clock. */
    uint8_t cmos[RTC_CMOS_SIZE];
    /* The guest's time is the wall clock plus these. */
    int64_t offset_seconds;
    uint64_t offset_nanoseconds; /* below 10^9 */
    int64_t last_update;         /* the second up to which updates and alarms have been seen */
    uint64_t periodic_origin;    /* timer_host time of the 32768 Hz clock's tick 0 */
    uint64_t periodic_next;      /* its tick at the next periodic interrupt; UINT64_MAX: never */
    struct timer periodic_timer;
    struct timer update_timer;
};

void rtc_init(struct rtc *rtc, const struct rtc_config *config);
/* The RESET# pin: interrupts off; the time and the RAM stay. */
void rtc_reset(struct rtc *rtc);

bus_io_fn rtc_io;

#endif
