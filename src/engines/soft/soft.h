/*
 * The soft engine: a software CPU, for hosts without hardware virtualization.
 *
 * Owner:   engine_vm and engine_vcpu as in vm/engine.h.
 * Thread:  as in vm/engine.h.
 */
#ifndef TRAPEZE_ENGINES_SOFT_SOFT_H
#define TRAPEZE_ENGINES_SOFT_SOFT_H

#include "vm/engine.h"

extern const struct engine_ops soft_engine;

#endif
