/*
 * Files that a person names: read whole, or kept from being overwritten.
 *
 * Purpose: no option waits for a named pipe or reads a device for ever, and none destroys a file
 *          that is something else than what the option writes.
 * Owner:   no state. Thread: any.
 */
#ifndef TRAPEZE_BASE_HOST_FILE_H
#define TRAPEZE_BASE_HOST_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "base/error.h"

/*
 * Opens a regular file to be read, without ever waiting for anybody.
 *
 * role:   what it is, for messages: "kernel"; NULL if the name says enough.
 * status: what fstat(2) says of it.
 *
 * Returns the descriptor, or open(2)'s errors, -EISDIR, -EINVAL for a pipe or a device; the text
 * names the file.
 */
int host_file_open(const char *path, const char *role, struct stat *status, struct error *error);

/*
 * Opens or makes a file to be written, without emptying it. A pipe that nobody reads is -ENXIO,
 * not a wait; writes to one that somebody reads may wait.
 */
int host_file_open_output(const char *path, struct error *error);

/*
 * Opens to be written what a descriptor refers to once more, so that O_NONBLOCK is the caller's
 * alone: on the shared description it would surprise whoever else holds the terminal or the pipe.
 * Only where a new description means the same: a file would start at its beginning.
 *
 * Returns a descriptor to close, else a duplicate that may block, or -1 with errno.
 */
int host_file_again_without_blocking(int descriptor);

/* True if both are there and are one file, by whatever names. Devices are none: /dev/null, say. */
bool host_file_is_same(const char *left, const char *right);

/*
 * Reads a regular file of at most `size` bytes, without ever waiting for anybody.
 *
 * Returns the number of bytes, or host_file_open's and read(2)'s errors, -EFBIG for more than
 * `size` bytes; the text names the file.
 */
ssize_t host_file_read(const char *path, char *buffer, size_t size, struct error *error);

/*
 * True for a regular file with something in it that does not begin with `start`: a kernel, most
 * likely, or somebody's notes. False if there is no such file, or if it cannot be read.
 * start: at most HOST_FILE_START_MAX characters.
 */
#define HOST_FILE_START_MAX 64
bool host_file_is_foreign(const char *path, const char *start);

#endif
