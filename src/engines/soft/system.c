#include "engines/soft/system.h"

#include "engines/soft/alu.h"
#include "engines/soft/control.h"
#include "engines/soft/host_access.h"
#include "engines/soft/memory.h"
#include "engines/soft/time_stamp.h"

#define HYPERCALL_NOT_PERMITTED UINT64_C(1) /* -EPERM, as KVM answers programs of CPL 1 to 3 */

static void set_edx_eax(struct soft_cpu *cpu, uint64_t value)
{
    cpu->gpr[X86_RAX] = value & 0xffffffff;
    cpu->gpr[X86_RDX] = value >> 32;
}

void soft_rdtsc(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    if ((cpu->cr4 & X86_CR4_TSD) != 0 && cpu->cpl != 0) {
        soft_raise_error(cpu, X86_VECTOR_GP, 0);
    }
    set_edx_eax(cpu, soft_guest_tsc(cpu));
    if (in->decoded.operation == X86_OP_RDTSCP) {
        cpu->gpr[X86_RCX] = cpu->msr.tsc_aux & 0xffffffff;
    }
}

/* There are no performance counters: every index is out of range. */
void soft_rdpmc(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    (void)in;
    soft_raise_error(cpu, X86_VECTOR_GP, 0);
}

void soft_rdpid(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    unsigned int size = soft_64bit(cpu) ? 8 : 4;
    soft_set_register(cpu, in->decoded.rm, size, true, cpu->msr.tsc_aux);
}

/* One try, as the guest's own instruction would make; what CF says is passed on. */
static bool host_random(bool seed, uint64_t *value)
{
    bool success;
    if (seed) {
        __asm__ volatile("rdseed %[value]\n\tsetc %[success]"
                         : [value] "=r"(*value), [success] "=q"(success)
                         :
                         : "cc");
    } else {
        __asm__ volatile("rdrand %[value]\n\tsetc %[success]"
                         : [value] "=r"(*value), [success] "=q"(success)
                         :
                         : "cc");
    }
    return success;
}

/* CF tells success; OF, SF, ZF, AF, PF are cleared. Without success the destination is zero. */
void soft_random(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    uint64_t value = 0;
    bool success = host_random(in->decoded.operation == X86_OP_RDSEED, &value);
    soft_set_register(cpu, in->decoded.rm, in->decoded.operand_size, true, success ? value : 0);
    soft_set_arithmetic_flags(cpu, success ? X86_FLAGS_CF : 0);
}

/* --- protection keys --- */

static void check_pkru_access(struct soft_cpu *cpu)
{
    if ((cpu->cr4 & X86_CR4_PKE) == 0) {
        soft_raise(cpu, X86_VECTOR_UD);
    }
    if ((cpu->gpr[X86_RCX] & 0xffffffff) != 0) {
        soft_raise_error(cpu, X86_VECTOR_GP, 0);
    }
}

void soft_rdpkru(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    (void)in;
    check_pkru_access(cpu);
    set_edx_eax(cpu, cpu->pkru);
}

void soft_wrpkru(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    (void)in;
    check_pkru_access(cpu);
    if ((cpu->gpr[X86_RDX] & 0xffffffff) != 0) {
        soft_raise_error(cpu, X86_VECTOR_GP, 0);
    }
    uint32_t value = (uint32_t)cpu->gpr[X86_RAX];
    if (value != cpu->pkru) {
        cpu->pkru = value;
        soft_tlb_flush_all(cpu); /* its entries hold what the keys allowed */
    }
}

void soft_clac_stac(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    if (cpu->cpl != 0) {
        soft_raise(cpu, X86_VECTOR_UD);
    }
    bool set = in->decoded.operation == X86_OP_STAC;
    cpu->flags = set ? cpu->flags | X86_FLAGS_AC : cpu->flags & ~X86_FLAGS_AC;
    soft_mode_changed(cpu);
}

/* --- halting, caches, fences --- */

void soft_hlt(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    (void)in;
    soft_require_cpl0(cpu);
    cpu->halted = true;
    cpu->exit->reason = EXIT_HLT;
    soft_leave_after(cpu);
}

/* The host's caches are coherent: nothing is to be written back. */
void soft_cache_control(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    (void)in;
    soft_require_cpl0(cpu);
}

/* Faults like a load of one byte, but no device may see one. */
void soft_clflush(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    uint64_t available;
    uint64_t linear = soft_operand_linear(cpu, &in->decoded, 1, SOFT_READ);
    soft_chunk(cpu, linear, SOFT_READ, &available);
}

/* Loads and stores of the guest are the host's, which keeps all orders but store-load. */
void soft_fence(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    (void)cpu;
    if (in->decoded.operation == X86_OP_MFENCE) {
        soft_host_fence();
    } else {
        __asm__ volatile("" ::: "memory");
    }
}

void soft_nop(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    (void)cpu, (void)in;
}

/* --- hypercalls --- */

void soft_hypercall(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    (void)in;
    unsigned int size = soft_64bit(cpu) ? 8 : 4;
    uint64_t mask = soft_size_mask(size);
    if (cpu->cpl != 0) {
        soft_set_register(cpu, X86_RAX, size, true, 0 - HYPERCALL_NOT_PERMITTED);
        return;
    }
    struct vcpu_exit *exit = cpu->exit;
    exit->reason = EXIT_HYPERCALL;
    exit->hypercall.number = cpu->gpr[X86_RAX] & mask;
    exit->hypercall.arguments[0] = cpu->gpr[X86_RBX] & mask;
    exit->hypercall.arguments[1] = cpu->gpr[X86_RCX] & mask;
    exit->hypercall.arguments[2] = cpu->gpr[X86_RDX] & mask;
    exit->hypercall.arguments[3] = cpu->gpr[X86_RSI] & mask;
    exit->hypercall.result = 0;
    cpu->completing = true;
    soft_leave_after(cpu);
}

void soft_hypercall_complete(struct soft_cpu *cpu)
{
    cpu->completing = false;
    soft_set_register(cpu, X86_RAX, soft_64bit(cpu) ? 8 : 4, true, cpu->exit->hypercall.result);
}
