#include "engines/soft/far.h"

#include "engines/soft/frame.h"
#include "engines/soft/memory.h"
#include "engines/soft/segment_load.h"
#include "engines/soft/task.h"
#include "engines/soft/tss.h"

/* Where a far transfer goes and how it is made. */
struct transfer {
    uint16_t selector;
    uint64_t offset;
    unsigned int size; /* of the operand: CALL pushes so many bytes, twice */
    bool is_call;
};

static void commit(struct soft_cpu *cpu, const struct soft_load *code, uint64_t rip)
{
    cpu->segment[X86_CS] = code->segment;
    cpu->next_rip = rip;
    soft_mode_changed(cpu);
}

/* Checks the target, pushes the return address if it is a call, and goes there, on this stack. */
static void transfer_at_same_level(struct soft_cpu *cpu, const struct soft_load *code,
                                   uint64_t offset, bool is_call, unsigned int size)
{
    if (!is_call) {
        soft_check_code_offset(cpu, &code->segment, offset, 0);
        soft_mark_accessed(cpu, code);
        commit(cpu, code, offset);
        return;
    }
    const uint64_t items[] = {cpu->segment[X86_CS].selector, cpu->next_rip};
    struct soft_stack stack = soft_current_stack(cpu, 0);
    soft_check_frame(cpu, &stack, 2, size);
    soft_check_code_offset(cpu, &code->segment, offset, 0);
    soft_mark_accessed(cpu, code);
    cpu->gpr[X86_RSP] = soft_write_frame(cpu, &stack, items, 2, size);
    commit(cpu, code, offset);
}

/* "Real-Address Mode", "Virtual-8086 Mode": the selector is a paragraph. */
static void transfer_to_paragraph(struct soft_cpu *cpu, const struct transfer *transfer)
{
    struct soft_load code = soft_plain_load(
        soft_virtual_8086(cpu) ? soft_virtual_8086_segment(transfer->selector)
                               : soft_real_segment(cpu, X86_CS, transfer->selector));
    transfer_at_same_level(cpu, &code, transfer->offset, transfer->is_call, transfer->size);
}

/* "JMP", "CALL": CONFORMING-CODE-SEGMENT, NONCONFORMING-CODE-SEGMENT. */
static void transfer_to_code(struct soft_cpu *cpu, const struct transfer *transfer,
                             const struct soft_descriptor *descriptor)
{
    uint32_t error = soft_selector_error(transfer->selector, 0);
    unsigned int dpl = x86_descriptor_dpl(descriptor->low);
    bool allowed = soft_descriptor_is_conforming(descriptor->low)
                       ? dpl <= cpu->cpl
                       : soft_selector_rpl(transfer->selector) <= cpu->cpl && dpl == cpu->cpl;
    if (!allowed || soft_code_is_reserved(cpu, descriptor->low)) {
        soft_raise_error(cpu, X86_VECTOR_GP, error);
    }
    if (!x86_descriptor_present(descriptor->low)) {
        soft_raise_error(cpu, X86_VECTOR_NP, error);
    }
    struct soft_load code = soft_code_segment(cpu, descriptor, transfer->selector, cpu->cpl);
    transfer_at_same_level(cpu, &code, transfer->offset, transfer->is_call, transfer->size);
}

/* "CALL", CALL-GATE, MORE-PRIVILEGE outside IA-32e mode: the parameters move to the new stack. */
static void call_inner_level(struct soft_cpu *cpu, const struct x86_gate *gate,
                             const struct soft_load *code, unsigned int size)
{
    unsigned int level = x86_segment_dpl(&code->segment);
    struct soft_stack stack = soft_tss_inner_stack(cpu, level, 0);
    unsigned int parameters = gate->parameter_count;
    uint64_t items[SOFT_FRAME_MAX];
    unsigned int count = 0;
    items[count++] = cpu->segment[X86_SS].selector;
    items[count++] = cpu->gpr[X86_RSP];
    soft_check_frame(cpu, &stack, parameters + 4, size);
    soft_check_code_offset(cpu, &code->segment, gate->offset, 0);
    soft_mark_accessed(cpu, code);
    soft_mark_accessed(cpu, &stack.load);
    while (parameters > 0) {
        parameters--;
        items[count++] = soft_stack_peek(cpu, (uint64_t)parameters * size, size);
    }
    items[count++] = cpu->segment[X86_CS].selector;
    items[count++] = cpu->next_rip;
    cpu->gpr[X86_RSP] = soft_write_frame(cpu, &stack, items, count, size);
    cpu->segment[X86_SS] = stack.load.segment;
    commit(cpu, code, gate->offset);
}

/* The same in IA-32e mode: no parameters, SS becomes null. */
static void call_inner_level64(struct soft_cpu *cpu, const struct x86_gate *gate,
                               const struct soft_load *code)
{
    struct soft_stack stack = soft_tss_inner_stack64(cpu, x86_segment_dpl(&code->segment), 0, 0);
    const uint64_t items[] = {cpu->segment[X86_SS].selector, cpu->gpr[X86_RSP],
                              cpu->segment[X86_CS].selector, cpu->next_rip};
    soft_check_frame(cpu, &stack, 4, 8);
    soft_check_code_offset(cpu, &code->segment, gate->offset, 0);
    soft_mark_accessed(cpu, code);
    soft_mark_accessed(cpu, &stack.load);
    cpu->gpr[X86_RSP] = soft_write_frame(cpu, &stack, items, 4, 8);
    cpu->segment[X86_SS] = stack.load.segment;
    commit(cpu, code, gate->offset);
}

/* "Call Gates", "64-Bit Mode Call Gates": the code segment that the gate names, checked. */
static struct soft_descriptor fetch_gate_target(struct soft_cpu *cpu, const struct x86_gate *gate,
                                                bool is_call)
{
    if (soft_selector_is_null(gate->selector)) {
        soft_raise_error(cpu, X86_VECTOR_GP, 0);
    }
    struct soft_descriptor target;
    uint32_t error = soft_selector_error(gate->selector, 0);
    if (!soft_fetch_descriptor(cpu, gate->selector, &target) ||
        !soft_descriptor_is_code(target.low) || x86_descriptor_dpl(target.low) > cpu->cpl) {
        soft_raise_error(cpu, X86_VECTOR_GP, error);
    }
    const uint64_t width = target.low & (X86_DESCRIPTOR_L | X86_DESCRIPTOR_DB);
    if ((soft_long_mode(cpu) && width != X86_DESCRIPTOR_L) ||
        (!is_call && !soft_descriptor_is_conforming(target.low) &&
         x86_descriptor_dpl(target.low) != cpu->cpl)) {
        soft_raise_error(cpu, X86_VECTOR_GP, error);
    }
    if (!x86_descriptor_present(target.low)) {
        soft_raise_error(cpu, X86_VECTOR_NP, error);
    }
    return target;
}

/* "JMP", "CALL": CALL-GATE. The operand's offset is not used. */
static void transfer_through_gate(struct soft_cpu *cpu, const struct transfer *transfer,
                                  const struct soft_descriptor *descriptor)
{
    bool is_long = soft_long_mode(cpu);
    struct x86_gate gate = is_long ? x86_gate_from_descriptor64(descriptor->low, descriptor->high)
                                   : x86_gate_from_descriptor(descriptor->low);
    uint32_t error = soft_selector_error(transfer->selector, 0);
    if (gate.dpl < cpu->cpl || gate.dpl < soft_selector_rpl(transfer->selector)) {
        soft_raise_error(cpu, X86_VECTOR_GP, error);
    }
    if (!gate.present) {
        soft_raise_error(cpu, X86_VECTOR_NP, error);
    }
    struct soft_descriptor target = fetch_gate_target(cpu, &gate, transfer->is_call);
    unsigned int dpl = x86_descriptor_dpl(target.low);
    bool inner = !soft_descriptor_is_conforming(target.low) && dpl < cpu->cpl;
    struct soft_load code = soft_code_segment(cpu, &target, gate.selector, inner ? dpl : cpu->cpl);
    unsigned int size = gate.type == X86_SYSTEM_CALL_GATE16 ? 2 : 4;
    if (!inner) {
        transfer_at_same_level(cpu, &code, gate.offset, transfer->is_call, is_long ? 8 : size);
    } else if (is_long) {
        call_inner_level64(cpu, &gate, &code);
    } else {
        call_inner_level(cpu, &gate, &code, size);
    }
}

/* "JMP", "CALL": TASK-GATE and TASK-STATE-SEGMENT; never in IA-32e mode. */
static void transfer_to_task(struct soft_cpu *cpu, const struct transfer *transfer,
                             const struct soft_descriptor *descriptor)
{
    uint32_t error = soft_selector_error(transfer->selector, 0);
    unsigned int dpl = x86_descriptor_dpl(descriptor->low);
    if (dpl < cpu->cpl || dpl < soft_selector_rpl(transfer->selector)) {
        soft_raise_error(cpu, X86_VECTOR_GP, error);
    }
    struct soft_task_switch task = {
        .reason = transfer->is_call ? SOFT_TASK_CALL : SOFT_TASK_JMP,
        .selector = transfer->selector,
        .return_rip = cpu->next_rip,
    };
    if (x86_descriptor_type(descriptor->low) == X86_SYSTEM_TASK_GATE) {
        if (!x86_descriptor_present(descriptor->low)) {
            soft_raise_error(cpu, X86_VECTOR_NP, error);
        }
        task.selector = x86_gate_from_descriptor(descriptor->low).selector;
    }
    soft_switch_task(cpu, &task);
}

static void transfer_through_system_descriptor(struct soft_cpu *cpu,
                                               const struct transfer *transfer,
                                               struct soft_descriptor *descriptor)
{
    unsigned int type = x86_descriptor_type(descriptor->low);
    bool is_long = soft_long_mode(cpu);
    if (type == X86_SYSTEM_CALL_GATE || (type == X86_SYSTEM_CALL_GATE16 && !is_long)) {
        if (soft_fetch_high(cpu, transfer->selector, descriptor)) {
            transfer_through_gate(cpu, transfer, descriptor);
            return;
        }
    } else if (!is_long && (type == X86_SYSTEM_TASK_GATE || type == X86_SYSTEM_TSS_AVAILABLE ||
                            type == X86_SYSTEM_TSS_BUSY || type == X86_SYSTEM_TSS16_AVAILABLE ||
                            type == X86_SYSTEM_TSS16_BUSY)) {
        transfer_to_task(cpu, transfer, descriptor);
        return;
    }
    soft_raise_error(cpu, X86_VECTOR_GP, soft_selector_error(transfer->selector, 0));
}

static void transfer_far(struct soft_cpu *cpu, const struct transfer *transfer)
{
    if (soft_real_or_v86(cpu)) {
        transfer_to_paragraph(cpu, transfer);
        return;
    }
    if (soft_selector_is_null(transfer->selector)) {
        soft_raise_error(cpu, X86_VECTOR_GP, 0);
    }
    struct soft_descriptor descriptor;
    if (!soft_fetch_descriptor(cpu, transfer->selector, &descriptor)) {
        soft_raise_error(cpu, X86_VECTOR_GP, soft_selector_error(transfer->selector, 0));
    }
    if (soft_descriptor_is_code(descriptor.low)) {
        transfer_to_code(cpu, transfer, &descriptor);
    } else if (!x86_descriptor_is_segment(descriptor.low)) {
        transfer_through_system_descriptor(cpu, transfer, &descriptor);
    } else {
        soft_raise_error(cpu, X86_VECTOR_GP, soft_selector_error(transfer->selector, 0));
    }
}

/* ptr16:16, ptr16:32 in the instruction. */
static void transfer_direct(struct soft_cpu *cpu, const struct soft_instruction *in, bool is_call)
{
    unsigned int size = in->decoded.operand_size;
    uint64_t offset = (uint64_t)in->decoded.immediate;
    struct transfer transfer = {
        .selector = in->decoded.immediate2,
        .offset = size == 2 ? offset & 0xffff : offset & 0xffffffff,
        .size = size,
        .is_call = is_call,
    };
    transfer_far(cpu, &transfer);
}

static void transfer_indirect(struct soft_cpu *cpu, const struct soft_instruction *in, bool is_call)
{
    struct soft_far_pointer pointer = soft_read_far_pointer(cpu, in);
    struct transfer transfer = {
        .offset = pointer.offset,
        .selector = pointer.selector,
        .size = in->decoded.operand_size,
        .is_call = is_call,
    };
    transfer_far(cpu, &transfer);
}

void soft_jmp_far(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    transfer_direct(cpu, in, false);
}

void soft_jmp_far_indirect(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    transfer_indirect(cpu, in, false);
}

void soft_call_far(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    transfer_direct(cpu, in, true);
}

void soft_call_far_indirect(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    transfer_indirect(cpu, in, true);
}
