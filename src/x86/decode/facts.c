/*
 * From a row of facts_table.c and the fields of one instruction to its facts.
 */
#include "x86/decode/facts.h"

#include "x86/decode/facts_table.h"
#include "x86/registers.h"

#define BIT(number) (1u << (number))
#define ALL_GPRS    0xffffu

#define CF ((uint16_t)X86_FLAGS_CF)
#define PF ((uint16_t)X86_FLAGS_PF)
#define AF ((uint16_t)X86_FLAGS_AF)
#define ZF ((uint16_t)X86_FLAGS_ZF)
#define SF ((uint16_t)X86_FLAGS_SF)
#define OF ((uint16_t)X86_FLAGS_OF)

/* "Conditional Jump …", by the upper three bits of the condition; the lowest one negates. */
static const uint16_t condition_flags[8] = {OF, CF, ZF, CF | ZF, SF, PF, SF | OF, ZF | SF | OF};

/* Flags that are certainly written, and how. */
static void write_flags(struct x86_facts *facts, uint16_t defined, uint16_t undefined)
{
    facts->flags_written = defined | undefined;
    facts->flags_changed |= facts->flags_written;
    facts->flags_undefined = undefined;
}

/* What a count that may be zero makes of it. */
static void flags_not_certain(struct x86_facts *facts)
{
    facts->flags_written = 0;
}

/* --- registers -------------------------------------------------------------------------------- */

/* A register of `size` bytes; smaller ones leave the rest of it as it was. */
static void touch(struct x86_facts *facts, unsigned int number, unsigned int size, uint8_t access)
{
    uint32_t bit = BIT(number);

    if ((access & ACCESS_READ) || ((access & ACCESS_WRITE) && size < 4)) {
        facts->reads |= bit;
    }
    if (access & ACCESS_WRITE) {
        facts->writes |= bit;
    }
}

/* A register that the encoding names: without REX, 4 to 7 are AH to BH if it is a byte. */
static void touch_operand(const struct x86_instruction *in, struct x86_facts *facts,
                          unsigned int number, uint8_t access)
{
    unsigned int size = access & ACCESS_BYTE ? 1 : access & ACCESS_WHOLE ? 4 : in->operand_size;

    if (size == 1 && !(in->flags & X86_INSTRUCTION_REX) && number >= 4 && number <= 7) {
        number -= 4;
    }
    touch(facts, number, size, access);
}

static void touch_reg(const struct x86_instruction *in, struct x86_facts *facts, uint8_t access)
{
    touch_operand(in, facts, in->reg, access);
}

static void touch_rm(const struct x86_instruction *in, struct x86_facts *facts, uint8_t access)
{
    if (!(in->flags & X86_INSTRUCTION_MEMORY)) {
        touch_operand(in, facts, in->rm, access);
    }
}

/* X86_REGISTER_NONE and RIP are bits beyond the general registers; VSIB's index is a vector. */
static void touch_address(const struct x86_instruction *in, struct x86_facts *facts)
{
    uint32_t registers = BIT(in->base);

    if (!(in->shape & X86_SHAPE_VSIB)) {
        registers |= BIT(in->index);
    }
    facts->reads |= registers & ALL_GPRS;
}

/* --- operands whose place depends on the encoding --------------------------------------------- */

static bool is_group(const struct x86_instruction *in)
{
    return (in->opcode & 0xfc) == 0x80 || (in->opcode & 0xfe) == 0xc6;
}

/* ADD … CMP: 00 … 3F and 80 … 83; MOV: 88 … 8B, B0 … BF, C6 and C7. */
static void touch_direction(const struct x86_instruction *in, struct x86_facts *facts,
                            uint8_t destination)
{
    if (!(in->flags & X86_INSTRUCTION_MODRM)) {
        touch_operand(in, facts, in->operation == X86_OP_MOV ? in->reg : X86_RAX, destination);
    } else if (is_group(in)) {
        touch_rm(in, facts, destination);
    } else if (in->opcode & 2) {
        touch_reg(in, facts, destination);
        touch_rm(in, facts, ACCESS_READ);
    } else {
        touch_rm(in, facts, destination);
        touch_reg(in, facts, ACCESS_READ);
    }
}

/* TEST: 84, 85; A8, A9; F6, F7. */
static void touch_test(const struct x86_instruction *in, struct x86_facts *facts)
{
    if (!(in->flags & X86_INSTRUCTION_MODRM)) {
        touch(facts, X86_RAX, in->operand_size, ACCESS_READ);
        return;
    }
    touch_rm(in, facts, ACCESS_READ);
    if (in->opcode < 0xf6) {
        touch_reg(in, facts, ACCESS_READ);
    }
}

/* XCHG: 86, 87; 90 … 97. */
static void touch_exchange(const struct x86_instruction *in, struct x86_facts *facts)
{
    touch_reg(in, facts, ACCESS_BOTH);
    if (in->flags & X86_INSTRUCTION_MODRM) {
        touch_rm(in, facts, ACCESS_BOTH);
    } else {
        touch(facts, X86_RAX, in->operand_size, ACCESS_BOTH);
    }
}

/* INC, DEC, PUSH, POP and BSWAP: r/m, a register in the opcode, or an immediate. */
static void touch_opcode(const struct x86_instruction *in, struct x86_facts *facts, uint8_t access)
{
    if (in->flags & X86_INSTRUCTION_MODRM) {
        touch_rm(in, facts, access);
    } else if (in->immediate_size == 0) {
        touch_reg(in, facts, access);
    }
}

/* --- shifts ----------------------------------------------------------------------------------- */

/* The count after masking; -1: it is in CL. */
static int shift_count(const struct x86_instruction *in, struct x86_facts *facts)
{
    bool by_one = in->map == X86_MAP_ONE_BYTE && (in->opcode & 0xfe) == 0xd0;

    if (by_one) {
        return 1;
    }
    if (in->immediate_size != 0) {
        return (int)(in->immediate & (in->operand_size == 8 ? 63 : 31));
    }
    facts->reads |= BIT(X86_RCX);
    return -1;
}

/* SHL, SHR, SAR: OF is defined for a count of one; CF for SHL and SHR below the operand size. */
static void shift_flags(const struct x86_instruction *in, struct x86_facts *facts)
{
    int count = shift_count(in, facts);
    bool may_clear = count < 0 || count >= in->operand_size * 8;
    uint16_t undefined = count == 1 ? AF : AF | OF;

    if (may_clear && in->operand_size < 4 && in->operation != X86_OP_SAR) {
        undefined |= CF;
    }
    if (count != 0) {
        write_flags(facts, (uint16_t)X86_FLAGS_ARITHMETIC & (uint16_t)~undefined, undefined);
    }
    if (count < 0) {
        flags_not_certain(facts);
    }
}

static void rotate_flags(const struct x86_instruction *in, struct x86_facts *facts)
{
    int count = shift_count(in, facts);

    if (count == 0) {
        facts->flags_read = 0;
        return;
    }
    write_flags(facts, count == 1 ? CF | OF : CF, count == 1 ? 0 : OF);
    if (count < 0) {
        flags_not_certain(facts);
    }
}

/* SHLD, SHRD: nothing is defined for a count beyond the operand size. */
static void shift_double_flags(const struct x86_instruction *in, struct x86_facts *facts)
{
    int count = shift_count(in, facts);
    bool beyond = in->operand_size == 2 && (count < 0 || count > 16);
    uint16_t undefined = beyond       ? (uint16_t)X86_FLAGS_ARITHMETIC
                         : count == 1 ? AF
                                      : (uint16_t)(AF | OF);

    if (count != 0) {
        write_flags(facts, (uint16_t)X86_FLAGS_ARITHMETIC & (uint16_t)~undefined, undefined);
    }
    if (count < 0) {
        flags_not_certain(facts);
    }
}

/* --- implicit operands ------------------------------------------------------------------------ */

/* MUL and DIV with bytes use AX alone, otherwise rDX:rAX. */
static void touch_wide(const struct x86_instruction *in, struct x86_facts *facts, uint8_t high)
{
    touch(facts, X86_RAX, in->operand_size, ACCESS_BOTH);
    if (in->operand_size != 1) {
        touch(facts, X86_RDX, in->operand_size, high);
    }
}

static void touch_string(const struct x86_instruction *in, struct x86_facts *facts)
{
    if (in->flags & (X86_INSTRUCTION_REP | X86_INSTRUCTION_REPNE)) {
        touch(facts, X86_RCX, in->address_size, ACCESS_BOTH);
        flags_not_certain(facts);
        if (in->operation == X86_OP_LODS) {
            facts->reads |= BIT(X86_RAX);
        }
    }
}

/* --- x87 and vectors -------------------------------------------------------------------------- */

/* FCMOVcc (DA C0 … DF, DB C0 … DF), FCOMI and its kin, FNSTSW AX (DF E0). */
static void x87_facts(const struct x86_instruction *in, struct x86_facts *facts)
{
    static const uint16_t move_flags[4] = {CF, ZF, CF | ZF, PF};
    unsigned int selector = (in->modrm >> 3) & 7;

    if (in->mod != 3) {
        return;
    }
    if (in->shape & X86_SHAPE_FLAGS) {
        write_flags(facts, (uint16_t)X86_FLAGS_ARITHMETIC, 0);
    } else if ((in->opcode == 0xda || in->opcode == 0xdb) && selector < 4) {
        facts->flags_read = move_flags[selector];
    } else if (in->opcode == 0xdf && in->modrm == 0xe0) {
        touch(facts, X86_RAX, 2, ACCESS_WRITE);
    }
}

/* PCMPESTRM, PCMPESTRI, PCMPISTRM, PCMPISTRI: 66 0F3A 60 … 63. */
static void compare_strings_facts(const struct x86_instruction *in, struct x86_facts *facts)
{
    if (in->opcode < 0x62) {
        facts->reads |= BIT(X86_RAX) | BIT(X86_RDX); /* the lengths */
    }
    if (in->opcode & 1) {
        facts->writes |= BIT(X86_RCX); /* the index */
    }
}

/* A general register that is a destination is written as a whole. */
static void vector_facts(const struct x86_instruction *in, struct x86_facts *facts)
{
    if (in->shape & X86_SHAPE_REG_GPR) {
        facts->writes |= BIT(in->reg);
    }
    if ((in->shape & X86_SHAPE_RM_GPR) && !(in->flags & X86_INSTRUCTION_MEMORY)) {
        bool is_destination = (in->shape & X86_SHAPE_MEMORY_WRITE) != 0;
        touch(facts, in->rm, 4, is_destination ? ACCESS_WRITE : ACCESS_READ);
    }
    if (in->shape & X86_SHAPE_FLAGS) {
        write_flags(facts, (uint16_t)X86_FLAGS_ARITHMETIC, 0);
        if (in->map == X86_MAP_0F3A) {
            compare_strings_facts(in, facts);
        }
    }
}

/* --- all together ----------------------------------------------------------------------------- */

static void set_unknown(struct x86_facts *facts)
{
    *facts = (struct x86_facts){.reads = ALL_GPRS,
                                .writes = ALL_GPRS,
                                .flags_read = (uint16_t)X86_FLAGS_ARITHMETIC,
                                .flags_changed = (uint16_t)X86_FLAGS_ARITHMETIC};
}

static void form_facts(const struct x86_instruction *in, const struct x86_facts_row *row,
                       enum x86_decode_mode mode, struct x86_facts *facts)
{
    switch ((enum x86_facts_form)row->form) {
    case FORM_UNKNOWN:
    case FORM_PLAIN:
        break;
    case FORM_DIRECTION:
        touch_direction(in, facts, row->first);
        break;
    case FORM_TEST:
        touch_test(in, facts);
        break;
    case FORM_EXCHANGE:
        touch_exchange(in, facts);
        break;
    case FORM_OPCODE:
        touch_opcode(in, facts, row->first);
        break;
    case FORM_SHIFT:
        shift_flags(in, facts);
        break;
    case FORM_ROTATE:
        rotate_flags(in, facts);
        break;
    case FORM_SHIFT_DOUBLE:
        shift_double_flags(in, facts);
        break;
    case FORM_BIT:
        touch_reg(in, facts, in->immediate_size == 0 ? ACCESS_READ : 0);
        break;
    case FORM_MULTIPLY:
        touch_wide(in, facts, ACCESS_WRITE);
        break;
    case FORM_DIVIDE:
        touch_wide(in, facts, ACCESS_BOTH);
        break;
    case FORM_SIGN:
        touch(facts, X86_RDX, in->operand_size, ACCESS_WRITE);
        break;
    case FORM_MOVBE:
        touch_reg(in, facts, in->opcode == 0xf0 ? ACCESS_WRITE : ACCESS_READ);
        break;
    case FORM_CONDITION:
        facts->flags_read = condition_flags[in->condition >> 1];
        break;
    case FORM_STRING:
        touch_string(in, facts);
        break;
    case FORM_PORT:
        facts->reads |= in->immediate_size == 0 ? BIT(X86_RDX) : 0;
        break;
    case FORM_POPA:
        facts->reads |= in->operand_size == 2 ? facts->writes : 0;
        break;
    case FORM_ONLY_64:
        facts->flags_undefined = 0; /* SYSCALL: what IA32_FMASK leaves */
        if (mode != X86_DECODE_64) {
            set_unknown(facts);
        }
        break;
    case FORM_X87:
        x87_facts(in, facts);
        break;
    case FORM_VECTOR:
        vector_facts(in, facts);
        break;
    }
}

void x86_instruction_facts(const struct x86_instruction *in, enum x86_decode_mode mode,
                           struct x86_facts *facts)
{
    const struct x86_facts_row *row = &x86_facts_rows[in->operation];

    if (row->form == FORM_UNKNOWN) {
        set_unknown(facts);
        return;
    }
    uint16_t written = row->flags_defined | row->flags_undefined;
    *facts = (struct x86_facts){.reads = row->reads,
                                .writes = row->writes,
                                .flags_read = row->flags_read,
                                .flags_written = written,
                                .flags_changed = written | row->flags_left,
                                .flags_undefined = row->flags_undefined | row->flags_left,
                                .known = true};
    touch_address(in, facts);
    if (row->reg != 0) {
        touch_reg(in, facts, row->reg);
    }
    if (row->rm != 0) {
        touch_rm(in, facts, row->rm);
    }
    if (row->vvvv != 0) {
        touch_operand(in, facts, in->vvvv, row->vvvv);
    }
    if (row->accumulator != 0) {
        touch(facts, X86_RAX, in->operand_size, row->accumulator);
    }
    form_facts(in, row, mode, facts);
}
