/* What the guest reads and writes: registers in memory, MSRs, and IA32_APIC_BASE. */
#include <stddef.h>

#include "chipset/lapic.h"
#include "chipset/lapic_internal.h"

#define MSR_APIC_BASE    0x1bu
#define MSR_TSC_DEADLINE 0x6e0u
#define MSR_X2APIC_FIRST 0x800u
#define MSR_X2APIC_LAST  0x8ffu

/*
 * "Local APIC Register Address Map": the offset in memory divided by 16, which is also the
 * distance from the first x2APIC MSR ("x2APIC Register Address Space").
 */
enum register_index {
    REGISTER_ID = 0x02,
    REGISTER_VERSION = 0x03,
    REGISTER_TPR = 0x08,
    REGISTER_APR = 0x09, /* arbitration priority: xAPIC only, as are RRD, DFR and ICR_HIGH */
    REGISTER_PPR = 0x0a,
    REGISTER_EOI = 0x0b,
    REGISTER_RRD = 0x0c, /* remote read: nothing to read */
    REGISTER_LDR = 0x0d,
    REGISTER_DFR = 0x0e,
    REGISTER_SVR = 0x0f,
    REGISTER_ISR = 0x10,
    REGISTER_TMR = 0x18,
    REGISTER_IRR = 0x20,
    REGISTER_ESR = 0x28,
    REGISTER_ICR = 0x30,
    REGISTER_ICR_HIGH = 0x31,
    REGISTER_LVT = 0x32, /* in the order of enum lapic_lvt */
    REGISTER_LVT_LAST = REGISTER_LVT + LAPIC_LVT_COUNT - 1,
    REGISTER_INITIAL_COUNT = 0x38,
    REGISTER_CURRENT_COUNT = 0x39,
    REGISTER_DIVIDE = 0x3e,
    REGISTER_SELF_IPI = 0x3f /* x2APIC only */
};

#define VERSION_NUMBER          0x14u
#define VERSION_LVT_SHIFT       16
#define VERSION_EOI_SUPPRESSION (1u << 24)

#define DIVIDE_BITS         0xbu
#define LDR_BITS            0xff000000u
#define DFR_ONES            0x0fffffffu
#define ICR_LOW_BITS        0xccfffu /* vector to logical; level, trigger; shorthand */
#define ICR_DELIVERY_STATUS (UINT64_C(1) << 12)
#define ICR_X2APIC_RESERVED (UINT64_C(0xfff32000))

static uint32_t version_of(const struct lapic *apic)
{
    uint32_t version = VERSION_NUMBER | (LAPIC_LVT_COUNT - 1u) << VERSION_LVT_SHIFT;

    return apic->lapics->config.has_eoi_suppression ? version | VERSION_EOI_SUPPRESSION : version;
}

/* Which bits of a local vector table entry can be written. */
static uint32_t lvt_bits(const struct lapic *apic, unsigned int which)
{
    switch (which) {
    case LAPIC_LVT_TIMER:
        return LVT_VECTOR | LVT_MASKED |
               (apic->lapics->config.has_tsc_deadline ? LVT_TIMER_MODE
                                                      : 1u << LVT_TIMER_MODE_SHIFT);
    case LAPIC_LVT_LINT0:
    case LAPIC_LVT_LINT1:
        return LVT_VECTOR | LVT_DELIVERY | LVT_POLARITY | LVT_LEVEL | LVT_MASKED;
    case LAPIC_LVT_THERMAL:
    case LAPIC_LVT_PERFORMANCE:
        return LVT_VECTOR | LVT_DELIVERY | LVT_MASKED;
    default:
        return LVT_VECTOR | LVT_MASKED;
    }
}

static uint32_t svr_bits(const struct lapic *apic)
{
    uint32_t bits = 0xff | SVR_ENABLED | SVR_FOCUS;

    return apic->lapics->config.has_eoi_suppression ? bits | SVR_EOI_SUPPRESSED : bits;
}

/* Reads what both modes have in common; false if there is no such register to read. */
static bool read_common(const struct lapic *apic, unsigned int index, uint32_t *value)
{
    if (index >= REGISTER_ISR && index < REGISTER_ESR) {
        const uint32_t *set = index < REGISTER_TMR   ? apic->isr
                              : index < REGISTER_IRR ? apic->tmr
                                                     : apic->irr;

        *value = set[index & 7];
        return true;
    }
    if (index >= REGISTER_LVT && index <= REGISTER_LVT_LAST) {
        *value = apic->lvt[index - REGISTER_LVT];
        return true;
    }
    switch (index) {
    case REGISTER_ID:
        *value = lapic_is_x2apic(apic) ? apic->index : apic->id << 24;
        return true;
    case REGISTER_VERSION:
        *value = version_of(apic);
        return true;
    case REGISTER_TPR:
        *value = apic->tpr;
        return true;
    case REGISTER_PPR:
        *value = lapic_processor_priority(apic);
        return true;
    case REGISTER_LDR:
        *value = lapic_logical_id(apic);
        return true;
    case REGISTER_SVR:
        *value = apic->svr;
        return true;
    case REGISTER_ESR:
        *value = apic->esr;
        return true;
    case REGISTER_ICR:
        *value = (uint32_t)apic->icr;
        return true;
    case REGISTER_INITIAL_COUNT:
        *value = apic->initial_count;
        return true;
    case REGISTER_CURRENT_COUNT:
        *value = lapic_timer_current_count(apic);
        return true;
    case REGISTER_DIVIDE:
        *value = apic->divide_configuration;
        return true;
    default:
        return false;
    }
}

static uint32_t read_xapic(struct lapic *apic, unsigned int index)
{
    uint32_t value = 0;

    switch (index) {
    case REGISTER_APR:
    case REGISTER_EOI:
    case REGISTER_RRD:
        return 0;
    case REGISTER_DFR:
        return apic->dfr;
    case REGISTER_ICR_HIGH:
        return (uint32_t)(apic->icr >> 32);
    default:
        if (!read_common(apic, index, &value)) {
            lapic_error(apic, ERROR_ILLEGAL_REGISTER);
        }
        return value;
    }
}

static void write_svr(struct lapic *apic, uint32_t value)
{
    apic->svr = value;
    if ((value & SVR_ENABLED) == 0) {
        /* "Local APIC State After It Has Been Software Disabled" */
        for (unsigned int i = 0; i < LAPIC_LVT_COUNT; i++) {
            apic->lvt[i] |= LVT_MASKED;
        }
    }
    lapic_update(apic);
}

static void write_lvt(struct lapic *apic, unsigned int which, uint32_t value)
{
    uint32_t old = apic->lvt[which];

    if (!lapic_is_software_enabled(apic)) {
        value |= LVT_MASKED;
    }
    if (which == LAPIC_LVT_TIMER) {
        lapic_timer_set_lvt(apic, value);
        return;
    }
    if (which != LAPIC_LVT_LINT0 && which != LAPIC_LVT_LINT1) {
        apic->lvt[which] = value;
        return;
    }
    if ((value & LVT_LEVEL) != 0 && (value & LVT_DELIVERY) == 0) {
        value |= old & LVT_REMOTE_IRR;
    }
    apic->lvt[which] = value;
    lapic_evaluate_lint(apic, which - LAPIC_LVT_LINT0);
}

/* The bits that a write may set, for registers that both modes have; false if there is none. */
static bool writable_bits(const struct lapic *apic, unsigned int index, uint32_t *bits)
{
    if (index >= REGISTER_LVT && index <= REGISTER_LVT_LAST) {
        *bits = lvt_bits(apic, index - REGISTER_LVT);
        return true;
    }
    switch (index) {
    case REGISTER_TPR:
        *bits = 0xff;
        return true;
    case REGISTER_SVR:
        *bits = svr_bits(apic);
        return true;
    case REGISTER_EOI:
    case REGISTER_ESR:
        *bits = 0;
        return true;
    case REGISTER_INITIAL_COUNT:
        *bits = UINT32_MAX;
        return true;
    case REGISTER_DIVIDE:
        *bits = DIVIDE_BITS;
        return true;
    default:
        return false;
    }
}

/* Writes a register that writable_bits knows; the value has no other bits. */
static void write_common(struct lapic *apic, unsigned int index, uint32_t value)
{
    switch (index) {
    case REGISTER_TPR:
        apic->tpr = value;
        lapic_update(apic);
        break;
    case REGISTER_EOI:
        lapic_end_of_interrupt(apic);
        break;
    case REGISTER_SVR:
        write_svr(apic, value);
        break;
    case REGISTER_ESR:
        apic->esr = apic->errors;
        apic->errors = 0;
        break;
    case REGISTER_INITIAL_COUNT:
        lapic_timer_set_initial_count(apic, value);
        break;
    case REGISTER_DIVIDE:
        lapic_timer_set_divide(apic, value);
        break;
    default:
        write_lvt(apic, index - REGISTER_LVT, value);
        break;
    }
}

static void write_xapic(struct lapic *apic, unsigned int index, uint32_t value)
{
    uint32_t bits;

    if (writable_bits(apic, index, &bits)) {
        write_common(apic, index, value & bits);
        return;
    }
    switch (index) {
    case REGISTER_ID:
        apic->id = value >> 24;
        break;
    case REGISTER_LDR:
        apic->ldr = value & LDR_BITS;
        break;
    case REGISTER_DFR:
        apic->dfr = value | DFR_ONES;
        break;
    case REGISTER_ICR:
        apic->icr = (apic->icr & ~(uint64_t)UINT32_MAX) | (value & ICR_LOW_BITS);
        lapic_send_ipi(apic);
        break;
    case REGISTER_ICR_HIGH:
        apic->icr = (apic->icr & UINT32_MAX) | (uint64_t)(value & 0xff000000u) << 32;
        break;
    default: {
        /* A register that can only be read stays as it is; a reserved one is an error. */
        uint32_t unused;

        if (!read_common(apic, index, &unused) && index != REGISTER_APR && index != REGISTER_RRD) {
            lapic_error(apic, ERROR_ILLEGAL_REGISTER);
        }
        break;
    }
    }
}

void lapic_window_io(void *device, struct bus_access *access)
{
    const struct lapic_window *window = device;
    struct lapics *lapics = window->lapics;
    struct lapic *apic = NULL;

    if (access->vcpu < lapics->config.count) {
        apic = &lapics->apics[access->vcpu];
    }
    /* Each CPU sees its own APIC, if that is here and in the mode for it. */
    if (apic == NULL || !lapic_is_enabled(apic) || lapic_is_x2apic(apic) ||
        apic->base >> BASE_ADDRESS_SHIFT != window->base >> BASE_ADDRESS_SHIFT) {
        access->value = UINT64_MAX;
        return;
    }

    unsigned int index = (unsigned int)(access->offset >> 4);
    unsigned int byte = (unsigned int)(access->offset & 0xf);

    /* "Registers are 32 bits wide and aligned on 128-bit boundaries": the rest is undefined. */
    if (access->is_write) {
        if (byte == 0 && access->size == 4) {
            write_xapic(apic, index, (uint32_t)access->value);
        }
    } else {
        access->value = byte < 4 ? (uint64_t)read_xapic(apic, index) >> (8 * byte) : 0;
    }
}

static bool read_x2apic(const struct lapic *apic, unsigned int index, uint64_t *value)
{
    uint32_t low;

    if (index == REGISTER_ICR) {
        *value = apic->icr;
        return true;
    }
    if (!read_common(apic, index, &low)) {
        return false;
    }
    *value = low;
    return true;
}

static bool write_x2apic(struct lapic *apic, unsigned int index, uint64_t value)
{
    uint32_t bits;

    if (index == REGISTER_ICR) {
        if ((value & ICR_X2APIC_RESERVED) != 0) {
            return false;
        }
        apic->icr = value & ~ICR_DELIVERY_STATUS;
        lapic_send_ipi(apic);
        return true;
    }
    if (index == REGISTER_SELF_IPI) {
        if (value > 0xff) {
            return false;
        }
        lapic_send_self_ipi(apic, (uint8_t)value);
        return true;
    }
    if (!writable_bits(apic, index, &bits)) {
        return false;
    }

    /* What can only be read may be written back as it was read. */
    uint64_t allowed = bits;

    if (index >= REGISTER_LVT && index <= REGISTER_LVT_LAST) {
        allowed |= LVT_DELIVERY_STATUS | LVT_REMOTE_IRR;
    }
    if ((value & ~allowed) != 0) {
        return false;
    }
    write_common(apic, index, (uint32_t)value & bits);
    return true;
}

/* Leaves the page whose users include this APIC, and unmaps it after the last one. */
static void leave_window(struct lapic *apic, uint64_t base)
{
    const struct lapics_config *config = &apic->lapics->config;

    for (unsigned int i = 0; i < LAPICS_MAX + 1; i++) {
        struct lapic_window *window = &apic->lapics->windows[i];

        if (window->users == 0 || window->base != base) {
            continue;
        }
        window->users--;
        if (window->users == 0 && window->mapped) {
            window->mapped = false;
            config->signals->unmap_window(config->signals_context, base);
        }
        return;
    }
}

/* Joins the page at the APIC's base. There is one window more than APICs, so one is free. */
static void join_window(struct lapic *apic, uint64_t base)
{
    const struct lapics_config *config = &apic->lapics->config;
    struct lapic_window *unused = NULL;

    for (unsigned int i = 0; i < LAPICS_MAX + 1; i++) {
        struct lapic_window *window = &apic->lapics->windows[i];

        if (window->users != 0 && window->base == base) {
            window->users++;
            return;
        }
        if (window->users == 0 && unused == NULL) {
            unused = window;
        }
    }
    if (unused != NULL) {
        unused->base = base;
        unused->users = 1;
        unused->mapped = config->signals->map_window != NULL &&
                         config->signals->map_window(config->signals_context, base, unused);
    }
}

void lapic_enter_window(struct lapic *apic)
{
    uint64_t base = apic->base >> BASE_ADDRESS_SHIFT << BASE_ADDRESS_SHIFT;

    if (apic->in_window && apic->window_base == base) {
        return;
    }
    if (apic->in_window) {
        leave_window(apic, apic->window_base);
    }
    apic->in_window = true;
    apic->window_base = base;
    join_window(apic, base);
}

/* "x2APIC State Transitions": which mode may follow which. */
static bool is_legal_transition(uint64_t from, uint64_t to)
{
    uint64_t old = from & (BASE_ENABLED | BASE_X2APIC);
    uint64_t new = to &(BASE_ENABLED | BASE_X2APIC);

    switch (new) {
    case 0:
        return true;
    case BASE_ENABLED:
        return old != (BASE_ENABLED | BASE_X2APIC);
    case BASE_ENABLED | BASE_X2APIC:
        return old != 0;
    default: /* x2APIC mode without being enabled */
        return false;
    }
}

/* "Local APIC Status and Location", "Enabling or Disabling the Local APIC". */
static bool write_base(struct lapic *apic, uint64_t value)
{
    const struct lapics_config *config = &apic->lapics->config;
    uint64_t address_limit = UINT64_C(1) << config->physical_address_bits;
    uint64_t allowed = ((address_limit - 1) & ~UINT64_C(0xfff)) | BASE_BSP | BASE_ENABLED |
                       (config->has_x2apic ? BASE_X2APIC : 0);
    uint64_t old = apic->base;

    if ((value & ~allowed) != 0 || !is_legal_transition(old, value)) {
        return false;
    }
    apic->base = value;
    lapic_enter_window(apic);
    if ((value & BASE_ENABLED) == 0) {
        if ((old & BASE_ENABLED) != 0) {
            /* What it held may be lost; when it is enabled again it is as after a reset. */
            lapic_reset_registers(apic);
            apic->id = apic->index;
        }
    } else if (((value ^ old) & BASE_X2APIC) != 0) {
        apic->icr = 0;
        apic->id = apic->index;
    }
    lapic_update(apic);
    return true;
}

bool lapics_owns_msr(uint32_t index)
{
    return index == MSR_APIC_BASE || index == MSR_TSC_DEADLINE ||
           (index >= MSR_X2APIC_FIRST && index <= MSR_X2APIC_LAST);
}

bool lapics_rdmsr(struct lapics *lapics, unsigned int vcpu, uint32_t index, uint64_t *value)
{
    const struct lapic *apic = &lapics->apics[vcpu];

    if (index == MSR_APIC_BASE) {
        *value = apic->base;
        return true;
    }
    if (index == MSR_TSC_DEADLINE) {
        *value = lapic_timer_deadline(apic);
        return lapics->config.has_tsc_deadline;
    }
    if (index < MSR_X2APIC_FIRST || index > MSR_X2APIC_LAST || !lapic_is_x2apic(apic)) {
        return false;
    }
    return read_x2apic(apic, index - MSR_X2APIC_FIRST, value);
}

bool lapics_wrmsr(struct lapics *lapics, unsigned int vcpu, uint32_t index, uint64_t value)
{
    struct lapic *apic = &lapics->apics[vcpu];

    if (index == MSR_APIC_BASE) {
        return write_base(apic, value);
    }
    if (index == MSR_TSC_DEADLINE) {
        if (lapics->config.has_tsc_deadline) {
            lapic_timer_set_deadline(apic, value);
        }
        return lapics->config.has_tsc_deadline;
    }
    if (index < MSR_X2APIC_FIRST || index > MSR_X2APIC_LAST || !lapic_is_x2apic(apic)) {
        return false;
    }
    return write_x2apic(apic, index - MSR_X2APIC_FIRST, value);
}

void lapics_tsc_changed(struct lapics *lapics, unsigned int vcpu)
{
    lapic_timer_tsc_changed(&lapics->apics[vcpu]);
}
