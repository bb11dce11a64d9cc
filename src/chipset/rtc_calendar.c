#include "chipset/rtc_calendar.h"

#define DAYS_OF_400_YEARS            146097
#define DAYS_FROM_0000_MARCH_TO_1970 719468
#define SECONDS_OF_A_DAY             86400

/*
 * Years are counted from March here, so that a leap day is the last of its year and the days before
 * a month are a straight line: 153 days for each five months.
 */
static int64_t days_before_month(int64_t month_from_march)
{
    return (153 * month_from_march + 2) / 5;
}

static int64_t days_before_year(int64_t year)
{
    return 365 * year + year / 4 - year / 100 + year / 400;
}

static unsigned int clamp(unsigned int value, unsigned int low, unsigned int high)
{
    return value < low ? low : value > high ? high : value;
}

int64_t calendar_to_seconds(const struct calendar_time *time)
{
    int64_t month = clamp(time->month, 1, 12);
    int64_t day = clamp(time->day, 1, 31);
    /* 400 years more keep the first months of the year 0 positive. */
    int64_t year = (int64_t)time->year + 400 - (month <= 2 ? 1 : 0);
    int64_t days = days_before_year(year) + days_before_month((month + 9) % 12) + day - 1 -
                   DAYS_OF_400_YEARS - DAYS_FROM_0000_MARCH_TO_1970;

    return days * SECONDS_OF_A_DAY + (int64_t)time->hour * 3600 + (int64_t)time->minute * 60 +
           (int64_t)time->second;
}

/* Quotient and remainder for a positive divisor, the remainder never negative. */
static int64_t floor_divide(int64_t value, int64_t divisor, int64_t *remainder)
{
    int64_t quotient = value / divisor;

    *remainder = value % divisor;
    if (*remainder < 0) {
        *remainder += divisor;
        quotient--;
    }
    return quotient;
}

struct calendar_time calendar_from_seconds(int64_t seconds)
{
    int64_t second_of_day, day, day_of_week;
    int64_t days = floor_divide(seconds, SECONDS_OF_A_DAY, &second_of_day);
    int64_t era = floor_divide(days + DAYS_FROM_0000_MARCH_TO_1970, DAYS_OF_400_YEARS, &day);

    floor_divide(days + 4, 7, &day_of_week); /* 1970-01-01 was a Thursday */
    /* Within 400 years: the year's number is off by one at most from the average's. */
    int64_t year = day * 400 / DAYS_OF_400_YEARS;

    if (days_before_year(year) > day) {
        year--;
    } else if (days_before_year(year + 1) <= day) {
        year++;
    }
    day -= days_before_year(year);

    int64_t month = (5 * day + 2) / 153;

    day -= days_before_month(month);
    year += era * 400 + (month >= 10 ? 1 : 0);
    floor_divide(year, 10000, &year);
    return (struct calendar_time){
        .year = (unsigned int)year,
        .month = (unsigned int)((month + 2) % 12 + 1),
        .day = (unsigned int)(day + 1),
        .hour = (unsigned int)(second_of_day / 3600),
        .minute = (unsigned int)(second_of_day / 60 % 60),
        .second = (unsigned int)(second_of_day % 60),
        .day_of_week = (unsigned int)(day_of_week + 1),
    };
}
