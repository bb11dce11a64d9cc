#include "engines/soft/options.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"

#define SETTING_MAX 64 /* longer than any that is valid */

struct setting {
    const char *key;
    const char *values; /* what may follow the '='; NULL if it is a word of its own */
    /* value: NULL for a word of its own. Returns 0 or -EINVAL and says why. */
    int (*set)(struct soft_options *options, const char *value, struct error *error);
};

static int set_tier(struct soft_options *options, const char *value, struct error *error)
{
    bool translate = strcmp(value, "translate") == 0;
    if (!translate && strcmp(value, "interpreter") != 0) {
        return error_set(error, EINVAL, "there is no tier '%s'; there are translate, interpreter",
                         value);
    }
    options->translate = translate;
    return 0;
}

static int set_code_cache(struct soft_options *options, const char *value, struct error *error)
{
    uint64_t bytes;
    int status = parse_size(value, &bytes, error);
    if (status != 0) {
        return status;
    }
    if (bytes < SOFT_CODE_CACHE_MIN || bytes > SOFT_CODE_CACHE_MAX) {
        return error_set(error, EINVAL, "'%s' is no size of a code cache: it is from 1M to 1G",
                         value);
    }
    options->code_cache = bytes;
    return 0;
}

static int set_translate_after(struct soft_options *options, const char *value, struct error *error)
{
    uint64_t number;
    int status =
        parse_number(value, "a count of runs", 0, SOFT_TRANSLATE_AFTER_MAX, &number, error);
    if (status == 0) {
        options->translate_after = (unsigned int)number;
    }
    return status;
}

static int set_check(struct soft_options *options, const char *value, struct error *error)
{
    if (strcmp(value, "lockstep") != 0) {
        return error_set(error, EINVAL, "there is no check '%s'; there is lockstep", value);
    }
    options->check_lockstep = true;
    return 0;
}

static int set_trace(struct soft_options *options, const char *value, struct error *error)
{
    if (strcmp(value, "code") != 0) {
        return error_set(error, EINVAL, "there is no trace '%s'; there is code", value);
    }
    options->trace_code = true;
    return 0;
}

static int set_perf_map(struct soft_options *options, const char *value, struct error *error)
{
    (void)value, (void)error;
    options->perf_map = true;
    return 0;
}

static int set_count(struct soft_options *options, const char *value, struct error *error)
{
    (void)value, (void)error;
    options->count = true;
    return 0;
}

static const struct setting settings[] = {
    {"tier", "translate|interpreter", set_tier},
    {"code-cache", "SIZE", set_code_cache},
    {"translate-after", "N", set_translate_after},
    {"check", "lockstep", set_check},
    {"trace", "code", set_trace},
    {"perf-map", NULL, set_perf_map},
    {"count", NULL, set_count},
};

#define SETTING_COUNT (sizeof(settings) / sizeof(settings[0]))

static int unknown(const char *text, size_t length, struct error *error)
{
    char list[256] = "";
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        size_t used = strlen(list);
        snprintf(list + used, sizeof(list) - used, "%s%s%s%s", i == 0 ? "" : ", ", settings[i].key,
                 settings[i].values != NULL ? "=" : "",
                 settings[i].values != NULL ? settings[i].values : "");
    }
    int shown = length < SETTING_MAX ? (int)length : SETTING_MAX;
    return error_set(error, EINVAL, "--engine soft knows no setting '%.*s'; it takes %s", shown,
                     text, list);
}

/* One setting: a copy of the text between two commas. */
static int apply(struct soft_options *options, char *text, struct error *error)
{
    size_t length = strlen(text);
    char *equals = strchr(text, '=');
    const char *value = equals != NULL ? equals + 1 : NULL;
    size_t key_length = equals != NULL ? (size_t)(equals - text) : length;
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        const struct setting *setting = &settings[i];
        if (strlen(setting->key) != key_length || memcmp(text, setting->key, key_length) != 0) {
            continue;
        }
        if (setting->values == NULL && value != NULL) {
            return error_set(error, EINVAL, "--engine soft: %s takes no value", setting->key);
        }
        if (setting->values != NULL && value == NULL) {
            return error_set(error, EINVAL, "--engine soft: %s needs a value: %s=%s", setting->key,
                             setting->key, setting->values);
        }
        int status = setting->set(options, value, error);
        if (status != 0) {
            error_prefix(error, "--engine soft: %s", setting->key);
        }
        return status;
    }
    return unknown(text, length, error);
}

/* What looks at translated code has nothing to look at without it. */
static int check_together(const struct soft_options *options, struct error *error)
{
    const char *needs = options->check_lockstep ? "check=lockstep"
                        : options->trace_code   ? "trace=code"
                        : options->perf_map     ? "perf-map"
                                                : NULL;
    if (!options->translate && needs != NULL) {
        return error_set(error, EINVAL,
                         "--engine soft: %s is about translated code; with tier=interpreter there "
                         "is none",
                         needs);
    }
    return 0;
}

int soft_options_parse(const char *arguments, struct soft_options *options, struct error *error)
{
    *options = (struct soft_options){
        .translate = true,
        .code_cache = SOFT_CODE_CACHE_DEFAULT,
        .translate_after = SOFT_TRANSLATE_AFTER_DEFAULT,
    };
    if (arguments == NULL || arguments[0] == '\0') {
        return 0;
    }
    const char *at = arguments;
    size_t length;
    do {
        char text[SETTING_MAX];
        length = strcspn(at, ",");
        if (length >= sizeof(text)) {
            return unknown(at, length, error);
        }
        memcpy(text, at, length);
        text[length] = '\0';
        int status = apply(options, text, error);
        if (status != 0) {
            return status;
        }
        at += length + 1;
    } while (at[-1] == ',');
    return check_together(options, error);
}
