#include "boot/boot.h"

#include <errno.h>
#include <stdlib.h>

#include "boot/bzimage.h"
#include "boot/flat.h"
#include "boot/layout.h"
#include "boot/multiboot.h"
#include "boot/place.h"
#include "boot/pvh.h"

typedef int load_function(const struct boot_context *context, const struct kernel_file *kernel,
                          struct x86_state *bootstrap, struct error *error);

/* By enum boot_protocol. */
static load_function *const loaders[] = {
    [BOOT_PROTOCOL_BZIMAGE] = bzimage_load,
    [BOOT_PROTOCOL_PVH] = pvh_load,
    [BOOT_PROTOCOL_MULTIBOOT] = multiboot_load,
    [BOOT_PROTOCOL_FLAT] = flat_load,
};

/* Writes the ACPI tables and remembers where the RSDP is. */
static int place_acpi_tables(struct boot_context *context, struct error *error)
{
    size_t length;
    uint8_t *tables = malloc(BOOT_ACPI_SIZE);
    if (tables == NULL) {
        return error_set(error, ENOMEM, "there is no memory to build the ACPI tables");
    }
    int status =
        acpi_build(context->request->acpi, BOOT_ACPI_BASE, tables, BOOT_ACPI_SIZE, &length, error);
    if (status == 0) {
        status = place_bytes(context->memory, BOOT_ACPI_BASE, tables, length, error);
    }
    free(tables);
    context->rsdp = BOOT_ACPI_BASE;
    return status;
}

static int check_modules(const struct boot_request *request, enum boot_protocol protocol,
                         struct error *error)
{
    if (request->module_count != 0 && protocol != BOOT_PROTOCOL_MULTIBOOT) {
        return error_set(error, EINVAL,
                         "modules are for multiboot kernels and '%s' is none: give an initrd",
                         request->kernel);
    }
    return 0;
}

static int load(const struct boot_request *request, struct guestmem *memory,
                const struct kernel_file *kernel, struct x86_state *bootstrap, struct error *error)
{
    struct boot_context context = {.request = request, .layout = request->layout, .memory = memory};
    enum boot_protocol protocol = request->protocol;
    int status = 0;

    if (protocol == BOOT_PROTOCOL_DETECT) {
        status = boot_detect(kernel, &protocol, error);
    }
    if (status == 0) {
        status = check_modules(request, protocol, error);
    }
    /* A flat image gets no tables: it may want to be where they would go. */
    if (status == 0 && request->acpi != NULL && protocol != BOOT_PROTOCOL_FLAT) {
        status = place_acpi_tables(&context, error);
    }
    return status != 0 ? status : loaders[protocol](&context, kernel, bootstrap, error);
}

int boot_load(const struct boot_request *request, struct guestmem *memory,
              struct x86_state *bootstrap, struct error *error)
{
    struct kernel_file kernel;
    const char *role = request->protocol == BOOT_PROTOCOL_FLAT ? "image" : "kernel";
    if (request->kernel == NULL) {
        return error_set(error, EINVAL, "there is no kernel to boot: name one with --kernel");
    }
    int status = kernel_file_open(request->kernel, role, &kernel, error);
    if (status != 0) {
        return status;
    }
    status = load(request, memory, &kernel, bootstrap, error);
    kernel_file_close(&kernel);
    return status;
}
