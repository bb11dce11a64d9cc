#include "cli/run_options.h"

#include <errno.h>
#include <string.h>

#include "base/parse.h"
#include "boot/layout.h"
#include "cli/engine_arguments.h"
#include "vm/engine.h"
#include "vm/vm.h"

#define DEFAULT_MEMORY     (UINT64_C(512) << 20)
#define DEFAULT_DEBUG_EXIT 0xf4
#define DEFAULT_FLAT_BASE  UINT64_C(0x8000)
#define HOST_CPU_MAX       1023 /* of cpu_set_t */
#define PAGE_SIZE          UINT64_C(4096)

static int set_kernel(void *target, const char *value, struct error *error)
{
    (void)error;
    ((struct run_options *)target)->kernel = value;
    return 0;
}

static int set_initrd(void *target, const char *value, struct error *error)
{
    struct run_options *options = target;
    if (options->initrd_count == sizeof(options->initrds) / sizeof(options->initrds[0])) {
        return error_set(error, EINVAL, "there can be %u of them at most", options->initrd_count);
    }
    options->initrds[options->initrd_count++] = value;
    return 0;
}

static int set_append(void *target, const char *value, struct error *error)
{
    (void)error;
    ((struct run_options *)target)->command_line = value;
    return 0;
}

static int set_memory(void *target, const char *value, struct error *error)
{
    struct run_options *options = target;
    int result = parse_size(value, &options->memory_bytes, error);
    if (result == 0 && options->memory_bytes % PAGE_SIZE != 0) {
        return error_set(error, EINVAL, "'%s' is no multiple of 4K; did you mean %sM?", value,
                         value);
    }
    return result;
}

static int set_cpus(void *target, const char *value, struct error *error)
{
    uint64_t number;
    int result = parse_number(value, "a count of CPUs", 1, VM_VCPUS_MAX, &number, error);
    if (result == 0) {
        ((struct run_options *)target)->vcpu_count = (unsigned int)number;
    }
    return result;
}

static int set_cpu(void *target, const char *value, struct error *error)
{
    (void)error;
    ((struct run_options *)target)->cpu = value;
    return 0;
}

/* "4" or "4-7": appends what it names to the list. */
static int add_host_cpus(struct run_options *options, const char *range, struct error *error)
{
    char first_text[16], last_text[16];
    uint64_t first, last;
    const char *dash = strchr(range, '-');
    size_t length = dash != NULL ? (size_t)(dash - range) : strlen(range);
    snprintf(first_text, sizeof(first_text), "%.*s", (int)(length < 15 ? length : 15), range);
    snprintf(last_text, sizeof(last_text), "%s", dash != NULL ? dash + 1 : first_text);
    int result = parse_number(first_text, "a host CPU", 0, HOST_CPU_MAX, &first, error);
    if (result == 0) {
        result = parse_number(last_text, "a host CPU", first, HOST_CPU_MAX, &last, error);
    }
    for (uint64_t cpu = first; result == 0 && cpu <= last; cpu++) {
        if (options->affinity_count == VM_VCPUS_MAX) {
            return error_set(error, EINVAL, "more CPUs than there can be vCPUs (%d)", VM_VCPUS_MAX);
        }
        options->affinity[options->affinity_count++] = (unsigned int)cpu;
    }
    return result;
}

static int set_affinity(void *target, const char *value, struct error *error)
{
    struct run_options *options = target;
    char range[40];
    int result = 0;
    options->affinity_count = 0;
    for (const char *rest = value; result == 0 && rest != NULL;) {
        size_t length = strcspn(rest, ",");
        snprintf(range, sizeof(range), "%.*s", (int)(length < 39 ? length : 39), rest);
        result = add_host_cpus(options, range, error);
        rest = rest[length] == ',' ? rest + length + 1 : NULL;
    }
    return result;
}

static int unknown_engine(const char *name, struct error *error)
{
    char list[128] = "auto";
    for (unsigned int i = 0; engine_table[i] != NULL; i++) {
        size_t used = strlen(list);
        snprintf(list + used, sizeof(list) - used, ", %s", engine_table[i]->name);
    }
    return error_set(error, EINVAL, "there is no engine '%s'; there are %s", name, list);
}

static int set_engine(void *target, const char *value, struct error *error)
{
    struct run_options *options = target;
    const char *comma = strchr(value, ',');
    size_t length = comma != NULL ? (size_t)(comma - value) : strlen(value);
    if (length >= sizeof(options->engine)) {
        return unknown_engine(value, error);
    }
    memcpy(options->engine, value, length);
    options->engine[length] = '\0';
    options->engine_arguments = comma != NULL ? comma + 1 : NULL;
    if (strcmp(options->engine, "auto") == 0) {
        if (comma != NULL) {
            return error_set(error, EINVAL,
                             "settings such as '%s' need an engine's name, "
                             "not auto",
                             comma + 1);
        }
        return 0;
    }
    for (unsigned int i = 0; engine_table[i] != NULL; i++) {
        if (strcmp(engine_table[i]->name, options->engine) == 0) {
            return 0;
        }
    }
    return unknown_engine(options->engine, error);
}

static int set_code_cache(void *target, const char *value, struct error *error)
{
    uint64_t bytes;
    ((struct run_options *)target)->code_cache = value;
    return parse_size(value, &bytes, error); /* how large it may be the engine knows */
}

static int set_perf_map(void *target, const char *value, struct error *error)
{
    (void)value;
    (void)error;
    ((struct run_options *)target)->perf_map = true;
    return 0;
}

static int set_trace(void *target, const char *value, struct error *error)
{
    struct run_options *options = target;
    if (strcmp(value, "code") == 0) {
        options->trace_code = true;
        return 0;
    }
    if (value[0] == '\0') {
        return error_set(error, EINVAL, "needs a file for the exits, or the word code");
    }
    return option_set_once(&options->trace_exits, value, "exits go to one file", error);
}

static int set_irqchip(void *target, const char *value, struct error *error)
{
    static const char *const modes[] = {"kernel", "split", "none"};
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        if (strcmp(value, modes[i]) == 0) {
            ((struct run_options *)target)->irqchip = value;
            return 0;
        }
    }
    return error_set(error, EINVAL, "there is no irqchip '%s'; there are kernel, split and none",
                     value);
}

static int set_trap(void *target, const char *value, struct error *error)
{
    static const char *const names[] = {[ENGINE_TRAP_SHADOW] = "shadow", [ENGINE_TRAP_ALL] = "all"};
    for (unsigned int i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(value, names[i]) == 0) {
            ((struct run_options *)target)->trap = (enum engine_trap)i;
            return 0;
        }
    }
    return error_set(error, EINVAL, "there is no way to trap '%s'; there are shadow and all",
                     value);
}

static int set_console(void *target, const char *value, struct error *error)
{
    (void)error;
    ((struct run_options *)target)->console = value;
    return 0;
}

static int set_flat(void *target, const char *value, struct error *error)
{
    (void)error;
    ((struct run_options *)target)->flat = value;
    return 0;
}

static int set_mode(void *target, const char *value, struct error *error)
{
    static const char *const names[] = {
        [BOOT_MODE_REAL] = "real",
        [BOOT_MODE_PROTECTED] = "protected",
        [BOOT_MODE_PAGED] = "paged",
        [BOOT_MODE_LONG] = "long",
    };
    struct run_options *options = target;
    for (unsigned int i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(value, names[i]) == 0) {
            options->mode = (enum boot_mode)i;
            options->mode_given = true;
            return 0;
        }
    }
    return error_set(error, EINVAL,
                     "there is no mode '%s'; there are real, protected, paged and "
                     "long",
                     value);
}

static int set_address(void *target, const char *value, struct error *error)
{
    struct run_options *options = target;
    options->address_given = true;
    return parse_number(value, "an address", 0, BOOT_RAM_MAX, &options->address, error);
}

static int set_timeout(void *target, const char *value, struct error *error)
{
    return parse_seconds(value, &((struct run_options *)target)->timeout_ns, error);
}

static int set_stats(void *target, const char *value, struct error *error)
{
    (void)value;
    (void)error;
    ((struct run_options *)target)->print_stats = true;
    return 0;
}

static int set_dump_state(void *target, const char *value, struct error *error)
{
    (void)error;
    ((struct run_options *)target)->dump_state = value;
    return 0;
}

static int set_debug_exit(void *target, const char *value, struct error *error)
{
    uint64_t number;
    int result = parse_number(value, "a port", 1, 0xfffc, &number, error);
    if (result == 0) {
        ((struct run_options *)target)->debug_exit_port = (uint16_t)number;
    }
    return result;
}

static int set_test_device(void *target, const char *value, struct error *error)
{
    (void)value;
    (void)error;
    ((struct run_options *)target)->has_test_device = true;
    return 0;
}

static int set_verbose(void *target, const char *value, struct error *error)
{
    (void)value;
    (void)error;
    ((struct run_options *)target)->verbosity++;
    return 0;
}

const struct option run_option_table[] = {
    {"kernel", 0, "FILE", "a Linux bzImage, an ELF file with a PVH note, or a multiboot image",
     set_kernel},
    {"initrd", 0, "FILE", "an initial RAM disk; for multiboot a module, and repeatable",
     set_initrd},
    {"append", 0, "TEXT", "the kernel's command line", set_append},
    {"flat", 0, "FILE", "instead of a kernel: an image that is entered at its first byte",
     set_flat},
    {"mode", 0, "MODE", "the CPU's mode then: real (default), protected, paged, long", set_mode},
    {"at", 0, "ADDRESS", "where the flat image goes (default 0x8000)", set_address},
    {"memory", 'm', "SIZE", "guest memory, as in 512M (default) or 2G", set_memory},
    {"cpus", 'c', "N", "virtual CPUs, 1 (default) to 64", set_cpus},
    {"cpu", 0, "MODEL",
     "what CPUID shows: host or max (all that there is, the default), x86-64-v2,\n"
     "x86-64-v3, or a file",
     set_cpu},
    {"cpu-affinity", 0, "LIST",
     "host CPUs that the virtual CPUs run on, one each and in turn: 2,3 or 4-7", set_affinity},
    {"engine", 'e', "NAME",
     "what runs the guest's CPUs: auto (default), kvm, soft;\n"
     "settings may follow: NAME,key=value,...",
     set_engine},
    {"irqchip", 0, "WHERE",
     "which interrupt controllers kvm leaves to the kernel: kernel (all), split\n"
     "(the local APICs), none",
     set_irqchip},
    {"trap", 0, "WHAT",
     "which sensitive instructions leave the guest: shadow (default: what a device\n"
     "or the monitor must answer), all (each of them)",
     set_trap},
    {"code-cache", 0, "SIZE", "how much translated code soft keeps: 1M to 1G (default 64M)",
     set_code_cache},
    {"console", 0, "WHERE", "stdio (default), none, pty, file:PATH", set_console},
    {"timeout", 't', "SECONDS", "end the run after so long", set_timeout},
    {"stats", 's', NULL, "at the end, print what the guest's exits cost", set_stats},
    {"trace", 0, "FILE",
     "write each exit to a file for 'trapeze report';\n"
     "code: on stderr, what soft makes of each block of the guest's code",
     set_trace},
    {"perf-map", 0, NULL, "name the guest's code for perf, in /tmp/perf-PID.map", set_perf_map},
    {"dump-state", 0, "FILE", "write a vCPU's state there if it ends by a fault or a failure",
     set_dump_state},
    {"debug-exit", 0, "PORT", "the port that ends the run with a code (default 0xf4)",
     set_debug_exit},
    {"test-device", 0, NULL, "add the device that exams such as kvm-unit-tests need",
     set_test_device},
    {"verbose", 'v', NULL, "say more on stderr; twice: for debugging", set_verbose},
    {.name = NULL},
};

static int check(const struct run_options *options, struct error *error)
{
    if (options->kernel == NULL && options->flat == NULL) {
        return error_set(error, EINVAL, "nothing to run: give --kernel FILE, or --flat FILE");
    }
    if (options->kernel != NULL && options->flat != NULL) {
        return error_set(error, EINVAL, "--kernel and --flat exclude each other");
    }
    if (options->kernel != NULL && (options->mode_given || options->address_given)) {
        return error_set(error, EINVAL,
                         "--mode and --at are for --flat; a kernel says itself "
                         "where it goes");
    }
    if (options->flat != NULL && (options->initrd_count != 0 || options->command_line != NULL)) {
        return error_set(error, EINVAL, "a flat image takes no --initrd and no --append");
    }
    return engine_arguments_check(options, error);
}

int run_options_parse(char **arguments, int count, struct run_options *options, struct error *error)
{
    *options = (struct run_options){
        .mode = BOOT_MODE_REAL,
        .address = DEFAULT_FLAT_BASE,
        .memory_bytes = DEFAULT_MEMORY,
        .vcpu_count = 1,
        .engine = "auto",
        .debug_exit_port = DEFAULT_DEBUG_EXIT,
        .console = "stdio",
    };
    int result = options_parse(run_option_table, arguments, count, options, error);
    return result != 0 ? result : check(options, error);
}
