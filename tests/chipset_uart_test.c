/* The 16550A against its data sheet. */
#include <string.h>

#include "check.h"
#include "chipset/uart.h"
#include "chipset_helpers.h"
#include "manual_timer.h"

struct bench {
    struct uart uart;
    struct manual_timer timers;
    struct watched_line irq;
    uint8_t written[4096];
    size_t written_count;
    size_t accept; /* how many bytes the backend takes at a time */
    unsigned int room_offers;
};

static size_t backend_write(void *context, const uint8_t *bytes, size_t length)
{
    struct bench *bench = context;
    size_t taken = length < bench->accept ? length : bench->accept;

    memcpy(&bench->written[bench->written_count], bytes, taken);
    bench->written_count += taken;
    return taken;
}

static void backend_room(void *context)
{
    ((struct bench *)context)->room_offers++;
}

static void set_up(struct bench *bench)
{
    *bench = (struct bench){.accept = SIZE_MAX};
    manual_timer_init(&bench->timers);
    uart_init(&bench->uart, &(struct uart_config){.timers = &bench->timers.host,
                                                  .irq = watched_irq(&bench->irq),
                                                  .backend = {.write = backend_write,
                                                              .room_available = backend_room,
                                                              .context = bench}});
}

static void out(struct bench *bench, uint64_t offset, uint8_t value)
{
    device_write(uart_io, &bench->uart, offset, 1, value);
}

static uint8_t in(struct bench *bench, uint64_t offset)
{
    return (uint8_t)device_read(uart_io, &bench->uart, offset, 1);
}

/* As a driver leaves it: FIFOs with a trigger level of 8, DTR, RTS and OUT2. */
static void set_up_driver(struct bench *bench)
{
    set_up(bench);
    out(bench, 2, 0x81);
    out(bench, 4, 0x0b);
}

static void receive(struct bench *bench, const char *text)
{
    uart_receive(&bench->uart, (const uint8_t *)text, strlen(text));
}

static void test_registers(void)
{
    struct bench bench;

    set_up(&bench);
    CHECK_EQUAL(in(&bench, 5), 0x60);
    CHECK_EQUAL(in(&bench, 2), 0x01);
    CHECK_EQUAL(in(&bench, 6), 0xb0);
    out(&bench, 7, 0x5a);
    CHECK_EQUAL(in(&bench, 7), 0x5a);
    out(&bench, 1, 0xff);
    CHECK_EQUAL(in(&bench, 1), 0x0f);
    out(&bench, 4, 0xff);
    CHECK_EQUAL(in(&bench, 4), 0x1f);
    out(&bench, 3, 0x83);
    out(&bench, 0, 0x34);
    out(&bench, 1, 0x12);
    CHECK_EQUAL(in(&bench, 0), 0x34);
    CHECK_EQUAL(in(&bench, 1), 0x12);
    CHECK_EQUAL(bench.written_count, 0);
    out(&bench, 3, 0x03);
    CHECK_EQUAL(in(&bench, 1), 0x0f);
    out(&bench, 2, 0x01);
    CHECK_EQUAL(in(&bench, 2) & 0xc0, 0xc0); /* a 16550A says that it has FIFOs */
    out(&bench, 2, 0x80);                    /* no enable bit: off, the trigger level ignored */
    CHECK_EQUAL(in(&bench, 2) & 0xc0, 0);
    CHECK_EQUAL(device_read(uart_io, &bench.uart, 9, 1), 0xff);
    uart_reset(&bench.uart);
    CHECK_EQUAL(in(&bench, 4), 0);
    CHECK_EQUAL(in(&bench, 7), 0x5a);
}

static void test_transmit(void)
{
    struct bench bench;

    set_up_driver(&bench);
    out(&bench, 0, 'a');
    CHECK_EQUAL(bench.written_count, 1);
    CHECK_EQUAL(bench.written[0], 'a');
    CHECK_EQUAL(in(&bench, 5), 0x60);
    out(&bench, 1, 0x02);
    CHECK(bench.irq.level); /* enabling it with an empty transmitter interrupts */
    CHECK_EQUAL(in(&bench, 2), 0xc2);
    CHECK(!bench.irq.level); /* that read acknowledged it */
    CHECK_EQUAL(in(&bench, 2), 0xc1);
    out(&bench, 0, 'b');
    CHECK(bench.irq.level);
    unsigned int rises = bench.irq.rises;
    out(&bench, 0, 'c');
    CHECK_EQUAL(bench.irq.rises, rises + 1); /* an edge each time */
    out(&bench, 4, 0x03);
    CHECK(!bench.irq.level); /* without OUT2 nothing gets to the bus */
    out(&bench, 4, 0x0b);
    CHECK(bench.irq.level);
}

static void test_blocked_backend(void)
{
    struct bench bench;

    set_up_driver(&bench);
    out(&bench, 1, 0x02);
    in(&bench, 2);
    bench.accept = 0;
    for (uint8_t i = 0; i < 16; i++) {
        out(&bench, 0, i);
        CHECK_EQUAL(in(&bench, 5) & 0x60, 0);
    }
    out(&bench, 0, 99); /* one too many: lost, as the guest did not look at THRE */
    CHECK(!bench.irq.level);
    bench.accept = 3;
    manual_timer_advance(&bench.timers, 1000000);
    CHECK_EQUAL(bench.written_count, 3);
    CHECK(!bench.irq.level);
    bench.accept = SIZE_MAX;
    manual_timer_advance(&bench.timers, 1000000);
    CHECK_EQUAL(bench.written_count, 16);
    CHECK(bench.irq.level);
    CHECK_EQUAL(in(&bench, 5) & 0x60, 0x60);
    for (uint8_t i = 0; i < 16; i++) {
        CHECK_EQUAL(bench.written[i], i);
    }
    CHECK(bench.timers.first == NULL);
    bench.accept = 0;
    out(&bench, 0, 'x');
    out(&bench, 2, 0x85); /* clear the transmit FIFO */
    CHECK_EQUAL(in(&bench, 5) & 0x60, 0x60);
    bench.accept = SIZE_MAX;
    manual_timer_advance(&bench.timers, 10000000);
    CHECK_EQUAL(bench.written_count, 16);
}

static void test_receive(void)
{
    struct bench bench;

    set_up_driver(&bench);
    out(&bench, 1, 0x01);
    CHECK_EQUAL(uart_receive_room(&bench.uart), 16);
    receive(&bench, "1234567");
    CHECK(!bench.irq.level);
    CHECK_EQUAL(in(&bench, 5), 0x61);
    receive(&bench, "8");
    CHECK(bench.irq.level); /* the trigger level */
    CHECK_EQUAL(in(&bench, 2), 0xc4);
    CHECK_EQUAL(in(&bench, 0), '1');
    CHECK(!bench.irq.level);
    manual_timer_advance(&bench.timers, 1000000);
    CHECK(bench.irq.level); /* the rest has waited */
    CHECK_EQUAL(in(&bench, 2), 0xcc);
    for (char c = '2'; c <= '8'; c++) {
        CHECK_EQUAL(in(&bench, 0), c);
    }
    CHECK(!bench.irq.level);
    CHECK_EQUAL(in(&bench, 5), 0x60);
    CHECK_EQUAL(in(&bench, 0), 0); /* empty */
    manual_timer_advance(&bench.timers, 1000000);
    CHECK(!bench.irq.level);
}

static void test_overrun(void)
{
    struct bench bench;

    set_up_driver(&bench);
    out(&bench, 1, 0x05);
    receive(&bench, "0123456789abcdefX");
    CHECK_EQUAL(in(&bench, 2), 0xc6); /* line status comes first */
    CHECK_EQUAL(in(&bench, 5), 0x63);
    CHECK_EQUAL(in(&bench, 5), 0x61); /* reading cleared it */
    CHECK_EQUAL(in(&bench, 2), 0xc4);
    for (unsigned int i = 0; i < 16; i++) {
        CHECK_EQUAL(in(&bench, 0), "0123456789abcdef"[i]);
    }
    set_up(&bench);
    out(&bench, 4, 0x0b);
    receive(&bench, "ab"); /* without FIFOs the new one overwrites the old */
    CHECK_EQUAL(in(&bench, 5), 0x63);
    CHECK_EQUAL(in(&bench, 0), 'b');
    CHECK_EQUAL(in(&bench, 5), 0x60);
}

static void test_room(void)
{
    struct bench bench;

    set_up(&bench);
    CHECK_EQUAL(uart_receive_room(&bench.uart), 0); /* nobody listens yet */
    out(&bench, 2, 0x07);
    CHECK_EQUAL(bench.room_offers, 0);
    out(&bench, 4, 0x0b); /* RTS */
    CHECK_EQUAL(bench.room_offers, 1);
    CHECK_EQUAL(uart_receive_room(&bench.uart), 16);
    receive(&bench, "0123456789abcdef");
    CHECK_EQUAL(uart_receive_room(&bench.uart), 0);
    in(&bench, 0);
    CHECK_EQUAL(bench.room_offers, 2);
    in(&bench, 0);
    CHECK_EQUAL(bench.room_offers, 2); /* said once */
    CHECK_EQUAL(uart_receive_room(&bench.uart), 2);
    out(&bench, 4, 0x1b); /* loopback: the outside is disconnected */
    CHECK_EQUAL(uart_receive_room(&bench.uart), 0);
    receive(&bench, "lost");
    out(&bench, 4, 0x0b);
    CHECK_EQUAL(bench.room_offers, 3);
    CHECK_EQUAL(uart_receive_room(&bench.uart), 2);

    /* A guest that knows no modem lines and polls. */
    set_up(&bench);
    CHECK_EQUAL(uart_receive_room(&bench.uart), 0);
    for (unsigned int i = 0; i < 100; i++) { /* this one only prints */
        in(&bench, 5);
        out(&bench, 0, '.');
    }
    CHECK_EQUAL(bench.room_offers, 0);
    for (unsigned int i = 0; i < 100; i++) {
        in(&bench, 5);
    }
    CHECK_EQUAL(bench.room_offers, 1);
    CHECK_EQUAL(uart_receive_room(&bench.uart), 1);

    struct character_device device = uart_character_device(&bench.uart);

    device.receive(device.context, (const uint8_t *)"k", 1);
    CHECK_EQUAL(device.room(device.context), 0);
    CHECK_EQUAL(in(&bench, 0), 'k');
    /* One that takes interrupts without RTS. */
    set_up(&bench);
    CHECK_EQUAL(uart_receive_room(&bench.uart), 0);
    out(&bench, 4, 0x09);
    out(&bench, 1, 0x0f); /* as Linux does while it probes */
    manual_timer_advance(&bench.timers, 1000000);
    out(&bench, 1, 0x00);
    manual_timer_advance(&bench.timers, 1000000000);
    CHECK_EQUAL(bench.room_offers, 0);
    out(&bench, 1, 0x05);
    CHECK_EQUAL(uart_receive_room(&bench.uart), 0);
    manual_timer_advance(&bench.timers, 1000000000);
    CHECK_EQUAL(bench.room_offers, 1);
    CHECK_EQUAL(uart_receive_room(&bench.uart), 1);
    uart_reset(&bench.uart);
    CHECK_EQUAL(uart_receive_room(&bench.uart), 0);
    CHECK(bench.timers.first == NULL);
}

static void test_loopback(void)
{
    struct bench bench;

    set_up(&bench);
    out(&bench, 2, 0x01);
    out(&bench, 1, 0x0f);
    in(&bench, 6);
    out(&bench, 4, 0x1a); /* RTS and OUT2, looped: as Linux probes for a UART */
    CHECK_EQUAL(in(&bench, 6) & 0xf0, 0x90);
    CHECK_EQUAL(in(&bench, 6) & 0x0f, 0); /* the deltas were cleared by reading */
    out(&bench, 4, 0x15);                 /* DTR and OUT1 */
    CHECK_EQUAL(in(&bench, 6), 0x60 | 0x0b);
    out(&bench, 4, 0x11);
    CHECK_EQUAL(in(&bench, 6), 0x20 | 0x04); /* the trailing edge of RI */
    out(&bench, 0, 'q');
    CHECK_EQUAL(bench.written_count, 0);
    CHECK_EQUAL(in(&bench, 5) & 0x01, 0x01);
    CHECK_EQUAL(in(&bench, 0), 'q');
    CHECK(!bench.irq.level);
}

static void test_modem_interrupt(void)
{
    struct bench bench;

    set_up_driver(&bench);
    out(&bench, 1, 0x08);
    CHECK(!bench.irq.level);
    out(&bench, 4, 0x19); /* CTS falls with our RTS, and rises again */
    out(&bench, 4, 0x0b);
    CHECK(bench.irq.level);
    CHECK_EQUAL(in(&bench, 2), 0xc0);
    in(&bench, 6);
    CHECK(!bench.irq.level);
}

static void test_fifo_control(void)
{
    struct bench bench;

    set_up_driver(&bench);
    receive(&bench, "abc");
    out(&bench, 2, 0x83); /* clear the receive FIFO */
    CHECK_EQUAL(in(&bench, 5), 0x60);
    receive(&bench, "abc");
    out(&bench, 2, 0x00); /* off: emptied, too */
    CHECK_EQUAL(in(&bench, 5), 0x60);
    static const uint8_t levels[4] = {1, 4, 8, 14};
    for (uint8_t i = 0; i < 4; i++) {
        set_up(&bench);
        out(&bench, 4, 0x0b);
        out(&bench, 1, 0x01);
        out(&bench, 2, (uint8_t)(i << 6 | 1));
        for (uint8_t n = 1; n <= 14; n++) {
            receive(&bench, "x");
            CHECK_EQUAL(bench.irq.level, n >= levels[i]);
        }
    }
}

int main(void)
{
    test_registers();
    test_transmit();
    test_blocked_backend();
    test_receive();
    test_overrun();
    test_room();
    test_loopback();
    test_modem_interrupt();
    test_fifo_control();
    return check_summary();
}
