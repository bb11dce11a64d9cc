#include "chipset/lapic.h"

#include <stddef.h>
#include <string.h>

#include "chipset/lapic_internal.h"

/* Sets of 256 vectors, 32 to a register. */

static void set_vector(uint32_t registers[8], unsigned int vector)
{
    registers[vector / 32] |= 1u << (vector % 32);
}

static void clear_vector(uint32_t registers[8], unsigned int vector)
{
    registers[vector / 32] &= ~(1u << (vector % 32));
}

static bool has_vector(const uint32_t registers[8], unsigned int vector)
{
    return (registers[vector / 32] >> (vector % 32) & 1) != 0;
}

/* -1 if the set is empty. */
static int highest_vector(const uint32_t registers[8])
{
    for (int i = 7; i >= 0; i--) {
        if (registers[i] != 0) {
            return i * 32 + 31 - __builtin_clz(registers[i]);
        }
    }
    return -1;
}

/* "Task and Processor Priorities". */
uint8_t lapic_processor_priority(const struct lapic *apic)
{
    int served = highest_vector(apic->isr);
    unsigned int service_class = served < 0 ? 0 : (unsigned int)served & 0xf0;

    return (uint8_t)((apic->tpr & 0xf0) >= service_class ? apic->tpr : service_class);
}

/* The vector that the CPU would be given next, -1 if priorities let none through. */
static int deliverable_vector(const struct lapic *apic)
{
    int vector = highest_vector(apic->irr);

    return vector >= 0 && vector >> 4 > lapic_processor_priority(apic) >> 4 ? vector : -1;
}

/* True if the CPU would be given what the 8259A pair wants served ("virtual wire mode"). */
static bool pic_gets_through(const struct lapic *apic)
{
    if (apic->lapics->config.pic_acknowledge == NULL) {
        return false;
    }
    if (apic->extint_requested) {
        return true;
    }
    if (!apic->lint[0]) {
        return false;
    }
    if (!lapic_is_enabled(apic)) {
        return true; /* the pin is INTR again */
    }

    uint32_t entry = apic->lvt[LAPIC_LVT_LINT0];

    return (entry & LVT_MASKED) == 0 &&
           (entry & LVT_DELIVERY) >> LVT_DELIVERY_SHIFT == DELIVERY_EXTINT;
}

static bool is_pending(const struct lapic *apic)
{
    return pic_gets_through(apic) || deliverable_vector(apic) >= 0;
}

void lapic_update(struct lapic *apic)
{
    const struct lapics_config *config = &apic->lapics->config;
    bool pending = is_pending(apic);

    atomic_store_explicit(&apic->pending_hint, pending, memory_order_release);
    if (pending) {
        config->signals->interrupt_changed(config->signals_context, apic->index);
    }
}

bool lapic_pending(struct lapics *lapics, unsigned int vcpu)
{
    return is_pending(&lapics->apics[vcpu]);
}

int lapic_acknowledge(struct lapics *lapics, unsigned int vcpu)
{
    struct lapic *apic = &lapics->apics[vcpu];
    int vector;

    if (pic_gets_through(apic)) {
        apic->extint_requested = false;
        vector = lapics->config.pic_acknowledge(lapics->config.pic_context) & 0xff;
    } else {
        vector = deliverable_vector(apic);
        if (vector >= 0) {
            clear_vector(apic->irr, (unsigned int)vector);
            set_vector(apic->isr, (unsigned int)vector);
        }
    }
    lapic_update(apic);
    return vector;
}

uint8_t lapic_get_cr8(const struct lapics *lapics, unsigned int vcpu)
{
    return (uint8_t)(lapics->apics[vcpu].tpr >> 4);
}

/* "Interaction of Task Priorities between CR8 and APIC": bits 3 to 0 of TPR become 0. */
void lapic_set_cr8(struct lapics *lapics, unsigned int vcpu, uint8_t value)
{
    struct lapic *apic = &lapics->apics[vcpu];

    apic->tpr = (uint32_t)(value & 0xf) << 4;
    lapic_update(apic);
}

bool lapic_accept(struct lapic *apic, uint8_t vector, bool level)
{
    if (!lapic_is_software_enabled(apic)) {
        return false;
    }
    if (vector < VECTOR_FIRST_LEGAL) {
        lapic_error(apic, ERROR_RECEIVE_ILLEGAL_VECTOR);
        return false;
    }
    set_vector(apic->irr, vector);
    if (level) {
        set_vector(apic->tmr, vector);
    } else {
        clear_vector(apic->tmr, vector);
    }
    lapic_update(apic);
    return true;
}

/* The first error after a write to ESR interrupts; further ones are only collected. */
void lapic_error(struct lapic *apic, uint32_t error)
{
    bool armed = apic->errors == 0;

    apic->errors |= error;
    if (armed) {
        lapic_local_event(apic, LAPIC_LVT_ERROR);
    }
}

void lapic_local_event(struct lapic *apic, enum lapic_lvt which)
{
    uint32_t entry = apic->lvt[which];

    if ((entry & LVT_MASKED) == 0) {
        lapic_accept(apic, (uint8_t)(entry & LVT_VECTOR), false);
    }
}

/* Sends a level-triggered fixed interrupt of LINT0 unless one is outstanding. */
void lapic_evaluate_lint(struct lapic *apic, unsigned int pin)
{
    uint32_t *entry = &apic->lvt[LAPIC_LVT_LINT0 + pin];
    bool is_level = pin == 0 && (*entry & LVT_LEVEL) != 0 && (*entry & LVT_DELIVERY) == 0;

    if (is_level && apic->lint[pin] && (*entry & (LVT_MASKED | LVT_REMOTE_IRR)) == 0 &&
        lapic_accept(apic, (uint8_t)(*entry & LVT_VECTOR), true)) {
        *entry |= LVT_REMOTE_IRR;
    }
    lapic_update(apic);
}

/* A pin rises: what its entry in the local vector table makes of an edge. */
static void lint_edge(struct lapic *apic, unsigned int pin)
{
    const struct lapics_config *config = &apic->lapics->config;
    uint32_t entry = apic->lvt[LAPIC_LVT_LINT0 + pin];

    if (!lapic_is_enabled(apic)) {
        if (pin == 1) { /* the pin is NMI again */
            config->signals->nmi(config->signals_context, apic->index);
        }
        return;
    }
    if ((entry & LVT_MASKED) != 0) {
        return;
    }
    switch ((entry & LVT_DELIVERY) >> LVT_DELIVERY_SHIFT) {
    case DELIVERY_FIXED:
        if (pin != 0 || (entry & LVT_LEVEL) == 0) {
            lapic_accept(apic, (uint8_t)(entry & LVT_VECTOR), false);
        }
        break;
    case DELIVERY_NMI:
        config->signals->nmi(config->signals_context, apic->index);
        break;
    case DELIVERY_INIT:
        lapic_reset_registers(apic);
        config->signals->init(config->signals_context, apic->index);
        break;
    default: /* ExtINT follows the level; there is no system management mode */
        break;
    }
}

static void set_lint(struct lapics *lapics, unsigned int pin, unsigned int index, bool level)
{
    if (index >= lapics->config.count) {
        return;
    }

    struct lapic *apic = &lapics->apics[index];
    bool rising = level && !apic->lint[pin];

    apic->lint[pin] = level;
    if (rising) {
        lint_edge(apic, pin);
    }
    lapic_evaluate_lint(apic, pin);
}

void lapics_set_lint0(void *lapics, unsigned int index, bool level)
{
    set_lint(lapics, 0, index, level);
}

void lapics_set_lint1(void *lapics, unsigned int index, bool level)
{
    set_lint(lapics, 1, index, level);
}

/* "Signaling Interrupt Servicing Completion". */
void lapic_end_of_interrupt(struct lapic *apic)
{
    const struct lapics_config *config = &apic->lapics->config;
    int vector = highest_vector(apic->isr);

    if (vector < 0) {
        return;
    }
    clear_vector(apic->isr, (unsigned int)vector);
    if (has_vector(apic->tmr, (unsigned int)vector)) {
        uint32_t *entry = &apic->lvt[LAPIC_LVT_LINT0];

        if ((*entry & LVT_REMOTE_IRR) != 0 && (*entry & LVT_VECTOR) == (uint32_t)vector) {
            *entry &= ~LVT_REMOTE_IRR;
            lapic_evaluate_lint(apic, 0);
        }
        if (config->eoi != NULL && (apic->svr & SVR_EOI_SUPPRESSED) == 0) {
            config->eoi(config->eoi_context, (uint8_t)vector);
        }
    }
    lapic_update(apic);
}

void lapic_reset_registers(struct lapic *apic)
{
    lapic_timer_stop(apic);
    apic->ldr = 0;
    apic->dfr = UINT32_MAX;
    apic->tpr = 0;
    apic->svr = SVR_AFTER_RESET;
    memset(apic->isr, 0, sizeof(apic->isr));
    memset(apic->tmr, 0, sizeof(apic->tmr));
    memset(apic->irr, 0, sizeof(apic->irr));
    apic->esr = 0;
    apic->errors = 0;
    apic->icr = 0;
    for (unsigned int i = 0; i < LAPIC_LVT_COUNT; i++) {
        apic->lvt[i] = LVT_MASKED;
    }
    apic->initial_count = 0;
    apic->divide_configuration = 0;
    apic->extint_requested = false;
    lapic_update(apic);
}

void lapics_reset(struct lapics *lapics)
{
    for (unsigned int i = 0; i < lapics->config.count; i++) {
        struct lapic *apic = &lapics->apics[i];
        uint64_t base = LAPIC_DEFAULT_BASE | BASE_ENABLED | (i == 0 ? BASE_BSP : 0);

        if (apic->base != base) {
            apic->base = base;
            lapic_enter_window(apic);
        }
        apic->id = i;
        lapic_reset_registers(apic);
    }
}

void lapics_init(struct lapics *lapics, const struct lapics_config *config)
{
    memset(lapics, 0, sizeof(*lapics));
    lapics->config = *config;
    if (lapics->config.count > LAPICS_MAX) {
        lapics->config.count = LAPICS_MAX;
    }
    for (unsigned int i = 0; i < lapics->config.count; i++) {
        struct lapic *apic = &lapics->apics[i];

        apic->lapics = lapics;
        apic->index = i;
        atomic_init(&apic->pending_hint, false);
        lapic_timer_init(apic);
    }
    for (unsigned int i = 0; i < LAPICS_MAX + 1; i++) {
        lapics->windows[i].lapics = lapics;
    }
    lapics_reset(lapics);
}

void lapics_set_virtual_wire(struct lapics *lapics)
{
    struct lapic *apic = &lapics->apics[0];

    apic->svr |= SVR_ENABLED;
    apic->lvt[LAPIC_LVT_LINT0] = (uint32_t)DELIVERY_EXTINT << LVT_DELIVERY_SHIFT;
    apic->lvt[LAPIC_LVT_LINT1] = (uint32_t)DELIVERY_NMI << LVT_DELIVERY_SHIFT;
    lapic_update(apic);
}
