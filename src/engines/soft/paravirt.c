#include "engines/soft/paravirt.h"

#include "engines/soft/memory.h"
#include "engines/soft/time_stamp.h"
#include "engines/soft/vm.h"
#include "vm/paravirt_clock.h"

static void write_system_time(struct soft_cpu *cpu, bool stood_still)
{
    uint64_t msr = cpu->clock_system_time_msr;
    if ((msr & PARAVIRT_SYSTEM_TIME_ON) == 0) {
        return;
    }
    struct paravirt_system_time image =
        paravirt_system_time(cpu->vm->tsc_hz, soft_host_tsc(), cpu->tsc_offset, stood_still);
    /* The vCPU that reads it is this one, so it never sees half of it. */
    soft_physical_write(cpu, msr & ~PARAVIRT_SYSTEM_TIME_ON, &image, sizeof image);
}

void soft_update_system_time(struct soft_cpu *cpu)
{
    write_system_time(cpu, false);
}

void soft_note_standstill(struct soft_cpu *cpu)
{
    write_system_time(cpu, true);
}

bool soft_write_system_time(struct soft_cpu *cpu, uint64_t value)
{
    cpu->clock_system_time_msr = value;
    soft_update_system_time(cpu);
    return true;
}

bool soft_write_wall_clock(struct soft_cpu *cpu, uint64_t value)
{
    struct paravirt_wall_clock image = paravirt_wall_clock(cpu->vm->tsc_hz, soft_host_tsc());
    cpu->clock_wall_msr = value;
    soft_physical_write(cpu, value, &image, sizeof image);
    return true;
}
