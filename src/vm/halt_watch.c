#include "vm/halt_watch.h"

#include "vm/vcpu.h"

#define PERIOD_NS UINT64_C(500000000)

/*
 * Answers in a row, from the same place, that make it certain. A vCPU that is awake between them
 * to wake another by NMI would have to be asleep at each of these moments.
 */
#define ANSWERS 3u

/* The event thread, with the device lock held. */
static void ask(void *context)
{
    struct vm *vm = context;
    struct timer_host *timers = vm_timer_host(vm);
    pthread_mutex_lock(&vm->lock);
    vm->halt_round++;
    pthread_mutex_unlock(&vm->lock);
    for (unsigned int i = 0; i < vm->vcpu_count; i++) {
        vcpu_request(&vm->vcpus[i], VCPU_REQUEST_HALT_WATCH);
    }
    timers->arm(timers, &vm->halt_watch, timers->now(timers) + PERIOD_NS);
}

void halt_watch_start(struct vm *vm)
{
    struct timer_host *timers = vm_timer_host(vm);
    if ((vm->engine_features & ENGINE_HAS_LOCAL_APICS) == 0) {
        return;
    }
    pthread_mutex_lock(&vm->device_lock);
    timer_init(&vm->halt_watch, ask, vm);
    timers->arm(timers, &vm->halt_watch, timers->now(timers) + PERIOD_NS);
    pthread_mutex_unlock(&vm->device_lock);
}

void halt_watch_answer(struct vcpu *vcpu, bool asleep, uint64_t rip)
{
    struct vm *vm = vcpu->vm;
    bool stuck = true;
    pthread_mutex_lock(&vm->lock);
    bool as_before = asleep && vcpu->asleep_answers != 0 && vcpu->asleep_rip == rip;
    vcpu->asleep_answers = as_before ? vcpu->asleep_answers + 1 : asleep ? 1 : 0;
    vcpu->asleep_rip = rip;
    vcpu->asleep_round = vm->halt_round;
    for (unsigned int i = 0; i < vm->vcpu_count; i++) {
        const struct vcpu *each = &vm->vcpus[i];
        /* One that is busy in a device has not answered lately, whatever it said before. */
        stuck = stuck && each->asleep_answers >= ANSWERS && each->asleep_round == vm->halt_round;
    }
    pthread_mutex_unlock(&vm->lock);
    if (stuck) {
        vm_stop_by(vm, vcpu->index, VM_STUCK, 0, NULL);
    }
}
