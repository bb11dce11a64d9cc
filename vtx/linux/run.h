/*
 * From one TRAPEZE_VTX_RUN to the exit that its program must serve.
 *
 * Owner, thread: as vcpu.h says, under the vCPU's lock.
 */
#ifndef TRAPEZE_VTX_LINUX_RUN_H
#define TRAPEZE_VTX_LINUX_RUN_H

#include "vtx/linux/vcpu.h"

/* 0: vcpu->shared has the exit; -EINTR: nothing to serve; another -errno: it cannot go on. */
int vcpu_run(struct vcpu *vcpu);

/* The core's exit into the shared area, and what the program has filled in there back. */
void exit_publish(struct vcpu *vcpu);
void exit_take_answer(struct vcpu *vcpu);

#endif
