#include "x86/vmx_instructions.h"

#include "x86/descriptor.h"

/*
 * "Conventions": VMfailInvalid sets CF, VMfailValid sets ZF. `failed` is either: one branch for the
 * fields that each exit reads and writes.
 */
static enum vtx_result result_of(bool failed, bool carry)
{
    if (__builtin_expect(!failed, 1)) {
        return VTX_SUCCEED;
    }
    return carry ? VTX_FAIL_INVALID : VTX_FAIL_VALID;
}

enum vtx_result vtx_vmxon(uint64_t physical)
{
    bool failed, carry;
    __asm__ volatile("vmxon %2" : "=@ccbe"(failed), "=@ccc"(carry) : "m"(physical) : "memory");
    return result_of(failed, carry);
}

enum vtx_result vtx_vmxoff(void)
{
    bool failed, carry;
    __asm__ volatile("vmxoff" : "=@ccbe"(failed), "=@ccc"(carry) : : "memory");
    return result_of(failed, carry);
}

enum vtx_result vtx_vmclear(uint64_t physical)
{
    bool failed, carry;
    __asm__ volatile("vmclear %2" : "=@ccbe"(failed), "=@ccc"(carry) : "m"(physical) : "memory");
    return result_of(failed, carry);
}

enum vtx_result vtx_vmptrld(uint64_t physical)
{
    bool failed, carry;
    __asm__ volatile("vmptrld %2" : "=@ccbe"(failed), "=@ccc"(carry) : "m"(physical) : "memory");
    return result_of(failed, carry);
}

enum vtx_result vtx_vmread(uint32_t encoding, uint64_t *value)
{
    bool failed, carry;
    uint64_t read = 0;
    __asm__ volatile("vmread %3, %2"
                     : "=@ccbe"(failed), "=@ccc"(carry), "+r"(read)
                     : "r"((uint64_t)encoding));
    *value = read;
    return result_of(failed, carry);
}

enum vtx_result vtx_vmwrite(uint32_t encoding, uint64_t value)
{
    bool failed, carry;
    __asm__ volatile("vmwrite %2, %3"
                     : "=@ccbe"(failed), "=@ccc"(carry)
                     : "r"(value), "r"((uint64_t)encoding)
                     : "memory");
    return result_of(failed, carry);
}

enum vtx_result vtx_invept(uint64_t type, uint64_t ept_pointer)
{
    struct {
        uint64_t pointer, reserved;
    } descriptor = {ept_pointer, 0};
    bool failed, carry;
    __asm__ volatile("invept %2, %3"
                     : "=@ccbe"(failed), "=@ccc"(carry)
                     : "m"(descriptor), "r"(type)
                     : "memory");
    return result_of(failed, carry);
}

enum vtx_result vtx_invvpid(uint64_t type, uint16_t vpid, uint64_t linear)
{
    struct {
        uint64_t vpid, linear;
    } descriptor = {vpid, linear};
    bool failed, carry;
    __asm__ volatile("invvpid %2, %3"
                     : "=@ccbe"(failed), "=@ccc"(carry)
                     : "m"(descriptor), "r"(type)
                     : "memory");
    return result_of(failed, carry);
}

void vtx_call_nmi_handler(void)
{
    __asm__ volatile("int $2" : : : "memory");
}

void vtx_call_machine_check_handler(void)
{
    __asm__ volatile("int $18" : : : "memory");
}

/* ---- segments and tables ---- */

struct table_operand {
    uint16_t limit;
    uint64_t base;
} __attribute__((packed));

#define READ_SELECTOR(name)                                                                        \
    static uint16_t read_##name(void)                                                              \
    {                                                                                              \
        uint16_t selector;                                                                         \
        __asm__ volatile("mov %%" #name ", %0" : "=r"(selector));                                  \
        return selector;                                                                           \
    }

READ_SELECTOR(es)
READ_SELECTOR(cs)
READ_SELECTOR(ss)
READ_SELECTOR(ds)
READ_SELECTOR(fs)
READ_SELECTOR(gs)

void vtx_read_host_registers(struct vtx_host_registers *registers)
{
    struct table_operand gdt, idt;
    __asm__ volatile("sgdt %0" : "=m"(gdt));
    __asm__ volatile("sidt %0" : "=m"(idt));
    *registers = (struct vtx_host_registers){
        .es = read_es(),
        .cs = read_cs(),
        .ss = read_ss(),
        .ds = read_ds(),
        .fs = read_fs(),
        .gs = read_gs(),
        .gdt_base = gdt.base,
        .gdt_limit = gdt.limit,
        .idt_base = idt.base,
        .idt_limit = idt.limit,
    };
    __asm__ volatile("str %0" : "=r"(registers->tr));
    __asm__ volatile("sldt %0" : "=r"(registers->ldtr));
    const uint64_t *descriptor =
        (const uint64_t *)(uintptr_t)(gdt.base + (registers->tr & X86_SELECTOR_INDEX));
    registers->tr_base =
        x86_segment_from_descriptor64(descriptor[0], descriptor[1], registers->tr).base;
}

void vtx_restore_host_registers(const struct vtx_host_registers *registers)
{
    struct table_operand gdt = {registers->gdt_limit, registers->gdt_base};
    struct table_operand idt = {registers->idt_limit, registers->idt_base};
    __asm__ volatile("lgdt %0" : : "m"(gdt));
    __asm__ volatile("lidt %0" : : "m"(idt));
    if (registers->ldtr != 0) {
        __asm__ volatile("lldt %0" : : "r"(registers->ldtr));
    }
    if (registers->ds != read_ds()) {
        __asm__ volatile("mov %0, %%ds" : : "r"(registers->ds));
    }
    if (registers->es != read_es()) {
        __asm__ volatile("mov %0, %%es" : : "r"(registers->es));
    }
}

/* ---- control and debug registers ---- */

#define READ_REGISTER(function, name)                                                              \
    uint64_t function(void)                                                                        \
    {                                                                                              \
        uint64_t value;                                                                            \
        __asm__ volatile("mov %%" #name ", %0" : "=r"(value));                                     \
        return value;                                                                              \
    }

#define WRITE_REGISTER(function, name)                                                             \
    void function(uint64_t value)                                                                  \
    {                                                                                              \
        __asm__ volatile("mov %0, %%" #name : : "r"(value) : "memory");                            \
    }

READ_REGISTER(vtx_read_cr0, cr0)
READ_REGISTER(vtx_read_cr2, cr2)
READ_REGISTER(vtx_read_cr3, cr3)
READ_REGISTER(vtx_read_cr4, cr4)
WRITE_REGISTER(vtx_write_cr0, cr0)
WRITE_REGISTER(vtx_write_cr2, cr2)
WRITE_REGISTER(vtx_write_cr4, cr4)

#define DEBUG_REGISTER(number)                                                                     \
    static READ_REGISTER(read_dr##number, dr##number) static WRITE_REGISTER(write_dr##number,      \
                                                                            dr##number)

DEBUG_REGISTER(0)
DEBUG_REGISTER(1)
DEBUG_REGISTER(2)
DEBUG_REGISTER(3)
DEBUG_REGISTER(6)
DEBUG_REGISTER(7)

uint64_t vtx_read_dr(unsigned int number)
{
    static uint64_t (*const read[8])(void) = {read_dr0, read_dr1, read_dr2, read_dr3,
                                              read_dr6, read_dr7, read_dr6, read_dr7};
    return read[number & 7]();
}

void vtx_write_dr(unsigned int number, uint64_t value)
{
    static void (*const write[8])(uint64_t) = {write_dr0, write_dr1, write_dr2, write_dr3,
                                               write_dr6, write_dr7, write_dr6, write_dr7};
    write[number & 7](value);
}

/* ---- MSRs, CPUID, time, random numbers ---- */

uint64_t vtx_rdmsr(uint32_t index)
{
    uint32_t low, high;
    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(index));
    return low | (uint64_t)high << 32;
}

void vtx_wrmsr(uint32_t index, uint64_t value)
{
    __asm__ volatile("wrmsr"
                     :
                     : "c"(index), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
                     : "memory");
}

struct cpuid_registers vtx_cpuid(uint32_t leaf, uint32_t subleaf)
{
    return cpuid_host(leaf, subleaf);
}

uint64_t vtx_rdtsc(void)
{
    uint32_t low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return low | (uint64_t)high << 32;
}

bool vtx_rdrand(uint64_t *value)
{
    bool good;
    __asm__ volatile("rdrand %1" : "=@ccc"(good), "=r"(*value));
    return good;
}

bool vtx_rdseed(uint64_t *value)
{
    bool good;
    __asm__ volatile("rdseed %1" : "=@ccc"(good), "=r"(*value));
    return good;
}

/* ---- extended state ---- */

uint64_t vtx_xgetbv(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low | (uint64_t)high << 32;
}

void vtx_xsetbv(uint64_t value)
{
    __asm__ volatile("xsetbv" : : "c"(0), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)));
}

void vtx_xsave(void *area, uint64_t components)
{
    __asm__ volatile("xsave64 (%0)"
                     :
                     : "r"(area), "a"((uint32_t)components), "d"((uint32_t)(components >> 32))
                     : "memory");
}

void vtx_xrstor(const void *area, uint64_t components)
{
    __asm__ volatile("xrstor64 (%0)"
                     :
                     : "r"(area), "a"((uint32_t)components), "d"((uint32_t)(components >> 32))
                     : "memory");
}

void vtx_fxsave(void *area)
{
    __asm__ volatile("fxsave64 (%0)" : : "r"(area) : "memory");
}

void vtx_fxrstor(const void *area)
{
    __asm__ volatile("fxrstor64 (%0)" : : "r"(area) : "memory");
}
