/*
 * The options of `trapeze run` that are settings of the engine soft.
 *
 * Purpose: --code-cache, --perf-map, --trace and --stats are spelt as options because people ask
 *          for them often; the engine gets them in its own way, as "key=value,…".
 * Owner:   no state. Thread: the first one.
 */
#ifndef TRAPEZE_CLI_ENGINE_ARGUMENTS_H
#define TRAPEZE_CLI_ENGINE_ARGUMENTS_H

#include <stddef.h>

#include "cli/run_options.h"

#define ENGINE_ARGUMENTS_MAX 256 /* for settings and their final zero */

/* The first of these options that was given, as it is typed; NULL if none was. */
const char *engine_arguments_option(const struct run_options *options);

/*
 * Writes the settings for an engine: those behind its name in --engine and then, for soft, those
 * that the options stand for. Options that say nothing to the engine that `auto` has chosen are
 * named in a warning.
 *
 * Returns 0 or -EINVAL if the settings are longer than size.
 */
int engine_arguments_compose(const struct run_options *options, const char *engine, char *text,
                             size_t size, struct error *error);

#endif
