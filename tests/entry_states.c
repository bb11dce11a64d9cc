#include "entry_states.h"

#include "x86/descriptor.h"

#define REAL_DATA   (X86_SEGMENT_P | X86_SEGMENT_S | X86_TYPE_WRITABLE | X86_TYPE_ACCESSED)
#define REAL_CODE   (REAL_DATA | X86_TYPE_CODE)
#define FLAT        (X86_SEGMENT_G | X86_SEGMENT_DB)
#define LONG_CODE   (REAL_CODE | X86_SEGMENT_G | X86_SEGMENT_L)
#define ALL_OF_8086 0xf3u

static void set_segments(struct x86_state *state, uint32_t code, uint32_t data, uint32_t limit)
{
    for (unsigned int i = 0; i < X86_SEGMENT_COUNT; i++) {
        uint16_t selector = i == X86_CS ? 0x10 : 0x18;
        state->segment[i] = (struct x86_segment){
            .limit = limit, .selector = selector, .attributes = i == X86_CS ? code : data};
    }
    state->segment[X86_LDTR] = (struct x86_segment){
        .limit = 0xffff, .selector = 0x20, .attributes = X86_SEGMENT_P | X86_SYSTEM_LDT};
    state->segment[X86_TR] = (struct x86_segment){
        .limit = 0x67, .selector = 0x28, .attributes = X86_SEGMENT_P | X86_SYSTEM_TSS_BUSY};
}

static void enter_flat(struct x86_state *state)
{
    state->cr0 = X86_CR0_PE | X86_CR0_ET;
    state->rip = 0x100000;
    state->gpr[X86_RSP] = 0x8000;
    set_segments(state, REAL_CODE | FLAT, REAL_DATA | FLAT, UINT32_MAX);
}

static void enter_long(struct x86_state *state)
{
    enter_flat(state);
    state->cr0 |= X86_CR0_PG;
    state->cr4 |= X86_CR4_PAE;
    state->cr3 = 0x1000;
    state->efer = X86_EFER_LME | X86_EFER_LMA;
}

static void enter_virtual_8086(struct x86_state *state)
{
    set_segments(state, ALL_OF_8086, ALL_OF_8086, 0xffff);
    for (unsigned int i = 0; i < X86_SEGMENT_COUNT; i++) {
        state->segment[i].base = (uint64_t)state->segment[i].selector << 4;
    }
    state->rflags |= X86_FLAGS_VM;
}

void entry_start(enum entry_start start, struct entry_guest_state *state)
{
    struct x86_state neutral;
    x86_state_reset(&neutral);
    if (start == START_LONG || start == START_COMPATIBILITY) {
        enter_long(&neutral);
    } else if (start != START_REAL) {
        enter_flat(&neutral);
        neutral.cr0 |= start != START_PROTECTED ? X86_CR0_PG : 0;
    }
    if (start == START_LONG) {
        neutral.segment[X86_CS].attributes = LONG_CODE;
    } else if (start == START_PAE) {
        neutral.cr4 |= X86_CR4_PAE;
    } else if (start == START_VIRTUAL_8086) {
        enter_virtual_8086(&neutral);
    }
    entry_state_from_x86(&neutral, state);
    for (unsigned int i = 0; start == START_PAE && i < ENTRY_PDPTES; i++) {
        state->pdpte[i] = (UINT64_C(0x2000) + 0x1000 * i) | 1;
    }
    if (start == START_RESTRICTED) {
        state->secondary &= ~VMX_SECONDARY_UNRESTRICTED_GUEST;
    }
}
