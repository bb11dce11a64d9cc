#include "engines/soft/xsave_area.h"

#include <string.h>

#include "engines/soft/fpu.h"
#include "engines/soft/memory.h"
#include "engines/soft/xsave.h"

uint64_t soft_xcr0_supported(const struct soft_cpu *cpu)
{
    uint64_t components = X86_XCR0_X87 | X86_XCR0_SSE;
    if (soft_has(cpu, X86_FEATURE_AVX)) {
        components |= X86_XCR0_AVX;
    }
    if (soft_has(cpu, X86_FEATURE_PKU)) {
        components |= X86_XCR0_PKRU;
    }
    return components;
}

bool xsave_xcr0_valid(const struct soft_cpu *cpu, uint64_t value)
{
    return (value & X86_XCR0_X87) != 0 && (value & ~soft_xcr0_supported(cpu)) == 0 &&
           ((value & X86_XCR0_AVX) == 0 || (value & X86_XCR0_SSE) != 0);
}

uint32_t xsave_component_offset(unsigned int component, bool compacted, uint64_t layout)
{
    if (!compacted) {
        return component == 2 ? XSAVE_AVX_OFFSET : XSAVE_PKRU_OFFSET;
    }
    bool after_avx = component > 2 && (layout & X86_XCR0_AVX) != 0;
    return XSAVE_EXTENDED + (after_avx ? XSAVE_AVX_SIZE : 0);
}

uint32_t soft_xsave_size(uint64_t components, bool compacted)
{
    if ((components & X86_XCR0_PKRU) != 0) {
        return xsave_component_offset(9, compacted, components) + XSAVE_PKRU_SIZE;
    }
    return XSAVE_EXTENDED + ((components & X86_XCR0_AVX) != 0 ? XSAVE_AVX_SIZE : 0);
}

struct cpuid_registers soft_xsave_cpuid(uint64_t supported, uint32_t subleaf)
{
    struct cpuid_registers none = {0};
    switch (subleaf) {
    case 0:
        return (struct cpuid_registers){.eax = (uint32_t)supported,
                                        .ebx = soft_xsave_size(supported, false),
                                        .ecx = soft_xsave_size(supported, false),
                                        .edx = (uint32_t)(supported >> 32)};
    case 1: /* XSAVEOPT, XSAVEC, XGETBV with ECX = 1, XSAVES; no component in IA32_XSS */
        return (struct cpuid_registers){.eax = 0xf, .ebx = soft_xsave_size(supported, true)};
    case 2:
        return (supported & X86_XCR0_AVX) == 0
                   ? none
                   : (struct cpuid_registers){.eax = XSAVE_AVX_SIZE, .ebx = XSAVE_AVX_OFFSET};
    case 9:
        return (supported & X86_XCR0_PKRU) == 0
                   ? none
                   : (struct cpuid_registers){.eax = XSAVE_PKRU_SIZE, .ebx = XSAVE_PKRU_OFFSET};
    default:
        return none;
    }
}

/* --- x87 --- */

void xsave_put_x87(struct soft_cpu *cpu, uint8_t bytes[XSAVE_XMM], enum xsave_pointers pointers)
{
    struct soft_fpu *fpu = cpu->fpu;
    soft_fpu_save(fpu);
    struct soft_fxsave_image image = fpu->image;
    image.reserved1 = 0;
    image.fop = fpu->pointers.fop;
    image.fip = fpu->pointers.fip;
    image.fdp = fpu->pointers.fdp;
    if (pointers == XSAVE_POINTERS_32) {
        image.fip = (image.fip & 0xffffffff) | (uint64_t)fpu->pointers.fcs << 32;
        image.fdp = (image.fdp & 0xffffffff) | (uint64_t)fpu->pointers.fds << 32;
    }
    image.mxcsr = fpu->mxcsr;
    image.mxcsr_mask = fpu->mxcsr_mask;
    for (unsigned int i = 0; i < 8; i++) {
        memset(image.st[i] + 10, 0, 6);
    }
    memcpy(bytes, &image, XSAVE_XMM);
}

void xsave_get_x87(struct soft_cpu *cpu, const uint8_t bytes[XSAVE_XMM],
                   enum xsave_pointers pointers)
{
    struct soft_fpu *fpu = cpu->fpu;
    soft_fpu_save(fpu);
    struct soft_fxsave_image *image = &fpu->image;
    memcpy(image, bytes, XSAVE_XMM);
    fpu->pointers =
        (struct soft_x87_pointers){.fip = image->fip, .fdp = image->fdp, .fop = image->fop & 0x7ff};
    if (pointers == XSAVE_POINTERS_32) {
        fpu->pointers.fip &= 0xffffffff;
        fpu->pointers.fdp &= 0xffffffff;
        fpu->pointers.fcs = (uint16_t)(image->fip >> 32);
        fpu->pointers.fds = (uint16_t)(image->fdp >> 32);
    }
    soft_fpu_settle_exceptions(fpu);
}

/* --- XMM, the upper halves of YMM, PKRU --- */

void xsave_put_xmm(const struct soft_cpu *cpu, uint8_t *bytes, unsigned int count)
{
    for (unsigned int i = 0; i < count; i++) {
        memcpy(bytes + 16 * i, cpu->fpu->ymm[i], 16);
    }
}

void xsave_get_xmm(struct soft_cpu *cpu, const uint8_t *bytes, unsigned int count)
{
    for (unsigned int i = 0; i < count; i++) {
        memcpy(cpu->fpu->ymm[i], bytes + 16 * i, 16);
    }
}

void xsave_put_ymm_high(const struct soft_cpu *cpu, uint8_t *bytes, unsigned int count)
{
    for (unsigned int i = 0; i < count; i++) {
        memcpy(bytes + 16 * i, cpu->fpu->ymm[i] + 16, 16);
    }
}

void xsave_get_ymm_high(struct soft_cpu *cpu, const uint8_t *bytes, unsigned int count)
{
    for (unsigned int i = 0; i < count; i++) {
        memcpy(cpu->fpu->ymm[i] + 16, bytes + 16 * i, 16);
    }
}

void xsave_clear_xmm(struct soft_cpu *cpu, unsigned int count)
{
    for (unsigned int i = 0; i < count; i++) {
        memset(cpu->fpu->ymm[i], 0, 16);
    }
}

void xsave_clear_ymm_high(struct soft_cpu *cpu, unsigned int count)
{
    for (unsigned int i = 0; i < count; i++) {
        memset(cpu->fpu->ymm[i] + 16, 0, 16);
    }
}

void xsave_set_pkru(struct soft_cpu *cpu, uint32_t value)
{
    if (cpu->pkru != value) {
        cpu->pkru = value;
        soft_tlb_flush_all(cpu);
    }
}

/* --- what is in use --- */

static bool x87_in_use(struct soft_fpu *fpu)
{
    soft_fpu_save(fpu);
    const struct soft_fxsave_image *image = &fpu->image;
    const struct soft_x87_pointers *pointers = &fpu->pointers;
    uint64_t bits = (uint64_t)(image->fcw ^ SOFT_FCW_RESET) | image->fsw | image->ftw |
                    pointers->fip | pointers->fdp | pointers->fop | pointers->fcs | pointers->fds;
    for (unsigned int i = 0; i < 8; i++) {
        uint64_t mantissa;
        uint16_t exponent;
        memcpy(&mantissa, image->st[i], 8);
        memcpy(&exponent, image->st[i] + 8, 2);
        bits |= mantissa | exponent;
    }
    return bits != 0;
}

static bool half_in_use(const struct soft_fpu *fpu, unsigned int from)
{
    uint64_t bits = 0;
    for (unsigned int i = 0; i < 16; i++) {
        uint64_t half[2];
        memcpy(half, fpu->ymm[i] + from, sizeof(half));
        bits |= half[0] | half[1];
    }
    return bits != 0;
}

uint64_t xsave_in_use(struct soft_cpu *cpu)
{
    return (x87_in_use(cpu->fpu) ? X86_XCR0_X87 : 0) |
           (half_in_use(cpu->fpu, 0) ? X86_XCR0_SSE : 0) |
           (half_in_use(cpu->fpu, 16) ? X86_XCR0_AVX : 0) | (cpu->pkru != 0 ? X86_XCR0_PKRU : 0);
}
