#include "engines/soft/fast.h"

#include "engines/soft/block.h"
#include "engines/soft/fast_operand.h"

bool fast_lower_memory(const struct soft_cpu *cpu, const struct x86_instruction *in,
                       struct soft_op *op)
{
    bool code64 = (cpu->mode & SOFT_MODE_DECODE) == X86_DECODE_64;
    if (in->address_size != (code64 ? 8 : 4)) {
        return false;
    }
    if (!code64 && (in->segment == X86_FS || in->segment == X86_GS || in->segment == X86_CS)) {
        return false; /* not known to be flat */
    }
    int64_t displacement = in->displacement;
    if (in->base == X86_REGISTER_RIP) {
        /* From the page's first byte, which is what gpr[SOFT_GPR_CODE] holds. */
        displacement += op->offset + op->length;
    }
    if (displacement != (int32_t)displacement) {
        return false;
    }
    op->displacement = (int32_t)displacement;
    op->base = in->base;
    op->index = in->index;
    op->scale = in->scale;
    op->segment = in->segment;
    return true;
}

const struct soft_op *fast_give_up(struct soft_cpu *cpu, const struct soft_op *op)
{
    cpu->instructions += op->count - 1u;
    cpu->rip = soft_op_rip(cpu, op);
    soft_run_single(cpu);
    return NULL;
}

enum soft_fast_kind soft_fast_lower(const struct soft_cpu *cpu, const struct x86_instruction *in,
                                    struct soft_op *op, unsigned int count)
{
    if ((in->flags & X86_INSTRUCTION_LOCK) != 0) {
        return SOFT_FAST_NONE;
    }
    op->count = (uint8_t)count;
    enum soft_fast_kind kind = fast_lower_move(cpu, in, op);
    if (kind == SOFT_FAST_NONE) {
        kind = fast_lower_alu(cpu, in, op);
    }
    if (kind == SOFT_FAST_NONE) {
        kind = fast_lower_branch(cpu, in, op);
    }
    return kind;
}
