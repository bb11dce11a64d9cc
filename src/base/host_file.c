#include "base/host_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* O_NONBLOCK: opening a named pipe must not wait for a writer. */
#define OPEN_FLAGS (O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)

/* Reads until the end or until the buffer is full; returns the length or -errno. */
static ssize_t read_all(int descriptor, char *buffer, size_t size)
{
    size_t length = 0;
    while (length < size) {
        ssize_t part = read(descriptor, buffer + length, size - length);
        if (part < 0 && errno == EINTR) {
            continue;
        }
        if (part < 0) {
            return -errno;
        }
        if (part == 0) {
            break;
        }
        length += (size_t)part;
    }
    return (ssize_t)length;
}

static int check_kind(int descriptor, const char *path, struct error *error)
{
    struct stat status;
    if (fstat(descriptor, &status) != 0) {
        return error_set_errno(error, errno, "can't examine '%s'", path);
    }
    if (S_ISDIR(status.st_mode)) {
        return error_set(error, EISDIR, "'%s' is a directory: name a file in it", path);
    }
    if (!S_ISREG(status.st_mode)) {
        return error_set(error, EINVAL,
                         "'%s' is a pipe or device: copy its contents to a file first", path);
    }
    return 0;
}

/* The size is not asked for: those that the kernel makes up as they are read have none. */
static ssize_t read_regular(int descriptor, const char *path, char *buffer, size_t size,
                            struct error *error)
{
    int code = check_kind(descriptor, path, error);
    if (code != 0) {
        return code;
    }
    ssize_t length = read_all(descriptor, buffer, size);
    char more;
    if (length == (ssize_t)size && read_all(descriptor, &more, 1) > 0) {
        return error_set(error, EFBIG, "'%s' has more than %zu bytes", path, size);
    }
    if (length < 0) {
        return error_set_errno(error, (int)length, "can't read '%s'", path);
    }
    return length;
}

ssize_t host_file_read(const char *path, char *buffer, size_t size, struct error *error)
{
    int descriptor = open(path, OPEN_FLAGS);
    if (descriptor < 0) {
        return error_set_errno(error, errno, "can't open '%s'", path);
    }
    ssize_t length = read_regular(descriptor, path, buffer, size, error);
    close(descriptor);
    return length;
}

bool host_file_is_foreign(const char *path, const char *start)
{
    char there[HOST_FILE_START_MAX];
    size_t length = strnlen(start, sizeof(there));
    int descriptor = open(path, OPEN_FLAGS);
    if (descriptor < 0) {
        return false; /* it is not there, or what follows says why it cannot be used */
    }
    struct stat status;
    bool is_file =
        fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode) && status.st_size != 0;
    bool is_ours = is_file && read_all(descriptor, there, length) == (ssize_t)length &&
                   memcmp(there, start, length) == 0;
    close(descriptor);
    return is_file && !is_ours;
}
