#include "cli/engine_arguments.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"

static const char *code_cache(const struct run_options *options)
{
    return options->code_cache;
}

static const char *perf_map(const struct run_options *options)
{
    return options->perf_map ? "" : NULL;
}

static const char *trace_code(const struct run_options *options)
{
    return options->trace_code ? "" : NULL;
}

static const char *irqchip(const struct run_options *options)
{
    return options->irqchip;
}

/* The options that are settings of one engine. */
static const struct setting {
    const char *option; /* as it is typed */
    const char *engine;
    const char *key;                                         /* what the engine calls it */
    const char *(*value)(const struct run_options *options); /* NULL: not given */
} settings[] = {
    {"--code-cache", ENGINE_WITH_CODE, "code-cache=", code_cache},
    {"--perf-map", ENGINE_WITH_CODE, "perf-map", perf_map},
    {"--trace code", ENGINE_WITH_CODE, "trace=code", trace_code},
    {"--irqchip", ENGINE_WITH_IRQCHIP, "irqchip=", irqchip},
};

#define SETTINGS (sizeof(settings) / sizeof(settings[0]))

int engine_arguments_check(const struct run_options *options, struct error *error)
{
    for (size_t i = 0; i < SETTINGS; i++) {
        bool is_for = strcmp(options->engine, "auto") == 0 ||
                      strcmp(options->engine, settings[i].engine) == 0;
        if (!is_for && settings[i].value(options) != NULL) {
            return error_set(error, EINVAL, "%s is for the engine %s; %s does not know it",
                             settings[i].option, settings[i].engine, options->engine);
        }
    }
    return 0;
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

int engine_arguments_compose(const struct run_options *options, const char *engine, char *text,
                             size_t size, struct error *error)
{
    struct composition composition = {.text = text, .size = size};
    text[0] = '\0';
    if (options->engine_arguments != NULL) {
        append(&composition, options->engine_arguments, "");
    }
    for (size_t i = 0; i < SETTINGS; i++) {
        const char *value = settings[i].value(options);
        if (value != NULL && strcmp(engine, settings[i].engine) == 0) {
            append(&composition, settings[i].key, value);
        } else if (value != NULL) {
            log_warn("%s is ignored: it is for the engine %s, and %s was chosen",
                     settings[i].option, settings[i].engine, engine);
        }
    }
    if (options->print_stats && strcmp(engine, ENGINE_WITH_CODE) == 0) {
        append(&composition, "count", "");
    }
    if (composition.used >= size) {
        return error_set(error, EINVAL, "the settings of --engine %s are longer than %zu bytes",
                         engine, size - 1);
    }
    return 0;
}
