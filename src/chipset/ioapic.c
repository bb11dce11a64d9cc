#include "chipset/ioapic.h"

/* Registers in memory, offsets from the base. */
#define REGISTER_SELECT 0x00
#define REGISTER_WINDOW 0x10
#define REGISTER_EOI    0x40

/* Registers behind the window. */
#define INDEX_ID          0x00
#define INDEX_VERSION     0x01
#define INDEX_ARBITRATION 0x02
#define INDEX_REDIRECTION 0x10

/* "IOREDTBL[23:0]—I/O Redirection Table Registers". */
#define ENTRY_VECTOR            UINT64_C(0xff)
#define ENTRY_DELIVERY_SHIFT    8
#define ENTRY_LOGICAL           (UINT64_C(1) << 11)
#define ENTRY_DELIVERY_STATUS   (UINT64_C(1) << 12)
#define ENTRY_REMOTE_IRR        (UINT64_C(1) << 14)
#define ENTRY_LEVEL             (UINT64_C(1) << 15)
#define ENTRY_MASKED            (UINT64_C(1) << 16)
#define ENTRY_DESTINATION_SHIFT 56
#define ENTRY_READ_ONLY         (ENTRY_DELIVERY_STATUS | ENTRY_REMOTE_IRR)
#define ENTRY_WRITABLE          (UINT64_C(0xff0000000001ffff) & ~ENTRY_READ_ONLY)

#define DELIVERY_LOWEST 1

/* Intel SDM volume 3, "Message Address Register Format", "Message Data Register Format". */
#define MSI_ADDRESS_BASE        UINT64_C(0xfee00000)
#define MSI_ADDRESS_DESTINATION 12
#define MSI_ADDRESS_REDIRECTION (UINT64_C(1) << 3)
#define MSI_ADDRESS_LOGICAL     (UINT64_C(1) << 2)
#define MSI_DATA_DELIVERY_SHIFT 8
#define MSI_DATA_ASSERT         (1u << 14)
#define MSI_DATA_LEVEL          (1u << 15)

static unsigned int delivery_of(uint64_t entry)
{
    return (unsigned int)(entry >> ENTRY_DELIVERY_SHIFT) & 7;
}

/* Only fixed and lowest-priority interrupts end with an EOI; the others are edges always. */
static bool waits_for_eoi(uint64_t entry)
{
    return (entry & ENTRY_LEVEL) != 0 && delivery_of(entry) <= DELIVERY_LOWEST;
}

static struct msi_message message_of(uint64_t entry)
{
    struct msi_message message = {
        .address =
            MSI_ADDRESS_BASE | ((entry >> ENTRY_DESTINATION_SHIFT) << MSI_ADDRESS_DESTINATION),
        .data = (uint32_t)(entry & ENTRY_VECTOR) | delivery_of(entry) << MSI_DATA_DELIVERY_SHIFT |
                MSI_DATA_ASSERT,
    };

    if ((entry & ENTRY_LOGICAL) != 0) {
        message.address |= MSI_ADDRESS_LOGICAL;
    }
    if (delivery_of(entry) == DELIVERY_LOWEST) {
        message.address |= MSI_ADDRESS_REDIRECTION;
    }
    if (waits_for_eoi(entry)) {
        message.data |= MSI_DATA_LEVEL;
    }
    return message;
}

static bool deliver(struct ioapic *ioapic, uint64_t entry)
{
    struct msi_message message = message_of(entry);

    return ioapic->config.deliver(ioapic->config.context, &message);
}

/* Sends a level-triggered input's message if the line is asserted and none is outstanding. */
static void service_level(struct ioapic *ioapic, unsigned int input)
{
    uint64_t entry = ioapic->redirection[input];

    if ((ioapic->lines & (1u << input)) == 0 || !waits_for_eoi(entry) ||
        (entry & (ENTRY_MASKED | ENTRY_REMOTE_IRR)) != 0) {
        return;
    }
    if (deliver(ioapic, entry)) {
        ioapic->redirection[input] |= ENTRY_REMOTE_IRR;
    }
}

void ioapic_set_irq(void *context, unsigned int index, bool level)
{
    struct ioapic *ioapic = context;

    if (index >= IOAPIC_INPUTS) {
        return;
    }

    uint32_t line = 1u << index;
    bool rising = level && (ioapic->lines & line) == 0;

    if (level) {
        ioapic->lines |= line;
    } else {
        ioapic->lines &= ~line;
    }

    uint64_t entry = ioapic->redirection[index];

    if (waits_for_eoi(entry)) {
        service_level(ioapic, index);
    } else if (rising && (entry & ENTRY_MASKED) == 0) {
        /* An edge on a masked input is ignored, not kept ("Interrupt Mask"). */
        deliver(ioapic, entry);
    }
}

void ioapic_eoi(void *context, uint8_t vector)
{
    struct ioapic *ioapic = context;

    for (unsigned int input = 0; input < IOAPIC_INPUTS; input++) {
        uint64_t entry = ioapic->redirection[input];

        if ((entry & ENTRY_VECTOR) == vector && (entry & ENTRY_REMOTE_IRR) != 0) {
            ioapic->redirection[input] &= ~ENTRY_REMOTE_IRR;
            service_level(ioapic, input);
        }
    }
}

static uint32_t read_indexed(const struct ioapic *ioapic, unsigned int index)
{
    switch (index) {
    case INDEX_ID:
    case INDEX_ARBITRATION:
        return (uint32_t)ioapic->id << 24;
    case INDEX_VERSION:
        return (uint32_t)ioapic->config.version | (IOAPIC_INPUTS - 1) << 16;
    default:
        break;
    }

    unsigned int input = (index - INDEX_REDIRECTION) / 2;

    if (index < INDEX_REDIRECTION || input >= IOAPIC_INPUTS) {
        return 0;
    }
    return (uint32_t)(ioapic->redirection[input] >> ((index & 1) * 32));
}

static void write_redirection(struct ioapic *ioapic, unsigned int input, bool high, uint32_t value)
{
    uint64_t old = ioapic->redirection[input];
    uint64_t written =
        high ? (old & UINT32_MAX) | (uint64_t)value << 32 : (old & ~(uint64_t)UINT32_MAX) | value;
    uint64_t entry = (written & ENTRY_WRITABLE) | (old & ENTRY_READ_ONLY);

    /*
     * An edge-triggered input has no remote IRR: making it one for a moment is how kernels clear
     * a stuck bit on controllers without an EOI register.
     */
    if ((entry & ENTRY_LEVEL) == 0) {
        entry &= ~ENTRY_REMOTE_IRR;
    }
    ioapic->redirection[input] = entry;
    if (ioapic->config.routed != NULL && (entry & ENTRY_MASKED) == 0) {
        struct msi_message message = message_of(entry);

        ioapic->config.routed(ioapic->config.context, input, &message);
    }
    service_level(ioapic, input);
}

static void write_indexed(struct ioapic *ioapic, unsigned int index, uint32_t value)
{
    unsigned int input = (index - INDEX_REDIRECTION) / 2;

    if (index == INDEX_ID) {
        ioapic->id = (value >> 24) & 0xf;
    } else if (index >= INDEX_REDIRECTION && input < IOAPIC_INPUTS) {
        write_redirection(ioapic, input, (index & 1) != 0, value);
    }
}

static uint32_t read_register(const struct ioapic *ioapic, uint64_t offset)
{
    switch (offset) {
    case REGISTER_SELECT:
        return ioapic->select;
    case REGISTER_WINDOW:
        return read_indexed(ioapic, ioapic->select);
    default:
        return 0;
    }
}

void ioapic_io(void *device, struct bus_access *access)
{
    struct ioapic *ioapic = device;
    uint64_t offset = access->offset & ~UINT64_C(3);
    unsigned int shift = (unsigned int)(access->offset & 3) * 8;

    if (!access->is_write) {
        access->value = (uint64_t)read_register(ioapic, offset) >> shift;
        return;
    }
    /* Registers are written as aligned doublewords; the index alone also as a byte. */
    if (shift != 0) {
        return;
    }
    if (offset == REGISTER_SELECT) {
        ioapic->select = (uint8_t)access->value;
    } else if (access->size < 4) {
        return;
    } else if (offset == REGISTER_WINDOW) {
        write_indexed(ioapic, ioapic->select, (uint32_t)access->value);
    } else if (offset == REGISTER_EOI && ioapic->config.version >= IOAPIC_VERSION_EOI) {
        ioapic_eoi(ioapic, (uint8_t)access->value);
    }
}

void ioapic_reset(struct ioapic *ioapic)
{
    ioapic->id = ioapic->config.id & 0xf;
    ioapic->select = 0;
    for (unsigned int input = 0; input < IOAPIC_INPUTS; input++) {
        ioapic->redirection[input] = ENTRY_MASKED;
    }
}

void ioapic_init(struct ioapic *ioapic, const struct ioapic_config *config)
{
    *ioapic = (struct ioapic){.config = *config};
    ioapic_reset(ioapic);
}
