#include "engines/vtx/vtx_abi.h"

#include <stddef.h>
#include <string.h>

_Static_assert((unsigned int)TRAPEZE_VTX_GENERAL == X86_STATE_GENERAL &&
                   (unsigned int)TRAPEZE_VTX_SYSTEM == X86_STATE_SYSTEM &&
                   (unsigned int)TRAPEZE_VTX_DEBUG == X86_STATE_DEBUG &&
                   (unsigned int)TRAPEZE_VTX_MSRS == X86_STATE_MSRS &&
                   (unsigned int)TRAPEZE_VTX_FPU == X86_STATE_FPU &&
                   (unsigned int)TRAPEZE_VTX_EVENTS == X86_STATE_EVENTS &&
                   TRAPEZE_VTX_ALL_GROUPS == X86_STATE_ALL,
               "the groups have the same bits");
_Static_assert(
    sizeof(((struct trapeze_vtx_general *)0)->gpr) == sizeof(((struct x86_state *)0)->gpr) &&
        sizeof(((struct trapeze_vtx_debug *)0)->dr) == sizeof(((struct x86_state *)0)->dr) &&
        sizeof(((struct trapeze_vtx_fpu *)0)->xsave) == X86_XSAVE_SIZE &&
        sizeof(((struct trapeze_vtx_system *)0)->segment) / sizeof(struct trapeze_vtx_segment) ==
            X86_SEGMENT_ALL_COUNT,
    "arrays are as long");

/* ---- segments and tables ---- */

static struct trapeze_vtx_segment segment_out(const struct x86_segment *from)
{
    return (struct trapeze_vtx_segment){.base = from->base,
                                        .limit = from->limit,
                                        .attributes = from->attributes,
                                        .selector = from->selector};
}

static struct x86_segment segment_in(const struct trapeze_vtx_segment *from)
{
    return (struct x86_segment){.base = from->base,
                                .limit = from->limit,
                                .attributes = from->attributes,
                                .selector = from->selector};
}

static struct trapeze_vtx_table table_out(const struct x86_table_register *from)
{
    return (struct trapeze_vtx_table){.base = from->base, .limit = from->limit};
}

static struct x86_table_register table_in(const struct trapeze_vtx_table *from)
{
    return (struct x86_table_register){.base = from->base, .limit = from->limit};
}

static void system_out(const struct x86_state *from, struct trapeze_vtx_system *to)
{
    *to = (struct trapeze_vtx_system){.gdtr = table_out(&from->gdtr),
                                      .idtr = table_out(&from->idtr),
                                      .cr0 = from->cr0,
                                      .cr2 = from->cr2,
                                      .cr3 = from->cr3,
                                      .cr4 = from->cr4,
                                      .cr8 = from->cr8,
                                      .efer = from->efer,
                                      .pdptrs_known = from->pdptrs_known ? 1 : 0};
    memcpy(to->pdptr, from->pdptr, sizeof(to->pdptr));
    for (unsigned int i = 0; i < X86_SEGMENT_ALL_COUNT; i++) {
        to->segment[i] = segment_out(&from->segment[i]);
    }
}

static void system_in(const struct trapeze_vtx_system *from, struct x86_state *to)
{
    for (unsigned int i = 0; i < X86_SEGMENT_ALL_COUNT; i++) {
        to->segment[i] = segment_in(&from->segment[i]);
    }
    to->gdtr = table_in(&from->gdtr);
    to->idtr = table_in(&from->idtr);
    to->cr0 = from->cr0;
    to->cr2 = from->cr2;
    to->cr3 = from->cr3;
    to->cr4 = from->cr4;
    to->cr8 = from->cr8;
    to->efer = from->efer;
    memcpy(to->pdptr, from->pdptr, sizeof(to->pdptr));
    to->pdptrs_known = from->pdptrs_known != 0;
}

static bool system_is_valid(const struct trapeze_vtx_system *system)
{
    unsigned int reserved = system->reserved;
    for (unsigned int i = 0; i < X86_SEGMENT_ALL_COUNT; i++) {
        const struct trapeze_vtx_segment *segment = &system->segment[i];
        reserved |= segment->reserved[0] | segment->reserved[1] | segment->reserved[2];
    }
    for (unsigned int i = 0; i < 3; i++) {
        reserved |= system->gdtr.reserved[i] | (unsigned int)system->idtr.reserved[i];
    }
    return reserved == 0 && system->pdptrs_known <= 1;
}

/* ---- MSRs ---- */

/* Where an MSR lies in the two structs, and how many values it has there. */
struct msr_place {
    uint16_t device, state, bytes;
};

#define PLACE(member)                                                                              \
    {                                                                                              \
        offsetof(struct trapeze_vtx_msrs, member), offsetof(struct x86_msrs, member),              \
            sizeof(((struct x86_msrs *)0)->member)                                                 \
    }

static const struct msr_place msr_places[] = {
    PLACE(tsc),
    PLACE(tsc_aux),
    PLACE(tsc_deadline),
    PLACE(sysenter_cs),
    PLACE(sysenter_esp),
    PLACE(sysenter_eip),
    PLACE(star),
    PLACE(lstar),
    PLACE(cstar),
    PLACE(fmask),
    PLACE(kernel_gs_base),
    PLACE(pat),
    PLACE(apic_base),
    PLACE(misc_enable),
    PLACE(spec_ctrl),
    PLACE(mtrr_def_type),
    PLACE(mtrr_fixed),
    PLACE(mtrr_variable),
    PLACE(xss),
    PLACE(tsc_adjust),
    PLACE(kvm_wall_clock),
    PLACE(kvm_system_time),
};

#define MSR_PLACES (sizeof(msr_places) / sizeof(msr_places[0]))
_Static_assert(sizeof(struct trapeze_vtx_msrs) == sizeof(struct x86_msrs),
               "a new MSR needs a place, and TRAPEZE_VTX_ABI a new number");

static void msrs_out(const struct x86_msrs *from, struct trapeze_vtx_msrs *to)
{
    for (size_t i = 0; i < MSR_PLACES; i++) {
        const struct msr_place *place = &msr_places[i];
        memcpy((uint8_t *)to + place->device, (const uint8_t *)from + place->state, place->bytes);
    }
}

static void msrs_in(const struct trapeze_vtx_msrs *from, struct x86_msrs *to)
{
    for (size_t i = 0; i < MSR_PLACES; i++) {
        const struct msr_place *place = &msr_places[i];
        memcpy((uint8_t *)to + place->state, (const uint8_t *)from + place->device, place->bytes);
    }
}

/* ---- events ---- */

static struct trapeze_vtx_events events_out(const struct x86_state *from)
{
    return (struct trapeze_vtx_events){.activity = (uint32_t)from->activity,
                                       .sti_shadow = from->sti_shadow,
                                       .mov_ss_shadow = from->mov_ss_shadow,
                                       .nmi_blocked = from->nmi_blocked,
                                       .nmi_pending = from->nmi_pending,
                                       .exception_pending = from->exception_pending,
                                       .exception_has_error = from->exception_has_error,
                                       .exception_vector = from->exception_vector,
                                       .exception_error = from->exception_error};
}

static void events_in(const struct trapeze_vtx_events *from, struct x86_state *to)
{
    to->activity = (enum x86_activity)from->activity;
    to->sti_shadow = from->sti_shadow != 0;
    to->mov_ss_shadow = from->mov_ss_shadow != 0;
    to->nmi_blocked = from->nmi_blocked != 0;
    to->nmi_pending = from->nmi_pending != 0;
    to->exception_pending = from->exception_pending != 0;
    to->exception_has_error = from->exception_has_error != 0;
    to->exception_vector = from->exception_vector;
    to->exception_error = from->exception_error;
}

static bool events_are_valid(const struct trapeze_vtx_events *events)
{
    unsigned int truths = events->sti_shadow | events->mov_ss_shadow | events->nmi_blocked |
                          events->nmi_pending | events->exception_pending |
                          (unsigned int)events->exception_has_error;
    return events->reserved[0] == 0 && truths <= 1 && events->activity <= X86_SHUTDOWN &&
           events->exception_vector < 32;
}

/* ---- all of it ---- */

void vtx_abi_from_state(const struct x86_state *from, unsigned int groups,
                        struct trapeze_vtx_state *to)
{
    to->groups = groups;
    to->reserved = 0;
    if ((groups & X86_STATE_GENERAL) != 0) {
        memcpy(to->general.gpr, from->gpr, sizeof(to->general.gpr));
        to->general.rip = from->rip;
        to->general.rflags = from->rflags;
    }
    if ((groups & X86_STATE_SYSTEM) != 0) {
        system_out(from, &to->system);
    }
    if ((groups & X86_STATE_DEBUG) != 0) {
        memcpy(to->debug.dr, from->dr, sizeof(to->debug.dr));
    }
    if ((groups & X86_STATE_MSRS) != 0) {
        msrs_out(&from->msr, &to->msrs);
    }
    if ((groups & X86_STATE_FPU) != 0) {
        to->fpu.xcr0 = from->xcr0;
        to->fpu.pkru = from->pkru;
        to->fpu.reserved = 0;
        memcpy(to->fpu.xsave, from->xsave, sizeof(to->fpu.xsave));
    }
    if ((groups & X86_STATE_EVENTS) != 0) {
        to->events = events_out(from);
    }
}

static bool is_valid(const struct trapeze_vtx_state *state)
{
    unsigned int groups = state->groups;
    return (groups & ~TRAPEZE_VTX_ALL_GROUPS) == 0 && state->reserved == 0 &&
           ((groups & TRAPEZE_VTX_SYSTEM) == 0 || system_is_valid(&state->system)) &&
           ((groups & TRAPEZE_VTX_FPU) == 0 || state->fpu.reserved == 0) &&
           ((groups & TRAPEZE_VTX_EVENTS) == 0 || events_are_valid(&state->events));
}

bool vtx_abi_to_state(const struct trapeze_vtx_state *from, struct x86_state *to)
{
    if (!is_valid(from)) {
        return false;
    }
    if ((from->groups & TRAPEZE_VTX_GENERAL) != 0) {
        memcpy(to->gpr, from->general.gpr, sizeof(to->gpr));
        to->rip = from->general.rip;
        to->rflags = from->general.rflags;
    }
    if ((from->groups & TRAPEZE_VTX_SYSTEM) != 0) {
        system_in(&from->system, to);
    }
    if ((from->groups & TRAPEZE_VTX_DEBUG) != 0) {
        memcpy(to->dr, from->debug.dr, sizeof(to->dr));
    }
    if ((from->groups & TRAPEZE_VTX_MSRS) != 0) {
        msrs_in(&from->msrs, &to->msr);
    }
    if ((from->groups & TRAPEZE_VTX_FPU) != 0) {
        to->xcr0 = from->fpu.xcr0;
        to->pkru = from->fpu.pkru;
        memcpy(to->xsave, from->fpu.xsave, sizeof(to->xsave));
    }
    if ((from->groups & TRAPEZE_VTX_EVENTS) != 0) {
        events_in(&from->events, to);
    }
    return true;
}
