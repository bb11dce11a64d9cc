/* Copies of a vCPU's state for the lockstep check. */
#include "engines/soft/translate/lockstep_state.h"

#include <string.h>

static uint8_t *system_part(struct soft_cpu *cpu)
{
    return (uint8_t *)cpu + offsetof(struct soft_cpu, segment);
}

void lockstep_capture(struct soft_cpu *cpu, struct lockstep_state *state)
{
    soft_fpu_save(cpu->fpu);
    state->fpu = *cpu->fpu;
    memcpy(state->gpr, cpu->gpr, sizeof(state->gpr));
    memcpy(state->address_base, cpu->address_base, sizeof(state->address_base));
    state->flags = cpu->flags;
    state->rip = cpu->rip;
    state->next_rip = cpu->next_rip;
    state->instructions = cpu->instructions;
    state->pending_dr6 = cpu->pending_dr6;
    state->arithmetic = cpu->arithmetic;
    state->sti_shadow = cpu->sti_shadow;
    state->mov_ss_shadow = cpu->mov_ss_shadow;
    state->mid_string = cpu->mid_string;
    memcpy(state->system, system_part(cpu), sizeof(state->system));
}

void lockstep_restore(struct soft_cpu *cpu, const struct lockstep_state *state)
{
    soft_fpu_save(cpu->fpu); /* what is live belongs to the state that goes */
    *cpu->fpu = state->fpu;
    memcpy(cpu->gpr, state->gpr, sizeof(state->gpr));
    memcpy(cpu->address_base, state->address_base, sizeof(state->address_base));
    cpu->flags = state->flags;
    cpu->rip = state->rip;
    cpu->next_rip = state->next_rip;
    cpu->instructions = state->instructions;
    cpu->pending_dr6 = state->pending_dr6;
    cpu->arithmetic = state->arithmetic;
    cpu->sti_shadow = state->sti_shadow;
    cpu->mov_ss_shadow = state->mov_ss_shadow;
    cpu->mid_string = state->mid_string;
    memcpy(system_part(cpu), state->system, sizeof(state->system));
}

static bool same_flags(const struct lockstep_state *a, const struct lockstep_state *b,
                       uint64_t undefined)
{
    uint64_t differing = lockstep_arithmetic(a) ^ lockstep_arithmetic(b);
    return (differing & ~undefined) == 0 && a->flags == b->flags;
}

static bool same_x87(const struct soft_fpu *a, const struct soft_fpu *b)
{
    const struct soft_x87_pointers *p = &a->pointers, *q = &b->pointers;
    if (a->image.fcw != b->image.fcw || a->image.fsw != b->image.fsw ||
        a->image.ftw != b->image.ftw || p->fip != q->fip || p->fdp != q->fdp || p->fcs != q->fcs ||
        p->fds != q->fds || p->fop != q->fop) {
        return false;
    }
    for (unsigned int i = 0; i < 8; i++) {
        if (memcmp(a->image.st[i], b->image.st[i], 10) != 0) {
            return false;
        }
    }
    return true;
}

bool lockstep_equal(const struct lockstep_state *a, const struct lockstep_state *b,
                    uint64_t undefined)
{
    return memcmp(a->gpr, b->gpr, X86_GPR_COUNT * sizeof(a->gpr[0])) == 0 && a->rip == b->rip &&
           same_flags(a, b, undefined) && a->fpu.mxcsr == b->fpu.mxcsr &&
           memcmp(a->fpu.ymm, b->fpu.ymm, sizeof(a->fpu.ymm)) == 0 && same_x87(&a->fpu, &b->fpu) &&
           memcmp(a->system, b->system, sizeof(a->system)) == 0;
}
