/*
 * What the device tests share: accesses by an io function, and lines and a control that remember.
 *
 * Owner:  each test executable. Thread: one.
 */
#ifndef TRAPEZE_TESTS_CHIPSET_HELPERS_H
#define TRAPEZE_TESTS_CHIPSET_HELPERS_H

#include <stdbool.h>
#include <stdint.h>

#include "vm/bus.h"
#include "vm/irq.h"
#include "vm/outcome.h"

static inline uint64_t device_read(bus_io_fn *io, void *device, uint64_t offset, uint8_t size)
{
    struct bus_access access = {.offset = offset, .size = size};

    io(device, &access);
    return access.value;
}

static inline void device_write(bus_io_fn *io, void *device, uint64_t offset, uint8_t size,
                                uint64_t value)
{
    struct bus_access access = {.offset = offset, .size = size, .value = value, .is_write = true};

    io(device, &access);
}

/* An interrupt line that counts how often it rises. */
struct watched_line {
    bool level;
    unsigned int rises;
};

static inline void watched_line_set(void *context, unsigned int index, bool level)
{
    struct watched_line *line = context;

    (void)index;
    if (level && !line->level) {
        line->rises++;
    }
    line->level = level;
}

static inline struct irq_line watched_irq(struct watched_line *line)
{
    return (struct irq_line){.set = watched_line_set, .context = line};
}

/* A machine that remembers how it was stopped. */
struct watched_stop {
    unsigned int count;
    enum vm_outcome outcome;
    int code;
};

static inline void watched_stop_stop(void *context, enum vm_outcome outcome, int code)
{
    struct watched_stop *stop = context;

    stop->count++;
    stop->outcome = outcome;
    stop->code = code;
}

static inline struct machine_control watched_control(struct watched_stop *stop)
{
    return (struct machine_control){.stop = watched_stop_stop, .context = stop};
}

#endif
