/*
 * The settings of `--engine soft,KEY=VALUE,…`.
 *
 * Purpose: one table says which there are; help in error messages reads it.
 * Owner:   the engine_vm; constant once parsed.
 * Thread:  any.
 */
#ifndef TRAPEZE_ENGINES_SOFT_OPTIONS_H
#define TRAPEZE_ENGINES_SOFT_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

#define SOFT_CODE_CACHE_DEFAULT      (UINT64_C(64) << 20)
#define SOFT_CODE_CACHE_MIN          (UINT64_C(1) << 20)
#define SOFT_CODE_CACHE_MAX          (UINT64_C(1) << 30) /* code jumps by 32-bit displacements */
#define SOFT_TRANSLATE_AFTER_DEFAULT 1
#define SOFT_TRANSLATE_AFTER_MAX     1000

struct soft_options {
    bool translate;               /* tier=translate, the default, or tier=interpreter */
    uint64_t code_cache;          /* code-cache=SIZE: bytes of translated code of all vCPUs */
    unsigned int translate_after; /* translate-after=N: times that a block is interpreted first */
    bool check_lockstep;          /* check=lockstep: each block by the interpreter, too */
    bool trace_code;              /* trace=code: each block's guest and host code, on stderr */
    bool perf_map;                /* perf-map: names of the blocks for perf */
    bool count;                   /* count: count and time even where that costs speed */
};

/*
 * Reads "key=value,…"; a setting that is given twice counts as given last.
 *
 * arguments: NULL or empty for the defaults.
 *
 * Returns 0, or -EINVAL with one line that names the setting and what it may be.
 */
int soft_options_parse(const char *arguments, struct soft_options *options, struct error *error);

#endif
