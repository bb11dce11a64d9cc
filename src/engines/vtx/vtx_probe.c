/*
 * Whether the module can be used here, and how fast it is: a real-mode guest that counts down and
 * then writes to a port. Both loops end by themselves, so that no watchdog is needed.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "engines/vtx/vtx_internal.h"

#define GUEST_MEMORY 0x10000u
#define GUEST_ENTRY  0x1000u
#define ROUNDS       200000u /* of the countdown: two instructions each */
#define EXITS        200u    /* of the port that are timed */
#define TRIAL_PORT   0x10u

static const uint8_t guest_code[] = {
    0x66, 0xb9,       ROUNDS & 0xff, ROUNDS >> 8 & 0xff, ROUNDS >> 16, 0x00, /* mov ecx, ROUNDS */
    0xe6, TRIAL_PORT, /* out TRIAL_PORT, al */
    0x66, 0x49,       /* dec ecx */
    0x75, 0xfc,       /* jnz back to it */
    0xe6, TRIAL_PORT, /* out TRIAL_PORT, al */
    0xeb, 0xfc,       /* jmp back to it */
};

struct trial {
    struct guestmem *memory;
    struct engine_vm *vm;
    struct engine_vcpu *vcpu;
    double mips, exit_us;
};

static int make_machine(struct trial *trial, struct error *error)
{
    struct guestmem_options memory = {.shared = false};
    struct engine_vm_options options = {.vcpu_count = 1};
    struct cpuid_table cpuid;
    struct engine_vcpu_options vcpu = {.cpuid = &cpuid};
    int code = guestmem_create(&memory, &trial->memory, error);
    if (code == 0) {
        code = guestmem_add(trial->memory, gpa(0), GUEST_MEMORY, 0, error);
    }
    if (code == 0) {
        code = guestmem_write(trial->memory, gpa(GUEST_ENTRY), guest_code, sizeof(guest_code));
    }
    options.memory = trial->memory;
    if (code == 0) {
        code = vtx_vm_create(&options, &trial->vm, error);
    }
    if (code == 0) {
        code = vtx_cpuid_supported(trial->vm, &cpuid, error);
    }
    return code == 0 ? vtx_vcpu_create(trial->vm, &vcpu, &trial->vcpu, error) : code;
}

static int set_entry(struct trial *trial, struct error *error)
{
    struct x86_state state;
    x86_state_reset(&state);
    state.segment[X86_CS].base = 0;
    state.segment[X86_CS].selector = 0;
    state.rip = GUEST_ENTRY;
    return vtx_vcpu_set_state(trial->vcpu, X86_STATE_ALL, &state, error);
}

static int run_to_port(struct trial *trial, struct vcpu_exit *exit, struct error *error)
{
    int code;
    do {
        code = vtx_vcpu_run(trial->vcpu, exit, error);
    } while (code == -EINTR);
    if (code != 0) {
        return code;
    }
    switch (exit->reason) {
    case EXIT_PIO:
        return 0;
    case EXIT_ENTRY_FAILED:
        return error_set(error, EIO, "a small guest is refused: %s", exit->entry_failed.text);
    case EXIT_INTERNAL:
        return error_set(error, EIO, "a small guest fails: %s", exit->internal.text);
    default:
        return error_set(error, EIO, "a small guest ends with the exit '%s'",
                         exit_reason_name(exit->reason));
    }
}

static int measure(struct trial *trial, struct error *error)
{
    struct vcpu_exit exit = {.reason = EXIT_NONE};
    int code = run_to_port(trial, &exit, error);
    uint64_t start = clock_now_ns();
    if (code == 0) {
        code = run_to_port(trial, &exit, error);
    }
    uint64_t counted = clock_now_ns();
    for (unsigned int i = 0; i < EXITS && code == 0; i++) {
        code = run_to_port(trial, &exit, error);
    }
    uint64_t end = clock_now_ns();
    trial->mips = counted > start ? 2e3 * ROUNDS / (double)(counted - start) : 0;
    trial->exit_us = (double)(end - counted) / 1e3 / EXITS;
    return code;
}

static int run_trial(struct trial *trial, struct error *error)
{
    int code = make_machine(trial, error);
    if (code == 0) {
        code = set_entry(trial, error);
    }
    return code == 0 ? measure(trial, error) : code;
}

void vtx_probe(struct engine_probe *probe)
{
    struct trial trial = {.memory = NULL};
    struct error error = {""};
    *probe = (struct engine_probe){.usable = false};
    if (run_trial(&trial, &error) == 0) {
        probe->usable = true;
        probe->mips = trial.mips;
        probe->exit_us = trial.exit_us;
        snprintf(probe->why, sizeof(probe->why),
                 "%s runs %.4g million guest instructions a second, %.3g us for a port exit",
                 TRAPEZE_VTX_DEVICE, trial.mips, trial.exit_us);
    } else {
        snprintf(probe->why, sizeof(probe->why), "%.255s", error.text);
    }
    if (trial.vcpu != NULL) {
        vtx_vcpu_destroy(trial.vcpu);
    }
    if (trial.vm != NULL) {
        vtx_vm_destroy(trial.vm);
    }
    guestmem_destroy(trial.memory);
}
