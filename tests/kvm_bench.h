/*
 * A vCPU of the KVM engine without a VM object around it, for the engine's tests.
 *
 * Owner:  the test. Thread: one, which is the vCPU's.
 */
#ifndef TRAPEZE_TESTS_KVM_BENCH_H
#define TRAPEZE_TESTS_KVM_BENCH_H

#include <unistd.h>

#include "engine_bench.h"
#include "engines/kvm/kvm.h"
#include "engines/kvm/kvm_internal.h"

static inline bool open_bench(struct bench *bench, const char *arguments,
                              const struct interrupt_source *interrupts)
{
    return open_engine_bench(bench, &kvm_engine, arguments, interrupts);
}

/* True where /dev/kvm can be used; else says why not. */
static inline bool kvm_is_usable(void)
{
    struct error error;
    int device = kvm_open_device(KVM_DEVICE_PATH, &error);
    if (device < 0) {
        SKIP(error.text);
        return false;
    }
    close(device);
    return true;
}

#endif
