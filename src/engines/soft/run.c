/*
 * The run loop: from exit to exit, between blocks, and what may happen there.
 */
#include "engines/soft/run.h"

#include <string.h>

#include "engines/soft/block.h"
#include "engines/soft/code.h"
#include "engines/soft/debug.h"
#include "engines/soft/dispatch.h"
#include "engines/soft/exclusive.h"
#include "engines/soft/interrupt.h"
#include "engines/soft/io.h"
#include "engines/soft/msr.h"
#include "engines/soft/system.h"
#include "engines/soft/translate.h"
#include "engines/soft/translate/measure.h"
#include "engines/soft/translate/translate.h"

/* --- between instructions --- */

static void clear_attention(struct soft_cpu *cpu, unsigned int bits)
{
    atomic_fetch_and_explicit(&cpu->attention, ~bits, memory_order_acquire);
}

static bool in_shadow(const struct soft_cpu *cpu)
{
    return cpu->sti_shadow || cpu->mov_ss_shadow;
}

static void enter_event(struct soft_cpu *cpu, enum soft_event_kind kind, uint8_t vector)
{
    struct soft_event event = {.kind = kind, .vector = vector, .return_rip = cpu->rip};
    cpu->halted = false;
    cpu->next_rip = cpu->rip;
    soft_deliver_event(cpu, &event);
}

/*
 * A maskable interrupt, if the source has one now. The flag goes off first: what arrives meanwhile
 * sets it again.
 */
static void take_interrupt(struct soft_cpu *cpu)
{
    const struct interrupt_source *source = cpu->interrupts;
    clear_attention(cpu, SOFT_ATTENTION_INTERRUPT);
    if (source == NULL) {
        return;
    }
    if ((cpu->flags & X86_FLAGS_IF) == 0) {
        cpu->interrupt_waiting = true;
        return;
    }
    if (!source->pending(source->context)) {
        return;
    }
    int vector = source->acknowledge(source->context);
    if (vector >= 0) {
        soft_attend(cpu, SOFT_ATTENTION_INTERRUPT); /* perhaps there are more */
        enter_event(cpu, SOFT_EVENT_EXTERNAL, (uint8_t)vector);
    }
}

/*
 * One NMI is latched while another is being handled; the rest are lost. The first of two that come
 * together would have been taken at once, had we looked in time: so it takes no place.
 */
static void take_nmi(struct soft_cpu *cpu)
{
    clear_attention(cpu, SOFT_ATTENTION_NMI);
    unsigned int waiting = atomic_exchange(&cpu->nmi_arrivals, 0) + (cpu->nmi_pending ? 1u : 0u);
    if (waiting == 0) {
        return;
    }
    if (cpu->nmi_blocked) {
        cpu->nmi_pending = true;
        return;
    }
    cpu->nmi_pending = waiting > 1;
    enter_event(cpu, SOFT_EVENT_NMI, X86_VECTOR_NMI);
}

/*
 * "Instruction-Breakpoint Exception Condition": a fault, before the instruction. It alone among
 * faults saves RF as it is, that is clear: its handler must set it ("Using the RF Flag").
 */
static void check_execute(struct soft_cpu *cpu)
{
    uint64_t hits = soft_debug_execute_hits(cpu, cpu->rip + cpu->code_base);
    if (hits != 0) {
        soft_debug_report(cpu, hits);
        cpu->dr[7] &= ~X86_DR7_GD;
        soft_raise(cpu, X86_VECTOR_DB);
    }
}

/* The traps that the instruction just completed has met. */
static _Noreturn void raise_traps(struct soft_cpu *cpu)
{
    soft_debug_report(cpu, cpu->pending_dr6);
    cpu->dr[7] &= ~X86_DR7_GD;
    cpu->pending_dr6 = 0;
    soft_raise(cpu, X86_VECTOR_DB);
}

/*
 * "Single-Step Exception Condition": TF as it was before the instruction decides, but where the
 * instruction itself saves RFLAGS and loads others. MOV SS puts the trap off for good: the next
 * instruction has its own.
 */
static void note_single_step(struct soft_cpu *cpu, bool trap, enum x86_operation operation)
{
    switch (operation) {
    case X86_OP_INT:
    case X86_OP_INT1:
    case X86_OP_INT3:
    case X86_OP_INTO:
    case X86_OP_SYSCALL:
    case X86_OP_SYSRET:
        trap = (cpu->flags & X86_FLAGS_TF) != 0;
        break;
    default:
        break;
    }
    if (trap && !cpu->mov_ss_shadow) {
        cpu->pending_dr6 |= X86_DR6_BS;
    }
}

static bool traps_are_due(const struct soft_cpu *cpu)
{
    return cpu->pending_dr6 != 0 && !cpu->mov_ss_shadow;
}

/*
 * The traps of an instruction that has just been run. One that is still to be served outside (OUT,
 * RDMSR) keeps them until it is; HLT is over when there are any.
 */
static void end_step(struct soft_cpu *cpu, enum x86_operation operation)
{
    if (operation == X86_OP_INT1 && cpu->pending_dr6 != 0) {
        soft_debug_report(cpu, cpu->pending_dr6); /* the same #DB tells of them */
        cpu->pending_dr6 = 0;
    }
    if (!traps_are_due(cpu)) {
        return;
    }
    if (cpu->halted) {
        clear_attention(cpu, SOFT_ATTENTION_LEAVE);
    }
    if ((atomic_load_explicit(&cpu->attention, memory_order_relaxed) & SOFT_ATTENTION_LEAVE) == 0) {
        raise_traps(cpu);
    }
}

/* One instruction with everything that a step may meet: shadows, TF, RF, breakpoints. */
static void step(struct soft_cpu *cpu)
{
    bool trap = (cpu->flags & X86_FLAGS_TF) != 0;
    cpu->sti_shadow = false;
    bool traps_wait = cpu->mov_ss_shadow; /* "MOV—Move" SS: debug exceptions wait as well */
    cpu->mov_ss_shadow = false;
    bool checked = cpu->trapped; /* before it left */
    if ((cpu->flags & X86_FLAGS_RF) == 0 && !traps_wait && !checked) {
        check_execute(cpu);
    }
    enum x86_operation operation = soft_run_single(cpu);
    cpu->trapped = false;
    soft_progress(cpu);
    if (operation != X86_OP_IRET && !cpu->mid_string) {
        cpu->flags &= ~X86_FLAGS_RF;
    }
    note_single_step(cpu, trap, operation);
    end_step(cpu, operation);
    bool stepping = (cpu->flags & (X86_FLAGS_TF | X86_FLAGS_RF)) != 0 || soft_debug_armed(cpu) ||
                    cpu->pending_dr6 != 0;
    if (!stepping) {
        clear_attention(cpu, SOFT_ATTENTION_STEP);
    }
}

/* True when run must return: *exit is filled in. */
static bool attend(struct soft_cpu *cpu)
{
    unsigned int attention = atomic_load_explicit(&cpu->attention, memory_order_acquire);
    cpu->link_from = NULL;
    if ((attention & SOFT_ATTENTION_CODE) != 0) {
        clear_attention(cpu, SOFT_ATTENTION_CODE);
        soft_code_serve_requests(cpu);
    }
    if ((attention & SOFT_ATTENTION_EXCLUSIVE) != 0) {
        clear_attention(cpu, SOFT_ATTENTION_EXCLUSIVE);
        soft_exclusive_yield(cpu);
    }
    if ((attention & SOFT_ATTENTION_LEAVE) != 0) {
        clear_attention(cpu, SOFT_ATTENTION_LEAVE);
        return true;
    }
    if ((attention & SOFT_ATTENTION_KICK) != 0) {
        clear_attention(cpu, SOFT_ATTENTION_KICK);
        cpu->exit->reason = EXIT_KICKED;
        return true;
    }
    if (traps_are_due(cpu)) {
        raise_traps(cpu); /* before interrupts: "Priority Among Concurrent Events" */
    }
    if (in_shadow(cpu)) {
        return false;
    }
    if ((attention & SOFT_ATTENTION_NMI) != 0) {
        take_nmi(cpu);
    }
    if ((attention & SOFT_ATTENTION_INTERRUPT) != 0) {
        take_interrupt(cpu);
    }
    return false;
}

/*
 * What left for a device in its middle goes on, its accesses so far replayed: an event on its way
 * in, the rest of a task switch, else the instruction from its beginning. So does a sensitive
 * instruction that has left: no event may come between its exit and its work.
 */
static void resume(struct soft_cpu *cpu)
{
    if (cpu->event_pending || cpu->task_rest.pending) {
        cpu->trapped = false; /* it was INT, which has become the event */
        soft_resume_event(cpu);
    } else if (cpu->mmio_done > 0 || cpu->trapped) {
        step(cpu);
    }
}

static void run_until_exit(struct soft_cpu *cpu)
{
    resume(cpu);
    for (;;) {
        if (atomic_load_explicit(&cpu->attention, memory_order_relaxed) != 0 && attend(cpu)) {
            return;
        }
        if (cpu->halted) {
            cpu->exit->reason = EXIT_HLT;
            return;
        }
        if (in_shadow(cpu) || (atomic_load_explicit(&cpu->attention, memory_order_relaxed) &
                               SOFT_ATTENTION_STEP) != 0) {
            step(cpu);
            continue;
        }
        if (translate_is_on(cpu) && translate_run(cpu)) {
            continue;
        }
        const struct soft_op *op = soft_block_enter(cpu);
        do {
            op = op->handler(cpu, op);
        } while (op != NULL);
    }
}

/* --- exits --- */

static void complete(struct soft_cpu *cpu)
{
    if (!cpu->completing) {
        return;
    }
    cpu->completing = false;
    switch (cpu->exit->reason) {
    case EXIT_PIO:
        soft_io_complete(cpu);
        break;
    case EXIT_RDMSR:
    case EXIT_WRMSR:
        soft_msr_complete(cpu);
        break;
    case EXIT_HYPERCALL:
        soft_hypercall_complete(cpu);
        break;
    default:
        break;
    }
}

static void report_shutdown(struct soft_cpu *cpu)
{
    struct vcpu_exit *exit = cpu->exit;
    exit->reason = EXIT_SHUTDOWN;
    exit->shutdown.exception_count = cpu->chain_count;
    memcpy(exit->shutdown.exceptions, cpu->chain, sizeof(cpu->chain));
}

/* What is left behind by an instruction that jumped out. */
static void tidy(struct soft_cpu *cpu)
{
    if (cpu->exclusive_held) {
        soft_exclusive_end(cpu);
    }
    cpu->link_from = NULL;
    cpu->code_changed = false;
}

static void end_run(struct soft_cpu *cpu)
{
    translate_measure(cpu, TRANSLATE_TIER_NONE);
    soft_exclusive_leave_guest(cpu);
}

void soft_run(struct soft_cpu *cpu, struct vcpu_exit *exit)
{
    cpu->exit = exit;
    if (exit->reason == EXIT_MMIO) {
        soft_mmio_complete(cpu);
    } else if (exit->reason == EXIT_NONE) {
        soft_abandon(cpu); /* nothing is to be completed: a new state, for instance */
    }
    soft_exclusive_enter_guest(cpu);
    translate_measure(cpu, TRANSLATE_TIER_INTERPRETER);
    enum soft_escape how = (enum soft_escape)sigsetjmp(cpu->escape, 0);
    if (translate_is_on(cpu) && how != SOFT_ESCAPE_NONE && !translate_escaped(cpu, &how)) {
        exit->reason = EXIT_KICKED;
        end_run(cpu);
        return;
    }
    switch (how) {
    case SOFT_ESCAPE_NONE:
        complete(cpu);
        run_until_exit(cpu);
        break;
    case SOFT_ESCAPE_EXCEPTION:
        tidy(cpu);
        soft_abandon(cpu);
        if (soft_deliver_exception(cpu)) {
            run_until_exit(cpu);
        } else {
            report_shutdown(cpu);
        }
        break;
    case SOFT_ESCAPE_RESTART:
        tidy(cpu);
        cpu->pending_dr6 = 0;
        cpu->mmio_next = 0; /* what was logged is replayed */
        run_until_exit(cpu);
        break;
    case SOFT_ESCAPE_EXIT:
    default:
        tidy(cpu);
        break;
    }
    end_run(cpu);
}
