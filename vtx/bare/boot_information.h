/*
 * What the boot loader has left: the command line, where there is memory, the modules.
 *
 * Purpose: one struct for the two protocols by which the image is entered.
 * Source:  Multiboot Specification 0.6.96, "Boot information format"; Xen,
 *          "x86/HVM direct boot ABI" (struct hvm_start_info).
 * Owner:   the struct is the caller's; strings are copies, modules stay where they are.
 * Thread:  the first processor's, once. Only what lies below 4 GiB is mapped and seen.
 */
#ifndef TRAPEZE_VTX_BARE_BOOT_INFORMATION_H
#define TRAPEZE_VTX_BARE_BOOT_INFORMATION_H

#include <stdbool.h>
#include <stdint.h>

#define BOOT_COMMAND_LINE_MAX 2048
#define BOOT_RANGES_MAX       32
#define BOOT_INFO_MODULES_MAX 128
#define BOOT_MODULE_LINE_MAX  128

struct memory_range {
    uint64_t begin, end; /* physical */
};

struct boot_module_file {
    struct memory_range at;
    char line[BOOT_MODULE_LINE_MAX]; /* the module's command line, without a path before it */
};

struct boot_information {
    char command_line[BOOT_COMMAND_LINE_MAX]; /* without the image's path before it */
    unsigned int memory_count;
    struct memory_range memory[BOOT_RANGES_MAX]; /* usable, as the firmware says */
    unsigned int module_count;
    struct boot_module_file modules[BOOT_INFO_MODULES_MAX];
};

/*
 * magic, address: what EAX and EBX held at the entry. False for a magic that is neither protocol's
 * or without a memory map.
 */
bool boot_information_read(uint32_t magic, uint32_t address, struct boot_information *information);

#endif
