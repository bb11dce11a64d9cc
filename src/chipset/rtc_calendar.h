/*
 * The Gregorian calendar for the clock: seconds since 1970 to a date and back.
 *
 * Owner, thread: pure functions. Freestanding.
 */
#ifndef TRAPEZE_CHIPSET_RTC_CALENDAR_H
#define TRAPEZE_CHIPSET_RTC_CALENDAR_H

#include <stdint.h>

struct calendar_time {
    unsigned int year;  /* 0..9999 */
    unsigned int month; /* 1..12 */
    unsigned int day;   /* 1..31 */
    unsigned int hour, minute, second;
    unsigned int day_of_week; /* 1 is Sunday */
};

/* Years outside 0..9999 wrap within 10,000. */
struct calendar_time calendar_from_seconds(int64_t seconds);

/*
 * day_of_week is not looked at. A month or day that can't be is moved into its range (0 to 1, too
 * large to the largest); 31 in a shorter month runs over into the next.
 */
int64_t calendar_to_seconds(const struct calendar_time *time);

#endif
