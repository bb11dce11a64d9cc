/*
 * Cases on the host's own CPU, in this process: registers go in and come out through a block at a
 * fixed address; a fault's handler notes what it was and continues at the exit.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <ucontext.h>

#include "differential.h"

#ifndef HWCAP2_FSGSBASE
#define HWCAP2_FSGSBASE (1 << 1)
#endif
#ifndef PR_SET_SYSCALL_USER_DISPATCH
#define PR_SET_SYSCALL_USER_DISPATCH 59
#define PR_SYS_DISPATCH_ON           1
#endif

/* The address sanitizer maps its shadow where cases must find nothing. */
#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define SANITIZER_IS_IN_THE_WAY 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define SANITIZER_IS_IN_THE_WAY 1
#endif
#ifndef SANITIZER_IS_IN_THE_WAY
#define SANITIZER_IS_IN_THE_WAY 0
#endif

#define HIGH_MEMORY  UINT64_C(0x100000000) /* above it is this program, below it are the cases */
#define TRAP_UNKNOWN 255

void differential_enter(void);
void differential_enter_32(void);
extern const uint8_t differential_leave[], differential_leave_end[];

/* In the block's second half, so that the handler finds it without this thread's own data. */
struct trap {
    bool running;
    unsigned int ticks; /* of the timer while it runs */
    int vector;
    uint32_t error;
    uint64_t address, rip;
};

#define BLOCK    ((struct differential_registers *)(uintptr_t)DIFFERENTIAL_CONTEXT)
#define TRAP     ((volatile struct trap *)(uintptr_t)(DIFFERENTIAL_CONTEXT + 0x900))
#define FAR_JUMP ((uint32_t *)(uintptr_t)(DIFFERENTIAL_CONTEXT + DIFFERENTIAL_AT_FAR))
#define CODE     ((uint8_t *)(uintptr_t)DIFFERENTIAL_CODE)
#define DATA     ((uint8_t *)(uintptr_t)DIFFERENTIAL_DATA)

static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGALRM};
#define SIGNALS (sizeof(signals) / sizeof(signals[0]))
static struct sigaction previous[SIGNALS];

/* Nothing here may use thread-local data: FS and GS are the case's. */
__attribute__((no_sanitize("address", "undefined"))) static void handle(int number, siginfo_t *info,
                                                                        void *context)
{
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    if (number == SIGALRM && (!TRAP->running || ++TRAP->ticks < 2)) {
        return;
    }
    if (TRAP->running) {
        TRAP->running = false;
        TRAP->vector = number == SIGSYS || number == SIGALRM ? DIFFERENTIAL_BLOCKED
                                                             : (int)(uint32_t)registers[REG_TRAPNO];
        TRAP->error = (uint32_t)registers[REG_ERR];
        TRAP->address = (uint64_t)registers[REG_CR2];
        TRAP->rip = (uint64_t)registers[REG_RIP];
        registers[REG_RIP] = DIFFERENTIAL_EXIT;
        registers[REG_EFL] &= ~(greg_t)X86_FLAGS_TF;
        registers[REG_CSGSFS] = (registers[REG_CSGSFS] & ~(greg_t)0xffff) | DIFFERENTIAL_CS_64;
        return;
    }
    for (unsigned int i = 0; i < SIGNALS; i++) {
        if (signals[i] == number && (previous[i].sa_flags & SA_SIGINFO) != 0) {
            previous[i].sa_sigaction(number, info, context); /* the soft engine's */
            return;
        }
    }
    signal(number, SIG_DFL);
}

void differential_native_handlers(void)
{
    struct sigaction action = {.sa_sigaction = handle, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigfillset(&action.sa_mask);
    for (unsigned int i = 0; i < SIGNALS; i++) {
        sigaction(signals[i], &action, &previous[i]);
    }
    /* A case that goes round in circles comes to an end at the second tick. */
    const struct timeval tick = {.tv_usec = 20000};
    const struct itimerval timer = {.it_interval = tick, .it_value = tick};
    setitimer(ITIMER_REAL, &timer, NULL);
}

static bool map(uintptr_t address, size_t bytes)
{
    void *at = mmap((void *)address, bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_POPULATE, -1, 0);
    if (at != (void *)address) {
        perror("mapping memory at a fixed address");
        return false;
    }
    memset(at, 0, bytes);
    return true;
}

/* Alternate stack of its own: the soft engine takes the one that is there. */
static bool set_signal_stack(void)
{
    stack_t stack = {.ss_size = 256 * 1024};
    stack.ss_sp = malloc(stack.ss_size);
    return stack.ss_sp != NULL && sigaltstack(&stack, NULL) == 0;
}

static bool map_all(void)
{
    const uintptr_t hole = DIFFERENTIAL_DATA + DIFFERENTIAL_PAGE_HOLE * 4096;
    if (!map(DIFFERENTIAL_CODE, sizeof(((struct differential_memory *)0)->code)) ||
        !map(DIFFERENTIAL_EXIT, 4096) || !map(DIFFERENTIAL_CONTEXT, DIFFERENTIAL_CONTEXT_BYTES) ||
        !map(DIFFERENTIAL_DATA, hole - DIFFERENTIAL_DATA) ||
        !map(hole + 4096, (DIFFERENTIAL_DATA_PAGES - DIFFERENTIAL_PAGE_HOLE - 1) * 4096)) {
        return false;
    }
    uint8_t *exit_page = (uint8_t *)(uintptr_t)DIFFERENTIAL_EXIT;
    memcpy(exit_page, differential_leave, (size_t)(differential_leave_end - differential_leave));
    const uint32_t exit_at = DIFFERENTIAL_EXIT;
    uint8_t far_jump[7] = {0xea, 0, 0, 0, 0, DIFFERENTIAL_CS_64, 0};
    memcpy(far_jump + 1, &exit_at, 4);
    memcpy(exit_page + (DIFFERENTIAL_EXIT_32 - DIFFERENTIAL_EXIT), far_jump, sizeof(far_jump));
    return mprotect(exit_page, 4096, PROT_READ | PROT_EXEC) == 0 &&
           mprotect(CODE, sizeof(((struct differential_memory *)0)->code),
                    PROT_READ | PROT_WRITE | PROT_EXEC) == 0;
}

bool differential_native_setup(void)
{
    if ((getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE) == 0 || !__builtin_cpu_supports("avx2")) {
        fprintf(stderr, "this host lacks FSGSBASE or AVX2\n");
        return false;
    }
    if (SANITIZER_IS_IN_THE_WAY) {
        fprintf(stderr, "the address sanitizer's shadow is where cases must find nothing\n");
        return false;
    }
    /* A case that turns out to be a system call gets SIGSYS ("Syscall User Dispatch"). */
    if (prctl(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON, HIGH_MEMORY,
              UINT64_C(0x7fffffffffff) - HIGH_MEMORY, NULL) != 0) {
        perror("keeping cases from making system calls");
        return false;
    }
    return map_all() && set_signal_stack();
}

static uint8_t *data_page(unsigned int page)
{
    return DATA + page * UINT64_C(4096);
}

static void set_read_only(bool read_only)
{
    mprotect(data_page(DIFFERENTIAL_PAGE_READ_ONLY), 4096,
             read_only ? PROT_READ : PROT_READ | PROT_WRITE);
}

static void load(const struct differential_case *what, const struct differential_outcome *start)
{
    static const uint8_t *read_only_now;
    static uint8_t kept[4096];
    memcpy(CODE, start->memory.code, sizeof(start->memory.code));
    for (unsigned int page = 0; page < DIFFERENTIAL_DATA_PAGES; page++) {
        const uint8_t *from = start->memory.data[page];
        if (page == DIFFERENTIAL_PAGE_READ_ONLY) {
            if (read_only_now == NULL || memcmp(kept, from, 4096) != 0) {
                set_read_only(false);
                memcpy(data_page(page), from, 4096);
                memcpy(kept, from, 4096);
                set_read_only(true);
                read_only_now = kept;
            }
        } else if (page != DIFFERENTIAL_PAGE_HOLE) {
            memcpy(data_page(page), from, 4096);
        }
    }
    *BLOCK = start->registers;
    FAR_JUMP[0] = what->start;
    FAR_JUMP[1] = DIFFERENTIAL_CS_32;
}

static void store(struct differential_outcome *end)
{
    end->registers = *BLOCK;
    end->registers.rip = TRAP->vector == DIFFERENTIAL_ENDED ? DIFFERENTIAL_EXIT : TRAP->rip;
    end->vector = TRAP->vector;
    end->error = TRAP->error;
    end->address = TRAP->address;
    memcpy(end->memory.code, CODE, sizeof(end->memory.code));
    for (unsigned int page = 0; page < DIFFERENTIAL_DATA_PAGES; page++) {
        if (page != DIFFERENTIAL_PAGE_HOLE) {
            memcpy(end->memory.data[page], data_page(page), 4096);
        }
    }
}

void differential_native_run(const struct differential_case *what,
                             const struct differential_outcome *start,
                             struct differential_outcome *end)
{
    load(what, start);
    TRAP->vector = DIFFERENTIAL_ENDED;
    TRAP->error = 0;
    TRAP->address = 0;
    TRAP->ticks = 0;
    TRAP->running = true;
    if (what->is_32) {
        differential_enter_32();
    } else {
        differential_enter();
    }
    TRAP->running = false;
    store(end);
}
