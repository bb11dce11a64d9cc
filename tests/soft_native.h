/*
 * Runs one instruction on the host with all its registers given: the oracle for the soft engine.
 *
 * Owner:   one per test executable. Thread: one.
 */
#ifndef TRAPEZE_TESTS_SOFT_NATIVE_H
#define TRAPEZE_TESTS_SOFT_NATIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct native_state {
    uint8_t x87[512] __attribute__((aligned(64))); /* FXSAVE64 format; its XMM part is unused */
    uint8_t ymm[16][32] __attribute__((aligned(32)));
    uint64_t gpr[16]; /* RSP, R14 and R15 must not be used */
    uint64_t flags;
    uint32_t mxcsr;
};

/* False if the host lacks AVX2 or XSAVEC, without which there is nothing to compare with. */
bool native_setup(void);
/* The state after; nothing that traps may be run. */
void native_run(struct native_state *state, const uint8_t *bytes, size_t length);

#endif
