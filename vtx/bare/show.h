/*
 * Entries and exits as they are: the values of the VMCS, printed.
 *
 * Purpose: trace=N of the command line; docs/vt-x.md goes through what this prints.
 * Owner:   the caller's vCPU, loaded.
 * Thread:  the first processor.
 */
#ifndef TRAPEZE_VTX_BARE_SHOW_H
#define TRAPEZE_VTX_BARE_SHOW_H

#include "vtx/core/vcpu.h"

/*
 * Before vtx_vcpu_run. number: of the entry, from 1 on; the first one shows every field that
 * matters, the others what changes from entry to entry.
 */
void show_entry(struct vtx_vcpu *vcpu, unsigned int number);

/* After it. */
void show_exit(const struct vtx_vcpu *vcpu, unsigned int number, enum vtx_outcome outcome);

#endif
