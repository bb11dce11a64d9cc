/*
 * Guests that mean harm, on the software engine: whatever they do with what the translator lends
 * them, nobody but themselves is to notice.
 */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/threads.h"
#include "check.h"
#include "soft_machine.h"
#include "soft_tier.h"

/* --- signals and kicks, all the time --- */

struct disturber {
    struct soft_machine *machine;
    pthread_t thread;
    atomic_bool stop;
};

static void *disturb(void *context)
{
    struct disturber *disturber = context;
    struct soft_machine *machine = disturber->machine;
    const struct timespec pause = {.tv_nsec = 20000};
    while (!atomic_load(&disturber->stop)) {
        for (unsigned int i = 0; i < machine->cpu_count; i++) {
            if (atomic_load(&machine->cpus[i].end) == MACHINE_RUNNING) {
                pthread_kill(machine->cpus[i].thread, thread_kick_signal());
            }
            soft_machine_kick(machine, i);
        }
        nanosleep(&pause, NULL);
    }
    return NULL;
}

/* Runs the guest on all vCPUs; RDI is the vCPU's number. */
static void run_disturbed(struct soft_machine *machine, uint64_t rsi)
{
    struct disturber disturber = {.machine = machine};
    for (unsigned int i = 0; i < machine->cpu_count; i++) {
        machine->cpus[i].rdi = i;
        machine->cpus[i].rsi = rsi;
        soft_machine_start(machine, i, MACHINE_CODE);
    }
    CHECK_EQUAL(pthread_create(&disturber.thread, NULL, disturb, &disturber), 0);
    while (atomic_load(&machine->cpus[0].end) == MACHINE_RUNNING) {
        const struct timespec pause = {.tv_nsec = 1000000};
        nanosleep(&pause, NULL);
    }
    atomic_store(&disturber.stop, true); /* before threads are gone that signals go to */
    pthread_join(disturber.thread, NULL);
    for (unsigned int i = 0; i < machine->cpu_count; i++) {
        soft_machine_wait(machine, i);
        CHECK_EQUAL(machine->cpus[i].end, MACHINE_DONE);
        CHECK_EQUAL(machine->cpus[i].result, 0);
    }
}

/* --- RSP, which is the host's while translated code runs --- */

GUEST(stack, "mov %rsi, %rsp\nmov $60000000, %ecx\n"
             "1: add $3, %eax\nxor %ecx, %edx\ndec %ecx\njnz 1b\n"
             "xor %eax, %eax\ncmp %rsi, %rsp\nsetne %al\n" GUEST_EXIT);

static void test_stack_anywhere(void)
{
    static const uint64_t places[] = {
        0, 1, 0x7fffffffffff, 0x800000000000, 0xdeadbeefdeadbeef, UINT64_MAX};
    uint64_t local = 0; /* also where the monitor itself has something */
    for (size_t i = 0; i <= sizeof(places) / sizeof(places[0]); i++) {
        struct soft_machine *machine = soft_machine_create(1);
        if (CHECK(machine != NULL)) {
            soft_machine_load(machine, MACHINE_CODE, guest_stack, GUEST_LENGTH(stack));
            run_disturbed(machine, i < sizeof(places) / sizeof(places[0])
                                       ? places[i]
                                       : (uint64_t)(uintptr_t)&local);
            soft_machine_destroy(machine);
        }
    }
    CHECK_EQUAL(local, 0);
}

/* --- code that is new each time, in a cache that is much too small --- */

GUEST(fresh, "mov %edi, %ebx\nshl $23, %rbx\nadd $0x800000, %rbx\nmov %rbx, %r14\n"
             "mov $40000, %ecx\n"
             "1: movb $0xb8, (%rbx)\nmov %ecx, 1(%rbx)\nmovb $0xc3, 5(%rbx)\n"
             "call *%rbx\ncmp %eax, %ecx\njne 3f\n"
             "add $32, %rbx\nmov %rbx, %rdx\nand $0x3ffff, %edx\njnz 2f\nmov %r14, %rbx\n"
             "2: dec %ecx\njnz 1b\n"
             "xor %eax, %eax\n" GUEST_EXIT "3: mov $1, %eax\n" GUEST_EXIT);

static void test_endless_fresh_code(void)
{
    char arguments[200];
    const char *tier = soft_tier_arguments();
    if (tier == NULL || strstr(tier, "translate") == NULL) {
        return;
    }
    char *before = strdup(tier);
    snprintf(arguments, sizeof(arguments), "%s,code-cache=1M", before);
    setenv("TRAPEZE_TEST_SOFT", arguments, 1);
    struct soft_machine *machine = soft_machine_create(4);
    setenv("TRAPEZE_TEST_SOFT", before, 1);
    free(before);
    if (CHECK(machine != NULL)) {
        soft_machine_load(machine, MACHINE_CODE, guest_fresh, GUEST_LENGTH(fresh));
        run_disturbed(machine, 0);
        soft_machine_destroy(machine);
    }
}

int main(void)
{
    thread_prepare_kicks();
    test_stack_anywhere();
    test_endless_fresh_code();
    return check_summary();
}
