#include "cli/choose_engine.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"

#define ENGINES_MAX 8

struct candidate {
    const struct engine_ops *engine;
    struct engine_probe probe;
};

/* How an engine fared, in a few words: "kvm 1.8 MIPS", "kvm can't be used (no /dev/kvm)". */
static void describe(const struct candidate *candidate, char *text, size_t size)
{
    if (!candidate->probe.usable) {
        /* What to do about it stands behind a colon; `trapeze probe` prints that, too. */
        int length = (int)strcspn(candidate->probe.why, ":");
        snprintf(text, size, "%s can't be used (%.*s)", candidate->engine->name,
                 length < 100 ? length : 100, candidate->probe.why);
    } else {
        snprintf(text, size, "%s runs %.*f million instructions a second", candidate->engine->name,
                 candidate->probe.mips < 100 ? 1 : 0, candidate->probe.mips);
    }
}

static void announce(const struct candidate *candidates, unsigned int count,
                     const struct candidate *chosen)
{
    char line[512];
    int used = snprintf(line, sizeof(line), "trapeze: engine %s:", chosen->engine->name);
    for (unsigned int i = 0; i < count && used < (int)sizeof(line); i++) {
        char text[160];
        describe(&candidates[i], text, sizeof(text));
        used +=
            snprintf(line + used, sizeof(line) - (size_t)used, "%s %s", i == 0 ? "" : ",", text);
    }
    fprintf(stderr, "%s\n", line);
}

/* Whether one that was probed before takes this one's place. */
static bool gives_way(const struct candidate *candidates, unsigned int count,
                      const struct engine_ops *engine)
{
    for (unsigned int i = 0; i < count && engine->yields_to != NULL; i++) {
        if (strcmp(candidates[i].engine->name, engine->yields_to) == 0) {
            return candidates[i].probe.usable;
        }
    }
    return false;
}

static const struct engine_ops *choose_fastest(struct error *error)
{
    struct candidate candidates[ENGINES_MAX];
    const struct candidate *best = NULL;
    unsigned int count = 0;
    for (; engine_table[count] != NULL && count < ENGINES_MAX; count++) {
        struct candidate *candidate = &candidates[count];
        *candidate = (struct candidate){.engine = engine_table[count]};
        candidate->engine->probe(&candidate->probe);
        /* An engine without speed runs nothing: it is there for tests. */
        if (candidate->probe.usable && candidate->probe.mips > 0 &&
            !gives_way(candidates, count, candidate->engine) &&
            (best == NULL || candidate->probe.mips > best->probe.mips)) {
            best = candidate;
        }
    }
    if (best == NULL) {
        error_set(error, ENODEV, "no engine can be used on this host; 'trapeze probe' tells why");
        return NULL;
    }
    /* Those that run nothing would only lengthen the line; they come last in the table. */
    while (count > 0 && candidates[count - 1].probe.usable &&
           candidates[count - 1].probe.mips <= 0) {
        count--;
    }
    announce(candidates, count, best);
    return best->engine;
}

const struct engine_ops *choose_engine(const char *name, struct error *error)
{
    if (strcmp(name, "auto") == 0) {
        return choose_fastest(error);
    }
    for (unsigned int i = 0; engine_table[i] != NULL; i++) {
        if (strcmp(engine_table[i]->name, name) == 0) {
            return engine_table[i];
        }
    }
    error_set(error, EINVAL, "there is no engine '%s'", name);
    return NULL;
}
