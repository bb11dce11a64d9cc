/* Which forms of instruction there are: the decoder is asked about every opcode byte. */
#include <stdlib.h>
#include <string.h>

#include "differential_forms.h"

/*
 * What cannot be compared: the outcome is not a function of the case, or belongs to the system
 * that the test runs under.
 */
struct exclusion {
    enum x86_operation operation;
    const char *why;
};

static const struct exclusion exclusions[] = {
    {X86_OP_SYSCALL, "enters the host's kernel"},
    {X86_OP_SYSENTER, "enters the host's kernel"},
    {X86_OP_INT, "enters the host's kernel"},
    {X86_OP_INT3, "a software interrupt needs a gate; the host's kernel has one"},
    {X86_OP_INT1, "a software interrupt needs a gate; the host's kernel has one"},
    {X86_OP_INTO, "a software interrupt needs a gate; the host's kernel has one"},
    {X86_OP_UD0, "not all processors look at what follows"},
    {X86_OP_UD1, "not all processors look at what follows"},
    {X86_OP_SYSRET, "outside 64-bit mode #UD or #GP by the vendor"},
    {X86_OP_SYSEXIT, "outside 64-bit mode #UD or #GP by the vendor"},
    {X86_OP_VMCALL, "speaks to the host's hypervisor"},
    {X86_OP_VMMCALL, "speaks to the host's hypervisor"},
    {X86_OP_VMX, "#UD or #GP by what the host is"},
    {X86_OP_RSM, "#UD by what the host is"},
    {X86_OP_CPUID, "the guest is shown another CPU"},
    {X86_OP_XGETBV, "the host may have more components"},
    {X86_OP_XSETBV, "the host may have more components"},
    {X86_OP_RDTSC, "never the same twice"},
    {X86_OP_RDTSCP, "never the same twice"},
    {X86_OP_RDPID, "whichever CPU it is"},
    {X86_OP_RDPMC, "allowed or not by the host's kernel"},
    {X86_OP_RDRAND, "never the same twice"},
    {X86_OP_RDSEED, "never the same twice"},
    {X86_OP_MONITOR, "allowed or not by the host's kernel"},
    {X86_OP_MWAIT, "allowed or not by the host's kernel"},
    {X86_OP_RDPKRU, "#UD by CR4.PKE, the host's kernel's choice"},
    {X86_OP_WRPKRU, "#UD by CR4.PKE, the host's kernel's choice"},
    {X86_OP_SGDT, "UMIP: Linux emulates it"},
    {X86_OP_SIDT, "UMIP: Linux emulates it"},
    {X86_OP_SLDT, "UMIP: Linux emulates it"},
    {X86_OP_STR, "UMIP: Linux emulates it"},
    {X86_OP_SMSW, "UMIP: Linux emulates it"},
    {X86_OP_LAR, "tells what the host's GDT holds"},
    {X86_OP_LSL, "tells what the host's GDT holds"},
    {X86_OP_VERR, "tells what the host's GDT holds"},
    {X86_OP_VERW, "tells what the host's GDT holds"},
    {X86_OP_MOV_TO_SEGMENT, "loads from the host's GDT"},
    {X86_OP_POP_SEGMENT, "loads from the host's GDT"},
    {X86_OP_LDS, "loads from the host's GDT"},
    {X86_OP_LES, "loads from the host's GDT"},
    {X86_OP_LSS, "loads from the host's GDT"},
    {X86_OP_LFS, "loads from the host's GDT"},
    {X86_OP_LGS, "loads from the host's GDT"},
    {X86_OP_JMP_FAR, "loads from the host's GDT"},
    {X86_OP_JMP_FAR_INDIRECT, "loads from the host's GDT"},
    {X86_OP_CALL_FAR, "loads from the host's GDT"},
    {X86_OP_CALL_FAR_INDIRECT, "loads from the host's GDT"},
    {X86_OP_RET_FAR, "loads from the host's GDT"},
    {X86_OP_IRET, "loads from the host's GDT"},
    {X86_OP_XSAVE, "the header tells what else the host has in use"},
    {X86_OP_XSAVEOPT, "the header tells what else the host has in use"},
    {X86_OP_XSAVEC, "the header tells what else the host has in use"},
    {X86_OP_XSAVES, "the header tells what else the host has in use"},
    {X86_OP_XRSTOR, "the host may have more components"},
    {X86_OP_XRSTORS, "the host may have more components"},
};

static bool is_excluded(enum x86_operation operation)
{
    for (size_t i = 0; i < sizeof(exclusions) / sizeof(exclusions[0]); i++) {
        if (exclusions[i].operation == operation) {
            return true;
        }
    }
    return false;
}

/* Forms that the manual leaves open, or that the vendors' manuals tell differently. */
static bool differs_by_processor(const struct x86_instruction *in)
{
    const unsigned int repeat = X86_INSTRUCTION_REP | X86_INSTRUCTION_REPNE;
    const unsigned int forced_64 = X86_INSTRUCTION_NO_66 | X86_INSTRUCTION_66;
    bool is_port = in->operation == X86_OP_INS || in->operation == X86_OP_OUTS;
    bool is_loop = in->operation == X86_OP_LOOPE || in->operation == X86_OP_LOOPNE;
    return
        /* PREFETCHW of a register: a NOP, or reserved */
        (in->map == X86_MAP_0F && in->opcode == 0x0d && in->mod == 3) ||
        /* has it entered MMX state, though it reads memory? */
        (in->map == X86_MAP_0F && in->opcode == 0x2a && in->operation == X86_OP_MMX &&
         in->mandatory_prefix == 0 && in->mod != 3) ||
        /* of two bytes, or of four? */
        (in->operation == X86_OP_MOVSXD && in->operand_size == 2) ||
        /* must it be aligned? */
        (in->feature == X86_FEATURE_SHA && (in->flags & X86_INSTRUCTION_MEMORY) != 0) ||
        /* with a count of zero, may it be executed at all? */
        (is_port && (in->flags & repeat) != 0) ||
        /* REP where it is reserved replaces the condition, on some */
        (is_loop && (in->flags & repeat) != 0) ||
        /* ignored by one vendor, cuts RIP to 16 bits with the other */
        (in->flags & forced_64) == forced_64;
}

bool differential_comparable(const struct x86_instruction *in, const struct cpuid_table *cpuid)
{
    bool shown = in->feature == X86_FEATURE_BASE || cpuid_has(cpuid, (enum x86_feature)in->feature);
    return shown && !is_excluded(in->operation) && !differs_by_processor(in);
}

/* --- enumerating --- */

/* The bytes up to ModRM; registers and W as they come. */
static unsigned int write_form(const struct differential_form *form, uint8_t *bytes)
{
    unsigned int n = 0;
    if (form->encoding == X86_ENCODING_VEX) {
        bytes[n++] = 0xc4;
        bytes[n++] = (uint8_t)(0xe0 | form->map);
        bytes[n++] =
            (uint8_t)((form->wide ? 0x80 : 0) | 0x78 | (form->is_256 ? 4 : 0) | form->prefix);
    } else {
        static const uint8_t prefixes[] = {0, 0x66, 0xf3, 0xf2};
        if (form->prefix != 0) {
            bytes[n++] = prefixes[form->prefix];
        }
        if (form->wide) {
            bytes[n++] = 0x48;
        }
        if (form->map != X86_MAP_ONE_BYTE) {
            bytes[n++] = 0x0f;
        }
        if (form->map >= X86_MAP_0F38) {
            bytes[n++] = form->map == X86_MAP_0F38 ? 0x38 : 0x3a;
        }
    }
    bytes[n++] = form->opcode;
    return n;
}

/* Is there an instruction? Its operation, else X86_OP_INVALID. has_modrm tells if ModRM counts. */
static enum x86_operation ask(const struct differential_form *form, enum x86_decode_mode mode,
                              const struct cpuid_table *cpuid, bool *has_modrm)
{
    uint8_t bytes[32] = {0};
    unsigned int n = write_form(form, bytes);
    struct x86_instruction in;
    bytes[n + 1] = 0x08; /* SIB: a gather's index must be another register than the rest */
    for (unsigned int rm = 0; rm < 8; rm++) {
        bytes[n] = (uint8_t)((form->is_memory ? 0u : 0xc0u) | (unsigned int)form->reg << 3 | rm);
        if (x86_decode(mode, bytes, 15, &in) == X86_DECODE_OK &&
            differential_comparable(&in, cpuid) && in.opcode == form->opcode &&
            in.map == form->map && in.encoding == form->encoding) {
            *has_modrm = (in.flags & X86_INSTRUCTION_MODRM) != 0;
            return in.operation;
        }
    }
    return X86_OP_INVALID;
}

static bool add(struct differential_forms *forms, const struct differential_form *form)
{
    if (forms->count == forms->room) {
        unsigned int room = forms->room == 0 ? 4096 : 2 * forms->room;
        struct differential_form *more = realloc(forms->all, room * sizeof(*more));
        if (more == NULL) {
            return false;
        }
        forms->all = more;
        forms->room = room;
    }
    forms->all[forms->count++] = *form;
    return true;
}

static bool add_modrms(struct differential_forms *forms, struct differential_form form,
                       const struct cpuid_table *cpuid, enum x86_operation only)
{
    for (unsigned int modrm = 0; modrm < 16; modrm++) {
        form.reg = modrm & 7;
        form.is_memory = modrm >= 8;
        bool has_modrm = false;
        enum x86_operation in_64 = ask(&form, X86_DECODE_64, cpuid, &has_modrm);
        enum x86_operation in_32 =
            form.wide ? X86_OP_INVALID : ask(&form, X86_DECODE_32, cpuid, &has_modrm);
        form.valid_64 = in_64 != X86_OP_INVALID;
        form.valid_32 = in_32 != X86_OP_INVALID;
        form.operation = form.valid_64 ? in_64 : in_32;
        bool wanted = only == X86_OP_INVALID || only == form.operation;
        if (form.operation != X86_OP_INVALID && wanted && !add(forms, &form)) {
            return false;
        }
        if (!has_modrm && modrm == 0 && form.operation != X86_OP_INVALID) {
            break;
        }
    }
    return true;
}

static bool add_opcodes(struct differential_forms *forms, const struct cpuid_table *cpuid,
                        enum x86_operation only)
{
    for (unsigned int i = 0; i < 2u * 4 * 4 * 256 * 4; i++) {
        struct differential_form form = {.opcode = (uint8_t)i,
                                         .map = i >> 8 & 3,
                                         .prefix = i >> 10 & 3,
                                         .wide = (i >> 12 & 1) != 0,
                                         .is_256 = (i >> 13 & 1) != 0,
                                         .encoding = i >> 14 & 1};
        bool is_vex = form.encoding == X86_ENCODING_VEX;
        if ((is_vex && form.map == X86_MAP_ONE_BYTE) || (!is_vex && form.is_256)) {
            continue;
        }
        if (!add_modrms(forms, form, cpuid, only)) {
            return false;
        }
    }
    return true;
}

static int by_operation(const void *a, const void *b)
{
    const struct differential_form *left = a, *right = b;
    return (int)left->operation - (int)right->operation;
}

static void index_operations(struct differential_forms *forms)
{
    qsort(forms->all, forms->count, sizeof(forms->all[0]), by_operation);
    for (unsigned int i = 0; i < forms->count; i++) {
        unsigned int last = forms->operation_count - 1;
        forms->any_64 |= forms->all[i].valid_64;
        forms->any_32 |= forms->all[i].valid_32;
        if (forms->operation_count == 0 ||
            forms->all[forms->first[last]].operation != forms->all[i].operation) {
            forms->first[forms->operation_count++] = i;
        }
    }
    forms->first[forms->operation_count] = forms->count;
}

struct differential_forms *differential_forms_create(const struct cpuid_table *cpuid,
                                                     enum x86_operation only)
{
    struct differential_forms *forms = calloc(1, sizeof(*forms));
    if (forms == NULL) {
        return NULL;
    }
    forms->cpuid = *cpuid;
    if (!add_opcodes(forms, cpuid, only) || forms->count == 0) {
        differential_forms_destroy(forms);
        return NULL;
    }
    index_operations(forms);
    return forms;
}

void differential_forms_destroy(struct differential_forms *forms)
{
    if (forms != NULL) {
        free(forms->all);
        free(forms);
    }
}
