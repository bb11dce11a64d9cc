#include "chipset/acpi_pm.h"

#include "chipset/byte_access.h"
#include "chipset/clock_ratio.h"

/* "PM1 Status Registers", "PM1 Enable Registers". */
#define PM1_TIMER        0x0001 /* TMR_STS, TMR_EN */
#define PM1_GLOBAL       0x0020 /* GBL */
#define PM1_POWER_BUTTON 0x0100 /* PWRBTN */
#define PM1_SLEEP_BUTTON 0x0200 /* SLPBTN */
#define PM1_RTC          0x0400 /* RTC */
#define PM1_ENABLES      (PM1_TIMER | PM1_GLOBAL | PM1_POWER_BUTTON | PM1_SLEEP_BUTTON | PM1_RTC)

/* "PM1 Control Registers". */
#define CONTROL_SCI_EN         0x0001
#define CONTROL_SLP_TYPE_SHIFT 10
#define CONTROL_SLP_TYPE       0x1c00
#define CONTROL_SLP_EN         0x2000                      /* reads as zero */
#define CONTROL_KEPT           (CONTROL_SLP_TYPE | 0x0002) /* SLP_TYP and BM_RLD */

static uint64_t timer_ticks(const struct acpi_pm *pm)
{
    struct timer_host *timers = pm->config.timers;

    return ticks_from_ns(timers->now(timers) - pm->origin, ACPI_PM_TIMER_HZ);
}

static unsigned int timer_bits(const struct acpi_pm *pm)
{
    return pm->config.timer_is_32_bit ? 32 : 24;
}

/* How often the highest bit of the timer has changed. */
static uint64_t halves_now(const struct acpi_pm *pm)
{
    return timer_ticks(pm) >> (timer_bits(pm) - 1);
}

/* TMR_STS is set whenever the timer's highest bit changes, seen or not. */
static uint16_t status_now(const struct acpi_pm *pm)
{
    return halves_now(pm) != pm->timer_halves ? pm->pm1_status | PM1_TIMER : pm->pm1_status;
}

/* The SCI is the or of all events that are enabled; the timer wakes us for its next one. */
static void update(struct acpi_pm *pm)
{
    struct timer_host *timers = pm->config.timers;
    uint16_t status = status_now(pm);
    bool fixed = (status & pm->pm1_enable & PM1_ENABLES) != 0;
    bool general = (pm->gpe0_status & pm->gpe0_enable) != 0;

    irq_line_set(&pm->config.sci, fixed || general);
    if ((pm->pm1_enable & PM1_TIMER) != 0 && (status & PM1_TIMER) == 0) {
        uint64_t carry = (pm->timer_halves + 1) << (timer_bits(pm) - 1);

        timers->arm(timers, &pm->carry_timer, pm->origin + ns_from_ticks(carry, ACPI_PM_TIMER_HZ));
    } else {
        timers->cancel(timers, &pm->carry_timer);
    }
}

static void timer_carried(void *context)
{
    update(context);
}

/* Status bits are cleared by writing ones. */
static void clear_status(struct acpi_pm *pm, uint16_t bits)
{
    if ((bits & PM1_TIMER) != 0) {
        pm->timer_halves = halves_now(pm);
    }
    pm->pm1_status &= (uint16_t)~bits;
}

static void write_control(struct acpi_pm *pm, uint16_t value)
{
    unsigned int type = (unsigned int)(value & CONTROL_SLP_TYPE) >> CONTROL_SLP_TYPE_SHIFT;

    pm->pm1_control = value & CONTROL_KEPT;
    if ((value & CONTROL_SLP_EN) != 0 && type == ACPI_PM_SLEEP_TYPE_S5) {
        pm->config.control.stop(pm->config.control.context, VM_POWERED_OFF, 0);
    }
}

/* Replaces the byte of a 16-bit register at an odd or even offset. */
static uint16_t with_byte(uint16_t old, uint64_t offset, uint8_t value)
{
    return (uint16_t)((offset & 1) != 0 ? (old & 0xff) | value << 8 : (old & 0xff00) | value);
}

static uint8_t byte_of(uint32_t value, uint64_t offset)
{
    return (uint8_t)(value >> (8 * offset));
}

static uint32_t timer_value(const struct acpi_pm *pm)
{
    uint64_t ticks = timer_ticks(pm);

    return (uint32_t)(pm->config.timer_is_32_bit ? ticks : ticks & 0xffffff);
}

static uint8_t read_byte(void *device, uint64_t offset)
{
    const struct acpi_pm *pm = device;

    if (offset < ACPI_PM1A_CONTROL) {
        return byte_of(status_now(pm) | (uint32_t)pm->pm1_enable << 16, offset - ACPI_PM1A_EVENT);
    }
    if (offset < ACPI_PM1A_CONTROL + ACPI_PM1A_CONTROL_LENGTH) {
        return byte_of(pm->pm1_control | CONTROL_SCI_EN, offset - ACPI_PM1A_CONTROL);
    }
    if (offset >= ACPI_PM_TIMER && offset < ACPI_PM_TIMER + ACPI_PM_TIMER_LENGTH) {
        return byte_of(timer_value(pm), offset - ACPI_PM_TIMER);
    }
    if (offset >= ACPI_PM_GPE0 && offset < ACPI_PM_GPE0 + ACPI_PM_GPE0_LENGTH) {
        return byte_of(pm->gpe0_status | (uint32_t)pm->gpe0_enable << 16, offset - ACPI_PM_GPE0);
    }
    return 0;
}

static void write_byte(void *device, uint64_t offset, uint8_t value)
{
    struct acpi_pm *pm = device;

    switch (offset) {
    case ACPI_PM1A_EVENT:
        clear_status(pm, value);
        break;
    case ACPI_PM1A_EVENT + 1:
        clear_status(pm, (uint16_t)(value << 8));
        break;
    case ACPI_PM1A_EVENT + 2:
    case ACPI_PM1A_EVENT + 3:
        pm->pm1_enable = with_byte(pm->pm1_enable, offset, value) & PM1_ENABLES;
        break;
    case ACPI_PM1A_CONTROL:
    case ACPI_PM1A_CONTROL + 1:
        write_control(pm, with_byte(pm->pm1_control, offset, value));
        break;
    case ACPI_PM_GPE0:
        pm->gpe0_status &= (uint16_t)~value;
        break;
    case ACPI_PM_GPE0 + 1:
        pm->gpe0_status &= (uint16_t) ~(value << 8);
        break;
    case ACPI_PM_GPE0 + 2:
    case ACPI_PM_GPE0 + 3:
        pm->gpe0_enable = with_byte(pm->gpe0_enable, offset, value);
        break;
    default: /* the timer can't be set */
        return;
    }
    update(pm);
}

void acpi_pm_io(void *device, struct bus_access *access)
{
    const struct acpi_pm *pm = device;

    /* The timer is read at one instant, not byte by byte. */
    if (!access->is_write && access->offset == ACPI_PM_TIMER && access->size == 4) {
        access->value = timer_value(pm);
        return;
    }
    byte_access(device, access, read_byte, write_byte);
}

void acpi_pm_power_button(struct acpi_pm *pm)
{
    pm->pm1_status |= PM1_POWER_BUTTON;
    update(pm);
}

void acpi_pm_rtc_alarm(struct acpi_pm *pm)
{
    pm->pm1_status |= PM1_RTC;
    update(pm);
}

bool acpi_pm_power_button_enabled(const struct acpi_pm *pm)
{
    return (pm->pm1_enable & PM1_POWER_BUTTON) != 0;
}

void acpi_pm_general_event(struct acpi_pm *pm, unsigned int event)
{
    if (event < 16) {
        pm->gpe0_status |= (uint16_t)(1u << event);
        update(pm);
    }
}

void acpi_pm_reset(struct acpi_pm *pm)
{
    pm->pm1_status = 0;
    pm->pm1_enable = 0;
    pm->pm1_control = 0;
    pm->gpe0_status = 0;
    pm->gpe0_enable = 0;
    pm->timer_halves = halves_now(pm);
    update(pm);
}

void acpi_pm_init(struct acpi_pm *pm, const struct acpi_pm_config *config)
{
    *pm = (struct acpi_pm){.config = *config};
    pm->origin = config->timers->now(config->timers);
    timer_init(&pm->carry_timer, timer_carried, pm);
    acpi_pm_reset(pm);
}
