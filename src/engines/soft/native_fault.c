#include "engines/soft/native_fault.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <ucontext.h>

#include "engines/soft/code_memory.h"
#include "engines/soft/thunk.h"
#include "engines/soft/translate/cache.h"

/* Not in every <signal.h>: the stack counts as unused whatever RSP says, which may be the guest's.
 */
#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1u << 31)
#endif

#define HANDLER_STACK_SIZE (64u * 1024u) /* a frame with AVX-512 state takes some 3.5 KiB */

struct native_fault_thread {
    stack_t previous;
    uint8_t stack[HANDLER_STACK_SIZE];
};

/* Signal handlers get no context of their own: what they need is per process or per thread. */
static _Thread_local const struct code_memory *thread_code;
static _Thread_local const struct translate_cache *thread_translated;
static _Thread_local const void *thread_divide;
static pthread_once_t installed = PTHREAD_ONCE_INIT;
static int install_error;
static struct sigaction previous_fpe, previous_ill;

/*
 * Every thunk holds the address of its fault exit in R9, and returns EAX there. MXCSR and the x87
 * registers are those at the fault: the kernel puts them back from the signal frame.
 */
static void handle_fault(int number, siginfo_t *info, void *context)
{
    (void)info;
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    if (thread_code != NULL && code_memory_contains(thread_code, (uintptr_t)registers[REG_RIP])) {
        registers[REG_RAX] = (greg_t)(THUNK_FAULT | (uint32_t)number);
        registers[REG_RIP] = registers[REG_R9];
        return;
    }
    if (number == SIGFPE && thread_translated != NULL &&
        translate_cache_contains(thread_translated, (uintptr_t)registers[REG_RIP])) {
        registers[REG_RIP] = (greg_t)(uintptr_t)thread_divide;
        return;
    }
    /* Not ours: the instruction runs again and meets whoever was there before. */
    sigaction(number, number == SIGFPE ? &previous_fpe : &previous_ill, NULL);
}

static void install(void)
{
    struct sigaction action = {.sa_sigaction = handle_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigfillset(&action.sa_mask);
    if (sigaction(SIGFPE, &action, &previous_fpe) != 0 ||
        sigaction(SIGILL, &action, &previous_ill) != 0) {
        install_error = errno;
    }
}

int native_fault_enter(const struct code_memory *code, struct native_fault_thread **out,
                       struct error *error)
{
    pthread_once(&installed, install);
    if (install_error != 0) {
        return error_set_errno(error, install_error, "installing handlers for SIGFPE and SIGILL");
    }
    struct native_fault_thread *thread = malloc(sizeof(*thread));
    if (thread == NULL) {
        return error_set(error, ENOMEM, "no memory for a signal stack");
    }
    stack_t stack = {
        .ss_sp = thread->stack, .ss_size = sizeof(thread->stack), .ss_flags = (int)SS_AUTODISARM};
    if (sigaltstack(NULL, &thread->previous) != 0 ||
        ((thread->previous.ss_flags & SS_DISABLE) != 0 && sigaltstack(&stack, NULL) != 0)) {
        int code_of_error = errno;
        free(thread);
        return error_set_errno(error, code_of_error, "setting a signal stack");
    }
    thread_code = code;
    *out = thread;
    return 0;
}

void native_fault_translated(const struct translate_cache *cache, const void *divide)
{
    thread_translated = cache;
    thread_divide = divide;
}

void native_fault_leave(struct native_fault_thread *thread)
{
    if (thread == NULL) {
        return;
    }
    thread_code = NULL;
    if ((thread->previous.ss_flags & SS_DISABLE) != 0) {
        sigaltstack(&thread->previous, NULL);
    }
    free(thread);
}
