/* Whole machines come and go: whatever ends them and whenever, nothing of theirs stays behind. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "engines/null/null.h"
#include "machine/machine.h"

#define CYCLES      60
#define CYCLES_SLOW 10 /* on an engine that a kernel may interpret */

/* Real mode: the PIT fires as often as it can, and COM1 gets characters for ever. */
static const uint8_t busy_guest[] = {
    0xb0, 0x34, 0xe6, 0x43, /* mov al, 34h; out 43h, al: channel 0, mode 2 */
    0xb0, 0x02, 0xe6, 0x40, /* mov al, 2; out 40h, al: its divisor */
    0xb0, 0x00, 0xe6, 0x40, /* mov al, 0; out 40h, al */
    0xba, 0xf8, 0x03,       /* mov dx, 3f8h */
    0xee, 0xeb, 0xfd,       /* out dx, al; jmp back to it */
};

/* One character, then the debug-exit port gets a 5. */
static const uint8_t ending_guest[] = {
    0xba, 0xf8, 0x03,       /* mov dx, 3f8h */
    0xee,                   /* out dx, al */
    0xb0, 0x05, 0xe6, 0xf4, /* mov al, 5; out 0f4h, al */
    0xeb, 0xfe,             /* jmp $ */
};

/* Two vCPUs that only a stop can end. */
static const uint8_t idle_guest[] = {0xfb, 0xf4, 0xeb, 0xfc}; /* sti; hlt; jmp to the sti */

static unsigned int count_entries(const char *path)
{
    unsigned int count = 0;
    DIR *directory = opendir(path);
    if (directory == NULL) {
        return 0;
    }
    while (readdir(directory) != NULL) {
        count++;
    }
    closedir(directory);
    return count;
}

/* A thread that was joined is listed for a moment more. True once there are so many, at last. */
static bool come_to(unsigned int threads)
{
    struct timespec delay = {.tv_nsec = 1000000};
    for (unsigned int i = 0; i < 10000 && count_entries("/proc/self/task") != threads; i++) {
        nanosleep(&delay, NULL);
    }
    return count_entries("/proc/self/task") == threads;
}

static void write_image(char *path, const uint8_t *code, size_t length)
{
    int file = mkstemp(path);
    if (!CHECK(file >= 0 && write(file, code, length) == (ssize_t)length)) {
        exit(1);
    }
    close(file);
}

struct cycle {
    const struct engine_ops *engine;
    const char *image;
    uint64_t delay_ns;       /* before it is stopped; 0: at once */
    bool stops;              /* else the guest ends it */
    enum vm_outcome outcome; /* expected */
    unsigned int vcpu_count;
};

static void run_cycle(const struct cycle *cycle)
{
    struct console *console;
    struct machine *machine;
    struct error error;
    if (!CHECK_EQUAL(console_open("file:/dev/null", &console, &error), 0)) {
        return;
    }
    struct machine_options options = {.engine = cycle->engine,
                                      .memory_bytes = 2 << 20,
                                      .vcpu_count = cycle->vcpu_count,
                                      .debug_exit_port = 0xf4,
                                      .console = console};
    if (CHECK_EQUAL(machine_create(&options, &machine, &error), 0)) {
        struct boot_request request = {.kernel = cycle->image,
                                       .protocol = BOOT_PROTOCOL_FLAT,
                                       .flat_mode = BOOT_MODE_REAL,
                                       .flat_address = 0x8000};
        struct machine_result result;
        CHECK_EQUAL(machine_load(machine, &request, &error), 0);
        CHECK_EQUAL(machine_start(machine, &error), 0);
        if (cycle->stops) {
            struct timespec delay = {.tv_nsec = (long)cycle->delay_ns};
            nanosleep(&delay, NULL);
            machine_stop(machine, VM_QUIT, 0, "the test");
        }
        machine_wait(machine, &result);
        CHECK_EQUAL(result.outcome, cycle->outcome);
        machine_destroy(machine);
    }
    console_close(console);
}

static void run_cycles(const struct engine_ops *engine, const char *busy, const char *idle,
                       const char *ending, unsigned int count)
{
    bool has_cpu = engine != &null_engine;
    unsigned int threads = count_entries("/proc/self/task");
    struct cycle busy_cycle = {
        .engine = engine, .image = busy, .stops = true, .vcpu_count = 2, .outcome = VM_QUIT};
    struct cycle idle_cycle = busy_cycle;
    struct cycle ending_cycle = busy_cycle;
    idle_cycle.image = idle;
    ending_cycle.image = ending;
    ending_cycle.stops = false;
    ending_cycle.outcome = VM_DEBUG_EXIT;

    run_cycle(&busy_cycle); /* whatever is made once for the process is there now */
    unsigned int descriptors = count_entries("/proc/self/fd");
    for (unsigned int i = 0; i < count; i++) {
        /* From "before any vCPU ran" to "in the middle of things". */
        busy_cycle.delay_ns = idle_cycle.delay_ns = (uint64_t)(i % 10) * 150000;
        run_cycle(&busy_cycle);
        run_cycle(&idle_cycle);
        if (has_cpu) {
            run_cycle(&ending_cycle);
        }
    }
    CHECK_EQUAL(count_entries("/proc/self/fd"), descriptors);
    CHECK(come_to(threads));
}

/* A machine that was made and loaded, but never started. */
static void test_never_started(void)
{
    unsigned int descriptors = count_entries("/proc/self/fd");
    for (unsigned int i = 0; i < CYCLES; i++) {
        struct console *console;
        struct machine *machine;
        struct error error;
        CHECK_EQUAL(console_open("none", &console, &error), 0);
        struct machine_options options = {.engine = &null_engine,
                                          .memory_bytes = 2 << 20,
                                          .vcpu_count = 1 + i % VM_VCPUS_MAX,
                                          .debug_exit_port = i % 2 == 0 ? 0xf4 : 0x3f8,
                                          .console = console};
        int code = machine_create(&options, &machine, &error);
        CHECK_EQUAL(code, i % 2 == 0 ? 0 : -EINVAL); /* COM1 has port 3f8h */
        machine_destroy(code == 0 ? machine : NULL);
        console_close(console);
    }
    CHECK_EQUAL(count_entries("/proc/self/fd"), descriptors);
}

int main(void)
{
    char busy[] = "/tmp/trapeze-cycle-busy-XXXXXX";
    char ending[] = "/tmp/trapeze-cycle-ending-XXXXXX";
    char idle[] = "/tmp/trapeze-cycle-idle-XXXXXX";
    write_image(busy, busy_guest, sizeof(busy_guest));
    write_image(ending, ending_guest, sizeof(ending_guest));
    write_image(idle, idle_guest, sizeof(idle_guest));
    test_never_started();
    for (unsigned int i = 0; engine_table[i] != NULL; i++) {
        struct engine_probe probe;
        engine_table[i]->probe(&probe);
        if (!probe.usable) {
            SKIP("an engine that this host does not have");
            continue;
        }
        run_cycles(engine_table[i], busy, idle, ending,
                   probe.mips > 0 && probe.mips < 100 ? CYCLES_SLOW : CYCLES);
    }
    unlink(busy);
    unlink(ending);
    unlink(idle);
    return check_summary();
}
