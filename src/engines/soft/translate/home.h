/*
 * At which linear address each page of code is run.
 *
 * Purpose: code is kept by physical address, so one block may run at several linear ones. Within
 *          its page that makes no difference; a link into another page holds for one linear address
 *          only. So a page that is met at a second one while links may hold gets no more of them.
 * Owner:   the translator. Thread: its vCPU's.
 */
#ifndef TRAPEZE_ENGINES_SOFT_TRANSLATE_HOME_H
#define TRAPEZE_ENGINES_SOFT_TRANSLATE_HOME_H

#include <stdbool.h>
#include <stdint.h>

#define TRANSLATE_HOME_SETS 512u
#define TRANSLATE_HOME_WAYS 8u

struct translate_home {
    uint64_t tag;       /* of the physical page and the half of the address space */
    uint64_t linear;    /* of the page */
    uint64_t serial;    /* holds while that half's is this; 0: empty */
    unsigned int alias; /* met at two addresses: not to be believed for so many serials */
};

/* Zeroed: nothing is known. */
struct translate_homes {
    struct translate_home home[TRANSLATE_HOME_SETS][TRANSLATE_HOME_WAYS];
};

/*
 * Code of a physical page is entered at a linear address; serial: the current ones of the halves.
 * False: links that were bound so far must be undone and both serials renewed; then call again.
 */
bool translate_home_enter(struct translate_homes *homes, uint64_t physical, uint64_t linear,
                          const uint64_t serial[2]);

/* Where the page runs, if at one linear address only: true, and its page in *linear. */
bool translate_home_find(const struct translate_homes *homes, uint64_t physical, unsigned int half,
                         const uint64_t serial[2], uint64_t *linear);

#endif
