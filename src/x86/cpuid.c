#include "x86/cpuid.h"

#include <stddef.h>

#define LEAF_TOPOLOGY   0xbu
#define LEAF_HYPERVISOR 0x40000000u
#define LEAF_EXTENDED   0x80000000u
#define RANGE_MASK      0xc0000000u

static const struct cpuid_entry *find(const struct cpuid_table *table, uint32_t leaf,
                                      uint32_t subleaf)
{
    for (unsigned int i = 0; i < table->count; i++) {
        const struct cpuid_entry *entry = &table->entries[i];
        if (entry->leaf == leaf && (!entry->has_subleaf || entry->subleaf == subleaf)) {
            return entry;
        }
    }
    return NULL;
}

struct cpuid_entry *cpuid_find(struct cpuid_table *table, uint32_t leaf, uint32_t subleaf)
{
    /* The table is the caller's to change, so the entry is. */
    return (struct cpuid_entry *)(uintptr_t)find(table, leaf, subleaf);
}

struct cpuid_registers cpuid_get(const struct cpuid_table *table, uint32_t leaf, uint32_t subleaf)
{
    const struct cpuid_entry *entry = find(table, leaf, subleaf);
    return entry != NULL ? entry->registers : (struct cpuid_registers){0};
}

bool cpuid_set(struct cpuid_table *table, uint32_t leaf, uint32_t subleaf, bool has_subleaf,
               struct cpuid_registers registers)
{
    struct cpuid_entry *entry = cpuid_find(table, leaf, subleaf);
    if (entry == NULL) {
        if (table->count >= CPUID_ENTRIES_MAX) {
            return false;
        }
        entry = &table->entries[table->count++];
    }
    *entry = (struct cpuid_entry){.leaf = leaf,
                                  .subleaf = has_subleaf ? subleaf : 0,
                                  .has_subleaf = has_subleaf,
                                  .registers = registers};
    return true;
}

/* The highest leaf of the range that a leaf is in, as the range's first leaf says. */
static uint32_t highest_leaf(const struct cpuid_table *table, uint32_t leaf)
{
    const struct cpuid_entry *first = find(table, leaf & RANGE_MASK, 0);
    return first != NULL ? first->registers.eax : 0;
}

struct cpuid_registers cpuid_answer(const struct cpuid_table *table, uint32_t leaf,
                                    uint32_t subleaf)
{
    bool in_hypervisor_range = (leaf & RANGE_MASK) == LEAF_HYPERVISOR;
    if (leaf > highest_leaf(table, leaf)) {
        if (in_hypervisor_range) {
            return (struct cpuid_registers){0};
        }
        leaf = highest_leaf(table, 0);
    }
    const struct cpuid_entry *entry = find(table, leaf, subleaf);
    if (entry != NULL) {
        return entry->registers;
    }
    struct cpuid_registers answer = {0};
    const struct cpuid_entry *topology = find(table, LEAF_TOPOLOGY, 0);
    if (leaf == LEAF_TOPOLOGY && topology != NULL) {
        /* Beyond the last level: its number comes back, and the x2APIC id. */
        answer.ecx = subleaf & 0xff;
        answer.edx = topology->registers.edx;
    }
    return answer;
}

enum output { EAX, EBX, ECX, EDX };

/* Where CPUID tells of a feature. */
struct feature_bit {
    uint32_t leaf;
    uint32_t subleaf;
    enum output output;
    unsigned int bit;
};

static const struct feature_bit feature_bits[X86_FEATURE_COUNT] = {
    [X86_FEATURE_FPU] = {1, 0, EDX, 0},
    [X86_FEATURE_TSC] = {1, 0, EDX, 4},
    [X86_FEATURE_MSR] = {1, 0, EDX, 5},
    [X86_FEATURE_CX8] = {1, 0, EDX, 8},
    [X86_FEATURE_SEP] = {1, 0, EDX, 11},
    [X86_FEATURE_CMOV] = {1, 0, EDX, 15},
    [X86_FEATURE_CLFLUSH] = {1, 0, EDX, 19},
    [X86_FEATURE_MMX] = {1, 0, EDX, 23},
    [X86_FEATURE_FXSR] = {1, 0, EDX, 24},
    [X86_FEATURE_SSE] = {1, 0, EDX, 25},
    [X86_FEATURE_SSE2] = {1, 0, EDX, 26},
    [X86_FEATURE_SSE3] = {1, 0, ECX, 0},
    [X86_FEATURE_PCLMULQDQ] = {1, 0, ECX, 1},
    [X86_FEATURE_MONITOR] = {1, 0, ECX, 3},
    [X86_FEATURE_VMX] = {1, 0, ECX, 5},
    [X86_FEATURE_SSSE3] = {1, 0, ECX, 9},
    [X86_FEATURE_FMA] = {1, 0, ECX, 12},
    [X86_FEATURE_CX16] = {1, 0, ECX, 13},
    [X86_FEATURE_SSE4_1] = {1, 0, ECX, 19},
    [X86_FEATURE_SSE4_2] = {1, 0, ECX, 20},
    [X86_FEATURE_MOVBE] = {1, 0, ECX, 22},
    [X86_FEATURE_POPCNT] = {1, 0, ECX, 23},
    [X86_FEATURE_AES] = {1, 0, ECX, 25},
    [X86_FEATURE_XSAVE] = {1, 0, ECX, 26},
    [X86_FEATURE_AVX] = {1, 0, ECX, 28},
    [X86_FEATURE_F16C] = {1, 0, ECX, 29},
    [X86_FEATURE_RDRAND] = {1, 0, ECX, 30},
    [X86_FEATURE_FSGSBASE] = {7, 0, EBX, 0},
    [X86_FEATURE_BMI1] = {7, 0, EBX, 3},
    [X86_FEATURE_AVX2] = {7, 0, EBX, 5},
    [X86_FEATURE_BMI2] = {7, 0, EBX, 8},
    [X86_FEATURE_INVPCID] = {7, 0, EBX, 10},
    [X86_FEATURE_RDSEED] = {7, 0, EBX, 18},
    [X86_FEATURE_ADX] = {7, 0, EBX, 19},
    [X86_FEATURE_SMAP] = {7, 0, EBX, 20},
    [X86_FEATURE_CLFLUSHOPT] = {7, 0, EBX, 23},
    [X86_FEATURE_CLWB] = {7, 0, EBX, 24},
    [X86_FEATURE_SHA] = {7, 0, EBX, 29},
    [X86_FEATURE_PKU] = {7, 0, ECX, 3},
    [X86_FEATURE_GFNI] = {7, 0, ECX, 8},
    [X86_FEATURE_VAES] = {7, 0, ECX, 9},
    [X86_FEATURE_VPCLMULQDQ] = {7, 0, ECX, 10},
    [X86_FEATURE_RDPID] = {7, 0, ECX, 22},
    [X86_FEATURE_AVX_VNNI] = {7, 1, EAX, 4},
    [X86_FEATURE_XSAVEOPT] = {0xd, 1, EAX, 0},
    [X86_FEATURE_XSAVEC] = {0xd, 1, EAX, 1},
    [X86_FEATURE_XSAVES] = {0xd, 1, EAX, 3},
    [X86_FEATURE_LZCNT] = {LEAF_EXTENDED + 1, 0, ECX, 5},
    [X86_FEATURE_SSE4A] = {LEAF_EXTENDED + 1, 0, ECX, 6},
    [X86_FEATURE_SYSCALL] = {LEAF_EXTENDED + 1, 0, EDX, 11},
    [X86_FEATURE_RDTSCP] = {LEAF_EXTENDED + 1, 0, EDX, 27},
};

bool cpuid_has(const struct cpuid_table *table, enum x86_feature feature)
{
    if (feature == X86_FEATURE_BASE) {
        return true;
    }
    if (feature >= X86_FEATURE_COUNT) {
        return false;
    }
    const struct feature_bit *where = &feature_bits[feature];
    if (where->leaf > highest_leaf(table, where->leaf)) {
        return false;
    }
    struct cpuid_registers answer = cpuid_answer(table, where->leaf, where->subleaf);
    const uint32_t outputs[] = {answer.eax, answer.ebx, answer.ecx, answer.edx};
    return (outputs[where->output] >> where->bit & 1) != 0;
}

struct cpuid_registers cpuid_host(uint32_t leaf, uint32_t subleaf)
{
    struct cpuid_registers answer;
    __asm__ volatile("cpuid"
                     : "=a"(answer.eax), "=b"(answer.ebx), "=c"(answer.ecx), "=d"(answer.edx)
                     : "a"(leaf), "c"(subleaf));
    return answer;
}
