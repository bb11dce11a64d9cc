#include "vm/paravirt_clock.h"

#include <time.h>

#define NANOSECONDS     UINT64_C(1000000000)
#define TSC_STABLE      1u /* bits of flags */
#define GUEST_STOPPED   2u
#define VERSION_SETTLED 2u /* an odd version says that an update is in progress */

_Static_assert(sizeof(struct paravirt_system_time) == 32, "the ABI's size");
_Static_assert(sizeof(struct paravirt_wall_clock) == 12, "the ABI's size");

struct paravirt_clock_scale paravirt_clock_scale(uint64_t hz)
{
    /* Brought into (10^9, 2 * 10^9] the multiplier fits its 32 bits with all its precision. */
    struct paravirt_clock_scale scale = {0, 0};
    while (hz > 2 * NANOSECONDS) {
        hz >>= 1;
        scale.shift--;
    }
    while (hz <= NANOSECONDS) {
        hz <<= 1;
        scale.shift++;
    }
    scale.multiplier = (uint32_t)((NANOSECONDS << 32) / hz);
    return scale;
}

uint64_t paravirt_clock_nanoseconds(struct paravirt_clock_scale scale, uint64_t ticks)
{
    ticks = scale.shift < 0 ? ticks >> -scale.shift : ticks << scale.shift;
    return (uint64_t)((unsigned __int128)ticks * scale.multiplier >> 32);
}

struct paravirt_system_time paravirt_system_time(uint64_t tsc_hz, uint64_t host_tsc,
                                                 uint64_t tsc_offset, bool stood_still)
{
    struct paravirt_clock_scale scale = paravirt_clock_scale(tsc_hz);
    return (struct paravirt_system_time){
        .version = VERSION_SETTLED,
        .tsc_timestamp = host_tsc + tsc_offset,
        .system_time = paravirt_clock_nanoseconds(scale, host_tsc),
        .tsc_to_system_multiplier = scale.multiplier,
        .tsc_shift = scale.shift,
        .flags = stood_still ? TSC_STABLE | GUEST_STOPPED : TSC_STABLE,
    };
}

struct paravirt_wall_clock paravirt_wall_clock(uint64_t tsc_hz, uint64_t host_tsc)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t system = paravirt_clock_nanoseconds(paravirt_clock_scale(tsc_hz), host_tsc);
    uint64_t wall = (uint64_t)now.tv_sec * NANOSECONDS + (uint64_t)now.tv_nsec - system;
    return (struct paravirt_wall_clock){.version = VERSION_SETTLED,
                                        .seconds = (uint32_t)(wall / NANOSECONDS),
                                        .nanoseconds = (uint32_t)(wall % NANOSECONDS)};
}
