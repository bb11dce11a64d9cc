/*
 * Code that changes, on the software engine: whatever writes to it and however, the next
 * instruction executed is the one that stands in memory.
 *
 * Source: Intel SDM volume 3, "Handling Self- and Cross-Modifying Code"; volume 1's promise that a
 *         processor sees its own stores to code that it executes after a jump. This engine keeps
 *         the stronger promise: also without a jump.
 */
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "engines/soft/block.h"
#include "soft_machine.h"
#include "soft_tier.h"
#include "x86/registers.h"

/* --- a guest modifies its own code --- */

/*
 * ROUNDS times: the template's immediate becomes the round's number, `store` copies (part of) the
 * template over the line at RDI, and the line is executed: MOV $round, %EAX. The result is 0, or
 * the round in which something stale was executed. r15 is the round, rsi points at the template;
 * rax, rcx, rdx, rbx and the vector registers are free. RDI is the line itself, or an alias of it:
 * whatever the load offset and r14 say.
 */
#define LINE ".byte 0xb8\n.long 0\n.byte 0xeb, 57\n.skip 57, 0x90\n"
#define MODIFY(name, store, path)                                                                  \
    GUEST(name,                                                                                    \
          "mov %rdi, %r14\n"                                                                       \
          "xor %r15d, %r15d\n"                                                                     \
          "1: inc %r15d\n"                                                                         \
          "lea 4f(%rip), %rsi\n"                                                                   \
          "mov %r15d, 1(%rsi)\n"                                                                   \
          "lea guest_" #name "_line(%rip), %rdi\n"                                                 \
          "add %r14, %rdi\n"                                                                       \
          "jmp 2f\n"                                                                               \
          ".balign 64\n"                                                                           \
          "2:\n" store "\n" path "\n"                                                              \
          ".globl guest_" #name "_line\nguest_" #name "_line:\n" LINE "cmp %r15d, %eax\n"          \
          "jne 6f\n"                                                                               \
          "cmp $100, %r15d\n"                                                                      \
          "jb 1b\n"                                                                                \
          "xor %eax, %eax\n" GUEST_EXIT "6: mov %r15d, %eax\n" GUEST_EXIT ".balign 64\n4: " LINE); \
    extern const uint8_t guest_##name##_line[];

/* Every way to write: name, instructions. The last instruction is the one that stores. */
#define STORES(X)                                                                                  \
    X(mov8, "mov %r15b, 1(%rdi)\nmov %r15b, 1(%rdi)\n")                                            \
    X(mov32, "mov %r15d, 1(%rdi)")                                                                 \
    X(mov64, "mov (%rsi), %rbx\nmov %rbx, (%rdi)")                                                 \
    X(movnti, "mov (%rsi), %rbx\nmovnti %rbx, (%rdi)")                                             \
    X(movbe, "mov %r15d, %ebx\nbswap %ebx\nmovbe %ebx, 1(%rdi)")                                   \
    X(add, "addl $1, 1(%rdi)")                                                                     \
    X(inc, "incl 1(%rdi)")                                                                         \
    X(neg_sub, "notl 1(%rdi)\nnegl 1(%rdi)")                                                       \
    X(lock_inc, "lock incl 1(%rdi)")                                                               \
    X(lock_xadd, "mov $1, %ebx\nlock xadd %ebx, 1(%rdi)")                                          \
    X(lock_add_byte, "lock addb $1, 1(%rdi)")                                                      \
    X(xchg, "mov %r15d, %ebx\nxchg %ebx, 1(%rdi)")                                                 \
    X(lock_cmpxchg, "lea -1(%r15), %eax\nmov %r15d, %ebx\nlock cmpxchg %ebx, 1(%rdi)")             \
    X(cmpxchg8b, "mov (%rdi), %eax\nmov 4(%rdi), %edx\nmov (%rsi), %ebx\nmov 4(%rsi), %ecx\n"      \
                 "lock cmpxchg8b (%rdi)")                                                          \
    X(lock_btc, "mov %r15d, %ebx\ndec %ebx\nxor %r15d, %ebx\nmov %r15d, 1(%rdi)\n"                 \
                "lock btcl $3, 1(%rdi)\nlock btcl $3, 1(%rdi)")                                    \
    X(bts, "mov $31, %ecx\nmov %r15d, 1(%rdi)\nbtsl %ecx, 1(%rdi)\nbtrl %ecx, 1(%rdi)")            \
    X(shl, "mov %r15d, %ebx\nrol $4, %ebx\nmov %ebx, 1(%rdi)\nrorl $4, 1(%rdi)")                   \
    X(shld, "movl $0, 1(%rdi)\nmov %r15d, %ebx\nshl $24, %ebx\nshldl $8, %ebx, 1(%rdi)")           \
    X(stosb, "mov %r15d, %eax\nlea 1(%rdi), %rdi\nstosb")                                          \
    X(stosl, "mov %r15d, %eax\nlea 1(%rdi), %rdi\nstosl")                                          \
    X(movsq, "movsq")                                                                              \
    X(rep_movsb, "mov $64, %ecx\nrep movsb")                                                       \
    X(rep_movsb_short, "mov $5, %ecx\nrep movsb")                                                  \
    X(rep_movsl, "mov $4, %ecx\nrep movsl")                                                        \
    X(rep_movsq_down, "std\nlea 8(%rdi), %rdi\nlea 8(%rsi), %rsi\nmov $2, %ecx\nrep movsq\ncld")   \
    X(rep_stosl, "mov %r15d, %eax\nmov $1, %ecx\nlea 1(%rdi), %rdi\nrep stosl")                    \
    X(push, "mov %rsp, %rbp\nlea 8(%rdi), %rsp\npushq (%rsi)\nmov %rbp, %rsp")                     \
    X(push_register, "mov %rsp, %rbp\nmov (%rsi), %rbx\nlea 8(%rdi), %rsp\npush %rbx\n"            \
                     "mov %rbp, %rsp")                                                             \
    X(pop, "pushq (%rsi)\npopq (%rdi)")                                                            \
    X(movups, "movups (%rsi), %xmm0\nmovups %xmm0, (%rdi)")                                        \
    X(movdqu, "movdqu (%rsi), %xmm1\nmovdqu %xmm1, (%rdi)")                                        \
    X(movq_vector, "movq (%rsi), %xmm2\nmovq %xmm2, (%rdi)")                                       \
    X(movd_vector, "movd %r15d, %xmm2\nmovd %xmm2, 1(%rdi)")                                       \
    X(vmovdqu_256, "vmovdqu (%rsi), %ymm3\nvmovdqu %ymm3, (%rdi)")                                 \
    X(vpmaskmov, "vpcmpeqd %ymm4, %ymm4, %ymm4\nvmovdqu (%rsi), %ymm3\n"                           \
                 "vpmaskmovd %ymm3, %ymm4, (%rdi)")                                                \
    X(pextrd, "movd %r15d, %xmm2\npextrd $0, %xmm2, 1(%rdi)")                                      \
    X(movq_mmx, "movq (%rsi), %mm0\nmovq %mm0, (%rdi)\nemms")                                      \
    X(fistp, "fninit\nmov %r15d, -8(%rsp)\nfildl -8(%rsp)\nfistpl 1(%rdi)")                        \
    X(maskmovdqu, "movdqu (%rsi), %xmm1\npcmpeqd %xmm2, %xmm2\nmaskmovdqu %xmm2, %xmm1")

#define MODIFY_NEXT(name, store)  MODIFY(next_##name, store, "")
#define MODIFY_JUMP(name, store)  MODIFY(jump_##name, store, "jmp 3f\n.skip 7, 0xcc\n3:")
#define MODIFY_BLOCK(name, store) MODIFY(block_##name, store, "cpuid")
STORES(MODIFY_NEXT)
STORES(MODIFY_JUMP)
STORES(MODIFY_BLOCK)

struct modify_guest {
    const char *name;
    const uint8_t *begin, *end, *line;
};
#define ROW(name)              {#name, guest_##name, guest_##name##_end, guest_##name##_line},
#define ROW_NEXT(name, store)  ROW(next_##name)
#define ROW_JUMP(name, store)  ROW(jump_##name)
#define ROW_BLOCK(name, store) ROW(block_##name)
static const struct modify_guest modify_guests[] = {STORES(ROW_NEXT) STORES(ROW_JUMP)
                                                        STORES(ROW_BLOCK)};

/* The guest's result when its line is loaded at MACHINE_CODE + line_at; ~0 if it ended wrongly. */
static uint32_t run_modify(const struct modify_guest *guest, uint64_t line_at, uint64_t alias)
{
    struct soft_machine *machine = soft_machine_create(1);
    if (machine == NULL) {
        return UINT32_MAX;
    }
    uint64_t load = MACHINE_CODE + line_at - (uint64_t)(guest->line - guest->begin);
    soft_machine_load(machine, load, guest->begin, (size_t)(guest->end - guest->begin));
    machine->cpus[0].rdi = alias;
    uint32_t result = UINT32_MAX;
    if (soft_machine_run(machine, load) == MACHINE_DONE) {
        result = machine->cpus[0].result;
    } else {
        const struct x86_state *state = &machine->cpus[0].final;
        fprintf(stderr, "%s: end %d, rip 0x%" PRIx64 " cr2 0x%" PRIx64 "\n", guest->name,
                machine->cpus[0].end, state->rip, state->cr2);
    }
    soft_machine_destroy(machine);
    return result;
}

static void test_self_modifying(void)
{
    /* Where the line lies in its page: inside, ending it, across the end in each way. */
    static const uint64_t places[] = {0x1800,     0x1000 - 5, 0x1000 - 7, 0x1000 - 1, 0x1000 - 2,
                                      0x1000 - 3, 0x1000 - 4, 0x1000 - 8, 0x1000};
    for (size_t i = 0; i < sizeof(modify_guests) / sizeof(modify_guests[0]); i++) {
        const struct modify_guest *guest = &modify_guests[i];
        for (size_t p = 0; p < sizeof(places) / sizeof(places[0]); p++) {
            uint64_t at = places[p] + 0x1000;
            bool good = run_modify(guest, at, 0) == 0;
            check_report(good, __FILE__, __LINE__, guest->name);
            if (p < 3) {
                good = run_modify(guest, at, MACHINE_ALIAS) == 0;
                check_report(good, __FILE__, __LINE__, guest->name);
            }
            if (check_failed > 40) {
                return;
            }
        }
    }
}

/* --- devices modify code --- */

/* Writes the number that the guest sends to port 0xe0 to where RDI of the guest points. */
struct writer {
    struct soft_machine *machine;
    uint64_t target;
    uint32_t count;
};

static void write_code(void *context, struct vcpu_exit *exit)
{
    struct writer *writer = context;
    if (exit->reason == EXIT_PIO && exit->pio.port == 0xe0) {
        guestmem_write(writer->machine->memory, gpa(writer->target), exit->pio.data, 4);
        writer->count++;
    }
}

/* An OUT whose device writes to the instruction behind it. */
GUEST(device, "xor %r15d, %r15d\n"
              "1: inc %r15d\n"
              "mov %r15d, %eax\n"
              "out %eax, $0xe0\n"
              ".globl guest_device_line\nguest_device_line: mov $0, %eax\n"
              "cmp %r15d, %eax\n"
              "jne 2f\n"
              "cmp $1000, %r15d\n"
              "jb 1b\n"
              "xor %eax, %eax\n" GUEST_EXIT "2: mov %r15d, %eax\n" GUEST_EXIT);
extern const uint8_t guest_device_line[];

static void test_device_writes_while_stopped(void)
{
    struct soft_machine *machine = soft_machine_create(1);
    if (!CHECK(machine != NULL)) {
        return;
    }
    struct writer writer = {.machine = machine,
                            .target =
                                MACHINE_CODE + 1 + (uint64_t)(guest_device_line - guest_device)};
    machine->serve = write_code;
    machine->context = &writer;
    soft_machine_load(machine, MACHINE_CODE, guest_device, GUEST_LENGTH(device));
    CHECK_EQUAL(soft_machine_run(machine, MACHINE_CODE), MACHINE_DONE);
    CHECK_EQUAL(machine->cpus[0].result, 0);
    CHECK_EQUAL(writer.count, 1000);
    soft_machine_destroy(machine);
}

/*
 * A device that writes code and then a flag while the guest runs: the guest waits for the flag,
 * serialises, executes the code and answers. The flag is at 0x8000, the answer at 0x8008.
 */
#define DEVICE_ROUNDS "3000"
GUEST(device_running,
      "mov $0x8000, %edi\n"
      "xor %r15d, %r15d\n"
      "1: inc %r15d\n"
      "2: pause\ncmp %r15d, (%rdi)\n"
      "jne 2b\n"
      "xor %eax, %eax\n"
      "cpuid\n"
      "call guest_device_running_line\n"
      "cmp %r15d, %eax\n"
      "jne 3f\n"
      "mov %r15d, 8(%rdi)\n"
      "cmp $" DEVICE_ROUNDS ", %r15d\n"
      "jb 1b\n"
      "xor %eax, %eax\n" GUEST_EXIT "3: mov %r15d, %eax\n" GUEST_EXIT ".balign 4096\n"
      ".globl guest_device_running_line\n"
      "guest_device_running_line: mov $0, %eax\nret\n");
extern const uint8_t guest_device_running_line[];

static void test_device_writes_while_running(void)
{
    struct soft_machine *machine = soft_machine_create(1);
    if (!CHECK(machine != NULL)) {
        return;
    }
    soft_machine_load(machine, MACHINE_CODE, guest_device_running, GUEST_LENGTH(device_running));
    uint64_t line = MACHINE_CODE + 1 + (uint64_t)(guest_device_running_line - guest_device_running);
    soft_machine_start(machine, 0, MACHINE_CODE);
    for (uint32_t round = 1; round <= (uint32_t)atoi(DEVICE_ROUNDS); round++) {
        guestmem_write(machine->memory, gpa(line), &round, sizeof(round));
        guestmem_write(machine->memory, gpa(0x8000), &round, sizeof(round));
        uint32_t *answer = (uint32_t *)(void *)(machine->ram + 0x8008);
        while (__atomic_load_n(answer, __ATOMIC_ACQUIRE) != round &&
               machine->cpus[0].end == MACHINE_RUNNING) {
            sched_yield();
        }
        if (machine->cpus[0].end != MACHINE_RUNNING) {
            break;
        }
    }
    soft_machine_wait(machine, 0);
    CHECK_EQUAL(machine->cpus[0].end, MACHINE_DONE);
    CHECK_EQUAL(machine->cpus[0].result, 0);
    soft_machine_destroy(machine);
}

/* --- pages that are mapped elsewhere --- */

/*
 * Two physical pages hold MOV $1 and MOV $2; the page table entry of a third linear page leads to
 * them in turn, with INVLPG or a reload of CR3 between. ECX of the page is its number.
 */
#define REMAP(name, flush)                                                                         \
    GUEST(name, "mov $0x4000 + 8 * 0x180, %edi\n" /* the entry of linear 0x180000 */               \
                "mov $0x180000, %ebx\n"                                                            \
                "xor %r15d, %r15d\n"                                                               \
                "1: inc %r15d\n"                                                                   \
                "mov %r15d, %ecx\n"                                                                \
                "and $1, %ecx\n"                                                                   \
                "mov %ecx, %eax\n"                                                                 \
                "shl $12, %eax\n"                                                                  \
                "add $0x181063, %eax\n"                                                            \
                "mov %rax, (%rdi)\n" flush "\n"                                                    \
                "call *%rbx\n"                                                                     \
                "cmp %eax, %ecx\n"                                                                 \
                "jne 2f\n"                                                                         \
                "call guest_" #name " + 0x80000\n" /* a direct call, which may be linked */        \
                "cmp %eax, %ecx\n"                                                                 \
                "jne 2f\n"                                                                         \
                "cmp $1000, %r15d\n"                                                               \
                "jb 1b\n"                                                                          \
                "xor %eax, %eax\n" GUEST_EXIT "2: mov %r15d, %eax\n" GUEST_EXIT)
REMAP(remap_invlpg, "invlpg (%rbx)");
REMAP(remap_cr3, "mov %cr3, %rax\nmov %rax, %cr3");
REMAP(remap_cr4, "mov %cr4, %rax\nxor $0x80, %eax\nmov %rax, %cr4");

static uint32_t run_remap(const uint8_t *guest, size_t length)
{
    static const uint8_t pages[2][6] = {{0xb8, 0, 0, 0, 0, 0xc3}, {0xb8, 1, 0, 0, 0, 0xc3}};
    struct soft_machine *machine = soft_machine_create(1);
    if (machine == NULL) {
        return UINT32_MAX;
    }
    soft_machine_load(machine, MACHINE_CODE, guest, length);
    soft_machine_load(machine, 0x181000, pages[0], sizeof(pages[0]));
    soft_machine_load(machine, 0x182000, pages[1], sizeof(pages[1]));
    enum machine_end end = soft_machine_run(machine, MACHINE_CODE);
    uint32_t result = end == MACHINE_DONE ? machine->cpus[0].result : UINT32_MAX;
    soft_machine_destroy(machine);
    return result;
}

static void test_remapped_code(void)
{
    CHECK_EQUAL(run_remap(guest_remap_invlpg, GUEST_LENGTH(remap_invlpg)), 0);
    CHECK_EQUAL(run_remap(guest_remap_cr3, GUEST_LENGTH(remap_cr3)), 0);
    CHECK_EQUAL(run_remap(guest_remap_cr4, GUEST_LENGTH(remap_cr4)), 0);
}

/* --- an instruction across two pages --- */

/*
 * The page fault handler: leaves CR2 at 0x8000, the error code at 0x8008, the saved RIP at 0x8010,
 * counts at 0x8018, makes the page at CR2 present and goes back.
 */
GUEST(page_fault, "push %rax\npush %rcx\n"
                  "mov %cr2, %rax\nmov %rax, 0x8000\n"
                  "mov 16(%rsp), %rcx\nmov %rcx, 0x8008\n"
                  "mov 24(%rsp), %rcx\nmov %rcx, 0x8010\n"
                  "incq 0x8018\n"
                  "shr $12, %rax\nand $0x1ff, %eax\n"
                  "orq $1, 0x4000(,%rax,8)\n"
                  "mov %cr2, %rax\ninvlpg (%rax)\n"
                  "pop %rcx\npop %rax\nadd $8, %rsp\niretq\n");

/* MOV $1, %EAX; CMP; exit. The MOV is loaded to cross from one page into the next. */
GUEST(crossing, "mov $0x11223344, %eax\n" GUEST_EXIT);

static void test_fetch_fault_in_second_page(void)
{
    for (uint64_t before = 1; before <= 4; before++) {
        struct soft_machine *machine = soft_machine_create(1);
        if (!CHECK(machine != NULL)) {
            return;
        }
        uint64_t entry = MACHINE_CODE + 0x1000 - before;
        soft_machine_load(machine, 0x9000, guest_page_fault, GUEST_LENGTH(page_fault));
        soft_machine_load(machine, entry, guest_crossing, GUEST_LENGTH(crossing));
        soft_machine_set_gate(machine, X86_VECTOR_PF, 0x9000);
        *soft_machine_page_entry(machine, MACHINE_CODE + 0x1000) &= ~UINT64_C(1);
        CHECK_EQUAL(soft_machine_run(machine, entry), MACHINE_DONE);
        CHECK_EQUAL(machine->cpus[0].result, 0x11223344);
        CHECK_EQUAL(soft_machine_get64(machine, 0x8000), MACHINE_CODE + 0x1000);
        CHECK_EQUAL(soft_machine_get64(machine, 0x8008), X86_PF_INSTRUCTION);
        CHECK_EQUAL(soft_machine_get64(machine, 0x8010), entry);
        CHECK_EQUAL(soft_machine_get64(machine, 0x8018), 1);
        soft_machine_destroy(machine);
    }
}

/* An instruction that ends exactly with its page must not touch the next. */
static void test_fetch_ends_with_page(void)
{
    struct soft_machine *machine = soft_machine_create(1);
    if (!CHECK(machine != NULL)) {
        return;
    }
    uint64_t entry = MACHINE_CODE + 0x1000 - GUEST_LENGTH(crossing);
    soft_machine_load(machine, entry, guest_crossing, GUEST_LENGTH(crossing));
    *soft_machine_page_entry(machine, MACHINE_CODE + 0x1000) &= ~UINT64_C(1);
    CHECK_EQUAL(soft_machine_run(machine, entry), MACHINE_DONE);
    CHECK_EQUAL(machine->cpus[0].result, 0x11223344);
    soft_machine_destroy(machine);
}

/* Data that crosses: the fault names the first byte not reached, and nothing was written. */
GUEST(data_crossing, "mov $0x8877665544332211, %rax\n"
                     "mov %rax, -3(%rdi)\n"
                     "mov -3(%rdi), %rcx\n"
                     "cmp %rax, %rcx\nmov $1, %eax\njne 1f\n"
                     "xor %eax, %eax\n1: " GUEST_EXIT);

static void test_data_fault_in_second_page(void)
{
    struct soft_machine *machine = soft_machine_create(1);
    if (!CHECK(machine != NULL)) {
        return;
    }
    soft_machine_load(machine, 0x9000, guest_page_fault, GUEST_LENGTH(page_fault));
    soft_machine_load(machine, MACHINE_CODE, guest_data_crossing, GUEST_LENGTH(data_crossing));
    soft_machine_set_gate(machine, X86_VECTOR_PF, 0x9000);
    uint64_t page = 0x151000;
    *soft_machine_page_entry(machine, page) &= ~UINT64_C(1);
    machine->cpus[0].rdi = page;
    CHECK_EQUAL(soft_machine_run(machine, MACHINE_CODE), MACHINE_DONE);
    CHECK_EQUAL(machine->cpus[0].result, 0);
    CHECK_EQUAL(soft_machine_get64(machine, 0x8000), page);
    CHECK_EQUAL(soft_machine_get64(machine, 0x8008), X86_PF_WRITE);
    CHECK_EQUAL(soft_machine_get64(machine, 0x8010), MACHINE_CODE + 10);
    CHECK_EQUAL(soft_machine_get64(machine, 0x8018), 1);
    soft_machine_destroy(machine);
}

/* --- more code than the cache holds --- */

/* INC %RAX over and over, entered twice; the arena holds a part of it only. */
#define MANY_INSTRUCTIONS 2500000u

static void fill_with_increments(struct soft_machine *machine, uint64_t at)
{
    for (unsigned int i = 0; i < MANY_INSTRUCTIONS; i++) {
        memcpy(machine->ram + at + 3 * (uint64_t)i, "\x48\xff\xc0", 3);
    }
    machine->ram[at + 3 * (uint64_t)MANY_INSTRUCTIONS] = 0xc3;
}

/* The engine's vCPU begins with its struct soft_cpu (engine.c). */
static void note_flushes(void *context, struct vcpu_exit *exit)
{
    (void)exit;
    struct soft_machine *machine = context;
    struct soft_block_statistics statistics;
    const struct soft_cpu *cpu = (const void *)machine->cpus[0].vcpu;
    soft_block_cache_statistics(cpu->blocks, &statistics);
    soft_machine_put64(machine, 0x8000, statistics.flushes);
}

GUEST(arena_report, "xor %eax, %eax\ncall *%rdi\ncall *%rdi\nout %eax, $0xe0\n" GUEST_EXIT);

static void test_arena_overflow(void)
{
    struct soft_machine *machine = soft_machine_create(1);
    if (!CHECK(machine != NULL)) {
        return;
    }
    uint64_t code = UINT64_C(16) << 20;
    fill_with_increments(machine, code);
    soft_machine_load(machine, MACHINE_CODE, guest_arena_report, GUEST_LENGTH(arena_report));
    machine->serve = note_flushes;
    machine->context = machine;
    machine->cpus[0].rdi = code;
    CHECK_EQUAL(soft_machine_run(machine, MACHINE_CODE), MACHINE_DONE);
    CHECK_EQUAL(machine->cpus[0].result, 2 * MANY_INSTRUCTIONS);
    if (!soft_tier_translates_at_once()) {
        CHECK(soft_machine_get64(machine, 0x8000) >= 2); /* all of it was interpreted once */
    }
    soft_machine_destroy(machine);
}

/* --- many pages that are code and data in turn --- */

/*
 * 256 pages from RDI on, each with MOV $n, %EAX; RET at its beginning. Round r patches page r % 256
 * to r and then calls all from that one back to 8 pages earlier: each must give the number that it
 * was patched with last.
 */
GUEST(thrash, "mov %rdi, %r14\n"
              "xor %r15d, %r15d\n"
              "1: inc %r15d\n"
              "movzbl %r15b, %ebx\n"
              "shl $12, %ebx\n"
              "movb $0xb8, (%r14,%rbx)\n"
              "mov %r15d, 1(%r14,%rbx)\n"
              "movb $0xc3, 5(%r14,%rbx)\n"
              "mov %r15d, %ecx\n"
              "mov $8, %edx\n"
              "2: movzbl %cl, %ebx\n"
              "shl $12, %ebx\n"
              "add %r14, %rbx\n"
              "call *%rbx\n"
              "cmp %ecx, %eax\n"
              "jne 3f\n"
              "dec %ecx\n"
              "jz 4f\n"
              "dec %edx\n"
              "jnz 2b\n"
              "4: cmp $20000, %r15d\n"
              "jb 1b\n"
              "xor %eax, %eax\n" GUEST_EXIT "3: mov %r15d, %eax\n" GUEST_EXIT);

static void test_code_page_thrash(void)
{
    struct soft_machine *machine = soft_machine_create(1);
    if (!CHECK(machine != NULL)) {
        return;
    }
    soft_machine_load(machine, MACHINE_CODE, guest_thrash, GUEST_LENGTH(thrash));
    machine->cpus[0].rdi = UINT64_C(8) << 20;
    CHECK_EQUAL(soft_machine_run(machine, MACHINE_CODE), MACHINE_DONE);
    CHECK_EQUAL(machine->cpus[0].result, 0);
    soft_machine_destroy(machine);
}

/* --- code that is rewritten all the time is not worth translating --- */

GUEST(rewrite, "mov $20000, %ecx\n"
               "1: mov %ecx, 2f+1(%rip)\n"
               "mov $8, %edx\njmp 2f\n.balign 64\n"
               "2: mov $0, %eax\ncmp %eax, %ecx\njne 3f\n"
               "dec %edx\njnz 2b\n"
               "dec %ecx\njnz 1b\n"
               "3: out %eax, $0xe0\nmov %ecx, %eax\n" GUEST_EXIT);

static void note_translated(void *context, struct vcpu_exit *exit)
{
    (void)exit;
    struct soft_machine *machine = context;
    const struct soft_cpu *cpu = (const void *)machine->cpus[0].vcpu;
    soft_machine_put64(machine, 0x8000, cpu->statistics.blocks_translated);
}

static void test_rewritten_code_is_interpreted(void)
{
    const char *before = soft_tier_arguments();
    if (before == NULL || strstr(before, "translate") == NULL) {
        return;
    }
    before = strdup(before);
    setenv("TRAPEZE_TEST_SOFT", "tier=translate", 1);
    struct soft_machine *machine = soft_machine_create(1);
    setenv("TRAPEZE_TEST_SOFT", before, 1);
    free((void *)(uintptr_t)before);
    if (!CHECK(machine != NULL)) {
        return;
    }
    machine->serve = note_translated;
    machine->context = machine;
    soft_machine_load(machine, MACHINE_CODE, guest_rewrite, GUEST_LENGTH(rewrite));
    CHECK_EQUAL(soft_machine_run(machine, MACHINE_CODE), MACHINE_DONE);
    CHECK_EQUAL(machine->cpus[0].result, 0);
    CHECK(soft_machine_get64(machine, 0x8000) < 1000);
    soft_machine_destroy(machine);
}

int main(void)
{
    test_rewritten_code_is_interpreted();
    test_device_writes_while_stopped();
    test_device_writes_while_running();
    test_remapped_code();
    test_fetch_fault_in_second_page();
    test_fetch_ends_with_page();
    test_data_fault_in_second_page();
    test_arena_overflow();
    test_code_page_thrash();
    test_self_modifying();
    return check_summary();
}
