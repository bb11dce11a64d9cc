#include "vtx/bare/module_file.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "boot/kernel_file.h"

#define NAME_SIZE 16

static struct {
    const struct boot_information *information;
    char names[BOOT_INFO_MODULES_MAX][NAME_SIZE];
} modules;

void module_files_init(const struct boot_information *information)
{
    modules.information = information;
    for (unsigned int i = 0; i < information->module_count; i++) {
        snprintf(modules.names[i], NAME_SIZE, "module%u", i);
    }
}

const char *module_file_name(unsigned int index)
{
    return index < modules.information->module_count ? modules.names[index] : NULL;
}

int kernel_file_open(const char *path, const char *role, struct kernel_file *file,
                     struct error *error)
{
    for (unsigned int i = 0; i < modules.information->module_count; i++) {
        const struct memory_range *at = &modules.information->modules[i].at;
        if (strcmp(path, modules.names[i]) == 0) {
            *file = kernel_file_from_memory(path, role, (const uint8_t *)at->begin,
                                            at->end - at->begin);
            return 0;
        }
    }
    return error_set(error, ENOENT, "there is no %s '%s': give it to the boot loader as a module",
                     role, path);
}

struct kernel_file kernel_file_from_memory(const char *name, const char *role, const uint8_t *bytes,
                                           size_t length)
{
    return (struct kernel_file){
        .role = role, .path = name, .descriptor = -1, .bytes = bytes, .length = length};
}

void kernel_file_close(struct kernel_file *file)
{
    (void)file;
}

int kernel_file_read(const struct kernel_file *file, uint64_t offset, void *buffer, size_t length,
                     struct error *error)
{
    if (offset > file->length || length > file->length - offset) {
        return error_set(error, ENOEXEC, "the %s '%s' ends too early: get it again", file->role,
                         file->path);
    }
    memcpy(buffer, file->bytes + offset, length);
    return 0;
}

int kernel_file_load(const struct kernel_file *file, uint64_t offset, uint64_t length,
                     struct guestmem *memory, gpa_t address, struct error *error)
{
    void *to = guestmem_pointer(memory, address, length);
    if (to == NULL) {
        return error_set(error, ENOSPC,
                         "the %s '%s' does not fit in guest memory at 0x%lx: give the guest more",
                         file->role, file->path, address.v);
    }
    return kernel_file_read(file, offset, to, length, error);
}
