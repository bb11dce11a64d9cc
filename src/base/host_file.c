#include "base/host_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* O_NONBLOCK: opening a named pipe must not wait for a writer. */
#define OPEN_FLAGS (O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)

#define NAME_SIZE 300 /* of a file in a message; a longer one is cut */

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

static int check_kind(const char *name, const struct stat *status, struct error *error)
{
    if (S_ISDIR(status->st_mode)) {
        return error_set(error, EISDIR, "%s is a directory: name a file in it", name);
    }
    if (!S_ISREG(status->st_mode)) {
        return error_set(error, EINVAL, "%s is a pipe or device: copy its contents to a file first",
                         name);
    }
    return 0;
}

static int refuse_to_open(const char *name, int code, struct error *error)
{
    if (code == ENOENT || code == ENOTDIR) {
        return error_set(error, code, "%s is not there: check the path", name);
    }
    if (code == EACCES) {
        return error_set(error, code, "%s may not be read: check its permissions (ls -l)", name);
    }
    return error_set_errno(error, code, "can't open %s", name);
}

int host_file_open(const char *path, const char *role, struct stat *status, struct error *error)
{
    char name[NAME_SIZE];
    snprintf(name, sizeof(name), "%s%s'%s'", role != NULL ? role : "", role != NULL ? " " : "",
             path);
    int descriptor = open(path, OPEN_FLAGS);
    if (descriptor < 0) {
        return refuse_to_open(name, errno, error);
    }
    int code = fstat(descriptor, status) == 0
                   ? check_kind(name, status, error)
                   : error_set_errno(error, errno, "can't examine %s", name);
    if (code != 0) {
        close(descriptor);
        return code;
    }
    return descriptor;
}

/* The size is not asked for: those that the kernel makes up as they are read have none. */
static ssize_t read_regular(int descriptor, const char *path, char *buffer, size_t size,
                            struct error *error)
{
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
    struct stat status;
    int descriptor = host_file_open(path, NULL, &status, error);
    if (descriptor < 0) {
        return descriptor;
    }
    ssize_t length = read_regular(descriptor, path, buffer, size, error);
    close(descriptor);
    return length;
}

int host_file_open_output(const char *path, struct error *error)
{
    int descriptor = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0666);
    if (descriptor < 0 && errno == ENXIO) {
        return error_set(error, ENXIO, "nobody reads the pipe '%s': start its reader first", path);
    }
    if (descriptor < 0) {
        return error_set_errno(error, errno, "can't open '%s' to write it", path);
    }
    /* A plain file's or a pipe's: a description of our own, so nobody else notices. */
    int flags = fcntl(descriptor, F_GETFL);
    fcntl(descriptor, F_SETFL, flags & ~O_NONBLOCK);
    return descriptor;
}

int host_file_again_without_blocking(int descriptor)
{
    struct stat status;
    if (isatty(descriptor) || (fstat(descriptor, &status) == 0 && S_ISFIFO(status.st_mode))) {
        char path[32];
        snprintf(path, sizeof(path), "/proc/self/fd/%d", descriptor);
        int again = open(path, O_WRONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
        if (again >= 0) {
            return again;
        }
    }
    return fcntl(descriptor, F_DUPFD_CLOEXEC, 3);
}

bool host_file_is_same(const char *left, const char *right)
{
    struct stat a, b;
    return stat(left, &a) == 0 && stat(right, &b) == 0 && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino && !S_ISCHR(a.st_mode);
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
