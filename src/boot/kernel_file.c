#include "boot/kernel_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int check_kind(const struct kernel_file *file, const struct stat *status,
                      struct error *error)
{
    if (S_ISDIR(status->st_mode)) {
        return error_set(error, EISDIR, "the %s '%s' is a directory: name a file in it", file->role,
                         file->path);
    }
    if (!S_ISREG(status->st_mode)) {
        return error_set(error, EINVAL,
                         "the %s '%s' is a pipe or device: copy its contents to a file first",
                         file->role, file->path);
    }
    if (status->st_size == 0) {
        return error_set(error, EINVAL, "the %s '%s' is empty: get it or build it again",
                         file->role, file->path);
    }
    return 0;
}

static int refuse_to_open(const struct kernel_file *file, int code, struct error *error)
{
    if (code == ENOENT || code == ENOTDIR) {
        return error_set(error, code, "there is no %s '%s': check the path", file->role,
                         file->path);
    }
    if (code == EACCES) {
        return error_set(error, code, "the %s '%s' may not be read: check its permissions (ls -l)",
                         file->role, file->path);
    }
    return error_set_errno(error, code, "can't open the %s '%s'", file->role, file->path);
}

int kernel_file_open(const char *path, const char *role, struct kernel_file *file,
                     struct error *error)
{
    *file = (struct kernel_file){.role = role, .path = path, .descriptor = -1};
    /* O_NONBLOCK: opening a named pipe must not wait for a writer. */
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (descriptor < 0) {
        return refuse_to_open(file, errno, error);
    }
    struct stat status;
    int result = 0;
    if (fstat(descriptor, &status) != 0) {
        result = error_set_errno(error, errno, "can't examine the %s '%s'", role, path);
    } else {
        result = check_kind(file, &status, error);
    }
    if (result != 0) {
        close(descriptor);
        return result;
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
