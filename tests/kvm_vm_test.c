/* The KVM engine with threads: kicks, the VM object, processors that start others, the probe. */
#include <dirent.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>

#include "base/event_count.h"
#include "base/threads.h"
#include "kvm_bench.h"
#include "vm/exit_stats.h"
#include "vm/vm.h"

/* Kicks */

struct kicker {
    struct engine_vcpu *vcpu;
    struct event_count asked; /* signalled when something below changes */
    atomic_uint wanted;       /* kicks asked for by the vCPU's thread */
    atomic_bool end;
};

static void ask_for_kick(struct kicker *kicker)
{
    atomic_fetch_add(&kicker->wanted, 1);
    event_count_signal(&kicker->asked);
}

static void end_kicker(struct kicker *kicker, pthread_t thread)
{
    atomic_store(&kicker->end, true);
    event_count_signal(&kicker->asked);
    pthread_join(thread, NULL);
}

static void *kick_on_demand(void *context)
{
    struct kicker *kicker = context;
    unsigned int done = 0;
    while (!atomic_load(&kicker->end)) {
        unsigned int ticket = event_count_ticket(&kicker->asked);
        if (atomic_load(&kicker->wanted) == done) {
            if (!atomic_load(&kicker->end)) {
                event_count_wait(&kicker->asked, ticket);
            }
            continue;
        }
        done++;
        for (volatile unsigned int i = 0; i < done % 16 * 500; i++) {
            /* at another moment each time */
        }
        kvm_engine.kick(kicker->vcpu);
    }
    return NULL;
}

#define KICKS 500u

/* An endless loop that only kicks end; a lost one hangs here. */
static void test_kicks(const char *arguments)
{
    static const uint8_t code[] = {0xeb, 0xfe}; /* jmp to itself */
    struct bench bench;
    if (open_bench(&bench, arguments, NULL)) {
        load(&bench, KVM_GUEST_REAL, code, sizeof(code));
        struct kicker kicker = {.vcpu = bench.vcpu};
        pthread_t thread;
        struct thread_options options = {
            .name = "kicker", .run = kick_on_demand, .context = &kicker};
        CHECK_EQUAL(thread_start(&thread, &options, &bench.error), 0);
        unsigned int kicked = 0;
        for (unsigned int i = 0; i < KICKS; i++) {
            ask_for_kick(&kicker);
            kicked += run(&bench) == EXIT_KICKED ? 1 : 0;
        }
        CHECK_EQUAL(kicked, KICKS);
        end_kicker(&kicker, thread);

        /* From the vCPU's own thread, before a run: not lost either, and reported once. */
        kvm_engine.kick(bench.vcpu);
        kvm_engine.kick(bench.vcpu);
        CHECK_EQUAL(run(&bench), EXIT_KICKED);
    }
    close_bench(&bench);
}

/* With interrupt controllers in the kernel HLT is in there too; a kick still ends it. */
static void test_kick_ends_halt_in_kernel(void)
{
    static const uint8_t code[] = {0xf4, 0xeb, 0xfd};
    struct bench bench;
    if (open_bench(&bench, NULL, NULL)) {
        if ((kvm_engine.features(bench.vm) & ENGINE_HAS_INTERRUPT_CONTROLLERS) == 0) {
            SKIP("this KVM has no interrupt controllers");
        } else {
            load(&bench, KVM_GUEST_REAL, code, sizeof(code));
            struct kicker kicker = {.vcpu = bench.vcpu};
            pthread_t thread;
            struct thread_options options = {
                .name = "kicker", .run = kick_on_demand, .context = &kicker};
            CHECK_EQUAL(thread_start(&thread, &options, &bench.error), 0);
            for (unsigned int i = 0; i < 50; i++) {
                ask_for_kick(&kicker);
                CHECK_EQUAL(run(&bench), EXIT_KICKED);
            }
            end_kicker(&kicker, thread);
            CHECK_EQUAL(kvm_engine.irq_line(bench.vm, 4, true), 0);
            CHECK_EQUAL(kvm_engine.irq_line(bench.vm, 4, false), 0);
            struct msi_message message = {.address = 0xfee00000, .data = 0x41};
            CHECK_EQUAL(kvm_engine.msi(bench.vm, &message), 0);
        }
    }
    close_bench(&bench);
}

/* With the VM object around it */

static void debug_exit_io(void *device, struct bus_access *access)
{
    if (access->is_write) {
        vm_stop(device, VM_DEBUG_EXIT, (int)access->value, NULL);
    } else {
        access->value = 0x21;
    }
}

static struct vm *make_vm(unsigned int vcpus, const char *arguments)
{
    struct vm_options options = {.engine = &kvm_engine,
                                 .engine_arguments = arguments,
                                 .memory = make_memory(0x200000),
                                 .vcpu_count = vcpus,
                                 .tsc_hz = 1000000000};
    struct vm *vm = NULL;
    struct error error = {""};
    if (!CHECK_EQUAL(vm_create(&options, &vm, &error), 0)) {
        fprintf(stderr, "    %s\n", error.text);
    }
    return vm;
}

static void start(struct vm *vm)
{
    struct error error = {""};
    if (!CHECK_EQUAL(vm_start(vm, &error), 0)) {
        fprintf(stderr, "    %s\n", error.text);
    }
}

static void test_vm_object(void)
{
    static const uint8_t code[] = {
        0xe4, 0xf4, /* in al, 0xf4 */
        0x04, 0x21, /* add al, 0x21 */
        0xe6, 0xf4, /* out 0xf4, al */
        0xeb, 0xfe, /* jmp to itself */
    };
    struct vm *vm = make_vm(1, NULL);
    bus_map(&vm->ports, 0xf4, 1, "debug-exit", debug_exit_io, vm);
    CHECK_EQUAL(
        kvm_guest_prepare(vm->memory, KVM_GUEST_REAL, code, sizeof(code), &vm->vcpus[0].initial),
        0);
    start(vm);
    CHECK_EQUAL(vm_wait(vm), VM_DEBUG_EXIT);
    CHECK_EQUAL(vm->outcome_code, 0x42);
    CHECK_EQUAL(exit_stats_total(vm->vcpus[0].stats, EXIT_PIO), 2);
    CHECK(vm->vcpus[0].final_known);
    CHECK_EQUAL(vm->vcpus[0].final.gpr[X86_RAX] & 0xff, 0x42);
    vm_destroy(vm);
}

/*
 * The bootstrap processor starts the second one by INIT and SIPI through the kernel's LAPIC,
 * which comes up in real mode and ends the run.
 */
static void test_sipi_in_kernel(void)
{
    static const uint8_t code[] = {
        0xbb, 0x00, 0x03, 0xe0, 0xfe,             /* mov ebx, 0xfee00300: the ICR */
        0xc7, 0x43, 0x10, 0x00, 0x00, 0x00, 0x01, /* mov dword [ebx+0x10], 1 << 24: to LAPIC 1 */
        0xc7, 0x03, 0x00, 0x45, 0x00, 0x00,       /* mov dword [ebx], 0x4500: INIT */
        0xc7, 0x43, 0x10, 0x00, 0x00, 0x00, 0x01, /* mov dword [ebx+0x10], 1 << 24 */
        0xc7, 0x03, 0x09, 0x46, 0x00, 0x00,       /* mov dword [ebx], 0x4609: SIPI to 0x9000 */
        0xeb, 0xfe,                               /* jmp to itself */
    };
    static const uint8_t second_code[] = {
        0x8c, 0xc8, /* mov ax, cs */
        0x86, 0xe0, /* xchg ah, al */
        0xe6, 0xf4, /* out 0xf4, al */
        0xeb, 0xfe, /* jmp to itself */
    };
    struct vm *vm = make_vm(2, NULL);
    if ((vm->engine_features & ENGINE_HAS_INTERRUPT_CONTROLLERS) == 0) {
        SKIP("this KVM has no interrupt controllers");
        vm_destroy(vm);
        return;
    }
    bus_map(&vm->ports, 0xf4, 1, "debug-exit", debug_exit_io, vm);
    CHECK_EQUAL(guestmem_write(vm->memory, gpa(0x9000), second_code, sizeof(second_code)), 0);
    CHECK_EQUAL(kvm_guest_prepare(vm->memory, KVM_GUEST_PROTECTED, code, sizeof(code),
                                  &vm->vcpus[0].initial),
                0);
    start(vm);
    CHECK_EQUAL(vm_wait(vm), VM_DEBUG_EXIT);
    CHECK_EQUAL(vm->outcome_code, 0x09);
    CHECK_EQUAL(exit_stats_total(vm->vcpus[1].stats, EXIT_PIO), 1);
    vm_destroy(vm);
}

/* INIT and SIPI for the processor itself, while its IN is being served. */
static void restart_io(void *device, struct bus_access *access)
{
    struct vm *vm = device;
    access->value = 0xff;
    vm_signal_init(vm, access->vcpu);
    vm_signal_sipi(vm, access->vcpu, 0x9);
}

/*
 * Without local APICs in the kernel INIT is ours: the kernel must have completed the IN before, or
 * its value and its length would come on top of the new state.
 */
static void test_init_while_an_exit_is_served(void)
{
    static const uint8_t code[] = {
        0xe4, 0x12, /* in al, 0x12 */
        0xb0, 0x66, /* mov al, 0x66 */
        0xe6, 0xf4, /* out 0xf4, al: not reached */
        0xeb, 0xfe, /* jmp to itself */
    };
    static const uint8_t restarted[] = {
        0xe6, 0xf4, /* out 0xf4, al: it is 0 */
        0xb0, 0x77, /* mov al, 0x77 */
        0xe6, 0xf4, /* out 0xf4, al: when the first one was skipped */
        0xeb, 0xfe, /* jmp to itself */
    };
    static const uint8_t spin[] = {0xeb, 0xfe};
    struct vm *vm = make_vm(2, "irqchip=none");
    bus_map(&vm->ports, 0xf4, 1, "debug-exit", debug_exit_io, vm);
    bus_map(&vm->ports, 0x12, 1, "restart", restart_io, vm);
    CHECK_EQUAL(guestmem_write(vm->memory, gpa(0x9000), restarted, sizeof(restarted)), 0);
    kvm_guest_prepare(vm->memory, KVM_GUEST_REAL, code, sizeof(code), &vm->vcpus[1].initial);
    vm->vcpus[0].initial = vm->vcpus[1].initial;
    vm->vcpus[1].initial.activity = X86_ACTIVE;
    vm->vcpus[0].initial.rip = 0xa000;
    CHECK_EQUAL(guestmem_write(vm->memory, gpa(0xa000), spin, sizeof(spin)), 0);
    start(vm);
    CHECK_EQUAL(vm_wait(vm), VM_DEBUG_EXIT);
    CHECK_EQUAL(vm->outcome_code, 0);
    vm_destroy(vm);
}

static unsigned int open_descriptors(void)
{
    unsigned int count = 0;
    DIR *directory = opendir("/proc/self/fd");
    while (directory != NULL && readdir(directory) != NULL) {
        count++;
    }
    closedir(directory);
    return count;
}

#define START_STOPS 300u

/* Start and stop, at different moments, leaves nothing open. */
static void test_start_stop(void)
{
    static const uint8_t code[] = {0xeb, 0xfe};
    static const char *const arguments[] = {NULL, "irqchip=split", "irqchip=none"};
    unsigned int before = open_descriptors();
    for (unsigned int i = 0; i < check_rounds(START_STOPS); i++) {
        struct vm *vm = make_vm(2, arguments[i % 3]);
        kvm_guest_prepare(vm->memory, KVM_GUEST_REAL, code, sizeof(code), &vm->vcpus[0].initial);
        start(vm);
        struct timespec pause = {.tv_nsec = (long)(i % 24) * 50000};
        nanosleep(&pause, NULL);
        vm_stop(vm, VM_QUIT, 0, NULL);
        CHECK_EQUAL(vm_wait(vm), VM_QUIT);
        vm_destroy(vm);
    }
    CHECK_EQUAL(open_descriptors(), before);
}

/*
 * KiB that this process has mapped, and of its own memory resident. Not of files: text comes in
 * when it first runs.
 */
static void read_memory(unsigned long *resident, unsigned long *mapped)
{
    char line[128];
    FILE *file = fopen("/proc/self/status", "r");
    CHECK(file != NULL);
    *resident = *mapped = 0;
    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        sscanf(line, "RssAnon: %lu", resident);
        sscanf(line, "VmSize: %lu", mapped);
    }
    fclose(file);
    CHECK(*resident != 0 && *mapped != 0);
}

#define VMS       1000u
#define VMS_FIRST 50u   /* after so many all that is made once is there */
#define GROWTH    1024u /* KiB: less than a page in three VMs; some kernels count in batches */

/* A thousand VMs, one after the other: nothing grows, neither descriptors nor memory. */
static void test_a_thousand_vms(void)
{
    unsigned int descriptors = 0, failed = 0;
    unsigned long resident = 0, mapped = 0, resident_after = 0, mapped_after = 0;
    /* The kernel joins pages to huge ones when it likes: 2 MiB where there were some KiB. */
    CHECK_EQUAL(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0), 0);
    for (unsigned int i = 0; i < check_rounds(VMS); i++) {
        struct bench bench;
        failed += open_bench(&bench, NULL, NULL) ? 0 : 1;
        close_bench(&bench);
        if (i == VMS_FIRST) {
            descriptors = open_descriptors();
            read_memory(&resident, &mapped);
        }
    }
    read_memory(&resident_after, &mapped_after);
    CHECK_EQUAL(failed, 0);
    CHECK_EQUAL(open_descriptors(), descriptors);
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    SKIP("a sanitizer keeps what was freed, or notes of it");
#else
    CHECK(resident_after <= resident + GROWTH);
    CHECK(mapped_after <= mapped + GROWTH);
#endif
}

static void test_probe(void)
{
    struct engine_probe probe = {.mips = 0};
    /* The windows are milliseconds long: a busy machine may not get to its work in one. */
    for (unsigned int i = 0; i < 10 && (probe.mips <= 0 || probe.exit_us <= 0); i++) {
        kvm_engine.probe(&probe);
    }
    CHECK(probe.usable);
    CHECK(probe.why[0] != '\0');
    CHECK(strstr(probe.details, "API version 12") != NULL);
    CHECK(strstr(probe.details, "real mode") != NULL);
    CHECK(probe.mips > 0 && probe.exit_us > 0);
    printf("%s\n%s\n%.1f MIPS, %.2f us an exit\n", probe.why, probe.details, probe.mips,
           probe.exit_us);
}

int main(void)
{
    if (kvm_is_usable()) {
        test_kicks("irqchip=none");
        test_kicks(NULL);
        test_kick_ends_halt_in_kernel();
        test_vm_object();
        test_sipi_in_kernel();
        test_init_while_an_exit_is_served();
        test_start_stop();
        test_a_thousand_vms();
        test_probe();
    }
    return check_summary();
}
