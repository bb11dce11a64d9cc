#include "engines/soft/stack.h"

#include "engines/soft/alu.h"
#include "engines/soft/memory.h"

void soft_push_operand(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    const struct x86_instruction *decoded = &in->decoded;
    unsigned int size = decoded->operand_size;
    uint64_t value;
    if ((decoded->opcode & 0xf8) == 0x50) {
        value = cpu->gpr[decoded->reg]; /* PUSH rSP pushes what it was before */
    } else if (decoded->opcode == 0xff) {
        value = soft_read_rm(cpu, decoded, size);
    } else { /* 68, 6A */
        value = (uint64_t)decoded->immediate;
    }
    soft_push(cpu, value & soft_size_mask(size), size);
}

/* An address that uses rSP sees it as it is after the increment. */
static void pop_to_memory(struct soft_cpu *cpu, const struct x86_instruction *decoded)
{
    unsigned int size = decoded->operand_size;
    uint64_t value = soft_stack_peek(cpu, 0, size);
    uint64_t rsp = cpu->gpr[X86_RSP];
    soft_add_rsp(cpu, size);
    uint64_t address = soft_effective_address(cpu, decoded);
    cpu->gpr[X86_RSP] = rsp;
    soft_write(cpu, soft_linear(cpu, decoded->segment, address, size, SOFT_WRITE), value, size);
    soft_add_rsp(cpu, size);
}

void soft_pop_operand(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    const struct x86_instruction *decoded = &in->decoded;
    unsigned int size = decoded->operand_size;
    if (soft_is_memory(in)) {
        pop_to_memory(cpu, decoded);
        return;
    }
    unsigned int destination = (decoded->opcode & 0xf8) == 0x58 ? decoded->reg : decoded->rm;
    uint64_t value = soft_pop(cpu, size);
    soft_set_register(cpu, destination, size, true, value); /* POP rSP: the value wins */
}

/* The linear address of SS:(rSP + displacement) for writing. */
static uint64_t stack_linear(struct soft_cpu *cpu, uint64_t displacement, unsigned int size)
{
    uint64_t offset = cpu->gpr[X86_RSP] + displacement;
    offset &= soft_size_mask(soft_stack_width(cpu));
    return soft_linear(cpu, X86_SS, offset, size, SOFT_WRITE);
}

void soft_pusha(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    unsigned int size = in->decoded.operand_size;
    for (unsigned int i = 0; i < 8; i++) { /* rAX first, at the highest address */
        uint64_t below = UINT64_C(0) - (i + 1) * size;
        uint64_t value = soft_get_register(cpu, i, size, true);
        soft_write(cpu, stack_linear(cpu, below, size), value, size);
    }
    soft_add_rsp(cpu, -8 * (int64_t)size);
}

void soft_popa(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    unsigned int size = in->decoded.operand_size;
    uint64_t values[8];
    for (unsigned int i = 0; i < 8; i++) {
        values[i] = soft_stack_peek(cpu, i * size, size);
    }
    for (unsigned int i = 0; i < 8; i++) {
        if (7 - i != X86_RSP) {
            soft_set_register(cpu, 7 - i, size, true, values[i]);
        }
    }
    soft_add_rsp(cpu, 8 * (int64_t)size);
}

/* Copies level - 1 frame pointers of the enclosing procedures below the new frame. */
static void enter_copy_display(struct soft_cpu *cpu, unsigned int level, unsigned int size)
{
    uint64_t mask = soft_size_mask(soft_stack_width(cpu));
    for (unsigned int i = 1; i < level; i++) {
        uint64_t from = (cpu->gpr[X86_RBP] - (uint64_t)i * size) & mask;
        uint64_t pointer = soft_read(cpu, soft_linear(cpu, X86_SS, from, size, SOFT_READ), size);
        uint64_t below = UINT64_C(0) - (uint64_t)(i + 1) * size;
        soft_write(cpu, stack_linear(cpu, below, size), pointer, size);
    }
}

void soft_enter(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    const struct x86_instruction *decoded = &in->decoded;
    unsigned int size = decoded->operand_size, level = decoded->immediate2 & 31;
    uint64_t allocate = (uint64_t)decoded->immediate & 0xffff;
    uint64_t frame = UINT64_C(0) - size; /* relative to rSP as it is */
    soft_write(cpu, stack_linear(cpu, frame, size), soft_get_register(cpu, X86_RBP, size, true),
               size);
    uint64_t frame_pointer = cpu->gpr[X86_RSP] + frame;
    uint64_t top = frame;
    if (level > 0) {
        enter_copy_display(cpu, level, size);
        top -= (uint64_t)level * size;
        soft_write(cpu, stack_linear(cpu, top, size), frame_pointer & soft_size_mask(size), size);
    }
    top -= allocate;
    /* a write at the final stack pointer would have to succeed */
    soft_check_write(cpu, stack_linear(cpu, top, size), size);
    soft_add_rsp(cpu, (int64_t)top);
    soft_set_register(cpu, X86_RBP, size, true, frame_pointer);
}

void soft_leave(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    unsigned int size = in->decoded.operand_size, width = soft_stack_width(cpu);
    uint64_t frame_pointer = cpu->gpr[X86_RBP];
    uint64_t offset = frame_pointer & soft_size_mask(width);
    uint64_t value = soft_read(cpu, soft_linear(cpu, X86_SS, offset, size, SOFT_READ), size);
    soft_set_register(cpu, X86_RSP, width, true, frame_pointer + size);
    soft_set_register(cpu, X86_RBP, size, true, value);
}
