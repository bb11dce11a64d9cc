/*
 * `--engine auto`: the engine that is fastest on this host.
 *
 * Owner: constants. Thread: the first one.
 */
#ifndef TRAPEZE_CLI_CHOOSE_ENGINE_H
#define TRAPEZE_CLI_CHOOSE_ENGINE_H

#include "base/error.h"
#include "vm/engine.h"

/*
 * Finds the engine that `--engine` names, or chooses one for "auto" and says on stderr, in one
 * line, which and why. /dev/kvm alone means little: on some hosts it runs slower than software,
 * so a few milliseconds are spent on measuring.
 *
 * Returns NULL and the reason when there is none, or the named one can't be used.
 */
const struct engine_ops *choose_engine(const char *name, struct error *error);

#endif
