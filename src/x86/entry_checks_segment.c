/* Intel SDM volume 3, "Checks on Guest Segment Registers". */
#include "x86/entry_checks_sections.h"

#include "x86/descriptor.h"

#define BIT(segment) (1u << (segment))

#define CODE_AND_DATA                                                                              \
    (BIT(X86_ES) | BIT(X86_CS) | BIT(X86_SS) | BIT(X86_DS) | BIT(X86_FS) | BIT(X86_GS))
#define DATA_BUT_STACK (BIT(X86_ES) | BIT(X86_DS) | BIT(X86_FS) | BIT(X86_GS))
#define SYSTEM         (BIT(X86_LDTR) | BIT(X86_TR))
#define ALL            (CODE_AND_DATA | SYSTEM)

#define VIRTUAL_8086_LIMIT  0xffffu
#define VIRTUAL_8086_RIGHTS 0xf3u
#define RESERVED_LOW        0x00000f00u
#define RESERVED_HIGH       0xfffe0000u

#define TYPE_DATA_REAL (X86_TYPE_WRITABLE | X86_TYPE_ACCESSED) /* what real mode leaves in CS */
#define TYPE_CODE_9    (X86_TYPE_CODE | X86_TYPE_ACCESSED)     /* and 11 with the readable bit */

static const struct x86_segment *segment_of(const struct entry_guest_state *state,
                                            unsigned int instance)
{
    return &state->segment[instance];
}

static unsigned int rpl(const struct x86_segment *segment)
{
    return segment->selector & X86_SELECTOR_RPL;
}

static bool usable(const struct x86_segment *segment)
{
    return (segment->attributes & X86_SEGMENT_UNUSABLE) == 0;
}

static bool virtual_8086(const struct entry_guest_state *state)
{
    return (state->rflags & X86_FLAGS_VM) != 0;
}

/* CS and TR are checked always, the others if they are usable. */
static bool checked(const struct entry_guest_state *state, unsigned int instance)
{
    return instance == X86_CS || instance == X86_TR || usable(segment_of(state, instance));
}

/* The sub-fields of the access rights; a virtual-8086 guest's code and data have a rule of their
 * own for all of them. */
static bool rights_checked(const struct entry_guest_state *state, unsigned int instance)
{
    bool is_system = instance == X86_LDTR || instance == X86_TR;
    return (is_system || !virtual_8086(state)) && checked(state, instance);
}

/* ---- selectors and bases ---- */

static bool selector_ti(const struct entry_guest_state *state, unsigned int instance)
{
    return !checked(state, instance) ||
           (segment_of(state, instance)->selector & X86_SELECTOR_TI) == 0;
}

static bool ss_rpl(const struct entry_guest_state *state, unsigned int instance)
{
    return virtual_8086(state) || entry_unrestricted(state) ||
           rpl(segment_of(state, instance)) == rpl(segment_of(state, X86_CS));
}

static bool base_virtual_8086(const struct entry_guest_state *state, unsigned int instance)
{
    const struct x86_segment *segment = segment_of(state, instance);
    return !virtual_8086(state) || segment->base == (uint64_t)segment->selector << 4;
}

static bool base_canonical(const struct entry_guest_state *state, unsigned int instance)
{
    const struct x86_segment *segment = segment_of(state, instance);
    return (instance == X86_LDTR && !usable(segment)) || entry_canonical(state, segment->base);
}

static bool base_high(const struct entry_guest_state *state, unsigned int instance)
{
    return !checked(state, instance) || segment_of(state, instance)->base >> 32 == 0;
}

/* ---- virtual-8086 mode ---- */

static bool limit_virtual_8086(const struct entry_guest_state *state, unsigned int instance)
{
    return !virtual_8086(state) || segment_of(state, instance)->limit == VIRTUAL_8086_LIMIT;
}

static bool rights_virtual_8086(const struct entry_guest_state *state, unsigned int instance)
{
    return !virtual_8086(state) || segment_of(state, instance)->attributes == VIRTUAL_8086_RIGHTS;
}

/* ---- types ---- */

static bool cs_type(const struct entry_guest_state *state, unsigned int instance)
{
    unsigned int type = x86_segment_type(segment_of(state, instance));
    return virtual_8086(state) || (type & TYPE_CODE_9) == TYPE_CODE_9 ||
           (type == TYPE_DATA_REAL && entry_unrestricted(state));
}

static bool ss_type(const struct entry_guest_state *state, unsigned int instance)
{
    unsigned int type = x86_segment_type(segment_of(state, instance));
    return !rights_checked(state, instance) || (type & ~X86_TYPE_EXPAND_DOWN) == TYPE_DATA_REAL;
}

static bool data_accessed(const struct entry_guest_state *state, unsigned int instance)
{
    unsigned int type = x86_segment_type(segment_of(state, instance));
    return !rights_checked(state, instance) || (type & X86_TYPE_ACCESSED) != 0;
}

static bool data_readable(const struct entry_guest_state *state, unsigned int instance)
{
    unsigned int type = x86_segment_type(segment_of(state, instance));
    return !rights_checked(state, instance) || (type & X86_TYPE_CODE) == 0 ||
           (type & X86_TYPE_READABLE) != 0;
}

static bool tr_type(const struct entry_guest_state *state, unsigned int instance)
{
    unsigned int type = x86_segment_type(segment_of(state, instance));
    return type == X86_SYSTEM_TSS_BUSY || (type == X86_SYSTEM_TSS16_BUSY && !entry_ia32e(state));
}

static bool ldtr_type(const struct entry_guest_state *state, unsigned int instance)
{
    return !checked(state, instance) ||
           x86_segment_type(segment_of(state, instance)) == X86_SYSTEM_LDT;
}

static bool tr_usable(const struct entry_guest_state *state, unsigned int instance)
{
    return usable(segment_of(state, instance));
}

static bool s_set(const struct entry_guest_state *state, unsigned int instance)
{
    return !rights_checked(state, instance) ||
           (segment_of(state, instance)->attributes & X86_SEGMENT_S) != 0;
}

static bool s_clear(const struct entry_guest_state *state, unsigned int instance)
{
    return !rights_checked(state, instance) ||
           (segment_of(state, instance)->attributes & X86_SEGMENT_S) == 0;
}

/* ---- privilege ---- */

static bool cs_dpl_data(const struct entry_guest_state *state, unsigned int instance)
{
    const struct x86_segment *code = segment_of(state, instance);
    return virtual_8086(state) || x86_segment_type(code) != TYPE_DATA_REAL ||
           x86_segment_dpl(code) == 0;
}

static bool cs_dpl_nonconforming(const struct entry_guest_state *state, unsigned int instance)
{
    const struct x86_segment *code = segment_of(state, instance);
    unsigned int type = x86_segment_type(code);
    bool nonconforming = (type & (TYPE_CODE_9 | X86_TYPE_CONFORMING)) == TYPE_CODE_9;
    return virtual_8086(state) || !nonconforming ||
           x86_segment_dpl(code) == x86_segment_dpl(segment_of(state, X86_SS));
}

static bool cs_dpl_conforming(const struct entry_guest_state *state, unsigned int instance)
{
    const struct x86_segment *code = segment_of(state, instance);
    unsigned int conforming = TYPE_CODE_9 | X86_TYPE_CONFORMING;
    return virtual_8086(state) || (x86_segment_type(code) & conforming) != conforming ||
           x86_segment_dpl(code) <= x86_segment_dpl(segment_of(state, X86_SS));
}

static bool ss_dpl_rpl(const struct entry_guest_state *state, unsigned int instance)
{
    const struct x86_segment *stack = segment_of(state, instance);
    return virtual_8086(state) || entry_unrestricted(state) || x86_segment_dpl(stack) == rpl(stack);
}

static bool ss_dpl_zero(const struct entry_guest_state *state, unsigned int instance)
{
    bool must_be_zero = x86_segment_type(segment_of(state, X86_CS)) == TYPE_DATA_REAL ||
                        (state->cr0 & X86_CR0_PE) == 0;
    return virtual_8086(state) || !must_be_zero ||
           x86_segment_dpl(segment_of(state, instance)) == 0;
}

static bool data_dpl(const struct entry_guest_state *state, unsigned int instance)
{
    const struct x86_segment *data = segment_of(state, instance);
    bool conforming = x86_segment_type(data) >= (X86_TYPE_CODE | X86_TYPE_CONFORMING);
    return !rights_checked(state, instance) || entry_unrestricted(state) || conforming ||
           x86_segment_dpl(data) >= rpl(data);
}

/* ---- the other bits ---- */

static bool present(const struct entry_guest_state *state, unsigned int instance)
{
    return !rights_checked(state, instance) ||
           (segment_of(state, instance)->attributes & X86_SEGMENT_P) != 0;
}

static bool reserved_low(const struct entry_guest_state *state, unsigned int instance)
{
    return !rights_checked(state, instance) ||
           (segment_of(state, instance)->attributes & RESERVED_LOW) == 0;
}

static bool reserved_high(const struct entry_guest_state *state, unsigned int instance)
{
    return !rights_checked(state, instance) ||
           (segment_of(state, instance)->attributes & RESERVED_HIGH) == 0;
}

static bool cs_db(const struct entry_guest_state *state, unsigned int instance)
{
    uint32_t both = X86_SEGMENT_L | X86_SEGMENT_DB;
    return virtual_8086(state) || !entry_ia32e(state) ||
           (segment_of(state, instance)->attributes & both) != both;
}

static bool g_clear(const struct entry_guest_state *state, unsigned int instance)
{
    const struct x86_segment *segment = segment_of(state, instance);
    return !rights_checked(state, instance) || (segment->limit & 0xfff) == 0xfff ||
           (segment->attributes & X86_SEGMENT_G) == 0;
}

static bool g_set(const struct entry_guest_state *state, unsigned int instance)
{
    const struct x86_segment *segment = segment_of(state, instance);
    return !rights_checked(state, instance) || segment->limit >> 20 == 0 ||
           (segment->attributes & X86_SEGMENT_G) != 0;
}

/* ---- the table ---- */

#define OVER(registers) .instances = ENTRY_SEGMENTS, .mask = (registers)
#define RIGHTS          ENTRY_FIELD_ACCESS_RIGHTS
#define CS_RIGHTS       ENTRY_OF(ENTRY_FIELD_ACCESS_RIGHTS, X86_CS)
#define SS_RIGHTS       ENTRY_OF(ENTRY_FIELD_ACCESS_RIGHTS, X86_SS)

static const struct entry_rule rules[] = {
    {"selector-ti", "TR, and LDTR if it is usable, is selected from the GDT (TI is 0)",
     OVER(SYSTEM), .holds = selector_ti, .fields = {ENTRY_FIELD_SELECTOR, RIGHTS}},
    {"ss-rpl-is-cs-rpl",
     "the selectors of SS and CS have the same RPL, but in virtual-8086 mode and unrestricted "
     "guests",
     OVER(BIT(X86_SS)), .holds = ss_rpl,
     .fields = {ENTRY_FIELD_SELECTOR, ENTRY_OF(ENTRY_FIELD_SELECTOR, X86_CS), ENTRY_FIELD_RFLAGS,
                ENTRY_FIELD_PRIMARY, ENTRY_FIELD_SECONDARY}},
    {"base-virtual-8086", "in virtual-8086 mode its base is its selector times 16",
     OVER(CODE_AND_DATA), .holds = base_virtual_8086,
     .fields = {ENTRY_FIELD_BASE, ENTRY_FIELD_SELECTOR, ENTRY_FIELD_RFLAGS}},
    {"base-canonical", "its base is a canonical address (that of LDTR if it is usable)",
     OVER(BIT(X86_FS) | BIT(X86_GS) | SYSTEM), .holds = base_canonical,
     .fields = {ENTRY_FIELD_BASE, RIGHTS, ENTRY_FIELD_LINEAR_ADDRESS_BITS}},
    {"base-high", "bits 63:32 of its base are 0 (those of ES, SS and DS if they are usable)",
     OVER(BIT(X86_ES) | BIT(X86_CS) | BIT(X86_SS) | BIT(X86_DS)), .holds = base_high,
     .fields = {ENTRY_FIELD_BASE, RIGHTS}},
    {"limit-virtual-8086", "in virtual-8086 mode its limit is 0xffff", OVER(CODE_AND_DATA),
     .holds = limit_virtual_8086, .fields = {ENTRY_FIELD_LIMIT, ENTRY_FIELD_RFLAGS}},
    {"access-rights-virtual-8086",
     "in virtual-8086 mode its access rights are 0xf3: present, DPL 3, accessed, writable data",
     OVER(CODE_AND_DATA), .holds = rights_virtual_8086, .fields = {RIGHTS, ENTRY_FIELD_RFLAGS}},
    {"cs-type",
     "CS is accessed code (type 9, 11, 13 or 15); in an unrestricted guest it may be accessed, "
     "writable, expand-up data (3) too",
     OVER(BIT(X86_CS)), .holds = cs_type,
     .fields = {RIGHTS, ENTRY_FIELD_PRIMARY, ENTRY_FIELD_SECONDARY}},
    {"ss-type", "SS, if it is usable, is accessed, writable data (type 3 or 7)", OVER(BIT(X86_SS)),
     .holds = ss_type, .fields = {RIGHTS}},
    {"data-accessed", "it is accessed (type bit 0 is 1) if it is usable", OVER(DATA_BUT_STACK),
     .holds = data_accessed, .fields = {RIGHTS}},
    {"data-readable", "if it is usable and code, it is readable (type bit 1 is 1)",
     OVER(DATA_BUT_STACK), .holds = data_readable, .fields = {RIGHTS}},
    {"access-rights-s", "it is a code or data segment (S is 1) if it is CS or usable",
     OVER(CODE_AND_DATA), .holds = s_set, .fields = {RIGHTS}},
    {"cs-dpl-data", "CS that is data (type 3) has DPL 0", OVER(BIT(X86_CS)), .holds = cs_dpl_data,
     .fields = {RIGHTS}},
    {"cs-dpl-nonconforming", "CS that is nonconforming (type 9 or 11) has the DPL of SS",
     OVER(BIT(X86_CS)), .holds = cs_dpl_nonconforming, .fields = {RIGHTS, SS_RIGHTS}},
    {"cs-dpl-conforming", "CS that is conforming (type 13 or 15) has no higher DPL than SS",
     OVER(BIT(X86_CS)), .holds = cs_dpl_conforming, .fields = {RIGHTS, SS_RIGHTS}},
    {"ss-dpl-is-rpl",
     "the DPL of SS is the RPL of its selector, but in virtual-8086 mode and unrestricted guests",
     OVER(BIT(X86_SS)), .holds = ss_dpl_rpl,
     .fields = {RIGHTS, ENTRY_FIELD_SELECTOR, ENTRY_FIELD_PRIMARY, ENTRY_FIELD_SECONDARY}},
    {"ss-dpl-zero", "SS has DPL 0 if CS is data (type 3) or CR0.PE is 0", OVER(BIT(X86_SS)),
     .holds = ss_dpl_zero, .fields = {RIGHTS, CS_RIGHTS, ENTRY_FIELD_CR0}},
    {"data-dpl",
     "if it is usable, and data or nonconforming code, its DPL is no lower than its selector's "
     "RPL, but in unrestricted guests",
     OVER(DATA_BUT_STACK), .holds = data_dpl,
     .fields = {RIGHTS, ENTRY_FIELD_SELECTOR, ENTRY_FIELD_PRIMARY, ENTRY_FIELD_SECONDARY}},
    {"access-rights-p", "it is present (P is 1) if it is CS, TR or usable", OVER(ALL),
     .holds = present, .fields = {RIGHTS}},
    {"access-rights-reserved-low", "access rights bits 11:8 are 0 if it is CS, TR or usable",
     OVER(ALL), .holds = reserved_low, .fields = {RIGHTS}},
    {"cs-db-with-l", "64-bit code (CS.L is 1 in IA-32e mode) has D/B 0", OVER(BIT(X86_CS)),
     .holds = cs_db, .fields = {RIGHTS, ENTRY_FIELD_ENTRY}},
    {"limit-needs-g-clear",
     "G is 0 if the limit has a 0 in bits 11:0, as only a limit in bytes has (and it is CS, TR or "
     "usable)",
     OVER(ALL), .holds = g_clear, .fields = {ENTRY_FIELD_LIMIT, RIGHTS}},
    {"limit-needs-g-set",
     "G is 1 if the limit has a 1 in bits 31:20, as only a limit in pages has (and it is CS, TR or "
     "usable)",
     OVER(ALL), .holds = g_set, .fields = {ENTRY_FIELD_LIMIT, RIGHTS}},
    {"access-rights-reserved-high", "access rights bits 31:17 are 0 if it is CS, TR or usable",
     OVER(ALL), .holds = reserved_high, .fields = {RIGHTS}},
    {"tr-type", "TR is a busy TSS: type 11, outside IA-32e mode 3 (16 bits) too", OVER(BIT(X86_TR)),
     .holds = tr_type, .fields = {RIGHTS, ENTRY_FIELD_ENTRY}},
    {"ldtr-type", "LDTR, if it is usable, is an LDT (type 2)", OVER(BIT(X86_LDTR)),
     .holds = ldtr_type, .fields = {RIGHTS}},
    {"system-s", "it is a system segment (S is 0) if it is TR or usable", OVER(SYSTEM),
     .holds = s_clear, .fields = {RIGHTS}},
    {"tr-usable", "TR is usable", OVER(BIT(X86_TR)), .holds = tr_usable, .fields = {RIGHTS}},
};

const struct entry_section entry_segment_section = {
    .title = "Checks on Guest Segment Registers",
    .rules = rules,
    .rule_count = sizeof(rules) / sizeof(rules[0]),
};
