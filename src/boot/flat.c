#include "boot/flat.h"

#include <errno.h>
#include <inttypes.h>

#include "boot/cpu_state.h"
#include "boot/layout.h"
#include "boot/place.h"

/* What belongs to Linux and multiboot would be ignored silently: say so instead. */
static int check_request(const struct boot_request *request, struct error *error)
{
    if (request->initrd != NULL || request->module_count != 0) {
        return error_set(error, EINVAL,
                         "a flat image takes neither an initrd nor modules: leave them out");
    }
    if (request->command_line != NULL && request->command_line[0] != '\0') {
        return error_set(error, EINVAL, "a flat image takes no command line: leave it out");
    }
    return 0;
}

static int check_address(const struct boot_context *context, const struct kernel_file *kernel,
                         struct error *error)
{
    uint64_t address = context->request->flat_address;
    if (context->request->flat_mode == BOOT_MODE_REAL && address >= BOOT_HIGH_BASE) {
        return error_set(error, EINVAL,
                         "real mode can't start at 0x%" PRIx64 ": choose an address below 1 MiB",
                         address);
    }
    if (address >= context->layout->low_ram_end ||
        kernel->length > context->layout->low_ram_end - address) {
        return error_set(error, ENOSPC,
                         "the image '%s' of %" PRIu64 " bytes does not fit at 0x%" PRIx64
                         " in guest memory that ends at 0x%" PRIx64
                         ": give the guest more or choose another address",
                         kernel->path, kernel->length, address, context->layout->low_ram_end);
    }
    if (place_collides(context, address, kernel->length)) {
        return error_set(error, EINVAL,
                         "the image '%s' at 0x%" PRIx64 "..0x%" PRIx64
                         " would cover the boot structures and stack at 0x90000..0x9f000: choose "
                         "another address",
                         kernel->path, address, address + kernel->length);
    }
    return 0;
}

static int enter(const struct boot_context *context, struct x86_state *bootstrap,
                 struct error *error)
{
    uint64_t address = context->request->flat_address;
    switch (context->request->flat_mode) {
    case BOOT_MODE_REAL:
        cpu_state_real(address, bootstrap);
        return 0;
    case BOOT_MODE_PROTECTED:
        return cpu_state_protected(context->memory, address, bootstrap, error);
    case BOOT_MODE_PAGED:
        return cpu_state_paged(context->memory, address, bootstrap, error);
    case BOOT_MODE_LONG:
        return cpu_state_long(context->memory, address, bootstrap, error);
    }
    return error_set(error, EINVAL, "a flat image needs a mode: real, protected, paged or long");
}

int flat_load(const struct boot_context *context, const struct kernel_file *kernel,
              struct x86_state *bootstrap, struct error *error)
{
    int status = check_request(context->request, error);
    if (status == 0) {
        status = check_address(context, kernel, error);
    }
    if (status == 0) {
        status = kernel_file_load(kernel, 0, kernel->length, context->memory,
                                  gpa(context->request->flat_address), error);
    }
    if (status == 0) {
        status = enter(context, bootstrap, error);
    }
    return status;
}
