/*
 * The smallest test harness that does the job: count, print where it failed, tell at the end.
 *
 * Use:    CHECK(condition); CHECK_EQUAL(actual, expected); SKIP("why"); return check_summary();
 * Owner:  one per test executable; the counters are static to the including file.
 * Thread: one.
 */
#ifndef TRAPEZE_TESTS_CHECK_H
#define TRAPEZE_TESTS_CHECK_H

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static unsigned int check_passed, check_failed, check_skipped;

static inline bool check_report(bool good, const char *file, int line, const char *what)
{
    if (good) {
        check_passed++;
    } else {
        check_failed++;
        fprintf(stderr, "%s:%d: FAILED: %s\n", file, line, what);
    }
    return good;
}

/* How often something is repeated: a tenth where the environment says that machines are slow. */
static inline unsigned int check_rounds(unsigned int many)
{
    return getenv("TRAPEZE_TEST_FEW") != NULL ? many / 10 : many;
}

static inline bool check_equal(uint64_t actual, uint64_t expected, const char *file, int line,
                               const char *what)
{
    bool good = check_report(actual == expected, file, line, what);
    if (!good) {
        fprintf(stderr, "    is 0x%" PRIx64 ", expected 0x%" PRIx64 "\n", actual, expected);
    }
    return good;
}

static inline void check_skip(const char *why)
{
    check_skipped++;
    printf("skipped: %s\n", why);
}

static inline int check_summary(void)
{
    printf("%u passed, %u failed, %u skipped\n", check_passed, check_failed, check_skipped);
    return check_failed == 0 ? 0 : 1;
}

#define CHECK(condition) check_report((condition), __FILE__, __LINE__, #condition)
#define CHECK_EQUAL(actual, expected)                                                              \
    check_equal((uint64_t)(actual), (uint64_t)(expected), __FILE__, __LINE__,                      \
                #actual " == " #expected)
#define SKIP(why) check_skip(why)

#endif
