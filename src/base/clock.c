#include "base/clock.h"

#include <cpuid.h>
#include <linux/perf_event.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#define NS_PER_SECOND UINT64_C(1000000000)

static uint64_t read_clock(clockid_t which)
{
    struct timespec time;
    clock_gettime(which, &time);
    return (uint64_t)time.tv_sec * NS_PER_SECOND + (uint64_t)time.tv_nsec;
}

uint64_t clock_now_ns(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

uint64_t clock_tsc(void)
{
    return __rdtsc();
}

/*
 * perf_event's mapped page tells user programs how to turn TSC ticks into nanoseconds:
 * ns = ticks * time_mult >> time_shift. That is the kernel's own calibration, for two system calls.
 */
static uint64_t hz_from_perf(void)
{
    struct perf_event_attr attributes = {
        .type = PERF_TYPE_SOFTWARE,
        .size = sizeof(attributes),
        .config = PERF_COUNT_SW_DUMMY,
        .exclude_kernel = 1,
        .exclude_hv = 1,
    };
    long opened = syscall(SYS_perf_event_open, &attributes, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
    if (opened < 0) {
        return 0;
    }
    int fd = (int)opened;
    size_t length = (size_t)sysconf(_SC_PAGESIZE);
    uint64_t hz = 0;
    struct perf_event_mmap_page *page = mmap(NULL, length, PROT_READ, MAP_SHARED, fd, 0);
    if (page != MAP_FAILED) {
        if (page->cap_user_time && page->time_mult != 0 && page->time_shift < 64) {
            hz = (uint64_t)(((unsigned __int128)NS_PER_SECOND << page->time_shift) /
                            page->time_mult);
        }
        munmap(page, length);
    }
    close(fd);
    return hz;
}

/* Intel SDM volume 2, CPUID leaf 15H, "Time Stamp Counter and Nominal Core Crystal Clock". */
static uint64_t hz_from_cpuid(void)
{
    unsigned int eax, ebx, ecx, edx;
    if (__get_cpuid_max(0, NULL) >= 0x15) {
        __cpuid(0x15, eax, ebx, ecx, edx);
        if (eax != 0 && ebx != 0 && ecx != 0) {
            return (uint64_t)ecx * ebx / eax;
        }
    }
    /* Hypervisors that follow VMware's convention put the TSC's kHz at 0x40000010. */
    __cpuid(1, eax, ebx, ecx, edx);
    if ((ecx & (1u << 31)) != 0) {
        __cpuid(0x40000000, eax, ebx, ecx, edx);
        if (eax >= 0x40000010 && eax < 0x40010000) {
            __cpuid(0x40000010, eax, ebx, ecx, edx);
            return (uint64_t)eax * 1000;
        }
    }
    return 0;
}

struct sample {
    uint64_t ns;
    uint64_t ticks;
};

/* Of a few tries, the pair that was read closest together. */
static struct sample take_sample(void)
{
    struct sample best = {0, 0};
    uint64_t best_width = UINT64_MAX;
    for (int i = 0; i < 8; i++) {
        uint64_t before = __rdtsc();
        uint64_t ns = read_clock(CLOCK_MONOTONIC_RAW);
        uint64_t width = __rdtsc() - before;
        if (width < best_width) {
            best_width = width;
            best = (struct sample){.ns = ns, .ticks = before + width / 2};
        }
    }
    return best;
}

static uint64_t hz_from_measurement(void)
{
    struct sample first = take_sample();
    struct timespec pause = {.tv_nsec = 1800000};
    nanosleep(&pause, NULL);
    struct sample last = take_sample();
    if (last.ns <= first.ns || last.ticks <= first.ticks) {
        return NS_PER_SECOND;
    }
    return (uint64_t)((unsigned __int128)(last.ticks - first.ticks) * NS_PER_SECOND /
                      (last.ns - first.ns));
}

uint64_t clock_tsc_hz(const char **source)
{
    static const struct {
        uint64_t (*find)(void);
        const char *name;
    } ways[] = {
        {hz_from_perf, "the kernel's calibration"},
        {hz_from_cpuid, "CPUID"},
        {hz_from_measurement, "measured"},
    };
    uint64_t hz = 0;
    const char *name = "";
    for (unsigned int i = 0; i < sizeof(ways) / sizeof(ways[0]) && hz == 0; i++) {
        hz = ways[i].find();
        name = ways[i].name;
    }
    if (source != NULL) {
        *source = name;
    }
    return hz;
}
