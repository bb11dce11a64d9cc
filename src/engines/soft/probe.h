/*
 * How fast is the software CPU on this host?
 *
 * Owner: none. Thread: any; takes some milliseconds.
 */
#ifndef TRAPEZE_ENGINES_SOFT_PROBE_H
#define TRAPEZE_ENGINES_SOFT_PROBE_H

#include "vm/engine.h"

void soft_probe(struct engine_probe *probe);

#endif
