/*
 * A CPUID table: what a guest is shown, leaf by leaf.
 *
 * Purpose: engines say what they can support, the machine filters and adds topology and the
 *          hypervisor leaves, the engine answers the guest from the result.
 * Source:  Intel SDM volume 2, "CPUID—CPU Identification".
 * Owner:   plain data. Thread: any. Freestanding.
 */
#ifndef TRAPEZE_X86_CPUID_H
#define TRAPEZE_X86_CPUID_H

#include <stdbool.h>
#include <stdint.h>

#include "x86/decode/operation.h"

#define CPUID_ENTRIES_MAX 128 /* a recent Xeon has some sixty of its own */

struct cpuid_registers {
    uint32_t eax, ebx, ecx, edx;
};

struct cpuid_entry {
    uint32_t leaf;
    uint32_t subleaf;
    bool has_subleaf; /* false: the entry answers every subleaf */
    struct cpuid_registers registers;
};

struct cpuid_table {
    unsigned int count;
    struct cpuid_entry entries[CPUID_ENTRIES_MAX];
};

/* The entry for a leaf and subleaf, or NULL. */
struct cpuid_entry *cpuid_find(struct cpuid_table *table, uint32_t leaf, uint32_t subleaf);

/* The registers of the entry for a leaf and subleaf; zeroes if there is none. */
struct cpuid_registers cpuid_get(const struct cpuid_table *table, uint32_t leaf, uint32_t subleaf);

/* Adds or replaces; false when the table is full. */
bool cpuid_set(struct cpuid_table *table, uint32_t leaf, uint32_t subleaf, bool has_subleaf,
               struct cpuid_registers registers);

/*
 * What CPUID answers, with the rules for leaves out of range (those of the highest basic leaf;
 * hypervisor leaves beyond the last: zeroes). The dynamic bits (OSXSAVE, OSPKE, APIC enable,
 * leaf 0xD's size of enabled state) are the engine's to patch afterwards.
 */
struct cpuid_registers cpuid_answer(const struct cpuid_table *table, uint32_t leaf,
                                    uint32_t subleaf);

/* True if the table shows a feature that the decoder names. */
bool cpuid_has(const struct cpuid_table *table, enum x86_feature feature);

/* Runs CPUID on the host. */
struct cpuid_registers cpuid_host(uint32_t leaf, uint32_t subleaf);

#endif
