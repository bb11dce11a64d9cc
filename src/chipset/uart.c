#include "chipset/uart.h"

#include <stddef.h>

#include "chipset/byte_access.h"

enum register_offset {
    REGISTER_DATA = 0, /* RBR and THR; the divisor's low byte with DLAB */
    REGISTER_IER = 1,  /* the divisor's high byte with DLAB */
    REGISTER_IIR = 2,  /* written: FCR */
    REGISTER_LCR = 3,
    REGISTER_MCR = 4,
    REGISTER_LSR = 5,
    REGISTER_MSR = 6,
    REGISTER_SCR = 7
};

#define IER_RECEIVED 0x01
#define IER_THRE     0x02
#define IER_LINE     0x04
#define IER_MODEM    0x08
#define IER_BITS     0x0f

#define IIR_MODEM    0x00
#define IIR_NONE     0x01
#define IIR_THRE     0x02
#define IIR_RECEIVED 0x04
#define IIR_LINE     0x06
#define IIR_TIMEOUT  0x0c
#define IIR_FIFOS    0xc0

#define FCR_ENABLE         0x01
#define FCR_CLEAR_RECEIVE  0x02
#define FCR_CLEAR_TRANSMIT 0x04
#define FCR_KEPT           0xc9 /* what remains after the clears have been done */

#define LCR_DLAB 0x80

#define MCR_DTR  0x01
#define MCR_RTS  0x02
#define MCR_OUT1 0x04
#define MCR_OUT2 0x08 /* on a PC it lets the interrupt through to the bus */
#define MCR_LOOP 0x10
#define MCR_BITS 0x1f

#define LSR_DATA_READY 0x01
#define LSR_OVERRUN    0x02
#define LSR_ERRORS     0x1e
#define LSR_THRE       0x20
#define LSR_TEMT       0x40

#define MSR_DELTA_CTS   0x01
#define MSR_DELTA_DSR   0x02
#define MSR_TRAILING_RI 0x04
#define MSR_DELTA_DCD   0x08
#define MSR_DELTAS      0x0f
#define MSR_CTS         0x10
#define MSR_DSR         0x20
#define MSR_RI          0x40
#define MSR_DCD         0x80

/* Four characters at 115200 baud, whatever the divisor says ("FIFO Interrupt Mode Operation"). */
#define RECEIVE_TIMEOUT_NS  UINT64_C(350000)
#define TRANSMIT_RETRY_NS   UINT64_C(1000000)
#define DIVISOR_AFTER_RESET 12 /* 9600 baud; undefined by the data sheet */
/* A guest that reads LSR this often in a row and does nothing else waits for input. */
#define POLLS_OF_A_LISTENER 16
/* One that has had the receive interrupt on for so long is done with setting up the UART. */
#define INTERRUPTS_OF_A_LISTENER_NS UINT64_C(250000000)

static bool has_fifos(const struct uart *uart)
{
    return (uart->fcr & FCR_ENABLE) != 0;
}

static bool is_looped(const struct uart *uart)
{
    return (uart->mcr & MCR_LOOP) != 0;
}

static unsigned int capacity(const struct uart *uart)
{
    return has_fifos(uart) ? UART_FIFO_SIZE : 1;
}

static unsigned int trigger_level(const struct uart *uart)
{
    static const uint8_t levels[4] = {1, 4, 8, 14};

    return has_fifos(uart) ? levels[uart->fcr >> 6] : 1;
}

static void push(struct uart_fifo *fifo, uint8_t byte)
{
    fifo->bytes[(fifo->first + fifo->count) % UART_FIFO_SIZE] = byte;
    fifo->count++;
}

static uint8_t pop(struct uart_fifo *fifo)
{
    uint8_t byte = fifo->bytes[fifo->first];

    fifo->first = (uint8_t)((fifo->first + 1) % UART_FIFO_SIZE);
    fifo->count--;
    return byte;
}

static void clear(struct uart_fifo *fifo)
{
    fifo->first = 0;
    fifo->count = 0;
}

/* "Interrupt Identification Register": the most urgent cause that is enabled. */
static uint8_t cause_of(const struct uart *uart)
{
    if ((uart->ier & IER_LINE) != 0 && (uart->lsr & LSR_ERRORS) != 0) {
        return IIR_LINE;
    }
    if ((uart->ier & IER_RECEIVED) != 0) {
        if (uart->receive.count >= trigger_level(uart)) {
            return IIR_RECEIVED;
        }
        if (uart->timeout_pending) {
            return IIR_TIMEOUT;
        }
    }
    if ((uart->ier & IER_THRE) != 0 && uart->thre_pending) {
        return IIR_THRE;
    }
    if ((uart->ier & IER_MODEM) != 0 && (uart->msr & MSR_DELTAS) != 0) {
        return IIR_MODEM;
    }
    return IIR_NONE;
}

static void update_irq(struct uart *uart)
{
    /* In loopback the OUT2 pin is inactive, and with it the gate to the bus. */
    bool connected = (uart->mcr & MCR_OUT2) != 0 && !is_looped(uart);

    irq_line_set(&uart->config.irq, connected && cause_of(uart) != IIR_NONE);
}

static void arm_in(struct uart *uart, struct timer *timer, uint64_t ns)
{
    struct timer_host *timers = uart->config.timers;

    timers->arm(timers, timer, timers->now(timers) + ns);
}

static void cancel(struct uart *uart, struct timer *timer)
{
    uart->config.timers->cancel(uart->config.timers, timer);
}

/* The timeout runs anew after each character that comes in or is read. */
static void restart_receive_timeout(struct uart *uart)
{
    uart->timeout_pending = false;
    if (has_fifos(uart) && uart->receive.count != 0) {
        arm_in(uart, &uart->timeout_timer, RECEIVE_TIMEOUT_NS);
    } else {
        cancel(uart, &uart->timeout_timer);
    }
}

static void receive_timed_out(void *context)
{
    struct uart *uart = context;

    uart->timeout_pending = has_fifos(uart) && uart->receive.count != 0;
    update_irq(uart);
}

static void receive_byte(struct uart *uart, uint8_t byte)
{
    if (uart->receive.count < capacity(uart)) {
        push(&uart->receive, byte);
        return;
    }
    uart->lsr |= LSR_OVERRUN;
    if (!has_fifos(uart)) {
        uart->receive.bytes[uart->receive.first] = byte; /* the unread character is overwritten */
    }
}

static bool is_listening(const struct uart *uart)
{
    return (uart->mcr & MCR_RTS) != 0 || uart->listens;
}

static size_t room(const struct uart *uart)
{
    if (is_looped(uart) || !is_listening(uart)) {
        return 0;
    }
    return capacity(uart) - uart->receive.count;
}

size_t uart_receive_room(void *context)
{
    struct uart *uart = context;

    uart->was_full = room(uart) == 0;
    return room(uart);
}

void uart_receive(void *context, const uint8_t *bytes, size_t length)
{
    struct uart *uart = context;

    if (is_looped(uart)) {
        return; /* the input is disconnected; who asked for room knows */
    }
    for (size_t i = 0; i < length; i++) {
        receive_byte(uart, bytes[i]);
    }
    restart_receive_timeout(uart);
    update_irq(uart);
}

struct character_device uart_character_device(struct uart *uart)
{
    return (struct character_device){
        .room = uart_receive_room, .receive = uart_receive, .context = uart};
}

/* Tells a backend that was refused that it may ask again. Last in each operation: it may call us.
 */
static void offer_room(struct uart *uart)
{
    if (!uart->was_full || room(uart) == 0) {
        return;
    }
    uart->was_full = false;
    if (uart->config.backend.room_available != NULL) {
        uart->config.backend.room_available(uart->config.backend.context);
    }
}

static size_t backend_write(struct uart *uart, const uint8_t *bytes, size_t length)
{
    const struct character_backend *backend = &uart->config.backend;
    size_t taken =
        backend->write != NULL ? backend->write(backend->context, bytes, length) : length;

    return taken < length ? taken : length;
}

/* Sends what the backend takes now; the transmitter is empty when all is gone. */
static void transmit(struct uart *uart)
{
    while (uart->transmit.count != 0) {
        struct uart_fifo *fifo = &uart->transmit;
        size_t until_end = (size_t)(UART_FIFO_SIZE - fifo->first);
        size_t length = fifo->count < until_end ? fifo->count : until_end;
        size_t taken = backend_write(uart, &fifo->bytes[fifo->first], length);

        fifo->first = (uint8_t)((fifo->first + taken) % UART_FIFO_SIZE);
        fifo->count = (uint8_t)(fifo->count - taken);
        if (taken < length) {
            arm_in(uart, &uart->transmit_timer, TRANSMIT_RETRY_NS);
            return;
        }
    }
    uart->thre_pending = true;
}

static bool has_receive_interrupt(const struct uart *uart)
{
    return (uart->ier & IER_RECEIVED) != 0 && (uart->mcr & MCR_OUT2) != 0;
}

static void interrupts_stayed_on(void *context)
{
    struct uart *uart = context;

    if (has_receive_interrupt(uart)) {
        uart->listens = true;
        offer_room(uart);
    }
}

/* Notices a guest that takes receive interrupts without having raised RTS. */
static void watch_interrupts(struct uart *uart)
{
    if (has_receive_interrupt(uart) && !is_listening(uart) && !uart->listen_timer.armed) {
        arm_in(uart, &uart->listen_timer, INTERRUPTS_OF_A_LISTENER_NS);
    }
}

static void transmit_again(void *context)
{
    struct uart *uart = context;

    if (uart->transmit.count != 0) {
        transmit(uart);
        update_irq(uart);
    }
}

static void write_data(struct uart *uart, uint8_t byte)
{
    uart->thre_pending = false;
    update_irq(uart); /* low for a moment, so that the next one is an edge */
    if (is_looped(uart)) {
        receive_byte(uart, byte);
        restart_receive_timeout(uart);
        uart->thre_pending = true;
        return;
    }
    if (uart->transmit.count < capacity(uart)) {
        push(&uart->transmit, byte);
    } /* else lost, as on a transmitter whose guest does not look at THRE */
    transmit(uart);
}

static uint8_t read_data(struct uart *uart)
{
    uint8_t byte;

    if (uart->receive.count == 0) {
        return 0;
    }
    byte = pop(&uart->receive);
    restart_receive_timeout(uart);
    return byte;
}

/* "FIFO Control Register": the other bits count only together with the enable bit. */
static void write_fcr(struct uart *uart, uint8_t value)
{
    bool changed = ((value ^ uart->fcr) & FCR_ENABLE) != 0;

    if (changed || (value & (FCR_ENABLE | FCR_CLEAR_RECEIVE)) == (FCR_ENABLE | FCR_CLEAR_RECEIVE)) {
        clear(&uart->receive);
    }
    if (changed ||
        (value & (FCR_ENABLE | FCR_CLEAR_TRANSMIT)) == (FCR_ENABLE | FCR_CLEAR_TRANSMIT)) {
        uart->thre_pending |= uart->transmit.count != 0;
        clear(&uart->transmit);
        cancel(uart, &uart->transmit_timer);
    }
    uart->fcr = (value & FCR_ENABLE) != 0 ? value & FCR_KEPT : 0;
    restart_receive_timeout(uart);
}

static void write_ier(struct uart *uart, uint8_t value)
{
    bool enabled = (value & ~uart->ier & IER_THRE) != 0;

    uart->ier = value & IER_BITS;
    if (enabled && uart->transmit.count == 0) {
        uart->thre_pending = true;
    }
}

/* "Modem Status Register": the lines of a terminal that is always there, or our own in loopback. */
static uint8_t modem_lines(const struct uart *uart)
{
    if (!is_looped(uart)) {
        return MSR_CTS | MSR_DSR | MSR_DCD;
    }
    return (uint8_t)(((uart->mcr & MCR_RTS) != 0 ? MSR_CTS : 0) |
                     ((uart->mcr & MCR_DTR) != 0 ? MSR_DSR : 0) |
                     ((uart->mcr & MCR_OUT1) != 0 ? MSR_RI : 0) |
                     ((uart->mcr & MCR_OUT2) != 0 ? MSR_DCD : 0));
}

static void write_mcr(struct uart *uart, uint8_t value)
{
    uint8_t before = modem_lines(uart);

    uart->mcr = value & MCR_BITS;

    uint8_t after = modem_lines(uart);
    uint8_t changed = before ^ after;

    uart->msr |= (uint8_t)(((changed & MSR_CTS) != 0 ? MSR_DELTA_CTS : 0) |
                           ((changed & MSR_DSR) != 0 ? MSR_DELTA_DSR : 0) |
                           ((changed & before & MSR_RI) != 0 ? MSR_TRAILING_RI : 0) |
                           ((changed & MSR_DCD) != 0 ? MSR_DELTA_DCD : 0));
}

static uint8_t read_iir(struct uart *uart)
{
    uint8_t cause = cause_of(uart);

    if (cause == IIR_THRE) {
        uart->thre_pending = false; /* this read acknowledges it */
    }
    return has_fifos(uart) ? cause | IIR_FIFOS : cause;
}

static uint8_t read_lsr(struct uart *uart)
{
    uint8_t value = uart->lsr;

    uart->lsr = 0;
    if (uart->receive.count != 0) {
        value |= LSR_DATA_READY;
    }
    if (uart->transmit.count == 0) {
        value |= LSR_THRE | LSR_TEMT;
    }
    return value;
}

static uint8_t read_register(struct uart *uart, uint64_t offset)
{
    bool divisor = (uart->lcr & LCR_DLAB) != 0;
    uint8_t value;

    switch (offset) {
    case REGISTER_DATA:
        return divisor ? (uint8_t)uart->divisor : read_data(uart);
    case REGISTER_IER:
        return divisor ? (uint8_t)(uart->divisor >> 8) : uart->ier;
    case REGISTER_IIR:
        return read_iir(uart);
    case REGISTER_LCR:
        return uart->lcr;
    case REGISTER_MCR:
        return uart->mcr;
    case REGISTER_LSR:
        return read_lsr(uart);
    case REGISTER_MSR:
        value = uart->msr | modem_lines(uart);
        uart->msr = 0;
        return value;
    case REGISTER_SCR:
        return uart->scr;
    default:
        return 0xff;
    }
}

static void write_register(struct uart *uart, uint64_t offset, uint8_t value)
{
    bool divisor = (uart->lcr & LCR_DLAB) != 0;

    switch (offset) {
    case REGISTER_DATA:
        if (divisor) {
            uart->divisor = (uint16_t)((uart->divisor & 0xff00) | value);
        } else {
            write_data(uart, value);
        }
        break;
    case REGISTER_IER:
        if (divisor) {
            uart->divisor = (uint16_t)((uart->divisor & 0xff) | value << 8);
        } else {
            write_ier(uart, value);
        }
        break;
    case REGISTER_IIR:
        write_fcr(uart, value);
        break;
    case REGISTER_LCR:
        uart->lcr = value;
        break;
    case REGISTER_MCR:
        write_mcr(uart, value);
        break;
    case REGISTER_SCR:
        uart->scr = value;
        break;
    default: /* LSR and MSR are not for writing */
        break;
    }
}

/* Notices a guest that polls for input instead of asking for interrupts or raising RTS. */
static void watch_polling(struct uart *uart, bool is_lsr_read)
{
    if (!is_lsr_read) {
        uart->lsr_reads = 0;
    } else if (uart->lsr_reads < POLLS_OF_A_LISTENER && ++uart->lsr_reads == POLLS_OF_A_LISTENER) {
        uart->listens = true;
    }
}

static uint8_t read_port(void *device, uint64_t offset)
{
    struct uart *uart = device;
    uint8_t value = read_register(uart, offset);

    watch_polling(uart, offset == REGISTER_LSR);
    update_irq(uart);
    offer_room(uart);
    return value;
}

static void write_port(void *device, uint64_t offset, uint8_t value)
{
    struct uart *uart = device;

    write_register(uart, offset, value);
    watch_polling(uart, false);
    watch_interrupts(uart);
    update_irq(uart);
    offer_room(uart);
}

void uart_io(void *device, struct bus_access *access)
{
    byte_access(device, access, read_port, write_port);
}

/* "Master Reset": registers and FIFOs are emptied, the scratch register and divisor are not. */
void uart_reset(struct uart *uart)
{
    cancel(uart, &uart->timeout_timer);
    cancel(uart, &uart->transmit_timer);
    cancel(uart, &uart->listen_timer);
    uart->ier = 0;
    uart->fcr = 0;
    uart->lcr = 0;
    uart->mcr = 0;
    uart->lsr = 0;
    uart->msr = 0;
    clear(&uart->receive);
    clear(&uart->transmit);
    uart->thre_pending = false;
    uart->timeout_pending = false;
    uart->listens = false;
    uart->lsr_reads = 0;
    update_irq(uart);
}

void uart_init(struct uart *uart, const struct uart_config *config)
{
    *uart = (struct uart){.config = *config, .divisor = DIVISOR_AFTER_RESET};
    timer_init(&uart->timeout_timer, receive_timed_out, uart);
    timer_init(&uart->transmit_timer, transmit_again, uart);
    timer_init(&uart->listen_timer, interrupts_stayed_on, uart);
    uart_reset(uart);
}
