// Self-checking work for a guest that is being disturbed: code made at run time, signals in the
// middle of computations, faults, threads that count together, floating point across switches.
// Says nothing and ends with 0 when all results are right; else says what was wrong.
// usage: worker jit|signal|fault|count|float ROUNDS

#define _GNU_SOURCE
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>

enum { PAGE_BYTES = 4096, THREADS = 4, FUNCTION_BYTES = 64 };

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static _Noreturn void wrong(const char *what, uint64_t is, uint64_t expected)
{
    printf("%s: is %llx, expected %llx\n", what, (unsigned long long)is,
           (unsigned long long)expected);
    exit(1);
}

static void *pages(size_t count, int protection)
{
    void *area = mmap(NULL, count * PAGE_BYTES, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (area == MAP_FAILED) {
        perror("mmap");
        exit(1);
    }
    return area;
}

// --- code that is made, run, changed and run again, by several threads on pages of their own and
// on one that they share

// mov rax, rdi; then operations on RAX by 32-bit numbers; ret. Returns what it will give for
// 0x1234.
static uint64_t make_function(uint8_t *at, uint64_t *random)
{
    static const uint8_t operations[3] = {0x05, 0x2d, 0x35}; // ADD, SUB, XOR
    uint64_t value = 0x1234;
    uint8_t *end = at;
    memcpy(end, "\x48\x89\xf8", 3);
    end += 3;
    for (int i = 0; i < 8; i++) {
        uint64_t bits = next_random(random);
        int32_t number = (int32_t)(bits >> 16);
        *end++ = 0x48;
        *end++ = operations[bits % 3];
        memcpy(end, &number, 4);
        end += 4;
        uint64_t extended = (uint64_t)(int64_t)number;
        value = bits % 3 == 0   ? value + extended
                : bits % 3 == 1 ? value - extended
                                : value ^ extended;
    }
    *end = 0xc3;
    return value;
}

struct jit {
    long rounds;
    uint8_t *own, *shared;
};

static uint64_t call(const uint8_t *code)
{
    uint64_t (*function)(uint64_t);
    memcpy(&function, &code, sizeof(function));
    return function(0x1234);
}

static void *jit_thread(void *context)
{
    struct jit *jit = context;
    uint64_t random = (uintptr_t)jit->own | 1;
    for (long i = 0; i < jit->rounds; i++) {
        uint8_t *places[2] = {jit->own + next_random(&random) % 32 * FUNCTION_BYTES, jit->shared};
        for (int which = 0; which < 2; which++) {
            uint64_t expected = make_function(places[which], &random);
            for (int again = 0; again < 4; again++) {
                uint64_t is = call(places[which]);
                if (is != expected) {
                    wrong(which ? "shared page" : "own page", is, expected);
                }
            }
            // one number is changed in place
            int32_t number = (int32_t)next_random(&random), before;
            uint8_t *field = places[which] + 3 + 6 * 7 + 2;
            memcpy(&before, field, 4);
            uint64_t undone = expected, wide = (uint64_t)(int64_t)before;
            undone = field[-1] == 0x05   ? undone - wide
                     : field[-1] == 0x2d ? undone + wide
                                         : undone ^ wide;
            memcpy(field, &number, 4);
            wide = (uint64_t)(int64_t)number;
            expected = field[-1] == 0x05   ? undone + wide
                       : field[-1] == 0x2d ? undone - wide
                                           : undone ^ wide;
            uint64_t is = call(places[which]);
            if (is != expected) {
                wrong("changed in place", is, expected);
            }
        }
    }
    return NULL;
}

static void jit(long rounds)
{
    pthread_t threads[THREADS];
    struct jit jits[THREADS];
    uint8_t *shared = pages(1, PROT_READ | PROT_WRITE | PROT_EXEC);
    for (int i = 0; i < THREADS; i++) {
        jits[i] = (struct jit){.rounds = rounds,
                               .own = pages(1, PROT_READ | PROT_WRITE | PROT_EXEC),
                               .shared = shared + i * 2 * FUNCTION_BYTES + 0x400};
        pthread_create(&threads[i], NULL, jit_thread, &jits[i]);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
}

// --- a timer's signals into a computation with flags, registers and vectors

static volatile sig_atomic_t ticks;

static void tick(int number)
{
    double sum = number;
    for (int i = 1; i < 20; i++) {
        sum += 1.0 / i;
    }
    ticks += sum > 0;
}

// The same loop, in the same registers, gives the same result, whoever interrupts it.
static uint64_t churn(uint64_t seed, uint64_t count)
{
    uint64_t a = seed, b = ~seed, carry = 0;
    __asm__ volatile("clc\n"
                     "1: adc %[a], %[b]\n"
                     "lea 0x5bd1(%[a], %[b], 2), %[a]\n"
                     "mov %[a], %%r10\n"
                     "mov %[b], %%r11\n"
                     "push %%r10\n"
                     "xchg %%r10, %%r11\n"
                     "pop %%r11\n"
                     "lea -1(%[count]), %[count]\n"
                     "inc %%r10\n"
                     "mov %[count], %%rcx\n"
                     "jrcxz 2f\n"
                     "jmp 1b\n"
                     "2: adc $0, %[carry]\n"
                     "add %%r10, %[carry]\n"
                     "add %%r11, %[carry]\n"
                     : [a] "+r"(a), [b] "+r"(b), [carry] "+r"(carry), [count] "+r"(count)
                     :
                     : "rcx", "r10", "r11", "cc", "memory");
    return a ^ b ^ carry;
}

static void signals(long rounds)
{
    struct sigaction action = {.sa_handler = tick};
    struct itimerval timer = {.it_interval = {.tv_usec = 500}, .it_value = {.tv_usec = 500}};
    uint64_t expected = churn(1, 20000);
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &timer, NULL);
    for (long i = 0; i < rounds; i++) {
        uint64_t is = churn(1, 20000);
        if (is != expected) {
            wrong("interrupted sum", is, expected);
        }
    }
    memset(&timer, 0, sizeof(timer));
    setitimer(ITIMER_REAL, &timer, NULL);
}

// --- faults with everything told right, and going on behind them

static uint8_t *fault_area;
static volatile uintptr_t fault_expected;
static volatile long faults;

// Opens the page and lets the access be made again.
static void fault(int number, siginfo_t *info, void *context)
{
    const ucontext_t *frame = context;
    (void)number;
    if ((uintptr_t)info->si_addr != fault_expected ||
        (uint64_t)frame->uc_mcontext.gregs[REG_R11] != ~fault_expected) {
        wrong("fault address", (uintptr_t)info->si_addr, fault_expected);
    }
    faults++;
    mprotect(fault_area, 2 * PAGE_BYTES, PROT_READ | PROT_WRITE);
}

static void touch(uint64_t *at, uint64_t value)
{
    fault_expected = (uintptr_t)at;
    __asm__ volatile("mov %0, %%r11\n"
                     "not %%r11\n"
                     "stc\n"
                     "adc %1, (%0)\n"
                     :
                     : "r"(at), "r"(value)
                     : "r11", "cc", "memory");
}

static void fault_rounds(long rounds)
{
    struct sigaction action = {.sa_sigaction = fault, .sa_flags = SA_SIGINFO};
    uint64_t random = 77;
    sigaction(SIGSEGV, &action, NULL);
    fault_area = pages(2, PROT_READ | PROT_WRITE);
    for (long i = 0; i < rounds; i++) {
        uint64_t bits = next_random(&random);
        uint64_t *at = (uint64_t *)(void *)(fault_area + bits % (2 * PAGE_BYTES / 8) * 8);
        uint64_t before = *at;
        mprotect(fault_area, 2 * PAGE_BYTES, bits >> 60 & 1 ? PROT_READ : PROT_NONE);
        touch(at, bits);
        if (*at != before + bits + 1) {
            wrong("added behind a fault", *at, before + bits + 1);
        }
    }
    if (faults != rounds) {
        wrong("faults", (uint64_t)faults, (uint64_t)rounds);
    }
}

// --- threads that count together

static struct {
    atomic_ulong atomic;
    pthread_mutex_t lock;
    unsigned long locked;
    _Alignas(64) uint8_t bytes[128];
} counters = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void *count_thread(void *context)
{
    uint64_t *crossing = (uint64_t *)(void *)(counters.bytes + 60); // two cache lines
    for (long i = *(long *)context; i > 0; i--) {
        atomic_fetch_add(&counters.atomic, 1);
        __asm__ volatile("lock incq %0" : "+m"(*crossing));
        if (i % 64 == 0) {
            pthread_mutex_lock(&counters.lock);
            counters.locked++;
            pthread_mutex_unlock(&counters.lock);
        }
    }
    return NULL;
}

static void count(long rounds)
{
    pthread_t threads[THREADS];
    uint64_t crossing;
    rounds *= 64;
    for (int i = 0; i < THREADS; i++) {
        pthread_create(&threads[i], NULL, count_thread, &rounds);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    memcpy(&crossing, counters.bytes + 60, 8);
    uint64_t all = (uint64_t)rounds * THREADS;
    if (counters.atomic != all || crossing != all || counters.locked != all / 64) {
        wrong("counted", counters.atomic + crossing + 64 * counters.locked, 3 * all);
    }
}

// --- floating point, the same each time

static double numbers(void)
{
    long double slow = 1;
    double sum = 0;
    float small = 1;
    for (int i = 1; i < 2000; i++) {
        slow = slow * 1.0000001L + 1.0L / i;
        sum += sqrt(i) / (i + 0.5);
        small = small * 0.999f + (float)i * 1e-3f;
    }
    return (double)slow + sum + (double)small;
}

static void *float_thread(void *context)
{
    double expected = numbers();
    for (long i = *(long *)context; i > 0; i--) {
        double is = numbers();
        if (memcmp(&is, &expected, sizeof(is)) != 0) {
            printf("a sum of numbers: is %.17g, expected %.17g\n", is, expected);
            exit(1);
        }
    }
    return NULL;
}

static void floats(long rounds)
{
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        pthread_create(&threads[i], NULL, float_thread, &rounds);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
}

static const struct {
    const char *name;
    void (*run)(long rounds);
} WORK[] = {
    {"jit", jit}, {"signal", signals}, {"fault", fault_rounds}, {"count", count}, {"float", floats},
};

int main(int argc, char **argv)
{
    for (size_t i = 0; argc == 3 && i < sizeof(WORK) / sizeof(WORK[0]); i++) {
        if (strcmp(argv[1], WORK[i].name) == 0) {
            WORK[i].run(strtol(argv[2], NULL, 10));
            return 0;
        }
    }
    fprintf(stderr, "usage: worker jit|signal|fault|count|float ROUNDS\n");
    return 2;
}
