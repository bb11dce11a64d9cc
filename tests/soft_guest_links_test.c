/*
 * What branches remember of where they lead, on the real software CPU: never more than holds.
 *
 * A frame begins with code that returns its number. A window of four pages, of which each test maps
 * what it wants, appears in the lower and in the upper half of the address space.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "check.h"
#include "engines/soft/soft.h"
#include "soft_guest.h"
#include "soft_guest_window.h"
#include "soft_machine.h"
#include "x86/registers.h"

static bool open_window(struct soft_guest *guest)
{
    if (!soft_guest_window_open(guest)) {
        return false;
    }
    for (unsigned int i = 0; i < 4; i++) {
        soft_guest_window_map(guest, i, i);
        soft_guest_write(guest, FRAMES + i * PAGE, 0xb8, 1); /* mov eax, frame; ret */
        soft_guest_write(guest, FRAMES + i * PAGE + 1, i, 4);
        soft_guest_write(guest, FRAMES + i * PAGE + 5, 0xc3, 1);
    }
    return true;
}

static void load_and_run(struct soft_guest *guest, const uint8_t *code, size_t length)
{
    soft_guest_load(guest, code, length);
    CHECK_EQUAL(soft_guest_run(guest), EXIT_HLT);
    CHECK_EQUAL(soft_guest_vector(guest), -1);
}

/*
 * From the lower half into the upper one, whose pages change; the halves are flushed out of step:
 * how often the one was must not be taken for the other's.
 */
GUEST(halves, "movabs $0xffffff8040000000, %rdi\nmov $100, %ecx\n"
              "1: invlpg (%rdi)\ndec %ecx\njnz 1b\n"
              "mov $300, %ecx\nxor %r8d, %r8d\n"
              "1: mov %ecx, %edx\nand $1, %edx\nshl $12, %edx\nadd $0x380067, %edx\n"
              "mov %rdx, 0x314000\n"
              "invlpg (%rdi)\n"
              "invlpg 0x40000000\ninvlpg 0x40000000\n"
              "call *%rdi\n"
              "mov %ecx, %edx\nand $1, %edx\ncmp %eax, %edx\nje 2f\ninc %r8\n"
              "2: dec %ecx\njnz 1b\nhlt\n");

static void test_halves(void)
{
    struct soft_guest guest;
    if (open_window(&guest)) {
        load_and_run(&guest, guest_halves, GUEST_LENGTH(halves));
        CHECK_EQUAL(guest.state.gpr[X86_R8], 0);
        soft_guest_close(&guest);
    }
}

/* What is remembered of an address leads nobody there who jumps to one that is not canonical. */
GUEST(hole, "mov $0x40000000, %edi\ncall *%rdi\ninvlpg (%rdi)\ncall *%rdi\ninvlpg (%rdi)\n"
            "jmp *%rsi\n");

static void test_hole(void)
{
    struct soft_guest guest;
    if (!open_window(&guest)) {
        return;
    }
    for (uint64_t upper = 1; upper < 0xfff; upper++) {
        soft_guest_load(&guest, guest_hole, GUEST_LENGTH(hole));
        guest.state.gpr[X86_RSI] = WINDOW | upper << 48;
        guest.state.gpr[X86_RSP] = SOFT_GUEST_STACK;
        soft_guest_run(&guest);
        if (!CHECK_EQUAL(soft_guest_vector(&guest), X86_VECTOR_GP)) {
            break;
        }
        CHECK_EQUAL(soft_guest_frame(&guest, 1), SOFT_GUEST_CODE + GUEST_LENGTH(hole) - 2);
    }
    soft_guest_close(&guest);
}

/* The same by each kind of branch: the fault is the branch's own, and RSP is as before it. */
GUEST(hole_ret, "mov $0x40000000, %edi\ncall *%rdi\npush %rsi\nret\n");
GUEST(hole_ret_release, "mov $0x40000000, %edi\ncall *%rdi\npush %rsi\nret $16\n");
GUEST(hole_call, "mov $0x40000000, %edi\ncall *%rdi\npush %rsi\ncall *%rsi\n");
GUEST(hole_call_memory, "mov $0x40000000, %edi\ncall *%rdi\npush %rsi\ncall *(%rsp)\n");
GUEST(hole_jmp_memory, "mov $0x40000000, %edi\ncall *%rdi\npush %rsi\njmp *(%rsp)\n");

static void test_each_branch_into_the_hole(void)
{
    static const struct {
        const uint8_t *begin, *end;
        unsigned int length; /* of the branch */
    } guests[] = {{guest_hole_ret, guest_hole_ret_end, 1},
                  {guest_hole_ret_release, guest_hole_ret_release_end, 3},
                  {guest_hole_call, guest_hole_call_end, 2},
                  {guest_hole_call_memory, guest_hole_call_memory_end, 3},
                  {guest_hole_jmp_memory, guest_hole_jmp_memory_end, 3}};
    static const uint64_t uppers[] = {UINT64_C(1) << 48, UINT64_C(0x8000) << 48,
                                      UINT64_C(0xffff) << 48};
    struct soft_guest guest;
    if (!open_window(&guest)) {
        return;
    }
    for (unsigned int i = 0; i < 15; i++) {
        size_t length = (size_t)(guests[i % 5].end - guests[i % 5].begin);
        soft_guest_load(&guest, guests[i % 5].begin, length);
        guest.state.gpr[X86_RSI] = WINDOW | uppers[i / 5];
        guest.state.gpr[X86_RSP] = SOFT_GUEST_STACK;
        soft_guest_run(&guest);
        CHECK_EQUAL(soft_guest_vector(&guest), X86_VECTOR_GP);
        CHECK_EQUAL(soft_guest_frame(&guest, 1), SOFT_GUEST_CODE + length - guests[i % 5].length);
        CHECK_EQUAL(soft_guest_frame(&guest, 4), SOFT_GUEST_STACK - 8);
    }
    soft_guest_close(&guest);
}

/* One page of code at two linear addresses, different pages behind them. */
GUEST(twice, "mov $100, %ecx\nxor %r8d, %r8d\n"
             "1: mov $0x40000ff0, %edi\ncall *%rdi\nsub $1, %eax\nor %eax, %r8d\n"
             "mov $0x40002ff0, %edi\ncall *%rdi\nsub $3, %eax\nor %eax, %r8d\n"
             "mov $0x40000800, %edi\ncall *%rdi\nsub $1, %eax\nor %eax, %r8d\n"
             "mov $0x40002800, %edi\ncall *%rdi\nsub $3, %eax\nor %eax, %r8d\n"
             "dec %ecx\njnz 1b\nhlt\n");

static void test_page_at_two_addresses(void)
{
    struct soft_guest guest;
    if (open_window(&guest)) {
        soft_guest_window_map(&guest, 2, 0);
        soft_guest_write(&guest, FRAMES + 0x800, 0x7ebe9, 5); /* jmp to 0xff0 */
        soft_guest_write(&guest, FRAMES + 0xff0, UINT64_C(0x9090909090909090), 8);
        soft_guest_write(&guest, FRAMES + 0xff8, UINT64_C(0x9090909090909090), 8);
        load_and_run(&guest, guest_twice, GUEST_LENGTH(twice));
        CHECK_EQUAL(guest.state.gpr[X86_R8], 0);
        soft_guest_close(&guest);
    }
}

/* A loop that only ever jumps forward, round the 4 GByte: it can be stopped all the same. */
struct kicker {
    struct soft_guest *guest;
    atomic_bool over;
};

static void *kick(void *context)
{
    struct kicker *kicker = context;
    while (!atomic_load(&kicker->over)) {
        soft_engine.kick(kicker->guest->vcpu);
        sched_yield();
    }
    return NULL;
}

static void test_round_the_address_space(void)
{
    struct soft_guest guest;
    struct error error;
    const uint64_t directory = SOFT_GUEST_DATA;
    if (!soft_guest_open(&guest, SOFT_GUEST_32)) {
        return;
    }
    for (unsigned int i = 0; i < 4; i++) {
        soft_guest_write(&guest, directory + i * 1024, 0x83, 4); /* 4 MByte at each GByte */
    }
    guest.state.cr3 = directory;
    guest.state.cr4 |= X86_CR4_PSE;
    guest.state.cr0 |= X86_CR0_PG;
    /* Nearly 1 GByte on, three times, and a bit more: each from a page of its own. */
    for (unsigned int i = 0; i < 4; i++) {
        uint64_t at = SOFT_GUEST_CODE + i * PAGE;
        uint64_t next = (i < 3 ? at + PAGE : SOFT_GUEST_CODE) + 0x40000000;
        soft_guest_write(&guest, at, 0xe9, 1);
        soft_guest_write(&guest, at + 1, next - (at + 5), 4);
    }
    guest.state.rip = SOFT_GUEST_CODE;
    CHECK_EQUAL(soft_engine.set_state(guest.vcpu, X86_STATE_ALL, &guest.state, &error), 0);
    struct kicker kicker = {.guest = &guest};
    pthread_t thread;
    if (CHECK_EQUAL(pthread_create(&thread, NULL, kick, &kicker), 0)) {
        for (unsigned int i = 0; i < 50; i++) {
            CHECK_EQUAL(soft_engine.run(guest.vcpu, &guest.exit, &error), 0);
            CHECK_EQUAL(guest.exit.reason, EXIT_KICKED);
        }
        atomic_store(&kicker.over, true);
        pthread_join(thread, NULL);
    }
    soft_guest_close(&guest);
}

int main(void)
{
    test_halves();
    test_hole();
    test_each_branch_into_the_hole();
    test_page_at_two_addresses();
    test_round_the_address_space();
    return check_summary();
}
