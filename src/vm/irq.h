/*
 * Interrupt lines, messages, and what a CPU engine asks its interrupt controller.
 *
 * Owner:   an irq_line is a value that its device holds; the target owns what context points at.
 * Thread:  irq_line_set and msi delivery under the VM's device lock. interrupt_source functions
 *          are called by the vCPU's own thread; they take the device lock themselves.
 * Freestanding.
 */
#ifndef TRAPEZE_VM_IRQ_H
#define TRAPEZE_VM_IRQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct irq_line {
    void (*set)(void *context, unsigned int index, bool level);
    void *context;
    unsigned int index; /* which input of the target */
};

static inline void irq_line_set(const struct irq_line *line, bool level)
{
    if (line->set != NULL) {
        line->set(line->context, line->index, level);
    }
}

struct msi_message {
    uint64_t address;
    uint32_t data;
};

/*
 * What an engine without interrupt controllers of its own asks for each vCPU. All three are
 * called by that vCPU's thread; each takes the device lock itself.
 */
struct interrupt_source {
    /*
     * True if a maskable interrupt waits that TPR lets through. Cheap: may be called whenever the
     * engine has seen its attention flag.
     */
    bool (*pending)(void *context);
    /* Takes the highest one: returns its vector, or -1 when it went away meanwhile. */
    int (*acknowledge)(void *context);
    /* The task priority register as CR8 shows it (TPR bits 7..4). */
    uint8_t (*get_cr8)(void *context);
    void (*set_cr8)(void *context, uint8_t value);
    void *context;
};

#endif
