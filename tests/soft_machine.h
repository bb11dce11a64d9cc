/*
 * A small machine around the software engine, in process: flat 64-bit memory, vCPUs, one device.
 *
 * Purpose: tests that run real guest code through soft_engine's operations and look at every exit.
 *          Guest code is written as assembler text with GUEST(), copied into guest memory and
 *          entered at CPL 0. A guest ends with a 32-bit OUT to port 0xf4: the value is its result.
 *
 *   0x1000..0x5000    page tables: the first 2 MiB in 4 KiB pages (the table is at 0x4000), then
 *                     2 MiB pages to 1 GiB, all mapped to themselves; linear 512 MiB + x (x below
 *                     2 MiB) is an alias of x
 *   0x5000            GDT (selectors: 0x08 code, 0x10 data, 0x18 TSS)
 *   0x6000            IDT: MACHINE_VECTORS gates, not present until soft_machine_set_gate
 *   0x10000..0x50000  stacks, one of 64 KiB for each vCPU
 *   0x100000          where guests are loaded
 *   up to 64 MiB      RAM; above it there is only the device (MMIO)
 *
 * Owner:   the test. Thread: soft_machine_run uses the caller's; soft_machine_start makes one for
 *          each vCPU.
 */
#ifndef TRAPEZE_TESTS_SOFT_MACHINE_H
#define TRAPEZE_TESTS_SOFT_MACHINE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "engines/soft/soft.h"
#include "vm/guestmem.h"

#define MACHINE_RAM         (UINT64_C(64) << 20)
#define MACHINE_PAGE_TABLE  UINT64_C(0x4000)
#define MACHINE_IDT         UINT64_C(0x6000)
#define MACHINE_VECTORS     64
#define MACHINE_STACKS      UINT64_C(0x10000)
#define MACHINE_STACK_BYTES UINT64_C(0x10000)
#define MACHINE_CODE        UINT64_C(0x100000)
#define MACHINE_ALIAS       UINT64_C(0x20000000)
#define MACHINE_MMIO        UINT64_C(0x10000000) /* mapped to itself, no RAM behind it */
#define MACHINE_CPUS_MAX    4
#define MACHINE_EXIT_PORT   0xf4

/* Why a vCPU stopped. */
enum machine_end {
    MACHINE_RUNNING,
    MACHINE_DONE,
    MACHINE_HALTED,
    MACHINE_SHUTDOWN,
    MACHINE_FAILED
};

struct soft_machine;

struct machine_cpu {
    struct soft_machine *machine;
    unsigned int index;
    pthread_t thread;
    bool started;
    struct engine_vcpu *vcpu; /* under machine->lock for other threads */
    uint64_t entry;
    uint64_t rdi, rsi; /* what the guest gets there */
    const struct interrupt_source *interrupts;
    atomic_int end; /* enum machine_end */
    uint32_t result;
    uint64_t kicked; /* exits for a kick */
    struct exit_exception exceptions[EXIT_EXCEPTIONS_MAX];
    struct x86_state final;
};

struct soft_machine {
    struct guestmem *memory;
    uint8_t *ram;
    struct engine_vm *vm;
    struct cpuid_table cpuid;
    pthread_mutex_t lock;
    /* Serves accesses to ports but 0xf4, and to MMIO. The vCPU's thread. NULL: all ones. */
    void (*serve)(void *context, struct vcpu_exit *exit);
    void *context;
    /* After an exit for a kick. The vCPU's thread. NULL: nothing. */
    void (*kicked)(void *context, struct machine_cpu *cpu);
    bool kick_after_each; /* a kick follows every exit that was served */
    unsigned int cpu_count;
    struct machine_cpu cpus[MACHINE_CPUS_MAX];
};

/* NULL when the host fails; it has been printed then. */
struct soft_machine *soft_machine_create(unsigned int cpu_count);
void soft_machine_destroy(struct soft_machine *machine);

void soft_machine_load(struct soft_machine *machine, uint64_t address, const void *bytes,
                       size_t length);
/* An interrupt gate at CPL 0. */
void soft_machine_set_gate(struct soft_machine *machine, unsigned int vector, uint64_t handler);
/* The entry of the page table for a linear address below 2 MiB (or its alias). */
uint64_t *soft_machine_page_entry(struct soft_machine *machine, uint64_t linear);

uint64_t soft_machine_get64(const struct soft_machine *machine, uint64_t address);
void soft_machine_put64(struct soft_machine *machine, uint64_t address, uint64_t value);

/* Runs vCPU 0 from entry to its end on the calling thread. */
enum machine_end soft_machine_run(struct soft_machine *machine, uint64_t entry);

/* Each vCPU on its own thread. */
void soft_machine_start(struct soft_machine *machine, unsigned int cpu, uint64_t entry);
void soft_machine_wait(struct soft_machine *machine, unsigned int cpu);
/* From any thread while it runs; nothing if it does not. */
void soft_machine_kick(struct soft_machine *machine, unsigned int cpu);
void soft_machine_interrupt_changed(struct soft_machine *machine, unsigned int cpu);

/*
 * Guest code as assembler text: bytes at guest_NAME, up to guest_NAME_end. Labels in it that other
 * text or C needs are written out; all others are numbers.
 */
#define GUEST(name, text)                                                                          \
    __asm__(".pushsection .rodata\n.balign 64\n"                                                   \
            ".globl guest_" #name "\nguest_" #name ":\n" text "\n"                                 \
            ".globl guest_" #name "_end\nguest_" #name "_end:\n.popsection\n");                    \
    extern const uint8_t guest_##name[], guest_##name##_end[]

#define GUEST_LENGTH(name) ((size_t)(guest_##name##_end - guest_##name))

/* Ends the guest with the result in EAX. */
#define GUEST_EXIT "out %eax, $0xf4\n"

#endif
