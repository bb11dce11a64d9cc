#include "machine/cpu_template.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#define LEAF_FEATURES             0x1u
#define LEAF_CACHES               0x4u
#define LEAF_TOPOLOGY             0xbu
#define LEAF_HYPERVISOR           0x40000000u
#define LEAF_HYPERVISOR_FEATURES  0x40000001u
#define LEAF_HYPERVISOR_FREQUENCY 0x40000010u
#define LEAF_EXTENDED_FEATURES    0x80000001u
#define LEAF_ADDRESS_SIZES        0x80000008u

#define FEATURES_ECX_X2APIC       (1u << 21)
#define FEATURES_ECX_TSC_DEADLINE (1u << 24)
#define FEATURES_ECX_HYPERVISOR   (1u << 31)
#define FEATURES_EDX_APIC         (1u << 9)
#define FEATURES_EDX_HTT          (1u << 28)
/* AMD: the cores of a package are no threads; and the leaves 0x8000001D and 0x8000001E. */
#define EXTENDED_ECX_CMP_LEGACY (1u << 1)
#define EXTENDED_ECX_TOPOEXT    (1u << 22)

#define KVM_CLOCKSOURCE2       (1u << 3)
#define KVM_NOP_IO_DELAY       (1u << 1)
#define KVM_CLOCKSOURCE_STABLE (1u << 24)

#define LOCAL_APIC_BUS_KHZ 1000000u /* one tick a nanosecond, as chipset/lapic.h has it */
#define PHYSICAL_BITS      40u      /* what is shown when the engine says nothing */
#define CACHE_SUBLEAVES    8u

/* How many bits number the cores of a package. */
static unsigned int core_bits(unsigned int count)
{
    unsigned int bits = 0;
    while ((1u << bits) < count) {
        bits++;
    }
    return bits;
}

static struct cpuid_registers *find(struct cpuid_table *table, uint32_t leaf, uint32_t subleaf)
{
    struct cpuid_entry *entry = cpuid_find(table, leaf, subleaf);
    return entry != NULL ? &entry->registers : NULL;
}

/* Leaf 1: the APIC's id, how many ids the package has, and what the local APIC can do. */
static void apply_features(const struct cpu_template *template, unsigned int index,
                           struct cpuid_table *table)
{
    struct cpuid_registers *features = find(table, LEAF_FEATURES, 0);
    if (features == NULL) {
        return;
    }
    features->ebx &= 0x0000ffffu;
    features->ebx |= index << 24 | (1u << core_bits(template->vcpu_count)) << 16;
    features->ecx |= FEATURES_ECX_HYPERVISOR;
    features->edx &= ~FEATURES_EDX_HTT;
    if (template->vcpu_count > 1) {
        features->edx |= FEATURES_EDX_HTT;
    }
    if (template->has_local_apic) {
        features->edx |= FEATURES_EDX_APIC;
        features->ecx &= ~(FEATURES_ECX_TSC_DEADLINE | FEATURES_ECX_X2APIC);
        features->ecx |= template->has_x2apic ? FEATURES_ECX_X2APIC : 0;
        features->ecx |= template->has_tsc_deadline ? FEATURES_ECX_TSC_DEADLINE : 0;
    }
}

/* Leaf 4: every core has caches of its own but for the last level, which all share. */
static void apply_caches(const struct cpu_template *template, struct cpuid_table *table)
{
    uint32_t core_ids = (1u << core_bits(template->vcpu_count)) - 1;
    for (uint32_t subleaf = 0; subleaf < CACHE_SUBLEAVES; subleaf++) {
        struct cpuid_registers *cache = find(table, LEAF_CACHES, subleaf);
        if (cache == NULL || (cache->eax & 0x1f) == 0) {
            return;
        }
        uint32_t level = cache->eax >> 5 & 7;
        cache->eax &= 0x3fffu;
        cache->eax |= core_ids << 26 | (level >= 3 ? core_ids : 0) << 14;
    }
}

/* Leaf 0xB: one thread a core, all cores in one package, numbered by their APIC ids. */
static bool apply_topology(const struct cpu_template *template, unsigned int index,
                           struct cpuid_table *table)
{
    enum { LEVEL_THREAD = 1, LEVEL_CORE = 2 };
    struct cpuid_registers thread = {.ebx = 1, .ecx = LEVEL_THREAD << 8, .edx = index};
    struct cpuid_registers core = {.eax = core_bits(template->vcpu_count),
                                   .ebx = template->vcpu_count,
                                   .ecx = 1 | LEVEL_CORE << 8,
                                   .edx = index};
    struct cpuid_registers end = {.ecx = 2, .edx = index};
    return cpuid_set(table, LEAF_TOPOLOGY, 0, true, thread) &&
           cpuid_set(table, LEAF_TOPOLOGY, 1, true, core) &&
           cpuid_set(table, LEAF_TOPOLOGY, 2, true, end);
}

/* AMD's way to tell the same. */
static void apply_amd_topology(const struct cpu_template *template, struct cpuid_table *table)
{
    struct cpuid_registers *features = find(table, LEAF_EXTENDED_FEATURES, 0);
    struct cpuid_registers *sizes = find(table, LEAF_ADDRESS_SIZES, 0);
    if (features != NULL) {
        features->ecx &= ~(EXTENDED_ECX_TOPOEXT | EXTENDED_ECX_CMP_LEGACY);
        features->ecx |= template->vcpu_count > 1 ? EXTENDED_ECX_CMP_LEGACY : 0;
    }
    if (sizes != NULL) {
        sizes->ecx = core_bits(template->vcpu_count) << 12 | (template->vcpu_count - 1);
    }
}

/*
 * The hypervisor leaves. An engine that knows KVM's features itself has put them there; where it
 * only serves the clock we say so, in the words that stock Linux understands.
 */
static bool apply_hypervisor(const struct cpu_template *template, struct cpuid_table *table)
{
    static const char signature[12] = "KVMKVMKVM";
    if (find(table, LEAF_HYPERVISOR, 0) != NULL || !template->has_clock) {
        return true;
    }
    struct cpuid_registers head = {.eax = LEAF_HYPERVISOR_FREQUENCY};
    memcpy(&head.ebx, signature, 4);
    memcpy(&head.ecx, signature + 4, 4);
    memcpy(&head.edx, signature + 8, 4);
    struct cpuid_registers features = {.eax = KVM_CLOCKSOURCE2 | KVM_NOP_IO_DELAY |
                                              KVM_CLOCKSOURCE_STABLE};
    struct cpuid_registers frequency = {.eax = (uint32_t)(template->tsc_hz / 1000),
                                        .ebx = LOCAL_APIC_BUS_KHZ};
    return cpuid_set(table, LEAF_HYPERVISOR, 0, false, head) &&
           cpuid_set(table, LEAF_HYPERVISOR_FEATURES, 0, false, features) &&
           cpuid_set(table, LEAF_HYPERVISOR_FREQUENCY, 0, false, frequency);
}

/* Leaf 0 says up to where basic leaves go. */
static void raise_maximum(struct cpuid_table *table)
{
    struct cpuid_registers *first = find(table, 0, 0);
    if (first != NULL && first->eax < LEAF_TOPOLOGY) {
        first->eax = LEAF_TOPOLOGY;
    }
}

int cpu_template_apply(const struct cpu_template *template, unsigned int index,
                       const struct cpuid_table *supported, struct cpuid_table *table,
                       struct error *error)
{
    *table = *supported;
    apply_features(template, index, table);
    apply_caches(template, table);
    apply_amd_topology(template, table);
    if (!apply_topology(template, index, table) || !apply_hypervisor(template, table)) {
        return error_set(error, ENOSPC, "the CPUID table of vCPU %u has no room left", index);
    }
    raise_maximum(table);
    return 0;
}

uint8_t cpu_template_physical_bits(struct cpuid_table *table)
{
    const struct cpuid_registers *sizes = find(table, LEAF_ADDRESS_SIZES, 0);
    return sizes != NULL && (sizes->eax & 0xff) != 0 ? (uint8_t)(sizes->eax & 0xff) : PHYSICAL_BITS;
}
