/*
 * /dev/trapeze, called by a program that means harm: arguments that make no sense, states of
 * garbage, memory that goes away. Nothing here looks at what a guest does, only that the call fails
 * as the interface says, or comes back at all. Whoever runs this looks at the kernel's log.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/io.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "engines/vtx/vtx_abi.h"
#include "trapeze/vtx.h"

#define MEMORY       0x10000u
#define UNTOUCHED    0x8000u /* a page that no guest of these executes */
#define HOSTILE_RUNS 300u
#define KERNEL_SPACE UINT64_C(0xffff888000000000)
#define CHECK_FAILS(expression, code)                                                              \
    check_fails((expression), (code), __FILE__, __LINE__, #expression)

static void check_fails(long result, int code, const char *file, int line, const char *what)
{
    int found = result < 0 ? errno : 0;
    if (!check_report(found == code, file, line, what)) {
        fprintf(stderr, "    errno is %d (%s), expected %d\n", found, strerror(found), code);
    }
}

/* A VM with a page of memory, and a vCPU; everything -1 or NULL that is not there. */
struct device {
    int device, vm, vcpu;
    uint8_t *memory;
    struct trapeze_vtx_run *run;
};

static int create_vm(int device)
{
    struct trapeze_vtx_vm vm = {.policy = TRAPEZE_VTX_TRAP_SHADOW};
    return ioctl(device, TRAPEZE_VTX_CREATE_VM, &vm);
}

static struct trapeze_vtx_memory slot(const struct device *device, uint64_t guest, uint64_t length)
{
    return (struct trapeze_vtx_memory){.guest_address = guest,
                                       .length = length,
                                       .user_address = (uint64_t)(uintptr_t)device->memory};
}

static uint8_t *anonymous_memory(void)
{
    return mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static bool open_device_on(struct device *device, uint8_t *guest_memory)
{
    *device = (struct device){-1, -1, -1, NULL, NULL};
    device->device = open(TRAPEZE_VTX_DEVICE, O_RDWR | O_CLOEXEC);
    device->vm = create_vm(device->device);
    device->memory = guest_memory;
    struct trapeze_vtx_memory memory = slot(device, 0, MEMORY);
    struct trapeze_vtx_vcpu vcpu = {.index = 0};
    CHECK(ioctl(device->vm, TRAPEZE_VTX_SET_MEMORY, &memory) == 0);
    device->vcpu = ioctl(device->vm, TRAPEZE_VTX_CREATE_VCPU, &vcpu);
    device->run =
        mmap(NULL, TRAPEZE_VTX_RUN_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, device->vcpu, 0);
    return CHECK(device->vm >= 0 && device->vcpu >= 0 && device->run != MAP_FAILED);
}

static bool open_device(struct device *device)
{
    return open_device_on(device, anonymous_memory());
}

static void close_device(struct device *device)
{
    munmap(device->run, TRAPEZE_VTX_RUN_SIZE);
    munmap(device->memory, MEMORY);
    close(device->vcpu);
    close(device->vm);
    close(device->device);
}

/* ---- arguments ---- */

static void test_device_calls(int device)
{
    struct trapeze_vtx_version version;
    struct trapeze_vtx_vm vm = {.policy = 7};
    struct trapeze_vtx_cpuid_entry entries[TRAPEZE_VTX_CPUID_MAX];
    struct trapeze_vtx_cpuid cpuid = {.count = 1, .entries = (uint64_t)(uintptr_t)entries};
    CHECK_EQUAL(ioctl(device, TRAPEZE_VTX_VERSION, &version), 0);
    CHECK_EQUAL(version.abi, TRAPEZE_VTX_ABI);
    CHECK_FAILS(ioctl(device, TRAPEZE_VTX_VERSION, KERNEL_SPACE), EFAULT);
    CHECK_FAILS(ioctl(device, TRAPEZE_VTX_RUN, 0), ENOTTY);
    CHECK_FAILS(ioctl(device, TRAPEZE_VTX_CREATE_VM, &vm), EINVAL);
    vm = (struct trapeze_vtx_vm){.reserved0 = 1};
    CHECK_FAILS(ioctl(device, TRAPEZE_VTX_CREATE_VM, &vm), EINVAL);
    vm = (struct trapeze_vtx_vm){.reserved = {0, 0, 1}};
    CHECK_FAILS(ioctl(device, TRAPEZE_VTX_CREATE_VM, &vm), EINVAL);
    CHECK_FAILS(ioctl(device, TRAPEZE_VTX_CREATE_VM, NULL), EFAULT);
    CHECK_FAILS(ioctl(device, TRAPEZE_VTX_GET_CPUID, &cpuid), E2BIG);
    CHECK(cpuid.count > 1 && cpuid.count <= TRAPEZE_VTX_CPUID_MAX);
    CHECK_EQUAL(ioctl(device, TRAPEZE_VTX_GET_CPUID, &cpuid), 0);
    cpuid.entries = KERNEL_SPACE;
    CHECK_FAILS(ioctl(device, TRAPEZE_VTX_GET_CPUID, &cpuid), EFAULT);
    cpuid.reserved0 = 1;
    CHECK_FAILS(ioctl(device, TRAPEZE_VTX_GET_CPUID, &cpuid), EINVAL);
}

static void test_memory_calls(int descriptor)
{
    struct device device = {.device = descriptor, .vm = create_vm(descriptor)};
    device.memory = anonymous_memory();
    const struct {
        struct trapeze_vtx_memory memory;
        int code;
    } cases[] = {
        {slot(&device, 1, MEMORY), EINVAL},
        {slot(&device, 0, MEMORY + 1), EINVAL},
        {slot(&device, 0, 0), EINVAL},
        {slot(&device, UINT64_C(1) << 48, MEMORY), EINVAL},
        {slot(&device, UINT64_C(1) << 52, MEMORY), EINVAL},
        {slot(&device, 0, ~UINT64_C(0xfff)), EINVAL},
        {slot(&device, ~UINT64_C(0xfff), MEMORY), EINVAL},
        {{.length = MEMORY, .user_address = KERNEL_SPACE}, EINVAL},
        {{.length = MEMORY, .flags = 2}, EINVAL},
        {{.length = MEMORY, .reserved = {0, 1}}, EINVAL},
        {slot(&device, 0, MEMORY), 0},
        {slot(&device, MEMORY - 0x1000, MEMORY), EEXIST},
        {slot(&device, 0, MEMORY), EEXIST},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct trapeze_vtx_memory memory = cases[i].memory;
        CHECK_FAILS(ioctl(device.vm, TRAPEZE_VTX_SET_MEMORY, &memory), cases[i].code);
    }
    for (unsigned int i = 1; i <= TRAPEZE_VTX_SLOTS_MAX; i++) {
        struct trapeze_vtx_memory memory = slot(&device, i * MEMORY, MEMORY);
        CHECK_FAILS(ioctl(device.vm, TRAPEZE_VTX_SET_MEMORY, &memory),
                    i < TRAPEZE_VTX_SLOTS_MAX ? 0 : ENOSPC);
    }
    munmap(device.memory, MEMORY);
    close(device.vm);
}

static void test_vcpu_calls(const struct device *device)
{
    struct trapeze_vtx_cpuid_entry entry = {.has_subleaf = 2};
    struct trapeze_vtx_vcpu vcpu = {.index = TRAPEZE_VTX_VCPUS_MAX};
    struct trapeze_vtx_doorbell doorbell = {.event = -1, .size = 1};
    struct trapeze_vtx_memory memory = slot(device, 16 * MEMORY, MEMORY);
    CHECK_FAILS(ioctl(device->vm, TRAPEZE_VTX_CREATE_VCPU, &vcpu), EINVAL);
    vcpu = (struct trapeze_vtx_vcpu){.index = 0};
    CHECK_FAILS(ioctl(device->vm, TRAPEZE_VTX_CREATE_VCPU, &vcpu), EEXIST);
    vcpu = (struct trapeze_vtx_vcpu){.index = 1, .cpuid_count = TRAPEZE_VTX_CPUID_MAX + 1};
    CHECK_FAILS(ioctl(device->vm, TRAPEZE_VTX_CREATE_VCPU, &vcpu), EINVAL);
    vcpu = (struct trapeze_vtx_vcpu){.index = 1, .cpuid_count = 1, .cpuid = KERNEL_SPACE};
    CHECK_FAILS(ioctl(device->vm, TRAPEZE_VTX_CREATE_VCPU, &vcpu), EFAULT);
    vcpu.cpuid = (uint64_t)(uintptr_t)&entry;
    CHECK_FAILS(ioctl(device->vm, TRAPEZE_VTX_CREATE_VCPU, &vcpu), EINVAL);
    CHECK_FAILS(ioctl(device->vm, TRAPEZE_VTX_SET_MEMORY, &memory), EBUSY);
    CHECK_FAILS(ioctl(device->vm, TRAPEZE_VTX_SET_DOORBELL, &doorbell), EBADF);
    doorbell.size = 3;
    CHECK_FAILS(ioctl(device->vm, TRAPEZE_VTX_SET_DOORBELL, &doorbell), EINVAL);
    doorbell = (struct trapeze_vtx_doorbell){.event = eventfd(0, 0), .size = 1};
    CHECK_FAILS(ioctl(device->vm, TRAPEZE_VTX_SET_DOORBELL, &doorbell), EBUSY);
    close(doorbell.event);
    CHECK_FAILS(ioctl(device->vm, TRAPEZE_VTX_RUN, 0), ENOTTY);
    CHECK_FAILS(ioctl(device->vcpu, TRAPEZE_VTX_CREATE_VCPU, &vcpu), ENOTTY);
    CHECK_FAILS(ioctl(device->vcpu, TRAPEZE_VTX_STATISTICS, KERNEL_SPACE), EFAULT);
    CHECK_FAILS(ioctl(device->vcpu, TRAPEZE_VTX_GET_STATE, KERNEL_SPACE), EFAULT);
    CHECK(mmap(NULL, 2 * TRAPEZE_VTX_RUN_SIZE, PROT_READ, MAP_SHARED, device->vcpu, 0) ==
          MAP_FAILED);
    CHECK(mmap(NULL, 4096, PROT_READ, MAP_SHARED, device->vcpu, TRAPEZE_VTX_RUN_SIZE) ==
          MAP_FAILED);
}

/* ---- garbage ---- */

static void do_nothing(int number)
{
    (void)number;
}

/* Interrupts what takes longer than a few milliseconds, again and again. */
static void start_timer(void)
{
    struct sigaction action = {.sa_handler = do_nothing};
    struct itimerval every = {{0, 5000}, {0, 5000}};
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &every, NULL);
}

static void stop_timer(void)
{
    setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
}

static void fill(void *at, size_t size, unsigned int *seed)
{
    uint8_t *bytes = at;
    for (size_t i = 0; i < size; i++) {
        bytes[i] = (uint8_t)(rand_r(seed) >> 7);
    }
}

/* A state of garbage in which only what the device refuses outright is right. */
static void garbage_state(struct trapeze_vtx_state *state, unsigned int *seed)
{
    fill(state, sizeof(*state), seed);
    state->groups = (unsigned int)rand_r(seed) & TRAPEZE_VTX_ALL_GROUPS;
    state->reserved = state->system.reserved = state->fpu.reserved = 0;
    for (unsigned int i = 0; i < 8; i++) {
        memset(state->system.segment[i].reserved, 0, sizeof(state->system.segment[i].reserved));
    }
    memset(state->system.gdtr.reserved, 0, sizeof(state->system.gdtr.reserved));
    memset(state->system.idtr.reserved, 0, sizeof(state->system.idtr.reserved));
    state->system.pdptrs_known &= 1;
    struct trapeze_vtx_events *events = &state->events;
    *events = (struct trapeze_vtx_events){.activity = events->activity & 3,
                                          .sti_shadow = events->sti_shadow & 1,
                                          .mov_ss_shadow = events->mov_ss_shadow & 1,
                                          .nmi_blocked = events->nmi_blocked & 1,
                                          .nmi_pending = events->nmi_pending & 1,
                                          .exception_pending = events->exception_pending & 1,
                                          .exception_has_error = events->exception_has_error & 1,
                                          .exception_vector = events->exception_vector & 31,
                                          .exception_error = events->exception_error};
}

/* States that VM entry takes, but for a few bits: more of these get into the guest. */
static void nearly_valid_state(struct trapeze_vtx_state *state, unsigned int *seed)
{
    static struct x86_state reset;
    x86_state_reset(&reset);
    reset.segment[X86_CS].base = 0;
    reset.segment[X86_CS].selector = 0;
    vtx_abi_from_state(&reset, X86_STATE_ALL, state);
    size_t at = offsetof(struct trapeze_vtx_state, general);
    size_t size = offsetof(struct trapeze_vtx_state, fpu) - at;
    for (unsigned int i = 0; i < 4; i++) {
        ((uint8_t *)state)[at + (size_t)rand_r(seed) % size] ^= (uint8_t)(1 << (rand_r(seed) % 8));
    }
}

static void test_garbage(struct device *device)
{
    static struct trapeze_vtx_state state, got;
    unsigned int seed = 20261128, entered = 0, refused = 0;
    start_timer();
    for (unsigned int i = 0; i < HOSTILE_RUNS; i++) {
        fill(device->memory, MEMORY, &seed);
        fill(device->run, sizeof(*device->run), &seed);
        if (i % 2 == 0) {
            garbage_state(&state, &seed);
        } else {
            nearly_valid_state(&state, &seed);
        }
        (void)ioctl(device->vcpu, TRAPEZE_VTX_SET_STATE, &state);
        device->run->immediate_exit = 0;
        for (unsigned int k = 0; k < 3; k++) {
            long code = ioctl(device->vcpu, TRAPEZE_VTX_RUN, 0);
            CHECK(code == 0 || errno == EINTR);
            entered += code == 0 && device->run->exit.reason != TRAPEZE_VTX_EXIT_ENTRY_FAILED;
            refused += code == 0 && device->run->exit.reason == TRAPEZE_VTX_EXIT_ENTRY_FAILED;
            fill(&device->run->exit, sizeof(device->run->exit), &seed);
        }
        got.groups = TRAPEZE_VTX_ALL_GROUPS;
        CHECK(ioctl(device->vcpu, TRAPEZE_VTX_GET_STATE, &got) == 0);
    }
    stop_timer();
    CHECK(entered > 0 && refused > 0);
    printf("garbage: %u runs came to an exit, %u entries were refused\n", entered, refused);
}

/* ---- the process ---- */

/* Real mode from 0: a jump to itself. DI and DX for who puts something else there. */
static void load_loop(struct device *device)
{
    static struct trapeze_vtx_state state;
    static struct x86_state reset;
    x86_state_reset(&reset);
    reset.segment[X86_CS].base = 0;
    reset.segment[X86_CS].selector = 0;
    reset.rip = 0;
    reset.gpr[X86_RDI] = UNTOUCHED;
    reset.gpr[X86_RDX] = 0x11;
    vtx_abi_from_state(&reset, X86_STATE_ALL, &state);
    memcpy(device->memory, "\xeb\xfe", 2);
    CHECK_EQUAL(ioctl(device->vcpu, TRAPEZE_VTX_SET_STATE, &state), 0);
    memset(device->run, 0, sizeof(*device->run));
}

static void test_signals(struct device *device)
{
    load_loop(device);
    start_timer();
    CHECK_FAILS(ioctl(device->vcpu, TRAPEZE_VTX_RUN, 0), EINTR);
    stop_timer();
    device->run->immediate_exit = 1;
    CHECK_FAILS(ioctl(device->vcpu, TRAPEZE_VTX_RUN, 0), EINTR);
}

/* Its memory is another's: the child's calls are refused. */
static void test_fork(struct device *device)
{
    pid_t child = fork();
    if (child == 0) {
        _exit(ioctl(device->vcpu, TRAPEZE_VTX_RUN, 0) < 0 ? errno : 0);
    }
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK_EQUAL(WEXITSTATUS(status), EPERM);
}

/* The program takes its memory away before the guest has touched it. */
static void test_memory_gone(void)
{
    struct device device;
    if (open_device(&device)) {
        load_loop(&device);
        munmap(device.memory, MEMORY);
        CHECK_FAILS(ioctl(device.vcpu, TRAPEZE_VTX_RUN, 0), EFAULT);
    }
    close_device(&device);
}

/* ... and after: the guest keeps what is pinned. */
static void test_memory_kept(void)
{
    struct device device;
    if (open_device(&device)) {
        load_loop(&device);
        start_timer();
        CHECK_FAILS(ioctl(device.vcpu, TRAPEZE_VTX_RUN, 0), EINTR);
        munmap(device.memory, MEMORY);
        CHECK_FAILS(ioctl(device.vcpu, TRAPEZE_VTX_RUN, 0), EINTR);
        stop_timer();
    }
    close_device(&device);
}

/* A shared file of another file system than tmpfs. ramfs has no disk, but is there everywhere. */
static void test_file_memory(void)
{
    static const char *const place = "/tmp/vtx-device-test";
    struct device device;
    if (mkdir(place, 0700) < 0 || mount("none", place, "ramfs", 0, NULL) < 0) {
        SKIP("no file system can be mounted");
        return;
    }
    int file = open("/tmp/vtx-device-test/file", O_RDWR | O_CREAT, 0600);
    CHECK_EQUAL(ftruncate(file, MEMORY), 0);
    if (open_device_on(&device, mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0))) {
        load_loop(&device);
        start_timer(); /* the guest would loop */
        CHECK_FAILS(ioctl(device.vcpu, TRAPEZE_VTX_RUN, 0), EOPNOTSUPP);
        stop_timer();
    }
    close_device(&device);
    close(file);
    CHECK_EQUAL(umount(place), 0);
    CHECK_EQUAL(rmdir(place), 0);
}

/* ---- what a run leaves the program ---- */

static uint16_t read_gs(void)
{
    uint16_t selector;
    __asm__ volatile("mov %%gs, %0" : "=r"(selector));
    return selector;
}

/* Ports that the program may use, and a selector of its own. */
static void test_program_kept(struct device *device)
{
    const uint16_t user_data = 0x2b;
    load_loop(device);
    CHECK_EQUAL(ioperm(0x80, 1, 1), 0);
    __asm__ volatile("mov %0, %%gs" : : "r"(user_data));
    start_timer();
    CHECK_FAILS(ioctl(device->vcpu, TRAPEZE_VTX_RUN, 0), EINTR);
    __asm__ volatile("outb %b0, $0x80" : : "a"(0)); /* ends the program where it may not */
    CHECK_EQUAL(read_gs(), user_data);
    stop_timer();
    CHECK_EQUAL(ioperm(0x80, 1, 0), 0);
}

/* INS to a page that is not mapped yet, and a kick: the byte and RIP are there nevertheless. */
static void test_completion(struct device *device)
{
    static struct trapeze_vtx_state state;
    load_loop(device);
    device->memory[0] = 0x6c; /* insb */
    CHECK_EQUAL(ioctl(device->vcpu, TRAPEZE_VTX_RUN, 0), 0);
    CHECK_EQUAL(device->run->exit.reason, TRAPEZE_VTX_EXIT_PIO);
    ((uint8_t *)device->run)[TRAPEZE_VTX_DATA_OFFSET] = 0xa5;
    device->run->immediate_exit = 1;
    CHECK_FAILS(ioctl(device->vcpu, TRAPEZE_VTX_RUN, 0), EINTR);
    state.groups = TRAPEZE_VTX_GENERAL;
    CHECK_EQUAL(ioctl(device->vcpu, TRAPEZE_VTX_GET_STATE, &state), 0);
    CHECK_EQUAL(state.general.rip, 1);
    CHECK_EQUAL(device->memory[UNTOUCHED], 0xa5);
}

/* The guest takes no interrupts: the second one stays with the program. */
static void test_interrupts(struct device *device)
{
    load_loop(device);
    for (uint8_t i = 0; i < 2; i++) {
        device->run->immediate_exit = 1;
        device->run->has_interrupt = 1;
        device->run->interrupt = 0x21 + i;
        CHECK_FAILS(ioctl(device->vcpu, TRAPEZE_VTX_RUN, 0), EINTR);
        CHECK_EQUAL(device->run->has_interrupt, i);
        CHECK_EQUAL(device->run->interrupt_ready, 0);
    }
}

/* out 0x10, al rings; out 0x11, al comes out. */
static void test_doorbell(int descriptor)
{
    static const uint8_t code[] = {0xe6, 0x10, 0xe6, 0x10, 0xe6, 0x11};
    struct device device = {.device = descriptor, .vm = create_vm(descriptor)};
    int event = eventfd(0, EFD_NONBLOCK);
    struct trapeze_vtx_doorbell doorbell = {.event = event, .port = 0x10, .size = 1};
    CHECK_EQUAL(ioctl(device.vm, TRAPEZE_VTX_SET_DOORBELL, &doorbell), 0);
    device.memory = anonymous_memory();
    struct trapeze_vtx_memory memory = slot(&device, 0, MEMORY);
    struct trapeze_vtx_vcpu vcpu = {.index = 3};
    CHECK_EQUAL(ioctl(device.vm, TRAPEZE_VTX_SET_MEMORY, &memory), 0);
    device.vcpu = ioctl(device.vm, TRAPEZE_VTX_CREATE_VCPU, &vcpu);
    device.run =
        mmap(NULL, TRAPEZE_VTX_RUN_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, device.vcpu, 0);
    load_loop(&device);
    memcpy(device.memory, code, sizeof(code));
    CHECK_EQUAL(ioctl(device.vcpu, TRAPEZE_VTX_RUN, 0), 0);
    CHECK_EQUAL(device.run->exit.reason, TRAPEZE_VTX_EXIT_PIO);
    CHECK_EQUAL(device.run->exit.pio.port, 0x11);
    uint64_t rings = 0;
    CHECK(read(event, &rings, sizeof(rings)) == sizeof(rings));
    CHECK_EQUAL(rings, 2);
    munmap(device.run, TRAPEZE_VTX_RUN_SIZE);
    munmap(device.memory, MEMORY);
    close(device.vcpu);
    close(device.vm);
    close(event);
}

int main(void)
{
    struct device device;
    int descriptor = open(TRAPEZE_VTX_DEVICE, O_RDWR | O_CLOEXEC);
    int vm = descriptor >= 0 ? create_vm(descriptor) : -1;
    if (vm < 0) {
        SKIP("there is no " TRAPEZE_VTX_DEVICE " that can be used");
        return check_summary();
    }
    close(vm);
    test_device_calls(descriptor);
    test_memory_calls(descriptor);
    test_doorbell(descriptor);
    test_memory_gone();
    test_memory_kept();
    test_file_memory();
    if (open_device(&device)) {
        test_completion(&device);
        test_program_kept(&device);
        test_vcpu_calls(&device);
        test_signals(&device);
        test_fork(&device);
        test_interrupts(&device);
        test_garbage(&device);
    }
    close_device(&device);
    close(descriptor);
    return check_summary();
}
