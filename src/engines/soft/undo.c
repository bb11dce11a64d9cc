#include "engines/soft/undo.h"

#include <string.h>

#include "engines/soft/code.h"
#include "vm/guestmem.h"

static const struct memory_slot *slot_of(const struct soft_cpu *cpu, const uint8_t *host)
{
    const struct guestmem *memory = cpu->vm->memory;
    for (unsigned int i = 0; i < guestmem_slot_count(memory); i++) {
        const struct memory_slot *slot = guestmem_slot(memory, i);
        if (host >= slot->host && host < slot->host + slot->length) {
            return slot;
        }
    }
    return NULL;
}

/* To drop decoded code is nothing that could be taken back: does a store here hit any? */
static bool holds_code(const struct soft_cpu *cpu, uint64_t physical)
{
    const _Atomic(uint64_t) *word = soft_code_word(cpu->vm, physical);
    if (word == NULL) {
        return true;
    }
    unsigned int first = (unsigned int)(physical & SOFT_PAGE_MASK) >> SOFT_GRANULE_SHIFT;
    /* A store of 16 bytes touches this granule and perhaps the next. */
    return (atomic_load(word) >> first & 3) != 0;
}

void soft_undo_note(struct soft_cpu *cpu, void *host, uint64_t linear, unsigned int size)
{
    struct soft_undo *undo = cpu->undo;
    const struct memory_slot *slot = slot_of(cpu, host);
    if (slot == NULL || undo->count == SOFT_UNDO_MAX || size > SOFT_UNDO_BYTES_MAX) {
        soft_restart(cpu);
    }
    uint64_t physical = slot->base.v + (uint64_t)((const uint8_t *)host - slot->host);
    if (holds_code(cpu, physical)) {
        soft_restart(cpu);
    }
    struct soft_undo_entry *entry = &undo->entry[undo->count++];
    entry->host = host;
    entry->linear = linear;
    entry->physical = physical;
    entry->size = (uint8_t)size;
    memcpy(entry->before, host, size);
}

void soft_undo_note_walk(struct soft_cpu *cpu, const void *host)
{
    const struct soft_undo *undo = cpu->undo;
    const uint8_t *at = host;
    for (unsigned int i = 0; i < undo->count; i++) {
        const struct soft_undo_entry *entry = &undo->entry[i];
        if (at < entry->host + entry->size && entry->host < at + sizeof(uint64_t)) {
            soft_restart(cpu);
        }
    }
}

void soft_undo_collect(struct soft_undo *undo)
{
    for (unsigned int i = 0; i < undo->count; i++) {
        struct soft_undo_entry *entry = &undo->entry[i];
        memcpy(entry->after, entry->host, entry->size);
    }
}

void soft_undo_take_back(const struct soft_undo *undo)
{
    for (unsigned int i = undo->count; i-- > 0;) {
        const struct soft_undo_entry *entry = &undo->entry[i];
        memcpy(entry->host, entry->before, entry->size);
    }
}

void soft_undo_put_again(const struct soft_undo *undo)
{
    for (unsigned int i = 0; i < undo->count; i++) {
        const struct soft_undo_entry *entry = &undo->entry[i];
        memcpy(entry->host, entry->after, entry->size);
    }
}
