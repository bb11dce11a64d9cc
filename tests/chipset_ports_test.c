/*
 * The small port devices: reset control, debug exit, pvpanic, POST code, keyboard controller,
 * the test device of exams.
 */
#include "check.h"
#include "chipset/debug_exit.h"
#include "chipset/i8042.h"
#include "chipset/post_code.h"
#include "chipset/pvpanic.h"
#include "chipset/reset.h"
#include "chipset/test_device.h"
#include "chipset_helpers.h"

static void test_reset_control(void)
{
    struct watched_stop stop = {0};
    struct reset_control reset;

    reset_control_init(&reset, &(struct reset_control_config){watched_control(&stop)});
    CHECK_EQUAL(device_read(reset_control_io, &reset, 1, 1), 0);
    device_write(reset_control_io, &reset, 1, 1, 0xf2);
    CHECK_EQUAL(device_read(reset_control_io, &reset, 1, 1), 0x02);
    CHECK_EQUAL(stop.count, 0);
    device_write(reset_control_io, &reset, 1, 1, RESET_ACPI_VALUE);
    CHECK_EQUAL(stop.count, 1);
    CHECK_EQUAL(stop.outcome, VM_RESET);
    device_write(reset_control_io, &reset, 1, 1, RESET_ACPI_VALUE);
    CHECK_EQUAL(stop.count, 1); /* the edge resets, not the level */
    reset_control_reset(&reset);
    device_write(reset_control_io, &reset, 1, 1, 0x04); /* soft */
    CHECK_EQUAL(stop.count, 2);
    /* A PCI configuration address whose second byte looks like a reset is none. */
    reset_control_reset(&reset);
    device_write(reset_control_io, &reset, 0, 4, 0x80000600);
    device_write(reset_control_io, &reset, 0, 2, 0x0600);
    device_write(reset_control_io, &reset, 0, 1, 0x06);
    device_write(reset_control_io, &reset, 2, 1, 0x06);
    CHECK_EQUAL(device_read(reset_control_io, &reset, 0, 4) & UINT32_MAX, UINT32_MAX);
    CHECK_EQUAL(device_read(reset_control_io, &reset, 1, 1), 0);
    CHECK_EQUAL(stop.count, 2);
}

static void test_debug_exit(void)
{
    struct watched_stop stop = {0};
    struct debug_exit debug_exit;

    debug_exit_init(&debug_exit, &(struct debug_exit_config){watched_control(&stop)});
    CHECK_EQUAL(device_read(debug_exit_io, &debug_exit, 0, 4), 0);
    CHECK_EQUAL(stop.count, 0);
    device_write(debug_exit_io, &debug_exit, 0, 1, 0xffffff05);
    CHECK_EQUAL(stop.outcome, VM_DEBUG_EXIT);
    CHECK_EQUAL(stop.code, 5);
    device_write(debug_exit_io, &debug_exit, 0, 2, 0x1234);
    CHECK_EQUAL(stop.code, 0x1234);
    device_write(debug_exit_io, &debug_exit, 0, 4, 0xffffffff);
    CHECK_EQUAL(stop.code, 0x7fffffff); /* never negative */
    debug_exit_reset(&debug_exit);
    CHECK_EQUAL(stop.count, 3);
}

static void test_pvpanic(void)
{
    struct watched_stop stop = {0};
    struct pvpanic pvpanic;

    pvpanic_init(&pvpanic, &(struct pvpanic_config){watched_control(&stop)});
    CHECK_EQUAL(device_read(pvpanic_io, &pvpanic, 0, 1), 3);
    device_write(pvpanic_io, &pvpanic, 0, 1, PVPANIC_CRASH_LOADED); /* it goes on to dump */
    CHECK_EQUAL(stop.count, 0);
    device_write(pvpanic_io, &pvpanic, 0, 1, PVPANIC_PANICKED);
    CHECK_EQUAL(stop.count, 1);
    CHECK_EQUAL(stop.outcome, VM_PANICKED);
    device_write(pvpanic_io, &pvpanic, 1, 1, PVPANIC_PANICKED);
    pvpanic_reset(&pvpanic);
    CHECK_EQUAL(stop.count, 1);
}

static void test_post_code(void)
{
    struct post_code post_code;

    post_code_init(&post_code);
    CHECK_EQUAL(device_read(post_code_io, &post_code, 0, 1), 0);
    device_write(post_code_io, &post_code, 0, 2, 0x12a5);
    CHECK_EQUAL(device_read(post_code_io, &post_code, 0, 2), 0xffa5);
    post_code_reset(&post_code);
    CHECK_EQUAL(post_code.value, 0);
}

struct keyboard_bench {
    struct i8042 i8042;
    struct watched_line irq1, irq12;
    struct watched_stop stop;
};

static void command(struct keyboard_bench *bench, uint8_t value)
{
    device_write(i8042_status_io, &bench->i8042, 0, 1, value);
}

static void data(struct keyboard_bench *bench, uint8_t value)
{
    device_write(i8042_data_io, &bench->i8042, 0, 1, value);
}

static uint8_t status(struct keyboard_bench *bench)
{
    return (uint8_t)device_read(i8042_status_io, &bench->i8042, 0, 1);
}

static uint8_t answer(struct keyboard_bench *bench)
{
    return (uint8_t)device_read(i8042_data_io, &bench->i8042, 0, 1);
}

static void test_keyboard_controller(void)
{
    struct keyboard_bench bench = {0};

    i8042_init(&bench.i8042, &(struct i8042_config){.irq1 = watched_irq(&bench.irq1),
                                                    .irq12 = watched_irq(&bench.irq12),
                                                    .control = watched_control(&bench.stop)});
    CHECK_EQUAL(status(&bench), 0x10);
    command(&bench, 0xaa);
    CHECK_EQUAL(status(&bench) & 0x0f, 0x0d);
    CHECK_EQUAL(answer(&bench), 0x55);
    CHECK_EQUAL(status(&bench) & 0x01, 0);
    command(&bench, 0xab);
    CHECK_EQUAL(answer(&bench), 0x00);
    command(&bench, 0x60);
    data(&bench, 0x03); /* both interrupts */
    command(&bench, 0x20);
    CHECK_EQUAL(answer(&bench), 0x03);
    command(&bench, 0xd2); /* as if a key had been pressed */
    data(&bench, 0x1c);
    CHECK(bench.irq1.level);
    CHECK_EQUAL(answer(&bench), 0x1c);
    CHECK(!bench.irq1.level);
    command(&bench, 0xd3);
    data(&bench, 0x77);
    CHECK(bench.irq12.level && !bench.irq1.level);
    CHECK_EQUAL(status(&bench) & 0x21, 0x21);
    CHECK_EQUAL(answer(&bench), 0x77);
    data(&bench, 0xff); /* reset the keyboard: nobody answers */
    CHECK_EQUAL(status(&bench) & 0x41, 0x41);
    CHECK_EQUAL(answer(&bench), 0xfe);
    command(&bench, 0xd4);
    data(&bench, 0xff);
    CHECK_EQUAL(status(&bench) & 0x61, 0x61);
    answer(&bench);
    command(&bench, 0x65); /* the controller's RAM */
    data(&bench, 0x99);
    command(&bench, 0x25);
    CHECK_EQUAL(answer(&bench), 0x99);
    /* A command in place of a data byte forgets the first. */
    command(&bench, 0x60);
    command(&bench, 0xa8);
    data(&bench, 0x00);
    command(&bench, 0x20);
    CHECK_EQUAL(answer(&bench) & 0x03, 0x03);
    CHECK_EQUAL(bench.stop.count, 0);
}

static void test_reset_lines(void)
{
    struct keyboard_bench bench = {0};

    i8042_init(&bench.i8042, &(struct i8042_config){.control = watched_control(&bench.stop)});
    command(&bench, 0xff); /* pulse nothing */
    CHECK_EQUAL(bench.stop.count, 0);
    command(&bench, 0xfe);
    CHECK_EQUAL(bench.stop.count, 1);
    CHECK_EQUAL(bench.stop.outcome, VM_RESET);
    command(&bench, 0xd0);
    CHECK_EQUAL(answer(&bench) & 0x03, 0x03);
    command(&bench, 0xd1);
    data(&bench, 0xdd); /* A20 off; kept, but it masks nothing */
    command(&bench, 0xd0);
    CHECK_EQUAL(answer(&bench), 0xdd);
    CHECK_EQUAL(bench.stop.count, 1);
    command(&bench, 0xdf);
    command(&bench, 0xd0);
    CHECK_EQUAL(answer(&bench), 0xdf);
    command(&bench, 0xd1);
    data(&bench, 0xfe);
    CHECK_EQUAL(bench.stop.count, 2);
    device_write(i8042_port92_io, &bench.i8042, 0, 1, 0x02);
    CHECK_EQUAL(bench.stop.count, 2);
    device_write(i8042_port92_io, &bench.i8042, 0, 1, 0x03);
    CHECK_EQUAL(bench.stop.count, 3);
    device_write(i8042_port92_io, &bench.i8042, 0, 1, 0x03);
    CHECK_EQUAL(bench.stop.count, 3);
    CHECK_EQUAL(device_read(i8042_port92_io, &bench.i8042, 0, 1), 0x03);
    i8042_reset(&bench.i8042);
    CHECK_EQUAL(device_read(i8042_port92_io, &bench.i8042, 0, 1), 0x02);
    for (unsigned int value = 0; value < 256; value++) {
        command(&bench, (uint8_t)value);
        answer(&bench);
    }
    CHECK_EQUAL(bench.stop.count, 3 + 8); /* F0h, F2h … FEh */
}

static void test_test_device(void)
{
    static struct test_device device;
    struct watched_line lines[TEST_DEVICE_LINES] = {0};
    struct test_device_config config;

    for (unsigned int i = 0; i < TEST_DEVICE_LINES; i++) {
        config.lines[i] = watched_irq(&lines[i]);
    }
    test_device_init(&device, &config);
    device_write(test_device_latch_io, &device, 0, 4, 0xff12345678);
    CHECK_EQUAL(device_read(test_device_latch_io, &device, 0, 4), 0x12345678);
    device_write(test_device_latch_io, &device, 0, 2, 0xabcd);
    device_write(test_device_latch_io, &device, 3, 1, 0xef);
    CHECK_EQUAL(device_read(test_device_latch_io, &device, 0, 4), 0xef34abcd);
    CHECK_EQUAL(device_read(test_device_latch_io, &device, 1, 1), 0xab);
    device_write(test_device_flush_io, &device, 0, 4, 1);
    CHECK_EQUAL(device_read(test_device_flush_io, &device, 0, 4), 0);

    device_write(test_device_lines_io, &device, 23, 1, 1);
    CHECK(lines[23].level);
    device_write(test_device_lines_io, &device, 22, 4, 0x100); /* level 0; touches no other line */
    CHECK(lines[23].level && !lines[22].level);
    device_write(test_device_lines_io, &device, 23, 1, 0);
    CHECK(!lines[23].level);
    device_write(test_device_lines_io, &device, 24, 1, 1);
    for (unsigned int i = 0; i < TEST_DEVICE_LINES; i++) {
        CHECK_EQUAL(lines[i].rises, i == 23);
    }

    device_write(test_device_window_io, &device, 0xfff8, 8, 0x1122334455667788);
    CHECK_EQUAL(device_read(test_device_window_io, &device, 0xfffb, 2), 0x4455);
    CHECK_EQUAL(device_read(test_device_window_io, &device, 0, 8), 0);
    test_device_reset(&device);
    CHECK_EQUAL(device_read(test_device_window_io, &device, 0xfff8, 8), 0);
    CHECK_EQUAL(device_read(test_device_latch_io, &device, 0, 4), 0);
}

int main(void)
{
    test_reset_control();
    test_debug_exit();
    test_pvpanic();
    test_post_code();
    test_keyboard_controller();
    test_reset_lines();
    test_test_device();
    return check_summary();
}
