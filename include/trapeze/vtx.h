/*
 * The interface of /dev/trapeze: VT-x for processes, by the kernel module in vtx/linux.
 *
 * Purpose: what the module and a program that drives it agree on, and nothing else. The device
 *          makes VMs, a VM makes vCPUs; each is a file descriptor, and what it holds lives as long
 *          as the last of them. See docs/vtx-engine.md.
 * Owner:   the caller's structs; the module copies each once before it looks at it.
 * Thread:  a vCPU's calls one at a time, all by threads of the process that made the VM.
 *
 * Every reserved field must be zero, every flag known: else EINVAL. Where a struct has a message,
 * the module fills it in when the call fails: one line, ending in a zero byte.
 */
#ifndef TRAPEZE_VTX_H
#define TRAPEZE_VTX_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define TRAPEZE_VTX_DEVICE "/dev/trapeze"

/* Changes with every change that either side would notice. */
#define TRAPEZE_VTX_ABI 1

#define TRAPEZE_VTX_MESSAGE_SIZE 256
#define TRAPEZE_VTX_SLOTS_MAX    16
#define TRAPEZE_VTX_VCPUS_MAX    64
#define TRAPEZE_VTX_CPUID_MAX    128 /* entries */

/* ---- the device ---- */

/* Filled in by TRAPEZE_VTX_VERSION, whatever the processor can do. */
struct trapeze_vtx_version {
    __u32 abi; /* TRAPEZE_VTX_ABI of the module */
    __u32 reserved0;
    __s32 error; /* why VT-x cannot be used, as -errno, and in words; 0: it can */
    __u32 reserved1;
    __u64 reserved[4];
    char message[TRAPEZE_VTX_MESSAGE_SIZE];
};

struct trapeze_vtx_cpuid_entry {
    __u32 leaf;
    __u32 subleaf;
    __u32 has_subleaf; /* 0: the entry answers every subleaf; 1 */
    __u32 eax, ebx, ecx, edx;
    __u32 reserved;
};

/* The most that a guest may be shown on this processor. */
struct trapeze_vtx_cpuid {
    __u32 count; /* in: room for so many entries; out: how many there are (E2BIG: too many) */
    __u32 reserved0;
    __u64 entries; /* address of the first struct trapeze_vtx_cpuid_entry, to be filled in */
    __u64 reserved[2];
    char message[TRAPEZE_VTX_MESSAGE_SIZE];
};

/* What leaves the guest besides what must: --trap. */
#define TRAPEZE_VTX_TRAP_SHADOW 0u /* as little as can be */
#define TRAPEZE_VTX_TRAP_ALL    1u /* every sensitive instruction */

struct trapeze_vtx_vm {
    __u32 policy; /* TRAPEZE_VTX_TRAP_… */
    __u32 reserved0;
    __u64 reserved[3];
    char message[TRAPEZE_VTX_MESSAGE_SIZE];
};

/* ---- a VM ---- */

#define TRAPEZE_VTX_READ_ONLY 1u /* the guest's writes leave it as memory-mapped I/O */

/*
 * A slot: memory of the calling process that is the guest's, too. It is pinned as the guest touches
 * it. Before the first vCPU; at most TRAPEZE_VTX_SLOTS_MAX, none over another.
 */
struct trapeze_vtx_memory {
    __u32 flags; /* TRAPEZE_VTX_READ_ONLY */
    __u32 reserved0;
    __u64 guest_address; /* these three are multiples of 4096 */
    __u64 length;
    __u64 user_address;
    __u64 reserved[2];
};

/*
 * A port whose writes do not come out: they signal an eventfd. Before the first vCPU; until the VM
 * ends.
 */
struct trapeze_vtx_doorbell {
    __s32 event; /* the eventfd */
    __u16 port;
    __u8 size;      /* bytes of a write: 1, 2 or 4 */
    __u8 has_value; /* 1: only writes of `value`; 0 */
    __u32 value;
    __u32 reserved0;
    __u64 reserved[2];
};

struct trapeze_vtx_vcpu {
    __u32 index;       /* below TRAPEZE_VTX_VCPUS_MAX; each once */
    __u32 cpuid_count; /* at most TRAPEZE_VTX_CPUID_MAX */
    __u64 cpuid;       /* address of so many struct trapeze_vtx_cpuid_entry: what the guest sees */
    __u64 reserved[2];
    char message[TRAPEZE_VTX_MESSAGE_SIZE];
};

/* ---- a vCPU's state ---- */

/* Groups, as enum x86_state_group has them. */
#define TRAPEZE_VTX_GENERAL    (1u << 0)
#define TRAPEZE_VTX_SYSTEM     (1u << 1)
#define TRAPEZE_VTX_DEBUG      (1u << 2)
#define TRAPEZE_VTX_MSRS       (1u << 3)
#define TRAPEZE_VTX_FPU        (1u << 4)
#define TRAPEZE_VTX_EVENTS     (1u << 5)
#define TRAPEZE_VTX_ALL_GROUPS ((1u << 6) - 1)

struct trapeze_vtx_general {
    __u64 gpr[16]; /* in the order of their encoding */
    __u64 rip, rflags;
};

struct trapeze_vtx_segment {
    __u64 base;
    __u32 limit;      /* in bytes */
    __u32 attributes; /* as the access rights of a VMCS */
    __u16 selector;
    __u16 reserved[3];
};

struct trapeze_vtx_table {
    __u64 base;
    __u16 limit;
    __u16 reserved[3];
};

struct trapeze_vtx_system {
    struct trapeze_vtx_segment segment[8]; /* ES, CS, SS, DS, FS, GS, LDTR, TR */
    struct trapeze_vtx_table gdtr, idtr;
    __u64 cr0, cr2, cr3, cr4, cr8, efer;
    __u64 pdptr[4];
    __u32 pdptrs_known; /* 0 or 1 */
    __u32 reserved;
};

struct trapeze_vtx_debug {
    __u64 dr[8]; /* 4 and 5 are unused */
};

struct trapeze_vtx_msrs {
    __u64 tsc, tsc_aux, tsc_deadline;
    __u64 sysenter_cs, sysenter_esp, sysenter_eip;
    __u64 star, lstar, cstar, fmask, kernel_gs_base;
    __u64 pat, apic_base, misc_enable, spec_ctrl;
    __u64 mtrr_def_type, mtrr_fixed[11], mtrr_variable[16];
    __u64 xss, tsc_adjust;
    __u64 kvm_wall_clock, kvm_system_time;
};

struct trapeze_vtx_fpu {
    __u64 xcr0;
    __u32 pkru;
    __u32 reserved;
    __u8 xsave[4096]; /* in the standard format */
};

struct trapeze_vtx_events {
    __u32 activity; /* 0 active, 1 halted, 2 waiting for SIPI, 3 shut down */
    /* These are 0 or 1. */
    __u8 sti_shadow, mov_ss_shadow;
    __u8 nmi_blocked, nmi_pending;
    __u8 exception_pending, exception_has_error;
    __u8 exception_vector;
    __u8 reserved[1];
    __u32 exception_error;
};

struct trapeze_vtx_state {
    __u32 groups; /* TRAPEZE_VTX_…: which of these are meant; of the others nothing is copied */
    __u32 reserved;
    struct trapeze_vtx_general general;
    struct trapeze_vtx_system system;
    struct trapeze_vtx_debug debug;
    struct trapeze_vtx_msrs msrs;
    struct trapeze_vtx_fpu fpu;
    struct trapeze_vtx_events events;
};

/* ---- running ---- */

/* Why TRAPEZE_VTX_RUN came back. */
enum trapeze_vtx_exit_reason {
    TRAPEZE_VTX_EXIT_NONE, /* nothing happened that needs serving: run again */
    TRAPEZE_VTX_EXIT_PIO,
    TRAPEZE_VTX_EXIT_MMIO,
    TRAPEZE_VTX_EXIT_RDMSR,
    TRAPEZE_VTX_EXIT_WRMSR,
    TRAPEZE_VTX_EXIT_HLT,
    TRAPEZE_VTX_EXIT_HYPERCALL,
    TRAPEZE_VTX_EXIT_INTERRUPT_WINDOW,
    TRAPEZE_VTX_EXIT_DEBUG,
    TRAPEZE_VTX_EXIT_SHUTDOWN,
    TRAPEZE_VTX_EXIT_ENTRY_FAILED,
    TRAPEZE_VTX_EXIT_INTERNAL,
};

#define TRAPEZE_VTX_TEXT_SIZE      192
#define TRAPEZE_VTX_EXCEPTIONS_MAX 4

struct trapeze_vtx_exception {
    __u8 vector;
    __u8 has_error;
    __u16 reserved;
    __u32 error;
    __u64 rip, address;
};

/*
 * An exit. What is to be filled in by whoever serves it is completed by the next run; the rest of
 * what the program writes here is ignored.
 */
struct trapeze_vtx_exit {
    __u32 reason; /* enum trapeze_vtx_exit_reason */
    __u32 reserved;
    union {
        struct {
            __u16 port;
            __u8 size; /* bytes of one element: 1, 2, 4 */
            __u8 is_write;
            __u32 count; /* elements, one after the other, at TRAPEZE_VTX_DATA_OFFSET */
        } pio;
        struct {
            __u64 address; /* guest physical */
            __u8 size;     /* 1..8 bytes */
            __u8 is_write;
            __u8 reserved[6];
            __u8 data[8]; /* to be filled by a read */
        } mmio;
        struct {
            __u32 index;
            __u32 refused; /* to be filled: not 0 gives the guest #GP(0) */
            __u64 value;   /* to be filled for RDMSR */
        } msr;
        struct {
            __u64 number, arguments[4];
            __u64 result; /* to be filled */
        } hypercall;
        struct {
            __u32 exception_count;
            __u32 reserved;
            struct trapeze_vtx_exception exceptions[TRAPEZE_VTX_EXCEPTIONS_MAX];
        } shutdown;
        struct {
            __u64 hardware_reason;
            char text[TRAPEZE_VTX_TEXT_SIZE];
        } entry_failed;
        struct {
            __u32 code;
            __u32 reserved;
            char text[TRAPEZE_VTX_TEXT_SIZE];
        } internal;
        struct {
            __u64 rip, dr6;
        } debug;
        __u8 room[256];
    };
};

/*
 * What a vCPU and its program share: mmap of the vCPU's descriptor at offset 0, of
 * TRAPEZE_VTX_RUN_SIZE bytes. The module trusts nothing in it.
 */
struct trapeze_vtx_run {
    /* Written by the program, read at each run. */
    __u8 immediate_exit; /* not 0: complete the last exit, and return with EINTR */
    __u8 window_wanted;  /* not 0: return as soon as an interrupt can be taken */
    /* Not 0: `interrupt` is to be taken as soon as it can be; 0 once the module has it. */
    __u8 has_interrupt;
    __u8 interrupt; /* its vector */
    __u8 nmi;       /* not 0: an NMI more; then 0 */
    __u8 cr8;       /* the task priority, both ways */
    __u8 reserved_in[10];

    /* Written by the module when a run returns. */
    __u8 interrupt_ready; /* an interrupt would be taken at the next entry */
    __u8 reserved_out[7];
    __u64 tsc_offset; /* guest's TSC less the host's */

    struct trapeze_vtx_exit exit;
};

#define TRAPEZE_VTX_DATA_OFFSET 4096u
#define TRAPEZE_VTX_DATA_SIZE   4096u
#define TRAPEZE_VTX_RUN_SIZE    (TRAPEZE_VTX_DATA_OFFSET + TRAPEZE_VTX_DATA_SIZE)

/* ---- statistics ---- */

#define TRAPEZE_VTX_EXIT_REASONS 80 /* basic exit reasons of VT-x that are counted */

struct trapeze_vtx_statistics {
    __u64 entries;      /* VM entries */
    __u64 exits_inside; /* exits after which the guest went on at once */
    __u64 returns;      /* runs that came back to the program */
    __u64 loads;        /* how often the VMCS was made current on a processor */
    __u64 pages_small;  /* of the VM: 4 KiB pages mapped */
    __u64 pages_large;  /* of the VM: 2 MiB pages mapped */
    __u64 doorbells;    /* writes that signalled an eventfd */
    __u64 reserved[9];
    __u64 exits[TRAPEZE_VTX_EXIT_REASONS]; /* by basic exit reason; more than one an entry never */
};

/* ---- the calls ---- */

#define TRAPEZE_VTX_TYPE 0xb5

/* On /dev/trapeze. CREATE_VM returns a descriptor. */
#define TRAPEZE_VTX_VERSION   _IOWR(TRAPEZE_VTX_TYPE, 0, struct trapeze_vtx_version)
#define TRAPEZE_VTX_CREATE_VM _IOWR(TRAPEZE_VTX_TYPE, 1, struct trapeze_vtx_vm)
#define TRAPEZE_VTX_GET_CPUID _IOWR(TRAPEZE_VTX_TYPE, 2, struct trapeze_vtx_cpuid)

/* On a VM. CREATE_VCPU returns a descriptor. */
#define TRAPEZE_VTX_SET_MEMORY   _IOW(TRAPEZE_VTX_TYPE, 16, struct trapeze_vtx_memory)
#define TRAPEZE_VTX_SET_DOORBELL _IOW(TRAPEZE_VTX_TYPE, 17, struct trapeze_vtx_doorbell)
#define TRAPEZE_VTX_CREATE_VCPU  _IOWR(TRAPEZE_VTX_TYPE, 18, struct trapeze_vtx_vcpu)

/*
 * On a vCPU. RUN returns 0 with run->exit filled in; EINTR: a signal or immediate_exit, nothing to
 * be served; EIO: the processor left root mode (the words are in the kernel's log). The guest's
 * memory cannot be had: EFAULT, not mapped or not writable; EDQUOT, RLIMIT_MEMLOCK; EOPNOTSUPP, a
 * shared file that is on a disk. EPERM, from any call but those on the device: the VM is of another
 * process.
 */
#define TRAPEZE_VTX_RUN        _IO(TRAPEZE_VTX_TYPE, 32)
#define TRAPEZE_VTX_GET_STATE  _IOWR(TRAPEZE_VTX_TYPE, 33, struct trapeze_vtx_state)
#define TRAPEZE_VTX_SET_STATE  _IOW(TRAPEZE_VTX_TYPE, 34, struct trapeze_vtx_state)
#define TRAPEZE_VTX_STATISTICS _IOR(TRAPEZE_VTX_TYPE, 35, struct trapeze_vtx_statistics)

#endif
