/*
 * What a port write costs in ticks of the time-stamp counter, as the guest itself sees it.
 *
 * usage: exit_cost_bench ENGINE [ROUNDS]
 *
 * In Bochs the counter counts instructions, so there it is how many of them the monitor executes
 * for one exit: from the VM exit to the entry that follows, whatever ran in between. Two ways: the
 * write comes out to this program, and it rings a doorbell (an eventfd) within the kernel. The
 * least of all rounds is printed, which no interrupt of the host's has disturbed.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "vm/engine.h"

#define GUEST_MEMORY  0x10000u
#define GUEST_ENTRY   0x1000u
#define PORT          0x10u /* the write that is measured */
#define REPORT        0x14u /* where the guest reports a round's ticks */
#define WRITES        16u   /* each round */
#define ROUNDS_WANTED 200u

/* What each instruction of a round costs the guest besides: OUT itself is one of them. */
static const uint8_t prologue[] = {
    0x0f, 0x31,       /* rdtsc */
    0x66, 0x89, 0xc6, /* mov esi, eax */
};
static const uint8_t epilogue[] = {
    0x0f, 0x31,         /* rdtsc */
    0x66, 0x29, 0xf0,   /* sub eax, esi */
    0x66, 0xe7, REPORT, /* out REPORT, eax */
};

/* A real-mode guest: rounds without end; `body` is what is repeated in each. */
static size_t write_guest(uint8_t *code, const uint8_t *body, size_t length)
{
    size_t size = sizeof(prologue);
    memcpy(code, prologue, size);
    for (unsigned int i = 0; i < WRITES; i++, size += length) {
        memcpy(code + size, body, length);
    }
    memcpy(code + size, epilogue, sizeof(epilogue));
    size += sizeof(epilogue);
    code[size] = 0xe9; /* jmp near, back to the start */
    int16_t back = (int16_t)(-(int)(size + 3));
    memcpy(code + size + 1, &back, sizeof(back));
    return size + 3;
}

static void fail(const struct error *error)
{
    fprintf(stderr, "exit_cost_bench: %s\n", error->text);
    exit(1);
}

static const struct engine_ops *find_engine(const char *name)
{
    for (unsigned int i = 0; engine_table[i] != NULL; i++) {
        if (strcmp(engine_table[i]->name, name) == 0) {
            return engine_table[i];
        }
    }
    struct error error;
    error_set(&error, EINVAL, "there is no engine '%s'", name);
    fail(&error);
    return NULL;
}

struct machine {
    const struct engine_ops *engine;
    struct guestmem *memory;
    struct engine_vm *vm;
    struct engine_vcpu *vcpu;
};

static void start(struct machine *machine, const uint8_t *code, size_t size, int doorbell)
{
    struct error error = {""};
    const struct engine_ops *engine = machine->engine;
    struct guestmem_options memory = {.shared = false};
    struct cpuid_table cpuid;
    struct engine_vcpu_options vcpu = {.cpuid = &cpuid};
    struct x86_state state;
    struct engine_doorbell bell = {.address = PORT, .size = 1, .is_port = true};
    if (guestmem_create(&memory, &machine->memory, &error) != 0 ||
        guestmem_add(machine->memory, gpa(0), GUEST_MEMORY, 0, &error) != 0 ||
        guestmem_write(machine->memory, gpa(GUEST_ENTRY), code, size) != 0) {
        fail(&error);
    }
    struct engine_vm_options options = {
        .memory = machine->memory, .vcpu_count = 1, .tsc_hz = 1000000000};
    if (engine->vm_create(&options, &machine->vm, &error) != 0 ||
        engine->cpuid_supported(machine->vm, &cpuid, &error) != 0) {
        fail(&error);
    }
    if (doorbell >= 0 && (engine->doorbell == NULL ||
                          engine->doorbell(machine->vm, doorbell, &bell, true, &error) != 0)) {
        error_set(&error, ENOTSUP, "the engine %s has no doorbells", engine->name);
        fail(&error);
    }
    x86_state_reset(&state);
    state.segment[X86_CS].base = 0;
    state.segment[X86_CS].selector = 0;
    state.rip = GUEST_ENTRY;
    if (engine->vcpu_create(machine->vm, &vcpu, &machine->vcpu, &error) != 0 ||
        engine->set_state(machine->vcpu, X86_STATE_GENERAL | X86_STATE_SYSTEM, &state, &error) !=
            0) {
        fail(&error);
    }
}

static void stop(struct machine *machine)
{
    machine->engine->vcpu_destroy(machine->vcpu);
    machine->engine->vm_destroy(machine->vm);
    guestmem_destroy(machine->memory);
}

/* The least number of ticks of a round. */
static uint32_t least(struct machine *machine, unsigned int rounds)
{
    struct vcpu_exit exit = {.reason = EXIT_NONE};
    struct error error = {""};
    uint32_t best = UINT32_MAX;
    for (unsigned int seen = 0; seen < rounds;) {
        int code = machine->engine->run(machine->vcpu, &exit, &error);
        if (code == -EINTR || code == -EAGAIN) {
            continue;
        }
        if (code != 0 || exit.reason != EXIT_PIO) {
            error_set(&error, EIO, "the guest ended with the exit '%s'",
                      exit_reason_name(exit.reason));
            fail(&error);
        }
        if (exit.pio.port == REPORT) {
            uint32_t ticks;
            memcpy(&ticks, exit.pio.data, sizeof(ticks));
            best = ticks < best ? ticks : best;
            seen++;
        }
    }
    return best;
}

static uint32_t measure(const struct engine_ops *engine, const uint8_t *body, size_t length,
                        unsigned int rounds, int doorbell)
{
    uint8_t code[256];
    struct machine machine = {.engine = engine};
    size_t size = write_guest(code, body, length);
    start(&machine, code, size, doorbell);
    uint32_t ticks = least(&machine, rounds);
    stop(&machine);
    return ticks;
}

int main(int count, char **arguments)
{
    static const uint8_t write_port[] = {0xe6, PORT}; /* out PORT, al */
    static const uint8_t nothing[] = {0x90, 0x90};    /* nop; nop: one instruction more */
    if (count < 2) {
        fputs("usage: exit_cost_bench ENGINE [ROUNDS]\n", stderr);
        return 2;
    }
    const struct engine_ops *engine = find_engine(arguments[1]);
    unsigned int rounds = count > 2 ? (unsigned int)atoi(arguments[2]) : ROUNDS_WANTED;
    int event = eventfd(0, EFD_CLOEXEC);
    uint32_t idle = measure(engine, nothing, sizeof(nothing), rounds, -1);
    uint32_t out = measure(engine, write_port, sizeof(write_port), rounds, -1);
    uint32_t bell = measure(engine, write_port, sizeof(write_port), rounds, event);
    close(event);
    /* An OUT is one instruction, the two NOPs are two. */
    double out_each = ((double)out - idle) / WRITES + 1;
    double bell_each = ((double)bell - idle) / WRITES + 1;
    printf("%s: %.1f ticks for a port write out to the program, %.1f for one within the kernel\n",
           engine->name, out_each, bell_each);
    return 0;
}
