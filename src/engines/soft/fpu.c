#include "engines/soft/fpu.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define HOST_MXCSR_MASK_DEFAULT                                                                    \
    0xffbfu /* when FXSAVE says 0 ("Guidelines for Writing to MXCSR")                              \
             */

static void read_host_controls(struct soft_fpu *fpu)
{
    struct soft_fxsave_image host __attribute__((aligned(16)));
    memset(&host, 0, sizeof(host));
    __asm__ volatile("fxsave64 %0" : "+m"(host));
    fpu->mxcsr_mask = host.mxcsr_mask != 0 ? host.mxcsr_mask : HOST_MXCSR_MASK_DEFAULT;
    fpu->host_mxcsr = host.mxcsr & ~SOFT_FSW_EXCEPTIONS;
}

int soft_fpu_create(struct thunk_cache *thunks, struct soft_fpu **out, struct error *error)
{
    struct soft_fpu *fpu = aligned_alloc(64, (sizeof(*fpu) + 63) & ~(size_t)63);
    if (fpu == NULL) {
        return error_set(error, ENOMEM, "no memory for a virtual CPU's vector registers");
    }
    memset(fpu, 0, sizeof(*fpu));
    fpu->thunks = thunks;
    read_host_controls(fpu);
    soft_fpu_reset(fpu);
    *out = fpu;
    return 0;
}

void soft_fpu_destroy(struct soft_fpu *fpu)
{
    if (fpu != NULL) {
        soft_fpu_save(fpu);
        free(fpu);
    }
}

void soft_fpu_initialise_x87(struct soft_fpu *fpu)
{
    memset(&fpu->image, 0, sizeof(fpu->image));
    fpu->image.fcw = SOFT_FCW_RESET;
    fpu->may_pend = false;
    fpu->pointers = (struct soft_x87_pointers){0};
}

void soft_fpu_reset(struct soft_fpu *fpu)
{
    soft_fpu_save(fpu);
    soft_fpu_initialise_x87(fpu);
    fpu->image.fcw = 0x0040; /* RESET, unlike FNINIT, leaves every exception unmasked … */
    fpu->image.ftw = 0xff;   /* … and the registers tagged zero (full tag word 5555H) */
    soft_fpu_settle_exceptions(fpu);
    memset(fpu->ymm, 0, sizeof(fpu->ymm));
    fpu->mxcsr = SOFT_MXCSR_RESET;
}

void soft_fpu_load(struct soft_fpu *fpu)
{
    if (fpu->live) {
        return;
    }
    fpu->image.mxcsr = fpu->host_mxcsr;
    fpu->image.fip = 0;
    fpu->image.fdp = 0;
    fpu->image.fop = 0;
    __asm__ volatile("fxrstor64 %0"
                     :
                     : "m"(fpu->image)
                     : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",
                       "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
    fpu->live = true;
}

void soft_fpu_save(struct soft_fpu *fpu)
{
    if (!fpu->live) {
        return;
    }
    __asm__ volatile("fxsave64 %0\n\tfninit" : "=m"(fpu->image));
    fpu->live = false;
}

uint16_t soft_fpu_status(const struct soft_fpu *fpu)
{
    uint16_t value = fpu->image.fsw;
    if (fpu->live) {
        __asm__ volatile("fnstsw %0" : "=m"(value));
    }
    return value;
}

uint16_t soft_fpu_control(const struct soft_fpu *fpu)
{
    uint16_t value = fpu->image.fcw;
    if (fpu->live) {
        __asm__ volatile("fnstcw %0" : "=m"(value));
    }
    return value;
}

void soft_fpu_settle_exceptions(struct soft_fpu *fpu)
{
    struct soft_fxsave_image *image = &fpu->image;
    image->fcw = (uint16_t)((image->fcw & 0x1f3f) | 0x40); /* bit 6 reads as one, 15..13, 7 as 0 */
    image->fsw &= (uint16_t) ~(SOFT_FSW_ES | SOFT_FSW_B);
    if ((image->fsw & ~image->fcw & SOFT_FSW_EXCEPTIONS) != 0) {
        image->fsw |= SOFT_FSW_ES | SOFT_FSW_B;
    }
    fpu->may_pend = (image->fcw & SOFT_FSW_EXCEPTIONS) != SOFT_FSW_EXCEPTIONS;
}

void soft_fpu_rotate(struct soft_fpu *fpu, unsigned int old_top)
{
    struct soft_fxsave_image *image = &fpu->image;
    unsigned int new_top = (image->fsw & SOFT_FSW_TOP) >> SOFT_FSW_TOP_SHIFT;
    if (new_top == old_top) {
        return;
    }
    uint8_t old[8][16];
    memcpy(old, image->st, sizeof(old));
    for (unsigned int i = 0; i < 8; i++) { /* new ST(i) is physical register new_top + i */
        memcpy(image->st[i], old[(new_top + i - old_top) & 7], sizeof(old[0]));
    }
}

void soft_fpu_enter_mmx(struct soft_fpu *fpu)
{
    unsigned int top = (fpu->image.fsw & SOFT_FSW_TOP) >> SOFT_FSW_TOP_SHIFT;
    fpu->image.fsw &= (uint16_t)~SOFT_FSW_TOP;
    soft_fpu_rotate(fpu, top);
    fpu->image.ftw = 0xff;
}
