/*
 * What the guests that run one instruction at a time have in common: memory, output, chance,
 * descriptors, the outcome of a case.
 *
 * Purpose: a case is an instruction put at CASE_CODE and run at a privilege level; whatever
 *          interrupt or exception comes first ends it, and a line is written to port 0xe9. The same
 *          image, as 32-bit or 64-bit code, runs on any machine: its output is compared.
 */
#ifndef GUEST_CASE_H
#define GUEST_CASE_H

#include <stdbool.h>
#include <stdint.h>

#include "case_layout.h"

#ifdef __x86_64__
#define IS_64 true
typedef uint64_t word;
#else
#define IS_64 false
typedef uint32_t word;
#endif

#define PRESENT 0x80u /* the attribute of a descriptor */

/* The order of the fields up to `operand` is known to case.S. */
struct machine {
    uint64_t stack, code, level, flags, operand;
    /* the outcome */
    uint64_t vector, error, rip, cs, rflags, rsp, old_ss;
    uint64_t ss, ds, es, fs, gs, rax, rbx, rcx;
};

/* case.S: loads what it says (with RFLAGS.VM: virtual-8086 mode), runs, comes back with the
 * outcome.
 */
void run_case(struct machine *machine);
extern const uint8_t vectors[], arrival_vector[], done_vector[], case_vector[];

/* The guest's own: runs all cases. */
void guest_main(void);

void put(word address, uint64_t value, unsigned int size);
uint64_t get(word address, unsigned int size);
uint64_t hash_memory(word from, word to);

void out(uint16_t port, uint8_t value);
void print(const char *text);
void print_field(const char *name, uint64_t value);
void print_registers(const struct machine *machine);

/* A number below `below`; the sequence is the same in every run. */
uint32_t chance(uint32_t below);
bool once_in(uint32_t times);

uint64_t descriptor(uint32_t base, uint32_t limit, uint32_t attributes);
uint64_t gate(uint64_t offset, uint32_t selector, uint32_t low_bits, uint32_t attributes);

/* Descriptor tables, TSS, handlers, clean stacks; before each case. */
void set_up(void);
void set_vector(unsigned int vector, uint64_t raw);

#endif
