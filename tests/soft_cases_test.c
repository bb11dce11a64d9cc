/*
 * The guests of cases (tests/guest) on the software CPU: what each instruction did in thousands of
 * random situations, against the sums of what a reference machine printed.
 *
 * Use: soft_cases_test IMAGE EXPECTED; --print IMAGE: the guest's lines; --sum IMAGE: their sums.
 */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "engines/soft/soft.h"
#include "soft_tier.h"
#include "vm/guestmem.h"

#define MEMORY     (UINT64_C(4) << 20)
#define IMAGE_BASE 0x10000u
#define IMAGE_MAX  0x40000u
#define LINE_MAX   1024
#define GROUPS_MAX 64

struct group {
    char name[32];
    unsigned int lines;
    uint64_t sum;
};

struct listener {
    char line[LINE_MAX];
    size_t length;
    bool prints, finished, shut_down;
    struct group groups[GROUPS_MAX];
    unsigned int group_count;
};

static uint64_t fnv(uint64_t hash, const char *text)
{
    for (; *text != '\0'; text++) {
        hash = (hash ^ (uint8_t)*text) * UINT64_C(0x100000001b3);
    }
    return hash;
}

static struct group *find_group(struct listener *listener, const char *name)
{
    for (unsigned int i = 0; i < listener->group_count; i++) {
        if (strcmp(listener->groups[i].name, name) == 0) {
            return &listener->groups[i];
        }
    }
    if (listener->group_count == GROUPS_MAX) {
        return NULL;
    }
    struct group *group = &listener->groups[listener->group_count++];
    *group = (struct group){.sum = UINT64_C(0xcbf29ce484222325)};
    snprintf(group->name, sizeof group->name, "%s", name);
    return group;
}

/* A line begins with the name of its instruction; the lines of each are summed up. */
static void hear_line(struct listener *listener)
{
    if (listener->prints) {
        puts(listener->line);
    }
    char name[32];
    if (sscanf(listener->line, "%31s", name) != 1 || strchr(listener->line, '>') == NULL) {
        return;
    }
    struct group *group = find_group(listener, name);
    if (group != NULL) {
        group->lines++;
        group->sum = fnv(group->sum, listener->line);
    }
}

static void hear(struct listener *listener, const struct vcpu_exit *exit)
{
    if (exit->pio.port == 0xe4) {
        listener->finished = true;
    }
    if (exit->pio.port != 0xe9) {
        return;
    }
    char byte = (char)exit->pio.data[0];
    if (byte == '\n' || listener->length == LINE_MAX - 1) {
        listener->line[listener->length] = '\0';
        hear_line(listener);
        listener->length = 0;
    } else {
        listener->line[listener->length++] = byte;
    }
}

static bool load(struct guestmem *memory, const char *path)
{
    static uint8_t image[IMAGE_MAX];
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        return false;
    }
    size_t length = fread(image, 1, sizeof image, file);
    fclose(file);
    return length > 0 && guestmem_write(memory, gpa(IMAGE_BASE), image, length) == 0;
}

static void listen_to(struct engine_vcpu *vcpu, struct listener *listener, struct error *error)
{
    struct vcpu_exit exit = {.reason = EXIT_NONE};
    while (!listener->finished && !listener->shut_down) {
        int status = soft_engine.run(vcpu, &exit, error);
        if (status != 0) {
            fprintf(stderr, "run: %s\n", error->text);
            return;
        }
        if (exit.reason == EXIT_PIO) {
            hear(listener, &exit);
        } else if (exit.reason == EXIT_MMIO) {
            memset(exit.mmio.data, 0xff, sizeof exit.mmio.data); /* beyond memory: nothing there */
        } else if (exit.reason != EXIT_KICKED) {
            listener->shut_down = true;
        }
    }
}

static void start_real_mode(struct engine_vcpu *vcpu, struct error *error)
{
    static struct x86_state state;
    x86_state_reset(&state);
    state.segment[X86_CS].selector = IMAGE_BASE >> 4;
    state.segment[X86_CS].base = IMAGE_BASE;
    state.rip = 0;
    CHECK_EQUAL(soft_engine.set_state(vcpu, X86_STATE_GENERAL | X86_STATE_SYSTEM, &state, error),
                0);
}

/* Runs the guest to its end. */
static void run_guest(const char *path, struct listener *listener)
{
    struct error error = {0};
    struct guestmem_options options = {.shared = false};
    struct guestmem *memory = NULL;
    CHECK_EQUAL(guestmem_create(&options, &memory, &error), 0);
    CHECK_EQUAL(guestmem_add(memory, gpa(0), MEMORY, 0, &error), 0);
    CHECK(load(memory, path));
    struct engine_vm_options vm_options = {.memory = memory,
                                           .vcpu_count = 1,
                                           .tsc_hz = 1000000000,
                                           .arguments = soft_tier_arguments()};
    struct engine_vm *vm = NULL;
    CHECK_EQUAL(soft_engine.vm_create(&vm_options, &vm, &error), 0);
    static struct cpuid_table cpuid;
    CHECK_EQUAL(soft_engine.cpuid_supported(vm, &cpuid, &error), 0);
    struct engine_vcpu_options vcpu_options = {.cpuid = &cpuid};
    struct engine_vcpu *vcpu = NULL;
    CHECK_EQUAL(soft_engine.vcpu_create(vm, &vcpu_options, &vcpu, &error), 0);
    start_real_mode(vcpu, &error);
    listen_to(vcpu, listener, &error);
    CHECK(listener->finished);
    CHECK(!listener->shut_down);
    soft_engine.vcpu_destroy(vcpu);
    soft_engine.vm_destroy(vm);
    guestmem_destroy(memory);
}

static void print_groups(const struct listener *listener)
{
    for (unsigned int i = 0; i < listener->group_count; i++) {
        const struct group *group = &listener->groups[i];
        printf("%s %u %016" PRIx64 "\n", group->name, group->lines, group->sum);
    }
}

/* Each line of the file: the instruction, how many lines the reference printed of it, their sum. */
static void compare(struct listener *listener, const char *path)
{
    FILE *file = fopen(path, "r");
    if (!CHECK(file != NULL)) {
        return;
    }
    char name[32];
    unsigned int lines, groups = 0;
    uint64_t sum;
    while (fscanf(file, "%31s %u %" SCNx64, name, &lines, &sum) == 3) {
        const struct group *group = find_group(listener, name);
        bool same = group != NULL && group->lines == lines && group->sum == sum;
        check_report(same, path, (int)++groups, name);
    }
    CHECK_EQUAL(groups, listener->group_count);
    fclose(file);
}

int main(int count, char **arguments)
{
    static struct listener listener;
    if (count != 3) {
        fprintf(stderr, "usage: %s IMAGE EXPECTED | --print IMAGE | --sum IMAGE\n", arguments[0]);
        return 2;
    }
    listener.prints = strcmp(arguments[1], "--print") == 0;
    bool sums = strcmp(arguments[1], "--sum") == 0;
    run_guest(listener.prints || sums ? arguments[2] : arguments[1], &listener);
    if (sums) {
        print_groups(&listener);
    }
    if (listener.prints || sums) {
        return check_failed == 0 ? 0 : 1;
    }
    compare(&listener, arguments[2]);
    return check_summary();
}
