#include "chipset/i8042.h"

#include "chipset/byte_access.h"

#define STATUS_OUTPUT_FULL 0x01
#define STATUS_SYSTEM      0x04 /* the self-test has passed */
#define STATUS_COMMAND     0x08 /* the last byte went to the command port */
#define STATUS_UNLOCKED    0x10
#define STATUS_AUXILIARY   0x20 /* the output buffer holds a byte of the auxiliary port */
#define STATUS_TIMEOUT     0x40

#define COMMAND_BYTE_KEYBOARD_INTERRUPT 0x01
#define COMMAND_BYTE_AUX_INTERRUPT      0x02
#define COMMAND_BYTE_SYSTEM             0x04
#define COMMAND_BYTE_KEYBOARD_DISABLED  0x10
#define COMMAND_BYTE_AUX_DISABLED       0x20

#define OUTPUT_PORT_RESET 0x01 /* low: the CPU is held in reset */
#define OUTPUT_PORT_A20   0x02
#define OUTPUT_PORT_IDLE  0xcd /* clock and data lines high, A20 apart */

#define PORT92_RESET 0x01
#define PORT92_A20   0x02

/* What the keyboard interface reports when nothing answers. */
#define RESPONSE_TIMEOUT 0xfe
#define SELF_TEST_PASSED 0x55
#define INTERFACE_GOOD   0x00

static void update_irqs(struct i8042 *i8042)
{
    bool full = (i8042->status & STATUS_OUTPUT_FULL) != 0;
    bool auxiliary = (i8042->status & STATUS_AUXILIARY) != 0;

    irq_line_set(&i8042->config.irq1,
                 full && !auxiliary && (i8042->command & COMMAND_BYTE_KEYBOARD_INTERRUPT) != 0);
    irq_line_set(&i8042->config.irq12,
                 full && auxiliary && (i8042->command & COMMAND_BYTE_AUX_INTERRUPT) != 0);
}

static void put(struct i8042 *i8042, uint8_t value, uint8_t flags)
{
    i8042->data = value;
    i8042->status &= (uint8_t) ~(STATUS_AUXILIARY | STATUS_TIMEOUT);
    i8042->status |= STATUS_OUTPUT_FULL | flags;
}

static void reset_cpu(struct i8042 *i8042)
{
    i8042->config.control.stop(i8042->config.control.context, VM_RESET, 0);
}

/* A write to the output port, as far as its lines go anywhere. */
static void set_output_port(struct i8042 *i8042, uint8_t value)
{
    i8042->output_port = value;
    if ((value & OUTPUT_PORT_RESET) == 0) {
        reset_cpu(i8042);
    }
}

static void write_command(struct i8042 *i8042, uint8_t command)
{
    i8042->pending_command = 0;
    i8042->status |= STATUS_COMMAND;

    if (command >= 0x20 && command <= 0x3f) { /* read the controller's RAM; 20h: command byte */
        put(i8042, command == 0x20 ? i8042->command : i8042->ram[command & 0x1f], 0);
        return;
    }
    if (command >= 0x60 && command <= 0x7f) { /* write it: the data byte follows */
        i8042->pending_command = command;
        return;
    }
    if (command >= 0xf0) { /* pulse the output port's low lines whose bit is 0 */
        if ((command & OUTPUT_PORT_RESET) == 0) {
            reset_cpu(i8042);
        }
        return;
    }
    switch (command) {
    case 0xa7: /* disable the auxiliary port */
        i8042->command |= COMMAND_BYTE_AUX_DISABLED;
        break;
    case 0xa8:
        i8042->command &= (uint8_t)~COMMAND_BYTE_AUX_DISABLED;
        break;
    case 0xa9: /* test the auxiliary interface: its clock line is stuck low, nothing is there */
        put(i8042, 0x01, 0);
        break;
    case 0xaa: /* self-test */
        i8042->status |= STATUS_SYSTEM;
        i8042->command |= COMMAND_BYTE_SYSTEM;
        put(i8042, SELF_TEST_PASSED, 0);
        break;
    case 0xab: /* test the keyboard interface */
        put(i8042, INTERFACE_GOOD, 0);
        break;
    case 0xad: /* disable the keyboard */
        i8042->command |= COMMAND_BYTE_KEYBOARD_DISABLED;
        break;
    case 0xae:
        i8042->command &= (uint8_t)~COMMAND_BYTE_KEYBOARD_DISABLED;
        break;
    case 0xc0: /* read the input port: keyboard not inhibited, manufacturing jumper out */
        put(i8042, 0xa0, 0);
        break;
    case 0xd0: /* read the output port */
        put(i8042, i8042->output_port, 0);
        break;
    case 0xd1: /* write the output port */
    case 0xd2: /* write the keyboard's output buffer */
    case 0xd3: /* write the auxiliary device's output buffer */
    case 0xd4: /* write to the auxiliary device */
        i8042->pending_command = command;
        break;
    case 0xdd: /* A20 off and on, as some chipsets have it */
        i8042->output_port &= (uint8_t)~OUTPUT_PORT_A20;
        break;
    case 0xdf:
        i8042->output_port |= OUTPUT_PORT_A20;
        break;
    default:
        break;
    }
}

static void write_data(struct i8042 *i8042, uint8_t value)
{
    uint8_t command = i8042->pending_command;

    i8042->pending_command = 0;
    i8042->status &= (uint8_t)~STATUS_COMMAND;
    if (command >= 0x60 && command <= 0x7f) {
        if (command == 0x60) {
            i8042->command = value;
        } else {
            i8042->ram[command & 0x1f] = value;
        }
        return;
    }
    switch (command) {
    case 0xd1:
        set_output_port(i8042, value);
        break;
    case 0xd2:
        put(i8042, value, 0);
        break;
    case 0xd3:
        put(i8042, value, STATUS_AUXILIARY);
        break;
    case 0xd4:
        put(i8042, RESPONSE_TIMEOUT, STATUS_AUXILIARY | STATUS_TIMEOUT);
        break;
    default: /* for the keyboard, which is not there */
        put(i8042, RESPONSE_TIMEOUT, STATUS_TIMEOUT);
        break;
    }
}

static uint8_t read_data_byte(void *device, uint64_t offset)
{
    struct i8042 *i8042 = device;

    if (offset != 0) {
        return 0xff;
    }
    i8042->status &= (uint8_t) ~(STATUS_OUTPUT_FULL | STATUS_AUXILIARY | STATUS_TIMEOUT);
    update_irqs(i8042);
    return i8042->data;
}

static void write_data_byte(void *device, uint64_t offset, uint8_t value)
{
    if (offset == 0) {
        write_data(device, value);
        update_irqs(device);
    }
}

static uint8_t read_status_byte(void *device, uint64_t offset)
{
    const struct i8042 *i8042 = device;

    return offset == 0 ? i8042->status : 0xff;
}

static void write_command_byte(void *device, uint64_t offset, uint8_t value)
{
    if (offset == 0) {
        write_command(device, value);
        update_irqs(device);
    }
}

static uint8_t read_port92(void *device, uint64_t offset)
{
    const struct i8042 *i8042 = device;

    return offset == 0 ? i8042->port92 : 0xff;
}

static void write_port92(void *device, uint64_t offset, uint8_t value)
{
    struct i8042 *i8042 = device;

    if (offset != 0) {
        return;
    }

    bool rising = (value & ~i8042->port92 & PORT92_RESET) != 0;

    i8042->port92 = value & (PORT92_RESET | PORT92_A20);
    if (rising) {
        reset_cpu(i8042);
    }
}

void i8042_data_io(void *device, struct bus_access *access)
{
    byte_access(device, access, read_data_byte, write_data_byte);
}

void i8042_status_io(void *device, struct bus_access *access)
{
    byte_access(device, access, read_status_byte, write_command_byte);
}

void i8042_port92_io(void *device, struct bus_access *access)
{
    byte_access(device, access, read_port92, write_port92);
}

void i8042_reset(struct i8042 *i8042)
{
    *i8042 = (struct i8042){
        .config = i8042->config,
        .status = STATUS_UNLOCKED,
        .command = COMMAND_BYTE_KEYBOARD_DISABLED | COMMAND_BYTE_AUX_DISABLED,
        .output_port = OUTPUT_PORT_IDLE | OUTPUT_PORT_A20,
        .port92 = PORT92_A20,
    };
    update_irqs(i8042);
}

void i8042_init(struct i8042 *i8042, const struct i8042_config *config)
{
    *i8042 = (struct i8042){.config = *config};
    i8042_reset(i8042);
}
