#include "engines/soft/exclusive.h"

#include <sched.h>

/*
 * in_guest is true while a vCPU may touch guest memory. Who wants exclusiveness says so and waits
 * until all others are out; who enters looks whether somebody wants it. Both sides store first and
 * look then (sequentially consistent), so one of them sees the other.
 */
void soft_exclusive_enter_guest(struct soft_cpu *cpu)
{
    struct soft_vm *vm = cpu->vm;
    atomic_store(&cpu->in_guest, true);
    while (atomic_load(&vm->exclusive_wanted)) {
        atomic_store(&cpu->in_guest, false);
        pthread_mutex_lock(&vm->exclusive_lock);
        pthread_mutex_unlock(&vm->exclusive_lock);
        atomic_store(&cpu->in_guest, true);
    }
}

void soft_exclusive_leave_guest(struct soft_cpu *cpu)
{
    atomic_store(&cpu->in_guest, false);
}

void soft_exclusive_yield(struct soft_cpu *cpu)
{
    soft_exclusive_leave_guest(cpu);
    soft_exclusive_enter_guest(cpu);
}

void soft_exclusive_begin(struct soft_cpu *cpu)
{
    struct soft_vm *vm = cpu->vm;
    soft_exclusive_leave_guest(cpu); /* another vCPU may have been first and wait for us */
    pthread_mutex_lock(&vm->exclusive_lock);
    atomic_store(&vm->exclusive_wanted, true);
    for (unsigned int i = 0; i < vm->vcpu_count; i++) {
        struct soft_cpu *other = atomic_load(&vm->cpus[i]);
        if (other == NULL || other == cpu) {
            continue;
        }
        soft_attend(other, SOFT_ATTENTION_EXCLUSIVE);
        while (atomic_load(&other->in_guest)) {
            sched_yield();
        }
    }
    atomic_store(&cpu->in_guest, true);
    cpu->exclusive_held = true;
}

void soft_exclusive_end(struct soft_cpu *cpu)
{
    cpu->exclusive_held = false;
    atomic_store(&cpu->vm->exclusive_wanted, false);
    pthread_mutex_unlock(&cpu->vm->exclusive_lock);
}
