/*
 * State components between struct soft_fpu and the bytes of an XSAVE or FXSAVE area.
 *
 * Purpose: layouts and conversions without any access to guest memory: for the instructions
 *          (xsave.c) and the engine's get_state and set_state (xsave_state.c).
 * Owner, thread: the vCPU's.
 */
#ifndef TRAPEZE_ENGINES_SOFT_XSAVE_AREA_H
#define TRAPEZE_ENGINES_SOFT_XSAVE_AREA_H

#include <stdbool.h>
#include <stdint.h>

#include "engines/soft/cpu.h"

/* Offsets into the area ("XSAVE Area"). */
#define XSAVE_MXCSR       24u
#define XSAVE_ST          32u
#define XSAVE_XMM         160u
#define XSAVE_LEGACY_SIZE 512u
#define XSAVE_HEADER_SIZE 64u
#define XSAVE_EXTENDED    576u /* the first byte after the header */

#define XSAVE_COMPACTED (UINT64_C(1) << 63) /* in XCOMP_BV */

#define XSAVE_AVX_OFFSET  576u
#define XSAVE_AVX_SIZE    256u
#define XSAVE_PKRU_OFFSET 2688u /* where processors with PKU and AVX-512 have it */
#define XSAVE_PKRU_SIZE   8u
#define XSAVE_AREA_MAX    (XSAVE_PKRU_OFFSET + XSAVE_PKRU_SIZE)

/* How the x87 instruction pointers are laid out: 64-bit offsets, or 32 bits and selectors. */
enum xsave_pointers { XSAVE_POINTERS_32, XSAVE_POINTERS_64 };

struct xsave_header {
    uint64_t xstate_bv, xcomp_bv, reserved[6];
};

/* Where extended component 2 or 9 stands. layout: XCOMP_BV's low bits when compacted. */
uint32_t xsave_component_offset(unsigned int component, bool compacted, uint64_t layout);

/* The first 160 bytes: x87 control, pointers, MXCSR and its mask, ST registers. */
void xsave_put_x87(struct soft_cpu *cpu, uint8_t bytes[XSAVE_XMM], enum xsave_pointers pointers);
/* Takes the x87 part of them; not MXCSR. */
void xsave_get_x87(struct soft_cpu *cpu, const uint8_t bytes[XSAVE_XMM],
                   enum xsave_pointers pointers);

/* count registers: 8 outside 64-bit mode. */
void xsave_put_xmm(const struct soft_cpu *cpu, uint8_t *bytes, unsigned int count);
void xsave_get_xmm(struct soft_cpu *cpu, const uint8_t *bytes, unsigned int count);
void xsave_put_ymm_high(const struct soft_cpu *cpu, uint8_t *bytes, unsigned int count);
void xsave_get_ymm_high(struct soft_cpu *cpu, const uint8_t *bytes, unsigned int count);
void xsave_clear_xmm(struct soft_cpu *cpu, unsigned int count);
void xsave_clear_ymm_high(struct soft_cpu *cpu, unsigned int count);

/* Sets PKRU and drops translations that were checked against the old one. */
void xsave_set_pkru(struct soft_cpu *cpu, uint32_t value);

/* XINUSE: components that are not in their initial configuration; MXCSR does not count. */
uint64_t xsave_in_use(struct soft_cpu *cpu);

/* "XSETBV": may XCR0 have this value? */
bool xsave_xcr0_valid(const struct soft_cpu *cpu, uint64_t value);

#endif
