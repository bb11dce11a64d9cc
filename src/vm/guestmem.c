#include "vm/guestmem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/checked.h"

#define PAGE_SIZE      UINT64_C(4096)
#define HUGE_PAGE_SIZE UINT64_C(0x200000)

/* The architecture's limit on physical addresses, 52 bits. */
#define PHYSICAL_ADDRESSES (UINT64_C(1) << 52)

struct mapped_slot {
    struct memory_slot slot;
    int file; /* the memfd of shared memory, else -1 */
};

struct guestmem {
    struct guestmem_options options;
    struct mapped_slot slots[GUESTMEM_SLOTS_MAX];
    unsigned int count;
    void (*written)(void *context, gpa_t address, uint64_t length);
    void *written_context;
};

int guestmem_create(const struct guestmem_options *options, struct guestmem **out,
                    struct error *error)
{
    struct guestmem *memory = calloc(1, sizeof(*memory));
    if (memory == NULL) {
        return error_set(error, ENOMEM, "no memory for the list of memory slots");
    }
    memory->options = *options;
    *out = memory;
    return 0;
}

void guestmem_destroy(struct guestmem *memory)
{
    if (memory == NULL) {
        return;
    }
    for (unsigned int i = 0; i < memory->count; i++) {
        struct mapped_slot *mapped = &memory->slots[i];
        munmap(mapped->slot.host, mapped->slot.length);
        if (mapped->file >= 0) {
            close(mapped->file);
        }
    }
    free(memory);
}

static int check_range(const struct guestmem *memory, gpa_t base, uint64_t length,
                       struct error *error)
{
    if (length == 0 || (length | base.v) % PAGE_SIZE != 0 ||
        !range_within(base.v, length, PHYSICAL_ADDRESSES)) {
        return error_set(error, EINVAL,
                         "guest memory at 0x%llx of 0x%llx bytes is not made of whole pages",
                         (unsigned long long)base.v, (unsigned long long)length);
    }
    for (unsigned int i = 0; i < memory->count; i++) {
        const struct memory_slot *slot = &memory->slots[i].slot;
        if (ranges_overlap(base.v, length, slot->base.v, slot->length)) {
            return error_set(error, EINVAL, "guest memory at 0x%llx overlaps that at 0x%llx",
                             (unsigned long long)base.v, (unsigned long long)slot->base.v);
        }
    }
    return 0;
}

/* Returns the descriptor of a new memfd of that length, or -errno. */
static int open_shared_file(uint64_t length)
{
    int file = memfd_create("trapeze-guest-memory", MFD_CLOEXEC);
    if (file < 0) {
        return -errno;
    }
    if (ftruncate(file, (off_t)length) < 0) {
        int code = -errno;
        close(file);
        return code;
    }
    return file;
}

/*
 * Maps length bytes such that host and guest agree on what is 2 MiB aligned (otherwise neither
 * the host's page tables nor an engine's can use huge pages). Returns NULL with errno set.
 *
 * Nothing is touched: a page costs the host only when the guest first uses it.
 */
static uint8_t *map_memory(uint64_t length, uint64_t guest_base, int file)
{
    bool huge = length >= HUGE_PAGE_SIZE;
    uint64_t reserved = huge ? length + HUGE_PAGE_SIZE : length;
    if (reserved < length || reserved > SIZE_MAX / 2) {
        errno = ENOMEM;
        return NULL;
    }
    uint8_t *space =
        mmap(NULL, reserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (space == MAP_FAILED) {
        return NULL;
    }
    uint64_t skip = huge ? (guest_base - (uint64_t)(uintptr_t)space) % HUGE_PAGE_SIZE : 0;
    int kind = file >= 0 ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    uint8_t *host = mmap(space + skip, length, PROT_READ | PROT_WRITE, kind | MAP_FIXED, file, 0);
    if (host == MAP_FAILED) {
        int code = errno;
        munmap(space, reserved);
        errno = code;
        return NULL;
    }
    if (skip != 0) {
        munmap(space, skip);
    }
    if (reserved - skip - length != 0) {
        munmap(host + length, reserved - skip - length);
    }
    /*
     * Advice: a host without huge pages, or without dumps, refuses it and nothing is lost. The
     * lowest 2 MiB are touched here and there by whatever boots: a huge page would be cleared for
     * some KiB, which was a tenth of all that a small guest's start took.
     */
    if (huge) {
        uint64_t low = guest_base < HUGE_PAGE_SIZE ? HUGE_PAGE_SIZE - guest_base : 0;
        madvise(host, low, MADV_NOHUGEPAGE);
        madvise(host + low, length - low, MADV_HUGEPAGE);
    }
    madvise(host, length, MADV_DONTDUMP);
    return host;
}

int guestmem_add(struct guestmem *memory, gpa_t base, uint64_t length, unsigned int flags,
                 struct error *error)
{
    if (memory->count == GUESTMEM_SLOTS_MAX) {
        return error_set(error, ENOSPC, "more than %d memory slots", GUESTMEM_SLOTS_MAX);
    }
    int code = check_range(memory, base, length, error);
    if (code != 0) {
        return code;
    }
    int file = -1;
    if (memory->options.shared) {
        file = open_shared_file(length);
        if (file < 0) {
            return error_set_errno(error, file,
                                   "can't create a shared file of %llu MiB for the "
                                   "guest's memory",
                                   (unsigned long long)(length >> 20));
        }
    }
    uint8_t *host = map_memory(length, base.v, file);
    if (host == NULL) {
        code = error_set_errno(error, errno, "can't map %llu MiB for the guest's memory",
                               (unsigned long long)(length >> 20));
        if (file >= 0) {
            close(file);
        }
        return code;
    }
    struct memory_slot slot = {
        .index = memory->count, .base = base, .length = length, .host = host, .flags = flags};
    memory->slots[memory->count++] = (struct mapped_slot){.slot = slot, .file = file};
    return 0;
}

unsigned int guestmem_slot_count(const struct guestmem *memory)
{
    return memory->count;
}

const struct memory_slot *guestmem_slot(const struct guestmem *memory, unsigned int index)
{
    return index < memory->count ? &memory->slots[index].slot : NULL;
}

int guestmem_file(const struct guestmem *memory, unsigned int index)
{
    return index < memory->count ? memory->slots[index].file : -1;
}

const struct memory_slot *guestmem_find(const struct guestmem *memory, gpa_t address)
{
    for (unsigned int i = 0; i < memory->count; i++) {
        const struct memory_slot *slot = &memory->slots[i].slot;
        if (address.v - slot->base.v < slot->length) {
            return slot;
        }
    }
    return NULL;
}

void *guestmem_pointer(const struct guestmem *memory, gpa_t address, uint64_t length)
{
    const struct memory_slot *slot = guestmem_find(memory, address);
    if (slot == NULL || !range_within(address.v - slot->base.v, length, slot->length)) {
        return NULL;
    }
    return slot->host + (address.v - slot->base.v);
}

/*
 * The host address of the part of [address, address + length) that lies within one slot; *part
 * is set to its length. NULL when no slot holds the address or, for a write, a ROM does.
 */
static uint8_t *find_part(const struct guestmem *memory, gpa_t address, size_t length, bool write,
                          size_t *part)
{
    const struct memory_slot *slot = guestmem_find(memory, address);
    if (slot == NULL || (write && (slot->flags & GUESTMEM_READ_ONLY) != 0)) {
        return NULL;
    }
    uint64_t offset = address.v - slot->base.v;
    uint64_t rest = slot->length - offset;
    *part = rest < length ? (size_t)rest : length;
    return slot->host + offset;
}

/* True if every byte can be copied. At most one step for each slot: they don't overlap. */
static bool covered(const struct guestmem *memory, gpa_t address, size_t length, bool write)
{
    size_t part = 0;
    for (size_t done = 0; done < length; done += part) {
        if (find_part(memory, gpa_add(address, done), length - done, write, &part) == NULL) {
            return false;
        }
    }
    return true;
}

int guestmem_read(const struct guestmem *memory, gpa_t address, void *buffer, size_t length)
{
    if (!covered(memory, address, length, false)) {
        return -EFAULT;
    }
    size_t part = 0;
    for (size_t done = 0; done < length; done += part) {
        const uint8_t *host =
            find_part(memory, gpa_add(address, done), length - done, false, &part);
        memcpy((uint8_t *)buffer + done, host, part);
    }
    return 0;
}

int guestmem_write(struct guestmem *memory, gpa_t address, const void *buffer, size_t length)
{
    if (!covered(memory, address, length, true)) {
        return -EFAULT;
    }
    size_t part = 0;
    for (size_t done = 0; done < length; done += part) {
        uint8_t *host = find_part(memory, gpa_add(address, done), length - done, true, &part);
        memcpy(host, (const uint8_t *)buffer + done, part);
    }
    guestmem_written(memory, address, length);
    return 0;
}

void guestmem_written(struct guestmem *memory, gpa_t address, uint64_t length)
{
    if (memory->written != NULL && length != 0) {
        memory->written(memory->written_context, address, length);
    }
}

void guestmem_set_listener(struct guestmem *memory,
                           void (*written)(void *context, gpa_t address, uint64_t length),
                           void *context)
{
    memory->written = written;
    memory->written_context = context;
}

uint64_t guestmem_total(const struct guestmem *memory)
{
    uint64_t total = 0;
    for (unsigned int i = 0; i < memory->count; i++) {
        total += memory->slots[i].slot.length;
    }
    return total;
}
