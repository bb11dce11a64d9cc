#include "engines/soft/far_return.h"

#include "engines/soft/far.h"
#include "engines/soft/frame.h"
#include "engines/soft/memory.h"
#include "engines/soft/segment_load.h"

static const struct soft_blame by_instruction = {X86_VECTOR_GP, 0};

/* "RET", PROTECTED-MODE-RETURN; "IRET", PROTECTED-MODE-RETURN: the same list. */
struct soft_load soft_check_return_code(struct soft_cpu *cpu, uint16_t selector)
{
    if (soft_selector_is_null(selector)) {
        soft_raise_error(cpu, X86_VECTOR_GP, 0);
    }
    struct soft_descriptor descriptor;
    uint32_t error = soft_selector_error(selector, 0);
    unsigned int rpl = soft_selector_rpl(selector);
    if (!soft_fetch_descriptor(cpu, selector, &descriptor) ||
        !soft_descriptor_is_code(descriptor.low) || rpl < cpu->cpl ||
        soft_code_is_reserved(cpu, descriptor.low)) {
        soft_raise_error(cpu, X86_VECTOR_GP, error);
    }
    unsigned int dpl = x86_descriptor_dpl(descriptor.low);
    if (soft_descriptor_is_conforming(descriptor.low) ? dpl > rpl : dpl != rpl) {
        soft_raise_error(cpu, X86_VECTOR_GP, error);
    }
    if (!x86_descriptor_present(descriptor.low)) {
        soft_raise_error(cpu, X86_VECTOR_NP, error);
    }
    return soft_code_segment(cpu, &descriptor, selector, rpl);
}

struct soft_load soft_check_return_stack(struct soft_cpu *cpu, uint16_t selector,
                                         const struct x86_segment *code)
{
    unsigned int rpl = soft_selector_rpl(code->selector);
    bool to_64bit = soft_long_mode(cpu) && (code->attributes & X86_SEGMENT_L) != 0;
    if (soft_selector_is_null(selector) && to_64bit && rpl < 3) {
        return soft_plain_load(soft_null_stack(selector, rpl));
    }
    return soft_check_stack_segment(cpu, selector, rpl, by_instruction);
}

void soft_hide_inner_segments(struct soft_cpu *cpu, unsigned int cpl)
{
    static const unsigned int data_segments[] = {X86_ES, X86_DS, X86_FS, X86_GS};
    for (unsigned int i = 0; i < sizeof data_segments / sizeof data_segments[0]; i++) {
        struct x86_segment *segment = &cpu->segment[data_segments[i]];
        bool conforming =
            x86_segment_is_code(segment) && (segment->attributes & X86_TYPE_CONFORMING) != 0;
        bool unusable = (segment->attributes & X86_SEGMENT_UNUSABLE) != 0;
        if (!unusable && !conforming && cpl > x86_segment_dpl(segment)) {
            segment->selector = 0; /* the base stays: 64-bit code still uses that of FS and GS */
            segment->attributes = X86_SEGMENT_UNUSABLE;
        }
    }
}

static void commit(struct soft_cpu *cpu, const struct soft_load *code, uint64_t rip)
{
    cpu->segment[X86_CS] = code->segment;
    cpu->next_rip = rip;
    soft_mode_changed(cpu);
}

/* The stack pointer above the return address and the released parameters is not read before the
 * checks of CS, as in the manual's order. */
static void return_to_outer_level(struct soft_cpu *cpu, const struct soft_load *code, uint64_t rip,
                                  unsigned int size, uint64_t release)
{
    uint64_t rsp = soft_stack_peek(cpu, 2 * size + release, size);
    uint16_t selector = (uint16_t)soft_stack_peek(cpu, 3 * size + release, size);
    struct soft_load stack = soft_check_return_stack(cpu, selector, &code->segment);
    soft_check_code_offset(cpu, &code->segment, rip, 0);
    soft_mark_accessed(cpu, code);
    soft_mark_accessed(cpu, &stack);

    bool to_64bit = soft_long_mode(cpu) && (code->segment.attributes & X86_SEGMENT_L) != 0;
    uint64_t mask = soft_stack_mask(&stack.segment, to_64bit);
    cpu->gpr[X86_RSP] = soft_merge_rsp(cpu->gpr[X86_RSP], rsp + release, mask);
    cpu->segment[X86_SS] = stack.segment;
    soft_hide_inner_segments(cpu, soft_selector_rpl(code->segment.selector));
    commit(cpu, code, rip);
}

/* "RET—Return From Procedure", far returns; the immediate is the bytes of parameters to release. */
void soft_ret_far(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    unsigned int size = in->decoded.operand_size;
    uint64_t release = (uint16_t)in->decoded.immediate;
    uint64_t rip = soft_stack_peek(cpu, 0, size);
    uint16_t selector = (uint16_t)soft_stack_peek(cpu, size, size);
    struct soft_load code;
    if (soft_virtual_8086(cpu)) {
        code = soft_plain_load(soft_virtual_8086_segment(selector));
    } else if (!soft_protected(cpu)) {
        code = soft_plain_load(soft_real_segment(cpu, X86_CS, selector));
    } else {
        code = soft_check_return_code(cpu, selector);
        if (soft_selector_rpl(selector) > cpu->cpl) {
            return_to_outer_level(cpu, &code, rip, size, release);
            return;
        }
    }
    soft_check_code_offset(cpu, &code.segment, rip, 0);
    soft_mark_accessed(cpu, &code);
    soft_add_rsp(cpu, (int64_t)(2 * size + release));
    commit(cpu, &code, rip);
}
