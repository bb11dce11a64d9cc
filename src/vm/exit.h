/*
 * Why an engine's run came back.
 *
 * Purpose: a tagged union that fits all engines. The run loop serves it, fills in what the guest
 *          reads, and passes the same struct to the next run, which completes the instruction.
 * Owner:   one struct vcpu_exit a vCPU, owned by its thread.
 * Thread:  the vCPU's own. Freestanding.
 */
#ifndef TRAPEZE_VM_EXIT_H
#define TRAPEZE_VM_EXIT_H

#include <stdbool.h>
#include <stdint.h>

#include "x86/decode/operation.h"

enum exit_reason {
    EXIT_NONE,   /* nothing to complete: the first run */
    EXIT_KICKED, /* another thread asked; nothing to serve */
    EXIT_PIO,    /* IN, OUT and their string forms */
    EXIT_MMIO,   /* memory that no slot holds, or a write to a read-only slot */
    EXIT_RDMSR,  /* an MSR that the engine does not keep */
    EXIT_WRMSR,
    EXIT_HLT,              /* halted; run again when an interrupt waits */
    EXIT_HYPERCALL,        /* VMCALL or VMMCALL */
    EXIT_INTERRUPT_WINDOW, /* an interrupt can be taken now */
    EXIT_DEBUG,            /* a debugger's breakpoint or step */
    EXIT_SHUTDOWN,         /* triple fault; see shutdown */
    EXIT_ENTRY_FAILED,     /* the hardware refused the guest state */
    EXIT_EOI,              /* the end of a level-triggered interrupt of our IOAPIC */
    EXIT_SYSTEM_EVENT,     /* the kernel's own reset, shutdown or crash report */
    EXIT_INTERNAL,         /* the engine can't go on; words in internal.text */
    EXIT_INSTRUCTION,      /* a sensitive instruction is about to run; nothing to serve */
    EXIT_REASON_COUNT
};

/* One exception in the chain that ended in shutdown. */
struct exit_exception {
    uint8_t vector;
    bool has_error;
    uint32_t error;
    uint64_t rip;     /* of the instruction that raised it */
    uint64_t address; /* CR2 for a page fault, else 0 */
};

#define EXIT_EXCEPTIONS_MAX 4

struct vcpu_exit {
    enum exit_reason reason;
    union {
        struct {
            uint16_t port;
            uint8_t size; /* bytes of one element: 1, 2, 4 */
            bool is_write;
            uint32_t count; /* elements at data, one after the other; 1 but for string forms */
            uint8_t *data;  /* the engine's buffer: taken from (OUT) or to be filled (IN) */
        } pio;
        struct {
            uint64_t address; /* guest physical */
            uint8_t size;     /* 1..8 bytes */
            bool is_write;
            uint8_t data[8];
        } mmio;
        struct {
            uint32_t index;
            uint64_t value; /* to be filled for RDMSR */
            bool refused;   /* set by whoever serves it: the guest gets #GP(0) */
        } msr;
        struct {
            uint64_t number, arguments[4]; /* RAX, RBX, RCX, RDX, RSI */
            uint64_t result;               /* to be filled: RAX */
        } hypercall;
        struct {
            unsigned int exception_count; /* 0 when the engine can't tell */
            struct exit_exception exceptions[EXIT_EXCEPTIONS_MAX]; /* oldest first */
        } shutdown;
        struct {
            uint64_t hardware_reason;
            char text[192];
        } entry_failed;
        struct {
            uint8_t vector;
        } eoi;
        struct {
            uint32_t type; /* KVM_SYSTEM_EVENT_… */
        } system_event;
        struct {
            uint32_t code;
            char text[192];
        } internal;
        struct {
            uint64_t rip, dr6;
        } debug;
        struct {
            enum x86_operation operation; /* a row of x86/sensitive.h */
        } instruction;
    };
};

/* A reason in words for tables: "mmio". Never NULL. */
const char *exit_reason_name(enum exit_reason reason);

#endif
