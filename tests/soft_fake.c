#include "soft_fake.h"

#include <string.h>

#include "engines/soft/control.h"
#include "engines/soft/memory.h"

struct soft_cpu fake_cpu;
uint8_t fake_memory[FAKE_MEMORY];
static bool write_protected[FAKE_MEMORY / SOFT_PAGE_SIZE];

/* --- leaving an instruction --- */

static _Noreturn void leave(struct soft_cpu *cpu, enum x86_vector vector, bool has_error,
                            uint32_t error)
{
    cpu->exception_vector = (uint8_t)vector;
    cpu->exception_has_error = has_error;
    cpu->exception_error = error;
    cpu->exception_is_software = false;
    siglongjmp(cpu->escape, SOFT_ESCAPE_EXCEPTION);
}

void soft_raise(struct soft_cpu *cpu, enum x86_vector vector)
{
    leave(cpu, vector, false, 0);
}

void soft_raise_error(struct soft_cpu *cpu, enum x86_vector vector, uint32_t error)
{
    leave(cpu, vector, true, error);
}

void soft_raise_page_fault(struct soft_cpu *cpu, uint64_t linear, uint32_t error)
{
    cpu->cr2 = linear;
    leave(cpu, X86_VECTOR_PF, true, error);
}

/* --- derived state --- */

void soft_mode_changed(struct soft_cpu *cpu)
{
    const struct x86_segment *code = &cpu->segment[X86_CS];
    bool is_64bit = soft_long_mode(cpu) && (code->attributes & X86_SEGMENT_L) != 0;
    bool is_32bit = (code->attributes & X86_SEGMENT_DB) != 0;
    cpu->mode = is_64bit ? X86_DECODE_64 : is_32bit ? X86_DECODE_32 : X86_DECODE_16;
    if (!soft_protected(cpu)) {
        cpu->cpl = 0;
    } else {
        cpu->cpl = soft_virtual_8086(cpu) ? 3 : code->selector & 3;
    }
    cpu->address_mask = is_64bit ? ~UINT64_C(0) : 0xffffffff;
}

void soft_set_rflags(struct soft_cpu *cpu, uint64_t rflags)
{
    cpu->flags = (rflags & ~X86_FLAGS_ARITHMETIC) | X86_FLAGS_ONE;
    soft_set_arithmetic_flags(cpu, rflags);
    soft_mode_changed(cpu);
}

/* --- memory --- */

uint64_t fake_read(uint64_t linear, unsigned int size)
{
    uint64_t value = 0;
    if (linear <= FAKE_MEMORY - size) {
        memcpy(&value, fake_memory + linear, size);
    }
    return value;
}

void fake_write(uint64_t linear, uint64_t value, unsigned int size)
{
    if (linear <= FAKE_MEMORY - size) {
        memcpy(fake_memory + linear, &value, size);
    }
}

void fake_write_protect(uint64_t linear)
{
    write_protected[linear / SOFT_PAGE_SIZE] = true;
}

void soft_system_check_write(struct soft_cpu *cpu, uint64_t linear, size_t length)
{
    for (uint64_t i = 0; i < length; i++) {
        uint64_t page = (linear + i) / SOFT_PAGE_SIZE;
        if (page >= FAKE_MEMORY / SOFT_PAGE_SIZE || write_protected[page]) {
            soft_raise_page_fault(cpu, linear + i, X86_PF_PRESENT | X86_PF_WRITE);
        }
    }
}

uint64_t soft_system_read(struct soft_cpu *cpu, uint64_t linear, unsigned int size)
{
    if (linear > FAKE_MEMORY - size) {
        soft_raise_page_fault(cpu, linear, 0);
    }
    return fake_read(linear, size);
}

void soft_system_write(struct soft_cpu *cpu, uint64_t linear, uint64_t value, unsigned int size)
{
    soft_system_check_write(cpu, linear, size);
    fake_write(linear, value, size);
}

uint8_t soft_system_update(struct soft_cpu *cpu, uint64_t linear, uint8_t clear, uint8_t set)
{
    soft_system_check_write(cpu, linear, 1);
    uint8_t before = fake_memory[linear];
    fake_memory[linear] = (uint8_t)((before & ~clear) | set);
    return before;
}

uint64_t soft_read(struct soft_cpu *cpu, uint64_t linear, unsigned int size)
{
    return soft_system_read(cpu, linear, size);
}

void soft_write(struct soft_cpu *cpu, uint64_t linear, uint64_t value, unsigned int size)
{
    soft_system_write(cpu, linear, value, size);
}

void soft_read_bytes(struct soft_cpu *cpu, uint64_t linear, void *buffer, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        ((uint8_t *)buffer)[i] = (uint8_t)soft_system_read(cpu, linear + i, 1);
    }
}

void soft_write_bytes(struct soft_cpu *cpu, uint64_t linear, const void *buffer, size_t length)
{
    soft_system_check_write(cpu, linear, length);
    memcpy(fake_memory + linear, buffer, length);
}

void soft_write_as(struct soft_cpu *cpu, bool user, uint64_t linear, uint64_t value,
                   unsigned int size)
{
    (void)user;
    soft_system_write(cpu, linear, value, size);
}

void soft_check_write_as(struct soft_cpu *cpu, bool user, uint64_t linear, size_t length)
{
    (void)user;
    soft_system_check_write(cpu, linear, length);
}

bool soft_write_cr3(struct soft_cpu *cpu, uint64_t value)
{
    cpu->cr3 = value;
    return true;
}

uint64_t soft_linear(struct soft_cpu *cpu, unsigned int segment, uint64_t offset, unsigned int size,
                     enum soft_access access)
{
    (void)access;
    enum x86_vector vector = segment == X86_SS ? X86_VECTOR_SS : X86_VECTOR_GP;
    if (soft_64bit(cpu)) {
        if (!soft_canonical(cpu, offset)) {
            soft_raise_error(cpu, vector, 0);
        }
        return offset;
    }
    if ((cpu->segment[segment].attributes & X86_SEGMENT_UNUSABLE) != 0 ||
        offset + size - 1 > cpu->segment[segment].limit) {
        soft_raise_error(cpu, vector, 0);
    }
    return (uint32_t)(cpu->segment[segment].base + offset);
}

uint64_t soft_operand_linear(struct soft_cpu *cpu, const struct x86_instruction *in,
                             unsigned int size, enum soft_access access)
{
    return soft_linear(cpu, in->segment, (uint64_t)(int64_t)in->displacement, size, access);
}

uint64_t soft_read_rm(struct soft_cpu *cpu, const struct x86_instruction *in, unsigned int size)
{
    if ((in->flags & X86_INSTRUCTION_MEMORY) == 0) {
        return soft_get_register(cpu, in->rm, size, true);
    }
    return soft_read(cpu, soft_operand_linear(cpu, in, size, SOFT_READ), size);
}

void soft_write_rm(struct soft_cpu *cpu, const struct x86_instruction *in, unsigned int size,
                   uint64_t value)
{
    if ((in->flags & X86_INSTRUCTION_MEMORY) == 0) {
        soft_set_register(cpu, in->rm, size, true, value);
        return;
    }
    soft_write(cpu, soft_operand_linear(cpu, in, size, SOFT_WRITE), value, size);
}

/* --- stack --- */

static unsigned int stack_width(const struct soft_cpu *cpu)
{
    if (soft_64bit(cpu)) {
        return 8;
    }
    return (cpu->segment[X86_SS].attributes & X86_SEGMENT_DB) != 0 ? 4 : 2;
}

static uint64_t stack_offset(const struct soft_cpu *cpu, uint64_t displacement)
{
    uint64_t offset = cpu->gpr[X86_RSP] + displacement;
    unsigned int width = stack_width(cpu);
    return width == 8 ? offset : width == 4 ? (uint32_t)offset : (uint16_t)offset;
}

void soft_add_rsp(struct soft_cpu *cpu, int64_t delta)
{
    soft_set_register(cpu, X86_RSP, stack_width(cpu), true, cpu->gpr[X86_RSP] + (uint64_t)delta);
}

void soft_push(struct soft_cpu *cpu, uint64_t value, unsigned int size)
{
    uint64_t offset = stack_offset(cpu, (uint64_t) - (int64_t)size);
    soft_write(cpu, soft_linear(cpu, X86_SS, offset, size, SOFT_WRITE), value, size);
    soft_add_rsp(cpu, -(int64_t)size);
}

uint64_t soft_stack_peek(struct soft_cpu *cpu, uint64_t displacement, unsigned int size)
{
    uint64_t offset = stack_offset(cpu, displacement);
    return soft_read(cpu, soft_linear(cpu, X86_SS, offset, size, SOFT_READ), size);
}

/* --- set-up --- */

void fake_set_descriptor(uint16_t selector, uint64_t low)
{
    fake_write(FAKE_GDT + (selector & 0xfff8u), low, 8);
}

static uint64_t segment_descriptor(uint64_t base, uint32_t limit, uint32_t attributes)
{
    struct x86_segment segment = {.base = base, .limit = limit, .attributes = attributes};
    return x86_segment_to_descriptor(&segment);
}

static void fill_gdt(bool is_long)
{
    static const struct {
        uint16_t selector;
        uint32_t limit, attributes;
    } entries[] = {
        {CODE0, 0xffffffff, 0xc09a},       {DATA0, 0xffffffff, 0xc092},
        {CODE3, 0xffffffff, 0xc0fa},       {DATA3, 0xffffffff, 0xc0f2},
        {CODE0_64, 0xffffffff, 0xa09a},    {READ_ONLY, 0xffffffff, 0xc090},
        {CONFORMING, 0xffffffff, 0xc09e},  {EXECUTE_ONLY, 0xffffffff, 0xc098},
        {ABSENT_DATA, 0xffffffff, 0xc012}, {CODE3_64, 0xffffffff, 0xa0fa},
        {CODE0_16, 0xffff, 0x009a},        {DATA0_16, 0xffff, 0x0092},
        {EXPAND_DOWN, 0xfff, 0x4096},      {CODE1, 0xffffffff, 0xc0ba},
        {DATA1, 0xffffffff, 0xc0b2},       {CODE_RESERVED, 0xffffffff, 0xe09a},
        {ABSENT_CODE, 0xffffffff, 0xc01a}, {SMALL_CODE, 0xfff, 0x409a},
    };
    for (unsigned int i = 0; i < sizeof entries / sizeof entries[0]; i++) {
        fake_set_descriptor(entries[i].selector,
                            segment_descriptor(0, entries[i].limit, entries[i].attributes));
    }
    fake_set_descriptor(TSS, segment_descriptor(FAKE_TSS, 0x2067, 0x8b));
    fake_set_descriptor(TSS_OTHER, segment_descriptor(FAKE_TSS2, 0x67, 0x89));
    fake_set_descriptor(LDT, segment_descriptor(FAKE_LDT, 0xff, 0x82));
    struct x86_gate task_gate = {
        .selector = TSS_OTHER, .type = X86_SYSTEM_TASK_GATE, .dpl = 3, .present = true};
    if (!is_long) {
        fake_set_descriptor(TASK_GATE, x86_gate_to_descriptor(&task_gate));
    }
}

static void reset(void)
{
    memset(fake_memory, 0, sizeof fake_memory);
    memset(write_protected, 0, sizeof write_protected);
    memset(&fake_cpu, 0, sizeof fake_cpu);
    fake_cpu.gpr[X86_RSP] = FAKE_STACK;
    fake_cpu.rip = FAKE_CODE;
    fake_cpu.flags = X86_FLAGS_ONE;
    fake_cpu.gdtr = (struct x86_table_register){FAKE_GDT, GDT_BYTES - 1};
    for (unsigned int i = 0; i < X86_SEGMENT_COUNT; i++) {
        fake_cpu.segment[i] = (struct x86_segment){.limit = 0xffff, .attributes = 0x93};
    }
    fake_cpu.segment[X86_CS].attributes = 0x9b;
    fake_cpu.segment[X86_LDTR].attributes = X86_SEGMENT_UNUSABLE;
    fake_cpu.segment[X86_TR] = (struct x86_segment){.limit = 0xffff, .attributes = 0x8b};
}

void fake_real(void)
{
    reset();
    fake_cpu.idtr = (struct x86_table_register){0, 0x3ff};
    soft_mode_changed(&fake_cpu);
}

static void load(unsigned int segment, uint16_t selector)
{
    fake_cpu.segment[segment] =
        x86_segment_from_descriptor(fake_read(FAKE_GDT + (selector & 0xfff8u), 8), selector);
}

static void load_flat(unsigned int cpl)
{
    load(X86_CS, cpl == 0 ? CODE0 : CODE3);
    load(X86_SS, cpl == 0 ? DATA0 : DATA3);
    load(X86_DS, DATA3);
    load(X86_ES, DATA3);
    load(X86_FS, DATA3);
    load(X86_GS, DATA3);
    load(X86_TR, TSS);
    load(X86_LDTR, LDT);
}

void fake_protected(unsigned int cpl)
{
    reset();
    fake_cpu.cr0 = X86_CR0_PE;
    fill_gdt(false);
    fake_cpu.idtr = (struct x86_table_register){FAKE_IDT, 0x7ff};
    load_flat(cpl);
    fake_write(FAKE_TSS + 4, FAKE_STACK0, 4);
    fake_write(FAKE_TSS + 8, DATA0, 4);
    fake_write(FAKE_TSS + 12, FAKE_STACK1, 4);
    fake_write(FAKE_TSS + 16, DATA1, 4);
    soft_mode_changed(&fake_cpu);
}

void fake_long(unsigned int cpl)
{
    reset();
    fake_cpu.cr0 = X86_CR0_PE | X86_CR0_PG;
    fake_cpu.cr4 = X86_CR4_PAE;
    fake_cpu.efer = X86_EFER_LME | X86_EFER_LMA;
    fill_gdt(true);
    fake_cpu.idtr = (struct x86_table_register){FAKE_IDT, 0xfff};
    load_flat(cpl);
    load(X86_CS, cpl == 0 ? CODE0_64 : CODE3_64);
    fake_write(FAKE_TSS + 4, FAKE_STACK0, 8);
    fake_write(FAKE_TSS + 12, FAKE_STACK1, 8);
    fake_write(FAKE_TSS + 36, FAKE_IST1, 8);
    soft_mode_changed(&fake_cpu);
}

void fake_virtual_8086(unsigned int iopl)
{
    fake_protected(3);
    fake_cpu.flags |= X86_FLAGS_VM | (uint64_t)iopl << X86_FLAGS_IOPL_SHIFT;
    for (unsigned int i = 0; i < X86_SEGMENT_COUNT; i++) {
        fake_cpu.segment[i] = (struct x86_segment){.limit = 0xffff, .attributes = 0xf3};
    }
    soft_mode_changed(&fake_cpu);
}

/* --- running --- */

bool fake_try(void (*function)(void *context), void *context)
{
    if (sigsetjmp(fake_cpu.escape, 0) != 0) {
        return false;
    }
    function(context);
    return true;
}

struct run {
    soft_execute *execute;
    struct soft_instruction instruction;
};

static void run_one(void *context)
{
    const struct run *run = context;
    run->execute(&fake_cpu, &run->instruction);
}

bool fake_run(soft_execute *execute, const struct x86_instruction *decoded)
{
    struct run run = {.execute = execute, .instruction = {.decoded = *decoded}};
    if (run.instruction.decoded.length == 0) {
        run.instruction.decoded.length = 2;
    }
    fake_cpu.next_rip = fake_cpu.rip + run.instruction.decoded.length;
    if (!fake_try(run_one, &run)) {
        return false;
    }
    fake_cpu.rip = fake_cpu.next_rip;
    return true;
}

bool fake_faults(soft_execute *execute, const struct x86_instruction *decoded, unsigned int vector,
                 int64_t error)
{
    if (fake_run(execute, decoded)) {
        return false;
    }
    return fake_cpu.exception_vector == vector && fake_cpu.exception_has_error == (error >= 0) &&
           (error < 0 || fake_cpu.exception_error == error);
}

struct x86_instruction fake_memory_operand(unsigned int reg, unsigned int operand_size)
{
    return (struct x86_instruction){
        .flags = X86_INSTRUCTION_MODRM | X86_INSTRUCTION_MEMORY,
        .operand_size = (uint8_t)operand_size,
        .reg = (uint8_t)reg,
        .base = X86_REGISTER_NONE,
        .index = X86_REGISTER_NONE,
        .segment = X86_DS,
        .displacement = FAKE_DATA,
    };
}

struct x86_instruction fake_register_operand(unsigned int reg, unsigned int rm,
                                             unsigned int operand_size)
{
    return (struct x86_instruction){
        .flags = X86_INSTRUCTION_MODRM,
        .operand_size = (uint8_t)operand_size,
        .mod = 3,
        .reg = (uint8_t)reg,
        .rm = (uint8_t)rm,
    };
}
