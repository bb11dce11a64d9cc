/*
 * The operand of an instruction that has caused a VM exit, as the instruction information tells it.
 *
 * Source:  Intel SDM volume 3, "VM-Exit Instruction Information for LIDT, LGDT, SIDT, or SGDT", "…
 *          for LLDT, LTR, SLDT, and STR", "… for RDRAND and RDSEED", "… for INS and OUTS".
 * Owner:   values only. Thread: any. Freestanding.
 */
#ifndef TRAPEZE_X86_VMX_OPERAND_H
#define TRAPEZE_X86_VMX_OPERAND_H

#include <stdbool.h>
#include <stdint.h>

#define VMX_OPERAND_NONE 16 /* no base, no index */

struct vmx_operand {
    bool is_register;      /* then `number` says which, and nothing else holds */
    bool is_32bit;         /* operand size, of LGDT and its kin outside 64-bit mode */
    uint8_t number;        /* of a general register, as the rest */
    uint8_t base, index;   /* or VMX_OPERAND_NONE */
    uint8_t scale;         /* shift count 0..3 */
    uint8_t segment;       /* enum x86_segment_register */
    uint64_t address_mask; /* of the address size; the displacement is the exit qualification */
};

static inline struct vmx_operand vmx_operand(uint32_t information)
{
    static const uint64_t masks[8] = {0xffff, 0xffffffff, UINT64_MAX};
    bool has_base = (information & (1u << 27)) == 0, has_index = (information & (1u << 22)) == 0;
    return (struct vmx_operand){
        .is_register = (information & (1u << 10)) != 0,
        .is_32bit = (information & (1u << 11)) != 0,
        .number = (uint8_t)(information >> 3 & 0xf),
        .base = has_base ? (uint8_t)(information >> 23 & 0xf) : VMX_OPERAND_NONE,
        .index = has_index ? (uint8_t)(information >> 18 & 0xf) : VMX_OPERAND_NONE,
        .scale = (uint8_t)(information & 3),
        .segment = (uint8_t)(information >> 15 & 7),
        .address_mask = masks[information >> 7 & 7],
    };
}

/* Which of the four instructions that share an exit reason. */
static inline unsigned int vmx_operand_identity(uint32_t information)
{
    return information >> 28 & 3;
}

/* Of two bits: 0 is 16 bits, 1 is 32, 2 is 64; in bytes. 3 does not occur. */
static inline unsigned int vmx_operand_bytes(uint32_t size)
{
    static const uint8_t bytes[4] = {2, 4, 8, 8};
    return bytes[size & 3];
}

/* Operand size of RDRAND and RDSEED; their register is vmx_operand's number. */
static inline unsigned int vmx_operand_size(uint32_t information)
{
    return vmx_operand_bytes(information >> 11);
}

/* Address size of INS and OUTS. */
static inline unsigned int vmx_operand_address_size(uint32_t information)
{
    return vmx_operand_bytes(information >> 7);
}

#endif
