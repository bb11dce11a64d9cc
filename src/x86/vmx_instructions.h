/*
 * VT-x's instructions and the other privileged ones, a function each.
 *
 * Purpose: all that the VT-x core asks of the processor goes through here and vtx_enter of
 *          vtx/core/hardware.h; the unit tests link a processor made of arrays in their place.
 * Source:  Intel SDM volume 3, "VMX Instruction Reference", "Conventions".
 * Owner:   nothing is kept.
 * Thread:  each acts on the processor that calls it, in ring 0, which must not change under the
 *          caller. Freestanding.
 */
#ifndef TRAPEZE_X86_VMX_INSTRUCTIONS_H
#define TRAPEZE_X86_VMX_INSTRUCTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "x86/cpuid.h"

/* "Conventions": how a VMX instruction tells that it failed. */
enum vtx_result {
    VTX_SUCCEED,
    VTX_FAIL_INVALID, /* there is no current VMCS: no error number */
    VTX_FAIL_VALID    /* the number is in the VM-instruction error field */
};

/* physical: of a 4 KiB region that begins with the VMCS revision identifier. */
enum vtx_result vtx_vmxon(uint64_t physical);
enum vtx_result vtx_vmxoff(void);
enum vtx_result vtx_vmclear(uint64_t physical);
enum vtx_result vtx_vmptrld(uint64_t physical);

/* encoding: enum vmcs_encoding. *value is 0 when it fails. */
enum vtx_result vtx_vmread(uint32_t encoding, uint64_t *value);
enum vtx_result vtx_vmwrite(uint32_t encoding, uint64_t value);

/* type: VMX_INVEPT_… and VMX_INVVPID_… of x86/vmx.h. */
enum vtx_result vtx_invept(uint64_t type, uint64_t ept_pointer);
enum vtx_result vtx_invvpid(uint64_t type, uint16_t vpid, uint64_t linear);

/* The host's own handler of what made the guest exit: INT 2, INT 18. */
void vtx_call_nmi_handler(void);
void vtx_call_machine_check_handler(void);

/* The host state that is not in control registers or MSRs. */
struct vtx_host_registers {
    uint16_t es, cs, ss, ds, fs, gs, ldtr, tr;
    uint64_t gdt_base, idt_base;
    uint16_t gdt_limit, idt_limit;
    uint64_t tr_base; /* out of the GDT's descriptor */
};

void vtx_read_host_registers(struct vtx_host_registers *registers);
/*
 * A VM exit leaves descriptor tables of 64 KiB, no LDT, and only such selectors as the VMCS may
 * hold ("Loading Host Segment and Descriptor-Table Registers"). This gives the host its own again,
 * but for FS and GS, whose bases the exit has restored, and TR's limit, which stays 0x67: where the
 * host has more behind its TSS than that, it must load TR again.
 */
void vtx_restore_host_registers(const struct vtx_host_registers *registers);

uint64_t vtx_read_cr0(void);
uint64_t vtx_read_cr2(void);
uint64_t vtx_read_cr3(void);
uint64_t vtx_read_cr4(void);
void vtx_write_cr0(uint64_t value);
void vtx_write_cr2(uint64_t value);
void vtx_write_cr4(uint64_t value);

/* number: 0..3, 6, 7. */
uint64_t vtx_read_dr(unsigned int number);
void vtx_write_dr(unsigned int number, uint64_t value);

/* Only MSRs that the processor is known to have: there is nobody to catch the #GP. */
uint64_t vtx_rdmsr(uint32_t index);
void vtx_wrmsr(uint32_t index, uint64_t value);

struct cpuid_registers vtx_cpuid(uint32_t leaf, uint32_t subleaf);
uint64_t vtx_rdtsc(void);
/* False if there is no random number at the moment. */
bool vtx_rdrand(uint64_t *value);
bool vtx_rdseed(uint64_t *value);

/* With CR4.OSXSAVE set. */
uint64_t vtx_xgetbv(void);
void vtx_xsetbv(uint64_t value);

/* area: 64-byte aligned, X86_XSAVE_SIZE long; components: those of XCR0 to save or restore. */
void vtx_xsave(void *area, uint64_t components);
void vtx_xrstor(const void *area, uint64_t components);

/* For processors without XSAVE, or a host that has not enabled it: the first 512 bytes. */
void vtx_fxsave(void *area);
void vtx_fxrstor(const void *area);

#endif
