/*
 * The options of `trapeze run` that are settings of one engine.
 *
 * Purpose: --code-cache, --irqchip and the like are spelt as options because people ask for them
 *          often; the engine gets them in its own way, as "key=value,…".
 * Owner:   no state. Thread: the first one.
 */
#ifndef TRAPEZE_CLI_ENGINE_ARGUMENTS_H
#define TRAPEZE_CLI_ENGINE_ARGUMENTS_H

#include <stddef.h>

#include "cli/run_options.h"

#define ENGINE_ARGUMENTS_MAX 256 /* for settings and their final zero */

/* -EINVAL and a line if an option was given that the engine named by --engine does not have. */
int engine_arguments_check(const struct run_options *options, struct error *error);

/*
 * Writes the settings for an engine: those behind its name in --engine and then those
 * that the options stand for. Options that say nothing to the engine that `auto` has chosen are
 * named in a warning.
 *
 * Returns 0 or -EINVAL if the settings are longer than size.
 */
int engine_arguments_compose(const struct run_options *options, const char *engine, char *text,
                             size_t size, struct error *error);

#endif
