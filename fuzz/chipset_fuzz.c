/*
 * A hostile guest in front of a whole chipset, wired as a PC is.
 *
 * Input: a sequence of steps of eight bytes: what to do (a port or memory access to one device, an
 * MSR, an acknowledgement, input, time that passes …), how, an offset, and four bytes of value.
 * Whatever comes, the devices' invariants hold, and no step runs without end.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "../tests/manual_timer.h"
#include "chipset/acpi_pm.h"
#include "chipset/debug_exit.h"
#include "chipset/i8042.h"
#include "chipset/ioapic.h"
#include "chipset/lapic.h"
#include "chipset/pci.h"
#include "chipset/pic.h"
#include "chipset/pit.h"
#include "chipset/post_code.h"
#include "chipset/pvpanic.h"
#include "chipset/reset.h"
#include "chipset/rtc.h"
#include "chipset/uart.h"

#define VCPUS      4
#define STEP_BYTES 8
#define STEPS_MAX  512
#define FIRED_MAX  4000 /* timers in one step; more would be a flood */

struct board {
    struct manual_timer timers;
    struct bus memory;
    struct pic pic;
    struct ioapic ioapic;
    struct lapics lapics;
    struct pit pit;
    struct rtc rtc;
    struct uart uart;
    struct i8042 i8042;
    struct acpi_pm acpi_pm;
    struct pci pci;
    struct pci_function card; /* with registers of every kind */
    struct reset_control reset;
    struct debug_exit debug_exit;
    struct pvpanic pvpanic;
    struct post_code post_code;
    uint64_t wall_step;
    uint8_t backend_accepts;
    uint8_t outcome;
};

/* An invariant is broken: stop where the fuzzer sees it. */
static void require(bool holds)
{
    if (!holds) {
        __builtin_trap();
    }
}

static void set_line(void *context, unsigned int index, bool level)
{
    struct board *board = context;

    pic_set_irq(&board->pic, index, level);
    ioapic_set_irq(&board->ioapic, index == 0 ? 2 : index, level);
}

static bool deliver(void *context, const struct msi_message *message)
{
    return lapics_msi(&((struct board *)context)->lapics, message);
}

static int acknowledge_pic(void *context)
{
    return pic_acknowledge(&((struct board *)context)->pic);
}

static void end_of_interrupt(void *context, uint8_t vector)
{
    ioapic_eoi(&((struct board *)context)->ioapic, vector);
}

static void signal_vcpu(void *context, unsigned int vcpu)
{
    (void)context;
    require(vcpu < VCPUS);
}

static void signal_sipi(void *context, unsigned int vcpu, uint8_t vector)
{
    (void)vector;
    signal_vcpu(context, vcpu);
}

static bool map_window(void *context, uint64_t base, void *device)
{
    return bus_map(&((struct board *)context)->memory, base, LAPIC_WINDOW_SIZE, "lapic",
                   lapic_window_io, device) == 0;
}

static void unmap_window(void *context, uint64_t base)
{
    bus_unmap(&((struct board *)context)->memory, base);
}

static uint64_t time_of_tsc(void *context, unsigned int vcpu, uint64_t tsc)
{
    (void)context;
    (void)vcpu;
    return tsc; /* 1 GHz; the largest values mean never */
}

static uint64_t wall_clock(void *context)
{
    const struct board *board = context;

    return UINT64_C(1700000000000000000) + board->wall_step + board->timers.time;
}

static size_t backend_write(void *context, const uint8_t *bytes, size_t length)
{
    const struct board *board = context;
    volatile uint8_t sum = 0;

    for (size_t i = 0; i < length; i++) {
        sum = (uint8_t)(sum + bytes[i]);
    }
    return length < board->backend_accepts ? length : board->backend_accepts;
}

/* Hands over input right from within the device, as a backend may. */
static void backend_room(void *context)
{
    struct board *board = context;
    static const uint8_t text[UART_FIFO_SIZE] = "typed ahead";
    size_t room = uart_receive_room(&board->uart);

    require(room > 0 && room <= UART_FIFO_SIZE);
    uart_receive(&board->uart, text, room);
}

static void stop(void *context, enum vm_outcome outcome, int code)
{
    require(code >= 0);
    ((struct board *)context)->outcome |= (uint8_t)outcome;
}

static const struct lapic_signals signals = {.interrupt_changed = signal_vcpu,
                                             .init = signal_vcpu,
                                             .sipi = signal_sipi,
                                             .nmi = signal_vcpu,
                                             .map_window = map_window,
                                             .unmap_window = unmap_window};

static struct irq_line line(struct board *board, unsigned int index)
{
    return (struct irq_line){.set = set_line, .context = board, .index = index};
}

static void make_controllers(struct board *board, uint8_t options)
{
    lapics_init(&board->lapics, &(struct lapics_config){.count = VCPUS,
                                                        .timers = &board->timers.host,
                                                        .has_x2apic = (options & 1) == 0,
                                                        .has_tsc_deadline = (options & 2) == 0,
                                                        .has_eoi_suppression = (options & 4) != 0,
                                                        .physical_address_bits = 40,
                                                        .signals = &signals,
                                                        .signals_context = board,
                                                        .time_of_tsc = time_of_tsc,
                                                        .pic_acknowledge = acknowledge_pic,
                                                        .pic_context = board,
                                                        .eoi = end_of_interrupt,
                                                        .eoi_context = board});
    lapics_set_virtual_wire(&board->lapics);
    pic_init(&board->pic,
             &(struct pic_config){.output = {.set = lapics_set_lint0, .context = &board->lapics}});
    ioapic_init(&board->ioapic,
                &(struct ioapic_config){.id = 1,
                                        .version = (options & 4) != 0 ? IOAPIC_VERSION_EOI
                                                                      : IOAPIC_VERSION_82093AA,
                                        .deliver = deliver,
                                        .context = board});
    bus_map(&board->memory, IOAPIC_BASE, IOAPIC_SIZE, "ioapic", ioapic_io, &board->ioapic);
}

static void check_range(void *context, unsigned int offset, unsigned int size)
{
    (void)context;
    require(size <= PCI_CONFIG_SIZE && offset <= PCI_CONFIG_SIZE - size);
}

static void make_pci(struct board *board)
{
    struct pci_identity card = {.vendor = 0x1234, .device = 0x5678, .class_code = 0xff0000};

    pci_init(&board->pci, &(struct pci_config){reset_control_io, &board->reset});
    pci_function_init(&board->card, &card);
    board->card.hooks = (struct pci_function_hooks){check_range, check_range};
    require(pci_function_add_bar(&board->card, 0, PCI_BAR_IO, 32) == 0);
    require(pci_function_add_bar(&board->card, 1, PCI_BAR_MEMORY32, 4096) == 0);
    require(pci_function_add_bar(&board->card, 4, PCI_BAR_MEMORY64, UINT64_C(1) << 33) == 0);
    require(pci_attach(&board->pci, 1, &board->card) == 0);
}

static void make_board(struct board *board, uint8_t options)
{
    struct machine_control control = {.stop = stop, .context = board};

    memset(board, 0, sizeof(*board));
    manual_timer_init(&board->timers);
    bus_init(&board->memory, "memory");
    board->backend_accepts = UINT8_MAX;
    make_controllers(board, options);
    pit_init(&board->pit,
             &(struct pit_config){.timers = &board->timers.host, .irq0 = line(board, 0)});
    rtc_init(&board->rtc, &(struct rtc_config){.timers = &board->timers.host,
                                               .irq8 = line(board, 8),
                                               .wall_clock = wall_clock,
                                               .wall_clock_context = board,
                                               .memory_below_4g = UINT64_C(1) << 30});
    uart_init(&board->uart, &(struct uart_config){.timers = &board->timers.host,
                                                  .irq = line(board, 4),
                                                  .backend = {.write = backend_write,
                                                              .room_available = backend_room,
                                                              .context = board}});
    i8042_init(&board->i8042, &(struct i8042_config){.irq1 = line(board, 1),
                                                     .irq12 = line(board, 12),
                                                     .control = control});
    acpi_pm_init(&board->acpi_pm, &(struct acpi_pm_config){.timers = &board->timers.host,
                                                           .sci = line(board, 9),
                                                           .control = control,
                                                           .timer_is_32_bit = (options & 8) != 0});
    reset_control_init(&board->reset, &(struct reset_control_config){control});
    make_pci(board);
    debug_exit_init(&board->debug_exit, &(struct debug_exit_config){control});
    pvpanic_init(&board->pvpanic, &(struct pvpanic_config){control});
    post_code_init(&board->post_code);
}

static void check_invariants(struct board *board)
{
    require(board->uart.receive.count <= UART_FIFO_SIZE);
    require(board->uart.transmit.count <= UART_FIFO_SIZE);
    for (unsigned int i = 0; i < PIT_CHANNELS; i++) {
        require(!board->pit.channels[i].loaded || board->pit.channels[i].count != 0);
    }
    for (unsigned int i = 0; i < VCPUS; i++) {
        require(lapic_pending_hint(&board->lapics, i) == lapic_pending(&board->lapics, i));
        require(lapic_get_cr8(&board->lapics, i) < 16);
    }
    /* What is read-only stays; what has a size stays aligned to it. */
    require(board->card.config[PCI_VENDOR_ID] == 0x34 && board->pci.bridge.config[0] == 0x86);
    require(board->card.config[PCI_COMMAND] <= (PCI_COMMAND_IO | PCI_COMMAND_MEMORY));
    require(pci_function_bar(&board->card, 1) % 4096 == 0);
    require(pci_function_bar(&board->card, 4) % (UINT64_C(1) << 33) == 0);
    /* The I/O APIC's page can't be taken away by a local APIC that was moved there. */
    struct bus_access access = {.size = 4};
    require(bus_serve(&board->memory, IOAPIC_BASE, &access) != NULL);
    require(board->memory.count <= 1 + VCPUS);
}

struct port_target {
    bus_io_fn *io;
    size_t device;
};

static const struct port_target targets[] = {
    {pic_primary_io, offsetof(struct board, pic)},
    {pic_secondary_io, offsetof(struct board, pic)},
    {pic_elcr_io, offsetof(struct board, pic)},
    {pit_io, offsetof(struct board, pit)},
    {pit_port61_io, offsetof(struct board, pit)},
    {rtc_io, offsetof(struct board, rtc)},
    {uart_io, offsetof(struct board, uart)},
    {i8042_data_io, offsetof(struct board, i8042)},
    {i8042_status_io, offsetof(struct board, i8042)},
    {i8042_port92_io, offsetof(struct board, i8042)},
    {acpi_pm_io, offsetof(struct board, acpi_pm)},
    {pci_address_io, offsetof(struct board, pci)},
    {pci_data_io, offsetof(struct board, pci)},
    {reset_control_io, offsetof(struct board, reset)},
    {debug_exit_io, offsetof(struct board, debug_exit)},
    {pvpanic_io, offsetof(struct board, pvpanic)},
    {post_code_io, offsetof(struct board, post_code)},
};

#define TARGET_COUNT (sizeof(targets) / sizeof(targets[0]))

enum other_step {
    STEP_LAPIC = TARGET_COUNT,
    STEP_IOAPIC,
    STEP_ECAM,
    STEP_MEMORY,
    STEP_RDMSR,
    STEP_WRMSR,
    STEP_MSI,
    STEP_ACKNOWLEDGE,
    STEP_CR8,
    STEP_TIME,
    STEP_OVERSLEEP,
    STEP_INPUT,
    STEP_OUTSIDE,
    STEP_LINE,
    STEP_COUNT
};

static void access_memory(struct board *board, uint64_t address, struct bus_access access)
{
    bus_serve(&board->memory, address, &access);
}

static void do_other(struct board *board, unsigned int what, uint8_t how, uint16_t offset,
                     uint32_t value)
{
    unsigned int vcpu = how >> 3 & (VCPUS - 1);
    uint64_t wide = (how & 0x80) != 0 ? (uint64_t)value << 20 : value;
    struct bus_access access = {.value = value,
                                .vcpu = vcpu,
                                .size = (uint8_t)(1u << (how & 3)),
                                .is_write = (how & 4) != 0};
    struct msi_message message = {.address = 0xfee00000 | (uint64_t)offset << 4, .data = value};
    uint8_t text[UART_FIFO_SIZE + 4] = {0};

    switch (what) {
    case STEP_LAPIC:
        access.size = (how & 0x20) != 0 ? 4 : access.size;
        access_memory(board, LAPIC_DEFAULT_BASE + (offset & 0xfff), access);
        break;
    case STEP_IOAPIC:
        access_memory(board, IOAPIC_BASE + (offset & 0x7f), access);
        break;
    case STEP_ECAM: /* devices 0 and 1, and beyond the end */
        access.offset = (wide & PCI_ECAM_SIZE) | offset;
        pci_ecam_io(&board->pci, &access);
        break;
    case STEP_MEMORY:
        access_memory(board, wide << 12 | (offset & 0xfff), access);
        break;
    case STEP_RDMSR:
        lapics_rdmsr(&board->lapics, vcpu, offset, &wide);
        break;
    case STEP_WRMSR:
        lapics_wrmsr(&board->lapics, vcpu, offset, wide);
        break;
    case STEP_MSI:
        lapics_msi(&board->lapics, &message);
        break;
    case STEP_ACKNOWLEDGE: {
        int vector = lapic_acknowledge(&board->lapics, vcpu);
        require(vector >= -1 && vector < 256);
        break;
    }
    case STEP_CR8:
        lapic_set_cr8(&board->lapics, vcpu, (uint8_t)value);
        break;
    case STEP_TIME:
        manual_timer_advance(&board->timers, value % 10000000);
        break;
    case STEP_OVERSLEEP:
        manual_timer_oversleep(&board->timers, (uint64_t)value << (how & 15));
        break;
    case STEP_INPUT:
        uart_receive(&board->uart, text, offset % sizeof(text));
        break;
    case STEP_OUTSIDE:
        board->backend_accepts = (uint8_t)value;
        board->wall_step = (how & 0x80) != 0 ? wide << 16 : board->wall_step;
        acpi_pm_general_event(&board->acpi_pm, offset);
        if ((how & 0x40) != 0) {
            acpi_pm_power_button(&board->acpi_pm);
        }
        break;
    default: /* STEP_LINE */
        set_line(board, offset, (how & 4) != 0);
        lapics_set_lint1(&board->lapics, vcpu, (how & 0x40) != 0);
        break;
    }
}

static void do_step(struct board *board, const uint8_t step[STEP_BYTES])
{
    unsigned int what = step[0] % STEP_COUNT;
    uint8_t how = step[1];
    uint16_t offset = (uint16_t)(step[2] | step[3] << 8);
    uint32_t value;

    memcpy(&value, step + 4, sizeof(value));
    if (what >= TARGET_COUNT) {
        do_other(board, what, how, offset, value);
        return;
    }

    /* The bus passes only offsets within a mapping; the devices must not rely on that. */
    struct bus_access access = {.offset = offset & 0x3f,
                                .value = value,
                                .size = (uint8_t)(1u << (how & 3)),
                                .is_write = (how & 4) != 0};

    targets[what].io((char *)board + targets[what].device, &access);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct board board;

    if (size < 1) {
        return 0;
    }
    make_board(&board, data[0]);
    data++;
    size--;
    for (unsigned int i = 0; i < STEPS_MAX && size >= STEP_BYTES; i++) {
        uint64_t fired = board.timers.fired;

        do_step(&board, data);
        require(board.timers.fired - fired <= FIRED_MAX);
        check_invariants(&board);
        data += STEP_BYTES;
        size -= STEP_BYTES;
    }
    return 0;
}
