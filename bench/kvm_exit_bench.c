/*
 * An exit's round trip on KVM: a port write, served by a device, beside a loop of KVM_RUN that does
 * nothing.
 *
 * usage: kvm_exit_bench [EXITS [ROUNDS]]
 *
 * Both run the same guest in the same kind of VM, in turn; the last line has the medians and their
 * ratio.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/clock.h"
#include "engines/kvm/kvm.h"
#include "engines/kvm/kvm_guest.h"
#include "engines/kvm/kvm_internal.h"
#include "vm/vm.h"

#define PORT       0x10u
#define ROUNDS_MAX 64u

static const uint8_t code[] = {0xe6, PORT, 0xeb, 0xfc}; /* out PORT, al; jmp back to it */

static void fail(const struct error *error)
{
    fprintf(stderr, "kvm_exit_bench: %s\n", error->text);
    exit(1);
}

static struct guestmem *make_memory(struct error *error)
{
    struct guestmem_options options = {.shared = false};
    struct guestmem *memory;
    if (guestmem_create(&options, &memory, error) != 0 ||
        guestmem_add(memory, gpa(0), KVM_GUEST_MEMORY, 0, error) != 0) {
        fail(error);
    }
    return memory;
}

/* Nanoseconds for each exit of a loop that does nothing but enter the kernel again. */
static double bare_loop(unsigned int exits)
{
    struct error error;
    struct guestmem *memory = make_memory(&error);
    struct engine_vm_options options = {.memory = memory, .vcpu_count = 1};
    struct engine_vm *vm;
    struct engine_vcpu *vcpu;
    struct cpuid_table cpuid;
    struct x86_state state;
    unsigned int groups = X86_STATE_GENERAL | X86_STATE_SYSTEM;
    struct engine_vcpu_options vcpu_options = {.cpuid = &cpuid};
    if (kvm_vm_create(&options, &vm, &error) != 0 || kvm_cpuid_supported(vm, &cpuid, &error) != 0 ||
        kvm_vcpu_create(vm, &vcpu_options, &vcpu, &error) != 0 ||
        kvm_vcpu_get_state(vcpu, groups, &state, &error) != 0 ||
        kvm_guest_prepare(memory, KVM_GUEST_REAL, code, sizeof(code), &state) != 0 ||
        kvm_vcpu_set_state(vcpu, groups, &state, &error) != 0) {
        fail(&error);
    }
    uint64_t began = 0;
    for (unsigned int i = 0; i <= exits; i++) {
        if (i == 1) {
            began = clock_now_ns(); /* the first one is not an exit's cost */
        }
        if (ioctl(vcpu->fd, KVM_RUN, 0) != 0 || vcpu->run->exit_reason != KVM_EXIT_IO) {
            error_set(&error, 5, "KVM_RUN came back with reason %u", vcpu->run->exit_reason);
            fail(&error);
        }
    }
    double each = (double)(clock_now_ns() - began) / exits;
    kvm_vcpu_destroy(vcpu);
    kvm_vm_destroy(vm);
    guestmem_destroy(memory);
    return each;
}

struct counting_device {
    struct vm *vm;
    unsigned int left;
    uint64_t began, ended;
};

static void count(void *context, struct bus_access *access)
{
    struct counting_device *device = context;
    (void)access;
    if (device->began == 0) {
        device->began = clock_now_ns();
    } else if (--device->left == 0) {
        device->ended = clock_now_ns();
        vm_stop(device->vm, VM_QUIT, 0, NULL);
    }
}

/* The same with everything that Trapeze does: locks, the bus, counts and times. */
static double our_loop(unsigned int exits)
{
    struct error error;
    struct vm_options options = {.engine = &kvm_engine,
                                 .memory = make_memory(&error),
                                 .vcpu_count = 1,
                                 .tsc_hz = clock_tsc_hz(NULL)};
    struct counting_device device = {.left = exits};
    if (vm_create(&options, &device.vm, &error) != 0) {
        fail(&error);
    }
    bus_map(&device.vm->ports, PORT, 1, "counter", count, &device);
    if (kvm_guest_prepare(device.vm->memory, KVM_GUEST_REAL, code, sizeof(code),
                          &device.vm->vcpus[0].initial) != 0 ||
        vm_start(device.vm, &error) != 0) {
        fail(&error);
    }
    vm_wait(device.vm);
    vm_destroy(device.vm);
    return (double)(device.ended - device.began) / exits;
}

static int compare(const void *left, const void *right)
{
    double difference = *(const double *)left - *(const double *)right;
    return (difference > 0) - (difference < 0);
}

static double median(double *values, unsigned int count)
{
    qsort(values, count, sizeof(values[0]), compare);
    return values[count / 2];
}

int main(int argc, char **argv)
{
    unsigned int exits = argc > 1 ? (unsigned int)strtoul(argv[1], NULL, 0) : 20000;
    unsigned int rounds = argc > 2 ? (unsigned int)strtoul(argv[2], NULL, 0) : 9;
    double bare[ROUNDS_MAX], ours[ROUNDS_MAX], ratios[ROUNDS_MAX];
    if (exits == 0 || rounds == 0 || rounds > ROUNDS_MAX) {
        fprintf(stderr, "usage: kvm_exit_bench [EXITS [ROUNDS]]\n");
        return 2;
    }
    for (unsigned int i = 0; i < rounds; i++) {
        bare[i] = bare_loop(exits);
        ours[i] = our_loop(exits);
        ratios[i] = ours[i] / bare[i];
    }
    printf("exit: bare %.0f ns, trapeze %.0f ns, ratio %.3f\n", median(bare, rounds),
           median(ours, rounds), median(ratios, rounds));
    return 0;
}
