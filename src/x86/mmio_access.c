#include "x86/mmio_access.h"

#include <stddef.h>

#include "x86/control_rules.h"
#include "x86/mmio_operation.h"
#include "x86/registers.h"

struct planner {
    const struct mmio_mode *mode;
    const struct x86_instruction *in;
    const struct mmio_registers *before;
    struct mmio_access *access;
};

/* --- addresses --- */

/* ModRM's memory operand, with RSP as given: POP computes it after its increment. */
static uint64_t effective_address(const struct planner *planner, uint64_t rsp)
{
    const struct x86_instruction *in = planner->in;
    const uint64_t *gpr = planner->before->gpr;
    uint64_t address = (uint64_t)(int64_t)in->displacement;
    if (in->base == X86_REGISTER_RIP) {
        address += planner->before->rip + in->length;
    } else if (in->base != X86_REGISTER_NONE) {
        address += in->base == X86_RSP ? rsp : gpr[in->base];
    }
    if (in->index != X86_REGISTER_NONE) {
        address += gpr[in->index] << in->scale;
    }
    return address & mmio_size_mask(in->address_size);
}

/*
 * A bit offset in a register is signed and reaches beyond the operand: the address moves by whole
 * operands ("BT—Bit Test").
 */
static uint64_t bit_address(const struct planner *planner)
{
    const struct x86_instruction *in = planner->in;
    uint64_t address = effective_address(planner, planner->before->gpr[X86_RSP]);
    if (!mmio_bit_is_immediate(in)) {
        unsigned int bits = 8u * in->operand_size;
        int64_t offset = mmio_sign_extend(planner->before->gpr[in->reg], in->operand_size);
        address += (uint64_t)(offset >> __builtin_ctz(bits)) * in->operand_size;
    }
    return address & mmio_size_mask(in->address_size);
}

/* "Type Checking": may a segment be read, or written, through? */
static bool type_allows(const struct x86_segment *segment, bool is_write)
{
    bool code = (segment->attributes & X86_TYPE_CODE) != 0;
    if ((segment->attributes & X86_SEGMENT_UNUSABLE) != 0) {
        return false;
    }
    if (is_write) {
        return !code && (segment->attributes & X86_TYPE_WRITABLE) != 0;
    }
    return !code || (segment->attributes & X86_TYPE_READABLE) != 0;
}

/* "Limit Checking" outside 64-bit mode. */
static bool within_limit(const struct x86_segment *segment, uint64_t offset, unsigned int size)
{
    uint64_t last = offset + size - 1;
    uint32_t expands_down = segment->attributes & (X86_TYPE_CODE | X86_TYPE_EXPAND_DOWN);
    if (expands_down != X86_TYPE_EXPAND_DOWN) {
        return last <= segment->limit;
    }
    uint64_t top = (segment->attributes & X86_SEGMENT_DB) != 0 ? UINT32_MAX : UINT16_MAX;
    return offset > segment->limit && last <= top;
}

static bool operand_at(const struct planner *planner, unsigned int segment, uint64_t offset,
                       unsigned int size, bool is_write, struct mmio_operand *operand)
{
    const struct mmio_mode *mode = planner->mode;
    uint64_t linear = offset;
    bool allowed;
    if (mode->code == X86_DECODE_64) {
        if (segment == X86_FS || segment == X86_GS) {
            linear += mode->segment[segment].base;
        }
        allowed = x86_is_canonical(linear, mode->linear_bits) &&
                  x86_is_canonical(linear + size - 1, mode->linear_bits);
    } else {
        const struct x86_segment *descriptor = &mode->segment[segment];
        linear = (offset + descriptor->base) & UINT32_MAX;
        allowed = (mode->real_or_v86 || type_allows(descriptor, is_write)) &&
                  within_limit(descriptor, offset, size);
    }
    *operand = (struct mmio_operand){.linear = linear, .size = (uint8_t)size};
    planner->access->vector = segment == X86_SS ? X86_VECTOR_SS : X86_VECTOR_GP;
    return allowed;
}

/* Each adds one access; false is a fault. */
static bool plan_read(const struct planner *planner, unsigned int segment, uint64_t offset,
                      unsigned int size)
{
    struct mmio_access *access = planner->access;
    return operand_at(planner, segment, offset, size, false, &access->read[access->read_count++]);
}

static bool plan_write(const struct planner *planner, unsigned int segment, uint64_t offset,
                       unsigned int size)
{
    planner->access->has_write = true;
    return operand_at(planner, segment, offset, size, true, &planner->access->write);
}

/* --- kinds of instructions --- */

static bool plan_modrm(const struct planner *planner, const struct mmio_operation *operation)
{
    const struct x86_instruction *in = planner->in;
    bool is_bit = operation->compute == mmio_compute_bit;
    uint64_t offset =
        is_bit ? bit_address(planner) : effective_address(planner, planner->before->gpr[X86_RSP]);
    unsigned int size = in->memory_size;
    /* A read-modify-write is checked as a write first: its one fault is that of the write. */
    if (mmio_writes_modrm(operation, in) && !plan_write(planner, in->segment, offset, size)) {
        return false;
    }
    return !mmio_reads_modrm(operation, in) || plan_read(planner, in->segment, offset, size);
}

static bool plan_string(const struct planner *planner, const struct mmio_operation *operation)
{
    const struct x86_instruction *in = planner->in;
    const uint64_t *gpr = planner->before->gpr;
    uint64_t mask = mmio_size_mask(in->address_size);
    uint64_t source = gpr[X86_RSI] & mask, destination = gpr[X86_RDI] & mask;
    unsigned int size = in->operand_size;
    if (mmio_repeats(in) && (gpr[X86_RCX] & mask) == 0) {
        return true;
    }
    if (operation->reads_source && !plan_read(planner, in->segment, source, size)) {
        return false;
    }
    if (operation->reads_destination && !plan_read(planner, X86_ES, destination, size)) {
        return false;
    }
    return !operation->writes || plan_write(planner, X86_ES, destination, size);
}

/* The address of the table's byte or of MOV's moffs, which no ModRM describes. */
static bool plan_accumulator(const struct planner *planner, const struct mmio_operation *operation)
{
    const struct x86_instruction *in = planner->in;
    uint64_t offset = (uint64_t)in->immediate;
    if (in->operation == X86_OP_XLAT) {
        offset = planner->before->gpr[X86_RBX] + (planner->before->gpr[X86_RAX] & 0xff);
    }
    offset &= mmio_size_mask(in->address_size);
    return operation->writes ? plan_write(planner, in->segment, offset, in->operand_size)
                             : plan_read(planner, in->segment, offset, in->operand_size);
}

static bool plan_push(const struct planner *planner)
{
    const struct x86_instruction *in = planner->in;
    uint64_t rsp = planner->before->gpr[X86_RSP], mask = mmio_stack_mask(planner->mode);
    unsigned int size = in->operand_size;
    if (x86_has_memory_operand(in) &&
        !plan_read(planner, in->segment, effective_address(planner, rsp), size)) {
        return false;
    }
    return plan_write(planner, X86_SS, (rsp - size) & mask, size);
}

static bool plan_pop(const struct planner *planner)
{
    const struct x86_instruction *in = planner->in;
    uint64_t rsp = planner->before->gpr[X86_RSP], mask = mmio_stack_mask(planner->mode);
    unsigned int size = in->operand_size;
    if (!plan_read(planner, X86_SS, rsp & mask, size)) {
        return false;
    }
    if (!x86_has_memory_operand(in)) {
        return true;
    }
    uint64_t moved = (rsp & ~mask) | ((rsp + size) & mask);
    return plan_write(planner, in->segment, effective_address(planner, moved), size);
}

/* Why an instruction has no row, or no access that its row could mean. */
static const char *why_unserved(const struct x86_instruction *in)
{
    if (in->vector_length != 0 || in->operation >= X86_OP_FWAIT) {
        return "no vector or x87 instruction is served on device memory";
    }
    return "this instruction is not served on device memory";
}

enum mmio_access_result mmio_access_plan(const struct mmio_mode *mode,
                                         const struct x86_instruction *in,
                                         const struct mmio_registers *before,
                                         struct mmio_access *access)
{
    const struct mmio_operation *operation = mmio_operation_find(in->operation);
    const struct planner planner = {mode, in, before, access};
    bool good;
    *access = (struct mmio_access){.after = *before};
    bool has_values = operation != NULL && in->memory_size <= sizeof(access->write_value);
    if (!has_values || (operation->kind == MMIO_KIND_MODRM && !x86_has_memory_operand(in))) {
        access->why = why_unserved(in);
        return MMIO_ACCESS_UNSERVED;
    }
    switch (operation->kind) {
    case MMIO_KIND_STRING:
        good = plan_string(&planner, operation);
        break;
    case MMIO_KIND_ACCUMULATOR:
        good = plan_accumulator(&planner, operation);
        break;
    case MMIO_KIND_PUSH:
        good = plan_push(&planner);
        break;
    case MMIO_KIND_POP:
        good = plan_pop(&planner);
        break;
    case MMIO_KIND_MODRM:
    default:
        good = plan_modrm(&planner, operation);
        break;
    }
    return good ? MMIO_ACCESS_OK : MMIO_ACCESS_FAULT;
}

/* --- the end of an instruction --- */

/* Moves rIP on, unless REP has more to do; TF and the like are the caller's. */
static void finish(const struct mmio_mode *mode, const struct x86_instruction *in, bool again,
                   struct mmio_registers *after)
{
    if (again) {
        return;
    }
    after->rip += in->length;
    if (mode->code != X86_DECODE_64) {
        after->rip &= UINT32_MAX;
    }
    after->rflags &= ~X86_FLAGS_RF;
}

void mmio_access_compute(const struct mmio_mode *mode, const struct x86_instruction *in,
                         struct mmio_access *access)
{
    const struct mmio_operation *operation = mmio_operation_find(in->operation);
    if (operation == NULL) { /* mmio_access_plan() has refused it */
        return;
    }
    bool again = false;
    for (unsigned int i = 0; i < access->read_count; i++) {
        access->value[i] &= mmio_size_mask(access->read[i].size);
    }
    switch (operation->kind) {
    case MMIO_KIND_STRING:
        again = mmio_compute_string(in, operation, access);
        break;
    case MMIO_KIND_PUSH:
        mmio_compute_push(mode, in, access);
        break;
    case MMIO_KIND_POP:
        mmio_compute_pop(mode, in, access);
        break;
    default:
        operation->compute(in, access);
        break;
    }
    if (access->has_write) {
        access->write_value &= mmio_size_mask(access->write.size);
    }
    finish(mode, in, again, &access->after);
}
