#include "x86/state.h"

#include <string.h>

/* Type fields of the segments after RESET. */
#define TYPE_LDT            0x2u
#define TYPE_TSS_BUSY       0xbu
#define TYPE_CODE_RESET     (X86_TYPE_CODE | X86_TYPE_READABLE | X86_TYPE_ACCESSED)
#define TYPE_DATA_RESET     (X86_TYPE_WRITABLE | X86_TYPE_ACCESSED)
#define LIMIT_RESET         0xffffu
#define CODE_SELECTOR       0xf000u
#define CODE_BASE           UINT64_C(0xffff0000)
#define ENTRY_RIP           UINT64_C(0xfff0)
#define PROCESSOR_SIGNATURE 0x600u /* DX: family 6 */

#define PAT_RESET         UINT64_C(0x0007040600070406)
#define APIC_BASE_RESET   UINT64_C(0xfee00900) /* enabled, bootstrap processor */
#define X87_CONTROL_RESET 0x0040u
#define X87_TAGS_RESET    0xffu /* abridged: no register is empty */
#define MXCSR_RESET       0x1f80u

/* Offsets in the XSAVE area ("Legacy Region of an XSAVE Area", "XSAVE Header"). */
#define XSAVE_FCW       0u
#define XSAVE_FTW       4u
#define XSAVE_MXCSR     24u
#define XSAVE_XSTATE_BV 512u /* the header's first eight bytes */
#define XSAVE_HEADER    64u  /* bytes */
#define MXCSR_WRITABLE  0xffffu

static void reset_segments(struct x86_state *state)
{
    for (unsigned int i = 0; i < X86_SEGMENT_ALL_COUNT; i++) {
        state->segment[i] = (struct x86_segment){
            .limit = LIMIT_RESET, .attributes = X86_SEGMENT_P | X86_SEGMENT_S | TYPE_DATA_RESET};
    }
    struct x86_segment *code = &state->segment[X86_CS];
    code->selector = CODE_SELECTOR;
    code->base = CODE_BASE;
    code->attributes = X86_SEGMENT_P | X86_SEGMENT_S | TYPE_CODE_RESET;
    state->segment[X86_LDTR].attributes = X86_SEGMENT_P | TYPE_LDT;
    state->segment[X86_TR].attributes = X86_SEGMENT_P | TYPE_TSS_BUSY;
    state->gdtr = state->idtr = (struct x86_table_register){.limit = LIMIT_RESET};
}

/* What RESET and INIT have in common. */
static void reset_core(struct x86_state *state)
{
    memset(state->gpr, 0, sizeof(state->gpr));
    state->gpr[X86_RDX] = PROCESSOR_SIGNATURE;
    state->rip = ENTRY_RIP;
    state->rflags = X86_FLAGS_ONE;
    reset_segments(state);
    state->cr2 = state->cr3 = state->cr4 = state->cr8 = 0;
    state->efer = 0;
    memset(state->dr, 0, sizeof(state->dr));
    state->dr[6] = X86_DR6_ONES;
    state->dr[7] = X86_DR7_ONE;
    state->activity = X86_ACTIVE;
    state->sti_shadow = state->mov_ss_shadow = false;
    state->nmi_blocked = state->nmi_pending = false;
    state->exception_pending = state->exception_has_error = false;
    state->exception_vector = 0;
    state->exception_error = 0;
}

static void put32(uint8_t *at, uint32_t value)
{
    memcpy(at, &value, sizeof(value));
}

static void reset_vector_state(struct x86_state *state)
{
    memset(state->xsave, 0, sizeof(state->xsave));
    put32(state->xsave + XSAVE_FCW, X87_CONTROL_RESET);
    state->xsave[XSAVE_FTW] = X87_TAGS_RESET;
    put32(state->xsave + XSAVE_MXCSR, MXCSR_RESET);
    put32(state->xsave + XSAVE_XSTATE_BV, (uint32_t)(X86_XCR0_X87 | X86_XCR0_SSE));
    state->xcr0 = X86_XCR0_X87;
    state->pkru = 0;
}

void x86_state_reset(struct x86_state *state)
{
    state->pdptrs_known = false;
    reset_core(state);
    state->cr0 = X86_CR0_CD | X86_CR0_NW | X86_CR0_ET;
    reset_vector_state(state);
    state->msr = (struct x86_msrs){.pat = PAT_RESET, .apic_base = APIC_BASE_RESET};
}

void x86_state_init(struct x86_state *state)
{
    reset_core(state);
    state->cr0 = (state->cr0 & (X86_CR0_CD | X86_CR0_NW)) | X86_CR0_ET;
}

void x86_xsave_clean(uint8_t image[X86_XSAVE_SIZE], uint64_t components)
{
    uint64_t present;
    uint32_t mxcsr;
    memcpy(&present, image + XSAVE_XSTATE_BV, sizeof(present));
    memcpy(&mxcsr, image + XSAVE_MXCSR, sizeof(mxcsr));
    present &= components;
    memset(image + XSAVE_XSTATE_BV, 0, XSAVE_HEADER);
    memcpy(image + XSAVE_XSTATE_BV, &present, sizeof(present));
    put32(image + XSAVE_MXCSR, mxcsr & MXCSR_WRITABLE);
}
