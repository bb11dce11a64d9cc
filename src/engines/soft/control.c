#include "engines/soft/control.h"

#include "engines/soft/alu.h"
#include "engines/soft/memory.h"
#include "engines/soft/translate.h"
#include "engines/soft/vm.h"
#include "x86/control_rules.h"

#define LMSW_WRITABLE (X86_CR0_PE | X86_CR0_MP | X86_CR0_EM | X86_CR0_TS)

/* Bits of CR3 that name a physical address beyond what there is. */
#define CR3_RESERVED (UINT64_MAX << SOFT_PHYSICAL_BITS)

void soft_require_cpl0(struct soft_cpu *cpu)
{
    if (cpu->cpl != 0) {
        soft_raise_error(cpu, X86_VECTOR_GP, 0);
    }
}

static struct x86_control_state control_state(const struct soft_cpu *cpu)
{
    return (struct x86_control_state){
        .cr0 = cpu->cr0,
        .cr3 = cpu->cr3,
        .cr4 = cpu->cr4,
        .efer = cpu->efer,
        .cs_attributes = cpu->segment[X86_CS].attributes,
        .tr_attributes = cpu->segment[X86_TR].attributes,
    };
}

/* --- CR0 --- */

bool soft_write_cr0(struct soft_cpu *cpu, uint64_t value)
{
    struct x86_control_state before = control_state(cpu);
    uint64_t efer;
    if (!x86_next_cr0(&before, value, &value, &efer)) {
        return false;
    }
    uint64_t changed = cpu->cr0 ^ value;
    if (x86_uses_pae_paging(value, cpu->cr4, efer) && x86_cr0_loads_pdptes(changed) &&
        !soft_load_pdptes(cpu, cpu->cr3)) {
        return false;
    }
    cpu->cr0 = value;
    cpu->efer = efer;
    if ((changed & (X86_CR0_PG | X86_CR0_PE | X86_CR0_WP)) != 0) {
        soft_tlb_flush_all(cpu);
    }
    soft_mode_changed(cpu);
    return true;
}

/* --- CR3 --- */

bool soft_write_cr3(struct soft_cpu *cpu, uint64_t value)
{
    bool keep = false;
    if ((cpu->cr4 & X86_CR4_PCIDE) != 0) {
        keep = (value & X86_CR3_NO_FLUSH) != 0;
        value &= ~X86_CR3_NO_FLUSH;
    }
    if (soft_long_mode(cpu) && (value & CR3_RESERVED) != 0) {
        return false;
    }
    if (x86_uses_pae_paging(cpu->cr0, cpu->cr4, cpu->efer) && !soft_load_pdptes(cpu, value)) {
        return false;
    }
    cpu->cr3 = value;
    soft_tlb_switch(cpu, keep);
    return true;
}

/* --- CR4 --- */

bool soft_write_cr4(struct soft_cpu *cpu, uint64_t value)
{
    uint64_t changed = cpu->cr4 ^ value;
    struct x86_control_state before = control_state(cpu);
    if (!x86_is_next_cr4(&before, value, x86_cr4_writable(&cpu->cpuid))) {
        return false;
    }
    if (x86_uses_pae_paging(cpu->cr0, value, cpu->efer) && x86_cr4_loads_pdptes(changed) &&
        !soft_load_pdptes(cpu, cpu->cr3)) {
        return false;
    }
    cpu->cr4 = value;
    if ((changed & (X86_CR4_PSE | X86_CR4_PAE | X86_CR4_PGE | X86_CR4_PCIDE | X86_CR4_SMEP |
                    X86_CR4_SMAP | X86_CR4_LA57 | X86_CR4_PKE)) != 0) {
        soft_tlb_flush_all(cpu);
    }
    soft_mode_changed(cpu);
    return true;
}

/* --- EFER --- */

bool soft_write_efer(struct soft_cpu *cpu, uint64_t value)
{
    struct x86_control_state before = control_state(cpu);
    if (!x86_next_efer(&before, &cpu->cpuid, value, &cpu->efer)) {
        return false;
    }
    uint64_t changed = cpu->efer ^ before.efer;
    if ((changed & X86_EFER_NXE) != 0) {
        soft_tlb_flush_all(cpu);
    }
    soft_mode_changed(cpu);
    return true;
}

/* --- instructions --- */

static uint64_t read_control_register(struct soft_cpu *cpu, unsigned int number)
{
    switch (number) {
    case 0:
        return cpu->cr0;
    case 2:
        return cpu->cr2;
    case 3:
        return cpu->cr3;
    case 4:
        return cpu->cr4;
    case 8:
        return cpu->interrupts == NULL ? 0 : cpu->interrupts->get_cr8(cpu->interrupts->context);
    default:
        soft_raise(cpu, X86_VECTOR_UD);
    }
}

static bool write_cr8(struct soft_cpu *cpu, uint64_t value)
{
    if (value > 15) {
        return false;
    }
    if (cpu->interrupts != NULL) {
        cpu->interrupts->set_cr8(cpu->interrupts->context, (uint8_t)value);
        soft_attend(cpu, SOFT_ATTENTION_INTERRUPT); /* it may let something through now */
    }
    return true;
}

static bool write_control_register(struct soft_cpu *cpu, unsigned int number, uint64_t value)
{
    switch (number) {
    case 0:
        return soft_write_cr0(cpu, value);
    case 2:
        cpu->cr2 = value;
        return true;
    case 3:
        return soft_write_cr3(cpu, value);
    case 4:
        return soft_write_cr4(cpu, value);
    case 8:
        return write_cr8(cpu, value);
    default:
        soft_raise(cpu, X86_VECTOR_UD);
    }
}

/* A register that is not there is #UD at any level, as in debug.c. */
static void check_control_register(struct soft_cpu *cpu, unsigned int number)
{
    if (number == 1 || (number > 4 && number != 8)) {
        soft_raise(cpu, X86_VECTOR_UD);
    }
    soft_require_cpl0(cpu);
}

void soft_mov_from_cr(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    check_control_register(cpu, in->decoded.reg);
    uint64_t value = read_control_register(cpu, in->decoded.reg);
    soft_set_register(cpu, in->decoded.rm, soft_64bit(cpu) ? 8 : 4, true, value);
}

void soft_mov_to_cr(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    check_control_register(cpu, in->decoded.reg);
    uint64_t value = soft_get_register(cpu, in->decoded.rm, soft_64bit(cpu) ? 8 : 4, true);
    if (!write_control_register(cpu, in->decoded.reg, value)) {
        soft_raise_error(cpu, X86_VECTOR_GP, 0);
    }
}

/* Sets PE, MP, EM, TS; it can't clear PE. */
void soft_lmsw(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    soft_require_cpl0(cpu);
    uint64_t source = soft_read_rm(cpu, &in->decoded, 2) & LMSW_WRITABLE;
    uint64_t value = (cpu->cr0 & ~(LMSW_WRITABLE & ~X86_CR0_PE)) | source;
    if (!soft_write_cr0(cpu, value)) {
        soft_raise_error(cpu, X86_VECTOR_GP, 0);
    }
}

/* "User-Mode Instruction Prevention" covers it. A register takes as much as the operand size. */
void soft_smsw(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    if ((cpu->cr4 & X86_CR4_UMIP) != 0 && cpu->cpl != 0) {
        soft_raise_error(cpu, X86_VECTOR_GP, 0);
    }
    unsigned int size = soft_is_memory(in) ? 2 : in->decoded.operand_size;
    soft_write_rm(cpu, &in->decoded, size, cpu->cr0);
}

void soft_clts(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    (void)in;
    soft_require_cpl0(cpu);
    cpu->cr0 &= ~X86_CR0_TS;
    soft_mode_changed(cpu);
}

/* No access takes place: limits and canonicality raise nothing. */
void soft_invlpg(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    soft_require_cpl0(cpu);
    uint64_t linear = soft_effective_address(cpu, &in->decoded);
    linear = (linear + cpu->address_base[in->decoded.segment]) & cpu->address_mask;
    if (soft_canonical(cpu, linear) || !soft_64bit(cpu)) {
        soft_tlb_flush_page(cpu, linear);
    }
}

enum invpcid_type { INVPCID_ADDRESS, INVPCID_CONTEXT, INVPCID_ALL, INVPCID_ALL_NON_GLOBAL };

void soft_invpcid(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    soft_require_cpl0(cpu);
    uint64_t type = soft_get_register(cpu, in->decoded.reg, soft_64bit(cpu) ? 8 : 4, true);
    uint64_t descriptor[2];
    uint64_t linear = soft_operand_linear(cpu, &in->decoded, 16, SOFT_READ);
    soft_read_bytes(cpu, linear, descriptor, sizeof descriptor);
    bool names_pcid = type == INVPCID_ADDRESS || type == INVPCID_CONTEXT;
    bool good = type <= INVPCID_ALL_NON_GLOBAL && (descriptor[0] & ~X86_CR3_PCID_MASK) == 0;
    if (names_pcid && (cpu->cr4 & X86_CR4_PCIDE) == 0 && descriptor[0] != 0) {
        good = false;
    }
    if (type == INVPCID_ADDRESS && !soft_canonical(cpu, descriptor[1])) {
        good = false;
    }
    if (!good) {
        soft_raise_error(cpu, X86_VECTOR_GP, 0);
    }
    uint16_t pcid = (uint16_t)descriptor[0];
    switch (type) {
    case INVPCID_ADDRESS:
        soft_tlb_flush_page_of(cpu, pcid, descriptor[1]);
        break;
    case INVPCID_CONTEXT:
        soft_tlb_flush_context(cpu, pcid);
        break;
    case INVPCID_ALL:
        soft_tlb_flush_all(cpu);
        break;
    default:
        soft_tlb_flush_non_global(cpu);
        break;
    }
}
