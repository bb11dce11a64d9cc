/*
 * Root mode on every processor, for as long as somebody uses it.
 *
 * Purpose: VMXON when the first VM comes, VMXOFF when the last one goes, also on processors that
 *          are switched on and off meanwhile; and which vCPUs are loaded where.
 * Owner:   the module has one of these, as the machine has one set of processors.
 * Thread:  as noted.
 */
#ifndef TRAPEZE_VTX_LINUX_PROCESSORS_H
#define TRAPEZE_VTX_LINUX_PROCESSORS_H

#include "vtx/linux/core.h"

#include <linux/list.h>

struct vcpu;

/* One logical processor. What follows `root` is its own, with interrupts off. */
struct processor {
    struct vtx_cpu root;
    struct list_head loaded; /* struct vcpu: their VMCSs may be partly in this processor */
    struct vcpu *current_vcpu;
};

/* Finds out once what VT-x can do here. When the module comes and goes. -ENOMEM. */
int processors_prepare(void);
void processors_release(void);

/* 0, or why VT-x cannot be used here as -errno, with a sentence in *message. */
int processors_check(char *message, size_t size);

/* What the processors can do; after a check without error. */
const struct vtx_capabilities *processors_capabilities(void);

/*
 * Into root mode everywhere if nobody was there before; sleeps. -EBUSY where another monitor has
 * VT-x, -EOPNOTSUPP where the firmware has switched it off; each with a sentence in *message.
 */
int processors_acquire(char *message, size_t size);
void processors_put(void);

/* The one that runs this. Preemption off. */
struct processor *processors_this(void);

/* Another one by its number. */
struct processor *processors_at(unsigned int number);

#endif
