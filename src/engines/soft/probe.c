#include "engines/soft/probe.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "engines/soft/soft.h"

#define PROBE_MEMORY  (UINT64_C(1) << 20)
#define PROBE_AT      UINT64_C(0x8000)
#define PROBE_ROUNDS  200000u
#define PROBE_OUTPUTS 200u

/* mov ecx, PROBE_ROUNDS; 1: add eax, ecx; xor edx, eax; dec ecx; jnz 1b; hlt */
static const uint8_t loop_guest[] = {0xb9,
                                     PROBE_ROUNDS & 0xff,
                                     PROBE_ROUNDS >> 8 & 0xff,
                                     PROBE_ROUNDS >> 16 & 0xff,
                                     0x00,
                                     0x01,
                                     0xc8,
                                     0x31,
                                     0xc2,
                                     0xff,
                                     0xc9,
                                     0x75,
                                     0xf8,
                                     0xf4};
/* 1: out 0x80, al; jmp 1b */
static const uint8_t port_guest[] = {0xe6, 0x80, 0xeb, 0xfc};

/* 32-bit protected mode, flat. */
static void flat_state(struct x86_state *state)
{
    const struct x86_segment code = {0, UINT32_MAX, 0xc09b, 8}, data = {0, UINT32_MAX, 0xc093, 16};
    x86_state_reset(state);
    state->cr0 = X86_CR0_PE | X86_CR0_ET;
    for (unsigned int i = 0; i < X86_SEGMENT_COUNT; i++) {
        state->segment[i] = i == X86_CS ? code : data;
    }
    state->rip = PROBE_AT;
    state->rflags = X86_FLAGS_ONE;
}

/*
 * Runs a guest for so many exits; returns the nanoseconds, 0 when they were not all of that reason.
 * The events are set with the rest: the guest before may have left the CPU halted.
 */
static uint64_t time_guest(struct engine_vcpu *vcpu, struct guestmem *memory, const uint8_t *guest,
                           size_t length, unsigned int exits, enum exit_reason reason)
{
    const unsigned int groups = X86_STATE_GENERAL | X86_STATE_SYSTEM | X86_STATE_EVENTS;
    struct x86_state state;
    struct vcpu_exit exit = {.reason = EXIT_NONE};
    struct error error;
    flat_state(&state);
    if (guestmem_write(memory, gpa(PROBE_AT), guest, length) != 0 ||
        soft_engine.set_state(vcpu, groups, &state, &error) != 0) {
        return 0;
    }
    uint64_t before = clock_now_ns();
    for (unsigned int i = 0; i < exits; i++) {
        if (soft_engine.run(vcpu, &exit, &error) != 0 || exit.reason != reason) {
            return 0;
        }
    }
    return clock_now_ns() - before;
}

static void measure(struct engine_probe *probe, struct engine_vm *vm, struct guestmem *memory)
{
    struct engine_vcpu *vcpu;
    struct cpuid_table cpuid;
    struct error error;
    if (soft_engine.cpuid_supported(vm, &cpuid, &error) != 0) {
        return;
    }
    const struct engine_vcpu_options options = {.cpuid = &cpuid};
    if (soft_engine.vcpu_create(vm, &options, &vcpu, &error) != 0) {
        probe->usable = false;
        snprintf(probe->why, sizeof(probe->why), "%.255s", error.text);
        return;
    }
    uint64_t loop_ns = time_guest(vcpu, memory, loop_guest, sizeof(loop_guest), 1, EXIT_HLT);
    uint64_t port_ns =
        time_guest(vcpu, memory, port_guest, sizeof(port_guest), PROBE_OUTPUTS, EXIT_PIO);
    if (loop_ns != 0) {
        probe->mips = 4.0 * PROBE_ROUNDS * 1000.0 / (double)loop_ns;
    }
    probe->exit_us = (double)port_ns / PROBE_OUTPUTS / 1000.0;
    soft_engine.vcpu_destroy(vcpu);
}

void soft_probe(struct engine_probe *probe)
{
    *probe = (struct engine_probe){.usable = true};
    snprintf(probe->why, sizeof(probe->why), "%s", soft_engine.summary);
    const struct guestmem_options memory_options = {.shared = false};
    struct guestmem *memory;
    struct error error;
    if (guestmem_create(&memory_options, &memory, &error) != 0) {
        return;
    }
    if (guestmem_add(memory, gpa(0), PROBE_MEMORY, 0, &error) == 0) {
        const struct engine_vm_options options = {
            .memory = memory, .vcpu_count = 1, .tsc_hz = 1000000000};
        struct engine_vm *vm;
        if (soft_engine.vm_create(&options, &vm, &error) == 0) {
            measure(probe, vm, memory);
            soft_engine.vm_destroy(vm);
        } else {
            probe->usable = false;
            snprintf(probe->why, sizeof(probe->why), "%.255s", error.text);
        }
    }
    guestmem_destroy(memory);
}
