/*
 * A vCPU's state, out to its program and in from it.
 *
 * Owner, thread: as vcpu.h says, under the vCPU's lock.
 */
#ifndef TRAPEZE_VTX_LINUX_STATE_H
#define TRAPEZE_VTX_LINUX_STATE_H

#include "vtx/linux/vcpu.h"

/* TRAPEZE_VTX_GET_STATE, TRAPEZE_VTX_SET_STATE. -EINVAL, -EFAULT, -EIO. */
int state_get(struct vcpu *vcpu, void __user *argument);
int state_set(struct vcpu *vcpu, void __user *argument);

/* The state after RESET: nothing runs, and nothing is switched, without one. -EIO. */
int state_reset(struct vcpu *vcpu);

#endif
