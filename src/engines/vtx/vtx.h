/*
 * The engine that uses our own VT-x driver, through /dev/trapeze.
 *
 * Purpose: the guest's CPUs run in VT-x; the kernel module of vtx/linux enters and leaves them.
 *          Interrupt controllers, timers and devices are the machine's own, as with soft.
 * Source:  include/trapeze/vtx.h.
 * Owner:   the table of engines.
 * Thread:  as vm/engine.h says.
 */
#ifndef TRAPEZE_ENGINES_VTX_VTX_H
#define TRAPEZE_ENGINES_VTX_VTX_H

#include "vm/engine.h"

extern const struct engine_ops vtx_engine;

#endif
