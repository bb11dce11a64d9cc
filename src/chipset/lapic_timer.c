/* The local APIC's timer ("APIC Timer"): one-shot, periodic and TSC-deadline. */
#include "chipset/clock_ratio.h"
#include "chipset/lapic.h"
#include "chipset/lapic_internal.h"

static enum timer_mode mode_of(const struct lapic *apic)
{
    return (enum timer_mode)((apic->lvt[LAPIC_LVT_TIMER] & LVT_TIMER_MODE) >> LVT_TIMER_MODE_SHIFT);
}

static uint64_t now(const struct lapic *apic)
{
    struct timer_host *timers = apic->lapics->config.timers;

    return timers->now(timers);
}

static void arm(struct lapic *apic, uint64_t deadline)
{
    struct timer_host *timers = apic->lapics->config.timers;

    timers->arm(timers, &apic->timer, deadline);
}

/* "Divide Configuration Register": bits 3, 1 and 0; 000 divides by 2, 111 by 1. */
static uint64_t divisor_of(const struct lapic *apic)
{
    uint32_t bits = (apic->divide_configuration >> 1 & 4) | (apic->divide_configuration & 3);

    return UINT64_C(1) << ((bits + 1) & 7);
}

/* Nanoseconds from the initial count to zero; at most 2^39. */
static uint64_t period_of(const struct lapic *apic)
{
    return apic->initial_count * divisor_of(apic);
}

void lapic_timer_stop(struct lapic *apic)
{
    struct timer_host *timers = apic->lapics->config.timers;

    timers->cancel(timers, &apic->timer);
    apic->timer_next = 0;
    apic->tsc_deadline = 0;
}

uint32_t lapic_timer_current_count(const struct lapic *apic)
{
    if (apic->timer_next == 0 || mode_of(apic) == TIMER_TSC_DEADLINE) {
        return 0;
    }

    uint64_t elapsed = now(apic) - apic->timer_start;
    uint64_t period = period_of(apic);

    if (elapsed >= period) {
        if (mode_of(apic) != TIMER_PERIODIC) {
            return 0;
        }
        elapsed %= period;
    }
    return apic->initial_count - (uint32_t)(elapsed / divisor_of(apic));
}

void lapic_timer_set_initial_count(struct lapic *apic, uint32_t value)
{
    if (mode_of(apic) == TIMER_TSC_DEADLINE) {
        return; /* ignored in this mode */
    }
    lapic_timer_stop(apic);
    apic->initial_count = value;
    if (value != 0) {
        apic->timer_start = now(apic);
        apic->timer_next = apic->timer_start + period_of(apic);
        arm(apic, apic->timer_next);
    }
}

/* The count goes on from where it is, at the new speed. */
void lapic_timer_set_divide(struct lapic *apic, uint32_t value)
{
    uint32_t count = lapic_timer_current_count(apic);
    bool running = apic->timer_next != 0;

    apic->divide_configuration = value;
    if (running && count != 0) {
        uint64_t remaining = count * divisor_of(apic);

        apic->timer_next = now(apic) + remaining;
        apic->timer_start = apic->timer_next - period_of(apic);
        arm(apic, apic->timer_next);
    }
}

static void expired(void *context);

/*
 * A change to or from TSC-deadline mode disarms the timer. Between the others the count goes on;
 * what was due before the change counts as having come in the old mode.
 */
void lapic_timer_set_lvt(struct lapic *apic, uint32_t value)
{
    enum timer_mode old = mode_of(apic);

    if (old != TIMER_TSC_DEADLINE && apic->timer_next != 0) {
        if (now(apic) >= apic->timer_next) {
            expired(apic);
        }
        apic->timer_start = apic->timer_next - period_of(apic);
    }
    apic->lvt[LAPIC_LVT_TIMER] = value;
    if (mode_of(apic) != old &&
        (old == TIMER_TSC_DEADLINE || mode_of(apic) == TIMER_TSC_DEADLINE)) {
        lapic_timer_stop(apic);
        apic->initial_count = 0;
    }
}

static void deadline_expired(struct lapic *apic)
{
    lapic_timer_stop(apic);
    lapic_local_event(apic, LAPIC_LVT_TIMER);
}

uint64_t lapic_timer_deadline(const struct lapic *apic)
{
    return apic->tsc_deadline; /* 0 in the other modes */
}

void lapic_timer_set_deadline(struct lapic *apic, uint64_t tsc)
{
    if (mode_of(apic) != TIMER_TSC_DEADLINE) {
        return;
    }
    lapic_timer_stop(apic);
    apic->tsc_deadline = tsc;
    if (tsc == 0) {
        return;
    }

    const struct lapics_config *config = &apic->lapics->config;
    uint64_t when = config->time_of_tsc(config->tsc_context, apic->index, tsc);

    if (when <= now(apic)) {
        deadline_expired(apic);
    } else if (when != UINT64_MAX) {
        arm(apic, when);
    }
}

void lapic_timer_tsc_changed(struct lapic *apic)
{
    if (mode_of(apic) == TIMER_TSC_DEADLINE && apic->tsc_deadline != 0) {
        lapic_timer_set_deadline(apic, apic->tsc_deadline);
    }
}

static void periodic_expired(struct lapic *apic)
{
    uint64_t time = now(apic);
    uint64_t soonest = time + TIMER_PERIOD_MIN_NS;

    apic->timer_next = periodic_next(apic->timer_next, period_of(apic), time);
    arm(apic, apic->timer_next > soonest ? apic->timer_next : soonest);
    lapic_local_event(apic, LAPIC_LVT_TIMER);
}

static void expired(void *context)
{
    struct lapic *apic = context;

    if (mode_of(apic) == TIMER_TSC_DEADLINE) {
        if (apic->tsc_deadline != 0) {
            deadline_expired(apic);
        }
    } else if (apic->timer_next == 0) {
        return;
    } else if (mode_of(apic) == TIMER_PERIODIC) {
        periodic_expired(apic);
    } else {
        apic->timer_next = 0;
        lapic_local_event(apic, LAPIC_LVT_TIMER);
    }
}

void lapic_timer_init(struct lapic *apic)
{
    timer_init(&apic->timer, expired, apic);
}
