#include "engines/soft/paravirt.h"

#include <time.h>

#include "engines/soft/memory.h"
#include "engines/soft/time_stamp.h"
#include "engines/soft/vm.h"

#define NANOSECONDS     UINT64_C(1000000000)
#define TSC_STABLE      1u /* bits of flags */
#define GUEST_STOPPED   2u
#define SYSTEM_TIME_ON  UINT64_C(1)
#define VERSION_SETTLED 2u /* an odd version says that an update is in progress */

/* Both structures as the guest's ABI has them. */
struct system_time {
    uint32_t version, padding;
    uint64_t tsc_timestamp;
    uint64_t system_time;
    uint32_t tsc_to_system_multiplier;
    int8_t tsc_shift;
    uint8_t flags;
    uint8_t padding2[2];
};

struct wall_clock {
    uint32_t version, seconds, nanoseconds;
};

_Static_assert(sizeof(struct system_time) == 32, "the ABI's size");
_Static_assert(sizeof(struct wall_clock) == 12, "the ABI's size");

struct soft_clock_scale soft_clock_scale(uint64_t hz)
{
    /* Brought into (10^9, 2 * 10^9] the multiplier fits its 32 bits with all its precision. */
    struct soft_clock_scale scale = {0, 0};
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

uint64_t soft_clock_nanoseconds(struct soft_clock_scale scale, uint64_t ticks)
{
    ticks = scale.shift < 0 ? ticks >> -scale.shift : ticks << scale.shift;
    return (uint64_t)((unsigned __int128)ticks * scale.multiplier >> 32);
}

/*
 * System time is the host's TSC in nanoseconds: one base for all vCPUs, whatever a guest writes to
 * its own counters.
 */
static void write_system_time(struct soft_cpu *cpu, uint8_t flags)
{
    uint64_t msr = cpu->clock_system_time_msr;
    if ((msr & SYSTEM_TIME_ON) == 0) {
        return;
    }
    struct soft_clock_scale scale = soft_clock_scale(cpu->vm->tsc_hz);
    uint64_t host = soft_host_tsc();
    struct system_time image = {
        .version = VERSION_SETTLED,
        .tsc_timestamp = host + cpu->tsc_offset,
        .system_time = soft_clock_nanoseconds(scale, host),
        .tsc_to_system_multiplier = scale.multiplier,
        .tsc_shift = scale.shift,
        .flags = flags,
    };
    /* The vCPU that reads it is this one, so it never sees half of it. */
    soft_physical_write(cpu, msr & ~SYSTEM_TIME_ON, &image, sizeof image);
}

void soft_update_system_time(struct soft_cpu *cpu)
{
    write_system_time(cpu, TSC_STABLE);
}

void soft_note_standstill(struct soft_cpu *cpu)
{
    write_system_time(cpu, TSC_STABLE | GUEST_STOPPED);
}

bool soft_write_system_time(struct soft_cpu *cpu, uint64_t value)
{
    cpu->clock_system_time_msr = value;
    soft_update_system_time(cpu);
    return true;
}

/* The wall clock at system time 0. */
bool soft_write_wall_clock(struct soft_cpu *cpu, uint64_t value)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t system = soft_clock_nanoseconds(soft_clock_scale(cpu->vm->tsc_hz), soft_host_tsc());
    uint64_t wall = (uint64_t)now.tv_sec * NANOSECONDS + (uint64_t)now.tv_nsec - system;
    struct wall_clock image = {.version = VERSION_SETTLED,
                               .seconds = (uint32_t)(wall / NANOSECONDS),
                               .nanoseconds = (uint32_t)(wall % NANOSECONDS)};
    cpu->clock_wall_msr = value;
    soft_physical_write(cpu, value, &image, sizeof image);
    return true;
}
