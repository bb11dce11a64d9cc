#include "engines/soft/memory.h"
#include "engines/soft/segment.h"
#include "engines/soft/segment_load.h"

static void need_privilege(struct soft_cpu *cpu)
{
    if (cpu->cpl != 0) {
        soft_raise_error(cpu, X86_VECTOR_GP, 0);
    }
}

/* "User-Mode Instruction Prevention": SGDT, SIDT, SLDT, STR (and SMSW) above level 0. */
static void check_user_mode_prevention(struct soft_cpu *cpu)
{
    if (cpu->cpl != 0 && (cpu->cr4 & X86_CR4_UMIP) != 0) {
        soft_raise_error(cpu, X86_VECTOR_GP, 0);
    }
}

/* "LGDT/LIDT—Load Global/Interrupt Descriptor Table Register". */
static struct x86_table_register read_table_register(struct soft_cpu *cpu,
                                                     const struct soft_instruction *in)
{
    if (!soft_is_memory(in)) {
        soft_raise(cpu, X86_VECTOR_UD);
    }
    need_privilege(cpu);
    unsigned int length = soft_64bit(cpu) ? 10 : 6;
    uint8_t image[10] = {0};
    uint64_t linear = soft_operand_linear(cpu, &in->decoded, length, SOFT_READ);
    soft_read_bytes(cpu, linear, image, length);
    struct x86_table_register table = {.limit = (uint16_t)(image[0] | image[1] << 8)};
    for (unsigned int i = 2; i < length; i++) {
        table.base |= (uint64_t)image[i] << (8 * (i - 2));
    }
    if (soft_64bit(cpu)) {
        if (!soft_canonical(cpu, table.base)) {
            soft_raise_error(cpu, X86_VECTOR_GP, 0);
        }
    } else if (in->decoded.operand_size == 2) {
        table.base &= 0xffffff;
    }
    return table;
}

void soft_lgdt(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    cpu->gdtr = read_table_register(cpu, in);
}

void soft_lidt(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    cpu->idtr = read_table_register(cpu, in);
}

/*
 * "SGDT—Store Global Descriptor Table Register". Processors since the 386 store all 32 bits of the
 * base, whatever the operand size is.
 */
static void store_table_register(struct soft_cpu *cpu, const struct soft_instruction *in,
                                 const struct x86_table_register *table)
{
    if (!soft_is_memory(in)) {
        soft_raise(cpu, X86_VECTOR_UD);
    }
    check_user_mode_prevention(cpu);
    unsigned int length = soft_64bit(cpu) ? 10 : 6;
    uint8_t image[10] = {(uint8_t)table->limit, (uint8_t)(table->limit >> 8)};
    for (unsigned int i = 2; i < length; i++) {
        image[i] = (uint8_t)(table->base >> (8 * (i - 2)));
    }
    uint64_t linear = soft_operand_linear(cpu, &in->decoded, length, SOFT_WRITE);
    soft_write_bytes(cpu, linear, image, length);
}

void soft_sgdt(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    store_table_register(cpu, in, &cpu->gdtr);
}

void soft_sidt(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    store_table_register(cpu, in, &cpu->idtr);
}

/*
 * The steps that "LLDT—Load Local Descriptor Table Register" and "LTR—Load Task Register" share: a
 * system descriptor out of the GDT with one of the accepted types (a bit mask), present.
 */
static struct x86_segment check_system_segment(struct soft_cpu *cpu, uint16_t selector,
                                               unsigned int types,
                                               struct soft_descriptor *descriptor)
{
    uint32_t error = soft_selector_error(selector, 0);
    if ((selector & X86_SELECTOR_TI) != 0 || !soft_fetch_descriptor(cpu, selector, descriptor) ||
        x86_descriptor_is_segment(descriptor->low) ||
        (types >> x86_descriptor_type(descriptor->low) & 1) == 0 ||
        !soft_fetch_high(cpu, selector, descriptor)) {
        soft_raise_error(cpu, X86_VECTOR_GP, error);
    }
    if (!x86_descriptor_present(descriptor->low)) {
        soft_raise_error(cpu, X86_VECTOR_NP, error);
    }
    struct x86_segment segment =
        x86_segment_from_descriptor64(descriptor->low, descriptor->high, selector);
    if (soft_long_mode(cpu) && !soft_canonical(cpu, segment.base)) {
        soft_raise_error(cpu, X86_VECTOR_GP, error);
    }
    return segment;
}

static void need_protected_mode(struct soft_cpu *cpu)
{
    if (soft_real_or_v86(cpu)) {
        soft_raise(cpu, X86_VECTOR_UD);
    }
}

void soft_lldt(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    need_protected_mode(cpu);
    need_privilege(cpu);
    uint16_t selector = (uint16_t)soft_read_rm(cpu, &in->decoded, 2);
    if (soft_selector_is_null(selector)) {
        cpu->segment[X86_LDTR] = soft_null_segment(selector);
        return;
    }
    struct soft_descriptor descriptor;
    cpu->segment[X86_LDTR] = check_system_segment(cpu, selector, 1u << X86_SYSTEM_LDT, &descriptor);
}

void soft_ltr(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    need_protected_mode(cpu);
    need_privilege(cpu);
    uint16_t selector = (uint16_t)soft_read_rm(cpu, &in->decoded, 2);
    if (soft_selector_is_null(selector)) {
        soft_raise_error(cpu, X86_VECTOR_GP, 0);
    }
    unsigned int types = 1u << X86_SYSTEM_TSS_AVAILABLE;
    if (!soft_long_mode(cpu)) {
        types |= 1u << X86_SYSTEM_TSS16_AVAILABLE;
    }
    struct soft_descriptor descriptor;
    struct x86_segment segment = check_system_segment(cpu, selector, types, &descriptor);
    soft_system_update(cpu, soft_table_address(cpu, descriptor.linear + 5), 0,
                       X86_SYSTEM_TSS_BUSY_BIT);
    segment.attributes |= X86_SYSTEM_TSS_BUSY_BIT;
    cpu->segment[X86_TR] = segment;
}

/* "SLDT", "STR": to a register as wide as the operand, zero-extended; to memory 16 bits. */
static void store_selector(struct soft_cpu *cpu, const struct soft_instruction *in,
                           unsigned int segment)
{
    need_protected_mode(cpu);
    check_user_mode_prevention(cpu);
    uint16_t selector = cpu->segment[segment].selector;
    if (soft_is_memory(in)) {
        soft_write_rm(cpu, &in->decoded, 2, selector);
    } else {
        soft_set_register(cpu, in->decoded.rm, in->decoded.operand_size, true, selector);
    }
}

void soft_sldt(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    store_selector(cpu, in, X86_LDTR);
}

void soft_str(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    store_selector(cpu, in, X86_TR);
}
