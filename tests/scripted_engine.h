/*
 * An engine that plays a script: stands in for a CPU in the tests of the run loop.
 *
 * Purpose: returns what each test wrote down, remembers what it was given back, and after the
 *          script's last line waits for kicks.
 * Owner:   the test; one script at a time, reset by make_scripted.
 * Thread:  the script is written before vm_start and read after vm_wait; its counters any time.
 *          Checks are made by the main thread only.
 */
#ifndef TRAPEZE_TESTS_SCRIPTED_ENGINE_H
#define TRAPEZE_TESTS_SCRIPTED_ENGINE_H

#include <stdatomic.h>
#include <string.h>

#include "base/event_count.h"
#include "check.h"
#include "vm/vm.h"

#define SCRIPT_MAX   64
#define SCRIPT_VCPUS 4

/*
 * STEP_WAIT: until kicked, then EXIT_KICKED. STEP_CODE: return code. STEP_EXIT: return exit.
 * STEP_KICK_ITSELF: a kick from the vCPU's own thread. STEP_REPEAT: the line before, for ever.
 */
enum step_kind { STEP_WAIT, STEP_CODE, STEP_EXIT, STEP_KICK_ITSELF, STEP_REPEAT };

struct step {
    enum step_kind kind;
    int code;
    struct vcpu_exit exit;
    uint64_t rflags;  /* of the state after this step; 0: interrupts on */
    bool nmi_blocked; /* likewise */
};

/* What the test writes and reads; the engine's functions have no other way to it. */
struct script {
    struct step steps[SCRIPT_VCPUS][SCRIPT_MAX];
    struct vcpu_exit served[SCRIPT_VCPUS][SCRIPT_MAX]; /* each step's exit as it came back */
    int create_code[SCRIPT_VCPUS];
    int vm_create_code;
    unsigned int features;
    atomic_uint runs[SCRIPT_VCPUS], nmis[SCRIPT_VCPUS], kicks[SCRIPT_VCPUS];
    atomic_uint interrupts_seen[SCRIPT_VCPUS], alive;
    atomic_uint standstills[SCRIPT_VCPUS], states_set[SCRIPT_VCPUS];
    struct event_count progress; /* signalled at each run and NMI */
};

extern struct script script;

extern const struct engine_ops script_engine;    /* without interrupt_changed */
extern const struct engine_ops attentive_engine; /* with it */

static inline struct guestmem *make_memory(void)
{
    struct guestmem_options options = {.shared = false};
    struct guestmem *memory = NULL;
    struct error error;
    CHECK_EQUAL(guestmem_create(&options, &memory, &error), 0);
    CHECK_EQUAL(guestmem_add(memory, gpa(0), 0x10000, 0, &error), 0);
    return memory;
}

static inline struct vm *make_vm(const struct engine_ops *engine, unsigned int vcpus)
{
    struct vm_options options = {
        .engine = engine, .memory = make_memory(), .vcpu_count = vcpus, .tsc_hz = 1000000000};
    struct vm *vm = NULL;
    struct error error;
    CHECK_EQUAL(vm_create(&options, &vm, &error), 0);
    return vm;
}

static inline struct vm *make_scripted(unsigned int vcpus)
{
    memset(&script, 0, sizeof(script));
    return make_vm(&script_engine, vcpus);
}

static inline void start(struct vm *vm)
{
    struct error error = {""};
    CHECK_EQUAL(vm_start(vm, &error), 0);
    if (error.text[0] != '\0') {
        fprintf(stderr, "    %s\n", error.text);
    }
}

/* Waits until a counter of the script has reached a value. */
static inline void wait_until(atomic_uint *counter, unsigned int value)
{
    for (;;) {
        unsigned int ticket = event_count_ticket(&script.progress);
        if (atomic_load(counter) >= value) {
            return;
        }
        event_count_wait(&script.progress, ticket);
    }
}

static inline struct step exit_step(enum exit_reason reason)
{
    return (struct step){.kind = STEP_EXIT, .exit = {.reason = reason}};
}

#endif
