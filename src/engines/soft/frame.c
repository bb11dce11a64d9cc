#include "engines/soft/frame.h"

#include "engines/soft/memory.h"

struct soft_stack soft_current_stack(const struct soft_cpu *cpu, uint32_t external)
{
    return (struct soft_stack){
        .load = soft_plain_load(cpu->segment[X86_SS]),
        .rsp = cpu->gpr[X86_RSP],
        .mask = soft_stack_mask(&cpu->segment[X86_SS], soft_64bit(cpu)),
        .user = cpu->cpl == 3,
        .external = external,
    };
}

struct soft_stack soft_inner_stack(const struct soft_load *load, uint64_t rsp, unsigned int cpl,
                                   bool is_64bit, uint32_t external)
{
    return (struct soft_stack){
        .load = *load,
        .rsp = rsp,
        .mask = soft_stack_mask(&load->segment, is_64bit),
        .user = cpl == 3,
        .selected = true,
        .external = external,
    };
}

_Noreturn static void raise_stack_fault(struct soft_cpu *cpu, const struct soft_stack *stack)
{
    uint16_t selector = stack->selected ? stack->load.segment.selector : 0;
    soft_raise_error(cpu, X86_VECTOR_SS, soft_selector_error(selector, stack->external));
}

/* "Limit Checking": the valid offsets of an expand-down segment lie above its limit. */
static bool is_within_limit(const struct x86_segment *segment, uint64_t offset, unsigned int size)
{
    uint64_t last = offset + size - 1;
    if ((segment->attributes & X86_SEGMENT_UNUSABLE) != 0) {
        return false;
    }
    if ((segment->attributes & X86_TYPE_EXPAND_DOWN) != 0) {
        uint64_t top = (segment->attributes & X86_SEGMENT_DB) != 0 ? 0xffffffff : 0xffff;
        return offset > segment->limit && last <= top;
    }
    return last <= segment->limit;
}

static bool is_64bit_stack(const struct soft_stack *stack)
{
    return stack->mask == ~UINT64_C(0);
}

/* Where the item number `index` (from 0) goes. */
static uint64_t item_offset(const struct soft_stack *stack, unsigned int index, unsigned int size)
{
    return (stack->rsp - (uint64_t)(index + 1) * size) & stack->mask;
}

static uint64_t item_linear(const struct soft_stack *stack, unsigned int index, unsigned int size)
{
    uint64_t offset = item_offset(stack, index, size);
    return is_64bit_stack(stack) ? offset : (uint32_t)(stack->load.segment.base + offset);
}

void soft_check_frame(struct soft_cpu *cpu, const struct soft_stack *stack, unsigned int count,
                      unsigned int size)
{
    if (is_64bit_stack(stack)) {
        uint64_t length = (uint64_t)count * size;
        uint64_t low = stack->rsp - length;
        if (!soft_canonical(cpu, low) || !soft_canonical(cpu, stack->rsp - 1)) {
            raise_stack_fault(cpu, stack);
        }
        soft_check_write_as(cpu, stack->user, low, length);
        return;
    }
    for (unsigned int i = 0; i < count; i++) {
        if (!is_within_limit(&stack->load.segment, item_offset(stack, i, size), size)) {
            raise_stack_fault(cpu, stack);
        }
    }
    for (unsigned int i = 0; i < count; i++) {
        soft_check_write_as(cpu, stack->user, item_linear(stack, i, size), size);
    }
}

uint64_t soft_write_frame(struct soft_cpu *cpu, const struct soft_stack *stack,
                          const uint64_t *items, unsigned int count, unsigned int size)
{
    for (unsigned int i = 0; i < count; i++) {
        soft_write_as(cpu, stack->user, item_linear(stack, i, size), items[i], size);
    }
    uint64_t offset = (stack->rsp - (uint64_t)count * size) & stack->mask;
    return soft_merge_rsp(stack->rsp, offset, stack->mask);
}
