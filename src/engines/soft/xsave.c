#include "engines/soft/xsave.h"

#include <string.h>

#include "engines/soft/fpu.h"
#include "engines/soft/memory.h"
#include "engines/soft/xsave_area.h"

#define SSE_OR_AVX (X86_XCR0_SSE | X86_XCR0_AVX)

static enum xsave_pointers pointers_of(const struct soft_instruction *in)
{
    return (in->decoded.flags & X86_INSTRUCTION_W) != 0 ? XSAVE_POINTERS_64 : XSAVE_POINTERS_32;
}

/* XMM8 to XMM15 are not there outside 64-bit mode. */
static unsigned int register_count(const struct soft_cpu *cpu)
{
    return soft_64bit(cpu) ? 16 : 8;
}

/* The operand's linear address; #GP(0) unless it is aligned. */
static uint64_t area_linear(struct soft_cpu *cpu, const struct soft_instruction *in,
                            unsigned int size, unsigned int alignment, enum soft_access access)
{
    uint64_t linear = soft_operand_linear(cpu, &in->decoded, size, access);
    if ((linear & (alignment - 1)) != 0) {
        soft_raise_error(cpu, X86_VECTOR_GP, 0);
    }
    return linear;
}

static void check_mxcsr(struct soft_cpu *cpu, uint32_t value)
{
    if ((value & ~cpu->fpu->mxcsr_mask) != 0) {
        soft_raise_error(cpu, X86_VECTOR_GP, 0);
    }
}

/* --- FXSAVE, FXRSTOR --- */

static void require_fxsave(struct soft_cpu *cpu)
{
    if ((cpu->cr0 & (X86_CR0_EM | X86_CR0_TS)) != 0) {
        soft_raise(cpu, X86_VECTOR_NM);
    }
}

/* With CR4.OSFXSR = 0 the XMM registers and MXCSR stay out of it. */
void soft_execute_fxsave(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    require_fxsave(cpu);
    uint64_t linear = area_linear(cpu, in, XSAVE_LEGACY_SIZE, 16, SOFT_WRITE);
    uint8_t area[XSAVE_XMM + 256];
    unsigned int count = (cpu->cr4 & X86_CR4_OSFXSR) != 0 ? register_count(cpu) : 0;
    soft_check_write(cpu, linear, XSAVE_LEGACY_SIZE);
    xsave_put_x87(cpu, area, pointers_of(in));
    xsave_put_xmm(cpu, area + XSAVE_XMM, count);
    soft_write_bytes(cpu, linear, area, XSAVE_XMM + 16 * count);
}

void soft_execute_fxrstor(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    require_fxsave(cpu);
    uint64_t linear = area_linear(cpu, in, XSAVE_LEGACY_SIZE, 16, SOFT_READ);
    uint8_t area[XSAVE_LEGACY_SIZE];
    soft_read_bytes(cpu, linear, area, sizeof(area));
    if ((cpu->cr4 & X86_CR4_OSFXSR) != 0) {
        uint32_t mxcsr;
        memcpy(&mxcsr, area + XSAVE_MXCSR, sizeof(mxcsr));
        check_mxcsr(cpu, mxcsr);
        cpu->fpu->mxcsr = mxcsr;
        xsave_get_xmm(cpu, area + XSAVE_XMM, register_count(cpu));
    }
    xsave_get_x87(cpu, area, pointers_of(in));
}

/* --- XSAVE and its relatives --- */

static void require_xsave(struct soft_cpu *cpu)
{
    if ((cpu->cr4 & X86_CR4_OSXSAVE) == 0) {
        soft_raise(cpu, X86_VECTOR_UD);
    }
    if ((cpu->cr0 & X86_CR0_TS) != 0) {
        soft_raise(cpu, X86_VECTOR_NM);
    }
}

static void require_supervisor(struct soft_cpu *cpu)
{
    if (cpu->cpl != 0) {
        soft_raise_error(cpu, X86_VECTOR_GP, 0);
    }
}

/* EDX:EAX, the instruction mask. */
static uint64_t instruction_mask(const struct soft_cpu *cpu)
{
    return (cpu->gpr[X86_RAX] & 0xffffffff) | cpu->gpr[X86_RDX] << 32;
}

/* One XSAVE… in progress. */
struct save {
    uint64_t linear;
    uint64_t requested; /* RFBM */
    uint64_t written;   /* components to write */
    bool compacted;
    enum xsave_pointers pointers;
};

/* The x87 and SSE components and MXCSR, as runs of adjoining bytes. */
static void save_legacy(struct soft_cpu *cpu, const struct save *save, bool with_mxcsr)
{
    uint8_t bytes[XSAVE_XMM + 256];
    unsigned int count = register_count(cpu);
    bool x87 = (save->written & X86_XCR0_X87) != 0, sse = (save->written & X86_XCR0_SSE) != 0;
    xsave_put_x87(cpu, bytes, save->pointers);
    xsave_put_xmm(cpu, bytes + XSAVE_XMM, count);
    if (x87 && sse && with_mxcsr) {
        soft_write_bytes(cpu, save->linear, bytes, XSAVE_XMM + 16 * count);
        return;
    }
    if (x87) {
        soft_write_bytes(cpu, save->linear, bytes, XSAVE_MXCSR);
    }
    if (with_mxcsr) {
        soft_write_bytes(cpu, save->linear + XSAVE_MXCSR, bytes + XSAVE_MXCSR, 8);
    }
    if (x87) {
        soft_write_bytes(cpu, save->linear + XSAVE_ST, bytes + XSAVE_ST, XSAVE_XMM - XSAVE_ST);
    }
    if (sse) {
        soft_write_bytes(cpu, save->linear + XSAVE_XMM, bytes + XSAVE_XMM, 16 * count);
    }
}

static void save_extended(struct soft_cpu *cpu, const struct save *save)
{
    if ((save->written & X86_XCR0_AVX) != 0) {
        uint8_t bytes[XSAVE_AVX_SIZE];
        unsigned int count = register_count(cpu);
        xsave_put_ymm_high(cpu, bytes, count);
        soft_write_bytes(cpu,
                         save->linear + xsave_component_offset(2, save->compacted, save->requested),
                         bytes, 16 * count);
    }
    if ((save->written & X86_XCR0_PKRU) != 0) {
        soft_write(cpu, save->linear + xsave_component_offset(9, save->compacted, save->requested),
                   cpu->pkru, 8);
    }
}

/*
 * Nothing is written before all of it is known to be writable.
 */
static struct save begin_save(struct soft_cpu *cpu, const struct soft_instruction *in,
                              uint64_t requested, bool compacted)
{
    uint32_t size = soft_xsave_size(requested, compacted);
    struct save save = {.linear = area_linear(cpu, in, size, 64, SOFT_WRITE),
                        .requested = requested,
                        .compacted = compacted,
                        .pointers = pointers_of(in)};
    soft_check_write(cpu, save.linear, size);
    return save;
}

/* "Operation of XSAVE", "Operation of XSAVEOPT": they keep XSTATE_BV's bits outside RFBM. */
static void save_standard(struct soft_cpu *cpu, const struct soft_instruction *in, bool optimised)
{
    require_xsave(cpu);
    uint64_t requested = cpu->xcr0 & instruction_mask(cpu);
    struct save save = begin_save(cpu, in, requested, false);
    uint64_t in_use = xsave_in_use(cpu);
    uint64_t old = soft_read(cpu, save.linear + XSAVE_LEGACY_SIZE, 8);
    save.written = optimised ? requested & in_use : requested;
    save_legacy(cpu, &save, (requested & SSE_OR_AVX) != 0);
    save_extended(cpu, &save);
    soft_write(cpu, save.linear + XSAVE_LEGACY_SIZE, (old & ~requested) | (in_use & requested), 8);
}

/* "Operation of XSAVEC", "Operation of XSAVES": MXCSR counts as part of the SSE component. */
static void save_compacted(struct soft_cpu *cpu, const struct soft_instruction *in,
                           uint64_t enabled)
{
    uint64_t requested = enabled & instruction_mask(cpu);
    struct save save = begin_save(cpu, in, requested, true);
    uint64_t in_use = xsave_in_use(cpu);
    if (cpu->fpu->mxcsr != SOFT_MXCSR_RESET) {
        in_use |= X86_XCR0_SSE;
    }
    save.written = requested & in_use;
    save_legacy(cpu, &save, (save.written & X86_XCR0_SSE) != 0);
    save_extended(cpu, &save);
    uint64_t header[2] = {save.written, requested | XSAVE_COMPACTED};
    soft_write_bytes(cpu, save.linear + XSAVE_LEGACY_SIZE, header, sizeof(header));
}

void soft_execute_xsave(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    save_standard(cpu, in, false);
}

void soft_execute_xsaveopt(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    save_standard(cpu, in, true);
}

void soft_execute_xsavec(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    require_xsave(cpu);
    save_compacted(cpu, in, cpu->xcr0);
}

void soft_execute_xsaves(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    require_xsave(cpu);
    require_supervisor(cpu);
    save_compacted(cpu, in, cpu->xcr0 | cpu->msr.xss);
}

/* --- XRSTOR and XRSTORS --- */

/* #GP(0) conditions of the header; enabled: XCR0, for XRSTORS with IA32_XSS. */
static void check_header(struct soft_cpu *cpu, const struct xsave_header *header, uint64_t enabled,
                         bool supervisor)
{
    uint64_t reserved = header->reserved[0];
    bool valid;
    if ((header->xcomp_bv & XSAVE_COMPACTED) != 0) {
        uint64_t layout = header->xcomp_bv & ~XSAVE_COMPACTED;
        for (unsigned int i = 1; i < 6; i++) {
            reserved |= header->reserved[i];
        }
        valid = (layout & ~enabled) == 0 && (header->xstate_bv & ~layout) == 0;
    } else {
        valid = !supervisor && header->xcomp_bv == 0 && (header->xstate_bv & ~enabled) == 0;
    }
    if (!valid || reserved != 0) {
        soft_raise_error(cpu, X86_VECTOR_GP, 0);
    }
}

/* Bytes that restoring these components reads. */
static uint32_t restore_size(uint64_t components, const struct xsave_header *header)
{
    bool compacted = (header->xcomp_bv & XSAVE_COMPACTED) != 0;
    if ((components & X86_XCR0_PKRU) != 0) {
        return xsave_component_offset(9, compacted, header->xcomp_bv) + XSAVE_PKRU_SIZE;
    }
    return soft_xsave_size(components, compacted);
}

static void restore_vectors(struct soft_cpu *cpu, const uint8_t *area,
                            const struct xsave_header *header, uint64_t requested)
{
    bool compacted = (header->xcomp_bv & XSAVE_COMPACTED) != 0;
    unsigned int count = register_count(cpu);
    uint64_t loaded = requested & header->xstate_bv, initialised = requested & ~header->xstate_bv;
    if ((loaded & X86_XCR0_SSE) != 0) {
        xsave_get_xmm(cpu, area + XSAVE_XMM, count);
    } else if ((initialised & X86_XCR0_SSE) != 0) {
        xsave_clear_xmm(cpu, count);
    }
    if ((loaded & X86_XCR0_AVX) != 0) {
        xsave_get_ymm_high(cpu, area + xsave_component_offset(2, compacted, header->xcomp_bv),
                           count);
    } else if ((initialised & X86_XCR0_AVX) != 0) {
        xsave_clear_ymm_high(cpu, count);
    }
    if ((loaded & X86_XCR0_PKRU) != 0) {
        uint32_t pkru;
        memcpy(&pkru, area + xsave_component_offset(9, compacted, header->xcomp_bv), sizeof(pkru));
        xsave_set_pkru(cpu, pkru);
    } else if ((initialised & X86_XCR0_PKRU) != 0) {
        xsave_set_pkru(cpu, 0);
    }
}

/*
 * What becomes of MXCSR. The standard form loads it whenever SSE or AVX is asked for, whatever
 * XSTATE_BV says; the compacted form treats it as part of SSE.
 */
static uint32_t new_mxcsr(struct soft_cpu *cpu, const uint8_t *area,
                          const struct xsave_header *header, uint64_t requested)
{
    uint32_t stored;
    memcpy(&stored, area + XSAVE_MXCSR, sizeof(stored));
    if ((header->xcomp_bv & XSAVE_COMPACTED) != 0) {
        if ((requested & X86_XCR0_SSE) == 0) {
            return cpu->fpu->mxcsr;
        }
        if ((header->xstate_bv & X86_XCR0_SSE) == 0) {
            return SOFT_MXCSR_RESET;
        }
    } else if ((requested & SSE_OR_AVX) == 0) {
        return cpu->fpu->mxcsr;
    }
    check_mxcsr(cpu, stored);
    return stored;
}

/* The extended components that are to be loaded; the rest of the area is not touched. */
static void read_extended(struct soft_cpu *cpu, uint64_t linear, uint8_t *area, uint64_t components,
                          const struct xsave_header *header)
{
    bool compacted = (header->xcomp_bv & XSAVE_COMPACTED) != 0;
    if ((components & X86_XCR0_AVX) != 0) {
        uint32_t offset = xsave_component_offset(2, compacted, header->xcomp_bv);
        soft_read_bytes(cpu, linear + offset, area + offset, 16 * register_count(cpu));
    }
    if ((components & X86_XCR0_PKRU) != 0) {
        uint32_t offset = xsave_component_offset(9, compacted, header->xcomp_bv);
        soft_read_bytes(cpu, linear + offset, area + offset, XSAVE_PKRU_SIZE);
    }
}

static void restore(struct soft_cpu *cpu, const struct soft_instruction *in, uint64_t enabled,
                    bool supervisor)
{
    uint64_t requested = enabled & instruction_mask(cpu);
    uint64_t linear = area_linear(cpu, in, XSAVE_EXTENDED, 64, SOFT_READ);
    uint8_t area[XSAVE_AREA_MAX];
    struct xsave_header header;
    soft_read_bytes(cpu, linear, area, XSAVE_EXTENDED);
    memcpy(&header, area + XSAVE_LEGACY_SIZE, sizeof(header));
    check_header(cpu, &header, enabled, supervisor);
    uint32_t size = restore_size(requested & header.xstate_bv, &header);
    if (size > XSAVE_EXTENDED) {
        (void)area_linear(cpu, in, size, 64, SOFT_READ);
        read_extended(cpu, linear, area, requested & header.xstate_bv, &header);
    }
    cpu->fpu->mxcsr = new_mxcsr(cpu, area, &header, requested);
    /* nothing can fail any more */
    restore_vectors(cpu, area, &header, requested);
    if ((requested & header.xstate_bv & X86_XCR0_X87) != 0) {
        xsave_get_x87(cpu, area, pointers_of(in));
    } else if ((requested & X86_XCR0_X87) != 0) {
        soft_fpu_save(cpu->fpu);
        soft_fpu_initialise_x87(cpu->fpu);
    }
}

void soft_execute_xrstor(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    require_xsave(cpu);
    restore(cpu, in, cpu->xcr0, false);
}

void soft_execute_xrstors(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    require_xsave(cpu);
    require_supervisor(cpu);
    restore(cpu, in, cpu->xcr0 | cpu->msr.xss, true);
}

/* --- XCR0 --- */

void soft_execute_xgetbv(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    (void)in;
    if ((cpu->cr4 & X86_CR4_OSXSAVE) == 0) {
        soft_raise(cpu, X86_VECTOR_UD);
    }
    uint64_t value = cpu->xcr0;
    switch ((uint32_t)cpu->gpr[X86_RCX]) {
    case 0:
        break;
    case 1: /* "XGETBV": XCR0 AND XINUSE */
        if (!soft_has(cpu, X86_FEATURE_XSAVEC)) {
            soft_raise_error(cpu, X86_VECTOR_GP, 0);
        }
        value &= xsave_in_use(cpu);
        break;
    default:
        soft_raise_error(cpu, X86_VECTOR_GP, 0);
    }
    cpu->gpr[X86_RAX] = value & 0xffffffff;
    cpu->gpr[X86_RDX] = value >> 32;
}

void soft_execute_xsetbv(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    (void)in;
    if ((cpu->cr4 & X86_CR4_OSXSAVE) == 0) {
        soft_raise(cpu, X86_VECTOR_UD);
    }
    uint64_t value = instruction_mask(cpu);
    if (cpu->cpl != 0 || (uint32_t)cpu->gpr[X86_RCX] != 0 || !xsave_xcr0_valid(cpu, value)) {
        soft_raise_error(cpu, X86_VECTOR_GP, 0);
    }
    cpu->xcr0 = value;
}
