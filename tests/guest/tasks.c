/*
 * Hardware task switches (32-bit only): to random tasks by JMP, CALL, task gates, interrupts,
 * exceptions with an error code, and back by IRET.
 */
#include "case.h"

#ifndef CASES
#define CASES 150 /* for each way into a task */
#endif

#define NEW_TSS    0x7000
#define NEW_STACK  0x8c00
#define FAR_EIP    0x20000 /* beyond the limit of SMALL_CODE */
#define VECTOR     0x70
#define FLAGS_NT   0x4000u
#define CODE16     0x88 /* the entries that the 16-byte descriptors' upper halves would take */
#define SMALL_CODE 0x98

enum way { JUMP, CALL, JUMP_GATE, CALL_GATE, INTERRUPT, FAULT, RETURN };

struct operation {
    const char *name;
    enum way way;
};

static const struct operation operations[] = {
    {"task-jmp", JUMP},           {"task-call", CALL},
    {"task-jmp-gate", JUMP_GATE}, {"task-call-gate", CALL_GATE},
    {"task-int", INTERRUPT},      {"task-fault", FAULT},
    {"task-iret", RETURN},
};

/* What the new task is made of. */
struct task {
    bool is_16bit, is_virtual;
    uint32_t level, type, flags, eip;
    uint32_t segments[6]; /* ES CS SS DS FS GS */
    uint32_t ldt;
};

static uint32_t random_code(uint32_t level)
{
    if (once_in(6)) {
        return chance(4) == 0 ? SECOND | level : (uint32_t)(SMALL_CODE | level);
    }
    return once_in(10) ? (uint32_t)DATA(level) : (uint32_t)CODE(level);
}

static uint32_t random_data(uint32_t level)
{
    switch (chance(8)) {
    case 0:
        return SECOND | chance(4);
    case 1:
        return chance(4);
    case 2:
        return (uint32_t)CODE(level);
    case 3:
        return 8 | 4 | chance(4); /* in the LDT */
    default:
        return (uint32_t)DATA(level);
    }
}

static void choose_task(struct task *task, enum way way)
{
    task->is_16bit = once_in(4) && way != FAULT; /* its ESP has ones where no memory is */
    task->is_virtual = !task->is_16bit && once_in(8);
    task->level = once_in(3) && !task->is_16bit ? 0 : 1 + chance(3);
    task->type = task->is_16bit ? 1 : 9;
    if (way == RETURN ? !once_in(6) : once_in(6)) {
        task->type |= 2; /* busy */
    }
    task->flags = chance(0x10000) & 0x3ed7u & (once_in(6) ? ~0u : ~0x100u);
    task->flags |= 2 | (task->is_virtual ? (uint32_t)FLAGS_VM : 0);
    task->eip = !task->is_16bit && once_in(12) ? FAR_EIP : ARRIVAL;
    for (unsigned int i = 0; i < 6; i++) {
        task->segments[i] = task->is_virtual ? chance(0x100) : random_data(task->level);
    }
    task->segments[1] = task->is_virtual ? 0 : random_code(task->level);
    if (task->level == 0) {
        task->segments[2] = DATA(0); /* the handler of the new task's faults needs a stack */
    } else if (!once_in(3)) {
        task->segments[2] = task->is_virtual ? 0 : (uint32_t)DATA(task->level);
    }
    task->ldt = once_in(6) ? chance(0xb0) : once_in(3) ? chance(4) : LDT_SELECTOR;
}

static void write_task32(const struct task *task)
{
    for (word i = 0; i < 0x68; i += 4) {
        put(NEW_TSS + i, 0x11111111u * (i / 4 % 15), 4);
    }
    put(NEW_TSS + 4, INNER_STACK, 4);
    put(NEW_TSS + 8, DATA(0), 4);
    put(NEW_TSS + 28, 0, 4);
    put(NEW_TSS + 32, task->eip, 4);
    put(NEW_TSS + 36, task->flags, 4);
    put(NEW_TSS + 56, NEW_STACK, 4);
    for (unsigned int i = 0; i < 6; i++) {
        put(NEW_TSS + 72 + 4 * i, task->segments[i], 2);
    }
    put(NEW_TSS + 96, task->ldt, 2);
    put(NEW_TSS + 100, once_in(6), 2);
    put(NEW_TSS + 102, 0x68, 2);
}

static void write_task16(const struct task *task)
{
    for (word i = 0; i < 0x2c; i += 2) {
        put(NEW_TSS + i, 0x1111u * (i / 2 % 15), 2);
    }
    put(NEW_TSS + 2, INNER_STACK, 2);
    put(NEW_TSS + 4, DATA(0), 2);
    put(NEW_TSS + 14, task->eip, 2);
    put(NEW_TSS + 16, task->flags, 2);
    put(NEW_TSS + 26, NEW_STACK, 2);
    for (unsigned int i = 0; i < 4; i++) {
        put(NEW_TSS + 34 + 2 * i, task->segments[i], 2);
    }
    put(NEW_TSS + 42, task->ldt, 2);
}

/* FIRST is the new TSS, SECOND any segment, GATE leads to FIRST. */
static void write_descriptors(const struct task *task, uint32_t level)
{
    uint32_t dpl = once_in(5) ? chance(4) : 3;
    uint32_t present = once_in(12) ? 0 : PRESENT;
    uint32_t smallest = task->is_16bit ? 0x2b : 0x67;
    uint32_t limit = once_in(12) ? smallest - 1 : smallest;
    put(GDT_TABLE + FIRST, descriptor(NEW_TSS, limit, task->type | dpl << 5 | present), 8);
    put(GDT_TABLE + CODE16, descriptor(0, 0xffff, 0x009a | task->level << 5), 8);
    uint32_t attributes = 0x10 | chance(16) | chance(4) << 5 | (once_in(3) ? 0 : PRESENT);
    put(GDT_TABLE + SECOND, descriptor(0, 0xfffff, 0xc000 | attributes), 8);
    put(GDT_TABLE + SMALL_CODE, descriptor(0, 0x1fff, 0x409a | task->level << 5), 8);
    put(LDT_TABLE + 8, descriptor(0, 0xfffff, 0xc092 | task->level << 5), 8);
    uint32_t gate_dpl = once_in(6) ? chance(4) : 3;
    uint32_t gate_present = once_in(12) ? 0 : PRESENT;
    uint64_t task_gate = gate(0, FIRST, 0, 5 | gate_dpl << 5 | gate_present);
    put(GDT_TABLE + GATE, task_gate, 8);
    set_vector(VECTOR, task_gate);
    (void)level;
}

static void write_code(enum way way)
{
    word at = CASE_CODE;
    switch (way) {
    case INTERRUPT:
        put(at, 0xcd | VECTOR << 8, 2);
        break;
    case FAULT: /* MOV DS,AX with a selector beyond the table */
        put(at, 0xd88e, 2);
        set_vector(13, get(GDT_TABLE + GATE, 8));
        break;
    case RETURN:
        put(at, 0xcf, 1);
        break;
    default:
        put(at, way == JUMP || way == JUMP_GATE ? 0xea : 0x9a, 1);
        put(at + 1, 0, 4);
        put(at + 5, way == JUMP || way == CALL ? FIRST : GATE, 2);
        break;
    }
    put(at + 7, 0x61cd, 2);
    put(ARRIVAL, 0xcc90, 2);
    put(FAR_EIP, 0xcc90, 2);
}

static uint32_t store_task_register(void)
{
    uint32_t selector;
    __asm__ volatile("str %0" : "=r"(selector));
    return selector & 0xffff;
}

static uint32_t store_local_table(void)
{
    uint32_t selector;
    __asm__ volatile("sldt %0" : "=r"(selector));
    return selector & 0xffff;
}

static bool take_task_switched(void)
{
    word cr0;
    __asm__ volatile("mov %%cr0, %0" : "=r"(cr0));
    __asm__ volatile("clts");
    return (cr0 & 8) != 0;
}

static bool take_debug_trap(void)
{
    word dr6;
    __asm__ volatile("mov %%dr6, %0" : "=r"(dr6));
    __asm__ volatile("mov %0, %%dr6" : : "r"((word)0));
    return (dr6 & 0x8000) != 0;
}

static void print_task_outcome(const struct machine *machine)
{
    print_registers(machine);
    print_field(" tr", store_task_register());
    print_field(" ldt", store_local_table());
    print_field(" ts", take_task_switched());
    print_field(" bt", take_debug_trap());
    print_field(" t1 ", get(GDT_TABLE + TSS_SELECTOR + 5, 1));
    print_field(" t2 ", get(GDT_TABLE + FIRST + 5, 1));
    print_field(" d2 ", get(GDT_TABLE + SECOND + 5, 1));
    print_field(" old", hash_memory(TSS_TABLE, TSS_TABLE + 0x68) >> 32);
    print_field(" new", hash_memory(NEW_TSS, NEW_TSS + 0x68) >> 32);
    print_field(" stack", hash_memory(NEW_STACK - 0x20, NEW_STACK) >> 32);
    print("\n");
}

static void run_operation(const struct operation *operation, uint32_t level)
{
    struct task task;
    set_up();
    choose_task(&task, operation->way);
    if (task.is_16bit) {
        write_task16(&task);
    } else {
        write_task32(&task);
    }
    write_descriptors(&task, level);
    write_code(operation->way);
    for (word at = NEW_STACK - 0x20; at < NEW_STACK; at += 4) {
        put(at, 0x5a5a5a5a, 4);
    }
    put(TSS_TABLE, operation->way == RETURN ? (once_in(12) ? chance(0x100) : FIRST) : 0, 2);
    struct machine machine = {.stack = TEST_STACK,
                              .code = CASE_CODE,
                              .level = level,
                              .flags = 2 | chance(4) << 12,
                              .operand = 0xffff};
    if (operation->way == RETURN) {
        machine.flags |= FLAGS_NT;
    }
    print(operation->name);
    print_field(" l", level);
    print_field(" s", task.level);
    print_field(" t", get(GDT_TABLE + FIRST, 8));
    print_field(" d", get(GDT_TABLE + SECOND, 8));
    print_field(" g", get(GDT_TABLE + GATE, 8));
    print_field(" eip", task.eip);
    print_field(" f", task.flags);
    print_field(" ldt", task.ldt);
    for (unsigned int i = 0; i < 6; i++) {
        print_field(" ", task.segments[i]);
    }
    run_case(&machine);
    print_task_outcome(&machine);
}

void guest_main(void)
{
    for (unsigned int i = 0; i < sizeof operations / sizeof operations[0]; i++) {
        for (unsigned int n = 0; n < CASES; n++) {
            run_operation(&operations[i], n % 4);
        }
    }
}
