/*
 * How eagerly code is translated when the code cache is too small: less while making blocks takes
 * too large a part of the time, and as before when that is over.
 */
#include "check.h"
#include "engines/soft/translate/pressure.h"

#define LONG_TIME (UINT64_C(1) << 40)

static unsigned int considered_of(struct translate_pressure *pressure, unsigned int places)
{
    unsigned int count = 0;
    for (unsigned int i = 0; i < places; i++) {
        count += translate_pressure_considers(pressure) ? 1 : 0;
    }
    return count;
}

/* So many evictions, a million cycles apart, of which `making` went into blocks. */
static uint64_t evict(struct translate_pressure *pressure, uint64_t now, unsigned int times,
                      uint64_t making)
{
    for (unsigned int i = 0; i < times; i++) {
        now += 1000000;
        pressure->making = making;
        translate_pressure_evicted(pressure, now);
    }
    return now;
}

static void test_thrashing(void)
{
    struct translate_pressure pressure = {0};
    CHECK_EQUAL(considered_of(&pressure, 1024), 1024);
    uint64_t now = evict(&pressure, LONG_TIME, 1, 900000);
    CHECK_EQUAL(considered_of(&pressure, 1024), 1024); /* since when is not known yet */
    now = evict(&pressure, now, 1, 900000);
    CHECK_EQUAL(considered_of(&pressure, 1024), 512);
    now = evict(&pressure, now, 2, 900000);
    CHECK_EQUAL(considered_of(&pressure, 1024), 128);
    now = evict(&pressure, now, 100, 900000);
    unsigned int least = considered_of(&pressure, 1024);
    CHECK(least > 0 && least < 16);
    evict(&pressure, now, 100, 1000); /* evictions that cost little change nothing */
    CHECK_EQUAL(considered_of(&pressure, 1024), least);
}

static void test_relaxing(void)
{
    struct translate_pressure pressure = {0};
    uint64_t now = evict(&pressure, LONG_TIME, 4, 900000);
    CHECK_EQUAL(considered_of(&pressure, 1024), 128);
    translate_pressure_relax(&pressure, now + 1000);
    CHECK_EQUAL(considered_of(&pressure, 1024), 128);
    for (unsigned int i = 1; i <= 100; i++) {
        translate_pressure_relax(&pressure, now + i * LONG_TIME);
    }
    CHECK_EQUAL(considered_of(&pressure, 1024), 1024);
}

int main(void)
{
    test_thrashing();
    test_relaxing();
    return check_summary();
}
