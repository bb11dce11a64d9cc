#include "engines/soft/segment.h"

#include "engines/soft/memory.h"
#include "engines/soft/segment_load.h"

static const struct soft_blame by_instruction = {X86_VECTOR_GP, 0};

/* "MOV—Move": a null SS is allowed in 64-bit mode below level 3, if its RPL is the CPL. */
static struct soft_load check_stack(struct soft_cpu *cpu, uint16_t selector)
{
    if (soft_selector_is_null(selector) && soft_64bit(cpu) && cpu->cpl < 3 &&
        soft_selector_rpl(selector) == cpu->cpl) {
        return soft_plain_load(soft_null_stack(selector, cpu->cpl));
    }
    return soft_check_stack_segment(cpu, selector, cpu->cpl, by_instruction);
}

struct soft_load soft_check_segment(struct soft_cpu *cpu, unsigned int segment, uint16_t selector)
{
    if (!soft_protected(cpu)) {
        return soft_plain_load(soft_real_segment(cpu, segment, selector));
    }
    if (soft_virtual_8086(cpu)) {
        return soft_plain_load(soft_virtual_8086_segment(selector));
    }
    if (segment == X86_SS) {
        return check_stack(cpu, selector);
    }
    return soft_check_data_segment(cpu, selector, cpu->cpl, by_instruction);
}

static void commit(struct soft_cpu *cpu, unsigned int segment, const struct soft_load *value)
{
    cpu->segment[segment] = value->segment;
    soft_mode_changed(cpu);
}

/* "MOV—Move": to a register as wide as the operand, zero-extended; to memory always 16 bits. */
void soft_mov_from_segment(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    const struct x86_instruction *decoded = &in->decoded;
    unsigned int segment = decoded->reg & 7u;
    if (segment >= X86_SEGMENT_COUNT) {
        soft_raise(cpu, X86_VECTOR_UD);
    }
    uint16_t selector = cpu->segment[segment].selector;
    if (soft_is_memory(in)) {
        soft_write_rm(cpu, decoded, 2, selector);
    } else {
        soft_set_register(cpu, decoded->rm, decoded->operand_size, true, selector);
    }
}

void soft_mov_to_segment(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    unsigned int segment = in->decoded.reg & 7u;
    if (segment >= X86_SEGMENT_COUNT || segment == X86_CS) {
        soft_raise(cpu, X86_VECTOR_UD);
    }
    uint16_t selector = (uint16_t)soft_read_rm(cpu, &in->decoded, 2);
    struct soft_load value = soft_check_segment(cpu, segment, selector);
    soft_mark_accessed(cpu, &value);
    commit(cpu, segment, &value);
    if (segment == X86_SS) {
        cpu->mov_ss_shadow = true; /* "Masking Exceptions and Interrupts When Switching Stacks" */
    }
}

/* The register of the one-byte forms 06 … 1F is in opcode bits 5..3, as in 0F A0 … A9. */
static unsigned int stack_form_segment(const struct soft_instruction *in)
{
    return in->decoded.opcode >> 3 & 7u;
}

void soft_push_segment(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    soft_push(cpu, cpu->segment[stack_form_segment(in)].selector, in->decoded.operand_size);
}

void soft_pop_segment(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    unsigned int segment = stack_form_segment(in);
    unsigned int size = in->decoded.operand_size;
    uint16_t selector = (uint16_t)soft_stack_peek(cpu, 0, size);
    struct soft_load value = soft_check_segment(cpu, segment, selector);
    soft_mark_accessed(cpu, &value);
    soft_add_rsp(cpu, size); /* by the old stack's width */
    commit(cpu, segment, &value);
    if (segment == X86_SS) {
        cpu->mov_ss_shadow = true;
    }
}

static unsigned int far_pointer_segment(enum x86_operation operation)
{
    switch (operation) {
    case X86_OP_LES:
        return X86_ES;
    case X86_OP_LSS:
        return X86_SS;
    case X86_OP_LFS:
        return X86_FS;
    case X86_OP_LGS:
        return X86_GS;
    default:
        return X86_DS;
    }
}

/* "LDS/LES/LFS/LGS/LSS—Load Far Pointer". */
void soft_load_far_pointer(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    struct soft_far_pointer pointer = soft_read_far_pointer(cpu, in);
    unsigned int segment = far_pointer_segment(in->decoded.operation);
    struct soft_load value = soft_check_segment(cpu, segment, pointer.selector);
    soft_mark_accessed(cpu, &value);
    unsigned int size = in->decoded.operand_size;
    soft_set_register(cpu, in->decoded.reg, size, true, pointer.offset);
    commit(cpu, segment, &value);
}
