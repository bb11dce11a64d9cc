/*
 * The x87 environment and full state in the formats from before FXSAVE.
 *
 * Source:  Intel SDM volume 1, "Saving the x87 FPU's State with FSTENV/FNSTENV and FSAVE/FNSAVE";
 *          "x87 FPU Tag Word".
 */
#include <string.h>

#include "engines/soft/fpu.h"
#include "engines/soft/memory.h"
#include "engines/soft/x87.h"

#define REGISTERS_SIZE 80u

enum tag { TAG_VALID, TAG_ZERO, TAG_SPECIAL, TAG_EMPTY };

/* Which of the four layouts. */
struct layout {
    bool wide; /* 32-bit operand size: 28 bytes, else 14 */
    bool real; /* real-address or virtual-8086 mode: linear pointers and the opcode */
};

static struct layout layout_of(const struct soft_cpu *cpu, const struct soft_instruction *in)
{
    return (struct layout){.wide = in->decoded.operand_size != 2, .real = soft_real_or_v86(cpu)};
}

static unsigned int environment_size(struct layout layout)
{
    return layout.wide ? 28 : 14;
}

/* --- tags --- */

static enum tag classify(const uint8_t st[16])
{
    uint64_t mantissa;
    uint16_t exponent;
    memcpy(&mantissa, st, 8);
    memcpy(&exponent, st + 8, 2);
    exponent &= 0x7fff;
    if (exponent == 0 && mantissa == 0) {
        return TAG_ZERO;
    }
    return exponent == 0 || exponent == 0x7fff || mantissa >> 63 == 0 ? TAG_SPECIAL : TAG_VALID;
}

static uint16_t full_tag_word(const struct soft_fxsave_image *image)
{
    unsigned int top = (image->fsw & SOFT_FSW_TOP) >> SOFT_FSW_TOP_SHIFT;
    unsigned int word = 0;
    for (unsigned int i = 0; i < 8; i++) {
        enum tag tag = TAG_EMPTY;
        if ((image->ftw >> i & 1) != 0) {
            tag = classify(image->st[(i - top) & 7]);
        }
        word |= (unsigned int)tag << (2 * i);
    }
    return (uint16_t)word;
}

static uint8_t abridged_tag_word(uint16_t full)
{
    unsigned int word = 0;
    for (unsigned int i = 0; i < 8; i++) {
        if ((full >> (2 * i) & 3) != TAG_EMPTY) {
            word |= 1u << i;
        }
    }
    return (uint8_t)word;
}

/* --- the environment as up to seven fields --- */

/* Real-mode formats hold linear addresses. */
static uint32_t linear_pointer(uint16_t selector, uint64_t offset)
{
    return ((uint32_t)selector << 4) + (uint32_t)offset;
}

static void fill_fields(const struct soft_fpu *fpu, struct layout layout, uint32_t fields[7])
{
    const struct soft_x87_pointers *pointers = &fpu->pointers;
    fields[0] = fpu->image.fcw | 0xffff0000;
    fields[1] = fpu->image.fsw | 0xffff0000;
    fields[2] = full_tag_word(&fpu->image) | 0xffff0000;
    if (!layout.real) {
        fields[3] = (uint32_t)pointers->fip;
        fields[4] = pointers->fcs | (uint32_t)(pointers->fop & 0x7ff) << 16;
        fields[5] = (uint32_t)pointers->fdp;
        fields[6] = pointers->fds | 0xffff0000;
        return;
    }
    uint32_t instruction = linear_pointer(pointers->fcs, pointers->fip);
    uint32_t operand = linear_pointer(pointers->fds, pointers->fdp);
    uint32_t high_mask = layout.wide ? 0xffff : 0xf;
    fields[3] = (instruction & 0xffff) | 0xffff0000;
    fields[4] = (instruction >> 16 & high_mask) << 12 | (pointers->fop & 0x7ff);
    fields[5] = (operand & 0xffff) | 0xffff0000;
    fields[6] = (operand >> 16 & high_mask) << 12;
}

static void put_environment(const struct soft_fpu *fpu, struct layout layout, uint8_t *bytes)
{
    uint32_t fields[7];
    unsigned int width = layout.wide ? 4 : 2;
    fill_fields(fpu, layout, fields);
    for (unsigned int i = 0; i < 7; i++) {
        memcpy(bytes + i * width, &fields[i], width);
    }
}

static void get_environment(struct soft_fpu *fpu, struct layout layout, const uint8_t *bytes)
{
    struct soft_x87_pointers *pointers = &fpu->pointers;
    uint32_t fields[7] = {0};
    unsigned int width = layout.wide ? 4 : 2;
    for (unsigned int i = 0; i < 7; i++) {
        memcpy(&fields[i], bytes + i * width, width);
    }
    fpu->image.fcw = (uint16_t)fields[0];
    fpu->image.fsw = (uint16_t)fields[1];
    fpu->image.ftw = abridged_tag_word((uint16_t)fields[2]);
    *pointers = (struct soft_x87_pointers){0};
    if (layout.real) {
        uint32_t high_mask = layout.wide ? 0xffff : 0xf;
        pointers->fip = (fields[3] & 0xffff) | (fields[4] >> 12 & high_mask) << 16;
        pointers->fop = fields[4] & 0x7ff;
        pointers->fdp = (fields[5] & 0xffff) | (fields[6] >> 12 & high_mask) << 16;
    } else {
        pointers->fip = fields[3];
        pointers->fcs = (uint16_t)fields[4];
        pointers->fop = fields[4] >> 16 & 0x7ff; /* 0 in the 16-bit format, which has none */
        pointers->fdp = fields[5];
        pointers->fds = (uint16_t)fields[6];
    }
    soft_fpu_settle_exceptions(fpu);
}

/* --- the instructions --- */

void soft_execute_fnstenv(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    struct soft_fpu *fpu = cpu->fpu;
    struct layout layout = layout_of(cpu, in);
    unsigned int size = environment_size(layout);
    uint8_t bytes[28];
    soft_require_x87(cpu);
    uint64_t linear = soft_operand_linear(cpu, &in->decoded, size, SOFT_WRITE);
    soft_fpu_save(fpu);
    put_environment(fpu, layout, bytes);
    soft_write_bytes(cpu, linear, bytes, size);
    fpu->image.fcw |= SOFT_FSW_EXCEPTIONS; /* "then masks all floating-point exceptions" */
    soft_fpu_settle_exceptions(fpu);
}

void soft_execute_fldenv(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    struct layout layout = layout_of(cpu, in);
    unsigned int size = environment_size(layout);
    uint8_t bytes[28];
    soft_require_x87(cpu);
    soft_wait_x87(cpu);
    soft_read_bytes(cpu, soft_operand_linear(cpu, &in->decoded, size, SOFT_READ), bytes, size);
    soft_fpu_save(cpu->fpu);
    unsigned int old_top = soft_fpu_status(cpu->fpu) >> SOFT_FSW_TOP_SHIFT & 7;
    get_environment(cpu->fpu, layout, bytes);
    soft_fpu_rotate(cpu->fpu, old_top);
}

void soft_execute_fnsave(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    struct soft_fpu *fpu = cpu->fpu;
    struct layout layout = layout_of(cpu, in);
    unsigned int size = environment_size(layout);
    uint8_t bytes[28 + REGISTERS_SIZE];
    soft_require_x87(cpu);
    uint64_t linear = soft_operand_linear(cpu, &in->decoded, size + REGISTERS_SIZE, SOFT_WRITE);
    soft_fpu_save(fpu);
    put_environment(fpu, layout, bytes);
    for (unsigned int i = 0; i < 8; i++) {
        memcpy(bytes + size + 10 * i, fpu->image.st[i], 10);
    }
    soft_write_bytes(cpu, linear, bytes, size + REGISTERS_SIZE);
    soft_fpu_load(fpu);
    __asm__ volatile("fninit");
    fpu->pointers = (struct soft_x87_pointers){0};
    fpu->may_pend = false;
}

void soft_execute_frstor(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    struct soft_fpu *fpu = cpu->fpu;
    struct layout layout = layout_of(cpu, in);
    unsigned int size = environment_size(layout);
    uint8_t bytes[28 + REGISTERS_SIZE];
    soft_require_x87(cpu);
    soft_wait_x87(cpu);
    soft_read_bytes(cpu, soft_operand_linear(cpu, &in->decoded, size + REGISTERS_SIZE, SOFT_READ),
                    bytes, size + REGISTERS_SIZE);
    soft_fpu_save(fpu);
    get_environment(fpu, layout, bytes);
    for (unsigned int i = 0; i < 8; i++) {
        memcpy(fpu->image.st[i], bytes + size + 10 * i, 10);
    }
}
