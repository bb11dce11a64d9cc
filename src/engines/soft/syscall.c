#include "engines/soft/syscall.h"

#include "engines/soft/control.h"

/* Flat segments as these instructions load them, whatever the descriptor tables say. */
#define FLAT_LIMIT       0xffffffffu
#define CODE_ATTRIBUTES  (X86_SEGMENT_P | X86_SEGMENT_S | X86_SEGMENT_G | 0xbu)
#define STACK_ATTRIBUTES (X86_SEGMENT_P | X86_SEGMENT_S | X86_SEGMENT_G | X86_SEGMENT_DB | 0x3u)

/* Bits of RFLAGS that SYSRET takes from R11. */
#define SYSRET_FLAGS UINT64_C(0x3c7fd7)

static void load_flat_segments(struct soft_cpu *cpu, uint16_t code, uint16_t stack,
                               unsigned int cpl, bool is_64bit)
{
    uint32_t dpl = cpl << X86_SEGMENT_DPL_SHIFT;
    cpu->segment[X86_CS] = (struct x86_segment){
        .limit = FLAT_LIMIT,
        .attributes = CODE_ATTRIBUTES | dpl | (is_64bit ? X86_SEGMENT_L : X86_SEGMENT_DB),
        .selector = code,
    };
    cpu->segment[X86_SS] = (struct x86_segment){
        .limit = FLAT_LIMIT,
        .attributes = STACK_ATTRIBUTES | dpl,
        .selector = stack,
    };
    soft_mode_changed(cpu);
}

static void require_system_calls(struct soft_cpu *cpu)
{
    /* the manual's rule for both: 64-bit mode and EFER.SCE, else #UD */
    if (!soft_64bit(cpu) || (cpu->efer & X86_EFER_SCE) == 0) {
        soft_raise(cpu, X86_VECTOR_UD);
    }
}

void soft_syscall(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    (void)in;
    require_system_calls(cpu);
    uint64_t flags = soft_rflags(cpu);
    uint16_t code = (uint16_t)(cpu->msr.star >> 32 & 0xfffc);
    cpu->gpr[X86_RCX] = cpu->next_rip;
    cpu->gpr[X86_R11] = flags;
    cpu->next_rip = cpu->msr.lstar;
    soft_set_rflags(cpu, (flags & ~(cpu->msr.fmask | X86_FLAGS_RF)) | X86_FLAGS_ONE);
    load_flat_segments(cpu, code, (uint16_t)(code + 8), 0, true);
}

void soft_sysret(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    require_system_calls(cpu);
    soft_require_cpl0(cpu);
    bool to_64bit = in->decoded.operand_size == 8;
    uint64_t target = cpu->gpr[X86_RCX];
    if (to_64bit && !soft_canonical(cpu, target)) {
        soft_raise_error(cpu, X86_VECTOR_GP, 0);
    }
    uint16_t base = (uint16_t)(cpu->msr.star >> 48);
    uint16_t code = (uint16_t)((base + (to_64bit ? 16 : 0)) | 3);
    cpu->next_rip = to_64bit ? target : target & 0xffffffff;
    soft_set_rflags(cpu, (cpu->gpr[X86_R11] & SYSRET_FLAGS) | X86_FLAGS_ONE);
    load_flat_segments(cpu, code, (uint16_t)((base + 8) | 3), 3, to_64bit);
    if ((cpu->flags & X86_FLAGS_TF) != 0) {
        cpu->pending_dr6 |=
            X86_DR6_BS; /* the TF that was loaded traps before the next instruction */
    }
}

/* IA32_SYSENTER_CS names four or five descriptors in a row; 0 turns the pair off. */
static uint16_t sysenter_base(struct soft_cpu *cpu)
{
    uint16_t base = (uint16_t)(cpu->msr.sysenter_cs & 0xfffc);
    if (!soft_protected(cpu) || base == 0) {
        soft_raise_error(cpu, X86_VECTOR_GP, 0);
    }
    return base;
}

void soft_sysenter(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    (void)in;
    uint16_t base = sysenter_base(cpu);
    bool to_64bit = soft_long_mode(cpu);
    uint64_t mask = to_64bit ? UINT64_MAX : 0xffffffff;
    cpu->gpr[X86_RSP] = cpu->msr.sysenter_esp & mask;
    cpu->next_rip = cpu->msr.sysenter_eip & mask;
    soft_set_rflags(cpu, soft_rflags(cpu) & ~(X86_FLAGS_VM | X86_FLAGS_IF | X86_FLAGS_RF));
    load_flat_segments(cpu, base, (uint16_t)(base + 8), 0, to_64bit);
}

void soft_sysexit(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    uint16_t base = sysenter_base(cpu);
    soft_require_cpl0(cpu);
    bool to_64bit = in->decoded.operand_size == 8 && soft_64bit(cpu);
    uint64_t mask = to_64bit ? UINT64_MAX : 0xffffffff;
    uint64_t stack = cpu->gpr[X86_RCX] & mask, target = cpu->gpr[X86_RDX] & mask;
    if (to_64bit && (!soft_canonical(cpu, stack) || !soft_canonical(cpu, target))) {
        soft_raise_error(cpu, X86_VECTOR_GP, 0);
    }
    uint16_t code = (uint16_t)((base + (to_64bit ? 32 : 16)) | 3);
    cpu->gpr[X86_RSP] = stack;
    cpu->next_rip = target;
    load_flat_segments(cpu, code, (uint16_t)((code + 8) | 3), 3, to_64bit);
}

/* --- bases: in 64-bit mode they apply as they are, so there is nothing to recompute --- */

static void set_base(struct soft_cpu *cpu, unsigned int segment, uint64_t base)
{
    cpu->segment[segment].base = base;
    cpu->address_base[segment] = base;
}

void soft_swapgs(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    (void)in;
    if (!soft_64bit(cpu)) {
        soft_raise(cpu, X86_VECTOR_UD);
    }
    soft_require_cpl0(cpu);
    uint64_t base = cpu->segment[X86_GS].base;
    set_base(cpu, X86_GS, cpu->msr.kernel_gs_base);
    cpu->msr.kernel_gs_base = base;
}

static unsigned int base_segment(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    if (!soft_64bit(cpu) || (cpu->cr4 & X86_CR4_FSGSBASE) == 0) {
        soft_raise(cpu, X86_VECTOR_UD);
    }
    enum x86_operation operation = in->decoded.operation;
    bool fs = operation == X86_OP_RDFSBASE || operation == X86_OP_WRFSBASE;
    return fs ? X86_FS : X86_GS;
}

void soft_read_base(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    uint64_t base = cpu->segment[base_segment(cpu, in)].base;
    soft_set_register(cpu, in->decoded.rm, in->decoded.operand_size, true, base);
}

void soft_write_base(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    unsigned int segment = base_segment(cpu, in);
    uint64_t base = soft_get_register(cpu, in->decoded.rm, in->decoded.operand_size, true);
    if (!soft_canonical(cpu, base)) {
        soft_raise_error(cpu, X86_VECTOR_GP, 0);
    }
    set_base(cpu, segment, base);
}
