/*
 * A vCPU of an engine without a VM object around it, for the engines' tests.
 *
 * KVM may be emulated by the host and slow, so each guest is a handful of instructions.
 *
 * Owner:  the test. Thread: one, which is the vCPU's.
 */
#ifndef TRAPEZE_TESTS_ENGINE_BENCH_H
#define TRAPEZE_TESTS_ENGINE_BENCH_H

#include <errno.h>
#include <string.h>

#include "check.h"
#include "engines/kvm/kvm_guest.h"
#include "vm/engine.h"

struct bench {
    const struct engine_ops *engine;
    struct guestmem *memory;
    struct engine_vm *vm;
    struct engine_vcpu *vcpu;
    struct x86_state state;
    struct vcpu_exit exit;
    struct error error;
};

static inline struct guestmem *make_memory(uint64_t length)
{
    struct guestmem_options options = {.shared = false};
    struct guestmem *memory = NULL;
    struct error error;
    CHECK_EQUAL(guestmem_create(&options, &memory, &error), 0);
    CHECK_EQUAL(guestmem_add(memory, gpa(0), length, 0, &error), 0);
    return memory;
}

static inline bool succeeded(struct bench *bench, int code, const char *what)
{
    bool good = check_report(code == 0, __FILE__, __LINE__, what);
    if (!good) {
        fprintf(stderr, "    %d: %s\n", code, bench->error.text);
    }
    return good;
}

static inline bool open_engine_bench(struct bench *bench, const struct engine_ops *engine,
                                     const char *arguments,
                                     const struct interrupt_source *interrupts)
{
    memset(bench, 0, sizeof(*bench));
    bench->engine = engine;
    bench->memory = make_memory(0x200000);
    struct engine_vm_options options = {
        .memory = bench->memory, .vcpu_count = 1, .arguments = arguments};
    struct cpuid_table cpuid;
    struct engine_vcpu_options vcpu_options = {.cpuid = &cpuid, .interrupts = interrupts};
    return succeeded(bench, bench->engine->vm_create(&options, &bench->vm, &bench->error), "VM") &&
           succeeded(bench, bench->engine->cpuid_supported(bench->vm, &cpuid, &bench->error),
                     "CPUID") &&
           succeeded(
               bench,
               bench->engine->vcpu_create(bench->vm, &vcpu_options, &bench->vcpu, &bench->error),
               "vCPU") &&
           succeeded(
               bench,
               bench->engine->get_state(bench->vcpu, X86_STATE_ALL, &bench->state, &bench->error),
               "state");
}

static inline void close_bench(struct bench *bench)
{
    if (bench->vcpu != NULL) {
        bench->engine->vcpu_destroy(bench->vcpu);
    }
    if (bench->vm != NULL) {
        bench->engine->vm_destroy(bench->vm);
    }
    guestmem_destroy(bench->memory);
}

/* Puts code into a mode's guest and its state into the vCPU. */
static inline void load(struct bench *bench, enum kvm_guest_mode mode, const uint8_t *code,
                        size_t length)
{
    CHECK_EQUAL(kvm_guest_prepare(bench->memory, mode, code, length, &bench->state), 0);
    succeeded(bench,
              bench->engine->set_state(bench->vcpu, X86_STATE_GENERAL | X86_STATE_SYSTEM,
                                       &bench->state, &bench->error),
              "set the mode");
}

/* Runs to the next exit that is none of EINTR, EAGAIN. */
static inline enum exit_reason run(struct bench *bench)
{
    int code;
    do {
        code = bench->engine->run(bench->vcpu, &bench->exit, &bench->error);
    } while (code == -EINTR || code == -EAGAIN);
    succeeded(bench, code, "run");
    return code == 0 ? bench->exit.reason : EXIT_NONE;
}

static inline void get_general(struct bench *bench)
{
    succeeded(
        bench,
        bench->engine->get_state(bench->vcpu, X86_STATE_GENERAL, &bench->state, &bench->error),
        "get the registers");
}

#endif
