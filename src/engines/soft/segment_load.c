#include "engines/soft/segment_load.h"

#include "engines/soft/memory.h"

/* What SS, DS … hold in virtual-8086 mode: present, DPL 3, writable data, accessed. */
#define VIRTUAL_8086_ATTRIBUTES 0xf3u
#define REAL_ATTRIBUTES         0x93u

bool soft_fetch_descriptor(struct soft_cpu *cpu, uint16_t selector,
                           struct soft_descriptor *descriptor)
{
    uint64_t base = cpu->gdtr.base;
    uint64_t limit = cpu->gdtr.limit;
    if ((selector & X86_SELECTOR_TI) != 0) {
        if ((cpu->segment[X86_LDTR].attributes & X86_SEGMENT_UNUSABLE) != 0) {
            return false;
        }
        base = cpu->segment[X86_LDTR].base;
        limit = cpu->segment[X86_LDTR].limit;
    }
    uint64_t offset = selector & X86_SELECTOR_INDEX;
    if (offset + 7 > limit) {
        return false;
    }
    descriptor->linear = soft_table_address(cpu, base + offset);
    descriptor->low = soft_system_read(cpu, descriptor->linear, 8);
    descriptor->high = 0;
    return true;
}

bool soft_fetch_high(struct soft_cpu *cpu, uint16_t selector, struct soft_descriptor *descriptor)
{
    if (!soft_long_mode(cpu)) {
        return true;
    }
    uint64_t limit =
        (selector & X86_SELECTOR_TI) != 0 ? cpu->segment[X86_LDTR].limit : cpu->gdtr.limit;
    if ((selector & X86_SELECTOR_INDEX) + UINT64_C(15) > limit) {
        return false;
    }
    descriptor->high = soft_system_read(cpu, descriptor->linear + 8, 8);
    return x86_descriptor_high_valid(descriptor->high);
}

struct soft_load soft_load_of(const struct soft_cpu *cpu, const struct soft_descriptor *descriptor,
                              uint16_t selector)
{
    return (struct soft_load){
        .segment = x86_segment_from_descriptor(descriptor->low | X86_DESCRIPTOR_ACCESSED, selector),
        .type_byte = soft_table_address(cpu, descriptor->linear + 5),
        .unmarked = (descriptor->low & X86_DESCRIPTOR_ACCESSED) == 0,
    };
}

void soft_mark_accessed(struct soft_cpu *cpu, const struct soft_load *load)
{
    if (load->unmarked) {
        soft_system_update(cpu, load->type_byte, 0, X86_TYPE_ACCESSED);
    }
}

struct x86_segment soft_null_segment(uint16_t selector)
{
    return (struct x86_segment){.selector = selector, .attributes = X86_SEGMENT_UNUSABLE};
}

struct x86_segment soft_null_stack(uint16_t selector, unsigned int cpl)
{
    return (struct x86_segment){.selector = selector,
                                .attributes = X86_SEGMENT_UNUSABLE | cpl << X86_SEGMENT_DPL_SHIFT};
}

/*
 * "Real-Address Mode Operation": limit and attributes stay, which is how "unreal" mode comes about.
 * A register that protected mode left null must become usable, though.
 */
struct x86_segment soft_real_segment(const struct soft_cpu *cpu, unsigned int segment,
                                     uint16_t selector)
{
    struct x86_segment result = cpu->segment[segment];
    result.selector = selector;
    result.base = (uint64_t)selector << 4;
    result.attributes &= ~X86_SEGMENT_DPL;
    if ((result.attributes & X86_SEGMENT_UNUSABLE) != 0 ||
        (result.attributes & X86_SEGMENT_P) == 0) {
        result.attributes = REAL_ATTRIBUTES;
        result.limit = 0xffff;
    }
    return result;
}

struct x86_segment soft_virtual_8086_segment(uint16_t selector)
{
    return (struct x86_segment){
        .selector = selector,
        .base = (uint64_t)selector << 4,
        .limit = 0xffff,
        .attributes = VIRTUAL_8086_ATTRIBUTES,
    };
}

/* "MOV—Move", "IF DS, ES, FS, or GS is loaded with non-NULL selector". */
struct soft_load soft_check_data_segment(struct soft_cpu *cpu, uint16_t selector, unsigned int cpl,
                                         struct soft_blame blame)
{
    if (soft_selector_is_null(selector)) {
        return soft_plain_load(soft_null_segment(selector));
    }
    struct soft_descriptor descriptor;
    uint32_t error = soft_selector_error(selector, blame.external);
    if (!soft_fetch_descriptor(cpu, selector, &descriptor) ||
        !x86_descriptor_is_segment(descriptor.low)) {
        soft_raise_error(cpu, blame.invalid, error);
    }
    unsigned int type = x86_descriptor_type(descriptor.low);
    bool is_code = (type & X86_TYPE_CODE) != 0;
    if (is_code && (type & X86_TYPE_READABLE) == 0) {
        soft_raise_error(cpu, blame.invalid, error);
    }
    unsigned int dpl = x86_descriptor_dpl(descriptor.low);
    if ((!is_code || (type & X86_TYPE_CONFORMING) == 0) &&
        (soft_selector_rpl(selector) > dpl || cpl > dpl)) {
        soft_raise_error(cpu, blame.invalid, error);
    }
    if (!x86_descriptor_present(descriptor.low)) {
        soft_raise_error(cpu, X86_VECTOR_NP, error);
    }
    return soft_load_of(cpu, &descriptor, selector);
}

/* "MOV—Move", "IF SS is loaded"; the same list in RET, IRET, INT n, CALL and task switches. */
struct soft_load soft_check_stack_segment(struct soft_cpu *cpu, uint16_t selector, unsigned int cpl,
                                          struct soft_blame blame)
{
    if (soft_selector_is_null(selector)) {
        soft_raise_error(cpu, blame.invalid, blame.external);
    }
    struct soft_descriptor descriptor;
    uint32_t error = soft_selector_error(selector, blame.external);
    if (!soft_fetch_descriptor(cpu, selector, &descriptor) || soft_selector_rpl(selector) != cpl ||
        !soft_descriptor_is_stack(descriptor.low) || x86_descriptor_dpl(descriptor.low) != cpl) {
        soft_raise_error(cpu, blame.invalid, error);
    }
    if (!x86_descriptor_present(descriptor.low)) {
        soft_raise_error(cpu, X86_VECTOR_SS, error);
    }
    return soft_load_of(cpu, &descriptor, selector);
}

void soft_check_code_offset(struct soft_cpu *cpu, const struct x86_segment *code, uint64_t offset,
                            uint32_t external)
{
    bool is_64bit = soft_long_mode(cpu) && (code->attributes & X86_SEGMENT_L) != 0;
    if (is_64bit ? !soft_canonical(cpu, offset) : offset > code->limit) {
        soft_raise_error(cpu, X86_VECTOR_GP, external);
    }
}

struct soft_load soft_code_segment(const struct soft_cpu *cpu,
                                   const struct soft_descriptor *descriptor, uint16_t selector,
                                   unsigned int cpl)
{
    return soft_load_of(cpu, descriptor, (uint16_t)((selector & ~X86_SELECTOR_RPL) | cpl));
}

struct soft_far_pointer soft_read_far_pointer(struct soft_cpu *cpu,
                                              const struct soft_instruction *in)
{
    if (!soft_is_memory(in)) {
        soft_raise(cpu, X86_VECTOR_UD);
    }
    unsigned int size = in->decoded.operand_size;
    uint8_t bytes[10] = {0};
    uint64_t linear = soft_operand_linear(cpu, &in->decoded, size + 2, SOFT_READ);
    soft_read_bytes(cpu, linear, bytes, size + 2);
    struct soft_far_pointer pointer = {.selector = (uint16_t)(bytes[size] | bytes[size + 1] << 8)};
    for (unsigned int i = 0; i < size; i++) {
        pointer.offset |= (uint64_t)bytes[i] << (8 * i);
    }
    return pointer;
}
