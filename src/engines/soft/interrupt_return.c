#include "engines/soft/far_return.h"
#include "engines/soft/flags.h"
#include "engines/soft/frame.h"
#include "engines/soft/interrupt.h"
#include "engines/soft/memory.h"
#include "engines/soft/segment_load.h"
#include "engines/soft/task.h"

/* What IRET finds on the stack, lowest address first. */
enum {
    FRAME_RIP,
    FRAME_CS,
    FRAME_FLAGS,
    FRAME_RSP,
    FRAME_SS,
    FRAME_ES,
    FRAME_DS,
    FRAME_FS,
    FRAME_GS,
    FRAME_COUNT
};

static void read_frame(struct soft_cpu *cpu, uint64_t *frame, unsigned int from, unsigned int to,
                       unsigned int size)
{
    for (unsigned int i = from; i < to; i++) {
        frame[i] = soft_stack_peek(cpu, (uint64_t)i * size, size);
    }
}

static void commit(struct soft_cpu *cpu, const struct x86_segment *code, uint64_t rip,
                   uint64_t rflags)
{
    cpu->segment[X86_CS] = *code;
    cpu->next_rip = rip;
    soft_set_rflags(cpu, rflags);
    soft_mode_changed(cpu);
}

/* The flags that IRET may change at this CPL and IOPL, with an operand of `size` bytes. */
static uint64_t changeable_flags(const struct soft_cpu *cpu, unsigned int size)
{
    uint64_t changeable = SOFT_FLAGS_UNPRIVILEGED;
    if (size != 2) {
        changeable |= X86_FLAGS_RF | X86_FLAGS_AC | X86_FLAGS_ID;
    }
    if (cpu->cpl <= soft_iopl(cpu)) {
        changeable |= X86_FLAGS_IF;
    }
    if (cpu->cpl == 0) {
        changeable |= X86_FLAGS_IOPL;
        if (size != 2 && soft_protected(cpu)) {
            changeable |= X86_FLAGS_VIF | X86_FLAGS_VIP;
        }
    }
    return changeable;
}

static uint64_t returned_flags(const struct soft_cpu *cpu, uint64_t image, unsigned int size)
{
    uint64_t changeable = changeable_flags(cpu, size);
    uint64_t kept = soft_rflags(cpu) & ~(changeable | X86_FLAGS_RF);
    return kept | (image & changeable);
}

/* "IRET", REAL-ADDRESS-MODE and RETURN-FROM-VIRTUAL-8086-MODE. */
static void return_to_paragraph(struct soft_cpu *cpu, unsigned int size)
{
    bool is_v86 = soft_virtual_8086(cpu);
    bool is_virtual = is_v86 && soft_iopl(cpu) < 3;
    if (is_virtual && ((cpu->cr4 & X86_CR4_VME) == 0 || size != 2)) {
        soft_raise_error(cpu, X86_VECTOR_GP, 0);
    }
    uint64_t frame[FRAME_COUNT];
    read_frame(cpu, frame, FRAME_RIP, FRAME_RSP, size);
    uint16_t selector = (uint16_t)frame[FRAME_CS];
    struct x86_segment code =
        is_v86 ? soft_virtual_8086_segment(selector) : soft_real_segment(cpu, X86_CS, selector);
    soft_check_code_offset(cpu, &code, frame[FRAME_RIP], 0);
    uint64_t flags = is_virtual ? soft_pop_virtual_flags(cpu, frame[FRAME_FLAGS])
                                : returned_flags(cpu, frame[FRAME_FLAGS], size);
    soft_add_rsp(cpu, 3 * (int64_t)size);
    commit(cpu, &code, frame[FRAME_RIP], flags);
}

/* "IRET", RETURN-TO-VIRTUAL-8086-MODE: all of EFLAGS comes from the stack, nothing is checked but
 * the instruction pointer. */
static void return_to_virtual_8086(struct soft_cpu *cpu, uint64_t *frame)
{
    static const struct {
        uint8_t segment, slot;
    } loads[] = {{X86_SS, FRAME_SS},
                 {X86_ES, FRAME_ES},
                 {X86_DS, FRAME_DS},
                 {X86_FS, FRAME_FS},
                 {X86_GS, FRAME_GS}};
    const uint64_t loadable = SOFT_FLAGS_UNPRIVILEGED | X86_FLAGS_IF | X86_FLAGS_IOPL |
                              X86_FLAGS_RF | X86_FLAGS_VM | X86_FLAGS_AC | X86_FLAGS_VIF |
                              X86_FLAGS_VIP | X86_FLAGS_ID;
    read_frame(cpu, frame, FRAME_RSP, FRAME_COUNT, 4);
    struct x86_segment code = soft_virtual_8086_segment((uint16_t)frame[FRAME_CS]);
    soft_check_code_offset(cpu, &code, frame[FRAME_RIP], 0);
    for (unsigned int i = 0; i < sizeof loads / sizeof loads[0]; i++) {
        cpu->segment[loads[i].segment] = soft_virtual_8086_segment((uint16_t)frame[loads[i].slot]);
    }
    cpu->gpr[X86_RSP] = frame[FRAME_RSP];
    commit(cpu, &code, frame[FRAME_RIP], (frame[FRAME_FLAGS] & loadable) | X86_FLAGS_ONE);
}

/*
 * "IRET", PROTECTED-MODE-RETURN and IA-32e-MODE: SS:RSP is popped when the level changes, and
 * always by 64-bit code.
 */
static void return_protected(struct soft_cpu *cpu, uint64_t *frame, unsigned int size)
{
    struct soft_load code = soft_check_return_code(cpu, (uint16_t)frame[FRAME_CS]);
    unsigned int rpl = soft_selector_rpl(code.segment.selector);
    bool outer = rpl > cpu->cpl;
    uint64_t flags = returned_flags(cpu, frame[FRAME_FLAGS], size);
    if (!outer && !soft_64bit(cpu)) {
        soft_check_code_offset(cpu, &code.segment, frame[FRAME_RIP], 0);
        soft_mark_accessed(cpu, &code);
        soft_add_rsp(cpu, 3 * (int64_t)size);
        commit(cpu, &code.segment, frame[FRAME_RIP], flags);
        return;
    }
    if (!soft_64bit(cpu)) {
        read_frame(cpu, frame, FRAME_RSP, FRAME_ES, size);
    }
    struct soft_load stack = soft_check_return_stack(cpu, (uint16_t)frame[FRAME_SS], &code.segment);
    soft_check_code_offset(cpu, &code.segment, frame[FRAME_RIP], 0);
    soft_mark_accessed(cpu, &code);
    soft_mark_accessed(cpu, &stack);
    bool to_64bit = soft_long_mode(cpu) && (code.segment.attributes & X86_SEGMENT_L) != 0;
    uint64_t mask = soft_stack_mask(&stack.segment, to_64bit);
    cpu->gpr[X86_RSP] = soft_merge_rsp(cpu->gpr[X86_RSP], frame[FRAME_RSP], mask);
    cpu->segment[X86_SS] = stack.segment;
    if (outer) {
        soft_hide_inner_segments(cpu, rpl);
    }
    commit(cpu, &code.segment, frame[FRAME_RIP], flags);
}

/* 64-bit code always pops five items: fetch them at once. */
static void read_frame64(struct soft_cpu *cpu, uint64_t *frame, unsigned int size)
{
    if (size != 8) {
        read_frame(cpu, frame, FRAME_RIP, FRAME_ES, size);
        return;
    }
    const unsigned int length = FRAME_ES * 8;
    uint64_t linear = soft_linear(cpu, X86_SS, cpu->gpr[X86_RSP], length, SOFT_READ);
    soft_read_bytes(cpu, linear, frame, length);
}

static void interrupt_return(struct soft_cpu *cpu, unsigned int size)
{
    /* "Nonmaskable Interrupt (NMI)": even an IRET that faults ends the blocking. */
    if (cpu->nmi_blocked && !(soft_virtual_8086(cpu) && soft_iopl(cpu) < 3)) {
        cpu->nmi_blocked = false;
        if (cpu->nmi_pending) {
            soft_attend(cpu, SOFT_ATTENTION_NMI);
        }
    }
    if (soft_real_or_v86(cpu)) {
        return_to_paragraph(cpu, size);
        return;
    }
    if ((cpu->flags & X86_FLAGS_NT) != 0) {
        if (soft_long_mode(cpu)) {
            soft_raise_error(cpu, X86_VECTOR_GP, 0);
        }
        soft_return_to_linked_task(cpu);
        return;
    }
    uint64_t frame[FRAME_COUNT];
    if (soft_64bit(cpu)) {
        read_frame64(cpu, frame, size);
    } else {
        read_frame(cpu, frame, FRAME_RIP, FRAME_RSP, size);
        if (!soft_long_mode(cpu) && cpu->cpl == 0 && size == 4 &&
            (frame[FRAME_FLAGS] & X86_FLAGS_VM) != 0) {
            return_to_virtual_8086(cpu, frame);
            return;
        }
    }
    return_protected(cpu, frame, size);
}

void soft_iret(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    interrupt_return(cpu, in->decoded.operand_size);
    soft_check_virtual_interrupt(cpu);
}
