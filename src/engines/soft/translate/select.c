#include "engines/soft/translate/select.h"

/* --- instructions that are the same on the host, but for their memory operand --- */

/* Opcodes that have a byte register in ModRM.reg. */
static bool has_byte_register(const struct x86_instruction *in)
{
    if (in->map == X86_MAP_0F) {
        return in->opcode == 0xb0 || in->opcode == 0xc0; /* CMPXCHG, XADD */
    }
    return in->map == X86_MAP_ONE_BYTE && in->operand_size == 1 &&
           (in->opcode < 0x40 || (in->opcode >= 0x84 && in->opcode <= 0x8b));
}

/* An instruction with AH to DH can't have REX, and so no R10 or R11 as an address. */
static bool has_high_byte(const struct x86_instruction *in)
{
    return has_byte_register(in) && (in->flags & X86_INSTRUCTION_REX) == 0 && in->reg >= 4 &&
           in->reg < 8;
}

/* Does ModRM.reg, or VEX.vvvv, name this general register as an operand? */
static bool names_register(const struct x86_instruction *in, unsigned int reg)
{
    const unsigned int other = X86_SHAPE_REG_VECTOR | X86_SHAPE_REG_MMX;
    return ((in->shape & other) == 0 && in->reg == reg) ||
           ((in->shape & X86_SHAPE_VVVV_GPR) != 0 && in->vvvv == reg);
}

/* What ModRM.rm's operand is to the instruction. */
static bool writes_rm(const struct x86_instruction *in)
{
    switch ((enum x86_operation)in->operation) {
    case X86_OP_ADD:
    case X86_OP_OR:
    case X86_OP_ADC:
    case X86_OP_SBB:
    case X86_OP_AND:
    case X86_OP_SUB:
    case X86_OP_XOR:
        return in->opcode >= 0x80 || (in->opcode & 2) == 0; /* 03 /r and its like: reg, r/m */
    case X86_OP_MOV:
        return in->opcode != 0x8a && in->opcode != 0x8b;
    case X86_OP_MOVBE:
        return in->opcode == 0xf1;
    case X86_OP_CMP:
    case X86_OP_TEST:
    case X86_OP_MUL:
    case X86_OP_IMUL:
    case X86_OP_IMUL2:
    case X86_OP_IMUL3:
    case X86_OP_DIV:
    case X86_OP_IDIV:
    case X86_OP_MOVZX8:
    case X86_OP_MOVZX16:
    case X86_OP_MOVSX8:
    case X86_OP_MOVSX16:
    case X86_OP_MOVSXD:
    case X86_OP_CMOVCC:
    case X86_OP_BT:
    case X86_OP_BSF:
    case X86_OP_BSR:
    case X86_OP_TZCNT:
    case X86_OP_LZCNT:
    case X86_OP_POPCNT:
    case X86_OP_CRC32:
    case X86_OP_ADCX:
    case X86_OP_ADOX:
    case X86_OP_ANDN:
    case X86_OP_BEXTR:
    case X86_OP_BLSI:
    case X86_OP_BLSMSK:
    case X86_OP_BLSR:
    case X86_OP_BZHI:
    case X86_OP_MULX:
    case X86_OP_PDEP:
    case X86_OP_PEXT:
    case X86_OP_RORX:
    case X86_OP_SARX:
    case X86_OP_SHLX:
    case X86_OP_SHRX:
        return false;
    default: /* the rest of those in the table below */
        return true;
    }
}

/*
 * Operands relative to RIP are told from where their page begins, and a group's from where it
 * begins: these displacements must be some, too.
 */
bool select_is_in_reach(const struct x86_instruction *in)
{
    const int32_t room = 2 * (int32_t)SOFT_PAGE_SIZE;
    return in->base != X86_REGISTER_RIP ||
           (in->displacement <= INT32_MAX - room && in->displacement >= INT32_MIN + room);
}

bool select_address_is_simple(const struct unit *unit, const struct x86_instruction *in)
{
    bool code64 = unit_is_64bit(unit);
    if (!select_is_in_reach(in)) {
        return false;
    }
    if (in->address_size == 2 || (in->base == X86_REGISTER_RIP && in->address_size != 8)) {
        return false;
    }
    if (!code64 && (in->segment == X86_FS || in->segment == X86_GS || in->segment == X86_CS)) {
        return false; /* they have limits, or can't be written to: what SOFT_MODE_FAST rules out */
    }
    return code64 || in->address_size == 4;
}

/*
 * "VEX-Encoded GPR Instructions": outside 64-bit mode VEX.W, VEX.B and the upper bit of VEX.vvvv
 * are ignored. The host would not ignore them.
 */
static bool has_ignored_bits(const struct unit *unit, const struct unit_instruction *at)
{
    const struct x86_instruction *in = &at->in.decoded;
    if (in->encoding != X86_ENCODING_VEX || unit_is_64bit(unit)) {
        return false;
    }
    const uint8_t *before_opcode = &at->in.bytes[in->opcode_offset - 1];
    bool is_long = before_opcode[-1] != 0xc5; /* the form that has W and B */
    bool names_w_or_b = (before_opcode[0] & 0x80) != 0 || (before_opcode[-1] & 0x20) == 0;
    return (is_long && names_w_or_b) || (before_opcode[0] & 0x40) == 0;
}

bool select_plain_test(const struct soft_cpu *cpu, const struct unit *unit,
                       const struct unit_instruction *at)
{
    const struct x86_instruction *in = &at->in.decoded;
    (void)cpu;
    if (has_ignored_bits(unit, at)) {
        return false;
    }
    if (in->map == X86_MAP_ONE_BYTE && in->opcode == 0x82) {
        return false; /* not there in 64-bit mode, in which the host runs it */
    }
    if (!x86_has_memory_operand(in)) {
        return (in->flags & X86_INSTRUCTION_LOCK) == 0;
    }
    bool both = names_register(in, T0) && names_register(in, T1);
    return select_address_is_simple(unit, in) && !both && in->memory_size != 0 &&
           in->memory_size <= 32;
}

/* INC and DEC by their short opcodes, which are REX prefixes on the host. */
static bool is_short_step(const struct generate *generate, const struct x86_instruction *in)
{
    return !unit_is_64bit(generate->unit) && in->map == X86_MAP_ONE_BYTE &&
           (in->opcode & 0xf0) == 0x40;
}

/* The bytes without the prefixes that mean nothing to an instruction without a memory operand. */
static void emit_register_form(struct generate *generate, const struct unit_instruction *at)
{
    const struct x86_instruction *in = &at->in.decoded;
    if (is_short_step(generate, in)) {
        if (in->operand_size == 2) {
            EMIT(&generate->emitter, 0x66);
        }
        EMIT(&generate->emitter, 0xff, (uint8_t)(0xc0 | (in->opcode & 15)));
        return;
    }
    unsigned int start = 0;
    for (; start < in->opcode_offset; start++) {
        uint8_t byte = at->in.bytes[start];
        bool segment = byte == 0x26 || byte == 0x2e || byte == 0x36 || byte == 0x3e ||
                       byte == 0x64 || byte == 0x65 || byte == 0x67;
        if (!segment) {
            break;
        }
    }
    emit_bytes(&generate->emitter, at->in.bytes + start, in->length - start);
}

/* EFLAGS as the instruction wants to find it. */
static void keep_flags(struct generate *generate, unsigned int scratch)
{
    unsigned int wanted = translate_flags_before(generate->at);
    if (wanted != 0 && (generate->at->facts.flags_read | generate->at->facts.flags_changed) != 0) {
        generate_need_flags(generate, scratch);
    }
}

/*
 * The operand is loaded first, for the sake of the flags (translate_recipe_of). Where C runs the
 * instruction instead, it does not keep the operand, and so must not come back into the block.
 */
static void emit_with_operand_kept(struct generate *generate, const struct unit_instruction *at,
                                   struct emit_memory memory, unsigned int scratch)
{
    const struct x86_instruction *in = &at->in.decoded;
    for (unsigned int i = 0; i < generate->pending_count; i++) {
        generate->pending[i]->leaves = generate->pending[i]->keeps = true;
    }
    emit_load(&generate->emitter, scratch, memory, in->memory_size);
    emit_store(&generate->emitter, GS_FIELD(translate.flags_operand), scratch, 8);
    emit_with_register(&generate->emitter, in, at->in.bytes, scratch);
    generate->cached[scratch - T0] = false;
}

/* RSI holds the address meanwhile: it needs no REX. */
static void emit_with_high_byte(struct generate *generate, struct emit_memory memory)
{
    struct emitter *emitter = &generate->emitter;
    const struct unit_instruction *at = generate->at;
    emit_store(emitter, GS_FIELD(translate.temporary), X86_RSI, 8);
    emit_load_effective(emitter, X86_RSI, memory, 8);
    emit_with_memory(emitter, &at->in.decoded, at->in.bytes, emit_at(X86_RSI, 0));
    emit_load(emitter, X86_RSI, GS_FIELD(translate.temporary), 8);
}

static void select_plain_memory(struct generate *generate)
{
    const struct unit_instruction *at = generate->at;
    const struct x86_instruction *in = &at->in.decoded;
    struct access access = {.size = in->memory_size,
                            .write = writes_rm(in),
                            .aligned = in->operation == X86_OP_CMPXCHG16B,
                            .spares_r10 = names_register(in, T0)};
    struct emit_memory memory = generate_operand(generate, in, &access);
    unsigned int scratch = generate_free_scratch(memory);
    keep_flags(generate, scratch);
    if (names_register(in, scratch)) {
        generate_fill(generate, scratch);
    }
    bool high = has_high_byte(in);
    bool keep = !high && !names_register(in, scratch) && generate_should_keep_operand(generate);
    if (keep) {
        emit_with_operand_kept(generate, at, memory, scratch);
    } else if (high) {
        emit_with_high_byte(generate, memory);
    } else {
        emit_with_memory(&generate->emitter, in, at->in.bytes, memory);
    }
    if ((at->facts.writes >> scratch & 1) != 0) {
        generate_spill(generate, scratch);
    }
    generate_note_flags(generate);
    generate->operand_kept = keep;
    if (access.write) {
        generate_after_store(generate, memory, in->memory_size);
    }
}

void select_plain(struct generate *generate)
{
    const struct unit_instruction *at = generate->at;
    if (x86_has_memory_operand(&at->in.decoded)) {
        select_plain_memory(generate);
        return;
    }
    keep_flags(generate, T0);
    generate_fill_read(generate);
    emit_register_form(generate, at);
    generate_spill_written(generate);
    generate_note_flags(generate);
}

/* --- the table --- */

struct row {
    select_test *test;
    select_function *select;
    bool by_operand; /* it reaches its memory operand by generate_operand */
};

#define PLAIN                                                                                      \
    {                                                                                              \
        select_plain_test, select_plain, true                                                      \
    }

static const struct row rows[X86_OP_COUNT] = {
    [X86_OP_ADD] = PLAIN,
    [X86_OP_OR] = PLAIN,
    [X86_OP_ADC] = PLAIN,
    [X86_OP_SBB] = PLAIN,
    [X86_OP_AND] = PLAIN,
    [X86_OP_SUB] = PLAIN,
    [X86_OP_XOR] = PLAIN,
    [X86_OP_CMP] = PLAIN,
    [X86_OP_ROL] = PLAIN,
    [X86_OP_ROR] = PLAIN,
    [X86_OP_RCL] = PLAIN,
    [X86_OP_RCR] = PLAIN,
    [X86_OP_SHL] = PLAIN,
    [X86_OP_SHR] = PLAIN,
    [X86_OP_SAL] = PLAIN,
    [X86_OP_SAR] = PLAIN,
    [X86_OP_SHLD] = PLAIN,
    [X86_OP_SHRD] = PLAIN,
    [X86_OP_TEST] = PLAIN,
    [X86_OP_NOT] = PLAIN,
    [X86_OP_NEG] = PLAIN,
    [X86_OP_MUL] = PLAIN,
    [X86_OP_IMUL] = PLAIN,
    [X86_OP_IMUL2] = PLAIN,
    [X86_OP_IMUL3] = PLAIN,
    [X86_OP_INC] = PLAIN,
    [X86_OP_DEC] = PLAIN,
    [X86_OP_MOV] = PLAIN,
    [X86_OP_MOVBE] = PLAIN,
    [X86_OP_MOVNTI] = PLAIN,
    [X86_OP_MOVZX8] = PLAIN,
    [X86_OP_MOVZX16] = PLAIN,
    [X86_OP_MOVSX8] = PLAIN,
    [X86_OP_MOVSX16] = PLAIN,
    [X86_OP_MOVSXD] = PLAIN,
    [X86_OP_LEA] = {select_lea_test, select_lea, false},
    [X86_OP_XCHG] = PLAIN,
    [X86_OP_XADD] = PLAIN,
    [X86_OP_CMPXCHG] = PLAIN,
    [X86_OP_CMPXCHG8B] = PLAIN,
    [X86_OP_CMPXCHG16B] = PLAIN,
    [X86_OP_BSWAP] = PLAIN,
    [X86_OP_CMOVCC] = PLAIN,
    [X86_OP_SETCC] = PLAIN,
    [X86_OP_CBW] = PLAIN,
    [X86_OP_CWD] = PLAIN,
    [X86_OP_BT] = {select_bit_test, select_bit, true},
    [X86_OP_BTS] = {select_bit_test, select_bit, true},
    [X86_OP_BTR] = {select_bit_test, select_bit, true},
    [X86_OP_BTC] = {select_bit_test, select_bit, true},
    [X86_OP_BSF] = PLAIN,
    [X86_OP_BSR] = PLAIN,
    [X86_OP_TZCNT] = PLAIN,
    [X86_OP_LZCNT] = PLAIN,
    [X86_OP_POPCNT] = PLAIN,
    [X86_OP_CRC32] = PLAIN,
    [X86_OP_ADCX] = PLAIN,
    [X86_OP_ADOX] = PLAIN,
    [X86_OP_ANDN] = PLAIN,
    [X86_OP_BEXTR] = PLAIN,
    [X86_OP_BLSI] = PLAIN,
    [X86_OP_BLSMSK] = PLAIN,
    [X86_OP_BLSR] = PLAIN,
    [X86_OP_BZHI] = PLAIN,
    [X86_OP_MULX] = PLAIN,
    [X86_OP_PDEP] = PLAIN,
    [X86_OP_PEXT] = PLAIN,
    [X86_OP_RORX] = PLAIN,
    [X86_OP_SARX] = PLAIN,
    [X86_OP_SHLX] = PLAIN,
    [X86_OP_SHRX] = PLAIN,
    [X86_OP_CLC] = PLAIN,
    [X86_OP_STC] = PLAIN,
    [X86_OP_CMC] = PLAIN,
    [X86_OP_LAHF] = PLAIN,
    [X86_OP_SAHF] = PLAIN,
    [X86_OP_NOP] = {select_any_test, select_nop, false},
    [X86_OP_LFENCE] = PLAIN,
    [X86_OP_MFENCE] = PLAIN,
    [X86_OP_SFENCE] = PLAIN,
    [X86_OP_DIV] = {select_divide_test, select_divide, true},
    [X86_OP_IDIV] = {select_divide_test, select_divide, true},

    [X86_OP_SSE] = {select_vector_test, select_vector, true},
    [X86_OP_AVX] = {select_vector_test, select_vector, true},
    [X86_OP_VZERO] = {select_vzero_test, select_vzero, false},
    [X86_OP_LDMXCSR] = {select_vector_test, select_ldmxcsr, false},
    [X86_OP_STMXCSR] = {select_vector_test, select_stmxcsr, false},
    [X86_OP_X87] = {select_x87_test, select_x87, false},
    [X86_OP_FWAIT] = {select_fwait_test, select_nop, false},
    [X86_OP_MMX] = {select_mmx_test, select_mmx, false},
    [X86_OP_EMMS] = {select_emms_test, select_emms, false},

    [X86_OP_MOVS] = {select_string_test, select_string, false},
    [X86_OP_STOS] = {select_string_test, select_string, false},
    [X86_OP_LODS] = {select_string_test, select_string, false},

    [X86_OP_CLI] = {select_kernel_test, select_interrupt_flag, false},
    [X86_OP_STI] = {select_kernel_test, select_interrupt_flag, false},
    [X86_OP_CLD] = {select_any_test, select_direction_flag, false},
    [X86_OP_STD] = {select_any_test, select_direction_flag, false},
    [X86_OP_CLAC] = {select_kernel_test, select_access_check, false},
    [X86_OP_STAC] = {select_kernel_test, select_access_check, false},
    [X86_OP_SWAPGS] = {select_swapgs_test, select_swapgs, false},
    [X86_OP_PUSHF] = {select_pushf_test, select_pushf, false},
    [X86_OP_RDTSC] = {select_any_test, select_time_stamp, false},
    [X86_OP_RDTSCP] = {select_any_test, select_time_stamp, false},
    [X86_OP_MOV_FROM_SEGMENT] = {select_from_segment_test, select_from_segment, false},
    [X86_OP_PAUSE] = {select_any_test, select_pause, false},

    [X86_OP_PUSH] = {select_push_test, select_push, true},
    [X86_OP_POP] = {select_pop_test, select_pop, false},
    [X86_OP_LEAVE] = {select_leave_test, select_leave, false},

    [X86_OP_JCC] = {select_branch_test, select_jcc, false},
    [X86_OP_JMP] = {select_branch_test, select_jmp, false},
    [X86_OP_CALL] = {select_branch_test, select_call, false},
    [X86_OP_RET] = {select_branch_test, select_ret, false},
    [X86_OP_JMP_INDIRECT] = {select_indirect_test, select_jmp_indirect, true},
    [X86_OP_CALL_INDIRECT] = {select_indirect_test, select_call_indirect, true},
};

bool select_any_test(const struct soft_cpu *cpu, const struct unit *unit,
                     const struct unit_instruction *at)
{
    (void)cpu;
    (void)unit;
    (void)at;
    return true;
}

/*
 * What the interpreter does by itself the host may lack (MOVBE, ADX); and two instructions are
 * others to a guest, or on a host, that does not have their feature.
 */
static bool means_the_same_on_host(const struct soft_cpu *cpu, const struct x86_instruction *in)
{
    unsigned int feature = in->feature;
    if (in->operation == X86_OP_TZCNT) {
        feature = X86_FEATURE_BMI1;
    } else if (in->operation == X86_OP_LZCNT) {
        feature = X86_FEATURE_LZCNT;
    }
    return (cpu->features & cpu->translate.translator->host_features) >> feature & 1;
}

bool translate_can_select(const struct soft_cpu *cpu, const struct unit *unit,
                          const struct unit_instruction *at)
{
    const struct row *row = &rows[at->in.decoded.operation];
    return row->test != NULL && means_the_same_on_host(cpu, &at->in.decoded) &&
           row->test(cpu, unit, at);
}

void translate_select(struct generate *generate)
{
    rows[generate->at->in.decoded.operation].select(generate);
}

bool translate_has_operand_access(const struct unit_instruction *at)
{
    return rows[at->in.decoded.operation].by_operand && x86_has_memory_operand(&at->in.decoded) &&
           !select_is_bit_string(&at->in.decoded);
}

bool translate_writes_operand(const struct unit_instruction *at)
{
    switch ((enum x86_operation)at->in.decoded.operation) {
    case X86_OP_PUSH:
    case X86_OP_JMP_INDIRECT:
    case X86_OP_CALL_INDIRECT:
        return false;
    case X86_OP_SSE:
    case X86_OP_AVX:
        return (at->in.decoded.shape & X86_SHAPE_MEMORY_WRITE) != 0;
    default:
        return writes_rm(&at->in.decoded);
    }
}

bool translate_is_quiet(const struct unit_instruction *at)
{
    const struct row *row = &rows[at->in.decoded.operation];
    if (at->kind != UNIT_NATIVE) {
        return false;
    }
    if (row->select == select_plain || row->select == select_vector ||
        row->select == select_vzero) {
        return !x86_has_memory_operand(&at->in.decoded);
    }
    return row->select == select_lea || row->select == select_nop || row->select == select_jcc ||
           row->select == select_jmp;
}
