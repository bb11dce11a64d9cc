/*
 * What the loaders' fuzzers share: a machine, an initrd, and what must hold after each load.
 *
 * Owner: the including fuzzer; the machine is made once, as making one costs more than a load.
 * Thread: one.
 */
#ifndef TRAPEZE_FUZZ_BOOT_FUZZ_H
#define TRAPEZE_FUZZ_BOOT_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "boot/boot.h"
#include "boot/layout.h"

#define FUZZ_RAM (UINT64_C(64) << 20)

struct fuzz_machine {
    struct boot_memory_layout layout;
    struct guestmem *memory;
    struct boot_request request;
    struct boot_context context;
    char initrd_path[64];
};

typedef int fuzz_load(const struct boot_context *context, const struct kernel_file *kernel,
                      struct x86_state *bootstrap, struct error *error);

static inline void fuzz_require(bool condition)
{
    if (!condition) {
        abort();
    }
}

static inline struct fuzz_machine *fuzz_machine(void)
{
    static struct fuzz_machine machine;
    if (machine.memory != NULL) {
        return &machine;
    }
    struct guestmem_options options = {.shared = false};
    fuzz_require(boot_memory_layout_make(FUZZ_RAM, &machine.layout, NULL) == 0);
    fuzz_require(guestmem_create(&options, &machine.memory, NULL) == 0);
    fuzz_require(guestmem_add(machine.memory, gpa(0), FUZZ_RAM, 0, NULL) == 0);
    int initrd = memfd_create("initrd", 0);
    fuzz_require(initrd >= 0 && write(initrd, machine.initrd_path, 50) == 50);
    snprintf(machine.initrd_path, sizeof(machine.initrd_path), "/proc/self/fd/%d", initrd);
    machine.request = (struct boot_request){.kernel = "fuzz",
                                            .command_line = "console=ttyS0",
                                            .initrd = machine.initrd_path,
                                            .layout = &machine.layout};
    machine.context = (struct boot_context){.request = &machine.request,
                                            .layout = &machine.layout,
                                            .memory = machine.memory,
                                            .rsdp = BOOT_ACPI_BASE};
    return &machine;
}

/*
 * Loads the input as the detected protocol says, and by `load` whatever was detected. A refusal
 * has words; what is accepted is entered in RAM.
 */
static inline void fuzz_boot(fuzz_load *load, const uint8_t *data, size_t size)
{
    static struct x86_state state;
    struct fuzz_machine *machine = fuzz_machine();
    struct kernel_file file = kernel_file_from_memory("fuzz", "kernel", data, size);
    enum boot_protocol protocol = BOOT_PROTOCOL_DETECT;
    struct error error = {""};

    int status = boot_detect(&file, &protocol, &error);
    fuzz_require(status == 0 ? protocol != BOOT_PROTOCOL_DETECT : error.text[0] != '\0');
    error.text[0] = '\0';
    status = load(&machine->context, &file, &state, &error);
    fuzz_require(status <= 0);
    fuzz_require(status == 0 ? state.rip < FUZZ_RAM : error.text[0] != '\0');
}

#endif
