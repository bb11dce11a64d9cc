/*
 * The interrupt controllers of a PC and the lines that lead to them.
 *
 * Purpose: device lines 0..15 fan out to the 8259 pair and the I/O APIC; messages go to the local
 *          APICs; these are each vCPU's interrupt_source. With an engine that has the controllers
 *          itself the lines lead there and nothing of ours is in the way; one that has only the
 *          local APICs gets messages and, on vCPU 0, the 8259's output.
 * Owner:   struct pc embeds a struct interrupts.
 * Thread:  init before the VM starts; the rest under the device lock, the interrupt_source
 *          functions excepted: they take it.
 */
#ifndef TRAPEZE_MACHINE_INTERRUPTS_H
#define TRAPEZE_MACHINE_INTERRUPTS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "chipset/ioapic.h"
#include "chipset/lapic.h"
#include "chipset/pic.h"
#include "vm/vm.h"

#define IOAPIC_ID 0

struct interrupts;

/* What a vCPU's engine asks: which local APIC. */
struct vcpu_interrupts {
    struct interrupts *all;
    unsigned int index;
    struct interrupt_source source;
};

struct interrupts {
    struct vm *vm;
    uint64_t tsc_hz;
    bool in_engine;        /* all controllers are: nothing below is used */
    bool lapics_in_engine; /* the local APICs are; the PIC's output is for vCPU 0 */
    atomic_bool pic_raised;
    struct pic pic;
    struct ioapic ioapic;
    struct lapics lapics;
    struct vcpu_interrupts vcpus[VM_VCPUS_MAX];
};

/* Maps the controllers and fills in the VM's platform functions for interrupts and MSRs. */
int interrupts_init(struct interrupts *interrupts, struct vm *vm, uint64_t tsc_hz,
                    uint8_t physical_address_bits, struct error *error);

/* Line 0..15 as on the ISA bus; 16..23 are inputs of the I/O APIC alone. */
struct irq_line interrupts_line(struct interrupts *interrupts, unsigned int number);

#endif
