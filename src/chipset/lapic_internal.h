/*
 * What the parts of the local APIC share: register bits and the steps between them.
 *
 * Purpose: lapic.c keeps requests and priorities, lapic_message.c finds who a message is for,
 *          lapic_timer.c is the timer, lapic_registers.c what the guest reads and writes.
 * Source:  Intel SDM volume 3, "Advanced Programmable Interrupt Controller (APIC)".
 * Owner, thread: as lapic.h. Freestanding.
 */
#ifndef TRAPEZE_CHIPSET_LAPIC_INTERNAL_H
#define TRAPEZE_CHIPSET_LAPIC_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "chipset/lapic.h"

/* IA32_APIC_BASE. */
#define BASE_BSP           (UINT64_C(1) << 8)
#define BASE_X2APIC        (UINT64_C(1) << 10)
#define BASE_ENABLED       (UINT64_C(1) << 11)
#define BASE_ADDRESS_SHIFT 12

/* "Spurious-Interrupt Vector Register". */
#define SVR_ENABLED        0x100u
#define SVR_FOCUS          0x200u
#define SVR_EOI_SUPPRESSED 0x1000u
#define SVR_AFTER_RESET    0xffu

/* "Local Vector Table". */
#define LVT_VECTOR           0xffu
#define LVT_DELIVERY         0x700u
#define LVT_DELIVERY_SHIFT   8
#define LVT_DELIVERY_STATUS  (1u << 12)
#define LVT_POLARITY         (1u << 13)
#define LVT_REMOTE_IRR       (1u << 14)
#define LVT_LEVEL            (1u << 15)
#define LVT_MASKED           (1u << 16)
#define LVT_TIMER_MODE_SHIFT 17
#define LVT_TIMER_MODE       (3u << LVT_TIMER_MODE_SHIFT)

enum timer_mode { TIMER_ONE_SHOT = 0, TIMER_PERIODIC = 1, TIMER_TSC_DEADLINE = 2 };

/* "Error Status Register (ESR)". */
#define ERROR_SEND_ILLEGAL_VECTOR    (1u << 5)
#define ERROR_RECEIVE_ILLEGAL_VECTOR (1u << 6)
#define ERROR_ILLEGAL_REGISTER       (1u << 7)

#define VECTOR_FIRST_LEGAL 16

enum delivery_mode {
    DELIVERY_FIXED = 0,
    DELIVERY_LOWEST_PRIORITY = 1,
    DELIVERY_SMI = 2,
    DELIVERY_NMI = 4,
    DELIVERY_INIT = 5,
    DELIVERY_STARTUP = 6,
    DELIVERY_EXTINT = 7
};

/* An interrupt message, from an ICR, the I/O APIC or a device. */
struct lapic_message {
    uint32_t destination; /* 8 bits from all but an x2APIC's ICR */
    bool logical;
    bool broadcast; /* the destination means everybody, in the sender's format */
    bool level;
    enum delivery_mode mode;
    uint8_t vector;
};

static inline bool lapic_is_enabled(const struct lapic *apic)
{
    return (apic->base & BASE_ENABLED) != 0;
}

static inline bool lapic_is_x2apic(const struct lapic *apic)
{
    return (apic->base & BASE_X2APIC) != 0;
}

static inline bool lapic_is_software_enabled(const struct lapic *apic)
{
    return lapic_is_enabled(apic) && (apic->svr & SVR_ENABLED) != 0;
}

/* lapic.c */

/* "Local APIC State After Power-Up or Reset", "… After It Receives an INIT Reset". */
void lapic_reset_registers(struct lapic *apic);
/* Recomputes whether an interrupt waits, and tells the vCPU if so. */
void lapic_update(struct lapic *apic);
/* A fixed interrupt arrives; false if the APIC is off. */
bool lapic_accept(struct lapic *apic, uint8_t vector, bool level);
void lapic_error(struct lapic *apic, uint32_t error);
/* An event of the local vector table happens: timer, error. */
void lapic_local_event(struct lapic *apic, enum lapic_lvt which);
/* A LINT entry was written: a level-triggered pin that is high may now get through. */
void lapic_evaluate_lint(struct lapic *apic, unsigned int pin);
void lapic_end_of_interrupt(struct lapic *apic);
uint8_t lapic_processor_priority(const struct lapic *apic);

/* lapic_message.c */
bool lapics_deliver(struct lapics *lapics, const struct lapic_message *message);
/* The guest wrote the (low half of the) ICR: send what it says. */
void lapic_send_ipi(struct lapic *apic);
void lapic_send_self_ipi(struct lapic *apic, uint8_t vector);
uint32_t lapic_logical_id(const struct lapic *apic);

/* lapic_timer.c */
void lapic_timer_init(struct lapic *apic);
void lapic_timer_stop(struct lapic *apic);
uint32_t lapic_timer_current_count(const struct lapic *apic);
void lapic_timer_set_initial_count(struct lapic *apic, uint32_t value);
void lapic_timer_set_divide(struct lapic *apic, uint32_t value);
void lapic_timer_set_lvt(struct lapic *apic, uint32_t value);
uint64_t lapic_timer_deadline(const struct lapic *apic);
void lapic_timer_set_deadline(struct lapic *apic, uint64_t tsc);
void lapic_timer_tsc_changed(struct lapic *apic);

/* lapic_registers.c */
void lapic_enter_window(struct lapic *apic);

#endif
