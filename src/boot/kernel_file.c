#include "boot/kernel_file.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/host_file.h"

int kernel_file_open(const char *path, const char *role, struct kernel_file *file,
                     struct error *error)
{
    *file = (struct kernel_file){.role = role, .path = path, .descriptor = -1};
    char what[32];
    struct stat status;
    snprintf(what, sizeof(what), "the %s", role);
    int descriptor = host_file_open(path, what, &status, error);
    if (descriptor < 0) {
        return descriptor;
    }
    if (status.st_size == 0) {
        close(descriptor);
        return error_set(error, EINVAL, "the %s '%s' is empty: get it or build it again", role,
                         path);
    }
    file->descriptor = descriptor;
    file->length = (uint64_t)status.st_size;
    return 0;
}

struct kernel_file kernel_file_from_memory(const char *name, const char *role, const uint8_t *bytes,
                                           size_t length)
{
    return (struct kernel_file){
        .role = role, .path = name, .descriptor = -1, .bytes = bytes, .length = length};
}

void kernel_file_close(struct kernel_file *file)
{
    if (file->descriptor >= 0) {
        close(file->descriptor);
    }
    file->descriptor = -1;
}

static int truncated(const struct kernel_file *file, struct error *error)
{
    return error_set(error, ENOEXEC,
                     "the %s '%s' is truncated (%" PRIu64 " bytes are there): get it again",
                     file->role, file->path, file->length);
}

int kernel_file_read(const struct kernel_file *file, uint64_t offset, void *buffer, size_t length,
                     struct error *error)
{
    if (offset > file->length || length > file->length - offset) {
        return truncated(file, error);
    }
    if (file->bytes != NULL) {
        memcpy(buffer, file->bytes + offset, length);
        return 0;
    }
    uint8_t *to = buffer;
    while (length > 0) {
        ssize_t got = pread(file->descriptor, to, length, (off_t)offset);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return error_set_errno(error, errno, "can't read the %s '%s'", file->role, file->path);
        }
        if (got == 0) {
            return truncated(file, error);
        }
        to += got;
        offset += (uint64_t)got;
        length -= (size_t)got;
    }
    return 0;
}

int kernel_file_load(const struct kernel_file *file, uint64_t offset, uint64_t length,
                     struct guestmem *memory, gpa_t address, struct error *error)
{
    if (length == 0) {
        return 0;
    }
    void *host = guestmem_pointer(memory, address, length);
    if (host == NULL) {
        return error_set(error, ENOSPC,
                         "the %s '%s' needs guest memory from 0x%" PRIx64 " to 0x%" PRIx64
                         " and not all of that is RAM: give the guest more memory",
                         file->role, file->path, address.v, address.v + length);
    }
    int status = kernel_file_read(file, offset, host, length, error);
    guestmem_written(memory, address, length);
    return status;
}
