#include "machine/pc.h"

#include <errno.h>
#include <stddef.h>
#include <time.h>

#include "boot/layout.h"

_Static_assert(PCI_ECAM_BASE == BOOT_PCI_ECAM_BASE && PCI_ECAM_SIZE == BOOT_PCI_ECAM_SIZE,
               "the memory map and the tables name another place than the device's");

enum isa_line {
    LINE_TIMER = 0,
    LINE_KEYBOARD = 1,
    LINE_COM1 = 4,
    LINE_RTC = 8,
    LINE_ACPI = ACPI_PM_SCI,
    LINE_MOUSE = 12
};

static uint64_t wall_clock(void *context)
{
    (void)context;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* IRQ8 goes to the interrupt controllers, and its rising edge to the power management. */
static void set_rtc_line(void *context, unsigned int index, bool level)
{
    struct pc *pc = context;
    struct irq_line isa = interrupts_line(&pc->interrupts, index);
    irq_line_set(&isa, level);
    if (level) {
        acpi_pm_rtc_alarm(&pc->acpi_pm);
    }
}

static void init_timers(struct pc *pc, const struct pc_config *config)
{
    struct timer_host *timers = vm_timer_host(config->vm);
    struct pit_config pit = {.timers = timers,
                             .irq0 = interrupts_line(&pc->interrupts, LINE_TIMER)};
    pit_init(&pc->pit, &pit);
    struct rtc_config rtc = {.timers = timers,
                             .irq8 = {.set = set_rtc_line, .context = pc, .index = LINE_RTC},
                             .wall_clock = wall_clock,
                             .memory_below_4g = config->memory_below_4g,
                             .memory_above_4g = config->memory_above_4g};
    rtc_init(&pc->rtc, &rtc);
}

static void init_serial(struct pc *pc, const struct pc_config *config)
{
    struct uart_config com1 = {.timers = vm_timer_host(config->vm),
                               .irq = interrupts_line(&pc->interrupts, LINE_COM1),
                               .backend = config->console};
    uart_init(&pc->com1, &com1);
}

/* Whatever can end the run. */
static void init_control(struct pc *pc, const struct pc_config *config)
{
    struct i8042_config i8042 = {.irq1 = interrupts_line(&pc->interrupts, LINE_KEYBOARD),
                                 .irq12 = interrupts_line(&pc->interrupts, LINE_MOUSE),
                                 .control = config->control};
    i8042_init(&pc->i8042, &i8042);
    struct reset_control_config reset = {.control = config->control};
    reset_control_init(&pc->reset, &reset);
    struct pci_config pci = {.narrow_io = reset_control_io, .narrow_device = &pc->reset};
    pci_init(&pc->pci, &pci);
    struct acpi_pm_config acpi_pm = {.timers = vm_timer_host(config->vm),
                                     .sci = interrupts_line(&pc->interrupts, LINE_ACPI),
                                     .control = config->control,
                                     .timer_is_32_bit = true};
    acpi_pm_init(&pc->acpi_pm, &acpi_pm);
    struct pvpanic_config pvpanic = {.control = config->control};
    pvpanic_init(&pc->pvpanic, &pvpanic);
    struct debug_exit_config debug_exit = {.control = config->control};
    debug_exit_init(&pc->debug_exit, &debug_exit);
    post_code_init(&pc->post_code);
}

static void init_test_device(struct pc *pc)
{
    struct test_device_config config;
    for (unsigned int i = 0; i < TEST_DEVICE_LINES; i++) {
        config.lines[i] = interrupts_line(&pc->interrupts, i);
    }
    test_device_init(&pc->test_device, &config);
}

/*
 * What firmware would have left of the 8259s: vectors 08h and 70h. An exam in real mode raises a
 * line of the second one and waits, so these are open; the first one's are not, but for the
 * cascade.
 */
static void prepare_pics(struct pc *pc, const struct pc_config *config)
{
    static const struct {
        uint16_t port;
        uint8_t value;
    } writes[] = {{PIC_PRIMARY_PORT, 0x11},       {PIC_PRIMARY_PORT + 1, 0x08},
                  {PIC_PRIMARY_PORT + 1, 0x04},   {PIC_PRIMARY_PORT + 1, 0x01},
                  {PIC_SECONDARY_PORT, 0x11},     {PIC_SECONDARY_PORT + 1, 0x70},
                  {PIC_SECONDARY_PORT + 1, 0x02}, {PIC_SECONDARY_PORT + 1, 0x01},
                  {PIC_PRIMARY_PORT + 1, 0xfb},   {PIC_SECONDARY_PORT + 1, 0x00}};
    for (unsigned int i = 0; i < sizeof(writes) / sizeof(writes[0]); i++) {
        struct bus_access access = {.value = writes[i].value, .size = 1, .is_write = true};
        bus_serve(&config->vm->ports, writes[i].port, &access);
    }
    pic_keep_edges(&pc->interrupts.pic);
}

/* Where a device answers. device is its offset within struct pc. */
struct port_range {
    uint16_t base;
    uint16_t count;
    const char *name;
    bus_io_fn *io;
    size_t device;
};

static const struct port_range port_ranges[] = {
    {PIT_PORT, 4, "pit", pit_io, offsetof(struct pc, pit)},
    {PIT_PORT61, 1, "port61", pit_port61_io, offsetof(struct pc, pit)},
    {I8042_DATA_PORT, 1, "i8042", i8042_data_io, offsetof(struct pc, i8042)},
    {I8042_STATUS_PORT, 1, "i8042", i8042_status_io, offsetof(struct pc, i8042)},
    {I8042_PORT92, 1, "port92", i8042_port92_io, offsetof(struct pc, i8042)},
    {RTC_PORT, 2, "rtc", rtc_io, offsetof(struct pc, rtc)},
    {POST_CODE_PORT, 1, "post", post_code_io, offsetof(struct pc, post_code)},
    {POST_CODE_DELAY_PORT, 1, "delay", post_code_io, offsetof(struct pc, post_code)},
    {UART_COM1_PORT, UART_PORTS, "com1", uart_io, offsetof(struct pc, com1)},
    {PVPANIC_PORT, 1, "pvpanic", pvpanic_io, offsetof(struct pc, pvpanic)},
    {ACPI_PM_PORT, ACPI_PM_PORTS, "acpi-pm", acpi_pm_io, offsetof(struct pc, acpi_pm)},
    {PCI_ADDRESS_PORT, PCI_PORTS, "pci", pci_address_io, offsetof(struct pc, pci)},
    {PCI_DATA_PORT, PCI_PORTS, "pci", pci_data_io, offsetof(struct pc, pci)},
};

static const struct port_range test_device_ranges[] = {
    {TEST_DEVICE_LATCH_PORT, TEST_DEVICE_LATCH_PORTS, "test-latch", test_device_latch_io,
     offsetof(struct pc, test_device)},
    {TEST_DEVICE_FLUSH_PORT, TEST_DEVICE_FLUSH_PORTS, "test-flush", test_device_flush_io,
     offsetof(struct pc, test_device)},
    {TEST_DEVICE_LINES_PORT, TEST_DEVICE_LINES, "test-lines", test_device_lines_io,
     offsetof(struct pc, test_device)},
};

static int map_ports(struct pc *pc, const struct pc_config *config, const struct port_range *ranges,
                     size_t count, struct error *error)
{
    for (size_t i = 0; i < count; i++) {
        const struct port_range *range = &ranges[i];
        int result = bus_map(&config->vm->ports, range->base, range->count, range->name, range->io,
                             (char *)pc + range->device);
        if (result != 0) {
            return error_set(error, result, "cannot map %s at port 0x%x", range->name,
                             (unsigned int)range->base);
        }
    }
    return 0;
}

static int map_test_device(struct pc *pc, const struct pc_config *config, struct error *error)
{
    int result = map_ports(pc, config, test_device_ranges,
                           sizeof(test_device_ranges) / sizeof(test_device_ranges[0]), error);
    if (result != 0) {
        return result;
    }
    result = bus_map(&config->vm->mmio, TEST_DEVICE_WINDOW, TEST_DEVICE_WINDOW_SIZE, "test-window",
                     test_device_window_io, &pc->test_device);
    return result == 0 ? 0 : error_set(error, result, "cannot map the test device's window");
}

static int map_devices(struct pc *pc, const struct pc_config *config, struct error *error)
{
    int result =
        map_ports(pc, config, port_ranges, sizeof(port_ranges) / sizeof(port_ranges[0]), error);
    if (result == 0 && config->has_test_device) {
        init_test_device(pc);
        result = map_test_device(pc, config, error);
    }
    if (result != 0) {
        return result;
    }
    result =
        bus_map(&config->vm->mmio, PCI_ECAM_BASE, PCI_ECAM_SIZE, "pci-ecam", pci_ecam_io, &pc->pci);
    if (result != 0) {
        return error_set(error, result, "cannot map PCI's configuration space");
    }
    if (bus_map(&config->vm->ports, config->debug_exit_port, DEBUG_EXIT_PORTS, "debug-exit",
                debug_exit_io, &pc->debug_exit) != 0) {
        return error_set(error, EINVAL,
                         "the debug-exit port 0x%x is taken by another device; choose another",
                         (unsigned int)config->debug_exit_port);
    }
    return 0;
}

int pc_init(struct pc *pc, const struct pc_config *config, struct error *error)
{
    int result = interrupts_init(&pc->interrupts, config->vm, config->tsc_hz,
                                 config->physical_address_bits, error);
    if (result != 0) {
        return result;
    }
    init_timers(pc, config);
    init_serial(pc, config);
    init_control(pc, config);
    result = map_devices(pc, config, error);
    if (result == 0 && config->has_test_device && !pc->interrupts.in_engine) {
        prepare_pics(pc, config);
    }
    return result;
}

struct acpi_config pc_acpi_config(unsigned int vcpu_count)
{
    return (struct acpi_config){
        .cpu_count = vcpu_count,
        .lapic_base = (uint32_t)LAPIC_DEFAULT_BASE,
        .ioapic_base = IOAPIC_BASE,
        .ioapic_id = IOAPIC_ID,
        .sci_irq = LINE_ACPI,
        .timer_on_gsi2 = true,
        .pm1a_event_port = ACPI_PM_PORT + ACPI_PM1A_EVENT,
        .pm1a_control_port = ACPI_PM_PORT + ACPI_PM1A_CONTROL,
        .pm_timer_port = ACPI_PM_PORT + ACPI_PM_TIMER,
        .pm_timer_is_32_bit = true,
        .has_power_button = true,
        .sleep_type_s5 = ACPI_PM_SLEEP_TYPE_S5,
        .reset_port = RESET_PORT,
        .reset_value = RESET_ACPI_VALUE,
        .has_com1 = true,
        .has_rtc = true,
        .has_i8042 = false, /* no keyboard is attached */
        .pvpanic_port = PVPANIC_PORT,
        .pci_memory_base = (uint32_t)BOOT_LOW_RAM_MAX,
        .pci_memory_end = IOAPIC_BASE,
        .pci_ecam_base = (uint32_t)PCI_ECAM_BASE,
    };
}
