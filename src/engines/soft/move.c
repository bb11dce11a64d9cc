#include "engines/soft/move.h"

#include "engines/soft/alu.h"
#include "engines/soft/memory.h"

void soft_mov(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    const struct x86_instruction *decoded = &in->decoded;
    unsigned int size = decoded->operand_size;
    bool rex = soft_has_rex(in);
    if ((decoded->opcode & 0xf0) == 0xb0) { /* a register and an immediate, no ModRM */
        soft_set_register(cpu, decoded->reg, size, rex, (uint64_t)decoded->immediate);
        return;
    }
    switch (decoded->opcode) {
    case 0x88:
    case 0x89:
        soft_write_rm(cpu, decoded, size, soft_get_register(cpu, decoded->reg, size, rex));
        break;
    case 0x8a:
    case 0x8b:
        soft_set_register(cpu, decoded->reg, size, rex, soft_read_rm(cpu, decoded, size));
        break;
    default: /* C6, C7 */
        soft_write_rm(cpu, decoded, size, (uint64_t)decoded->immediate);
        break;
    }
}

/* The offset of A0..A3 stands in the instruction, as wide as addresses are. */
static uint64_t moffs_linear(struct soft_cpu *cpu, const struct x86_instruction *decoded,
                             enum soft_access access)
{
    uint64_t offset = (uint64_t)decoded->immediate & soft_size_mask(decoded->address_size);
    return soft_linear(cpu, decoded->segment, offset, decoded->operand_size, access);
}

void soft_mov_moffs_load(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    unsigned int size = in->decoded.operand_size;
    uint64_t value = soft_read(cpu, moffs_linear(cpu, &in->decoded, SOFT_READ), size);
    soft_set_register(cpu, X86_RAX, size, true, value);
}

void soft_mov_moffs_store(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    unsigned int size = in->decoded.operand_size;
    uint64_t linear = moffs_linear(cpu, &in->decoded, SOFT_WRITE);
    soft_write(cpu, linear, soft_get_register(cpu, X86_RAX, size, true), size);
}

static uint64_t swap_bytes(uint64_t value, unsigned int size)
{
    return __builtin_bswap64(value) >> (64 - 8 * size);
}

void soft_movbe(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    const struct x86_instruction *decoded = &in->decoded;
    unsigned int size = decoded->operand_size;
    if (decoded->opcode == 0xf0) {
        uint64_t value = soft_read_rm(cpu, decoded, size);
        soft_set_register(cpu, decoded->reg, size, true, swap_bytes(value, size));
    } else {
        uint64_t value = soft_get_register(cpu, decoded->reg, size, true);
        soft_write_rm(cpu, decoded, size, swap_bytes(value, size));
    }
}

void soft_movnti(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    unsigned int size = in->decoded.operand_size;
    soft_write_rm(cpu, &in->decoded, size, soft_get_register(cpu, in->decoded.reg, size, true));
}

/* --- extensions: operand_size is the destination's --- */

static void extend(struct soft_cpu *cpu, const struct soft_instruction *in, unsigned int source,
                   bool is_signed)
{
    const struct x86_instruction *decoded = &in->decoded;
    uint64_t value = soft_read_rm(cpu, decoded, source);
    if (is_signed) {
        value = (uint64_t)soft_sign_extend(value, source);
    }
    soft_set_register(cpu, decoded->reg, decoded->operand_size, true, value);
}

void soft_movzx8(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    extend(cpu, in, 1, false);
}

void soft_movzx16(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    extend(cpu, in, 2, false);
}

void soft_movsx8(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    extend(cpu, in, 1, true);
}

void soft_movsx16(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    extend(cpu, in, 2, true);
}

/* Without REX.W it moves 32 or 16 bits; with 66h the source is 16 bits wide. */
void soft_movsxd(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    extend(cpu, in, in->decoded.operand_size == 2 ? 2 : 4, true);
}

void soft_lea(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    uint64_t address = soft_effective_address(cpu, &in->decoded);
    soft_set_register(cpu, in->decoded.reg, in->decoded.operand_size, true, address);
}

/* The source is read, and may fault, whether or not the condition is met. */
void soft_cmovcc(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    const struct x86_instruction *decoded = &in->decoded;
    unsigned int size = decoded->operand_size;
    uint64_t value = soft_read_rm(cpu, decoded, size);
    if (!soft_condition(cpu->arithmetic, decoded->condition)) {
        value = cpu->gpr[decoded->reg];
    }
    soft_set_register(cpu, decoded->reg, size, true, value); /* 32 bits: clears the upper half */
}

void soft_setcc(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    bool met = soft_condition(cpu->arithmetic, in->decoded.condition);
    soft_write_rm(cpu, &in->decoded, 1, met ? 1 : 0);
}

void soft_cbw(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    unsigned int size = in->decoded.operand_size;
    uint64_t value = (uint64_t)soft_sign_extend(cpu->gpr[X86_RAX], size / 2);
    soft_set_register(cpu, X86_RAX, size, true, value);
}

void soft_cwd(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    unsigned int size = in->decoded.operand_size;
    bool negative = soft_sign_extend(cpu->gpr[X86_RAX], size) < 0;
    soft_set_register(cpu, X86_RDX, size, true, negative ? UINT64_MAX : 0);
}

void soft_xlat(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    const struct x86_instruction *decoded = &in->decoded;
    uint64_t offset = cpu->gpr[X86_RBX] + (cpu->gpr[X86_RAX] & 0xff);
    offset &= soft_size_mask(decoded->address_size);
    uint64_t linear = soft_linear(cpu, decoded->segment, offset, 1, SOFT_READ);
    soft_set_register(cpu, X86_RAX, 1, true, soft_read(cpu, linear, 1));
}

/* --- flags --- */

void soft_salc(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    (void)in;
    bool carry = (cpu->arithmetic & SOFT_ARITHMETIC_CF) != 0;
    soft_set_register(cpu, X86_RAX, 1, true, carry ? 0xff : 0);
}

void soft_carry(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    unsigned int arithmetic = cpu->arithmetic;
    switch (in->decoded.operation) {
    case X86_OP_CLC:
        arithmetic &= ~SOFT_ARITHMETIC_CF;
        break;
    case X86_OP_STC:
        arithmetic |= SOFT_ARITHMETIC_CF;
        break;
    default: /* CMC */
        arithmetic ^= SOFT_ARITHMETIC_CF;
        break;
    }
    cpu->arithmetic = (uint16_t)arithmetic;
}

void soft_cld(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    (void)in;
    cpu->flags &= ~X86_FLAGS_DF;
}

void soft_std(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    (void)in;
    cpu->flags |= X86_FLAGS_DF;
}

void soft_lahf(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    (void)in;
    uint64_t flags = soft_arithmetic_flags(cpu) | X86_FLAGS_ONE;
    cpu->gpr[X86_RAX] = (cpu->gpr[X86_RAX] & ~UINT64_C(0xff00)) | (flags & 0xff) << 8;
}

void soft_sahf(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    (void)in;
    uint64_t overflow = soft_arithmetic_flags(cpu) & X86_FLAGS_OF;
    soft_set_arithmetic_flags(cpu, (cpu->gpr[X86_RAX] >> 8 & 0xd5) | overflow);
}
