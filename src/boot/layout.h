/*
 * Where the loaders put what they make: fixed guest physical addresses below 1 MiB.
 *
 * Purpose: one table, so that nothing overlaps and a guest image can be told what it may not
 *          cover. Everything but the stack and the ACPI tables is dead once the guest has read it.
 * Owner, thread: constants only.
 *
 *   0x00000..0x90000  free: real-mode vectors, small images (kvm-unit-tests at 0x4000 or 0x8000)
 *   0x90000           the protocol's information: boot_params, hvm_start_info, multiboot info
 *   0x91000           the GDT
 *   0x92000           page tables, six pages: PML4, PDPT, four page directories
 *                     (or, for 32-bit paging, one page directory)
 *   0x98000           lists that the information points at: modules, memory map, RNG seed
 *   0x99000           the command line and the modules' lines, each with its final NUL
 *   0x9d000..0x9f000  the first stack, growing down from 0x9f000
 *   0x9fc00           the extended BIOS data area's usual place, reserved in the memory map
 *   0xa0000..0xe0000  nothing; reserved
 *   0xe0000..0x100000 RSDP and ACPI tables, where scanning guests look for them
 */
#ifndef TRAPEZE_BOOT_LAYOUT_H
#define TRAPEZE_BOOT_LAYOUT_H

#include <stdint.h>

#define BOOT_INFORMATION_BASE UINT64_C(0x90000)
#define BOOT_INFORMATION_SIZE UINT64_C(0x1000)
#define BOOT_GDT_BASE         UINT64_C(0x91000)
#define BOOT_PAGE_TABLES_BASE UINT64_C(0x92000)
#define BOOT_PAGE_TABLES_SIZE UINT64_C(0x6000)
#define BOOT_LISTS_BASE       UINT64_C(0x98000)
#define BOOT_LISTS_SIZE       UINT64_C(0x1000)
#define BOOT_STRINGS_BASE     UINT64_C(0x99000)
#define BOOT_STRINGS_SIZE     UINT64_C(0x4000)
#define BOOT_STACK_TOP        UINT64_C(0x9f000)

/* What no part of a loaded image may cover. */
#define BOOT_STRUCTURES_BASE UINT64_C(0x90000)
#define BOOT_STRUCTURES_END  UINT64_C(0x9f000)

#define BOOT_EBDA_BASE   UINT64_C(0x9fc00)
#define BOOT_LEGACY_BASE UINT64_C(0xa0000)
#define BOOT_ACPI_BASE   UINT64_C(0xe0000)
#define BOOT_ACPI_SIZE   UINT64_C(0x20000)
#define BOOT_HIGH_BASE   UINT64_C(0x100000) /* 1 MiB: where kernels usually start */

/* RAM ends here at the latest and goes on above 4 GiB; devices live in between. */
#define BOOT_LOW_RAM_MAX   UINT64_C(0xc0000000)
#define BOOT_FOUR_GIB      UINT64_C(0x100000000)
#define BOOT_IOAPIC_BASE   UINT64_C(0xfec00000)
#define BOOT_LAPIC_BASE    UINT64_C(0xfee00000)
#define BOOT_PCI_ECAM_BASE UINT64_C(0xfef00000)
#define BOOT_PCI_ECAM_SIZE UINT64_C(0x100000) /* one bus */
#define BOOT_RAM_MIN       BOOT_HIGH_BASE
#define BOOT_RAM_MAX       (UINT64_C(1) << 39) /* 512 GiB: within 40 physical address bits */

#endif
