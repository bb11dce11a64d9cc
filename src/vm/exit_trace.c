#include "vm/exit_trace.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/event_count.h"
#include "base/host_file.h"
#include "base/log.h"
#include "base/threads.h"
#include "vm/trace_format.h"
#include "vm/trace_record.h"
#include "x86/msr.h"
#include "x86/sensitive.h"

#define INSTRUCTION_NAMES_MAX 100u /* rows of x86/sensitive.h */
#define CHUNKS                16u  /* of each vCPU: a megabyte, or some 100,000 exits */
#define NANOSECONDS_A_SECOND  UINT64_C(1000000000)

/* How long a pipe's reader may take nothing when all else has ended, and how often that is asked.
 */
#define PATIENCE_MS 2000u
#define WAIT_MS     100

struct chunk {
    struct trace_chunk_header header;
    uint8_t payload[TRACE_PAYLOAD_MAX];
};

/*
 * A ring of chunks with one writer and one reader: of the chunks counted by `filled`, those not
 * counted by `written` are the trace's thread's, the others the vCPU's.
 */
struct exit_trace_lane {
    _Alignas(64) struct exit_trace *trace;
    unsigned int vcpu;
    struct chunk *chunks;
    struct chunk *current; /* the one being filled; NULL: none is free, or none was needed yet */
    uint64_t end;          /* of the last exit, in ticks */
    uint64_t records, lost;
    uint64_t lost_before; /* those since the last chunk was filled */
    uint64_t engine_ticks;
    atomic_uint filled;
    _Alignas(64) atomic_uint written; /* on a line of its own: another thread writes it */
};

struct exit_trace {
    const char *path;
    int file; /* -1: closed */
    unsigned int vcpu_count;
    struct exit_trace_lane *lanes;
    pthread_t thread;
    bool thread_started;
    struct event_count work;
    atomic_bool guest_runs; /* the trace is neither begun nor finished now */
    atomic_bool failed;     /* the file takes no more */
    uint64_t records, lost;
};

/* ---- the file ---- */

static void give_up(struct exit_trace *trace, const char *why)
{
    log_warn("cannot write the trace %s: %s; tracing ends here, the guest goes on", trace->path,
             why);
    atomic_store(&trace->failed, true);
}

/*
 * Waits until a pipe takes more: while the guest runs as long as it may take, for it does not wait
 * for this thread; before and after that no longer than people do. False: it takes nothing.
 */
static bool wait_for_reader(struct exit_trace *trace)
{
    struct pollfd pipe = {.fd = trace->file, .events = POLLOUT};
    for (unsigned int waited = 0; waited < PATIENCE_MS; waited += WAIT_MS) {
        if (poll(&pipe, 1, WAIT_MS) > 0) {
            return true; /* or it has an error, which write tells */
        }
        if (atomic_load(&trace->guest_runs)) {
            waited = 0;
        }
    }
    return false;
}

/* Writes it all, or says once why that is over. */
static void write_all(struct exit_trace *trace, const void *bytes, size_t length)
{
    const uint8_t *at = bytes;
    while (length != 0 && !atomic_load_explicit(&trace->failed, memory_order_relaxed)) {
        ssize_t written = write(trace->file, at, length);
        if (written > 0) {
            at += written;
            length -= (size_t)written;
        } else if (written < 0 && errno == EAGAIN) {
            if (!wait_for_reader(trace)) {
                give_up(trace, "its reader takes nothing any more");
            }
        } else if (written < 0 && errno != EINTR) {
            give_up(trace, strerror(errno));
        }
    }
}

static void write_chunk(struct exit_trace *trace, struct trace_chunk_header *header,
                        const void *payload)
{
    header->checksum = trace_chunk_checksum(*header, payload);
    /* In a chunk the payload is right behind its header; the last chunk is made of two pieces. */
    if (payload == (const void *)(header + 1)) {
        write_all(trace, header, sizeof(*header) + header->length);
    } else {
        write_all(trace, header, sizeof(*header));
        write_all(trace, payload, header->length);
    }
}

/* Writes the chunks that a vCPU has filled; false if there are none. */
static bool drain(struct exit_trace_lane *lane)
{
    unsigned int filled = atomic_load_explicit(&lane->filled, memory_order_acquire);
    unsigned int written = atomic_load_explicit(&lane->written, memory_order_relaxed);
    bool any = written != filled;
    for (; written != filled; written++) {
        struct chunk *chunk = &lane->chunks[written % CHUNKS];
        write_chunk(lane->trace, &chunk->header, chunk->payload);
        atomic_store_explicit(&lane->written, written + 1, memory_order_release);
    }
    return any;
}

static void *writer_thread(void *context)
{
    struct exit_trace *trace = context;
    for (;;) {
        unsigned int ticket = event_count_ticket(&trace->work);
        bool finishing = !atomic_load(&trace->guest_runs);
        bool any = false;
        for (unsigned int i = 0; i < trace->vcpu_count; i++) {
            any = drain(&trace->lanes[i]) || any;
        }
        if (!any && finishing) {
            return NULL;
        }
        if (!any) {
            event_count_wait(&trace->work, ticket);
        }
    }
}

/* ---- the header ---- */

/* Bytes that are appended to, in a space of TRACE_HEADER_MAX that holds all that there can be. */
struct names {
    uint8_t *bytes;
    size_t used;
};

_Static_assert(sizeof(struct trace_file_header) + TRACE_KINDS_MAX * (3 + TRACE_NAME_MAX) +
                       TRACE_DEVICES_MAX * (18 + TRACE_NAME_MAX) + 1 + TRACE_NAME_MAX <=
                   TRACE_HEADER_MAX,
               "the longest header fits");

static void put(struct names *names, const void *bytes, size_t length)
{
    memcpy(names->bytes + names->used, bytes, length);
    names->used += length;
}

static void put_byte(struct names *names, unsigned int byte)
{
    names->bytes[names->used++] = (uint8_t)byte;
}

static void put_name(struct names *names, const char *name)
{
    size_t length = strnlen(name, TRACE_NAME_MAX);
    put_byte(names, (unsigned int)length);
    put(names, name, length);
}

static void put_kinds(struct names *names)
{
    static const uint8_t spaces[EXIT_REASON_COUNT] = {
        [EXIT_PIO] = TRACE_SPACE_PORT,        [EXIT_MMIO] = TRACE_SPACE_MEMORY,
        [EXIT_RDMSR] = TRACE_SPACE_MSR,       [EXIT_WRMSR] = TRACE_SPACE_MSR,
        [EXIT_HYPERCALL] = TRACE_SPACE_OTHER, [EXIT_INSTRUCTION] = TRACE_SPACE_INSTRUCTION,
    };
    for (unsigned int i = 0; i < EXIT_REASON_COUNT; i++) {
        put_byte(names, spaces[i]);
        put_byte(names, i == EXIT_HLT ? TRACE_KIND_IS_WAIT : 0);
        put_name(names, exit_reason_name((enum exit_reason)i));
    }
}

static void put_device(struct names *names, enum trace_space space, uint64_t base, uint64_t length,
                       const char *name)
{
    put_byte(names, space);
    put(names, &base, sizeof(base));
    put(names, &length, sizeof(length));
    put_name(names, name);
}

static void put_devices(struct names *names, const struct bus *bus, enum trace_space space)
{
    for (unsigned int i = 0; i < bus->count; i++) {
        const struct bus_mapping *mapping = &bus->mappings[i];
        put_device(names, space, mapping->base, mapping->length, mapping->name);
    }
}

/* The MSRs that an engine leaves to the machine's local APIC; where two fit, the first counts. */
static const struct {
    uint32_t base, length;
    const char *name;
} msr_names[] = {
    {X86_MSR_IA32_APIC_BASE, 1, "apic-base"},
    {X86_MSR_IA32_TSC_DEADLINE, 1, "tsc-deadline"},
    {X86_MSR_IA32_X2APIC_EOI, 1, "x2apic-eoi"},
    {X86_MSR_IA32_X2APIC_ICR, 1, "x2apic-icr"},
    {X86_MSR_IA32_X2APIC_INIT_COUNT, 2, "x2apic-timer"},
    {X86_MSR_IA32_X2APIC_FIRST, X86_MSR_IA32_X2APIC_LAST - X86_MSR_IA32_X2APIC_FIRST + 1, "x2apic"},
};
#define MSR_NAMES (sizeof(msr_names) / sizeof(msr_names[0]))

static void put_msrs(struct names *names)
{
    for (unsigned int i = 0; i < MSR_NAMES; i++) {
        put_device(names, TRACE_SPACE_MSR, msr_names[i].base, msr_names[i].length,
                   msr_names[i].name);
    }
}

/* Those that have an exit of their own are known by that; returns how many are left. */
static uint32_t put_instructions(struct names *names)
{
    uint32_t count = 0;
    for (unsigned int i = 0; i < X86_OP_COUNT; i++) {
        const struct x86_sensitive *row = x86_sensitive_find((enum x86_operation)i);
        if (row != NULL && !row->always_leaves && count < INSTRUCTION_NAMES_MAX) {
            put_device(names, TRACE_SPACE_INSTRUCTION, i, 1, row->name);
            count++;
        }
    }
    return count;
}

_Static_assert(2 * BUS_MAPPINGS_MAX + MSR_NAMES + INSTRUCTION_NAMES_MAX <= TRACE_DEVICES_MAX,
               "each device is named");

static void write_header(struct exit_trace *trace, const char *engine, const struct bus *ports,
                         const struct bus *mmio)
{
    uint8_t bytes[TRACE_HEADER_MAX];
    struct names names = {.bytes = bytes, .used = sizeof(struct trace_file_header)};
    put_name(&names, engine);
    put_kinds(&names);
    put_devices(&names, ports, TRACE_SPACE_PORT);
    put_devices(&names, mmio, TRACE_SPACE_MEMORY);
    put_msrs(&names);
    uint32_t instructions = put_instructions(&names);
    struct timespec wall;
    clock_gettime(CLOCK_REALTIME, &wall);
    uint64_t start = clock_now_ns();
    struct trace_file_header header = {
        .magic = TRACE_MAGIC,
        .version = TRACE_VERSION,
        .length = (uint32_t)names.used,
        .ticks_per_second = NANOSECONDS_A_SECOND,
        .start_ticks = start,
        .start_unix_ns = (uint64_t)wall.tv_sec * NANOSECONDS_A_SECOND + (uint64_t)wall.tv_nsec,
        .vcpu_count = trace->vcpu_count,
        .kind_count = EXIT_REASON_COUNT,
        .device_count = ports->count + mmio->count + (uint32_t)MSR_NAMES + instructions,
    };
    header.checksum = trace_header_checksum(header, bytes);
    memcpy(bytes, &header, sizeof(header));
    write_all(trace, bytes, names.used);
    for (unsigned int i = 0; i < trace->vcpu_count; i++) {
        trace->lanes[i].end = start;
    }
}

/* ---- the vCPU's side ---- */

static void hand_over(struct exit_trace_lane *lane, uint32_t length)
{
    unsigned int filled = atomic_load_explicit(&lane->filled, memory_order_relaxed);
    lane->current->header.length = length;
    lane->current = NULL;
    atomic_store_explicit(&lane->filled, filled + 1, memory_order_release);
    event_count_signal(&lane->trace->work);
}

/* Takes the next chunk, if one is free. */
static bool begin_chunk(struct exit_trace_lane *lane)
{
    unsigned int filled = atomic_load_explicit(&lane->filled, memory_order_relaxed);
    unsigned int written = atomic_load_explicit(&lane->written, memory_order_acquire);
    if (filled - written == CHUNKS ||
        atomic_load_explicit(&lane->trace->failed, memory_order_relaxed)) {
        return false;
    }
    lane->current = &lane->chunks[filled % CHUNKS];
    lane->current->header = (struct trace_chunk_header){.magic = TRACE_CHUNK_MAGIC,
                                                        .kind = TRACE_CHUNK_EXITS,
                                                        .vcpu = (uint16_t)lane->vcpu,
                                                        .start_ticks = lane->end,
                                                        .lost = lane->lost_before};
    lane->lost_before = 0;
    return true;
}

/* Room for one more record, in this chunk or the next. */
static bool have_room(struct exit_trace_lane *lane)
{
    if (lane->current != NULL) {
        uint32_t used = lane->current->header.length;
        if (TRACE_PAYLOAD_MAX - used >= TRACE_RECORD_MAX) {
            return true;
        }
        hand_over(lane, used);
    }
    return begin_chunk(lane);
}

void exit_trace_record(struct exit_trace_lane *lane, const struct vcpu_exit *exit, uint64_t left,
                       uint64_t served)
{
    uint64_t begin = left > lane->end ? left : lane->end; /* clocks may differ a little */
    uint64_t end = served > begin ? served : begin;
    if (have_room(lane)) {
        struct trace_record record;
        struct trace_chunk_header *header = &lane->current->header;
        trace_record_describe(exit, &record);
        record.since = begin - lane->end;
        record.duration = end - begin;
        header->length +=
            (uint32_t)trace_record_encode(&record, lane->current->payload + header->length);
        header->records++;
        lane->records++;
    } else {
        lane->lost++;
        lane->lost_before++;
    }
    lane->end = end;
}

void exit_trace_close_lane(struct exit_trace_lane *lane, uint64_t engine_ns)
{
    lane->engine_ticks = engine_ns;
    if (lane->current != NULL) {
        hand_over(lane, lane->current->header.length);
    }
}

/* ---- creation and end ---- */

/* A FIFO that nobody reads is an error instead of a wait; one that is full is waited for by hand.
 */
static int open_file(const char *path, int *file, struct error *error)
{
    if (host_file_is_foreign(path, TRACE_MAGIC)) {
        return error_set(error, EEXIST,
                         "%s is there and is no trace: remove it, or name another for the trace",
                         path);
    }
    *file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NONBLOCK, 0666);
    if (*file < 0) {
        return error_set_errno(error, errno, "cannot open %s for the trace", path);
    }
    return 0;
}

static int create_lanes(struct exit_trace *trace)
{
    size_t size = trace->vcpu_count * sizeof(trace->lanes[0]);
    trace->lanes = aligned_alloc(_Alignof(struct exit_trace_lane), size);
    if (trace->lanes == NULL) {
        return -ENOMEM;
    }
    memset(trace->lanes, 0, size);
    int result = 0;
    for (unsigned int i = 0; i < trace->vcpu_count; i++) {
        struct exit_trace_lane *lane = &trace->lanes[i];
        lane->trace = trace;
        lane->vcpu = i;
        lane->chunks = malloc(CHUNKS * sizeof(lane->chunks[0]));
        result = lane->chunks == NULL ? -ENOMEM : result;
    }
    return result;
}

int exit_trace_create(const char *path, unsigned int vcpu_count, struct exit_trace **out,
                      struct error *error)
{
    struct exit_trace *trace = calloc(1, sizeof(*trace));
    if (trace == NULL) {
        return error_set(error, ENOMEM, "no memory for the trace");
    }
    trace->path = path;
    trace->vcpu_count = vcpu_count;
    trace->file = -1;
    if (create_lanes(trace) != 0) {
        exit_trace_destroy(trace);
        return error_set(error, ENOMEM, "no memory for the trace");
    }
    int result = open_file(path, &trace->file, error);
    if (result != 0) {
        exit_trace_destroy(trace);
        return result;
    }
    *out = trace;
    return 0;
}

int exit_trace_start(struct exit_trace *trace, const char *engine, const struct bus *ports,
                     const struct bus *mmio, struct error *error)
{
    write_header(trace, engine, ports, mmio);
    struct thread_options options = {.name = "trace", .run = writer_thread, .context = trace};
    atomic_store(&trace->guest_runs, true);
    int result = thread_start(&trace->thread, &options, error);
    trace->thread_started = result == 0;
    return result;
}

struct exit_trace_lane *exit_trace_lane(struct exit_trace *trace, unsigned int vcpu)
{
    return &trace->lanes[vcpu];
}

static void write_end(struct exit_trace *trace)
{
    struct trace_vcpu_end ends[TRACE_VCPUS_MAX];
    for (unsigned int i = 0; i < trace->vcpu_count; i++) {
        const struct exit_trace_lane *lane = &trace->lanes[i];
        ends[i] = (struct trace_vcpu_end){
            .records = lane->records, .lost = lane->lost, .engine_ticks = lane->engine_ticks};
        trace->records += lane->records;
        trace->lost += lane->lost;
    }
    struct trace_chunk_header header = {
        .magic = TRACE_CHUNK_MAGIC,
        .kind = TRACE_CHUNK_END,
        .length = (uint32_t)(trace->vcpu_count * sizeof(ends[0])),
        .records = trace->vcpu_count,
        .start_ticks = clock_now_ns(),
    };
    write_chunk(trace, &header, ends);
}

static void stop_writer(struct exit_trace *trace)
{
    atomic_store(&trace->guest_runs, false);
    event_count_signal(&trace->work);
    pthread_join(trace->thread, NULL);
    trace->thread_started = false;
    write_end(trace);
}

void exit_trace_finish(struct exit_trace *trace)
{
    if (trace == NULL || trace->file < 0) {
        return;
    }
    if (trace->thread_started) {
        stop_writer(trace);
    }
    bool failed = atomic_load(&trace->failed);
    if (close(trace->file) != 0 && !failed) {
        log_warn("cannot write the trace %s to its end: %s", trace->path, strerror(errno));
        failed = true;
    }
    trace->file = -1;
    if (!failed && trace->lost != 0) {
        log_warn("the trace %s lacks %" PRIu64 " of %" PRIu64
                 " exits: the file was written more slowly than they came",
                 trace->path, trace->lost, trace->lost + trace->records);
    } else if (!failed) {
        log_info("the trace %s has %" PRIu64 " exits", trace->path, trace->records);
    }
}

uint64_t exit_trace_records(const struct exit_trace *trace)
{
    return trace->records;
}

uint64_t exit_trace_lost(const struct exit_trace *trace)
{
    return trace->lost;
}

void exit_trace_destroy(struct exit_trace *trace)
{
    if (trace == NULL) {
        return;
    }
    exit_trace_finish(trace);
    for (unsigned int i = 0; trace->lanes != NULL && i < trace->vcpu_count; i++) {
        free(trace->lanes[i].chunks);
    }
    free(trace->lanes);
    free(trace);
}
