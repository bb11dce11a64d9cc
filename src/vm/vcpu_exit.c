#include "vm/vcpu_exit.h"

#include <stdio.h>
#include <string.h>

#include "x86/sensitive.h"

/* All elements of an IN or OUT, string forms included, at one port. */
static struct exit_account serve_pio(struct vcpu *vcpu)
{
    struct vcpu_exit *exit = &vcpu->exit;
    struct vm *vm = vcpu->vm;
    const struct bus_mapping *claimed = NULL;
    unsigned int size = exit->pio.size;
    pthread_mutex_lock(&vm->device_lock);
    for (uint32_t i = 0; i < exit->pio.count; i++) {
        uint8_t *element = exit->pio.data + (size_t)i * size;
        struct bus_access access = {
            .vcpu = vcpu->index, .size = exit->pio.size, .is_write = exit->pio.is_write};
        if (access.is_write) {
            memcpy(&access.value, element, size);
        }
        claimed = bus_serve(&vm->ports, exit->pio.port, &access);
        if (!access.is_write) {
            memcpy(element, &access.value, size);
        }
    }
    pthread_mutex_unlock(&vm->device_lock);
    return (struct exit_account){.key = exit->pio.port,
                                 .name = claimed == NULL ? NULL : claimed->name};
}

/* The largest power of two that is no more than length, at most 8: what a bus access may be. */
static uint8_t access_size(unsigned int length)
{
    return length >= 8 ? 8 : length >= 4 ? 4 : length >= 2 ? 2 : 1;
}

static struct exit_account serve_mmio(struct vcpu *vcpu)
{
    struct vcpu_exit *exit = &vcpu->exit;
    struct vm *vm = vcpu->vm;
    const struct bus_mapping *claimed = NULL;
    unsigned int length = exit->mmio.size > 8 ? 8 : exit->mmio.size;
    pthread_mutex_lock(&vm->device_lock);
    /* An access that crosses a page comes in parts of odd sizes: 3 is 2 and 1. */
    for (unsigned int done = 0; done < length;) {
        uint8_t size = access_size(length - done);
        struct bus_access access = {
            .vcpu = vcpu->index, .size = size, .is_write = exit->mmio.is_write};
        if (access.is_write) {
            memcpy(&access.value, exit->mmio.data + done, size);
        }
        claimed = bus_serve(&vm->mmio, exit->mmio.address + done, &access);
        if (!access.is_write) {
            memcpy(exit->mmio.data + done, &access.value, size);
        }
        done += size;
    }
    pthread_mutex_unlock(&vm->device_lock);
    return (struct exit_account){.key = exit->mmio.address,
                                 .name = claimed == NULL ? NULL : claimed->name};
}

static struct exit_account serve_msr(struct vcpu *vcpu)
{
    struct vcpu_exit *exit = &vcpu->exit;
    const struct vm_platform *platform = &vcpu->vm->platform;
    bool accepted = false;
    pthread_mutex_lock(&vcpu->vm->device_lock);
    if (exit->reason == EXIT_RDMSR && platform->rdmsr != NULL) {
        accepted =
            platform->rdmsr(platform->context, vcpu->index, exit->msr.index, &exit->msr.value);
    } else if (exit->reason == EXIT_WRMSR && platform->wrmsr != NULL) {
        accepted =
            platform->wrmsr(platform->context, vcpu->index, exit->msr.index, exit->msr.value);
    }
    pthread_mutex_unlock(&vcpu->vm->device_lock);
    exit->msr.refused = !accepted;
    return (struct exit_account){.key = exit->msr.index, .name = NULL};
}

static struct exit_account serve_eoi(struct vcpu *vcpu)
{
    const struct vm_platform *platform = &vcpu->vm->platform;
    uint8_t vector = vcpu->exit.eoi.vector;
    pthread_mutex_lock(&vcpu->vm->device_lock);
    if (platform->end_of_interrupt != NULL) {
        platform->end_of_interrupt(platform->context, vector);
    }
    pthread_mutex_unlock(&vcpu->vm->device_lock);
    return (struct exit_account){.key = vector, .name = NULL};
}

/* No hypercall is offered: what KVM's convention answers to an unknown one, -KVM_ENOSYS. */
#define HYPERCALL_UNKNOWN ((uint64_t)-1000)

static void stop_for_engine(struct vcpu *vcpu)
{
    const struct vcpu_exit *exit = &vcpu->exit;
    char text[256];
    if (exit->reason == EXIT_INTERNAL) {
        snprintf(text, sizeof(text), "vCPU %u: %s", vcpu->index, exit->internal.text);
    } else if (exit->reason == EXIT_ENTRY_FAILED) {
        snprintf(text, sizeof(text), "vCPU %u: %s", vcpu->index, exit->entry_failed.text);
    } else {
        snprintf(text, sizeof(text),
                 "vCPU %u: the engine came back with \"%s\", which nobody asked "
                 "for",
                 vcpu->index, exit_reason_name(exit->reason));
    }
    vm_stop_by(vcpu->vm, vcpu->index, VM_ENGINE_FAILED, 0, text);
}

/* The types that KVM's API document gives to KVM_EXIT_SYSTEM_EVENT. */
static void stop_for_system_event(struct vcpu *vcpu)
{
    static const enum vm_outcome outcomes[] = {
        [1] = VM_POWERED_OFF,
        [2] = VM_RESET,
        [3] = VM_PANICKED,
    };
    uint32_t type = vcpu->exit.system_event.type;
    if (type >= 1 && type < sizeof(outcomes) / sizeof(outcomes[0])) {
        vm_stop_by(vcpu->vm, vcpu->index, outcomes[type], 0, NULL);
    } else {
        stop_for_engine(vcpu);
    }
}

/* Counted under its name. The engine carries it out at its next run. */
static struct exit_account account_instruction(const struct vcpu *vcpu)
{
    enum x86_operation operation = vcpu->exit.instruction.operation;
    const struct x86_sensitive *row = x86_sensitive_find(operation);
    return (struct exit_account){.key = operation, .name = row == NULL ? NULL : row->name};
}

struct exit_account vcpu_serve_exit(struct vcpu *vcpu)
{
    switch (vcpu->exit.reason) {
    case EXIT_PIO:
        return serve_pio(vcpu);
    case EXIT_MMIO:
        return serve_mmio(vcpu);
    case EXIT_RDMSR:
    case EXIT_WRMSR:
        return serve_msr(vcpu);
    case EXIT_EOI:
        return serve_eoi(vcpu);
    case EXIT_INSTRUCTION:
        return account_instruction(vcpu);
    case EXIT_HYPERCALL:
        vcpu->exit.hypercall.result = HYPERCALL_UNKNOWN;
        break;
    case EXIT_SHUTDOWN:
        vm_stop_by(vcpu->vm, vcpu->index, VM_TRIPLE_FAULT, 0, NULL);
        break;
    case EXIT_SYSTEM_EVENT:
        stop_for_system_event(vcpu);
        break;
    case EXIT_KICKED:
    case EXIT_INTERRUPT_WINDOW:
    case EXIT_HLT:
        break; /* nothing but to run again */
    case EXIT_NONE:
    case EXIT_DEBUG:
    case EXIT_ENTRY_FAILED:
    case EXIT_INTERNAL:
    case EXIT_REASON_COUNT:
    default:
        stop_for_engine(vcpu);
        break;
    }
    return (struct exit_account){0, NULL};
}
