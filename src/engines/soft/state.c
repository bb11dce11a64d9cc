#include "engines/soft/state.h"

#include <errno.h>
#include <string.h>

#include "engines/soft/block.h"
#include "engines/soft/debug.h"
#include "engines/soft/memory.h"
#include "engines/soft/time_stamp.h"
#include "engines/soft/translate.h"
#include "engines/soft/vm.h"
#include "engines/soft/xsave.h"

static void get_general(const struct soft_cpu *cpu, struct x86_state *state)
{
    memcpy(state->gpr, cpu->gpr, sizeof(state->gpr));
    state->rip = cpu->rip;
    state->rflags = soft_rflags(cpu);
}

static void get_system(const struct soft_cpu *cpu, struct x86_state *state)
{
    memcpy(state->segment, cpu->segment, sizeof(state->segment));
    state->gdtr = cpu->gdtr;
    state->idtr = cpu->idtr;
    state->cr0 = cpu->cr0;
    state->cr2 = cpu->cr2;
    state->cr3 = cpu->cr3;
    state->cr4 = cpu->cr4;
    state->efer = cpu->efer;
    const struct interrupt_source *source = cpu->interrupts;
    state->cr8 = source != NULL && source->get_cr8 != NULL ? source->get_cr8(source->context) : 0;
}

static void get_events(const struct soft_cpu *cpu, struct x86_state *state)
{
    state->activity = cpu->halted ? X86_HALTED : X86_ACTIVE;
    state->sti_shadow = cpu->sti_shadow;
    state->mov_ss_shadow = cpu->mov_ss_shadow;
    state->nmi_blocked = cpu->nmi_blocked;
    state->nmi_pending = cpu->nmi_pending;
    state->exception_pending = false; /* an exception is delivered before run returns */
    state->exception_has_error = false;
    state->exception_vector = 0;
    state->exception_error = 0;
}

void soft_get_state(struct soft_cpu *cpu, unsigned int groups, struct x86_state *state)
{
    if ((groups & X86_STATE_GENERAL) != 0) {
        get_general(cpu, state);
    }
    if ((groups & X86_STATE_SYSTEM) != 0) {
        get_system(cpu, state);
    }
    if ((groups & X86_STATE_DEBUG) != 0) {
        memcpy(state->dr, cpu->dr, sizeof(state->dr));
    }
    if ((groups & X86_STATE_MSRS) != 0) {
        state->msr = cpu->msr;
        state->msr.tsc = soft_guest_tsc(cpu);
    }
    if ((groups & X86_STATE_FPU) != 0) {
        soft_fpu_get(cpu, state);
    }
    if ((groups & X86_STATE_EVENTS) != 0) {
        get_events(cpu, state);
    }
}

static void set_general(struct soft_cpu *cpu, const struct x86_state *state)
{
    memcpy(cpu->gpr, state->gpr, sizeof(state->gpr));
    cpu->rip = state->rip;
    soft_set_rflags(cpu, state->rflags);
}

static int set_system(struct soft_cpu *cpu, const struct x86_state *state, struct error *error)
{
    memcpy(cpu->segment, state->segment, sizeof(state->segment));
    cpu->gdtr = state->gdtr;
    cpu->idtr = state->idtr;
    cpu->cr0 = state->cr0 | X86_CR0_ET;
    cpu->cr2 = state->cr2;
    cpu->cr3 = state->cr3;
    cpu->cr4 = state->cr4;
    cpu->efer = state->efer;
    const struct interrupt_source *source = cpu->interrupts;
    if (source != NULL && source->set_cr8 != NULL) {
        source->set_cr8(source->context, (uint8_t)(state->cr8 & 15));
    }
    bool pae = (cpu->cr0 & X86_CR0_PG) != 0 && (cpu->cr4 & X86_CR4_PAE) != 0 &&
               (cpu->efer & X86_EFER_LMA) == 0;
    if (pae && !soft_load_pdptes(cpu, cpu->cr3)) {
        return error_set(error, EINVAL,
                         "CR3 points at PAE page-directory pointers that have "
                         "reserved bits set");
    }
    return 0;
}

static void set_events(struct soft_cpu *cpu, const struct x86_state *state)
{
    cpu->halted = state->activity == X86_HALTED;
    cpu->sti_shadow = state->sti_shadow;
    cpu->mov_ss_shadow = state->mov_ss_shadow;
    cpu->nmi_blocked = state->nmi_blocked;
    cpu->nmi_pending = state->nmi_pending;
    if (cpu->nmi_pending) {
        soft_attend(cpu, SOFT_ATTENTION_NMI);
    }
}

int soft_set_state(struct soft_cpu *cpu, unsigned int groups, const struct x86_state *state,
                   struct error *error)
{
    int status = 0;
    if ((groups & X86_STATE_FPU) != 0) {
        status = soft_fpu_set(cpu, state, error);
        if (status != 0) {
            return status;
        }
    }
    if ((groups & X86_STATE_SYSTEM) != 0) {
        status = set_system(cpu, state, error);
    }
    if ((groups & X86_STATE_GENERAL) != 0) {
        set_general(cpu, state);
    }
    if ((groups & X86_STATE_DEBUG) != 0) {
        memcpy(cpu->dr, state->dr, sizeof(state->dr));
        soft_debug_changed(cpu);
    }
    if ((groups & X86_STATE_MSRS) != 0) {
        cpu->msr = state->msr;
        uint64_t zero_at = state->msr.tsc != 0 ? soft_host_tsc() : cpu->vm->tsc_origin;
        cpu->tsc_offset = state->msr.tsc - zero_at;
    }
    if ((groups & X86_STATE_EVENTS) != 0) {
        set_events(cpu, state);
    }
    soft_mode_changed(cpu);
    soft_tlb_flush_all(cpu);
    soft_attend(cpu, SOFT_ATTENTION_INTERRUPT);
    return status;
}
