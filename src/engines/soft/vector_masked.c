/*
 * Vector accesses under a mask: elements that the mask excludes must not fault, so these go
 * through memory element by element.
 *
 * Source:  Intel SDM volume 2, "MASKMOVDQU", "VMASKMOV", "VPMASKMOV", "VGATHERDPS …".
 */
#include <string.h>

#include "engines/soft/fpu.h"
#include "engines/soft/vector.h"

static uint64_t truncate_address(const struct x86_instruction *decoded, uint64_t offset)
{
    switch (decoded->address_size) {
    case 2:
        return offset & 0xffff;
    case 4:
        return offset & 0xffffffff;
    default:
        return offset;
    }
}

/* The top bit of an element decides. */
static bool selected(const uint8_t *mask, unsigned int element, unsigned int size)
{
    return (mask[element * size + size - 1] & 0x80) != 0;
}

/* As its first and last byte: none of these instructions makes alignment checks. */
static uint64_t element_linear(struct soft_cpu *cpu, const struct x86_instruction *decoded,
                               uint64_t offset, unsigned int size, enum soft_access access)
{
    uint64_t linear =
        soft_linear(cpu, decoded->segment, truncate_address(decoded, offset), 1, access);
    soft_linear(cpu, decoded->segment, truncate_address(decoded, offset + size - 1), 1, access);
    return linear;
}

/* --- MASKMOVQ, MASKMOVDQU: bytes to DS:rDI --- */

static void store_selected_bytes(struct soft_cpu *cpu, const struct soft_instruction *in,
                                 const uint8_t *data, const uint8_t *mask, unsigned int count)
{
    const struct x86_instruction *decoded = &in->decoded;
    uint64_t linear[16];
    for (unsigned int i = 0; i < count; i++) {
        if (selected(mask, i, 1)) {
            linear[i] = element_linear(cpu, decoded, cpu->gpr[X86_RDI] + i, 1, SOFT_WRITE);
            soft_check_write(cpu, linear[i], 1);
        }
    }
    for (unsigned int i = 0; i < count; i++) {
        if (selected(mask, i, 1)) {
            soft_write(cpu, linear[i], data[i], 1);
        }
    }
}

void soft_execute_maskmov(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    const struct x86_instruction *decoded = &in->decoded;
    uint8_t data[16], mask[16];
    if ((decoded->shape & X86_SHAPE_REG_MMX) != 0) {
        soft_require_mmx(cpu);
        memcpy(data, soft_fpu_mmx(cpu->fpu, decoded->reg), 8);
        memcpy(mask, soft_fpu_mmx(cpu->fpu, decoded->rm), 8);
        store_selected_bytes(cpu, in, data, mask, 8);
        soft_fpu_enter_mmx(cpu->fpu);
        return;
    }
    soft_require_sse_or_avx(cpu, in);
    memcpy(data, cpu->fpu->ymm[decoded->reg], 16);
    memcpy(mask, cpu->fpu->ymm[decoded->rm], 16);
    store_selected_bytes(cpu, in, data, mask, 16);
}

/* --- VMASKMOVPS, VMASKMOVPD, VPMASKMOVD, VPMASKMOVQ --- */

static void masked_store(struct soft_cpu *cpu, const struct soft_instruction *in, unsigned int size)
{
    const struct x86_instruction *decoded = &in->decoded;
    const uint8_t *mask = cpu->fpu->ymm[decoded->vvvv];
    const uint8_t *data = cpu->fpu->ymm[decoded->reg];
    uint64_t base = soft_effective_address(cpu, decoded);
    unsigned int count = decoded->vector_length / size;
    uint64_t linear[8];
    for (unsigned int i = 0; i < count; i++) {
        if (selected(mask, i, size)) {
            linear[i] = element_linear(cpu, decoded, base + i * size, size, SOFT_WRITE);
            soft_check_write(cpu, linear[i], size);
        }
    }
    for (unsigned int i = 0; i < count; i++) {
        if (selected(mask, i, size)) {
            uint64_t value = 0;
            memcpy(&value, data + i * size, size);
            soft_write(cpu, linear[i], value, size);
        }
    }
}

static void masked_load(struct soft_cpu *cpu, const struct soft_instruction *in, unsigned int size)
{
    const struct x86_instruction *decoded = &in->decoded;
    const uint8_t *mask = cpu->fpu->ymm[decoded->vvvv];
    uint64_t base = soft_effective_address(cpu, decoded);
    unsigned int count = decoded->vector_length / size;
    uint8_t result[32] = {0};
    for (unsigned int i = 0; i < count; i++) {
        if (selected(mask, i, size)) {
            uint64_t linear = element_linear(cpu, decoded, base + i * size, size, SOFT_READ);
            uint64_t value = soft_read(cpu, linear, size);
            memcpy(result + i * size, &value, size);
        }
    }
    memcpy(cpu->fpu->ymm[decoded->reg], result, sizeof(result));
}

void soft_execute_vmaskmov(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    soft_require_avx(cpu);
    bool is_store, wide;
    switch (in->decoded.opcode) {
    case 0x2c: /* VMASKMOVPS, load */
    case 0x2d: /* VMASKMOVPD, load */
    case 0x2e: /* VMASKMOVPS, store */
    case 0x2f: /* VMASKMOVPD, store */
        is_store = in->decoded.opcode >= 0x2e;
        wide = (in->decoded.opcode & 1) != 0;
        break;
    default: /* 8C, 8E: VPMASKMOVD, VPMASKMOVQ by W */
        is_store = in->decoded.opcode == 0x8e;
        wide = (in->decoded.flags & X86_INSTRUCTION_W) != 0;
        break;
    }
    if (is_store) {
        masked_store(cpu, in, wide ? 8 : 4);
    } else {
        masked_load(cpu, in, wide ? 8 : 4);
    }
}

/* --- gathers --- */

/* What a gather works on; destination and mask are copies until it ends or faults. */
struct gather {
    uint8_t destination[32], mask[32];
    unsigned int size, index_size, count;
    volatile unsigned int done; /* survives the jump out of a faulting access */
};

static uint64_t gather_offset(const struct soft_cpu *cpu, const struct x86_instruction *decoded,
                              const struct gather *gather, unsigned int element)
{
    const uint8_t *index = cpu->fpu->ymm[decoded->index];
    int64_t value = 0;
    if (gather->index_size == 4) {
        int32_t narrow;
        memcpy(&narrow, index + 4 * element, 4);
        value = narrow;
    } else {
        memcpy(&value, index + 8 * element, 8);
    }
    return cpu->gpr[decoded->base] + ((uint64_t)value << decoded->scale) +
           (uint64_t)(int64_t)decoded->displacement;
}

static void gather_elements(struct soft_cpu *cpu, const struct x86_instruction *decoded,
                            struct gather *gather)
{
    for (unsigned int i = 0; i < gather->count; i++) {
        if (selected(gather->mask, i, gather->size)) {
            uint64_t offset = gather_offset(cpu, decoded, gather, i);
            uint64_t linear = element_linear(cpu, decoded, offset, gather->size, SOFT_READ);
            uint64_t value = soft_read(cpu, linear, gather->size);
            memcpy(gather->destination + i * gather->size, &value, gather->size);
        }
        memset(gather->mask + i * gather->size, 0, gather->size);
        gather->done = i + 1;
    }
}

/* "If a fault is triggered by an element, all elements closer to the LSB will be completed." */
static void commit(struct soft_cpu *cpu, const struct x86_instruction *decoded,
                   const struct gather *gather, unsigned int bytes)
{
    memcpy(cpu->fpu->ymm[decoded->reg], gather->destination, bytes);
    memcpy(cpu->fpu->ymm[decoded->vvvv], gather->mask, bytes);
}

/*
 * Runs the accesses with the escape diverted to here. Progress is kept when one raises an
 * exception; not when the run loop is left for MMIO, because the restarted instruction must make
 * the same accesses again.
 */
static void gather_or_escape(struct soft_cpu *cpu, const struct x86_instruction *decoded,
                             struct gather *gather)
{
    sigjmp_buf outer;
    memcpy(&outer, &cpu->escape, sizeof(outer));
    int escape = sigsetjmp(cpu->escape, 0);
    if (escape == SOFT_ESCAPE_NONE) {
        gather_elements(cpu, decoded, gather);
    }
    memcpy(&cpu->escape, &outer, sizeof(outer));
    if (escape == SOFT_ESCAPE_EXCEPTION && gather->done > 0) {
        /* what lies above is cleared at the end only */
        commit(cpu, decoded, gather, gather->count * gather->size);
    }
    if (escape != SOFT_ESCAPE_NONE) {
        siglongjmp(cpu->escape, escape);
    }
}

void soft_execute_gather(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    const struct x86_instruction *decoded = &in->decoded;
    soft_require_avx(cpu);
    if (decoded->reg == decoded->index || decoded->reg == decoded->vvvv ||
        decoded->index == decoded->vvvv) {
        soft_raise(cpu, X86_VECTOR_UD);
    }
    struct gather gather = {.size = (decoded->flags & X86_INSTRUCTION_W) != 0 ? 8 : 4,
                            .index_size = (decoded->opcode & 1) != 0 ? 8 : 4};
    unsigned int larger = gather.size > gather.index_size ? gather.size : gather.index_size;
    gather.count = decoded->vector_length / larger;
    unsigned int bytes = gather.count * gather.size; /* 8, 16 or 32; the rest becomes zero */
    memcpy(gather.destination, cpu->fpu->ymm[decoded->reg], bytes);
    memcpy(gather.mask, cpu->fpu->ymm[decoded->vvvv], bytes);
    gather_or_escape(cpu, decoded, &gather);
    commit(cpu, decoded, &gather, 32);
}
