/* The 8259A pair against its data sheet. */
#include "check.h"
#include "chipset/pic.h"
#include "chipset_helpers.h"

struct bench {
    struct pic pic;
    struct watched_line output;
};

static void out_primary(struct bench *bench, uint64_t offset, uint8_t value)
{
    device_write(pic_primary_io, &bench->pic, offset, 1, value);
}

static void out_secondary(struct bench *bench, uint64_t offset, uint8_t value)
{
    device_write(pic_secondary_io, &bench->pic, offset, 1, value);
}

static uint8_t in_primary(struct bench *bench, uint64_t offset)
{
    return (uint8_t)device_read(pic_primary_io, &bench->pic, offset, 1);
}

static uint8_t in_secondary(struct bench *bench, uint64_t offset)
{
    return (uint8_t)device_read(pic_secondary_io, &bench->pic, offset, 1);
}

/* As every PC does it: vectors 20h and 28h, all inputs open. icw4 adds to 8086 mode. */
static void set_up(struct bench *bench, uint8_t icw4)
{
    *bench = (struct bench){0};
    pic_init(&bench->pic, &(struct pic_config){.output = watched_irq(&bench->output)});
    out_primary(bench, 0, 0x11);
    out_primary(bench, 1, 0x20);
    out_primary(bench, 1, 0x04);
    out_primary(bench, 1, 0x01 | icw4);
    out_secondary(bench, 0, 0x11);
    out_secondary(bench, 1, 0x28);
    out_secondary(bench, 1, 0x02);
    out_secondary(bench, 1, 0x01 | icw4);
}

static void raise(struct bench *bench, unsigned int line)
{
    pic_set_irq(&bench->pic, line, true);
}

static void lower(struct bench *bench, unsigned int line)
{
    pic_set_irq(&bench->pic, line, false);
}

static void test_after_reset(void)
{
    struct bench bench = {0};

    pic_init(&bench.pic, &(struct pic_config){.output = watched_irq(&bench.output)});
    raise(&bench, 1);
    CHECK(!bench.output.level); /* nothing before it is initialised */
    lower(&bench, 1);
    set_up(&bench, 0);
    CHECK_EQUAL(in_primary(&bench, 1), 0); /* ICW1 clears the mask */
    raise(&bench, 99);                     /* no such input */
    raise(&bench, PIC_CASCADE_LINE);       /* not connected */
    CHECK(!bench.output.level);
}

static void test_edge(void)
{
    struct bench bench;

    set_up(&bench, 0);
    raise(&bench, 3);
    CHECK(bench.output.level && pic_output(&bench.pic));
    CHECK_EQUAL(in_primary(&bench, 0), 0x08); /* IRR */
    CHECK_EQUAL(pic_acknowledge(&bench.pic), 0x23);
    CHECK(!bench.output.level);
    CHECK_EQUAL(in_primary(&bench, 0), 0);
    out_primary(&bench, 0, 0x0b); /* OCW3: show ISR */
    CHECK_EQUAL(in_primary(&bench, 0), 0x08);
    out_primary(&bench, 0, 0x20); /* EOI */
    CHECK_EQUAL(in_primary(&bench, 0), 0);
    CHECK(!bench.output.level); /* the line is high still, but that is no new edge */
    lower(&bench, 3);
    raise(&bench, 3);
    CHECK(bench.output.level);
    lower(&bench, 3); /* before INTA: taken back */
    CHECK(!bench.output.level);

    pic_keep_edges(&bench.pic); /* not so for exams */
    raise(&bench, 11);
    lower(&bench, 11);
    CHECK(bench.output.level);
    CHECK_EQUAL(pic_acknowledge(&bench.pic), 0x2b);
    CHECK(!bench.output.level);
}

static void test_priority(void)
{
    struct bench bench;

    set_up(&bench, 0);
    raise(&bench, 5);
    CHECK_EQUAL(pic_acknowledge(&bench.pic), 0x25);
    raise(&bench, 6);
    CHECK(!bench.output.level); /* less urgent than what is in service */
    raise(&bench, 1);
    CHECK(bench.output.level);
    CHECK_EQUAL(pic_acknowledge(&bench.pic), 0x21);
    out_primary(&bench, 0, 0x20); /* ends 1, the most urgent */
    CHECK(!bench.output.level);
    out_primary(&bench, 0, 0x65); /* specific EOI of 5 */
    CHECK_EQUAL(pic_acknowledge(&bench.pic), 0x26);
}

static void test_mask(void)
{
    struct bench bench;

    set_up(&bench, 0);
    out_primary(&bench, 1, 0x10);
    raise(&bench, 4);
    CHECK(!bench.output.level);
    CHECK_EQUAL(in_primary(&bench, 0), 0x10); /* it waits */
    out_primary(&bench, 1, 0x00);
    CHECK(bench.output.level);
    out_primary(&bench, 1, 0x10);
    CHECK(!bench.output.level);
}

static void test_level(void)
{
    struct bench bench;

    set_up(&bench, 0);
    device_write(pic_elcr_io, &bench.pic, 0, 2, 0xffff);
    CHECK_EQUAL(device_read(pic_elcr_io, &bench.pic, 0, 2), 0xdef8); /* 0, 1, 2, 8, 13 can't */
    raise(&bench, 5);
    CHECK_EQUAL(pic_acknowledge(&bench.pic), 0x25);
    CHECK_EQUAL(in_primary(&bench, 0), 0x20); /* IRR follows the line */
    CHECK(!bench.output.level);
    out_primary(&bench, 0, 0x20);
    CHECK(bench.output.level); /* asserted still: again */
    lower(&bench, 5);
    CHECK(!bench.output.level);
    /* A line that is high when it becomes level-triggered requests at once. */
    device_write(pic_elcr_io, &bench.pic, 0, 1, 0);
    raise(&bench, 7);
    CHECK_EQUAL(pic_acknowledge(&bench.pic), 0x27);
    out_primary(&bench, 0, 0x20);
    CHECK(!bench.output.level);
    device_write(pic_elcr_io, &bench.pic, 0, 1, 0x80);
    CHECK(bench.output.level);
    device_write(pic_elcr_io, &bench.pic, 0, 1, 0);
    CHECK(!bench.output.level);
}

static void test_cascade(void)
{
    struct bench bench;

    set_up(&bench, 0);
    raise(&bench, 12);
    raise(&bench, 9);
    CHECK_EQUAL(in_primary(&bench, 0), 0x04);
    CHECK_EQUAL(pic_acknowledge(&bench.pic), 0x29);
    CHECK(!bench.output.level);
    raise(&bench, 8); /* more urgent on the secondary, but the primary serves its input 2 */
    CHECK(!bench.output.level);
    out_secondary(&bench, 0, 0x20);
    out_primary(&bench, 0, 0x20);
    CHECK_EQUAL(pic_acknowledge(&bench.pic), 0x28);
    out_secondary(&bench, 0, 0x20);
    CHECK(!bench.output.level);
    out_primary(&bench, 0, 0x20);
    CHECK_EQUAL(pic_acknowledge(&bench.pic), 0x2c);
    /* Special fully nested mode lets the more urgent one through. */
    set_up(&bench, 0x10);
    raise(&bench, 12);
    CHECK_EQUAL(pic_acknowledge(&bench.pic), 0x2c);
    raise(&bench, 9);
    CHECK(bench.output.level);
    CHECK_EQUAL(pic_acknowledge(&bench.pic), 0x29);
}

static void test_spurious(void)
{
    struct bench bench;

    set_up(&bench, 0);
    raise(&bench, 3);
    lower(&bench, 3);
    CHECK_EQUAL(pic_acknowledge(&bench.pic), 0x27);
    out_primary(&bench, 0, 0x0b);
    CHECK_EQUAL(in_primary(&bench, 0), 0); /* not in service: no EOI needed */

    /*
     * The secondary's request goes away between the primary's latch and INTA: that can't be seen
     * from outside while the chips are wired directly, so the primary's input is raised by hand.
     */
    bench.pic.chips[0].irr |= 1u << PIC_CASCADE_LINE;
    CHECK_EQUAL(pic_acknowledge(&bench.pic), 0x2f);
    CHECK_EQUAL(in_primary(&bench, 0), 0x04); /* the primary does want an EOI */
}

static void test_auto_eoi_and_rotation(void)
{
    struct bench bench;

    set_up(&bench, 0x02);         /* AEOI */
    out_primary(&bench, 0, 0x80); /* rotate in AEOI mode */
    raise(&bench, 0);
    raise(&bench, 1);
    CHECK_EQUAL(pic_acknowledge(&bench.pic), 0x20);
    lower(&bench, 0);
    raise(&bench, 0);
    CHECK(bench.output.level);
    CHECK_EQUAL(pic_acknowledge(&bench.pic), 0x21); /* 0 is the least urgent now */
    CHECK_EQUAL(pic_acknowledge(&bench.pic), 0x20);
    /* Two requests of the secondary one after the other, without any EOI. */
    raise(&bench, 9);
    raise(&bench, 10);
    CHECK_EQUAL(pic_acknowledge(&bench.pic), 0x29);
    CHECK_EQUAL(pic_acknowledge(&bench.pic), 0x2a);
    CHECK(!bench.output.level);

    set_up(&bench, 0);
    out_primary(&bench, 0, 0xc4); /* set priority: 4 lowest, so 5 highest */
    raise(&bench, 3);
    raise(&bench, 6);
    CHECK_EQUAL(pic_acknowledge(&bench.pic), 0x26);
    out_primary(&bench, 0, 0xa0); /* rotate on non-specific EOI: 6 lowest */
    CHECK_EQUAL(pic_acknowledge(&bench.pic), 0x23);
    raise(&bench, 7);
    CHECK(bench.output.level);    /* 7 is the highest */
    out_primary(&bench, 0, 0xe3); /* rotate on specific EOI: 3 lowest, 4 highest */
    lower(&bench, 6);
    raise(&bench, 6);
    CHECK_EQUAL(pic_acknowledge(&bench.pic), 0x26);
}

static void test_special_mask(void)
{
    struct bench bench;

    set_up(&bench, 0);
    raise(&bench, 2 + 1);
    CHECK_EQUAL(pic_acknowledge(&bench.pic), 0x23);
    raise(&bench, 6);
    CHECK(!bench.output.level);
    out_primary(&bench, 1, 0x08); /* mask the one in service */
    out_primary(&bench, 0, 0x68); /* special mask mode */
    CHECK_EQUAL(pic_acknowledge(&bench.pic), 0x26);
    out_primary(&bench, 0, 0x20); /* ends 6; the masked 3 is passed over */
    out_primary(&bench, 0, 0x0b);
    CHECK_EQUAL(in_primary(&bench, 0), 0x08);
    out_primary(&bench, 0, 0x48); /* off again */
    lower(&bench, 6);
    raise(&bench, 6);
    CHECK(!bench.output.level);
}

static void test_poll(void)
{
    struct bench bench;

    set_up(&bench, 0);
    out_primary(&bench, 0, 0x0c);
    CHECK_EQUAL(in_primary(&bench, 0), 0); /* nobody asks */
    raise(&bench, 4);
    out_primary(&bench, 0, 0x0c);
    CHECK_EQUAL(in_primary(&bench, 0), 0x84);
    CHECK(!bench.output.level); /* the read was the acknowledgement */
    out_primary(&bench, 0, 0x0b);
    CHECK_EQUAL(in_primary(&bench, 0), 0x10);
    raise(&bench, 11);
    out_secondary(&bench, 0, 0x0c);
    CHECK_EQUAL(in_secondary(&bench, 0), 0x83);
}

static void test_initialization(void)
{
    struct bench bench;

    set_up(&bench, 0);
    raise(&bench, 4);
    out_primary(&bench, 0, 0x13); /* single, ICW4 follows */
    CHECK(!bench.output.level);
    out_primary(&bench, 1, 0x47); /* the low bits of ICW2 are not the vector's */
    out_primary(&bench, 1, 0x01);
    CHECK(!bench.output.level); /* ICW1 reset the edge */
    lower(&bench, 4);
    raise(&bench, 4);
    CHECK_EQUAL(pic_acknowledge(&bench.pic), 0x44);
    /* Without ICW4 its functions are zero. */
    set_up(&bench, 0x02);
    out_primary(&bench, 0, 0x12);
    out_primary(&bench, 1, 0x20);
    raise(&bench, 1);
    CHECK_EQUAL(pic_acknowledge(&bench.pic), 0x21);
    out_primary(&bench, 0, 0x0b);
    CHECK_EQUAL(in_primary(&bench, 0), 0x02); /* no automatic EOI any more */
    CHECK_EQUAL(device_read(pic_primary_io, &bench.pic, 7, 1), 0xff);
    device_write(pic_primary_io, &bench.pic, 7, 8, UINT64_MAX);
    pic_reset(&bench.pic);
    CHECK(!bench.output.level);
    CHECK_EQUAL(in_primary(&bench, 1), 0xff);
}

int main(void)
{
    test_after_reset();
    test_edge();
    test_priority();
    test_mask();
    test_level();
    test_cascade();
    test_spurious();
    test_auto_eoi_and_rotation();
    test_special_mask();
    test_poll();
    test_initialization();
    return check_summary();
}
