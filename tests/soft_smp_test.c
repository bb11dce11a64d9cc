/*
 * Several vCPUs of the software engine in one guest: locked operations, modified code, kicks,
 * interrupts and page-table flags, all at the same time. Everything that is counted must come out
 * exact.
 *
 * Source: Intel SDM volume 3, "Locked Atomic Operations", "Handling Self- and Cross-Modifying
 *         Code", "Accessed and Dirty Flags".
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "check.h"
#include "engines/soft/cpu.h"
#include "no_cr8.h"
#include "soft_machine.h"
#include "soft_tier.h"
#include "x86/registers.h"

#if defined(__SANITIZE_THREAD__)
#define SLOWNESS 20
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SLOWNESS 20
#endif
#endif
#ifndef SLOWNESS
#define SLOWNESS 1
#endif

/* Where guests share: the barrier counts at 0x8200 to the number of vCPUs at 0x8208. */
#define BARRIER_ALL 0x8208
#define COUNTERS    UINT64_C(0x200000)

#define WAIT_FOR_ALL                                                                               \
    "lock incl 0x8200\n"                                                                           \
    "91: pause\nmov 0x8208, %eax\ncmp 0x8200, %eax\nja 91b\n"

static struct soft_machine *machine_of(unsigned int cpus)
{
    struct soft_machine *machine = soft_machine_create(cpus);
    if (machine != NULL) {
        soft_machine_put64(machine, BARRIER_ALL, cpus);
    }
    return machine;
}

/* --- someone who disturbs --- */

struct disturber {
    struct soft_machine *machine;
    pthread_t thread;
    long pause_ns;
    atomic_bool stop;
};

static void *disturb(void *context)
{
    struct disturber *disturber = context;
    struct timespec pause = {.tv_nsec = disturber->pause_ns};
    while (!disturber->stop) {
        for (unsigned int i = 0; i < disturber->machine->cpu_count; i++) {
            soft_machine_kick(disturber->machine, i);
            soft_machine_interrupt_changed(disturber->machine, i);
        }
        nanosleep(&pause, NULL);
    }
    return NULL;
}

/* Runs one guest on all vCPUs, kicking each all the time. RDI is the vCPU's number, RSI `rounds`.
 */
static void run_all_kicked(struct soft_machine *machine, uint64_t rounds, long pause_ns)
{
    struct disturber disturber = {.machine = machine, .pause_ns = pause_ns};
    CHECK_EQUAL(pthread_create(&disturber.thread, NULL, disturb, &disturber), 0);
    for (unsigned int i = 0; i < machine->cpu_count; i++) {
        machine->cpus[i].rdi = i;
        machine->cpus[i].rsi = rounds;
        soft_machine_start(machine, i, MACHINE_CODE);
    }
    for (unsigned int i = 0; i < machine->cpu_count; i++) {
        soft_machine_wait(machine, i);
        CHECK_EQUAL(machine->cpus[i].end, MACHINE_DONE);
        CHECK_EQUAL(machine->cpus[i].result, 0);
    }
    disturber.stop = true;
    pthread_join(disturber.thread, NULL);
}

static void run_all_disturbed(struct soft_machine *machine, uint64_t rounds)
{
    run_all_kicked(machine, rounds, 100000);
}

/* --- counters --- */

/* Where each lies from 0x200000 on, and in which way its address is awkward. */
#define ALIGNED       "0x000"
#define MISALIGNED    "0x041"
#define LINE_CROSSING "0x0bd"
#define PAGE_CROSSING "0xffd"
#define SPIN_LOCK     "0x140"
#define SPIN_COUNT    "0x148"
#define BIT_LOCK      "0x180"
#define BIT_COUNT     "0x188"
#define PAIR          "0x1c0"
#define EXCHANGED     "0x2fd" /* by CMPXCHG, crossing a cache line */
#define EXCHANGED_FAR "0x1ffe"
#define HALVES        "0x2ffc" /* 8 bytes, of which others count each half */

GUEST(counters, WAIT_FOR_ALL "mov $0x200000, %ebx\n"
                             "1:\n"
                             "lock incq " ALIGNED "(%rbx)\n"
                             "mov $1, %eax\nlock xadd %eax, " MISALIGNED "(%rbx)\n"
                             "lock addq $1, " LINE_CROSSING "(%rbx)\n"
                             "mov $1, %ecx\nlock xadd %rcx, " PAGE_CROSSING "(%rbx)\n"
                             /* XCHG takes a lock around a plain count */
                             "2: mov $1, %eax\nxchg %eax, " SPIN_LOCK "(%rbx)\n"
                             "test %eax, %eax\njnz 2b\n"
                             "incq " SPIN_COUNT "(%rbx)\n"
                             "movl $0, " SPIN_LOCK "(%rbx)\n"
                             /* BTS does */
                             "3: lock btsl $7, " BIT_LOCK "(%rbx)\njc 3b\n"
                             "incq " BIT_COUNT "(%rbx)\n"
                             "lock btrl $7, " BIT_LOCK "(%rbx)\n"
                             /* CMPXCHG in a loop */
                             "mov " EXCHANGED "(%rbx), %rax\n"
                             "4: lea 1(%rax), %rcx\nlock cmpxchg %rcx, " EXCHANGED "(%rbx)\n"
                             "jne 4b\n"
                             "mov " EXCHANGED_FAR "(%rbx), %eax\n"
                             "5: lea 1(%rax), %ecx\nlock cmpxchg %ecx, " EXCHANGED_FAR "(%rbx)\n"
                             "jne 5b\n"
                             /* CMPXCHG16B counts in both halves */
                             "mov %rbx, %rbp\n"
                             "mov " PAIR "(%rbp), %rax\nmov 8+" PAIR "(%rbp), %rdx\n"
                             "6: lea 1(%rax), %rbx\nlea 3(%rdx), %rcx\n"
                             "lock cmpxchg16b " PAIR "(%rbp)\njne 6b\n"
                             "mov %rbp, %rbx\n"
                             /* the whole across the page, and each half on its own */
                             "mov $0x100000001, %rax\nlock addq %rax, " HALVES "(%rbx)\n"
                             "lock incl " HALVES "(%rbx)\n"
                             "lock addl $2, 4+" HALVES "(%rbx)\n"
                             "dec %rsi\njnz 1b\n"
                             "xor %eax, %eax\n" GUEST_EXIT);

static void test_counters(unsigned int cpus)
{
    struct soft_machine *machine = machine_of(cpus);
    if (!CHECK(machine != NULL)) {
        return;
    }
    uint64_t rounds = 20000 / SLOWNESS, all = rounds * cpus;
    soft_machine_load(machine, MACHINE_CODE, guest_counters, GUEST_LENGTH(counters));
    run_all_disturbed(machine, rounds);
    CHECK_EQUAL(soft_machine_get64(machine, COUNTERS), all);
    CHECK_EQUAL((uint32_t)soft_machine_get64(machine, COUNTERS + 0x41), all);
    CHECK_EQUAL(soft_machine_get64(machine, COUNTERS + 0xbd), all);
    CHECK_EQUAL(soft_machine_get64(machine, COUNTERS + 0xffd), all);
    CHECK_EQUAL(soft_machine_get64(machine, COUNTERS + 0x148), all);
    CHECK_EQUAL(soft_machine_get64(machine, COUNTERS + 0x188), all);
    CHECK_EQUAL(soft_machine_get64(machine, COUNTERS + 0x1c0), all);
    CHECK_EQUAL(soft_machine_get64(machine, COUNTERS + 0x1c8), 3 * all);
    CHECK_EQUAL(soft_machine_get64(machine, COUNTERS + 0x2fd), all);
    CHECK_EQUAL((uint32_t)soft_machine_get64(machine, COUNTERS + 0x1ffe), all);
    CHECK_EQUAL((uint32_t)soft_machine_get64(machine, COUNTERS + 0x2ffc), 2 * all);
    CHECK_EQUAL((uint32_t)soft_machine_get64(machine, COUNTERS + 0x3000), 3 * all);
    soft_machine_destroy(machine);
}

/* --- cross-modifying code --- */

/*
 * vCPU 0 modifies: it announces a number at 0x8220, stores it into the line, publishes it at
 * 0x8228, and executes the line itself every other time. The others take the published number,
 * serialise, execute the line, and where no other number had been announced by then, theirs must
 * be it. They count in 0x8230 how often they could tell.
 */
GUEST(cross, "mov 0x8240, %r8\nadd $1, %r8\n" WAIT_FOR_ALL "test %edi, %edi\njnz 5f\n"
             /* the modifier */
             "xor %r15d, %r15d\n"
             "1: inc %r15d\n"
             "mov %r15d, 0x8220\n"
             "mov %r15d, (%r8)\n"
             "mov %r15d, 0x8228\n"
             "mov %r15d, %ecx\nand $63, %ecx\ninc %ecx\n"
             "2: pause\nloop 2b\n"
             "test $1, %r15b\njz 3f\n"
             "call *0x8248\ncmp %eax, %r15d\njne 9f\n"
             "3: cmp %rsi, %r15\njb 1b\n"
             "movl $1, 0x8210\n"
             "xor %eax, %eax\n" GUEST_EXIT
             /* the others */
             "5: mov 0x8228, %r14d\n"
             "xor %eax, %eax\ncpuid\n"
             "call *0x8248\n"
             "cmp 0x8220, %r14d\njne 6f\n"
             "lock incl 0x8230\n"
             "cmp %eax, %r14d\njne 9f\n"
             "6: cmpl $0, 0x8210\nje 5b\n"
             "xor %eax, %eax\n" GUEST_EXIT "9: mov $1, %eax\n" GUEST_EXIT);

static void test_cross_modifying(unsigned int cpus, uint64_t line, uint64_t written_at)
{
    static const uint8_t code[] = {0xb8, 0, 0, 0, 0, 0xc3};
    struct soft_machine *machine = machine_of(cpus);
    if (!CHECK(machine != NULL)) {
        return;
    }
    soft_machine_load(machine, MACHINE_CODE, guest_cross, GUEST_LENGTH(cross));
    soft_machine_load(machine, line, code, sizeof(code));
    soft_machine_put64(machine, 0x8240, written_at);
    soft_machine_put64(machine, 0x8248, line);
    run_all_disturbed(machine, 100000 / SLOWNESS);
    CHECK(soft_machine_get64(machine, 0x8230) > 0);
    soft_machine_destroy(machine);
}

/* --- each vCPU modifies code of its own, all in one page --- */

/* The line of vCPU n is at 0x151000 + 64 n: MOV $round, %EAX; RET. */
GUEST(neighbours, "shl $6, %edi\nadd $0x151000, %edi\n"
                  "movb $0xb8, (%rdi)\nmovl $0, 1(%rdi)\nmovb $0xc3, 5(%rdi)\n" WAIT_FOR_ALL
                  "xor %r15d, %r15d\n"
                  "1: inc %r15d\n"
                  "mov %r15d, 1(%rdi)\n"
                  "call *%rdi\n"
                  "cmp %eax, %r15d\njne 9f\n"
                  "cmp %rsi, %r15\njb 1b\n"
                  "xor %eax, %eax\n" GUEST_EXIT "9: mov %r15d, %eax\n" GUEST_EXIT);

static void test_neighbours(unsigned int cpus, uint64_t rounds)
{
    struct soft_machine *machine = machine_of(cpus);
    if (!CHECK(machine != NULL)) {
        return;
    }
    soft_machine_load(machine, MACHINE_CODE, guest_neighbours, GUEST_LENGTH(neighbours));
    run_all_disturbed(machine, rounds);
    soft_machine_destroy(machine);
}

/* --- interrupts between vCPUs --- */

/* Each vCPU's interrupt controller: one vector, pending or not. */
struct tiny_controller {
    atomic_bool pending;
    atomic_uint sent, taken;
};

static bool tiny_pending(void *context)
{
    return ((struct tiny_controller *)context)->pending;
}

static int tiny_acknowledge(void *context)
{
    struct tiny_controller *controller = context;
    if (!atomic_exchange(&controller->pending, false)) {
        return -1;
    }
    controller->taken++;
    return 0x20;
}

struct exchange {
    struct soft_machine *machine;
    struct tiny_controller controllers[MACHINE_CPUS_MAX];
    struct interrupt_source sources[MACHINE_CPUS_MAX];
};

/* An OUT to port 0xe1 sends an interrupt to the vCPU of that number. */
static void send_interrupt(void *context, struct vcpu_exit *exit)
{
    struct exchange *exchange = context;
    if (exit->reason != EXIT_PIO || exit->pio.port != 0xe1) {
        return;
    }
    unsigned int target = exit->pio.data[0] % exchange->machine->cpu_count;
    if (!atomic_exchange(&exchange->controllers[target].pending, true)) {
        exchange->controllers[target].sent++;
    }
    soft_machine_interrupt_changed(exchange->machine, target);
}

/*
 * Sends RSI interrupts to the next vCPU while taking those of the previous one; the handler counts
 * at 0x8300 + 8 n. Between them registers and flags must stay what they are.
 */
GUEST(interrupts, "mov %edi, %r12d\nlea 1(%rdi), %r13d\nmov 0x8208, %eax\n"
                  "cmp %eax, %r13d\nsbb %ecx, %ecx\nand %ecx, %r13d\n" WAIT_FOR_ALL "sti\n"
                  "1: mov %r13d, %eax\nout %al, $0xe1\n"
                  "mov $40, %ecx\nmov $0x1234567, %ebx\nmov %ebx, %edx\n"
                  "2: add $0x10001, %rbx\nadd $0x10001, %rdx\n"
                  "stc\njnc 9f\n"
                  "cmp %rbx, %rdx\njne 9f\n"
                  "dec %ecx\njnz 2b\n"
                  "dec %rsi\njnz 1b\n"
                  /* until all have sent theirs and nothing is pending */
                  "lock incl 0x8250\n"
                  "3: pause\nmov 0x8208, %eax\ncmp 0x8250, %eax\nja 3b\n"
                  "mov $1000, %ecx\n4: loop 4b\n"
                  "cli\nxor %eax, %eax\n" GUEST_EXIT "9: mov $1, %eax\n" GUEST_EXIT);
GUEST(count_interrupt, "push %rax\nmov %r12, %rax\nincq 0x8300(,%rax,8)\npop %rax\niretq\n");

static void test_interrupts(unsigned int cpus)
{
    static struct exchange exchange;
    struct soft_machine *machine = machine_of(cpus);
    if (!CHECK(machine != NULL)) {
        return;
    }
    memset(&exchange, 0, sizeof(exchange));
    exchange.machine = machine;
    for (unsigned int i = 0; i < cpus; i++) {
        exchange.sources[i] = (struct interrupt_source){.pending = tiny_pending,
                                                        .acknowledge = tiny_acknowledge,
                                                        .get_cr8 = no_get_cr8,
                                                        .set_cr8 = no_set_cr8,
                                                        .context = &exchange.controllers[i]};
        machine->cpus[i].interrupts = &exchange.sources[i];
    }
    machine->serve = send_interrupt;
    machine->context = &exchange;
    soft_machine_load(machine, MACHINE_CODE, guest_interrupts, GUEST_LENGTH(interrupts));
    soft_machine_load(machine, 0x9000, guest_count_interrupt, GUEST_LENGTH(count_interrupt));
    soft_machine_set_gate(machine, 0x20, 0x9000);
    run_all_disturbed(machine, 20000 / SLOWNESS);
    for (unsigned int i = 0; i < cpus; i++) {
        const struct tiny_controller *controller = &exchange.controllers[i];
        CHECK(!controller->pending);
        CHECK(controller->sent > 0);
        CHECK_EQUAL(controller->taken, controller->sent);
        CHECK_EQUAL(soft_machine_get64(machine, 0x8300 + 8 * i), controller->taken);
    }
    soft_machine_destroy(machine);
}

/* --- accessed and dirty flags --- */

/*
 * vCPU 0 clears A and D of the entry for 0x151000 and flips one of the bits that belong to
 * software, all by locked operations; the others use the page all the time with the translation
 * thrown away. No flip may be lost to a processor that puts the flags back.
 */
GUEST(flags, "mov $0x4000 + 8 * 0x151, %ebx\nmov $0x151000, %ebp\n" WAIT_FOR_ALL
             "test %edi, %edi\njnz 5f\n"
             "xor %r15d, %r15d\n"
             "1: lock xorq $0x200, (%rbx)\n"
             "xor $0x200, %r15d\n"
             "lock andq $~0x60, (%rbx)\n"
             "mov (%rbx), %rax\nand $0x200, %eax\ncmp %eax, %r15d\njne 9f\n"
             "dec %rsi\njnz 1b\n"
             "movl $1, 0x8210\n"
             "xor %eax, %eax\n" GUEST_EXIT
             "5: mov (%rbp), %eax\ninvlpg (%rbp)\nlock incl (%rbp)\ninvlpg (%rbp)\n"
             "cmpl $0, 0x8210\nje 5b\n"
             "xor %eax, %eax\n" GUEST_EXIT "9: mov $1, %eax\n" GUEST_EXIT);

static void test_accessed_and_dirty(unsigned int cpus)
{
    struct soft_machine *machine = machine_of(cpus);
    if (!CHECK(machine != NULL)) {
        return;
    }
    soft_machine_load(machine, MACHINE_CODE, guest_flags, GUEST_LENGTH(flags));
    run_all_disturbed(machine, 200000 / SLOWNESS);
    CHECK_EQUAL(*soft_machine_page_entry(machine, 0x151000) & ~UINT64_C(0x260), 0x151003);
    soft_machine_destroy(machine);
}

/* --- write tags taken from another --- */

/*
 * vCPU 1 says at port 0xe0 that it is ready and waits; vCPU 0 executes a page that nobody has
 * executed; then vCPU 1 looks, at port 0xe1. Its own code lies in one page, so that it is the other
 * who takes tags.
 */
GUEST(revoke, WAIT_FOR_ALL "test %edi, %edi\njz 2f\n"
                           "out %eax, $0xe0\n"
                           "movl $1, 0x8210\n"
                           "1: pause\ncmpl $0, 0x8218\nje 1b\n"
                           "out %eax, $0xe1\n"
                           "xor %eax, %eax\n" GUEST_EXIT "2: pause\ncmpl $0, 0x8210\nje 2b\n"
                           "mov $0x153000, %eax\ncall *%rax\n"
                           "movl $1, 0x8218\n"
                           "xor %eax, %eax\n" GUEST_EXIT);

struct revoked {
    struct soft_machine *machine;
    uint8_t after;
};

static void look_at_revoked(void *context, struct vcpu_exit *exit)
{
    struct revoked *revoked = context;
    /* The engine's vCPU begins with its struct soft_cpu (engine.c); it is the one that exits. */
    struct soft_cpu *cpu = (void *)revoked->machine->cpus[1].vcpu;
    if (exit->pio.port == 0xe0) {
        __atomic_store_n(&cpu->write_revoked, 0, __ATOMIC_SEQ_CST);
    } else {
        revoked->after = __atomic_load_n(&cpu->write_revoked, __ATOMIC_SEQ_CST);
    }
}

static void test_write_revoked(void)
{
    struct soft_machine *machine = machine_of(2);
    if (!CHECK(machine != NULL)) {
        return;
    }
    struct revoked revoked = {.machine = machine};
    machine->serve = look_at_revoked;
    machine->context = &revoked;
    soft_machine_load(machine, MACHINE_CODE, guest_revoke, GUEST_LENGTH(revoke));
    soft_machine_load(machine, 0x153000, "\xc3", 1);
    run_all_disturbed(machine, 1);
    if (!soft_tier_translates_at_once()) { /* who enters translated code clears it */
        CHECK_EQUAL(revoked.after, 1);
    }
    soft_machine_destroy(machine);
}

/* --- code that others write and run is none of ours --- */

/*
 * vCPU 1 says at port 0xe0 that it is ready and waits; vCPU 0 writes functions into 256 pages,
 * calls them, and writes them anew, again and again; then vCPU 1 looks, at port 0xe1.
 */
GUEST(rewrite, WAIT_FOR_ALL "test %edi, %edi\njz 2f\n"
                            "out %eax, $0xe0\n"
                            "movl $1, 0x8220\n"
                            "1: pause\ncmpl $0, 0x8228\nje 1b\n"
                            "out %eax, $0xe1\n"
                            "xor %eax, %eax\n" GUEST_EXIT "2: pause\ncmpl $0, 0x8220\nje 2b\n"
                            "mov $20, %r12d\n"
                            "3: mov $0x600000, %ebx\n"
                            "4: movl $0xc39090b0, (%rbx)\nmov %r12b, 1(%rbx)\n"
                            "call *%rbx\n"
                            "cmp %al, %r12b\njne 5f\n"
                            "add $0x1000, %ebx\ncmp $0x700000, %ebx\njne 4b\n"
                            "dec %r12d\njnz 3b\n"
                            "movl $1, 0x8228\n"
                            "xor %eax, %eax\n" GUEST_EXIT "5: mov $1, %eax\n"
                            "movl $1, 0x8228\n" GUEST_EXIT);

struct rewritten {
    struct soft_machine *machine;
    uint64_t generation[2]; /* before and after: changes when anything of ours is dropped */
};

static void look_at_rewritten(void *context, struct vcpu_exit *exit)
{
    struct rewritten *rewritten = context;
    struct soft_cpu *cpu = (void *)rewritten->machine->cpus[1].vcpu;
    rewritten->generation[exit->pio.port == 0xe0 ? 0 : 1] = cpu->code_generation[0];
}

static void test_rewritten_by_another(void)
{
    struct soft_machine *machine = machine_of(2);
    if (!CHECK(machine != NULL)) {
        return;
    }
    struct rewritten rewritten = {.machine = machine};
    machine->serve = look_at_rewritten;
    machine->context = &rewritten;
    soft_machine_load(machine, MACHINE_CODE, guest_rewrite, GUEST_LENGTH(rewrite));
    run_all_disturbed(machine, 1);
    CHECK(rewritten.generation[0] != 0);
    CHECK_EQUAL(rewritten.generation[1], rewritten.generation[0]);
    soft_machine_destroy(machine);
}

/*
 * vCPU 1 makes a page code and a page of data again, which takes write tags away: now and then that
 * meets the store of vCPU 0's XCHG, whose block then ends behind it. The flags that CMP made are to
 * be told there, though XCHG has changed one of its operands.
 */
GUEST(racing, WAIT_FOR_ALL "test %edi, %edi\njnz 5f\n"
                           "mov $0x300000, %ecx\nmov $1, %ebx\n"
                           "1: movq $5, (%rcx)\nmov $1, %eax\n"
                           "cmp %rbx, %rax\nxchg %rax, (%rcx)\n"
                           "guest_racing_behind: test %r12d, %r12d\n"
                           "sub $1, %rsi\njnz 1b\n"
                           "movl $1, 0x8210\nxor %eax, %eax\n" GUEST_EXIT "5: mov $0x600000, %ecx\n"
                           "6: movb $0xc3, (%rcx)\ncall *%rcx\n"
                           "cmpl $0, 0x8210\nje 6b\nxor %eax, %eax\n" GUEST_EXIT);

extern const uint8_t guest_racing_behind[];

static void look_behind_exchange(void *context, struct machine_cpu *machine_cpu)
{
    const struct soft_cpu *cpu = (const void *)machine_cpu->vcpu; /* it begins with that */
    uint64_t behind = MACHINE_CODE + (uint64_t)(guest_racing_behind - guest_racing);
    (void)context;
    if (machine_cpu->index == 0 && cpu->rip == behind) {
        CHECK((soft_arithmetic_flags(cpu) & X86_FLAGS_ZF) != 0);
    }
}

static void test_flags_behind_store(void)
{
    struct soft_machine *machine = machine_of(2);
    machine->kicked = look_behind_exchange;
    soft_machine_load(machine, MACHINE_CODE, guest_racing, GUEST_LENGTH(racing));
    run_all_kicked(machine, 20000000, 5000);
    soft_machine_destroy(machine);
}

int main(void)
{
    test_flags_behind_store();
    test_counters(2);
    test_counters(4);
    test_cross_modifying(2, 0x151003, 0x151003);
    test_cross_modifying(3, 0x151003, 0x151003);
    test_cross_modifying(2, 0x151003, 0x151003 + MACHINE_ALIAS);
    test_cross_modifying(2, 0x151fff, 0x151fff);
    test_neighbours(2, 40000 / SLOWNESS);
    test_neighbours(4, 10000 / SLOWNESS);
    test_interrupts(2);
    test_interrupts(4);
    test_accessed_and_dirty(2);
    test_accessed_and_dirty(3);
    test_write_revoked();
    test_rewritten_by_another();
    return check_summary();
}
