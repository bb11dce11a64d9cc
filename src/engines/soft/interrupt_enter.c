#include "engines/soft/interrupt_enter.h"

#include "engines/soft/frame.h"
#include "engines/soft/memory.h"
#include "engines/soft/segment_load.h"
#include "engines/soft/task.h"
#include "engines/soft/tss.h"

#define TYPE(name)   (1u << X86_SYSTEM_##name)
#define LONG_TYPES   (TYPE(INTERRUPT_GATE) | TYPE(TRAP_GATE))
#define LEGACY_TYPES (LONG_TYPES | TYPE(INTERRUPT_GATE16) | TYPE(TRAP_GATE16) | TYPE(TASK_GATE))

/* The error code names the entry of the IDT ("Error Code": IDT flag, index). */
_Noreturn void soft_refuse_event_vector(struct soft_cpu *cpu, enum x86_vector vector,
                                        const struct soft_event *event)
{
    soft_raise_error(cpu, vector, event->vector * 8u + 2u + soft_event_external(event));
}

void soft_check_event_gate(struct soft_cpu *cpu, const struct soft_event *event,
                           const struct x86_gate *gate, unsigned int types)
{
    if (gate->is_segment || (types >> gate->type & 1) == 0) {
        soft_refuse_event_vector(cpu, X86_VECTOR_GP, event);
    }
    if (event->kind == SOFT_EVENT_SOFTWARE && gate->dpl < cpu->cpl) {
        soft_refuse_event_vector(cpu, X86_VECTOR_GP, event);
    }
    if (!gate->present) {
        soft_refuse_event_vector(cpu, X86_VECTOR_NP, event);
    }
}

struct soft_load soft_check_event_target(struct soft_cpu *cpu, const struct soft_event *event,
                                         const struct x86_gate *gate, bool *inner)
{
    uint32_t external = soft_event_external(event);
    if (soft_selector_is_null(gate->selector)) {
        soft_raise_error(cpu, X86_VECTOR_GP, external);
    }
    struct soft_descriptor target;
    uint32_t error = soft_selector_error(gate->selector, external);
    if (!soft_fetch_descriptor(cpu, gate->selector, &target) ||
        !soft_descriptor_is_code(target.low) || x86_descriptor_dpl(target.low) > cpu->cpl) {
        soft_raise_error(cpu, X86_VECTOR_GP, error);
    }
    const uint64_t width = target.low & (X86_DESCRIPTOR_L | X86_DESCRIPTOR_DB);
    if (soft_long_mode(cpu) && width != X86_DESCRIPTOR_L) {
        soft_raise_error(cpu, X86_VECTOR_GP, error);
    }
    if (!x86_descriptor_present(target.low)) {
        soft_raise_error(cpu, X86_VECTOR_NP, error);
    }
    unsigned int dpl = x86_descriptor_dpl(target.low);
    *inner = !soft_descriptor_is_conforming(target.low) && dpl < cpu->cpl;
    if (soft_virtual_8086(cpu) && !(*inner && dpl == 0)) {
        soft_raise_error(cpu, X86_VECTOR_GP, error); /* only level 0 can take over from there */
    }
    return soft_code_segment(cpu, &target, gate->selector, *inner ? dpl : cpu->cpl);
}

uint64_t soft_gate_clears(const struct x86_gate *gate)
{
    uint64_t clears = X86_FLAGS_TF | X86_FLAGS_VM | X86_FLAGS_RF | X86_FLAGS_NT;
    bool is_trap_gate = (gate->type & 1) != 0;
    return is_trap_gate ? clears : clears | X86_FLAGS_IF;
}

/*
 * "64-Bit Mode IDT", "64-Bit Mode Stack Frame", "Interrupt Stack Table": always SS:RSP, always
 * eight bytes, the stack aligned to 16.
 */
void soft_enter_event64(struct soft_cpu *cpu, const struct soft_event *event)
{
    uint64_t entry = 16u * event->vector;
    if (entry + 15 > cpu->idtr.limit) {
        soft_refuse_event_vector(cpu, X86_VECTOR_GP, event);
    }
    uint64_t low = soft_system_read(cpu, cpu->idtr.base + entry, 8);
    uint64_t high = soft_system_read(cpu, cpu->idtr.base + entry + 8, 8);
    struct x86_gate gate = x86_gate_from_descriptor64(low, high);
    soft_check_event_gate(cpu, event, &gate, LONG_TYPES);
    bool inner;
    struct soft_load code = soft_check_event_target(cpu, event, &gate, &inner);
    uint32_t external = soft_event_external(event);

    struct soft_stack stack;
    if (inner || gate.ist != 0) {
        stack = soft_tss_inner_stack64(cpu, soft_selector_rpl(code.segment.selector), gate.ist,
                                       external);
    } else {
        stack = soft_current_stack(cpu, external);
        stack.mask = ~UINT64_C(0);
    }
    stack.rsp &= ~UINT64_C(15);
    const uint64_t items[] = {
        cpu->segment[X86_SS].selector, cpu->gpr[X86_RSP], soft_event_flags_image(cpu, event),
        cpu->segment[X86_CS].selector, event->return_rip, event->error,
    };
    unsigned int count = event->has_error ? 6 : 5;
    soft_check_frame(cpu, &stack, count, 8);
    soft_check_code_offset(cpu, &code.segment, gate.offset, external);
    soft_mark_accessed(cpu, &code);
    cpu->gpr[X86_RSP] = soft_write_frame(cpu, &stack, items, count, 8);
    if (inner) {
        cpu->segment[X86_SS] = stack.load.segment;
    }
    soft_event_commit(cpu, &code.segment, gate.offset, soft_gate_clears(&gate));
}

/* INT n, TASK-GATE. */
static void enter_task(struct soft_cpu *cpu, const struct soft_event *event,
                       const struct x86_gate *gate)
{
    struct soft_task_switch task = {
        .reason = SOFT_TASK_EVENT,
        .selector = gate->selector,
        .return_rip = event->return_rip,
        .external = soft_event_external(event),
        .pushes_error = event->has_error,
        .error = event->error,
        .faulted = soft_event_is_fault(event),
    };
    soft_switch_task(cpu, &task);
    cpu->rip = cpu->next_rip;
}

/* INT n, INTERRUPT-FROM-VIRTUAL-8086-MODE: the data segments are saved and become null. */
static unsigned int save_virtual_segments(const struct soft_cpu *cpu, uint64_t *items)
{
    items[0] = cpu->segment[X86_GS].selector;
    items[1] = cpu->segment[X86_FS].selector;
    items[2] = cpu->segment[X86_DS].selector;
    items[3] = cpu->segment[X86_ES].selector;
    return 4;
}

static void clear_virtual_segments(struct soft_cpu *cpu)
{
    cpu->segment[X86_GS] = soft_null_segment(0);
    cpu->segment[X86_FS] = soft_null_segment(0);
    cpu->segment[X86_DS] = soft_null_segment(0);
    cpu->segment[X86_ES] = soft_null_segment(0);
}

/* INT n, TRAP-OR-INTERRUPT-GATE with its three ways to a stack. */
static void enter_gate(struct soft_cpu *cpu, const struct soft_event *event,
                       const struct x86_gate *gate)
{
    bool inner;
    struct soft_load code = soft_check_event_target(cpu, event, gate, &inner);
    uint32_t external = soft_event_external(event);
    struct soft_stack stack =
        inner ? soft_tss_inner_stack(cpu, soft_selector_rpl(code.segment.selector), external)
              : soft_current_stack(cpu, external);
    bool from_virtual = soft_virtual_8086(cpu);
    uint64_t items[SOFT_FRAME_MAX];
    unsigned int count = from_virtual ? save_virtual_segments(cpu, items) : 0;
    if (inner) {
        items[count++] = cpu->segment[X86_SS].selector;
        items[count++] = cpu->gpr[X86_RSP];
    }
    items[count++] = soft_event_flags_image(cpu, event);
    items[count++] = cpu->segment[X86_CS].selector;
    items[count++] = event->return_rip;
    if (event->has_error) {
        items[count++] = event->error;
    }
    unsigned int size = gate->type >= X86_SYSTEM_CALL_GATE ? 4 : 2;
    soft_check_frame(cpu, &stack, count, size);
    soft_check_code_offset(cpu, &code.segment, gate->offset, external);
    soft_mark_accessed(cpu, &code);
    soft_mark_accessed(cpu, &stack.load);
    cpu->gpr[X86_RSP] = soft_write_frame(cpu, &stack, items, count, size);
    if (inner) {
        cpu->segment[X86_SS] = stack.load.segment;
    }
    if (from_virtual) {
        clear_virtual_segments(cpu);
    }
    soft_event_commit(cpu, &code.segment, gate->offset, soft_gate_clears(gate));
}

void soft_enter_event_protected(struct soft_cpu *cpu, const struct soft_event *event)
{
    uint64_t entry = 8u * event->vector;
    if (entry + 7 > cpu->idtr.limit) {
        soft_refuse_event_vector(cpu, X86_VECTOR_GP, event);
    }
    uint64_t raw = soft_system_read(cpu, soft_table_address(cpu, cpu->idtr.base + entry), 8);
    struct x86_gate gate = x86_gate_from_descriptor(raw);
    soft_check_event_gate(cpu, event, &gate, LEGACY_TYPES);
    if (gate.type == X86_SYSTEM_TASK_GATE) {
        enter_task(cpu, event, &gate);
    } else {
        enter_gate(cpu, event, &gate);
    }
}
