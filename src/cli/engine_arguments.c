#include "cli/engine_arguments.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"

const char *engine_arguments_option(const struct run_options *options)
{
    return options->code_cache != NULL ? "--code-cache"
           : options->perf_map         ? "--perf-map"
           : options->trace_code       ? "--trace code"
                                       : NULL;
}

/* Settings on their way into a text of limited size. */
struct composition {
    char *text;
    size_t size, used; /* used: what it would take, were there room */
};

/* Appends a setting and its value. Either may be empty. */
static void append(struct composition *to, const char *key, const char *value)
{
    size_t left = to->used < to->size ? to->size - to->used : 0;
    int length = snprintf(left != 0 ? to->text + to->used : NULL, left, "%s%s%s",
                          to->used == 0 ? "" : ",", key, value);
    to->used += length > 0 ? (size_t)length : 0;
}

static void append_options(struct composition *to, const struct run_options *options)
{
    if (options->code_cache != NULL) {
        append(to, "code-cache=", options->code_cache);
    }
    if (options->perf_map) {
        append(to, "perf-map", "");
    }
    if (options->trace_code) {
        append(to, "trace=code", "");
    }
    if (options->print_stats) {
        append(to, "count", "");
    }
}

static void warn_of_option(const char *option, const char *engine)
{
    log_warn("%s is ignored: it is for the engine " ENGINE_WITH_CODE ", and %s was chosen", option,
             engine);
}

static void warn_of_options(const struct run_options *options, const char *engine)
{
    if (options->code_cache != NULL) {
        warn_of_option("--code-cache", engine);
    }
    if (options->perf_map) {
        warn_of_option("--perf-map", engine);
    }
    if (options->trace_code) {
        warn_of_option("--trace code", engine);
    }
}

int engine_arguments_compose(const struct run_options *options, const char *engine, char *text,
                             size_t size, struct error *error)
{
    struct composition composition = {.text = text, .size = size};
    text[0] = '\0';
    if (options->engine_arguments != NULL) {
        append(&composition, options->engine_arguments, "");
    }
    if (strcmp(engine, ENGINE_WITH_CODE) == 0) {
        append_options(&composition, options);
    } else {
        warn_of_options(options, engine);
    }
    if (composition.used >= size) {
        return error_set(error, EINVAL, "the settings of --engine %s are longer than %zu bytes",
                         engine, size - 1);
    }
    return 0;
}
