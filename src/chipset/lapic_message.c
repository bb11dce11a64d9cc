/* Whom interrupt messages are for, and what they do there. */
#include <stddef.h>

#include "chipset/lapic.h"
#include "chipset/lapic_internal.h"

/* "Interrupt Command Register (ICR)". */
#define ICR_VECTOR                  UINT64_C(0xff)
#define ICR_DELIVERY_SHIFT          8
#define ICR_LOGICAL                 (UINT64_C(1) << 11)
#define ICR_ASSERT                  (UINT64_C(1) << 14)
#define ICR_LEVEL                   (UINT64_C(1) << 15)
#define ICR_SHORTHAND_SHIFT         18
#define ICR_DESTINATION_SHIFT       32
#define ICR_XAPIC_DESTINATION_SHIFT 56

enum shorthand { SHORTHAND_NONE, SHORTHAND_SELF, SHORTHAND_ALL, SHORTHAND_OTHERS };

/* "Message Address Register Format", "Message Data Register Format". */
#define MSI_ADDRESS_RANGE_SHIFT      20
#define MSI_ADDRESS_RANGE            UINT64_C(0xfee)
#define MSI_ADDRESS_DESTINATION      12
#define MSI_ADDRESS_REDIRECTION_HINT (UINT64_C(1) << 3)
#define MSI_ADDRESS_LOGICAL          (UINT64_C(1) << 2)
#define MSI_DATA_DELIVERY_SHIFT      8
#define MSI_DATA_ASSERT              (1u << 14)
#define MSI_DATA_LEVEL               (1u << 15)

#define XAPIC_BROADCAST  0xffu
#define X2APIC_BROADCAST UINT32_MAX
#define DFR_FLAT         0xfu

/* "Logical Destination Mode in x2APIC Mode": the logical id follows from the x2APIC id. */
uint32_t lapic_logical_id(const struct lapic *apic)
{
    if (lapic_is_x2apic(apic)) {
        return (apic->index >> 4) << 16 | 1u << (apic->index & 0xf);
    }
    return apic->ldr;
}

/* "Logical Destination Mode": flat or cluster model, or that of x2APIC. */
static bool matches_logical(const struct lapic *apic, uint32_t destination)
{
    uint32_t logical_id = lapic_logical_id(apic);

    if (lapic_is_x2apic(apic)) {
        return logical_id >> 16 == destination >> 16 && (logical_id & destination & 0xffff) != 0;
    }
    if (destination > 0xff) {
        return false;
    }
    logical_id >>= 24;
    if (apic->dfr >> 28 == DFR_FLAT) {
        return (logical_id & destination) != 0;
    }
    return logical_id >> 4 == destination >> 4 && (logical_id & destination & 0xf) != 0;
}

static bool matches(const struct lapic *apic, const struct lapic_message *message)
{
    if (!lapic_is_enabled(apic)) {
        return false;
    }
    if (message->broadcast) {
        return true;
    }
    if (message->logical) {
        return matches_logical(apic, message->destination);
    }
    return message->destination == (lapic_is_x2apic(apic) ? apic->index : apic->id);
}

static bool deliver_to(struct lapic *apic, const struct lapic_message *message)
{
    const struct lapics_config *config = &apic->lapics->config;

    switch (message->mode) {
    case DELIVERY_FIXED:
    case DELIVERY_LOWEST_PRIORITY:
        return lapic_accept(apic, message->vector, message->level);
    case DELIVERY_NMI:
        config->signals->nmi(config->signals_context, apic->index);
        return true;
    case DELIVERY_INIT:
        lapic_reset_registers(apic);
        config->signals->init(config->signals_context, apic->index);
        return true;
    case DELIVERY_STARTUP:
        config->signals->sipi(config->signals_context, apic->index, message->vector);
        return true;
    case DELIVERY_EXTINT:
        apic->extint_requested = config->pic_acknowledge != NULL;
        lapic_update(apic);
        return true;
    case DELIVERY_SMI: /* there is no system management mode */
        return true;
    }
    return false;
}

/*
 * "Lowest Priority Delivery Mode": the one with the lowest processor priority; those that are
 * equal take turns.
 */
static bool deliver_to_lowest(struct lapics *lapics, const struct lapic_message *message)
{
    struct lapic *chosen = NULL;
    unsigned int count = lapics->config.count;

    for (unsigned int i = 1; i <= count; i++) {
        struct lapic *apic = &lapics->apics[(lapics->last_lowest + i) % count];

        if (matches(apic, message) && lapic_is_software_enabled(apic) &&
            (chosen == NULL || lapic_processor_priority(apic) < lapic_processor_priority(chosen))) {
            chosen = apic;
        }
    }
    if (chosen == NULL) {
        return false;
    }
    lapics->last_lowest = chosen->index;
    return deliver_to(chosen, message);
}

bool lapics_deliver(struct lapics *lapics, const struct lapic_message *message)
{
    bool accepted = false;

    if (message->mode == DELIVERY_LOWEST_PRIORITY) {
        return deliver_to_lowest(lapics, message);
    }
    for (unsigned int i = 0; i < lapics->config.count; i++) {
        struct lapic *apic = &lapics->apics[i];

        if (matches(apic, message) && deliver_to(apic, message)) {
            accepted = true;
        }
    }
    return accepted;
}

bool lapics_msi(void *context, const struct msi_message *message)
{
    struct lapics *lapics = context;

    if (message->address >> MSI_ADDRESS_RANGE_SHIFT != MSI_ADDRESS_RANGE) {
        return false;
    }

    bool level = (message->data & MSI_DATA_LEVEL) != 0;
    struct lapic_message decoded = {
        .destination = (uint32_t)(message->address >> MSI_ADDRESS_DESTINATION) & 0xff,
        .logical = (message->address & MSI_ADDRESS_LOGICAL) != 0,
        .level = level,
        .mode = (enum delivery_mode)(message->data >> MSI_DATA_DELIVERY_SHIFT & 7),
        .vector = (uint8_t)message->data,
    };

    if (level && (message->data & MSI_DATA_ASSERT) == 0) {
        return true; /* deassertion: the message that asserted was all there is to do */
    }
    decoded.broadcast = decoded.destination == XAPIC_BROADCAST;
    if (decoded.mode == DELIVERY_FIXED && (message->address & MSI_ADDRESS_REDIRECTION_HINT) != 0) {
        decoded.mode = DELIVERY_LOWEST_PRIORITY;
    }
    return lapics_deliver(lapics, &decoded);
}

static void deliver_to_others(struct lapic *sender, const struct lapic_message *message,
                              bool and_self)
{
    struct lapics *lapics = sender->lapics;

    for (unsigned int i = 0; i < lapics->config.count; i++) {
        struct lapic *apic = &lapics->apics[i];

        if (lapic_is_enabled(apic) && (apic != sender || and_self)) {
            deliver_to(apic, message);
        }
    }
}

static struct lapic_message message_of_icr(const struct lapic *apic)
{
    uint64_t icr = apic->icr;
    struct lapic_message message = {
        .logical = (icr & ICR_LOGICAL) != 0,
        .mode = (enum delivery_mode)(icr >> ICR_DELIVERY_SHIFT & 7),
        .vector = (uint8_t)(icr & ICR_VECTOR),
    };

    if (lapic_is_x2apic(apic)) {
        message.destination = (uint32_t)(icr >> ICR_DESTINATION_SHIFT);
        message.broadcast = message.destination == X2APIC_BROADCAST;
    } else {
        message.destination = (uint32_t)(icr >> ICR_XAPIC_DESTINATION_SHIFT);
        message.broadcast = message.destination == XAPIC_BROADCAST;
    }
    return message;
}

void lapic_send_ipi(struct lapic *apic)
{
    struct lapic_message message = message_of_icr(apic);
    bool is_fixed = message.mode <= DELIVERY_LOWEST_PRIORITY;

    if (is_fixed && message.vector < VECTOR_FIRST_LEGAL) {
        lapic_error(apic, ERROR_SEND_ILLEGAL_VECTOR);
        return;
    }
    /* INIT level de-assert only synchronised arbitration ids, which nobody has any more. */
    if (message.mode == DELIVERY_INIT && (apic->icr & ICR_LEVEL) != 0 &&
        (apic->icr & ICR_ASSERT) == 0) {
        return;
    }
    if (message.mode == DELIVERY_EXTINT) { /* reserved in the ICR */
        return;
    }
    switch (apic->icr >> ICR_SHORTHAND_SHIFT & 3) {
    case SHORTHAND_SELF:
        deliver_to(apic, &message);
        break;
    case SHORTHAND_ALL:
        deliver_to_others(apic, &message, true);
        break;
    case SHORTHAND_OTHERS:
        deliver_to_others(apic, &message, false);
        break;
    default: /* SHORTHAND_NONE */
        lapics_deliver(apic->lapics, &message);
        break;
    }
}

/* "SELF IPI Register". */
void lapic_send_self_ipi(struct lapic *apic, uint8_t vector)
{
    if (vector < VECTOR_FIRST_LEGAL) {
        lapic_error(apic, ERROR_SEND_ILLEGAL_VECTOR);
        return;
    }
    lapic_accept(apic, vector, false);
}
