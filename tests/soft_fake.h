/*
 * A software CPU on a megabyte of flat memory, for testing segmentation, events and tasks without
 * paging or a run loop.
 *
 * Purpose: stands in for memory.h and the run loop's side of cpu.h; every fault is recorded.
 * Owner:   one CPU per test executable. Thread: one.
 */
#ifndef TRAPEZE_TESTS_SOFT_FAKE_H
#define TRAPEZE_TESTS_SOFT_FAKE_H

#include "engines/soft/execute.h"
#include "x86/descriptor.h"

#define FAKE_MEMORY (1u << 20)
#define FAKE_GDT    0x1000u
#define FAKE_LDT    0x2000u
#define FAKE_IDT    0x3000u
#define FAKE_TSS    0x4000u
#define FAKE_TSS2   0x5000u
#define FAKE_STACK0 0x9000u /* inner stack of level 0, from the TSS */
#define FAKE_STACK1 0xa000u
#define FAKE_IST1   0xb000u
#define FAKE_STACK  0xc000u /* what RSP is after a reset */
#define FAKE_DATA   0xd000u
#define FAKE_CODE   0xe000u /* RIP after a reset */

/* Selectors in the GDT that fake_protected and fake_long set up. */
enum {
    CODE0 = 0x08,
    DATA0 = 0x10,
    CODE3 = 0x18 | 3,
    DATA3 = 0x20 | 3,
    CODE0_64 = 0x28,
    READ_ONLY = 0x30,
    CONFORMING = 0x38,
    EXECUTE_ONLY = 0x40,
    ABSENT_DATA = 0x48,
    TSS = 0x50,
    LDT = 0x60,
    GATE = 0x70,
    CODE3_64 = 0x80 | 3,
    CODE0_16 = 0x88,
    DATA0_16 = 0x90,
    EXPAND_DOWN = 0x98,
    TSS_OTHER = 0xa0,
    TASK_GATE = 0xb0,
    CODE1 = 0xb8 | 1,
    DATA1 = 0xc0 | 1,
    CODE_RESERVED = 0xc8, /* L and D */
    ABSENT_CODE = 0xd0,
    SMALL_CODE = 0xd8, /* limit 0xfff */
    FREE_ENTRY = 0xe0,
    GDT_BYTES = 0x100
};

extern struct soft_cpu fake_cpu;
extern uint8_t fake_memory[FAKE_MEMORY];

/* Modes to start from: tables filled in, registers loaded, as level cpl. */
void fake_real(void);
void fake_protected(unsigned int cpl);
void fake_long(unsigned int cpl);
void fake_virtual_8086(unsigned int iopl);

/* Pages that writes to raise #PF. */
void fake_write_protect(uint64_t linear);

uint64_t fake_read(uint64_t linear, unsigned int size);
void fake_write(uint64_t linear, uint64_t value, unsigned int size);
void fake_set_descriptor(uint16_t selector, uint64_t low);

/* Runs one instruction of `length` bytes; false: it raised what fake_cpu.exception_… say. */
bool fake_run(soft_execute *execute, const struct x86_instruction *decoded);

/* Calls a function that may raise; false: it did. */
bool fake_try(void (*function)(void *context), void *context);

/* True if execute raises vector with error (-1: no error code). */
bool fake_faults(soft_execute *execute, const struct x86_instruction *decoded, unsigned int vector,
                 int64_t error);

/* A memory operand at [FAKE_DATA]. */
struct x86_instruction fake_memory_operand(unsigned int reg, unsigned int operand_size);
struct x86_instruction fake_register_operand(unsigned int reg, unsigned int rm,
                                             unsigned int operand_size);

#endif
