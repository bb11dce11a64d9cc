/*
 * What `count` counts, on the real software CPU. Instructions are exact in each tier, but that the
 * interpreter forgets those of a block that a fault ends.
 */
#include <stdlib.h>

#include "check.h"
#include "engines/soft/cpu.h"
#include "engines/soft/soft.h"
#include "engines/soft/translate/measure.h"
#include "soft_guest.h"
#include "soft_machine.h"

#define ROUNDS 1000u

/* 2 instructions, and 15 a round: a call, a return, a conditional way, some that C runs. */
GUEST(loop, "mov $1000, %ecx\n"
            "1: mov %ecx, 0x300000\n"
            "add 0x300000, %eax\n"
            "call 2f\n"
            "test $1, %cl\n"
            "jnz 3f\n" /* taken every other time: as many instructions either way */
            "add $1, %ebx\n"
            "jmp 4f\n"
            "3: add $2, %ebx\n"
            "nop\n"
            "4: pushf\npop %rdx\n"
            "dec %ecx\n"
            "jnz 1b\n"
            "hlt\n"
            "2: lea 5f(%rip), %rsi\nxor %edx, %edx\njmp *%rsi\n"
            "5: ret\n");

#define LOOP_INSTRUCTIONS (2 + 15 * ROUNDS)

/* Faults in the middle: each round runs 3, faults, and is taken to the fourth's successor. */
GUEST(fault, "1: nop\nadd $1, %eax\nmov %eax, 0x300000\n"
             "mov 0x20000000000, %al\n"
             "cmp $10, %eax\njb 1b\nud2\n");

static struct translate_statistics statistics_of(const struct soft_guest *guest)
{
    struct translate_statistics statistics;
    translate_statistics((const void *)guest->vcpu,
                         &statistics); /* it begins with struct soft_cpu */
    return statistics;
}

static bool open(struct soft_guest *guest, const char *arguments, const uint8_t *code,
                 size_t length)
{
    setenv("TRAPEZE_TEST_SOFT", arguments, 1);
    if (!soft_guest_open(guest, SOFT_GUEST_64)) {
        return false;
    }
    soft_guest_load(guest, code, length);
    return true;
}

static void run_loop(const char *arguments, struct translate_statistics *statistics,
                     uint64_t *instructions)
{
    struct soft_guest guest;
    *statistics = (struct translate_statistics){0};
    *instructions = 0;
    if (open(&guest, arguments, guest_loop, GUEST_LENGTH(loop))) {
        CHECK_EQUAL(soft_guest_run(&guest), EXIT_HLT);
        CHECK_EQUAL(guest.state.gpr[X86_RBX], ROUNDS / 2 * 3);
        *statistics = statistics_of(&guest);
        *instructions = soft_engine.instructions(guest.vcpu);
    }
    soft_guest_close(&guest);
}

static void test_interpreter(void)
{
    struct translate_statistics statistics;
    uint64_t instructions;
    run_loop("tier=interpreter,count", &statistics, &instructions);
    CHECK_EQUAL(instructions, LOOP_INSTRUCTIONS);
    CHECK_EQUAL(statistics.interpreted_instructions, LOOP_INSTRUCTIONS);
    CHECK(statistics.ns_interpreter > 0);
    CHECK_EQUAL(statistics.blocks_translated, 0);
    CHECK_EQUAL(statistics.translated_entries, 0);
    CHECK_EQUAL(statistics.ns_translated, 0);
    CHECK_EQUAL(statistics.translate_ns, 0);
}

static void test_translated(void)
{
    struct translate_statistics statistics;
    uint64_t instructions;
    run_loop("translate-after=0,count", &statistics, &instructions);
    CHECK_EQUAL(instructions, LOOP_INSTRUCTIONS);
    CHECK_EQUAL(statistics.interpreted_instructions, 0);
    CHECK_EQUAL(statistics.interpreted_blocks, 0);
    CHECK(statistics.blocks_translated > 0 && statistics.translate_ns > 0);
    CHECK(statistics.guest_instructions_translated >= 19);
    CHECK(statistics.guest_bytes >= GUEST_LENGTH(loop));
    CHECK(statistics.host_bytes > statistics.guest_bytes);
    CHECK(statistics.ns_translated > 0);
    /* A round has at least the call's block, the return's, and those around the conditional. */
    CHECK(statistics.blocks_run >= 4 * ROUNDS);
    CHECK(statistics.translated_entries > 0 && statistics.translated_entries < ROUNDS);
    CHECK(statistics.links_made > 0);
    CHECK_EQUAL(statistics.jump_hits + statistics.jump_misses, 2 * ROUNDS);
    CHECK(statistics.jump_misses > 0 && statistics.jump_misses < 10);
    CHECK(statistics.dispatches >= statistics.jump_misses);
    CHECK(statistics.dispatch_hits <= statistics.dispatches);
    CHECK(statistics.direct_exits > 0 && statistics.direct_exits < 20);
    /* MOV, ADD, CALL, RET, POP; PUSHF is C's or not */
    CHECK(statistics.tlb_accesses >= 4 * ROUNDS);
    CHECK(statistics.slow_reads < 10);
    CHECK(statistics.slow_writes > 0 && statistics.slow_writes < 10);
}

static void test_mixed(void)
{
    struct translate_statistics statistics;
    uint64_t instructions;
    run_loop("translate-after=100,count", &statistics, &instructions);
    CHECK_EQUAL(instructions, LOOP_INSTRUCTIONS);
    CHECK(statistics.interpreted_blocks > 100 && statistics.interpreted_blocks < 1000);
    CHECK(statistics.interpreted_instructions > 100 * 15);
    CHECK(statistics.interpreted_instructions < 300 * 15);
    CHECK(statistics.ns_interpreter > 0 && statistics.ns_translated > 0);
}

/* Nothing that costs anything, and no half truths. */
static void test_not_counted(void)
{
    struct translate_statistics statistics;
    uint64_t instructions;
    run_loop("translate-after=0", &statistics, &instructions);
    CHECK_EQUAL(instructions, 0);
    CHECK_EQUAL(statistics.blocks_run, 0);
    CHECK_EQUAL(statistics.tlb_accesses, 0);
    CHECK_EQUAL(statistics.jump_hits + statistics.jump_misses, 0);
    CHECK_EQUAL(statistics.ns_translated + statistics.ns_interpreter, 0);
    CHECK_EQUAL(statistics.interpreted_instructions, 0);
    CHECK(statistics.blocks_translated > 0);
    CHECK_EQUAL(statistics.translate_ns, 0);
}

/* A fault leaves the block in its middle; what ran before it counts, what faulted does not. */
static void test_faults(void)
{
    struct soft_guest guest;
    if (open(&guest, "translate-after=0,count", guest_fault, GUEST_LENGTH(fault))) {
        uint64_t expected = 0;
        for (unsigned int i = 0; i < 10; i++) {
            CHECK_EQUAL(soft_guest_run(&guest), EXIT_HLT);
            if (!CHECK_EQUAL(soft_guest_vector(&guest), X86_VECTOR_PF)) {
                break;
            }
            expected += 3 + 1; /* and the handler's HLT */
            CHECK_EQUAL(soft_engine.instructions(guest.vcpu), expected);
            soft_guest_set_frame(&guest, 1, soft_guest_frame(&guest, 1) + 9);
            guest.state.gpr[X86_RSP] += 8;
            expected += 1 + 2; /* IRET, CMP, JB */
        }
        CHECK_EQUAL(soft_guest_run(&guest), EXIT_HLT);
        CHECK_EQUAL(soft_guest_vector(&guest), X86_VECTOR_UD);
        CHECK_EQUAL(soft_engine.instructions(guest.vcpu), expected + 1);
    }
    soft_guest_close(&guest);
}

/* The leader of a group finds its page missing, and goes on once it is there. */
GUEST(group, "mov $0x300000, %edi\nmov (%rdi), %eax\nmov 8(%rdi), %eax\nhlt\n");

static void test_group(void)
{
    struct soft_guest guest;
    if (open(&guest, "translate-after=0,count", guest_group, GUEST_LENGTH(group))) {
        CHECK_EQUAL(soft_guest_run(&guest), EXIT_HLT);
        CHECK_EQUAL(soft_engine.instructions(guest.vcpu), 4);
    }
    soft_guest_close(&guest);
}

int main(void)
{
    test_interpreter();
    test_translated();
    test_mixed();
    test_not_counted();
    test_faults();
    test_group();
    return check_summary();
}
