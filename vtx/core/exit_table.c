/*
 * SGDT, SIDT, LGDT, LIDT, SLDT, STR, LLDT and LTR, under "descriptor-table exiting".
 *
 * Source: Intel SDM volume 3, "VM-Exit Instruction Information for LIDT, LGDT, SIDT, or SGDT" and
 *         "… for LLDT, LTR, SLDT, and STR"; volume 2, the instructions.
 */
#include <string.h>

#include "vtx/core/internal.h"
#include "x86/control_rules.h"
#include "x86/descriptor.h"
#include "x86/vmx_operand.h"

enum table_identity { SGDT, SIDT, LGDT, LIDT };
enum segment_identity { SLDT, STR, LLDT, LTR };

#define NO_ERROR_CODE 0u

struct operand {
    struct vmx_operand decoded;
    unsigned int identity;
    uint64_t linear;
    bool wide; /* 64-bit mode */
};

/* "Exit Qualification": the displacement; the rest of the address is in the information. */
static struct operand read_operand(struct vtx_vcpu *vcpu)
{
    uint32_t information = (uint32_t)vtx_get(vcpu, VMCS_VM_EXIT_INSTRUCTION_INFORMATION);
    struct operand operand = {.decoded = vmx_operand(information),
                              .identity = vmx_operand_identity(information),
                              .wide = vtx_guest_is_64bit(vcpu)};
    const struct vmx_operand *decoded = &operand.decoded;
    uint64_t address = vtx_get(vcpu, VMCS_EXIT_QUALIFICATION);
    if (decoded->base != VMX_OPERAND_NONE) {
        address += vtx_read_gpr(vcpu, decoded->base);
    }
    if (decoded->index != VMX_OPERAND_NONE) {
        address += vtx_read_gpr(vcpu, decoded->index) << decoded->scale;
    }
    address &= decoded->address_mask;
    if (!operand.wide || decoded->segment >= X86_FS) {
        address += vtx_get(vcpu, VMCS_GUEST_ES_BASE + (uint32_t)decoded->segment * VMCS_STRIDE);
    }
    operand.linear = operand.wide ? address : (uint32_t)address;
    return operand;
}

static enum vtx_step finish(struct vtx_vcpu *vcpu, enum vtx_memory_result result,
                            const struct vtx_translation *at)
{
    return result == VTX_MEMORY_OK ? vtx_skip(vcpu) : vtx_memory_step(vcpu, result, at);
}

static enum vtx_step load_table(struct vtx_vcpu *vcpu, const struct operand *operand,
                                uint32_t base_field, uint32_t limit_field)
{
    uint8_t bytes[10] = {0};
    uint16_t limit;
    uint64_t base;
    struct vtx_translation at;
    uint32_t size = operand->wide ? 10 : 6;
    enum vtx_memory_result result = vtx_read_guest(vcpu, operand->linear, bytes, size, false, &at);
    if (result != VTX_MEMORY_OK) {
        return vtx_memory_step(vcpu, result, &at);
    }
    memcpy(&limit, bytes, sizeof(limit));
    memcpy(&base, bytes + sizeof(limit), sizeof(base));
    if (!operand->wide) {
        base &= operand->decoded.is_32bit ? UINT64_C(0xffffffff) : UINT64_C(0xffffff);
    } else if (!x86_is_canonical(base, vcpu->vm->capabilities->linear_address_bits)) {
        return vtx_raise(vcpu, X86_VECTOR_GP, NO_ERROR_CODE);
    }
    vtx_set(vcpu, base_field, base);
    vtx_set(vcpu, limit_field, limit);
    return vtx_skip(vcpu);
}

static enum vtx_step store_table(struct vtx_vcpu *vcpu, const struct operand *operand,
                                 uint32_t base_field, uint32_t limit_field)
{
    uint8_t bytes[10];
    uint16_t limit = (uint16_t)vtx_get(vcpu, limit_field);
    uint64_t base = vtx_get(vcpu, base_field);
    struct vtx_translation at;
    memcpy(bytes, &limit, sizeof(limit));
    memcpy(bytes + sizeof(limit), &base, sizeof(base));
    enum vtx_memory_result result = vtx_write_guest(
        vcpu, operand->linear, bytes, operand->wide ? 10 : 6, vtx_guest_cpl(vcpu) == 3, &at);
    return finish(vcpu, result, &at);
}

enum vtx_step vtx_exit_table_register(struct vtx_vcpu *vcpu)
{
    struct operand operand = read_operand(vcpu);
    bool is_gdtr = operand.identity == SGDT || operand.identity == LGDT;
    uint32_t base = is_gdtr ? VMCS_GUEST_GDTR_BASE : VMCS_GUEST_IDTR_BASE;
    uint32_t limit = is_gdtr ? VMCS_GUEST_GDTR_LIMIT : VMCS_GUEST_IDTR_LIMIT;
    bool loads = operand.identity == LGDT || operand.identity == LIDT;
    return loads ? load_table(vcpu, &operand, base, limit)
                 : store_table(vcpu, &operand, base, limit);
}

/* ---- LDTR and TR ---- */

static enum vtx_step store_selector(struct vtx_vcpu *vcpu, const struct operand *operand)
{
    uint16_t selector = (uint16_t)vtx_get(vcpu, operand->identity == SLDT ? VMCS_GUEST_LDTR_SELECTOR
                                                                          : VMCS_GUEST_TR_SELECTOR);
    struct vtx_translation at;
    if (operand->decoded.is_register) {
        vtx_write_gpr(vcpu, operand->decoded.number, selector);
        return vtx_skip(vcpu);
    }
    enum vtx_memory_result result = vtx_write_guest(
        vcpu, operand->linear, &selector, sizeof(selector), vtx_guest_cpl(vcpu) == 3, &at);
    return finish(vcpu, result, &at);
}

static void put_segment(struct vtx_vcpu *vcpu, enum x86_segment_register number,
                        const struct x86_segment *segment)
{
    uint32_t step = (uint32_t)number * VMCS_STRIDE;
    vtx_set(vcpu, VMCS_GUEST_ES_SELECTOR + step, segment->selector);
    vtx_set(vcpu, VMCS_GUEST_ES_BASE + step, segment->base);
    vtx_set(vcpu, VMCS_GUEST_ES_LIMIT + step, segment->limit);
    vtx_set(vcpu, VMCS_GUEST_ES_ACCESS_RIGHTS + step, segment->attributes);
}

static enum vtx_step load_from_gdt(struct vtx_vcpu *vcpu, uint16_t selector, bool is_task)
{
    uint64_t raw[2] = {0, 0};
    uint32_t size = (vtx_get(vcpu, VMCS_GUEST_IA32_EFER) & X86_EFER_LMA) != 0 ? 16 : 8;
    uint32_t index = selector & X86_SELECTOR_INDEX, error = selector & ~X86_SELECTOR_RPL;
    uint64_t linear = vtx_get(vcpu, VMCS_GUEST_GDTR_BASE) + index;
    struct vtx_translation at;
    if ((selector & X86_SELECTOR_TI) != 0 || (is_task && index == 0) ||
        index + size - 1 > vtx_get(vcpu, VMCS_GUEST_GDTR_LIMIT)) {
        return vtx_raise(vcpu, X86_VECTOR_GP, error);
    }
    enum vtx_memory_result result = vtx_read_guest(vcpu, linear, raw, size, false, &at);
    if (result != VTX_MEMORY_OK) {
        return vtx_memory_step(vcpu, result, &at);
    }
    uint8_t fault = x86_system_descriptor_fault(raw[0], raw[1], is_task, size == 16);
    if (fault != 0) {
        return vtx_raise(vcpu, fault, error);
    }
    if (is_task) {
        raw[0] |= X86_DESCRIPTOR_TSS_BUSY;
        result = vtx_write_guest(vcpu, linear, raw, sizeof(raw[0]), false, &at);
    }
    if (result != VTX_MEMORY_OK) {
        return vtx_memory_step(vcpu, result, &at);
    }
    struct x86_segment segment = x86_segment_from_descriptor64(raw[0], raw[1], selector);
    put_segment(vcpu, is_task ? X86_TR : X86_LDTR, &segment);
    return vtx_skip(vcpu);
}

static enum vtx_step load_selector(struct vtx_vcpu *vcpu, const struct operand *operand)
{
    uint16_t selector = 0;
    struct vtx_translation at;
    if (operand->decoded.is_register) {
        selector = (uint16_t)vtx_read_gpr(vcpu, operand->decoded.number);
    } else {
        enum vtx_memory_result result =
            vtx_read_guest(vcpu, operand->linear, &selector, sizeof(selector), false, &at);
        if (result != VTX_MEMORY_OK) {
            return vtx_memory_step(vcpu, result, &at);
        }
    }
    if (operand->identity == LLDT && (selector & X86_SELECTOR_INDEX) == 0) {
        struct x86_segment none = {.selector = selector, .attributes = X86_SEGMENT_UNUSABLE};
        put_segment(vcpu, X86_LDTR, &none);
        return vtx_skip(vcpu);
    }
    return load_from_gdt(vcpu, selector, operand->identity == LTR);
}

enum vtx_step vtx_exit_segment_register(struct vtx_vcpu *vcpu)
{
    struct operand operand = read_operand(vcpu);
    bool loads = operand.identity == LLDT || operand.identity == LTR;
    return loads ? load_selector(vcpu, &operand) : store_selector(vcpu, &operand);
}
