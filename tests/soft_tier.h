/*
 * Which of the soft engine's tiers a test runs guest code with.
 *
 * Purpose: the tests of guest code are for both tiers; Meson runs each twice, with the engine's
 *          settings in the environment (TRAPEZE_TEST_SOFT).
 * Owner, thread: none.
 */
#ifndef TRAPEZE_TESTS_SOFT_TIER_H
#define TRAPEZE_TESTS_SOFT_TIER_H

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* For engine_vm_options.arguments; NULL: as the engine comes. */
static inline const char *soft_tier_arguments(void)
{
    return getenv("TRAPEZE_TEST_SOFT");
}

/* True if nothing that can be translated is interpreted first. */
static inline bool soft_tier_translates_at_once(void)
{
    const char *arguments = soft_tier_arguments();
    return arguments != NULL && strstr(arguments, "translate-after=0") != NULL;
}

#endif
