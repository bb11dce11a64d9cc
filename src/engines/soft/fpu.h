/*
 * The x87, MMX, SSE and AVX registers of a software CPU.
 *
 * Purpose: where they are kept. XMM and YMM registers and MXCSR live in memory. The x87 state is
 *          in memory too (image), or live in the host's own x87 registers: it is loaded at the
 *          first x87 instruction and stays until somebody needs the image or the run loop is left.
 * Source:  Intel SDM volume 1, "Programming with the x87 FPU", "FXSAVE Area", "MXCSR".
 * Owner:   the vCPU. Thread: its own: the live registers are this thread's.
 */
#ifndef TRAPEZE_ENGINES_SOFT_FPU_H
#define TRAPEZE_ENGINES_SOFT_FPU_H

#include <stdbool.h>
#include <stdint.h>

#include "engines/soft/cpu.h"
#include "engines/soft/thunk.h"

#define SOFT_MXCSR_RESET 0x1f80u
#define SOFT_FCW_RESET   0x037fu

/* The x87 status word. */
#define SOFT_FSW_EXCEPTIONS 0x003fu /* IE DE ZE OE UE PE */
#define SOFT_FSW_ES         0x0080u /* an unmasked exception is pending */
#define SOFT_FSW_TOP_SHIFT  11
#define SOFT_FSW_TOP        0x3800u
#define SOFT_FSW_B          0x8000u /* a copy of ES */

/* The 512 bytes that FXSAVE64 writes and FXRSTOR64 reads. */
struct soft_fxsave_image {
    uint16_t fcw, fsw;
    uint8_t ftw; /* abridged: bit i is 0 if physical register i is empty */
    uint8_t reserved1;
    uint16_t fop;
    uint64_t fip, fdp;
    uint32_t mxcsr, mxcsr_mask;
    uint8_t st[8][16]; /* ST(i), relative to TOP; 10 bytes hold */
    uint8_t xmm[16][16];
    uint8_t reserved2[96];
};

/*
 * The last x87 instruction that was no control instruction ("x87 FPU Instruction and Operand
 * (Data) Pointers", "Last Instruction Opcode"). Kept here and not in the host's registers, which
 * would tell the thunk's addresses.
 */
struct soft_x87_pointers {
    uint64_t fip, fdp;
    uint16_t fcs, fds, fop;
};

struct soft_fpu {
    uint8_t ymm[16][32] __attribute__((aligned(64)));
    struct soft_fxsave_image image; /* valid when !live; its MXCSR and XMM fields are scratch */
    uint32_t mxcsr;
    uint32_t mxcsr_mask; /* bits that may be set */
    uint32_t host_mxcsr; /* what the monitor's own code runs with */
    bool live;           /* the guest's x87 state is in the host's registers */
    bool may_pend;       /* an x87 exception is unmasked: FSW.ES must be looked at */
    struct soft_x87_pointers pointers;
    struct thunk_cache *thunks; /* borrowed from the VM */
};

_Static_assert(sizeof(struct soft_fxsave_image) == 512, "FXSAVE writes 512 bytes");
_Static_assert(offsetof(struct soft_fpu, image) % 16 == 0, "FXSAVE wants 16-byte alignment");

/* thunks: must outlive it. Returns 0 or -errno. The state is that after RESET. */
int soft_fpu_create(struct thunk_cache *thunks, struct soft_fpu **out, struct error *error);
/* For the vCPU's own thread; whatever is live is given up. NULL is allowed. */
void soft_fpu_destroy(struct soft_fpu *fpu);

/* The state after RESET ("Processor State After Reset"); INIT leaves it as it is. */
void soft_fpu_reset(struct soft_fpu *fpu);

/* Brings the guest's x87 state into the host's registers. XMM registers are clobbered. */
void soft_fpu_load(struct soft_fpu *fpu);

/*
 * Brings it back into image and leaves the host's x87 clean. Must be called before run returns,
 * and before code of others runs that may use x87 (long double).
 */
void soft_fpu_save(struct soft_fpu *fpu);

/* The status and control words, wherever they are. */
uint16_t soft_fpu_status(const struct soft_fpu *fpu);
uint16_t soft_fpu_control(const struct soft_fpu *fpu);

/* After a change to image.fcw or image.fsw: sets ES and B by them, and may_pend. */
void soft_fpu_settle_exceptions(struct soft_fpu *fpu);

/*
 * After TOP in image.fsw was changed from old_top: the physical registers stay where they are, so
 * that image.st, which counts from TOP, must be reordered. Not live.
 */
void soft_fpu_rotate(struct soft_fpu *fpu, unsigned int old_top);

/* The x87 part after FNINIT or RESET, into image. Register contents are cleared. */
void soft_fpu_initialise_x87(struct soft_fpu *fpu);

/*
 * What an MMX instruction does to the x87 state: TOP = 0, every tag valid ("Effect of MMX
 * Instructions on the x87 FPU State"). Not live.
 */
void soft_fpu_enter_mmx(struct soft_fpu *fpu);

/* MMX register n within the image: physical register n of the x87 stack. Not live. */
static inline uint8_t *soft_fpu_mmx(struct soft_fpu *fpu, unsigned int n)
{
    unsigned int top = (fpu->image.fsw & SOFT_FSW_TOP) >> SOFT_FSW_TOP_SHIFT;
    return fpu->image.st[(n - top) & 7];
}

#endif
