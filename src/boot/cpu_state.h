/*
 * vCPU 0's state at the entry of a kernel, and the GDT and page tables that go with it.
 *
 * Source:  Intel SDM volume 3, "Initializing IA-32e Mode", "Switching to Protected Mode".
 * Owner:   the caller's struct x86_state; tables go to the places in boot/layout.h.
 * Thread:  any, one at a time for a guest memory.
 */
#ifndef TRAPEZE_BOOT_CPU_STATE_H
#define TRAPEZE_BOOT_CPU_STATE_H

#include "base/error.h"
#include "vm/guestmem.h"
#include "x86/state.h"

/* Selectors in the boot GDT; Linux's boot protocol asks for these numbers. */
#define BOOT_SELECTOR_CODE 0x10u
#define BOOT_SELECTOR_DATA 0x18u
#define BOOT_SELECTOR_TSS  0x20u

/* State after RESET with firmware's MSRs; each function below starts from it. */
void cpu_state_firmware(struct x86_state *state);

/*
 * Real mode at `address`, below 1 MiB: CS, DS and ES are its top four bits (selector 0xN000), IP
 * the rest; SS:SP is the boot stack. Writes nothing to memory.
 */
void cpu_state_real(uint64_t address, struct x86_state *state);

/* Flat 32-bit protected mode without paging. Writes the GDT. */
int cpu_state_protected(struct guestmem *memory, uint64_t entry, struct x86_state *state,
                        struct error *error);

/* The same with 32-bit paging: 4 MiB pages that map all 4 GiB to themselves. */
int cpu_state_paged(struct guestmem *memory, uint64_t entry, struct x86_state *state,
                    struct error *error);

/* 64-bit mode: 2 MiB pages that map the first 4 GiB to themselves. Writes GDT and page tables. */
int cpu_state_long(struct guestmem *memory, uint64_t entry, struct x86_state *state,
                   struct error *error);

#endif
