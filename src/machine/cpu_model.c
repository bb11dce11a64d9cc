#include "machine/cpu_model.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/host_file.h"
#include "base/log.h"

#define LEAF_FEATURES          0x1u
#define LEAF_MORE_FEATURES     0x7u
#define LEAF_XSAVE             0xdu
#define LEAF_HYPERVISOR_FIRST  0x40000000u
#define LEAF_HYPERVISOR_LAST   0x400000ffu
#define LEAF_EXTENDED_FEATURES 0x80000001u
#define LEAF_ADDRESS_SIZES     0x80000008u

enum output { EAX, EBX, ECX, EDX };

/* One register of a leaf: the bits that a model must have, and those that it may. */
struct rule {
    uint32_t leaf, subleaf;
    enum output output;
    uint32_t needed, allowed;
};

#define BIT(n) (1u << (n))

/* CPUID.1:EDX of every x86-64: FPU to PAT but for reserved bits, CLFLUSH, MMX, FXSR, SSE, SSE2. */
#define BASE_EDX 0x0789fbffu
/* FPU, TSC, MSR, PAE, CX8, CMOV, MMX, FXSR, SSE, SSE2: without them there are no 64-bit programs.
 */
#define BASE_NEEDED 0x07808171u
#define HTT         BIT(28)
/* SSE3, SSSE3, CMPXCHG16B, SSE4.1, SSE4.2, POPCNT. */
#define V2_ECX (BIT(0) | BIT(9) | BIT(13) | BIT(19) | BIT(20) | BIT(23))
/* FMA, MOVBE, XSAVE, AVX, F16C. */
#define V3_ECX (V2_ECX | BIT(12) | BIT(22) | BIT(26) | BIT(28) | BIT(29))
/* x2APIC, the TSC-deadline timer, "there is a hypervisor": the machine's affair. */
#define MACHINE_ECX (BIT(21) | BIT(24) | BIT(31))
/* BMI1, AVX2, BMI2. */
#define V3_EBX (BIT(3) | BIT(5) | BIT(8))
/* FSGSBASE, SMEP, ERMS, INVPCID: processors of that level have them, and kernels use them. */
#define V3_KERNEL_EBX (BIT(0) | BIT(7) | BIT(9) | BIT(10))
/* What says how to guard against speculation: MD_CLEAR, IBRS, STIBP, ARCH_CAPABILITIES, SSBD. */
#define GUARDS_EDX (BIT(10) | BIT(26) | BIT(27) | BIT(29) | BIT(31))
/* The same on AMD: IBPB, IBRS, STIBP, SSBD. */
#define AMD_GUARDS_EBX (BIT(12) | BIT(14) | BIT(15) | BIT(24))
#define LAHF           BIT(0)
#define CMP_LEGACY     BIT(1)
#define LZCNT          BIT(5)
/* SYSCALL, NX and long mode; AMD repeats CPUID.1:EDX there. */
#define EXTENDED_EDX         (BIT(11) | BIT(29))
#define EXTENDED_ALLOWED_EDX (BIT(20) | (BASE_EDX & 0x0183f3ffu))

static const struct rule v2_rules[] = {
    {LEAF_FEATURES, 0, ECX, V2_ECX, MACHINE_ECX},
    {LEAF_FEATURES, 0, EDX, BASE_NEEDED, BASE_EDX | HTT},
    {LEAF_MORE_FEATURES, 0, EBX, 0, 0},
    {LEAF_MORE_FEATURES, 0, ECX, 0, 0},
    {LEAF_MORE_FEATURES, 0, EDX, 0, GUARDS_EDX},
    {LEAF_EXTENDED_FEATURES, 0, ECX, LAHF, CMP_LEGACY},
    {LEAF_EXTENDED_FEATURES, 0, EDX, EXTENDED_EDX, EXTENDED_ALLOWED_EDX},
    {LEAF_ADDRESS_SIZES, 0, EBX, 0, AMD_GUARDS_EBX},
    {LEAF_XSAVE, 0, EAX, 0, 0},
    {LEAF_XSAVE, 1, EAX, 0, 0},
};

static const struct rule v3_rules[] = {
    {LEAF_FEATURES, 0, ECX, V3_ECX, MACHINE_ECX},
    {LEAF_FEATURES, 0, EDX, BASE_NEEDED, BASE_EDX | HTT},
    {LEAF_MORE_FEATURES, 0, EBX, V3_EBX, V3_KERNEL_EBX},
    {LEAF_MORE_FEATURES, 0, ECX, 0, 0},
    {LEAF_MORE_FEATURES, 0, EDX, 0, GUARDS_EDX},
    {LEAF_EXTENDED_FEATURES, 0, ECX, LAHF | LZCNT, CMP_LEGACY},
    {LEAF_EXTENDED_FEATURES, 0, EDX, EXTENDED_EDX, EXTENDED_ALLOWED_EDX},
    {LEAF_ADDRESS_SIZES, 0, EBX, 0, AMD_GUARDS_EBX},
    {LEAF_XSAVE, 0, EAX, 7, 0},      /* x87, SSE, AVX */
    {LEAF_XSAVE, 1, EAX, 0, BIT(0)}, /* XSAVEOPT */
};

/* XSAVE's state components: what follows AVX goes with its feature. */
#define COMPONENT_AVX 2u

static const struct model {
    const char *name;
    const struct rule *rules;
    unsigned int count;
    uint32_t last_component; /* the last subleaf of leaf 0xD that stays */
} models[] = {
    {"x86-64-v2", v2_rules, sizeof(v2_rules) / sizeof(v2_rules[0]), 1},
    {"x86-64-v3", v3_rules, sizeof(v3_rules) / sizeof(v3_rules[0]), COMPONENT_AVX},
};

static uint32_t *output_of(struct cpuid_registers *registers, enum output output)
{
    uint32_t *const outputs[] = {&registers->eax, &registers->ebx, &registers->ecx,
                                 &registers->edx};
    return outputs[output];
}

static int apply_rule(const char *model, const struct rule *rule, struct cpuid_table *table,
                      struct error *error)
{
    static const char *const names[] = {"EAX", "EBX", "ECX", "EDX"};
    struct cpuid_entry *entry = cpuid_find(table, rule->leaf, rule->subleaf);
    uint32_t nothing = 0;
    uint32_t *bits = entry != NULL ? output_of(&entry->registers, rule->output) : &nothing;
    uint32_t missing = rule->needed & ~*bits;
    if (missing != 0) {
        return error_set(error, EINVAL,
                         "this engine's CPU is no %s: CPUID leaf 0x%x lacks 0x%x in %s (--cpu host "
                         "takes what there is)",
                         model, rule->leaf, missing, names[rule->output]);
    }
    *bits &= rule->needed | rule->allowed;
    return 0;
}

/* Keeps the entries for which the answer is true. */
static void keep_entries(struct cpuid_table *table, const struct model *model)
{
    unsigned int kept = 0;
    for (unsigned int i = 0; i < table->count; i++) {
        const struct cpuid_entry *entry = &table->entries[i];
        bool is_component = entry->leaf == LEAF_XSAVE && entry->subleaf > model->last_component;
        bool is_newer = entry->leaf == LEAF_MORE_FEATURES && entry->subleaf > 0;
        if (!is_component && !is_newer) {
            table->entries[kept++] = *entry;
        }
    }
    table->count = kept;
}

static int apply_model(const struct model *model, struct cpuid_table *table, struct error *error)
{
    int result = 0;
    for (unsigned int i = 0; result == 0 && i < model->count; i++) {
        result = apply_rule(model->name, &model->rules[i], table, error);
    }
    if (result == 0) {
        keep_entries(table, model);
    }
    return result;
}

/* Files */

/* What stands before a line in the log, which may be saved as a file. */
#define LOG_PREFIX "cpuid: "

#define BLANKS   " \t\r"
#define FILE_MAX 65536 /* bytes; a table of all leaves has some 5000 */

static bool is_hypervisor_leaf(uint32_t leaf)
{
    return leaf >= LEAF_HYPERVISOR_FIRST && leaf <= LEAF_HYPERVISOR_LAST;
}

/* One to eight hexadecimal digits and nothing else, but for a "0x" before them. */
static bool parse_word(const char *word, uint32_t *value)
{
    word += word[0] == '0' && (word[1] == 'x' || word[1] == 'X') ? 2 : 0;
    size_t length = strlen(word);
    if (length == 0 || length > 8 || strspn(word, "0123456789abcdefABCDEF") != length) {
        return false;
    }
    *value = (uint32_t)strtoul(word, NULL, 16);
    return true;
}

/* False: no line of the form that cpu_model.h describes. Takes the line to pieces. */
static bool parse_line(char *line, struct cpuid_entry *entry)
{
    struct cpuid_registers *registers = &entry->registers;
    uint32_t *const values[] = {&entry->leaf,    &entry->subleaf, &registers->eax,
                                &registers->ebx, &registers->ecx, &registers->edx};
    const size_t count = sizeof(values) / sizeof(values[0]);
    size_t found = 0;
    char *rest = line;
    entry->subleaf = 0;
    entry->has_subleaf = true;
    for (const char *word; (word = strtok_r(rest, BLANKS, &rest)) != NULL; found++) {
        if (found == 1 && strcmp(word, "*") == 0) {
            entry->has_subleaf = false;
        } else if (found == count || !parse_word(word, values[found])) {
            return false;
        }
    }
    return found == count;
}

/* What the machine sets and clears as it is made: a saved table has them as they were there. */
static uint32_t bits_of_machine(uint32_t leaf, enum output output)
{
    if (leaf == LEAF_FEATURES) {
        return output == ECX ? MACHINE_ECX : output == EDX ? HTT | BIT(9) /* APIC */ : 0;
    }
    return leaf == LEAF_EXTENDED_FEATURES && output == ECX ? CMP_LEGACY : 0;
}

/* A feature that the engine does not have would be a lie. */
static int check_features(const struct cpuid_table *offered, const struct cpuid_entry *entry,
                          const char *path, unsigned int line, struct error *error)
{
    struct cpuid_registers wanted = entry->registers;
    struct cpuid_registers there = cpuid_answer(offered, entry->leaf, entry->subleaf);
    for (unsigned int i = 0; i < sizeof(v3_rules) / sizeof(v3_rules[0]); i++) {
        const struct rule *rule = &v3_rules[i];
        if (rule->leaf != entry->leaf || rule->subleaf != entry->subleaf) {
            continue;
        }
        uint32_t missing = *output_of(&wanted, rule->output) & ~*output_of(&there, rule->output);
        missing &= ~bits_of_machine(rule->leaf, rule->output);
        if (missing != 0) {
            return error_set(error, EINVAL,
                             "%s, line %u: this engine's CPU lacks 0x%x of leaf 0x%x", path, line,
                             missing, entry->leaf);
        }
    }
    return 0;
}

static int add_line(char *words, const char *path, unsigned int line,
                    const struct cpuid_table *offered, struct cpuid_table *table,
                    struct error *error)
{
    struct cpuid_entry entry;
    if (!parse_line(words, &entry)) {
        return error_set(error, EINVAL,
                         "%s, line %u: is not LEAF SUBLEAF EAX EBX ECX EDX in hexadecimal", path,
                         line);
    }
    int result = check_features(offered, &entry, path, line, error);
    if (result == 0 && !is_hypervisor_leaf(entry.leaf) &&
        !cpuid_set(table, entry.leaf, entry.subleaf, entry.has_subleaf, entry.registers)) {
        return error_set(error, EINVAL, "%s has too many lines", path);
    }
    return result;
}

/* Takes the content to pieces. */
static int read_lines(char *content, const char *path, const struct cpuid_table *offered,
                      struct cpuid_table *table, struct error *error)
{
    char *rest = content;
    for (unsigned int line = 1; rest != NULL; line++) {
        char *text = strsep(&rest, "\n");
        text[strcspn(text, "#")] = '\0';
        char *logged = strstr(text, LOG_PREFIX);
        char *words = logged != NULL ? logged + strlen(LOG_PREFIX) : text;
        bool is_empty = words[strspn(words, BLANKS)] == '\0';
        int result = is_empty ? 0 : add_line(words, path, line, offered, table, error);
        if (result != 0) {
            return result;
        }
    }
    return table->count != 0 ? 0 : error_set(error, EINVAL, "%s has no CPUID leaf", path);
}

static int apply_file(const char *path, struct cpuid_table *table, struct error *error)
{
    char content[FILE_MAX + 1];
    ssize_t length = host_file_read(path, content, FILE_MAX, error);
    if (length < 0) {
        error_prefix(error,
                     "there is no CPU model '%s' (host, max, x86-64-v2, x86-64-v3), and as "
                     "a file it can't be used",
                     path);
        return -EINVAL;
    }
    content[length] = '\0';
    struct cpuid_table wanted = {.count = 0};
    int result = memchr(content, '\0', (size_t)length) != NULL
                     ? error_set(error, EINVAL, "%s is no text: a byte in it is zero", path)
                     : read_lines(content, path, table, &wanted, error);
    for (unsigned int i = 0; result == 0 && i < table->count; i++) {
        const struct cpuid_entry *entry = &table->entries[i];
        if (is_hypervisor_leaf(entry->leaf)) {
            cpuid_set(&wanted, entry->leaf, entry->subleaf, entry->has_subleaf, entry->registers);
        }
    }
    if (result == 0) {
        *table = wanted;
    }
    return result;
}

int cpu_model_apply(const char *model, struct cpuid_table *table, struct error *error)
{
    if (strcmp(model, "host") == 0 || strcmp(model, "max") == 0) {
        return 0;
    }
    for (size_t i = 0; i < sizeof(models) / sizeof(models[0]); i++) {
        if (strcmp(model, models[i].name) == 0) {
            return apply_model(&models[i], table, error);
        }
    }
    return apply_file(model, table, error);
}

void cpu_model_log(const struct cpuid_table *table)
{
    for (unsigned int i = 0; i < table->count; i++) {
        const struct cpuid_entry *entry = &table->entries[i];
        const struct cpuid_registers *registers = &entry->registers;
        char subleaf[9] = "*";
        if (entry->has_subleaf) {
            snprintf(subleaf, sizeof(subleaf), "%x", entry->subleaf);
        }
        log_debug(LOG_PREFIX "%08x %s %08x %08x %08x %08x", entry->leaf, subleaf, registers->eax,
                  registers->ebx, registers->ecx, registers->edx);
    }
}
