/*
 * The software CPU's state, and the rules that every part of the interpreter follows.
 *
 * The two tiers of execution
 *   A guest instruction is decoded once into a struct soft_op (op.h) within a block. Hot integer
 *   instructions get a handler of their own (tier 1, fast_*.c): operands resolved, no checks but
 *   the TLB's. Everything else is run by a `soft_execute` function (tier 2, execute.h) from the
 *   full decoder output. Tier 2 is complete by itself: it is the reference.
 *
 * The rules for a soft_execute function
 *   - On entry cpu->rip is the instruction's address and cpu->next_rip that of the following one
 *     (both are offsets into CS, not linear). To branch, set cpu->next_rip. On return the
 *     dispatcher moves next_rip into rip, truncated to the mode's width.
 *   - A fault does not return: soft_raise() & co. jump out (longjmp) to the run loop, which
 *     delivers the exception with cpu->rip as the saved address. So: all checks and all memory
 *     accesses that may fault come before the first architectural change. Host resources (locks)
 *     must not be held across anything that can raise, the exclusive section excepted.
 *   - Guest memory is reached only through memory.h. MMIO there may leave the run loop as an exit
 *     and later *restart* the instruction, with the reads done so far replayed; a function needs to
 *     do nothing for that except to make its accesses in a fixed order.
 *   - After a change to CR0, CR3, CR4, EFER, CPL, RFLAGS.VM/AC or a segment register, call
 *     soft_mode_changed(); it recomputes everything derived. Such instructions are marked as
 *     ending their block in the table (execute_table.c).
 *
 * Owner:   struct soft_cpu is the engine_vcpu; its vCPU thread owns everything but the fields that
 *          are atomic.
 * Thread:  the vCPU's own.
 */
#ifndef TRAPEZE_ENGINES_SOFT_CPU_H
#define TRAPEZE_ENGINES_SOFT_CPU_H

#include <pthread.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engines/soft/event.h"
#include "engines/soft/translate/state.h"
#include "engines/soft/translate/statistics.h"
#include "vm/engine.h"
#include "x86/control_rules.h"
#include "x86/decode/decode.h"
#include "x86/registers.h"
#include "x86/state.h"

#define SOFT_CODE_REQUESTS_MAX 32

#define SOFT_PAGE_SIZE UINT64_C(4096)
#define SOFT_PAGE_MASK (SOFT_PAGE_SIZE - 1)

/* cpu->gpr has two entries beyond the general registers, so that an address needs no branches. */
#define SOFT_GPR_ZERO  X86_REGISTER_NONE /* always 0 */
#define SOFT_GPR_CODE  X86_REGISTER_RIP  /* RIP of the first byte of the page being executed */
#define SOFT_GPR_SLOTS 18

/* Index into address_base beyond the segment registers: no segment at all. */
#define SOFT_SEGMENT_NONE X86_SEGMENT_COUNT

/* Bits of cpu->attention: why the run loop must look up. Set by anyone, cleared by the vCPU. */
#define SOFT_ATTENTION_KICK      (1u << 0) /* leave run with EXIT_KICKED */
#define SOFT_ATTENTION_INTERRUPT (1u << 1) /* ask the interrupt_source */
#define SOFT_ATTENTION_NMI       (1u << 2)
#define SOFT_ATTENTION_CODE      (1u << 3) /* another writer changed code: see code_requests */
#define SOFT_ATTENTION_EXCLUSIVE (1u << 4) /* another vCPU wants everybody to stand still */
#define SOFT_ATTENTION_STEP      (1u << 5) /* own: run single instructions (TF, DR7) */
#define SOFT_ATTENTION_LEAVE     (1u << 6) /* own: *exit is filled in, leave run now */

/* Which of the TLBs: the translation regimes that differ in their checks. */
enum soft_regime {
    SOFT_REGIME_USER,
    SOFT_REGIME_KERNEL,    /* CPL < 3, SMAP enforced if CR4 says so */
    SOFT_REGIME_KERNEL_AC, /* CPL < 3 with EFLAGS.AC = 1: user pages may be touched */
    SOFT_REGIME_COUNT
};

/* Bits of cpu->mode; part of a block's key. */
#define SOFT_MODE_DECODE 3u  /* mask: enum x86_decode_mode */
#define SOFT_MODE_FAST   4u  /* flat segments, no alignment checks: tier 1 may be used */
#define SOFT_MODE_REAL   8u  /* real-address or virtual-8086 mode: VEX is no prefix there */
#define SOFT_MODE_USER   16u /* CPL 3: links between blocks must not cross privileges */

struct soft_tlb;
struct soft_tlb_sets;
struct soft_block_cache;
struct soft_op;
struct soft_vm;
struct soft_undo;
struct lockstep;
struct soft_fpu;

/* An MMIO access that the instruction in progress has already made; see memory.h. */
#define SOFT_MMIO_LOG_MAX 128
struct soft_mmio_record {
    uint64_t address;
    uint64_t value;
    uint8_t size;
    bool is_write;
};

struct soft_cpu {
    /* --- hot: touched by tier 1 --- */
    uint64_t gpr[SOFT_GPR_SLOTS];
    uint64_t address_base[X86_SEGMENT_COUNT + 1]; /* segment bases as the mode applies them */
    uint64_t address_mask; /* linear addresses are cut to this: all ones, or 32 bits */
    /*
     * The arithmetic flags as LAHF and SETO leave them: bits 15..8 are SF ZF - AF - PF 1 CF, bit 0
     * is OF. soft_rflags() puts them together with `flags`.
     */
    uint16_t arithmetic;
    uint8_t mode; /* SOFT_MODE_… */
    uint8_t cpl;
    atomic_uint attention;
    struct soft_tlb *tlb; /* the current regime's */
    uint64_t flags;       /* RFLAGS without the arithmetic flags; bit 1 is set */
    uint64_t rip, next_rip;
    uint64_t instructions; /* executed, for statistics */
    struct soft_block_cache *blocks;
    uint64_t code_base; /* linear address of RIP 0: CS.base, 0 in 64-bit mode */
    /*
     * Changes whenever linear addresses may mean other code: [1] for those of the upper half (bit
     * 63 of RIP), where kernels keep their global pages, [0] for the lower, which has a number for
     * each live PCID (tlb_set.h) that comes back with it.
     */
    uint64_t code_generation[2];
    uint64_t last_code_generation; /* numbers count up, and none is used for two purposes */
    uint8_t write_revoked;         /* a write tag was taken from some vCPU; __atomic, code.h */
    struct soft_op *link_from;     /* the direct branch that left its block for want of a link */
    struct soft_undo *undo;        /* where stores are noted while a run is to be taken back */
    struct lockstep *lockstep;     /* check=lockstep, else NULL */

    /* --- system state --- */
    struct x86_segment segment[X86_SEGMENT_ALL_COUNT];
    struct x86_table_register gdtr, idtr;
    uint64_t cr0, cr2, cr3, cr4, efer;
    uint64_t pdpte[4]; /* PAE: loaded when CR3 is ("PDPTE Registers") */
    uint64_t dr[8];
    struct x86_msrs msr;
    uint64_t tsc_offset; /* guest TSC = host TSC + offset */
    uint64_t xcr0;
    uint32_t pkru;
    struct soft_fpu *fpu;                           /* x87, MMX, SSE, AVX registers: fpu.h */
    uint64_t clock_system_time_msr, clock_wall_msr; /* the paravirtual clock */

    /* --- events --- */
    bool sti_shadow, mov_ss_shadow; /* set by the instruction that ran last */
    bool nmi_blocked, nmi_pending;
    bool interrupt_waiting; /* the source had something while RFLAGS.IF was 0 */
    bool halted;
    uint64_t pending_dr6;     /* breakpoint and single-step conditions met by this instruction */
    bool mid_string;          /* REP ended before its last iteration, to go on at the same RIP */
    atomic_uint nmi_arrivals; /* NMIs sent and not yet looked at */
    /* the exception being raised (valid after longjmp) and the chain that a shutdown reports */
    uint8_t exception_vector;
    bool exception_has_error;
    bool exception_is_software; /* INT n, INT3, INTO: privilege and RIP rules differ */
    uint32_t exception_error;
    bool delivering; /* an exception is being delivered: another makes #DF */
    uint8_t delivering_vector;
    bool event_pending;      /* `event` is on its way into the guest, between instructions */
    struct soft_event event; /* … and if a run ends then, the next one goes on with it */
    struct soft_task_rest task_rest; /* likewise */
    struct exit_exception chain[EXIT_EXCEPTIONS_MAX];
    unsigned int chain_count;
    sigjmp_buf escape; /* where soft_raise and soft_leave jump to */

    /* --- the exit in progress --- */
    struct vcpu_exit *exit;
    struct soft_mmio_record mmio_log[SOFT_MMIO_LOG_MAX];
    unsigned int mmio_done; /* records that are complete */
    unsigned int mmio_next; /* next one to replay */
    uint8_t pio_buffer[8];
    bool completing;         /* the last exit left an instruction to finish */
    bool input_restarts;     /* … which is INS: it runs again with the value in mmio_log */
    bool trapped;            /* the last exit was a sensitive instruction, which runs next */
    uint64_t completing_rip; /* … its address, for #GP when an MSR access is refused */

    /* --- code modified by others: posted to us under code_lock (code.h) --- */
    /* For each slot a bit a page: we may hold code of it. Set and cleared by us, read by all. */
    _Atomic(uint64_t) *code_held[GUESTMEM_SLOTS_MAX];
    pthread_mutex_t code_lock;
    uint64_t code_requests[SOFT_CODE_REQUESTS_MAX]; /* physical pages */
    unsigned int code_request_count;                /* beyond the maximum: drop everything */
    bool code_changed;    /* own store hit code: leave the block after this instruction */
    atomic_bool in_guest; /* exclusive.h */
    bool exclusive_held;  /* released by the run loop when an instruction is left midway */

    /* --- identity --- */
    struct soft_vm *vm;
    unsigned int index;
    struct cpuid_table cpuid;
    uint64_t features; /* bit n: enum x86_feature n is shown by CPUID (fewer than 64) */
    const struct interrupt_source *interrupts;
    struct soft_tlb *tlbs[SOFT_REGIME_COUNT]; /* the current PCID's */
    struct soft_tlb_sets *tlb_sets;           /* those of all PCIDs: tlb_set.h */

    struct translate_state translate; /* translate/state.h */

    struct translate_statistics statistics;
};

/* Translated code tests it as 32 bits in memory. */
_Static_assert(sizeof(atomic_uint) == 4 && offsetof(struct soft_cpu, attention) % 4 == 0,
               "attention is 32 bits");

/* Bits of `escape`'s second return. */
enum soft_escape { SOFT_ESCAPE_NONE, SOFT_ESCAPE_EXCEPTION, SOFT_ESCAPE_EXIT, SOFT_ESCAPE_RESTART };

/* --- leaving an instruction --- */

/* Raises a fault or trap with cpu->rip as the saved RIP. error is pushed where the vector has one.
 */
_Noreturn void soft_raise(struct soft_cpu *cpu, enum x86_vector vector);
_Noreturn void soft_raise_error(struct soft_cpu *cpu, enum x86_vector vector, uint32_t error);
_Noreturn void soft_raise_page_fault(struct soft_cpu *cpu, uint64_t linear, uint32_t error);

/* Runs the instruction at cpu->rip again from its beginning (page tables changed under a walk). */
_Noreturn void soft_restart(struct soft_cpu *cpu);

/* Leaves the run loop with *cpu->exit filled in. The instruction runs again at the next run. */
_Noreturn void soft_leave_and_restart(struct soft_cpu *cpu);

/*
 * For instructions that do their work in steps (REP): the registers now tell what has been done, so
 * the MMIO accesses made up to here are not to be replayed.
 */
static inline void soft_progress(struct soft_cpu *cpu)
{
    cpu->mmio_done = 0;
    cpu->mmio_next = 0;
}

/*
 * Drops whatever an exit or a restart left in the middle: another exception takes its place, or the
 * vCPU was reset.
 */
static inline void soft_abandon(struct soft_cpu *cpu)
{
    soft_progress(cpu);
    cpu->pending_dr6 = 0;
    cpu->trapped = false;
    cpu->event_pending = false;
    cpu->task_rest.pending = false;
}

/* Leaves the run loop once the current instruction has completed normally (HLT, OUT …). */
void soft_leave_after(struct soft_cpu *cpu);

/* --- derived state --- */

/* Recomputes mode, cpl, address bases and masks, regime. Cheap (tens of ns). */
void soft_mode_changed(struct soft_cpu *cpu);

static inline bool soft_protected(const struct soft_cpu *cpu)
{
    return (cpu->cr0 & X86_CR0_PE) != 0;
}

static inline bool soft_virtual_8086(const struct soft_cpu *cpu)
{
    return (cpu->flags & X86_FLAGS_VM) != 0;
}

/* Real-address mode or virtual-8086 mode: selectors are paragraphs. */
static inline bool soft_real_or_v86(const struct soft_cpu *cpu)
{
    return !soft_protected(cpu) || soft_virtual_8086(cpu);
}

static inline bool soft_long_mode(const struct soft_cpu *cpu) /* IA-32e active: 64-bit or compat */
{
    return (cpu->efer & X86_EFER_LMA) != 0;
}

static inline bool soft_64bit(const struct soft_cpu *cpu)
{
    return (cpu->mode & SOFT_MODE_DECODE) == X86_DECODE_64;
}

static inline bool soft_canonical(const struct soft_cpu *cpu, uint64_t linear)
{
    return x86_is_canonical(linear, (cpu->cr4 & X86_CR4_LA57) != 0 ? 57 : 48);
}

static inline bool soft_has(const struct soft_cpu *cpu, enum x86_feature feature)
{
    return (cpu->features >> feature & 1) != 0;
}

static inline unsigned int soft_iopl(const struct soft_cpu *cpu)
{
    return (unsigned int)((cpu->flags & X86_FLAGS_IOPL) >> X86_FLAGS_IOPL_SHIFT);
}

/* --- RFLAGS --- */

static inline uint64_t soft_arithmetic_flags(const struct soft_cpu *cpu)
{
    uint64_t ah = cpu->arithmetic >> 8;
    return (ah & 0xd5) | ((uint64_t)(cpu->arithmetic & 1) << 11);
}

static inline void soft_set_arithmetic_flags(struct soft_cpu *cpu, uint64_t rflags)
{
    cpu->arithmetic = (uint16_t)((rflags & 0xd5) << 8 | 0x200 | (rflags >> 11 & 1));
}

static inline uint64_t soft_rflags(const struct soft_cpu *cpu)
{
    return cpu->flags | soft_arithmetic_flags(cpu);
}

/*
 * Replaces RFLAGS as a whole; the caller has applied every rule on which bits may change. Arranges
 * for pending interrupts (IF), single steps (TF) and the regime (AC, VM) to be looked at.
 */
void soft_set_rflags(struct soft_cpu *cpu, uint64_t rflags);

static inline void soft_attend(struct soft_cpu *cpu, unsigned int bits)
{
    atomic_fetch_or_explicit(&cpu->attention, bits, memory_order_release);
}

/* --- registers by the decoder's numbers --- */

/* size 1, 2, 4, 8; number 4..7 with size 1 and no REX prefix means AH, CH, DH, BH. */
static inline uint64_t soft_get_register(const struct soft_cpu *cpu, unsigned int number,
                                         unsigned int size, bool has_rex)
{
    if (size == 1) {
        if (!has_rex && number >= 4 && number < 8) {
            return cpu->gpr[number - 4] >> 8 & 0xff;
        }
        return cpu->gpr[number] & 0xff;
    }
    if (size == 2) {
        return cpu->gpr[number] & 0xffff;
    }
    return size == 4 ? cpu->gpr[number] & 0xffffffff : cpu->gpr[number];
}

/* Writing 4 bytes clears the upper half; 1 and 2 bytes leave the rest. */
static inline void soft_set_register(struct soft_cpu *cpu, unsigned int number, unsigned int size,
                                     bool has_rex, uint64_t value)
{
    if (size == 1) {
        if (!has_rex && number >= 4 && number < 8) {
            cpu->gpr[number - 4] = (cpu->gpr[number - 4] & ~UINT64_C(0xff00)) | (value & 0xff) << 8;
        } else {
            cpu->gpr[number] = (cpu->gpr[number] & ~UINT64_C(0xff)) | (value & 0xff);
        }
    } else if (size == 2) {
        cpu->gpr[number] = (cpu->gpr[number] & ~UINT64_C(0xffff)) | (value & 0xffff);
    } else {
        cpu->gpr[number] = size == 4 ? value & 0xffffffff : value;
    }
}

#endif
