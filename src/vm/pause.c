#include "vm/pause.h"

#include "vm/vcpu.h"
#include "vm/vm_timers.h"

/* The device lock as well: that timers are held and that the VM is paused change together. */
static void lock_both(struct vm *vm)
{
    pthread_mutex_lock(&vm->device_lock);
    pthread_mutex_lock(&vm->lock);
}

static void unlock_both(struct vm *vm)
{
    pthread_mutex_unlock(&vm->lock);
    pthread_mutex_unlock(&vm->device_lock);
}

bool vm_pause(struct vm *vm)
{
    lock_both(vm);
    bool is_first = vm->pauses++ == 0;
    vm_timers_hold(vm->timers, true);
    unlock_both(vm);
    for (unsigned int i = 0; is_first && i < vm->vcpu_count; i++) {
        vcpu_request(&vm->vcpus[i], VCPU_REQUEST_PAUSE);
    }
    pthread_mutex_lock(&vm->lock);
    while (vm->outcome == VM_RUNNING && vm->parked < vm->running) {
        pthread_cond_wait(&vm->changed, &vm->lock);
    }
    bool stands_still = vm->outcome == VM_RUNNING;
    pthread_mutex_unlock(&vm->lock);
    return stands_still;
}

void vm_resume(struct vm *vm)
{
    lock_both(vm);
    if (vm->pauses != 0 && --vm->pauses == 0) {
        vm_timers_hold(vm->timers, false);
        pthread_cond_broadcast(&vm->changed);
    }
    unlock_both(vm);
}

void pause_park(struct vcpu *vcpu)
{
    struct vm *vm = vcpu->vm;
    pthread_mutex_lock(&vm->lock);
    bool has_waited = vm->pauses != 0;
    vm->parked++;
    pthread_cond_broadcast(&vm->changed);
    while (vm->pauses != 0 && vm->outcome == VM_RUNNING) {
        pthread_cond_wait(&vm->changed, &vm->lock);
    }
    vm->parked--;
    pthread_mutex_unlock(&vm->lock);
    if (has_waited && vm->engine->stood_still != NULL) {
        vm->engine->stood_still(vcpu->engine_vcpu);
    }
}
