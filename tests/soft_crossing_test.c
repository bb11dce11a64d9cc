/*
 * Instructions that begin in one page and end in another, on the real software CPU: the second page
 * is whatever the next linear page means now, and its permissions are those of now.
 *
 * Source: Intel SDM volume 3, "Access Rights", "Page-Fault Exceptions", "Process-Context
 *         Identifiers (PCIDs)", "Handling Self- and Cross-Modifying Code".
 *
 * The routine that is looked at: a loop whose ADD EAX, imm32 begins 1 to 4 bytes before the end of
 * a page. The lower half of the sum tells which bytes of the first page it was made of, the upper
 * which of the second. A driver calls it, as in soft_pcid_test.c.
 */
#include <string.h>

#include "boot/cpu_state.h"
#include "check.h"
#include "engines/soft/cpu.h"
#include "engines/soft/soft.h"
#include "engines/soft/translate/measure.h"
#include "soft_guest.h"
#include "soft_machine.h"
#include "soft_tier.h"
#include "x86/registers.h"

/* --- the guest --- */

#define MAILBOX 0x300000 /* routine, two arguments, result, inner routine */

/* EAX = the sum of what RSI rounds add */
GUEST(driver, "1: out %eax, $0x80\n"
              "mov 0x300008, %rdi\nmov 0x300010, %rsi\n"
              "xor %eax, %eax\nmov %esi, %ecx\n"
              "call *0x300000\n"
              "mov %rax, 0x300018\n"
              "jmp 1b\n"
              "guest_driver_run: jmp *%rdi\n"
              "guest_driver_cr3: mov %rdi, %cr3\nret\n"
              "guest_driver_invlpg: invlpg (%rdi)\nret\n"
              "guest_driver_store: mov %sil, (%rdi)\nret\n"
              "guest_driver_user: lea 2f(%rip), %rcx\nmov %esi, %ebx\nmov $2, %r11d\nsysretq\n"
              "2: mov %ebx, %ecx\ncall *%rdi\nsyscall\n"
              "guest_driver_back: ret\n");
extern const uint8_t guest_driver_run[], guest_driver_cr3[], guest_driver_invlpg[],
    guest_driver_store[], guest_driver_user[], guest_driver_back[];

/*
 * Address spaces map the first 4 MByte to themselves, and a window of eight pages. The first of
 * these is always frame 0; what is behind it, and in the other pairs, the test says.
 */
#define TABLES      UINT64_C(0x310000)
#define SPACE_BYTES UINT64_C(0x5000)
#define TASK_STATE  UINT64_C(0x330000)
#define FRAMES      UINT64_C(0x380000)
#define WINDOW      UINT64_C(0x40000000)
#define PAGE        UINT64_C(0x1000)
#define ENTRY       UINT64_C(0x67) /* present, writable, user, accessed, dirty */
#define LARGE       UINT64_C(0x80)
#define NO_EXECUTE  (UINT64_C(1) << 63)
#define ROUNDS      50u

enum { AS_KERNEL, AS_USER, LEVELS };

struct world {
    struct soft_guest guest;
    unsigned int before; /* bytes of the instruction in the first page */
    bool jumps;          /* a branch leads to it, else the instructions before it */
};

static uint64_t routine_address(const uint8_t *routine)
{
    return SOFT_GUEST_CODE + (uint64_t)(routine - guest_driver);
}

static uint64_t tables_of(unsigned int space)
{
    return TABLES + space * SPACE_BYTES;
}

static void map(struct world *world, unsigned int space, unsigned int page, unsigned int frame,
                uint64_t flags)
{
    soft_guest_write(&world->guest, tables_of(space) + 4 * PAGE + 8 * page,
                     (FRAMES + frame * PAGE) | flags, 8);
}

static void make_space(struct world *world, unsigned int space)
{
    uint64_t at = tables_of(space);
    struct soft_guest *guest = &world->guest;
    soft_guest_write(guest, at, (at + PAGE) | ENTRY, 8);
    soft_guest_write(guest, at + PAGE, (at + 2 * PAGE) | ENTRY, 8);
    soft_guest_write(guest, at + PAGE + 8, (at + 3 * PAGE) | ENTRY, 8);
    soft_guest_write(guest, at + 2 * PAGE, ENTRY | LARGE, 8);
    soft_guest_write(guest, at + 2 * PAGE + 8, (UINT64_C(1) << 21) | ENTRY | LARGE, 8);
    soft_guest_write(guest, at + 3 * PAGE, (at + 4 * PAGE) | ENTRY, 8);
    map(world, space, 0, 0, ENTRY);
}

/* The instruction's immediate: which frames it stands in. */
static uint32_t addend(unsigned int first, unsigned int second)
{
    return (second + 1) << 24 | (first + 1);
}

/* Frames that begin, and frames that end, the loop: NOPs or a jump, ADD, DEC ECX, JNZ to the
 * beginning, RET. */
static void fill_frames(struct world *world)
{
    for (unsigned int frame = 0; frame < 8; frame++) {
        uint32_t immediate = addend(frame, frame);
        uint8_t bytes[18] = {[0 ... 7] = 0x90, [8] = 0x05, [13] = 0xff, 0xc9, 0x75, 0xef, 0xc3};
        memcpy(bytes + 9, &immediate, 4);
        if (world->jumps) {
            bytes[0] = 0xeb; /* JMP to the ADD */
            bytes[1] = 6;
        }
        uint64_t at = FRAMES + frame * PAGE;
        unsigned int head = 8 + world->before;
        guestmem_write(world->guest.memory, gpa(at + PAGE - head), bytes, head);
        guestmem_write(world->guest.memory, gpa(at), bytes + head, sizeof(bytes) - head);
    }
}

static bool step_driver(struct world *world)
{
    struct error error;
    do {
        if (soft_engine.run(world->guest.vcpu, &world->guest.exit, &error) != 0) {
            return false;
        }
    } while (world->guest.exit.reason == EXIT_KICKED);
    return true;
}

static uint64_t command(struct world *world, const uint8_t *routine, uint64_t a, uint64_t b)
{
    struct soft_guest *guest = &world->guest;
    soft_guest_write(guest, MAILBOX, routine_address(routine), 8);
    soft_guest_write(guest, MAILBOX + 8, a, 8);
    soft_guest_write(guest, MAILBOX + 16, b, 8);
    if (!step_driver(world) || guest->exit.reason != EXIT_PIO) {
        return UINT64_MAX;
    }
    return soft_guest_read(guest, MAILBOX + 24, 8);
}

/* Runs the loop that begins in a page of the window; the sum for each round. */
static uint64_t run_rounds(struct world *world, unsigned int level, unsigned int page,
                           unsigned int rounds)
{
    uint64_t start = WINDOW + (page + 1) * PAGE - world->before - 8;
    uint64_t sum =
        command(world, level == AS_USER ? guest_driver_user : guest_driver_run, start, rounds);
    return sum;
}

static bool adds(struct world *world, unsigned int level, unsigned int page, unsigned int first,
                 unsigned int second)
{
    first = world->before > 1 ? first : second; /* else it is the opcode alone */
    return CHECK_EQUAL(run_rounds(world, level, page, ROUNDS),
                       (uint32_t)(addend(first, second) * ROUNDS));
}

/* variant: 0 to 7 */
static bool world_open(struct world *world, unsigned int variant)
{
    struct x86_state *state = &world->guest.state;
    if (!soft_guest_open(&world->guest, SOFT_GUEST_64)) {
        return false;
    }
    world->before = 1 + variant % 4;
    world->jumps = variant >= 4;
    fill_frames(world);
    for (unsigned int space = 0; space < 2; space++) {
        make_space(world, space);
        for (unsigned int page = 1; page < 8; page++) {
            map(world, space, page, page, ENTRY);
        }
    }
    soft_guest_load(&world->guest, guest_driver, GUEST_LENGTH(driver));
    state->cr3 = tables_of(0);
    state->cr4 |= X86_CR4_PCIDE;
    state->efer |= X86_EFER_SCE | X86_EFER_NXE;
    state->msr.star = (uint64_t)BOOT_SELECTOR_CODE << 32 | UINT64_C(0x20) << 48;
    state->msr.lstar = routine_address(guest_driver_back);
    state->segment[X86_TR].base = TASK_STATE;
    state->segment[X86_TR].limit = 0x67;
    soft_guest_write(&world->guest, TASK_STATE + 4, SOFT_GUEST_STACK - 0x1000, 8);
    return CHECK_EQUAL(soft_guest_run(&world->guest), EXIT_PIO);
}

static void flush(struct world *world, unsigned int page)
{
    command(world, guest_driver_invlpg, WINDOW + page * PAGE, 0);
}

/* --- it runs, and runs as host code --- */

static void test_hot(unsigned int level, unsigned int variant)
{
    struct world world;
    if (!world_open(&world, variant)) {
        return;
    }
    for (unsigned int i = 0; i < 4; i++) {
        adds(&world, level, 0, 0, 1);
    }
    struct translate_statistics old, now;
    const struct soft_cpu *cpu = (const void *)world.guest.vcpu; /* it begins with that */
    translate_statistics(cpu, &old);
    CHECK_EQUAL(run_rounds(&world, level, 0, 10000),
                (uint32_t)(addend(world.before > 1 ? 0 : 1, 1) * 10000));
    translate_statistics(cpu, &now);
    if (soft_tier_translates_at_once()) {
        CHECK_EQUAL(now.interpreted_blocks, old.interpreted_blocks);
        CHECK(now.translated_entries - old.translated_entries < 100);
        CHECK(now.callouts - old.callouts < 100);
    }
    soft_guest_close(&world.guest);
}

/* --- the second page is another --- */

static void test_remapped(unsigned int level, unsigned int variant)
{
    struct world world;
    if (!world_open(&world, variant)) {
        return;
    }
    for (unsigned int round = 0; round < 12; round++) {
        unsigned int frame = 1 + round % 3;
        map(&world, 0, 1, frame, ENTRY);
        if (round % 2 == 0) {
            flush(&world, 1);
        } else {
            command(&world, guest_driver_cr3, tables_of(0), 0);
        }
        adds(&world, level, 0, 0, frame);
        adds(&world, level, 0, 0, frame);
    }
    soft_guest_close(&world.guest);
}

/* Two address spaces share the first page, not the second; what is kept of both must not mix. */
static void test_spaces(unsigned int level, unsigned int variant)
{
    struct world world;
    if (!world_open(&world, variant)) {
        return;
    }
    map(&world, 1, 1, 5, ENTRY);
    for (unsigned int round = 0; round < 6; round++) {
        for (unsigned int space = 0; space < 2; space++) {
            uint64_t keep = round > 0 && round < 5 ? X86_CR3_NO_FLUSH : 0;
            command(&world, guest_driver_cr3, tables_of(space) | space | keep, 0);
            adds(&world, level, 0, 0, space == 0 ? 1 : 5);
            adds(&world, level, 0, 0, space == 0 ? 1 : 5);
        }
    }
    soft_guest_close(&world.guest);
}

/* One page is the first at two places of one address space. */
static void test_aliases(unsigned int level, unsigned int variant)
{
    struct world world;
    if (!world_open(&world, variant)) {
        return;
    }
    map(&world, 0, 2, 0, ENTRY);
    flush(&world, 2);
    for (unsigned int round = 0; round < 4; round++) {
        adds(&world, level, 0, 0, 1);
        adds(&world, level, 2, 0, 3);
        adds(&world, level, 2, 0, 3);
        adds(&world, level, 0, 0, 1);
    }
    soft_guest_close(&world.guest);
}

/* A page that is its own successor. */
static void test_same_page(unsigned int level, unsigned int variant)
{
    struct world world;
    if (!world_open(&world, variant)) {
        return;
    }
    map(&world, 0, 1, 0, ENTRY);
    flush(&world, 1);
    adds(&world, level, 0, 0, 0);
    adds(&world, level, 0, 0, 0);
    command(&world, guest_driver_store, FRAMES + 4 - world.before, 0x77); /* the highest byte */
    CHECK_EQUAL(run_rounds(&world, level, 0, 1), 0x77000001);
    soft_guest_close(&world.guest);
}

/* --- it can't be fetched --- */

/* The routine faults, and the driver starts again. */
static void faults(struct world *world, unsigned int level, uint64_t error_code)
{
    struct soft_guest *guest = &world->guest;
    struct error error;
    soft_guest_write(guest, MAILBOX,
                     routine_address(level == AS_USER ? guest_driver_user : guest_driver_run), 8);
    soft_guest_write(guest, MAILBOX + 8, WINDOW + PAGE - world->before - 8, 8);
    soft_guest_write(guest, MAILBOX + 16, 3, 8);
    CHECK(step_driver(world) && guest->exit.reason == EXIT_HLT);
    CHECK_EQUAL(soft_engine.get_state(guest->vcpu, X86_STATE_ALL, &guest->state, &error), 0);
    CHECK_EQUAL(soft_guest_vector(guest), X86_VECTOR_PF);
    CHECK_EQUAL(soft_guest_frame(guest, 0), error_code);
    CHECK_EQUAL(soft_guest_frame(guest, 1), WINDOW + PAGE - world->before);
    CHECK_EQUAL(guest->state.cr2, WINDOW + PAGE);
    CHECK_EQUAL(guest->state.gpr[X86_RAX], 0); /* nothing was added */
    CHECK_EQUAL(guest->state.gpr[X86_RCX], 3);
    guest->state.rip = SOFT_GUEST_CODE;
    guest->state.gpr[X86_RSP] = SOFT_GUEST_STACK;
    CHECK_EQUAL(soft_guest_run(guest), EXIT_PIO);
}

static void test_faults(unsigned int level, unsigned int variant)
{
    struct world world;
    const uint64_t user = level == AS_USER ? 4 : 0, fetch = 16, present = 1;
    if (!world_open(&world, variant)) {
        return;
    }
    for (unsigned int round = 0; round < 3; round++) {
        adds(&world, level, 0, 0, 1);
        map(&world, 0, 1, 1, ENTRY & ~present);
        flush(&world, 1);
        faults(&world, level, fetch | user);
        map(&world, 0, 1, 1, ENTRY);
        adds(&world, level, 0, 0, 1);
        map(&world, 0, 1, 1, ENTRY | NO_EXECUTE);
        flush(&world, 1);
        faults(&world, level, fetch | present | user);
        map(&world, 0, 1, 1, ENTRY & ~UINT64_C(4));
        flush(&world, 1);
        if (level == AS_USER) {
            faults(&world, level, fetch | present | user);
            adds(&world, AS_KERNEL, 0, 0, 1); /* code of level 0 is not for level 3 */
            faults(&world, level, fetch | present | user);
        } else {
            adds(&world, level, 0, 0, 1);
        }
        map(&world, 0, 1, 1, ENTRY);
        flush(&world, 1);
    }
    soft_guest_close(&world.guest);
}

/* --- either half is written to --- */

static void test_written(unsigned int level, unsigned int variant)
{
    struct world world;
    if (!world_open(&world, variant)) {
        return;
    }
    uint64_t first = FRAMES + PAGE - world.before + 1;
    uint64_t last = FRAMES + PAGE + 4 - world.before;
    for (unsigned int round = 0; round < 6; round++) {
        uint8_t low = (uint8_t)(0x10 + round), high = (uint8_t)(0x20 + round);
        first = world.before > 1 ? first : FRAMES + PAGE; /* the lowest byte of the immediate */
        if (round % 2 == 0) {                             /* by the vCPU */
            command(&world, guest_driver_store, first, low);
            CHECK_EQUAL(run_rounds(&world, level, 0, 1) & 0xff, low);
            command(&world, guest_driver_store, last, high);
        } else { /* by something else */
            soft_guest_write(&world.guest, first, low, 1);
            CHECK_EQUAL(run_rounds(&world, level, 0, 1) & 0xff, low);
            soft_guest_write(&world.guest, last, high, 1);
        }
        uint32_t expected = (uint32_t)high << 24 | low;
        CHECK_EQUAL(run_rounds(&world, level, 0, 1), expected);
        CHECK_EQUAL(run_rounds(&world, level, 0, ROUNDS), (uint32_t)(expected * ROUNDS));
    }
    soft_guest_close(&world.guest);
}

/* --- another vCPU writes --- */

/*
 * vCPU 1 counts the last byte of the instruction up, then the number that vCPU 0 waits for; that
 * one serializes and runs the instruction: it must add at least what it was told of.
 */
GUEST(reader, ".skip 0xfa0, 0x90\n"
              "xor %ebx, %ebx\n"
              "1: mov 0x200000, %r8d\n"
              "xor %eax, %eax\ncpuid\nxor %eax, %eax\n"
              ".skip 0x4a, 0x90\n"
              ".globl guest_reader_line\nguest_reader_line: add $0x1000001, %eax\n"
              "shr $24, %eax\n"
              "cmp %r8d, %eax\njb 2f\n"
              "cmp $100, %eax\njb 1b\n"
              "xor %eax, %eax\n" GUEST_EXIT "2: mov $1, %eax\n" GUEST_EXIT);
extern const uint8_t guest_reader_line[];
GUEST(writer, "mov $1, %eax\n"
              "1: inc %eax\n"
              "mov %al, (%rdi)\n"
              "mov %eax, 0x200000\n"
              "mov $2000, %ecx\n2: dec %ecx\njnz 2b\n"
              "cmp $100, %eax\njb 1b\n" GUEST_EXIT);

static void test_written_by_another(unsigned int before)
{
    struct soft_machine *machine = soft_machine_create(2);
    if (!CHECK(machine != NULL)) {
        return;
    }
    uint64_t at = MACHINE_CODE + 0x3000 - before - (uint64_t)(guest_reader_line - guest_reader);
    soft_machine_load(machine, at, guest_reader, GUEST_LENGTH(reader));
    soft_machine_load(machine, MACHINE_CODE + 0x8000, guest_writer, GUEST_LENGTH(writer));
    machine->cpus[1].rdi = MACHINE_CODE + 0x3000 - before + 4;
    soft_machine_start(machine, 0, at);
    soft_machine_start(machine, 1, MACHINE_CODE + 0x8000);
    for (unsigned int i = 0; i < 2; i++) {
        soft_machine_wait(machine, i);
        CHECK_EQUAL(machine->cpus[i].end, MACHINE_DONE);
    }
    CHECK_EQUAL(machine->cpus[0].result, 0);
    soft_machine_destroy(machine);
}

int main(void)
{
    for (unsigned int variant = 0; variant < 8; variant++) {
        for (unsigned int level = 0; level < LEVELS; level++) {
            test_hot(level, variant);
            test_remapped(level, variant);
            test_spaces(level, variant);
            test_aliases(level, variant);
            test_same_page(level, variant);
            test_faults(level, variant);
            test_written(level, variant);
        }
    }
    for (unsigned int before = 1; before <= 4; before++) {
        test_written_by_another(before);
    }
    return check_summary();
}
