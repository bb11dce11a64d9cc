/*
 * Accesses to guest physical addresses that no RAM answers.
 *
 * Such an access leaves the run loop as an exit. When the exit has been served the instruction runs
 * again from its beginning; the accesses it had made before are taken from the log, in order, so
 * that no device sees one twice. The log has room for what any instruction does (XRSTOR of every
 * component makes 105); were there more, no device would answer.
 */
#include <string.h>

#include "engines/soft/translate.h"

/* The logged access that comes next, if it is this one; else forgets the log from here on. */
static struct soft_mmio_record *replayed(struct soft_cpu *cpu, uint64_t physical, unsigned int size,
                                         bool is_write)
{
    if (cpu->mmio_next >= cpu->mmio_done) {
        return NULL;
    }
    struct soft_mmio_record *record = &cpu->mmio_log[cpu->mmio_next];
    if (record->address != physical || record->size != size || record->is_write != is_write) {
        cpu->mmio_done = cpu->mmio_next;
        return NULL;
    }
    cpu->mmio_next++;
    return record;
}

static _Noreturn void leave_for_mmio(struct soft_cpu *cpu, uint64_t physical, uint64_t value,
                                     unsigned int size, bool is_write)
{
    struct vcpu_exit *exit = cpu->exit;
    exit->reason = EXIT_MMIO;
    exit->mmio.address = physical;
    exit->mmio.size = (uint8_t)size;
    exit->mmio.is_write = is_write;
    memset(exit->mmio.data, is_write ? 0 : 0xff, sizeof(exit->mmio.data));
    if (is_write) {
        memcpy(exit->mmio.data, &value, size);
    }
    soft_leave_and_restart(cpu);
}

uint64_t soft_mmio_read(struct soft_cpu *cpu, uint64_t physical, unsigned int size)
{
    struct soft_mmio_record *record = replayed(cpu, physical, size, false);
    if (record != NULL) {
        return record->value;
    }
    if (soft_mmio_log_is_full(cpu)) {
        return UINT64_MAX >> (64 - 8 * size);
    }
    leave_for_mmio(cpu, physical, 0, size, false);
}

void soft_mmio_write(struct soft_cpu *cpu, uint64_t physical, uint64_t value, unsigned int size)
{
    if (replayed(cpu, physical, size, true) == NULL && !soft_mmio_log_is_full(cpu)) {
        leave_for_mmio(cpu, physical, value, size, true);
    }
}

void soft_mmio_record(struct soft_cpu *cpu, const struct soft_mmio_record *record)
{
    if (!soft_mmio_log_is_full(cpu)) {
        cpu->mmio_log[cpu->mmio_done++] = *record;
    }
    cpu->mmio_next = 0;
}

void soft_mmio_complete(struct soft_cpu *cpu)
{
    const struct vcpu_exit *exit = cpu->exit;
    struct soft_mmio_record record = {
        .address = exit->mmio.address, .size = exit->mmio.size, .is_write = exit->mmio.is_write};
    memcpy(&record.value, exit->mmio.data, exit->mmio.size);
    soft_mmio_record(cpu, &record);
}
