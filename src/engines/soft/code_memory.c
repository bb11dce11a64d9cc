#include "engines/soft/code_memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U /* Linux 6.3: where memfds are not executable unless asked for */
#endif

#define CODE_ALIGNMENT 16u

#define NOT_EXECUTABLE                                                                             \
    "mapping executable memory, which the soft engine needs (a security policy may forbid it)"

struct code_memory {
    uint8_t *writable;
    uint8_t *reserved; /* the executable mapping, and then the data */
    size_t size, beside, used;
};

static int open_memory(size_t size, struct error *error)
{
    int fd = memfd_create("code", MFD_CLOEXEC | MFD_EXEC);
    if (fd < 0 && errno == EINVAL) {
        fd = memfd_create("code", MFD_CLOEXEC); /* an older kernel does not know the flag */
    }
    if (fd < 0) {
        return error_set_errno(error, errno, NOT_EXECUTABLE);
    }
    if (ftruncate(fd, (off_t)size) != 0) {
        int code = errno;
        close(fd);
        return error_set_errno(error, code, "sizing the memory for generated code");
    }
    return fd;
}

/*
 * Shared memory without a file, and a second mapping of it: "mremap", of a size of 0. This and not
 * a memfd, because perf takes names from its map (translate/perf_map.h) for anonymous memory only.
 */
static bool map_anonymous(struct code_memory *memory)
{
    size_t size = memory->size;
    void *writable =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (writable == MAP_FAILED) {
        return false;
    }
    if (mremap(writable, 0, size, MREMAP_MAYMOVE | MREMAP_FIXED, memory->reserved) == MAP_FAILED ||
        mprotect(memory->reserved, size, PROT_READ | PROT_EXEC) != 0) {
        munmap(writable, size);
        return false;
    }
    memory->writable = writable;
    return true;
}

/* A policy may forbid that memory becomes executable, and yet allow to map a file so. */
static int map_file(struct code_memory *memory, struct error *error)
{
    int fd = open_memory(memory->size, error);
    if (fd < 0) {
        return fd;
    }
    void *writable = mmap(NULL, memory->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    memory->writable = writable == MAP_FAILED ? NULL : writable;
    void *executable = MAP_FAILED;
    if (memory->writable != NULL) {
        executable = mmap(memory->reserved, memory->size, PROT_READ | PROT_EXEC,
                          MAP_SHARED | MAP_FIXED, fd, 0);
    }
    int code = errno;
    close(fd);
    return executable == MAP_FAILED ? error_set_errno(error, code, NOT_EXECUTABLE) : 0;
}

/* Address space for both, one behind the other; the data is mapped. */
static int reserve(struct code_memory *memory, struct error *error)
{
    size_t size = memory->size + memory->beside;
    void *reserved =
        mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (reserved == MAP_FAILED) {
        return error_set_errno(error, errno, "reserving address space for generated code");
    }
    memory->reserved = reserved;
    if (memory->beside != 0 &&
        mprotect(memory->reserved + memory->size, memory->beside, PROT_READ | PROT_WRITE) != 0) {
        return error_set_errno(error, errno, "mapping the data beside generated code");
    }
    return 0;
}

int code_memory_create(size_t size, size_t beside, struct code_memory **out, struct error *error)
{
    struct code_memory *memory = calloc(1, sizeof(*memory));
    if (memory == NULL) {
        return error_set(error, ENOMEM, "no memory for the code arena's description");
    }
    memory->size = size;
    memory->beside = beside;
    int status = reserve(memory, error);
    if (status == 0 && !map_anonymous(memory)) {
        status = map_file(memory, error);
    }
    if (status != 0) {
        code_memory_destroy(memory);
        return status;
    }
    *out = memory;
    return 0;
}

void code_memory_destroy(struct code_memory *memory)
{
    if (memory == NULL) {
        return;
    }
    if (memory->writable != NULL) {
        munmap(memory->writable, memory->size);
    }
    if (memory->reserved != NULL) {
        munmap(memory->reserved, memory->size + memory->beside);
    }
    free(memory);
}

const void *code_memory_add(struct code_memory *memory, const uint8_t *code, size_t length)
{
    if (length > memory->size - memory->used) {
        return NULL;
    }
    const void *address = memory->reserved + memory->used;
    memcpy(memory->writable + memory->used, code, length);
    size_t rounded = (length + CODE_ALIGNMENT - 1) & ~(size_t)(CODE_ALIGNMENT - 1);
    memory->used += rounded < memory->size - memory->used ? rounded : memory->size - memory->used;
    return address;
}

uint8_t *code_memory_writable(struct code_memory *memory)
{
    return memory->writable;
}

const uint8_t *code_memory_executable(const struct code_memory *memory)
{
    return memory->reserved;
}

uint8_t *code_memory_beside(const struct code_memory *memory)
{
    return memory->reserved + memory->size;
}

bool code_memory_contains(const struct code_memory *memory, uintptr_t address)
{
    return address - (uintptr_t)memory->reserved < memory->size;
}

size_t code_memory_used(const struct code_memory *memory)
{
    return memory->used;
}
