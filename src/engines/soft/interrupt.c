#include "engines/soft/interrupt.h"

#include "engines/soft/frame.h"
#include "engines/soft/interrupt_enter.h"
#include "engines/soft/memory.h"
#include "engines/soft/segment_load.h"
#include "engines/soft/task.h"

/*
 * Vectors whose exceptions are faults: their saved EFLAGS have RF set, so that an instruction
 * breakpoint does not hit again ("Debug Exceptions": the resume flag). #DB sets RF itself where it
 * is a fault; #BP and #OF are traps, #MC is an abort. #DF follows a fault that had set RF.
 */
#define FAULT_VECTORS                                                                              \
    (1u << X86_VECTOR_DE | 1u << X86_VECTOR_BR | 1u << X86_VECTOR_UD | 1u << X86_VECTOR_NM |       \
     1u << X86_VECTOR_DF | 1u << X86_VECTOR_TS | 1u << X86_VECTOR_NP | 1u << X86_VECTOR_SS |       \
     1u << X86_VECTOR_GP | 1u << X86_VECTOR_PF | 1u << X86_VECTOR_MF | 1u << X86_VECTOR_AC |       \
     1u << X86_VECTOR_XM)

bool soft_event_is_fault(const struct soft_event *event)
{
    return event->kind == SOFT_EVENT_EXCEPTION && event->vector < 32 &&
           (FAULT_VECTORS >> event->vector & 1) != 0;
}

uint64_t soft_event_flags_image(const struct soft_cpu *cpu, const struct soft_event *event)
{
    uint64_t image = soft_rflags(cpu);
    if (soft_event_is_fault(event)) {
        return image | X86_FLAGS_RF;
    }
    if (cpu->mid_string) {
        /* "Instruction-Breakpoint Exception Condition": between two iterations, likewise */
        return image | X86_FLAGS_RF;
    }
    bool by_instruction = event->kind == SOFT_EVENT_SOFTWARE || event->kind == SOFT_EVENT_INT1;
    return by_instruction ? image & ~X86_FLAGS_RF : image;
}

uint32_t soft_event_external(const struct soft_event *event)
{
    return event->kind == SOFT_EVENT_SOFTWARE ? 0 : 1;
}

void soft_event_commit(struct soft_cpu *cpu, const struct x86_segment *code, uint64_t rip,
                       uint64_t cleared_flags)
{
    cpu->segment[X86_CS] = *code;
    cpu->rip = rip;
    cpu->next_rip = rip;
    soft_set_rflags(cpu, soft_rflags(cpu) & ~cleared_flags);
    soft_mode_changed(cpu);
}

/*
 * "Interrupt and Exception Handling in Real-Address Mode": a vector is four bytes, the frame three
 * words, there are no error codes.
 */
static void enter_real(struct soft_cpu *cpu, const struct soft_event *event)
{
    uint64_t entry = 4u * event->vector;
    if (entry + 3 > cpu->idtr.limit) {
        soft_raise_error(cpu, X86_VECTOR_GP, 0);
    }
    uint64_t linear = soft_table_address(cpu, cpu->idtr.base + entry);
    uint64_t pointer = soft_system_read(cpu, linear, 4);
    struct x86_segment code = soft_real_segment(cpu, X86_CS, (uint16_t)(pointer >> 16));
    const uint64_t items[] = {soft_event_flags_image(cpu, event), cpu->segment[X86_CS].selector,
                              event->return_rip};
    struct soft_stack stack = soft_current_stack(cpu, 0);
    soft_check_frame(cpu, &stack, 3, 2);
    soft_check_code_offset(cpu, &code, pointer & 0xffff, 0);
    cpu->gpr[X86_RSP] = soft_write_frame(cpu, &stack, items, 3, 2);
    soft_event_commit(cpu, &code, pointer & 0xffff,
                      X86_FLAGS_IF | X86_FLAGS_TF | X86_FLAGS_AC | X86_FLAGS_RF);
}

/* By the mode's own way. */
static void transfer(struct soft_cpu *cpu, const struct soft_event *event)
{
    if (!soft_protected(cpu)) {
        enter_real(cpu, event);
    } else if (soft_long_mode(cpu)) {
        soft_enter_event64(cpu, event);
    } else {
        soft_enter_event_protected(cpu, event);
    }
}

static void note_entered(struct soft_cpu *cpu, enum soft_event_kind kind)
{
    cpu->sti_shadow = false;
    cpu->mov_ss_shadow = false;
    cpu->mid_string = false;
    cpu->halted = false; /* a single step's trap ends even HLT */
    if (kind == SOFT_EVENT_NMI) {
        cpu->nmi_blocked = true;
    }
}

void soft_enter_event(struct soft_cpu *cpu, const struct soft_event *event)
{
    transfer(cpu, event);
    note_entered(cpu, event->kind);
}

void soft_resume_event(struct soft_cpu *cpu)
{
    if (cpu->task_rest.pending) {
        soft_finish_task_switch(cpu);
    } else {
        transfer(cpu, &cpu->event);
    }
    if (cpu->event_pending) {
        note_entered(cpu, cpu->event.kind);
        cpu->event_pending = false;
        cpu->delivering = false;
    }
    soft_progress(cpu);
}

void soft_deliver_event(struct soft_cpu *cpu, const struct soft_event *event)
{
    cpu->event = *event;
    cpu->event_pending = true;
    soft_resume_event(cpu);
}

/* "Interrupt 8—Double Fault Exception (#DF)", the classes of exceptions. */
enum exception_class { BENIGN, CONTRIBUTORY, PAGE_FAULT, DOUBLE_FAULT };

static enum exception_class classify(unsigned int vector)
{
    switch (vector) {
    case X86_VECTOR_DE:
    case X86_VECTOR_TS:
    case X86_VECTOR_NP:
    case X86_VECTOR_SS:
    case X86_VECTOR_GP:
        return CONTRIBUTORY;
    case X86_VECTOR_PF:
        return PAGE_FAULT;
    case X86_VECTOR_DF:
        return DOUBLE_FAULT;
    default:
        return BENIGN;
    }
}

enum verdict { SERIAL, MAKES_DOUBLE_FAULT, MAKES_SHUTDOWN };

/* "Conditions for Generating a Double Fault": the second exception while calling the first's
 * handler. */
static enum verdict judge(unsigned int first, unsigned int second)
{
    enum exception_class second_class = classify(second);
    if (second_class == BENIGN) {
        return SERIAL;
    }
    switch (classify(first)) {
    case CONTRIBUTORY:
        return second_class == CONTRIBUTORY ? MAKES_DOUBLE_FAULT : SERIAL;
    case PAGE_FAULT:
        return MAKES_DOUBLE_FAULT;
    case DOUBLE_FAULT:
        return MAKES_SHUTDOWN;
    default:
        return SERIAL;
    }
}

/* Oldest first; when there are too many the oldest goes. */
static void record(struct soft_cpu *cpu)
{
    if (cpu->chain_count == EXIT_EXCEPTIONS_MAX) {
        for (unsigned int i = 1; i < EXIT_EXCEPTIONS_MAX; i++) {
            cpu->chain[i - 1] = cpu->chain[i];
        }
        cpu->chain_count--;
    }
    cpu->chain[cpu->chain_count++] = (struct exit_exception){
        .vector = cpu->exception_vector,
        .has_error = cpu->exception_has_error,
        .error = cpu->exception_error,
        .rip = cpu->rip,
        .address = cpu->exception_vector == X86_VECTOR_PF ? cpu->cr2 : 0,
    };
}

static struct soft_event pending_event(const struct soft_cpu *cpu)
{
    return (struct soft_event){
        .kind = cpu->exception_is_software ? SOFT_EVENT_SOFTWARE : SOFT_EVENT_EXCEPTION,
        .vector = cpu->exception_vector,
        .has_error = cpu->exception_has_error,
        .error = cpu->exception_error,
        .return_rip = cpu->exception_is_software ? cpu->next_rip : cpu->rip,
    };
}

bool soft_deliver_exception(struct soft_cpu *cpu)
{
    if (!cpu->delivering) {
        cpu->chain_count = 0;
    }
    record(cpu);
    struct soft_event event = pending_event(cpu);
    if (cpu->delivering) {
        switch (judge(cpu->delivering_vector, event.vector)) {
        case SERIAL:
            break;
        case MAKES_DOUBLE_FAULT:
            event.vector = X86_VECTOR_DF;
            event.has_error = true;
            event.error = 0;
            break;
        case MAKES_SHUTDOWN:
            cpu->delivering = false;
            return false;
        }
    }
    if (event.vector == X86_VECTOR_DB) {
        cpu->dr[7] &= ~X86_DR7_GD; /* "Debug Control Register (DR7)": the handler may use them */
    }
    cpu->delivering = true;
    cpu->delivering_vector = event.vector;
    soft_deliver_event(cpu, &event);
    return true;
}
