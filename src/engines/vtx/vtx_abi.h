/*
 * A vCPU's state between the project's form and that of /dev/trapeze.
 *
 * Purpose: one converter for both sides of the device: the engine and the kernel module compile
 *          the same file.
 * Owner:   the caller's structs.
 * Thread:  any. Freestanding.
 */
#ifndef TRAPEZE_ENGINES_VTX_VTX_ABI_H
#define TRAPEZE_ENGINES_VTX_VTX_ABI_H

#include <stdbool.h>

#include "trapeze/vtx.h"
#include "x86/state.h"

/* Fills in the groups (a mask of enum x86_state_group) and to->groups; the rest stays. */
void vtx_abi_from_state(const struct x86_state *from, unsigned int groups,
                        struct trapeze_vtx_state *to);

/*
 * The groups that from->groups names; the rest of *to stays. False, and nothing changed, when a
 * group, a reserved field or a value is unknown.
 */
bool vtx_abi_to_state(const struct trapeze_vtx_state *from, struct x86_state *to);

#endif
