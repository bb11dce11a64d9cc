#include "vtx/bare/guest_memory.h"

#include <errno.h>
#include <string.h>

const struct memory_slot *guestmem_find(const struct guestmem *memory, gpa_t address)
{
    return address.v < memory->slot.length ? &memory->slot : NULL;
}

void *guestmem_pointer(const struct guestmem *memory, gpa_t address, uint64_t length)
{
    bool is_inside = address.v <= memory->slot.length && length <= memory->slot.length - address.v;
    return is_inside ? memory->slot.host + address.v : NULL;
}

int guestmem_read(const struct guestmem *memory, gpa_t address, void *buffer, size_t length)
{
    const void *from = guestmem_pointer(memory, address, length);
    if (from == NULL) {
        return -EFAULT;
    }
    memcpy(buffer, from, length);
    return 0;
}

int guestmem_write(struct guestmem *memory, gpa_t address, const void *buffer, size_t length)
{
    void *to = guestmem_pointer(memory, address, length);
    if (to == NULL) {
        return -EFAULT;
    }
    memcpy(to, buffer, length);
    return 0;
}

/* Nothing here keeps decoded code of guests. */
void guestmem_written(struct guestmem *memory, gpa_t address, uint64_t length)
{
    (void)memory;
    (void)address;
    (void)length;
}
