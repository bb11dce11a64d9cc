/* Writing traces: what is noted is what is read back; slow files, full disks, the run loop. */
#include "vm/exit_trace.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "report/trace_reader.h"
#include "scripted_engine.h"
#include "vm/exit_stats.h"

/* A name that nothing has yet, in a directory of its own. */
struct place {
    char directory[32];
    char path[64];
};

static struct place make_place(void)
{
    struct place place = {.directory = "/tmp/exit-trace-XXXXXX"};
    if (mkdtemp(place.directory) == NULL) {
        abort();
    }
    snprintf(place.path, sizeof(place.path), "%s/trace", place.directory);
    return place;
}

static void remove_place(const struct place *place)
{
    unlink(place->path);
    rmdir(place->directory);
}

static void no_device(void *device, struct bus_access *access)
{
    (void)device;
    (void)access;
}

static struct exit_trace *start_trace(const char *path, unsigned int vcpus)
{
    struct exit_trace *trace = NULL;
    struct error error = {""};
    struct bus ports, mmio;
    bus_init(&ports, "port");
    bus_init(&mmio, "memory");
    bus_map(&ports, 0x3f8, 8, "com1", no_device, NULL);
    bus_map(&mmio, 0xfec00000, 0x1000, "ioapic", no_device, NULL);
    CHECK_EQUAL(exit_trace_create(path, vcpus, &trace, &error), 0);
    CHECK_EQUAL(exit_trace_start(trace, "test", &ports, &mmio, &error), 0);
    CHECK(error.text[0] == '\0');
    return trace;
}

static struct trace_reader *open_reader(FILE *in)
{
    struct trace_reader *reader = NULL;
    struct error error = {""};
    if (in == NULL || !CHECK_EQUAL(trace_reader_create(in, &reader, &error), 0)) {
        fprintf(stderr, "    %s\n", error.text);
        exit(1);
    }
    return reader;
}

/* One exit of each reason with something in it, and what must be read of it. */
static struct vcpu_exit example(enum exit_reason reason, uint8_t *data)
{
    struct vcpu_exit exit = {.reason = reason};
    switch (reason) {
    case EXIT_PIO:
        exit.pio.port = 0x3f8;
        exit.pio.size = 2;
        exit.pio.is_write = true;
        exit.pio.count = 3;
        exit.pio.data = data;
        break;
    case EXIT_MMIO:
        exit.mmio.address = UINT64_C(0xfec00010);
        exit.mmio.size = 3;
        memcpy(exit.mmio.data, data, 3);
        break;
    case EXIT_RDMSR:
    case EXIT_WRMSR:
        exit.msr.index = 0x80b;
        exit.msr.value = UINT64_MAX;
        break;
    case EXIT_HYPERCALL:
        exit.hypercall.number = 5;
        exit.hypercall.result = 6;
        break;
    case EXIT_INSTRUCTION:
        exit.instruction.operation = X86_OP_POPF;
        break;
    default:
        break;
    }
    return exit;
}

static void check_example(const struct trace_info *info, const struct trace_exit *exit,
                          enum exit_reason reason)
{
    const struct trace_record *record = &exit->record;
    CHECK(strcmp(info->kinds[record->kind].name, exit_reason_name(reason)) == 0);
    CHECK_EQUAL(info->kinds[record->kind].is_wait, reason == EXIT_HLT);
    switch (reason) {
    case EXIT_PIO:
        CHECK_EQUAL(record->address, 0x3f8);
        CHECK_EQUAL(record->value, 0x2211);
        CHECK_EQUAL(record->size, 2);
        CHECK_EQUAL(record->count, 3);
        CHECK((record->flags & TRACE_RECORD_WRITE) != 0);
        CHECK(strcmp(trace_info_device(info, TRACE_SPACE_PORT, 0x3f8)->name, "com1") == 0);
        break;
    case EXIT_MMIO:
        CHECK_EQUAL(record->address, 0xfec00010);
        CHECK_EQUAL(record->value, 0x332211);
        CHECK_EQUAL(record->size, 3);
        CHECK_EQUAL(record->count, 1);
        CHECK((record->flags & TRACE_RECORD_WRITE) == 0);
        break;
    case EXIT_RDMSR:
    case EXIT_WRMSR:
        CHECK_EQUAL(record->address, 0x80b);
        CHECK_EQUAL(record->value, UINT64_MAX);
        CHECK_EQUAL((record->flags & TRACE_RECORD_WRITE) != 0, reason == EXIT_WRMSR);
        CHECK(strcmp(trace_info_device(info, TRACE_SPACE_MSR, 0x80b)->name, "x2apic-eoi") == 0);
        break;
    case EXIT_HYPERCALL:
        CHECK_EQUAL(record->address, 5);
        CHECK_EQUAL(record->value, 6);
        break;
    case EXIT_INSTRUCTION:
        CHECK(strcmp(trace_info_device(info, TRACE_SPACE_INSTRUCTION, record->address)->name,
                     "popf") == 0);
        break;
    default:
        CHECK((record->flags & TRACE_RECORD_HAS_ADDRESS) == 0);
        break;
    }
}

static void test_round_trip(void)
{
    struct place place = make_place();
    struct exit_trace *trace = start_trace(place.path, 2);
    struct exit_trace_lane *lane = exit_trace_lane(trace, 1);
    uint8_t data[6] = {0x11, 0x22, 0x33, 0x44, 0x55, 0x66};
    uint64_t start = 0;
    for (unsigned int i = 0; i < EXIT_REASON_COUNT; i++) {
        struct vcpu_exit exit = example((enum exit_reason)i, data);
        /* A good deal later than the trace's start, whenever that was. */
        start = UINT64_C(1) << 50;
        exit_trace_record(lane, &exit, start + 1000 * i, start + 1000 * i + i);
    }
    exit_trace_close_lane(lane, 77);
    exit_trace_close_lane(exit_trace_lane(trace, 0), 0);
    exit_trace_finish(trace);
    exit_trace_finish(trace);
    CHECK_EQUAL(exit_trace_records(trace), EXIT_REASON_COUNT);
    CHECK_EQUAL(exit_trace_lost(trace), 0);
    exit_trace_destroy(trace);

    FILE *in = fopen(place.path, "re");
    struct trace_reader *reader = open_reader(in);
    const struct trace_info *info = trace_reader_info(reader);
    struct trace_exit exit = {.begin_ns = 0};
    uint64_t first = 0;
    CHECK(strcmp(info->engine, "test") == 0);
    for (unsigned int i = 0; i < EXIT_REASON_COUNT; i++) {
        CHECK(trace_reader_next(reader, &exit));
        first = i == 0 ? exit.begin_ns : first;
        CHECK_EQUAL(exit.begin_ns, first + 1000 * i);
        CHECK_EQUAL(exit.duration_ns, i);
        CHECK_EQUAL(exit.vcpu, 1);
        check_example(info, &exit, (enum exit_reason)i);
    }
    CHECK(!trace_reader_next(reader, &exit));
    CHECK(trace_reader_ending(reader)->is_complete);
    CHECK_EQUAL(trace_reader_ending(reader)->engine_ns[1], 77);
    trace_reader_destroy(reader);
    fclose(in);
    remove_place(&place);
}

/* Many chunks, written while others are filled: all of it, in order. */
#define MANY 300000u

static void test_many(void)
{
    struct place place = make_place();
    struct exit_trace *trace = start_trace(place.path, 1);
    struct exit_trace_lane *lane = exit_trace_lane(trace, 0);
    struct vcpu_exit exit = {.reason = EXIT_WRMSR};
    uint64_t start = UINT64_C(1) << 50;
    for (unsigned int i = 0; i < MANY; i++) {
        exit.msr.value = i;
        exit_trace_record(lane, &exit, start + 10 * (uint64_t)i, start + 10 * (uint64_t)i + 3);
    }
    exit_trace_close_lane(lane, 0);
    exit_trace_finish(trace);
    uint64_t records = exit_trace_records(trace), lost = exit_trace_lost(trace);
    CHECK_EQUAL(records + lost, MANY); /* a busy host may well be too slow */
    exit_trace_destroy(trace);

    FILE *in = fopen(place.path, "re");
    struct trace_reader *reader = open_reader(in);
    struct trace_exit read;
    uint64_t last = 0, count = 0;
    bool in_order = true, at_its_time = true;
    while (trace_reader_next(reader, &read)) {
        in_order = in_order && (count == 0 || read.record.value > last);
        at_its_time = at_its_time && (count == 0 || read.duration_ns == 3);
        last = read.record.value;
        count++;
    }
    CHECK(in_order);
    CHECK(at_its_time);
    CHECK_EQUAL(count, records);
    CHECK_EQUAL(trace_reader_ending(reader)->lost, lost);
    CHECK(trace_reader_ending(reader)->is_complete);
    trace_reader_destroy(reader);
    fclose(in);
    remove_place(&place);
}

/* Takes what comes through the FIFO into memory. */
struct drain {
    int file;
    char *bytes;
    size_t size;
};

static void *drain(void *context)
{
    struct drain *drain = context;
    char part[4096];
    FILE *out = open_memstream(&drain->bytes, &drain->size);
    ssize_t length;
    while ((length = read(drain->file, part, sizeof(part))) > 0) {
        fwrite(part, 1, (size_t)length, out);
    }
    fclose(out);
    return NULL;
}

/* Nobody takes what is written: the vCPU goes on, and what there is no room for is counted. */
static void test_too_slow(void)
{
    struct place place = make_place();
    CHECK_EQUAL(mkfifo(place.path, 0600), 0);
    struct drain take = {.file = open(place.path, O_RDONLY | O_NONBLOCK | O_CLOEXEC)};
    struct exit_trace *trace = start_trace(place.path, 1);
    struct exit_trace_lane *lane = exit_trace_lane(trace, 0);
    struct vcpu_exit exit = {.reason = EXIT_KICKED};
    uint64_t start = UINT64_C(1) << 50;
    for (unsigned int i = 0; i < 10 * MANY; i++) {
        exit_trace_record(lane, &exit, start + i, start + i);
    }
    pthread_t thread;
    fcntl(take.file, F_SETFL, 0);
    CHECK_EQUAL(pthread_create(&thread, NULL, drain, &take), 0);
    exit_trace_close_lane(lane, 0);
    exit_trace_finish(trace);
    pthread_join(thread, NULL);
    CHECK(exit_trace_lost(trace) > MANY);
    CHECK_EQUAL(exit_trace_records(trace) + exit_trace_lost(trace), 10 * MANY);

    FILE *in = fmemopen(take.bytes, take.size, "r");
    struct trace_reader *reader = open_reader(in);
    struct trace_exit read;
    while (trace_reader_next(reader, &read)) {
    }
    CHECK(trace_reader_ending(reader)->is_complete);
    CHECK_EQUAL(trace_reader_ending(reader)->records, exit_trace_records(trace));
    CHECK_EQUAL(trace_reader_ending(reader)->lost, exit_trace_lost(trace));
    trace_reader_destroy(reader);
    fclose(in);
    free(take.bytes);
    close(take.file);
    exit_trace_destroy(trace);
    remove_place(&place);
}

/* A full disk ends the tracing and nothing else; the file says that it is not whole. */
static void test_full_disk(void)
{
    struct exit_trace *trace = start_trace("/dev/full", 1);
    struct exit_trace_lane *lane = exit_trace_lane(trace, 0);
    struct vcpu_exit exit = {.reason = EXIT_HLT};
    for (unsigned int i = 0; i < MANY; i++) {
        exit_trace_record(lane, &exit, UINT64_C(1) << 50, UINT64_C(1) << 50);
    }
    exit_trace_close_lane(lane, 0);
    exit_trace_finish(trace);
    CHECK_EQUAL(exit_trace_records(trace) + exit_trace_lost(trace), MANY);
    CHECK_EQUAL(exit_trace_records(trace), 0); /* it was full before the first one */
    exit_trace_destroy(trace);
}

static void test_files_that_cannot_be(void)
{
    struct place place = make_place();
    struct exit_trace *trace;
    struct error error;
    CHECK_EQUAL(exit_trace_create("/nowhere/at/all", 1, &trace, &error), -ENOENT);
    CHECK(strstr(error.text, "/nowhere/at/all") != NULL);
    CHECK_EQUAL(exit_trace_create(place.directory, 1, &trace, &error), -EISDIR);
    CHECK_EQUAL(mkfifo(place.path, 0600), 0);
    CHECK_EQUAL(exit_trace_create(place.path, 1, &trace, &error), -ENXIO); /* nobody reads */
    unlink(place.path);
    /* Something that is no trace is kept; a trace is written anew. */
    FILE *kernel = fopen(place.path, "we");
    fputs("a kernel, say", kernel);
    fclose(kernel);
    CHECK_EQUAL(exit_trace_create(place.path, 1, &trace, &error), -EEXIST);
    CHECK(strstr(error.text, "is no trace") != NULL);
    unlink(place.path);
    for (unsigned int i = 0; i < 2; i++) {
        exit_trace_destroy(start_trace(place.path, 1));
    }
    exit_trace_destroy(NULL);
    remove_place(&place);
}

/* The run loop: what the trace has is what the statistics have counted. */
static void test_run_loop(void)
{
    struct place place = make_place();
    struct exit_trace *trace = NULL;
    struct error error = {""};
    memset(&script, 0, sizeof(script));
    CHECK_EQUAL(exit_trace_create(place.path, 2, &trace, &error), 0);
    struct vm_options options = {.engine = &script_engine,
                                 .memory = make_memory(),
                                 .vcpu_count = 2,
                                 .tsc_hz = 1000000000,
                                 .trace = trace};
    struct vm *vm = NULL;
    uint8_t data[4] = {1, 2, 3, 4};
    CHECK_EQUAL(vm_create(&options, &vm, &error), 0);
    for (unsigned int i = 0; i < 20; i++) {
        script.steps[0][i] = exit_step(i % 2 != 0 ? EXIT_PIO : EXIT_KICKED);
        if (i % 2 != 0) {
            script.steps[0][i].exit = example(EXIT_PIO, data);
            script.steps[0][i].exit.pio.count = 1;
        }
    }
    script.steps[0][20] = (struct step){.kind = STEP_CODE, .code = -EINTR}; /* no exit */
    script.steps[0][21] = exit_step(EXIT_SHUTDOWN);
    start(vm);
    CHECK_EQUAL(vm_wait(vm), VM_TRIPLE_FAULT);
    uint64_t kicked = exit_stats_total(vm->vcpus[0].stats, EXIT_KICKED);
    uint64_t engine_ns = exit_stats_run_ns(vm->vcpus[0].stats);
    CHECK_EQUAL(exit_stats_total(vm->vcpus[0].stats, EXIT_PIO), 10);
    vm_destroy(vm);
    exit_trace_destroy(trace);

    FILE *in = fopen(place.path, "re");
    struct trace_reader *reader = open_reader(in);
    struct trace_exit exit;
    uint64_t counts[EXIT_REASON_COUNT] = {0};
    while (trace_reader_next(reader, &exit)) {
        counts[exit.record.kind] += exit.vcpu == 0 ? 1 : 0;
    }
    CHECK_EQUAL(counts[EXIT_PIO], 10);
    CHECK_EQUAL(counts[EXIT_KICKED], kicked);
    CHECK_EQUAL(counts[EXIT_SHUTDOWN], 1);
    CHECK_EQUAL(trace_reader_ending(reader)->engine_ns[0], engine_ns);
    CHECK(trace_reader_ending(reader)->is_complete);
    trace_reader_destroy(reader);
    fclose(in);
    remove_place(&place);
}

int main(void)
{
    test_round_trip();
    test_many();
    test_too_slow();
    test_full_disk();
    test_files_that_cannot_be();
    test_run_loop();
    return check_summary();
}
