#include "vtx/linux/run.h"

#include <asm/fpu/api.h>
#include <linux/eventfd.h>
#include <linux/preempt.h>
#include <linux/sched/signal.h>

#include "vtx/linux/context.h"
#include "vtx/linux/memory.h"

/* ---- what the program asks for ---- */

/*
 * Each byte is read once: its program may write meanwhile. An interrupt is left where it is while
 * another one waits here. Returns whether the run only completes.
 */
static bool take_wishes(struct vcpu *vcpu)
{
    struct trapeze_vtx_run *shared = vcpu->shared;
    vcpu->core.cr8 = READ_ONCE(shared->cr8) & 0xf;
    vcpu->window_wanted = READ_ONCE(shared->window_wanted) != 0;
    if (!vcpu->interrupt_waits && READ_ONCE(shared->has_interrupt) != 0) {
        vcpu->interrupt_waits = true;
        vcpu->interrupt = READ_ONCE(shared->interrupt);
        WRITE_ONCE(shared->has_interrupt, 0);
    }
    if (READ_ONCE(shared->nmi) != 0) {
        WRITE_ONCE(shared->nmi, 0);
        vtx_inject_nmi(&vcpu->core); /* a note: nothing of the processor */
    }
    return READ_ONCE(shared->immediate_exit) != 0;
}

/* The interrupt that waits, or the window for one. True: the program is to be told of a window. */
static bool offer_interrupt(struct vcpu *vcpu)
{
    bool can = vtx_can_interrupt(&vcpu->core);
    if (vcpu->interrupt_waits && can) {
        vtx_inject_interrupt(&vcpu->core, vcpu->interrupt);
        vcpu->interrupt_waits = can = false;
    }
    if (vcpu->window_wanted && can) {
        vcpu->window_wanted = false;
        return true;
    }
    vtx_want_interrupt_window(&vcpu->core, vcpu->interrupt_waits || vcpu->window_wanted);
    return false;
}

/* ---- doorbells ---- */

#define RINGS_MAX 1000u /* in one stay in the guest */

/* An exit that only rings one: it is served here. */
static bool rings_doorbell(struct vcpu *vcpu)
{
    const struct vcpu_exit *exit = &vcpu->core.exit;
    unsigned int i;
    if (exit->reason != EXIT_PIO || !exit->pio.is_write || exit->pio.count != 1) {
        return false;
    }
    for (i = 0; i < vcpu->vm->doorbell_count; i++) {
        const struct doorbell *doorbell = &vcpu->vm->doorbells[i];
        if (doorbell->port == exit->pio.port && doorbell->size == exit->pio.size &&
            (!doorbell->has_value ||
             memcmp(exit->pio.data, &doorbell->value, doorbell->size) == 0)) {
            eventfd_signal(doorbell->event, 1);
            vcpu->doorbells++;
            return true;
        }
    }
    return false;
}

/* ---- one stay in the guest ---- */

/*
 * Completes the last exit and, unless that was all that is wanted, runs the guest. Signals are
 * looked for with interrupts off: one that comes later sends this processor an interrupt, which
 * ends the stay.
 */
static enum vtx_outcome run_in_context(struct vcpu *vcpu, bool only_complete)
{
    enum vtx_outcome outcome;
    unsigned int rings;
    if (!vtx_vcpu_complete(&vcpu->core)) {
        return vcpu->core.exit.reason == EXIT_NONE ? VTX_MEMORY : VTX_EXIT;
    }
    if (offer_interrupt(vcpu)) {
        vcpu->core.exit.reason = EXIT_INTERRUPT_WINDOW;
        return VTX_EXIT;
    }
    if (only_complete || signal_pending(current) || need_resched()) {
        return VTX_INTERRUPT;
    }
    for (rings = 0; rings < RINGS_MAX; rings++) {
        outcome = vtx_vcpu_run(&vcpu->core);
        if (outcome != VTX_EXIT || !rings_doorbell(vcpu)) {
            return outcome;
        }
    }
    return VTX_INTERRUPT;
}

/* The guest's FPU and MSRs are in the processor only while interrupts are off. */
static int stay(struct vcpu *vcpu, bool only_complete, enum vtx_outcome *outcome)
{
    struct host_context host;
    int code;
    kernel_fpu_begin(); /* saves the program's, and switches preemption off */
    code = vcpu_load(vcpu);
    if (code == 0) {
        context_enter(vcpu, &host);
        *outcome = run_in_context(vcpu, only_complete);
        vcpu->interrupt_ready = !vcpu->interrupt_waits && vcpu->core.completion == NULL &&
                                vtx_can_interrupt(&vcpu->core);
        context_leave(vcpu, &host);
        local_irq_enable(); /* an interrupt that ended the stay is served here */
    }
    kernel_fpu_end();
    return code;
}

/* The end of the longest stay, and a window that an interrupt in the module waits for, are not. */
static bool is_for_program(const struct vcpu *vcpu, enum vtx_outcome outcome)
{
    return outcome == VTX_EXIT && vcpu->core.exit.reason != EXIT_KICKED &&
           !(vcpu->core.exit.reason == EXIT_INTERRUPT_WINDOW && vcpu->interrupt_waits);
}

/*
 * An instruction that was begun is ended whatever calls, as its program has served it; each turn
 * has mapped a page that it needs. Whoever is killed needs no more.
 */
static bool goes_on(const struct vcpu *vcpu, bool only_complete)
{
    if (vcpu->core.completion != NULL) {
        return !fatal_signal_pending(current);
    }
    return !only_complete && !signal_pending(current);
}

/* ---- all of it ---- */

static void tell_program(struct vcpu *vcpu)
{
    struct trapeze_vtx_run *shared = vcpu->shared;
    WRITE_ONCE(shared->cr8, vcpu->core.cr8);
    WRITE_ONCE(shared->interrupt_ready, vcpu->interrupt_ready);
    WRITE_ONCE(shared->tsc_offset, vcpu->core.tsc_offset);
}

int vcpu_run(struct vcpu *vcpu)
{
    bool only_complete = take_wishes(vcpu);
    enum vtx_outcome outcome = VTX_INTERRUPT;
    int code;
    if (vcpu->answer_due) {
        exit_take_answer(vcpu);
        vcpu->answer_due = false;
    }
    do {
        code = stay(vcpu, only_complete, &outcome);
        if (code == 0 && outcome == VTX_MEMORY) {
            code = memory_map(vcpu->vm, vcpu->core.missing.address);
        }
        cond_resched();
    } while (code == 0 && !is_for_program(vcpu, outcome) && goes_on(vcpu, only_complete));
    if (code == 0 && !is_for_program(vcpu, outcome)) {
        code = -EINTR;
    }
    if (code == 0) {
        exit_publish(vcpu);
        vcpu->answer_due = true;
        vcpu->returns++;
    }
    tell_program(vcpu);
    return code;
}
