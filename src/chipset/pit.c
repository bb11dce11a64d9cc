#include "chipset/pit.h"

#include "chipset/byte_access.h"
#include "chipset/clock_ratio.h"

/* "Control Word Format". */
#define CONTROL_PORT          3
#define CONTROL_CHANNEL_SHIFT 6
#define CONTROL_READ_BACK     3
#define CONTROL_ACCESS_SHIFT  4
#define CONTROL_MODE_SHIFT    1
#define CONTROL_BCD           0x01
/* "Read-Back Command". */
#define READ_BACK_NO_COUNT  0x20
#define READ_BACK_NO_STATUS 0x10
/* "Status Byte". */
#define STATUS_OUTPUT     0x80
#define STATUS_NULL_COUNT 0x40

#define PORT61_GATE2    0x01
#define PORT61_WRITABLE 0x0f /* gate 2, speaker, the two check enables */
#define PORT61_REFRESH  0x10
#define PORT61_OUT2     0x20
#define REFRESH_TICKS   18 /* the refresh request toggles every 15.09 us */

#define SPEAKER_CHANNEL 2

static uint64_t time_of(const struct pit *pit)
{
    return pit->timers->now(pit->timers);
}

/* Ticks of the input clock since the PIT was made. */
static uint64_t ticks_of(const struct pit *pit)
{
    return ticks_from_ns(time_of(pit) - pit->origin, PIT_HZ);
}

static bool is_periodic(const struct pit_channel *channel)
{
    return channel->mode == 2 || channel->mode == 3;
}

/* Modes 1 and 5 start at a rising gate, the others when a count is written. */
static bool is_gate_triggered(const struct pit_channel *channel)
{
    return channel->mode == 1 || channel->mode == 5;
}

static bool is_running(const struct pit_channel *channel)
{
    return channel->loaded && (!is_gate_triggered(channel) || channel->triggered);
}

/* Ticks that the counter has counted since it held its initial count. */
static uint64_t elapsed_ticks(const struct pit_channel *channel, uint64_t tick)
{
    uint64_t end = !channel->gate && !is_gate_triggered(channel) ? channel->stopped : tick;

    return end > channel->start ? end - channel->start : 0;
}

/*
 * Puts a count that was written while a periodic mode ran into effect at the end of the cycle in
 * which that happened ("Mode 2", "Mode 3").
 */
static void settle(struct pit_channel *channel, uint64_t tick)
{
    if (!is_periodic(channel) || channel->next_count == 0) {
        return;
    }
    if (tick >= channel->next_start) {
        channel->start = channel->next_start;
        channel->count = channel->next_count;
        channel->next_count = 0;
    }
}

/* "Mode Definitions": the OUT pin. */
static bool output_of(const struct pit_channel *channel, uint64_t tick)
{
    uint64_t elapsed = elapsed_ticks(channel, tick);

    if (!is_running(channel)) {
        return channel->mode != 0;
    }
    switch (channel->mode) {
    case 0:
    case 1:
        return elapsed >= channel->count;
    case 2:
        return !channel->gate || elapsed % channel->count != channel->count - 1;
    case 3:
        return !channel->gate || elapsed % channel->count < (channel->count + 1) / 2;
    default: /* the strobes: low for one tick */
        return elapsed != channel->count;
    }
}

/* The value that the counting element holds, in binary. */
static uint32_t counter_of(const struct pit_channel *channel, uint64_t tick)
{
    uint64_t modulus = channel->bcd ? 10000 : 65536;
    uint64_t elapsed = elapsed_ticks(channel, tick);
    uint64_t count = channel->count;

    if (!is_running(channel) || count == 0) {
        return (uint32_t)(count % modulus);
    }
    switch (channel->mode) {
    case 2:
        return (uint32_t)((count - elapsed % count) % modulus);
    case 3: {
        /* It counts by two, twice a cycle, from the even number at or below the count. */
        uint64_t even = count & ~UINT64_C(1);
        uint64_t phase = elapsed % count;
        uint64_t half = (count + 1) / 2;
        uint64_t steps = phase < half ? phase : phase - half;

        return even == 0 ? 0 : (uint32_t)((even - 2 * steps % even) % modulus);
    }
    default: /* one cycle, then on through the top without end */
        return (uint32_t)((count + modulus - elapsed % modulus) % modulus);
    }
}

static uint16_t to_bcd(uint32_t value)
{
    return (uint16_t)(value % 10 | (value / 10 % 10) << 4 | (value / 100 % 10) << 8 |
                      (value / 1000 % 10) << 12);
}

/* Digits above nine count for what they would be worth. */
static uint32_t from_bcd(uint16_t value)
{
    return (value & 0xfu) + (value >> 4 & 0xfu) * 10 + (value >> 8 & 0xfu) * 100 +
           (value >> 12 & 0xfu) * 1000;
}

static uint16_t readable_count(const struct pit_channel *channel, uint64_t tick)
{
    uint32_t value = counter_of(channel, tick);

    return channel->bcd ? to_bcd(value) : (uint16_t)value;
}

/* The written value as a number of ticks: 0 stands for the largest, 1 can't be had in modes 2, 3.
 */
static uint32_t count_from(const struct pit_channel *channel, uint16_t value)
{
    uint32_t count = channel->bcd ? from_bcd(value) : value;
    uint32_t largest = channel->bcd ? 10000 : 65536;

    if (count == 0 || count > largest) {
        count = largest;
    }
    if (count == 1 && is_periodic(channel)) {
        count = 2; /* not allowed by the data sheet; the shortest cycle that there is */
    }
    return count;
}

/* The tick of channel 0's first rising edge of OUT after a tick; false if there will be none. */
static bool next_edge_after(const struct pit_channel *channel, uint64_t tick, uint64_t *edge)
{
    uint64_t elapsed = elapsed_ticks(channel, tick);

    if (!is_running(channel)) {
        return false;
    }
    switch (channel->mode) {
    case 2:
    case 3:
        *edge = channel->start + (elapsed / channel->count + 1) * channel->count;
        return true;
    case 0:
    case 1:
        *edge = channel->start + channel->count;
        break;
    default:
        *edge = channel->start + channel->count + 1;
        break;
    }
    return *edge > tick;
}

static void arm(struct pit *pit, uint64_t soonest)
{
    uint64_t deadline = pit->origin + ns_from_ticks(pit->next_edge, PIT_HZ);

    pit->timers->arm(pit->timers, &pit->timer, deadline > soonest ? deadline : soonest);
}

/* Channel 0 was programmed: its line follows OUT and the timer its next edge. */
static void reschedule(struct pit *pit)
{
    struct pit_channel *channel = &pit->channels[0];
    uint64_t tick = ticks_of(pit);

    irq_line_set(&pit->irq0, output_of(channel, tick));
    if (next_edge_after(channel, tick, &pit->next_edge)) {
        arm(pit, 0);
    } else {
        pit->timers->cancel(pit->timers, &pit->timer);
    }
}

/*
 * OUT of channel 0 rises. The line was low for a moment before (for half a cycle in mode 3, which
 * nobody behind an edge-triggered input can tell).
 */
static void edge_is_due(void *context)
{
    struct pit *pit = context;
    struct pit_channel *channel = &pit->channels[0];
    uint64_t now = time_of(pit);
    uint64_t tick = ticks_of(pit);

    if (!is_running(channel)) {
        return;
    }
    if (tick < pit->next_edge) {
        arm(pit, 0);
        return;
    }
    settle(channel, tick);
    if (is_periodic(channel)) {
        pit->next_edge = periodic_next(pit->next_edge, channel->count, tick);
        arm(pit, now + TIMER_PERIOD_MIN_NS);
    }
    irq_line_set(&pit->irq0, false);
    irq_line_set(&pit->irq0, true);
}

/* A whole count has been written ("Write Operations"); it is loaded at the next tick. */
static void load_count(struct pit *pit, unsigned int index, uint16_t value)
{
    struct pit_channel *channel = &pit->channels[index];
    uint64_t tick = ticks_of(pit);
    uint32_t count = count_from(channel, value);

    if (channel->loaded && is_periodic(channel) && channel->gate && tick >= channel->start) {
        uint64_t cycles = elapsed_ticks(channel, tick) / channel->count + 1;

        channel->next_count = count;
        channel->next_start = channel->start + cycles * channel->count;
        return;
    }
    if (is_gate_triggered(channel)) {
        /* It waits for the next trigger. */
        if (channel->triggered) {
            channel->next_count = count;
        } else {
            channel->count = count;
        }
        channel->loaded = true;
        return;
    }
    channel->count = count;
    channel->next_count = 0;
    channel->loaded = true;
    channel->start = tick + 1;
    channel->stopped = channel->start;
    if (index == 0) {
        reschedule(pit);
    }
}

static void write_control(struct pit *pit, unsigned int index, uint8_t value)
{
    struct pit_channel *channel = &pit->channels[index];
    unsigned int mode = value >> CONTROL_MODE_SHIFT & 7;

    channel->mode = (uint8_t)(mode > 5 ? mode - 4 : mode); /* 6 and 7 are 2 and 3 */
    channel->bcd = (value & CONTROL_BCD) != 0;
    channel->access = (enum pit_access)(value >> CONTROL_ACCESS_SHIFT & 3);
    channel->loaded = false;
    channel->triggered = false;
    channel->next_count = 0;
    channel->write_high_next = false;
    channel->read_high_next = false;
    channel->latched_bytes = 0;
    channel->status_latched = false;
    if (index == 0) {
        reschedule(pit);
    }
}

/* "Counter Latch Command": ignored while an earlier one has not been read. */
static void latch_count(struct pit_channel *channel, uint64_t tick)
{
    if (channel->latched_bytes == 0) {
        channel->latched_count = readable_count(channel, tick);
        channel->latched_bytes = channel->access == PIT_ACCESS_BOTH ? 2 : 1;
    }
}

static void latch_status(struct pit_channel *channel, uint64_t tick)
{
    bool is_null = !channel->loaded || channel->next_count != 0 ||
                   (!is_gate_triggered(channel) && tick < channel->start);

    if (channel->status_latched) {
        return;
    }
    channel->status_latched = true;
    channel->latched_status = (uint8_t)((output_of(channel, tick) ? STATUS_OUTPUT : 0) |
                                        (is_null ? STATUS_NULL_COUNT : 0) |
                                        (unsigned int)channel->access << CONTROL_ACCESS_SHIFT |
                                        (unsigned int)channel->mode << CONTROL_MODE_SHIFT |
                                        (channel->bcd ? CONTROL_BCD : 0));
}

static void read_back(struct pit *pit, uint8_t value)
{
    uint64_t tick = ticks_of(pit);

    for (unsigned int i = 0; i < PIT_CHANNELS; i++) {
        if ((value & (2u << i)) == 0) {
            continue;
        }
        settle(&pit->channels[i], tick);
        if ((value & READ_BACK_NO_COUNT) == 0) {
            latch_count(&pit->channels[i], tick);
        }
        if ((value & READ_BACK_NO_STATUS) == 0) {
            latch_status(&pit->channels[i], tick);
        }
    }
}

static void write_counter(struct pit *pit, unsigned int index, uint8_t value)
{
    struct pit_channel *channel = &pit->channels[index];

    switch (channel->access) {
    case PIT_ACCESS_LOW:
        load_count(pit, index, value);
        break;
    case PIT_ACCESS_HIGH:
        load_count(pit, index, (uint16_t)(value << 8));
        break;
    case PIT_ACCESS_BOTH:
        if (channel->write_high_next) {
            channel->write_high_next = false;
            load_count(pit, index, (uint16_t)(value << 8 | channel->write_low));
            break;
        }
        channel->write_high_next = true;
        channel->write_low = value;
        if (channel->mode == 0) {
            /* "Writing the first byte disables counting, OUT is set low immediately." */
            channel->loaded = false;
            if (index == 0) {
                reschedule(pit);
            }
        }
        break;
    default: /* no control word yet */
        break;
    }
}

static void write_port(void *device, uint64_t offset, uint8_t value)
{
    struct pit *pit = device;
    unsigned int index = value >> CONTROL_CHANNEL_SHIFT;

    if (offset < PIT_CHANNELS) {
        settle(&pit->channels[offset], ticks_of(pit));
        write_counter(pit, (unsigned int)offset, value);
    } else if (offset != CONTROL_PORT) {
        return;
    } else if (index == CONTROL_READ_BACK) {
        read_back(pit, value);
    } else if ((value >> CONTROL_ACCESS_SHIFT & 3) == 0) {
        settle(&pit->channels[index], ticks_of(pit));
        latch_count(&pit->channels[index], ticks_of(pit));
    } else {
        write_control(pit, index, value);
    }
}

/* The next byte of a two-byte read, low first; single-byte accesses show the byte they name. */
static uint8_t next_byte(struct pit_channel *channel, uint16_t value)
{
    bool high = channel->access == PIT_ACCESS_HIGH;

    if (channel->access == PIT_ACCESS_BOTH) {
        high = channel->read_high_next;
        channel->read_high_next = !channel->read_high_next;
    }
    return (uint8_t)(high ? value >> 8 : value);
}

static uint8_t read_port(void *device, uint64_t offset)
{
    struct pit *pit = device;

    if (offset >= PIT_CHANNELS) {
        return 0xff; /* the control word can't be read */
    }

    struct pit_channel *channel = &pit->channels[offset];
    uint64_t tick = ticks_of(pit);

    settle(channel, tick);
    if (channel->status_latched) {
        channel->status_latched = false;
        return channel->latched_status;
    }
    if (channel->latched_bytes != 0) {
        channel->latched_bytes--;
        return next_byte(channel, channel->latched_count);
    }
    return next_byte(channel, readable_count(channel, tick));
}

/* "Gate Pin Operations Summary". */
static void set_gate(struct pit *pit, struct pit_channel *channel, bool gate)
{
    uint64_t tick = ticks_of(pit);
    bool rising = gate && !channel->gate;

    if (gate == channel->gate) {
        return;
    }
    settle(channel, tick);
    if (!gate) {
        channel->stopped = tick > channel->start ? tick : channel->start;
    }
    channel->gate = gate;
    if (!rising || !channel->loaded) {
        return;
    }
    if (is_gate_triggered(channel) || is_periodic(channel)) {
        if (channel->next_count != 0) {
            channel->count = channel->next_count;
            channel->next_count = 0;
        }
        channel->triggered = true;
        channel->start = tick + 1;
    } else {
        /* Counting goes on from where it stopped. */
        channel->start += tick > channel->stopped ? tick - channel->stopped : 0;
    }
}

static uint8_t read_port61(void *device, uint64_t offset)
{
    struct pit *pit = device;
    uint64_t tick = ticks_of(pit);
    struct pit_channel *speaker = &pit->channels[SPEAKER_CHANNEL];

    if (offset != 0) {
        return 0xff;
    }
    settle(speaker, tick);
    return (uint8_t)(pit->port61 | (tick / REFRESH_TICKS % 2 != 0 ? PORT61_REFRESH : 0) |
                     (output_of(speaker, tick) ? PORT61_OUT2 : 0));
}

static void write_port61(void *device, uint64_t offset, uint8_t value)
{
    struct pit *pit = device;

    if (offset == 0) {
        pit->port61 = value & PORT61_WRITABLE;
        set_gate(pit, &pit->channels[SPEAKER_CHANNEL], (value & PORT61_GATE2) != 0);
    }
}

void pit_io(void *device, struct bus_access *access)
{
    byte_access(device, access, read_port, write_port);
}

void pit_port61_io(void *device, struct bus_access *access)
{
    byte_access(device, access, read_port61, write_port61);
}

void pit_reset(struct pit *pit)
{
    for (unsigned int i = 0; i < PIT_CHANNELS; i++) {
        pit->channels[i] = (struct pit_channel){
            .mode = 3, .access = PIT_ACCESS_BOTH, .gate = i != SPEAKER_CHANNEL};
    }
    pit->port61 = 0;
    reschedule(pit);
}

void pit_init(struct pit *pit, const struct pit_config *config)
{
    *pit = (struct pit){.timers = config->timers, .irq0 = config->irq0};
    pit->origin = time_of(pit);
    timer_init(&pit->timer, edge_is_due, pit);
    pit_reset(pit);
}
