/*
 * The state of one logical processor, the same for every engine.
 *
 * Purpose: what engines get and set, what the boot protocols build, what snapshots and the
 *          entry checks read. Neutral: nothing of KVM's, the VMCS's or the interpreter's layout.
 * Owner:   whoever holds the struct; plain data.
 * Thread:  any. Freestanding.
 */
#ifndef TRAPEZE_X86_STATE_H
#define TRAPEZE_X86_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "x86/registers.h"

/*
 * A segment register with its hidden part.
 *
 * attributes hold bits 8..23 of the descriptor's second doubleword moved down by 8, with the
 * limit's bits cleared, as the VMCS access rights do: type 0..3, S 4, DPL 5..6, P 7, AVL 12, L 13,
 * D/B 14, G 15; bit 16 says unusable (a null selector).
 * limit is in bytes, the granularity already applied.
 */
struct x86_segment {
    uint64_t base;
    uint32_t limit;
    uint32_t attributes;
    uint16_t selector;
};

#define X86_SEGMENT_TYPE      0x000fu
#define X86_SEGMENT_S         0x0010u
#define X86_SEGMENT_DPL_SHIFT 5
#define X86_SEGMENT_DPL       0x0060u
#define X86_SEGMENT_P         0x0080u
#define X86_SEGMENT_AVL       0x1000u
#define X86_SEGMENT_L         0x2000u
#define X86_SEGMENT_DB        0x4000u
#define X86_SEGMENT_G         0x8000u
#define X86_SEGMENT_UNUSABLE  0x10000u

/* Bits of the type field of code and data segments. */
#define X86_TYPE_ACCESSED    0x1u
#define X86_TYPE_WRITABLE    0x2u /* data */
#define X86_TYPE_READABLE    0x2u /* code */
#define X86_TYPE_EXPAND_DOWN 0x4u /* data */
#define X86_TYPE_CONFORMING  0x4u /* code */
#define X86_TYPE_CODE        0x8u

struct x86_table_register {
    uint64_t base;
    uint16_t limit;
};

/* Groups that engine get/set calls select; a bit mask. */
enum x86_state_group {
    X86_STATE_GENERAL = 1 << 0, /* gpr, rip, rflags */
    X86_STATE_SYSTEM = 1 << 1,  /* segments, tables, control registers, efer */
    X86_STATE_DEBUG = 1 << 2,   /* dr0..dr7 */
    X86_STATE_MSRS = 1 << 3,    /* struct x86_msrs */
    X86_STATE_FPU = 1 << 4,     /* the XSAVE image, xcr0 */
    X86_STATE_EVENTS = 1 << 5,  /* shadows, NMI blocking, pending exception, activity */
    X86_STATE_ALL = (1 << 6) - 1,
    X86_STATE_LAPIC = 1 << 6 /* lapic; only of an engine with ENGINE_HAS_LOCAL_APICS */
};

enum x86_activity { X86_ACTIVE, X86_HALTED, X86_WAIT_FOR_SIPI, X86_SHUTDOWN };

/* MSRs that every engine keeps; the LAPIC's and the paravirtual ones have owners of their own. */
struct x86_msrs {
    uint64_t tsc; /* 0 as after RESET: the vCPUs of one VM then count in step */
    uint64_t tsc_aux;
    uint64_t tsc_deadline;
    uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
    uint64_t star, lstar, cstar, fmask, kernel_gs_base;
    uint64_t pat;
    uint64_t apic_base;
    uint64_t misc_enable;
    uint64_t spec_ctrl;
    uint64_t mtrr_def_type;
    uint64_t mtrr_fixed[11];
    uint64_t mtrr_variable[16]; /* base, mask pairs */
    uint64_t xss;
    uint64_t tsc_adjust;
    uint64_t kvm_wall_clock, kvm_system_time; /* where the KVM clock writes to; 0: it is off */
};

/*
 * The standard-format XSAVE area for x87, SSE, AVX (legacy 512 bytes, header 64, YMM_Hi128 256)
 * and what follows up to PKRU in the compact offsets that CPUID leaf 0xD reports to the guest.
 */
#define X86_XSAVE_SIZE 4096

/* The registers of a local APIC, each at its offset in the xAPIC's page. */
#define X86_LAPIC_SIZE 1024

struct x86_state {
    uint64_t gpr[X86_GPR_COUNT];
    uint64_t rip;
    uint64_t rflags;

    struct x86_segment segment[X86_SEGMENT_ALL_COUNT]; /* by enum x86_segment_register */
    struct x86_table_register gdtr, idtr;
    uint64_t cr0, cr2, cr3, cr4, cr8;
    uint64_t efer;
    /*
     * What PAE paging has loaded of CR3's table: memory may say otherwise by now. When set without
     * pdptrs_known the engine loads them from memory.
     */
    uint64_t pdptr[4];
    bool pdptrs_known;

    uint64_t dr[8]; /* dr4 and dr5 unused */
    struct x86_msrs msr;

    uint64_t xcr0;
    uint32_t pkru;
    uint8_t xsave[X86_XSAVE_SIZE] __attribute__((aligned(64)));

    uint8_t lapic[X86_LAPIC_SIZE];

    enum x86_activity activity;
    bool sti_shadow, mov_ss_shadow;
    bool nmi_blocked, nmi_pending;
    bool exception_pending, exception_has_error;
    uint8_t exception_vector;
    uint32_t exception_error;
};

/* Fills in the state after power-up or RESET ("Processor State After Reset"). */
void x86_state_reset(struct x86_state *state);

/* Applies INIT: like RESET, but caches, FPU, XCR0 and most MSRs survive. */
void x86_state_init(struct x86_state *state);

/*
 * Makes an XSAVE image that comes from somewhere else one that XRSTOR takes: no components but
 * these, no reserved bits in the header or in MXCSR.
 */
void x86_xsave_clean(uint8_t image[X86_XSAVE_SIZE], uint64_t components);

#endif
