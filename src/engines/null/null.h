/*
 * The engine with no CPU at all.
 *
 * Purpose: tests drive a real VM's devices through its buses; `run` returns EXIT_HLT at once and
 *          the vCPU then sleeps until it is stopped. State that is set can be read back.
 * Owner:   the table of engines.
 * Thread:  as vm/engine.h says.
 */
#ifndef TRAPEZE_ENGINES_NULL_NULL_H
#define TRAPEZE_ENGINES_NULL_NULL_H

#include "vm/engine.h"

extern const struct engine_ops null_engine;

#endif
