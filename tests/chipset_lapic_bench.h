/*
 * A set of local APICs with recorders all around, for the tests of the APIC and of its timer.
 *
 * Owner:  each test executable. Thread: one.
 */
#ifndef TRAPEZE_TESTS_CHIPSET_LAPIC_BENCH_H
#define TRAPEZE_TESTS_CHIPSET_LAPIC_BENCH_H

#include <stdbool.h>
#include <stdint.h>

#include "chipset/lapic.h"
#include "manual_timer.h"

/* Offsets in memory. */
enum {
    ID = 0x20,
    VERSION = 0x30,
    TPR = 0x80,
    PPR = 0xa0,
    EOI = 0xb0,
    LDR = 0xd0,
    DFR = 0xe0,
    SVR = 0xf0,
    ISR = 0x100,
    TMR = 0x180,
    IRR = 0x200,
    ESR = 0x280,
    ICR = 0x300,
    ICR_HIGH = 0x310,
    LVT_TIMER = 0x320,
    LVT_LINT0 = 0x350,
    LVT_ERROR = 0x370,
    INITIAL_COUNT = 0x380,
    CURRENT_COUNT = 0x390,
    DIVIDE = 0x3e0
};

struct bench {
    struct lapics lapics;
    struct lapics_config config;
    struct lapic_signals signals;
    struct manual_timer timers;
    unsigned int changed[LAPICS_MAX], inits[LAPICS_MAX], sipis[LAPICS_MAX], nmis[LAPICS_MAX];
    uint8_t sipi_vector;
    struct {
        uint64_t base;
        void *device;
    } mapped[4];
    unsigned int map_count, unmap_unknown;
    bool refuse_map;
    unsigned int eoi_count, pic_count;
    uint8_t eoi_vector;
    int pic_vector;
    uint64_t tsc_offset; /* the guest's TSC runs at 2 GHz and is this much ahead */
};

static inline void bench_changed(void *context, unsigned int vcpu)
{
    ((struct bench *)context)->changed[vcpu]++;
}

static inline void bench_init(void *context, unsigned int vcpu)
{
    ((struct bench *)context)->inits[vcpu]++;
}

static inline void bench_sipi(void *context, unsigned int vcpu, uint8_t vector)
{
    ((struct bench *)context)->sipis[vcpu]++;
    ((struct bench *)context)->sipi_vector = vector;
}

static inline void bench_nmi(void *context, unsigned int vcpu)
{
    ((struct bench *)context)->nmis[vcpu]++;
}

static inline bool bench_map(void *context, uint64_t base, void *device)
{
    struct bench *bench = context;

    if (bench->refuse_map || bench->map_count == 4) {
        return false;
    }
    bench->mapped[bench->map_count].base = base;
    bench->mapped[bench->map_count++].device = device;
    return true;
}

static inline void bench_unmap(void *context, uint64_t base)
{
    struct bench *bench = context;

    for (unsigned int i = 0; i < bench->map_count; i++) {
        if (bench->mapped[i].base == base) {
            bench->mapped[i] = bench->mapped[--bench->map_count];
            return;
        }
    }
    bench->unmap_unknown++;
}

static inline int bench_pic(void *context)
{
    ((struct bench *)context)->pic_count++;
    return ((struct bench *)context)->pic_vector;
}

static inline void bench_eoi(void *context, uint8_t vector)
{
    ((struct bench *)context)->eoi_count++;
    ((struct bench *)context)->eoi_vector = vector;
}

static inline uint64_t bench_time_of_tsc(void *context, unsigned int vcpu, uint64_t tsc)
{
    const struct bench *bench = context;

    (void)vcpu;
    if (tsc == UINT64_MAX) {
        return UINT64_MAX;
    }
    return tsc <= bench->tsc_offset ? 0 : (tsc - bench->tsc_offset + 1) / 2;
}

static inline void set_up(struct bench *bench, unsigned int count)
{
    *bench = (struct bench){0};
    manual_timer_init(&bench->timers);
    bench->signals = (struct lapic_signals){.interrupt_changed = bench_changed,
                                            .init = bench_init,
                                            .sipi = bench_sipi,
                                            .nmi = bench_nmi,
                                            .map_window = bench_map,
                                            .unmap_window = bench_unmap};
    bench->config = (struct lapics_config){.count = count,
                                           .timers = &bench->timers.host,
                                           .has_x2apic = true,
                                           .has_tsc_deadline = true,
                                           .physical_address_bits = 40,
                                           .signals = &bench->signals,
                                           .signals_context = bench,
                                           .time_of_tsc = bench_time_of_tsc,
                                           .tsc_context = bench,
                                           .pic_acknowledge = bench_pic,
                                           .pic_context = bench,
                                           .eoi = bench_eoi,
                                           .eoi_context = bench};
    lapics_init(&bench->lapics, &bench->config);
}

/* An access to the page at the default base. */
static inline uint64_t access_window(struct bench *bench, unsigned int vcpu, uint64_t offset,
                                     uint8_t size, bool is_write, uint64_t value)
{
    struct bus_access access = {
        .offset = offset, .value = value, .vcpu = vcpu, .size = size, .is_write = is_write};

    lapic_window_io(bench->mapped[0].device, &access);
    return access.value;
}

static inline uint32_t read_apic(struct bench *bench, unsigned int vcpu, uint64_t offset)
{
    return (uint32_t)access_window(bench, vcpu, offset, 4, false, 0);
}

static inline void write_apic(struct bench *bench, unsigned int vcpu, uint64_t offset,
                              uint32_t value)
{
    access_window(bench, vcpu, offset, 4, true, value);
}

static inline void set_up_enabled(struct bench *bench, unsigned int count)
{
    set_up(bench, count);
    for (unsigned int i = 0; i < count; i++) {
        write_apic(bench, i, SVR, 0x1ff);
    }
}

/* The value of an MSR that must be readable; a pattern nobody expects if it is not. */
static inline uint64_t read_msr(struct bench *bench, unsigned int vcpu, uint32_t index)
{
    uint64_t value = 0;

    return lapics_rdmsr(&bench->lapics, vcpu, index, &value) ? value : UINT64_C(0xdeadbeefdead);
}

static inline bool write_msr(struct bench *bench, unsigned int vcpu, uint32_t index, uint64_t value)
{
    return lapics_wrmsr(&bench->lapics, vcpu, index, value);
}

/* Messages to a physical or logical destination; send and send_logical are fixed edges. */
static inline bool send_data(struct bench *bench, uint8_t destination, uint32_t data)
{
    struct msi_message message = {.address = 0xfee00000 | (uint64_t)destination << 12,
                                  .data = data};

    return lapics_msi(&bench->lapics, &message);
}

static inline bool send(struct bench *bench, uint8_t destination, uint8_t vector)
{
    return send_data(bench, destination, vector);
}

static inline bool send_logical(struct bench *bench, uint8_t destination, uint8_t vector)
{
    struct msi_message message = {.address = 0xfee00004 | (uint64_t)destination << 12,
                                  .data = vector};

    return lapics_msi(&bench->lapics, &message);
}

/* Which vCPUs have a vector in their IRR, as a mask. */
static inline uint64_t accepted(struct bench *bench, uint8_t vector)
{
    uint64_t mask = 0;

    for (unsigned int i = 0; i < bench->config.count; i++) {
        if ((bench->lapics.apics[i].irr[vector / 32] >> (vector % 32) & 1) != 0) {
            mask |= UINT64_C(1) << i;
        }
    }
    return mask;
}

#endif
