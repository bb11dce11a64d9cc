#include "engines/soft/task.h"

#include "engines/soft/control.h"
#include "engines/soft/flags.h"
#include "engines/soft/frame.h"
#include "engines/soft/memory.h"
#include "engines/soft/segment_load.h"
#include "engines/soft/tss.h"

/* Where the fields of the two TSS formats lie: "Task-State Segment (TSS)" and its 16-bit form. */
struct tss_layout {
    uint8_t size;    /* of a register field */
    uint8_t minimum; /* smallest limit */
    uint8_t cr3;     /* 0: has none */
    uint8_t eip, flags;
    uint8_t registers; /* eight general registers in the order of their encoding */
    uint8_t segments;  /* ES CS SS DS, in the 32-bit format FS GS too */
    uint8_t segment_count;
    uint8_t ldt;
    uint8_t trap; /* 0: has none */
};

static const struct tss_layout layout32 = {4, 0x67, 28, 32, 36, 40, 72, 6, 96, 100};
static const struct tss_layout layout16 = {2, 0x2b, 0, 14, 16, 18, 34, 4, 42, 0};

/* What a TSS says of a task: the copy that is checked and then loaded. */
struct task_image {
    uint64_t cr3, eip, flags;
    uint64_t registers[8];
    uint16_t segments[X86_SEGMENT_COUNT];
    uint16_t ldt;
    bool has_cr3, trap;
};

static const struct tss_layout *layout_of(const struct x86_segment *tss)
{
    return soft_tss_is_32bit(tss) ? &layout32 : &layout16;
}

static uint64_t field_address(const struct x86_segment *tss, unsigned int offset)
{
    return (uint32_t)(tss->base + offset);
}

static uint64_t read_field(struct soft_cpu *cpu, const struct x86_segment *tss, unsigned int offset,
                           unsigned int size)
{
    return soft_system_read(cpu, field_address(tss, offset), size);
}

static void write_field(struct soft_cpu *cpu, const struct x86_segment *tss, unsigned int offset,
                        unsigned int size, uint64_t value)
{
    soft_system_write(cpu, field_address(tss, offset), value, size);
}

static void read_task(struct soft_cpu *cpu, const struct x86_segment *tss, struct task_image *image)
{
    const struct tss_layout *layout = layout_of(tss);
    unsigned int size = layout->size;
    *image = (struct task_image){.has_cr3 = layout->cr3 != 0};
    if (image->has_cr3) {
        image->cr3 = read_field(cpu, tss, layout->cr3, 4);
    }
    image->eip = read_field(cpu, tss, layout->eip, size);
    image->flags = read_field(cpu, tss, layout->flags, size);
    for (unsigned int i = 0; i < 8; i++) {
        image->registers[i] = read_field(cpu, tss, layout->registers + i * size, size);
    }
    for (unsigned int i = 0; i < layout->segment_count; i++) {
        image->segments[i] = (uint16_t)read_field(cpu, tss, layout->segments + i * size, 2);
    }
    image->ldt = (uint16_t)read_field(cpu, tss, layout->ldt, 2);
    image->trap = layout->trap != 0 && (read_field(cpu, tss, layout->trap, 1) & 1) != 0;
}

/* "Task Switching", step 7: the dynamic fields; CR3 and the LDT are not saved. */
static void save_task(struct soft_cpu *cpu, const struct x86_segment *tss, uint64_t eip,
                      uint64_t flags)
{
    const struct tss_layout *layout = layout_of(tss);
    unsigned int size = layout->size;
    write_field(cpu, tss, layout->eip, size, eip);
    write_field(cpu, tss, layout->flags, size, flags);
    for (unsigned int i = 0; i < 8; i++) {
        write_field(cpu, tss, layout->registers + i * size, size, cpu->gpr[i]);
    }
    for (unsigned int i = 0; i < layout->segment_count; i++) {
        write_field(cpu, tss, layout->segments + i * size, 2, cpu->segment[i].selector);
    }
}

/*
 * Finds the new TSS ("Task Switching", steps 2 to 4). IRET wants a busy one and says #TS, the
 * others want an available one and say #GP.
 */
static struct x86_segment find_tss(struct soft_cpu *cpu, const struct soft_task_switch *task,
                                   struct soft_descriptor *descriptor)
{
    bool is_return = task->reason == SOFT_TASK_IRET;
    enum x86_vector invalid = is_return ? X86_VECTOR_TS : X86_VECTOR_GP;
    uint32_t error = soft_selector_error(task->selector, task->external);
    if ((task->selector & X86_SELECTOR_TI) != 0 || soft_selector_is_null(task->selector) ||
        !soft_fetch_descriptor(cpu, task->selector, descriptor)) {
        soft_raise_error(cpu, invalid, error);
    }
    unsigned int type = x86_descriptor_type(descriptor->low);
    unsigned int wanted = is_return ? X86_SYSTEM_TSS_BUSY_BIT : 0;
    bool is_tss = !x86_descriptor_is_segment(descriptor->low) &&
                  (type & ~(X86_SYSTEM_TSS_BUSY_BIT | 8u)) == X86_SYSTEM_TSS16_AVAILABLE;
    if (!is_tss || (type & X86_SYSTEM_TSS_BUSY_BIT) != wanted) {
        soft_raise_error(cpu, invalid, error);
    }
    if (!x86_descriptor_present(descriptor->low)) {
        soft_raise_error(cpu, X86_VECTOR_NP, error);
    }
    struct x86_segment tss = x86_segment_from_descriptor(descriptor->low, task->selector);
    if (tss.limit < layout_of(&tss)->minimum) {
        soft_raise_error(cpu, X86_VECTOR_TS, error);
    }
    tss.attributes |= X86_SYSTEM_TSS_BUSY_BIT;
    return tss;
}

static uint64_t busy_byte(const struct soft_cpu *cpu, uint16_t selector)
{
    return (uint32_t)(cpu->gdtr.base + (selector & X86_SELECTOR_INDEX) + 5);
}

/* Everything that will be written is checked, so that nothing faults half-way through the switch.
 */
static void check_writable(struct soft_cpu *cpu, const struct soft_task_switch *task,
                           const struct x86_segment *old_tss, const struct x86_segment *new_tss)
{
    const struct tss_layout *layout = layout_of(old_tss);
    if (old_tss->limit < layout->minimum) {
        soft_raise_error(cpu, X86_VECTOR_TS,
                         soft_selector_error(old_tss->selector, task->external));
    }
    soft_system_check_write(cpu, field_address(old_tss, 0), layout->minimum + 1u);
    soft_system_check_write(cpu, busy_byte(cpu, old_tss->selector), 1);
    soft_system_check_write(cpu, busy_byte(cpu, task->selector), 1);
    if (task->reason == SOFT_TASK_CALL || task->reason == SOFT_TASK_EVENT) {
        soft_system_check_write(cpu, field_address(new_tss, 0), 2);
    }
}

static const uint64_t loadable_flags = X86_FLAGS_ARITHMETIC | X86_FLAGS_TF | X86_FLAGS_IF |
                                       X86_FLAGS_DF | X86_FLAGS_IOPL | X86_FLAGS_NT | X86_FLAGS_RF |
                                       X86_FLAGS_VM | X86_FLAGS_AC | X86_FLAGS_VIF | X86_FLAGS_VIP |
                                       X86_FLAGS_ID;

/* "PDPTE Registers": a task switch with PAE paging loads them; reserved bits make it fail. */
static void load_page_table_base(struct soft_cpu *cpu, const struct task_image *image,
                                 uint32_t external)
{
    if (image->has_cr3 && !soft_write_cr3(cpu, image->cr3)) {
        soft_raise_error(cpu, X86_VECTOR_GP, external);
    }
}

/*
 * Loads all that needs no checks. Segment registers get their selectors only: until each has been
 * checked it can't be used, as a fault handler would find it. Until SS is good the task counts as
 * level 3, so that the handler of a fault gets a stack of its own.
 */
static void load_task(struct soft_cpu *cpu, const struct task_image *image, unsigned int size)
{
    uint64_t upper = size == 2 ? 0xffff0000 : 0;
    for (unsigned int i = 0; i < 8; i++) {
        cpu->gpr[i] = image->registers[i] | upper;
    }
    bool is_v86 = (image->flags & X86_FLAGS_VM) != 0;
    for (unsigned int i = 0; i < X86_SEGMENT_COUNT; i++) {
        cpu->segment[i] = is_v86 ? soft_virtual_8086_segment(image->segments[i])
                                 : soft_null_stack(image->segments[i], 3);
    }
    cpu->segment[X86_LDTR] = soft_null_segment(image->ldt);
    cpu->rip = image->eip;
    cpu->next_rip = image->eip;
    soft_set_rflags(cpu, (image->flags & loadable_flags) | X86_FLAGS_ONE);
    soft_mode_changed(cpu);
}

/* "Task Switching", table of exception conditions: LDT selector. */
static void load_local_table(struct soft_cpu *cpu, uint16_t selector, uint32_t external)
{
    if (soft_selector_is_null(selector)) {
        return;
    }
    struct soft_descriptor descriptor;
    if ((selector & X86_SELECTOR_TI) != 0 || !soft_fetch_descriptor(cpu, selector, &descriptor) ||
        x86_descriptor_is_segment(descriptor.low) ||
        x86_descriptor_type(descriptor.low) != X86_SYSTEM_LDT ||
        !x86_descriptor_present(descriptor.low)) {
        soft_raise_error(cpu, X86_VECTOR_TS, soft_selector_error(selector, external));
    }
    cpu->segment[X86_LDTR] = x86_segment_from_descriptor(descriptor.low, selector);
}

/* The same table: code segment. The CPL of the new task is its selector's RPL. */
static struct soft_load check_task_code(struct soft_cpu *cpu, uint16_t selector, uint32_t external)
{
    struct soft_descriptor descriptor;
    uint32_t error = soft_selector_error(selector, external);
    if (soft_selector_is_null(selector) || !soft_fetch_descriptor(cpu, selector, &descriptor) ||
        !soft_descriptor_is_code(descriptor.low)) {
        soft_raise_error(cpu, X86_VECTOR_TS, error);
    }
    unsigned int rpl = soft_selector_rpl(selector);
    unsigned int dpl = x86_descriptor_dpl(descriptor.low);
    if (soft_descriptor_is_conforming(descriptor.low) ? dpl > rpl : dpl != rpl) {
        soft_raise_error(cpu, X86_VECTOR_TS, error);
    }
    if (!x86_descriptor_present(descriptor.low)) {
        soft_raise_error(cpu, X86_VECTOR_NP, error);
    }
    return soft_code_segment(cpu, &descriptor, selector, rpl);
}

/* The same table: stack segment. Its presence comes before its privilege here. */
static struct soft_load check_task_stack(struct soft_cpu *cpu, uint16_t selector, unsigned int cpl,
                                         uint32_t external)
{
    struct soft_descriptor descriptor;
    uint32_t error = soft_selector_error(selector, external);
    if (soft_selector_is_null(selector) || !soft_fetch_descriptor(cpu, selector, &descriptor) ||
        !soft_descriptor_is_stack(descriptor.low)) {
        soft_raise_error(cpu, X86_VECTOR_TS, error);
    }
    if (!x86_descriptor_present(descriptor.low)) {
        soft_raise_error(cpu, X86_VECTOR_SS, error);
    }
    if (x86_descriptor_dpl(descriptor.low) != cpl || soft_selector_rpl(selector) != cpl) {
        soft_raise_error(cpu, X86_VECTOR_TS, error);
    }
    return soft_load_of(cpu, &descriptor, selector);
}

static void load_task_segment(struct soft_cpu *cpu, unsigned int segment,
                              const struct soft_load *load)
{
    soft_mark_accessed(cpu, load);
    cpu->segment[segment] = load->segment;
    soft_mode_changed(cpu);
}

/* The selectors are in the segment registers; what they select is still to be loaded. */
static void load_task_segments(struct soft_cpu *cpu, uint32_t external)
{
    static const unsigned int data_segments[] = {X86_DS, X86_ES, X86_FS, X86_GS};
    struct soft_blame blame = {X86_VECTOR_TS, external};
    load_local_table(cpu, cpu->segment[X86_LDTR].selector, external);
    if (soft_virtual_8086(cpu)) {
        return;
    }
    uint16_t selector = cpu->segment[X86_CS].selector;
    unsigned int cpl = soft_selector_rpl(selector);
    struct soft_load stack = check_task_stack(cpu, cpu->segment[X86_SS].selector, cpl, external);
    load_task_segment(cpu, X86_SS, &stack);
    for (unsigned int i = 0; i < sizeof data_segments / sizeof data_segments[0]; i++) {
        unsigned int segment = data_segments[i];
        struct soft_load data =
            soft_check_data_segment(cpu, cpu->segment[segment].selector, cpl, blame);
        load_task_segment(cpu, segment, &data);
    }
    struct soft_load code = check_task_code(cpu, selector, external);
    load_task_segment(cpu, X86_CS, &code);
}

static void push_task_error(struct soft_cpu *cpu, const struct soft_task_rest *rest)
{
    const uint64_t items[] = {rest->error};
    struct soft_stack stack = soft_current_stack(cpu, rest->external);
    soft_check_frame(cpu, &stack, 1, rest->size);
    cpu->gpr[X86_RSP] = soft_write_frame(cpu, &stack, items, 1, rest->size);
}

void soft_finish_task_switch(struct soft_cpu *cpu)
{
    const struct soft_task_rest rest = cpu->task_rest;
    load_task_segments(cpu, rest.external);
    if (rest.pushes_error) {
        push_task_error(cpu, &rest);
    }
    cpu->task_rest.pending = false;
    soft_check_code_offset(cpu, &cpu->segment[X86_CS], cpu->rip, rest.external);
    soft_check_virtual_interrupt(cpu);
    if (rest.traps) {
        cpu->dr[6] |= X86_DR6_BT; /* "Task-Switch Exception Condition" */
        soft_raise(cpu, X86_VECTOR_DB);
    }
}

/* "Debug Control Register (DR7)": the local enables L0..L3 and LE belong to a task. */
#define LOCAL_ENABLES UINT64_C(0x155)

/* From here on the new task runs: faults are its own. */
static void commit_switch(struct soft_cpu *cpu, const struct soft_task_switch *task,
                          const struct x86_segment *new_tss, const struct task_image *image)
{
    unsigned int size = layout_of(new_tss)->size;
    soft_progress(cpu);
    cpu->task_rest = (struct soft_task_rest){.pending = true,
                                             .pushes_error = task->pushes_error,
                                             .traps = image->trap,
                                             .size = (uint8_t)size,
                                             .error = task->error,
                                             .external = task->external};
    cpu->segment[X86_TR] = *new_tss;
    cpu->cr0 |= X86_CR0_TS;
    cpu->dr[7] &= ~LOCAL_ENABLES;
    load_task(cpu, image, size);
    load_page_table_base(cpu, image, task->external);
}

void soft_switch_task(struct soft_cpu *cpu, const struct soft_task_switch *task)
{
    struct soft_descriptor descriptor;
    struct x86_segment new_tss = find_tss(cpu, task, &descriptor);
    struct x86_segment old_tss = cpu->segment[X86_TR];
    struct task_image image;
    check_writable(cpu, task, &old_tss, &new_tss);
    read_task(cpu, &new_tss, &image); /* whether it can be read */

    bool nests = task->reason == SOFT_TASK_CALL || task->reason == SOFT_TASK_EVENT;
    uint64_t old_flags = soft_rflags(cpu);
    if (task->reason == SOFT_TASK_IRET) {
        old_flags &= ~X86_FLAGS_NT;
    }
    if (task->faulted) {
        old_flags |= X86_FLAGS_RF;
    }
    save_task(cpu, &old_tss, task->return_rip, old_flags);
    read_task(cpu, &new_tss, &image); /* IRET may return to the same one */
    if (nests) {
        write_field(cpu, &new_tss, 0, 2, old_tss.selector);
        image.flags |= X86_FLAGS_NT;
    }
    /* Busy bits come last: up to here a switch that leaves for a device can start anew. */
    if (!nests) {
        soft_system_update(cpu, busy_byte(cpu, old_tss.selector), X86_SYSTEM_TSS_BUSY_BIT, 0);
    }
    if (task->reason != SOFT_TASK_IRET) {
        soft_system_update(cpu, busy_byte(cpu, task->selector), 0, X86_SYSTEM_TSS_BUSY_BIT);
    }
    commit_switch(cpu, task, &new_tss, &image);
    soft_finish_task_switch(cpu);
}

/* "Task Linking". */
void soft_return_to_linked_task(struct soft_cpu *cpu)
{
    const struct x86_segment *tss = &cpu->segment[X86_TR];
    if (tss->limit < 1) {
        soft_raise_error(cpu, X86_VECTOR_TS, soft_selector_error(tss->selector, 0));
    }
    struct soft_task_switch task = {
        .reason = SOFT_TASK_IRET,
        .selector = (uint16_t)soft_tss_read(cpu, 0, 2),
        .return_rip = cpu->next_rip,
    };
    soft_switch_task(cpu, &task);
}
