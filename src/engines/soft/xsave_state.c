/*
 * The vector state for the engine's get_state and set_state: the standard format, whole.
 */
#include <errno.h>
#include <string.h>

#include "engines/soft/fpu.h"
#include "engines/soft/xsave.h"
#include "engines/soft/xsave_area.h"

_Static_assert(XSAVE_AREA_MAX <= X86_XSAVE_SIZE, "the neutral state has room for every component");

void soft_fpu_get(struct soft_cpu *cpu, struct x86_state *state)
{
    struct xsave_header header = {.xstate_bv = soft_xcr0_supported(cpu)};
    memset(state->xsave, 0, sizeof(state->xsave));
    xsave_put_x87(cpu, state->xsave, XSAVE_POINTERS_64);
    xsave_put_xmm(cpu, state->xsave + XSAVE_XMM, 16);
    memcpy(state->xsave + XSAVE_LEGACY_SIZE, &header, sizeof(header));
    xsave_put_ymm_high(cpu, state->xsave + XSAVE_AVX_OFFSET, 16);
    memcpy(state->xsave + XSAVE_PKRU_OFFSET, &cpu->pkru, sizeof(cpu->pkru));
    state->xcr0 = cpu->xcr0;
    state->pkru = cpu->pkru;
}

static int check_state(const struct soft_cpu *cpu, const struct x86_state *state,
                       const struct xsave_header *header, struct error *error)
{
    uint32_t mxcsr;
    memcpy(&mxcsr, state->xsave + XSAVE_MXCSR, sizeof(mxcsr));
    if (!xsave_xcr0_valid(cpu, state->xcr0)) {
        return error_set(error, EINVAL, "XCR0 has bits that this CPU does not support");
    }
    if ((header->xstate_bv & ~soft_xcr0_supported(cpu)) != 0 || header->xcomp_bv != 0) {
        return error_set(error, EINVAL, "the XSAVE image is not in the standard format");
    }
    if ((mxcsr & ~cpu->fpu->mxcsr_mask) != 0) {
        return error_set(error, EINVAL, "MXCSR has reserved bits set");
    }
    return 0;
}

int soft_fpu_set(struct soft_cpu *cpu, const struct x86_state *state, struct error *error)
{
    struct xsave_header header;
    memcpy(&header, state->xsave + XSAVE_LEGACY_SIZE, sizeof(header));
    int result = check_state(cpu, state, &header, error);
    if (result != 0) {
        return result;
    }
    if ((header.xstate_bv & X86_XCR0_X87) != 0) {
        xsave_get_x87(cpu, state->xsave, XSAVE_POINTERS_64);
    } else {
        soft_fpu_save(cpu->fpu);
        soft_fpu_initialise_x87(cpu->fpu);
    }
    cpu->fpu->mxcsr = SOFT_MXCSR_RESET;
    xsave_clear_xmm(cpu, 16);
    xsave_clear_ymm_high(cpu, 16);
    if ((header.xstate_bv & X86_XCR0_SSE) != 0) {
        xsave_get_xmm(cpu, state->xsave + XSAVE_XMM, 16);
        memcpy(&cpu->fpu->mxcsr, state->xsave + XSAVE_MXCSR, sizeof(cpu->fpu->mxcsr));
    }
    if ((header.xstate_bv & X86_XCR0_AVX) != 0) {
        xsave_get_ymm_high(cpu, state->xsave + XSAVE_AVX_OFFSET, 16);
    }
    cpu->xcr0 = state->xcr0;
    xsave_set_pkru(cpu, state->pkru);
    return 0;
}
