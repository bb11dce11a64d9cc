/*
 * The bitmaps that say which MSRs and ports make a guest exit: a set bit does.
 *
 * Source:  Intel SDM volume 3, "MSR-Bitmap Address", "I/O-Bitmap Addresses".
 * Owner:   the caller; 4 KiB each. Thread: one at a time. Freestanding.
 */
#ifndef TRAPEZE_X86_VMX_BITMAPS_H
#define TRAPEZE_X86_VMX_BITMAPS_H

#include <stdbool.h>
#include <stdint.h>

#define VMX_PORTS 0x10000u

/* Reads of low and of high MSRs, then writes; 1024 bytes each. index: one of these MSRs. */
static inline void vmx_msr_bitmap_pass(uint8_t *bitmap, uint32_t index)
{
    uint8_t *reads = index >= 0xc0000000 ? bitmap + 1024 : bitmap;
    uint32_t byte = index % 0x2000 / 8;
    uint8_t others = (uint8_t) ~(1u << (index % 8));
    reads[byte] &= others;
    reads[byte + 2048] &= others;
}

/* a: ports below 8000H; b: the rest. */
static inline void vmx_io_bitmaps_pass(uint8_t *a, uint8_t *b, uint32_t first, uint32_t count,
                                       bool passes)
{
    for (uint32_t port = first; count != 0 && port < VMX_PORTS; port++, count--) {
        uint8_t *byte = (port < VMX_PORTS / 2 ? a : b) + port % (VMX_PORTS / 2) / 8;
        uint8_t bit = (uint8_t)(1u << (port % 8));
        *byte = (uint8_t)(passes ? *byte & ~bit : *byte | bit);
    }
}

#endif
