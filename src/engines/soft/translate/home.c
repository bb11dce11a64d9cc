#include "engines/soft/translate/home.h"

#include <stddef.h>

#define PAGE_MASK     UINT64_C(0xfff)
#define ALIAS_SERIALS 16u

static uint64_t tag_of(uint64_t physical, unsigned int half)
{
    return physical >> 12 << 1 | half;
}

static unsigned int set_of(uint64_t tag)
{
    return (unsigned int)((tag >> 1 ^ tag >> 10) % TRANSLATE_HOME_SETS);
}

static bool enter_known(struct translate_home *home, uint64_t linear, uint64_t serial)
{
    if (home->serial != serial) {
        home->serial = serial;
        home->linear = linear;
        home->alias -= home->alias != 0 ? 1 : 0;
        return true;
    }
    if (home->linear == linear || home->alias != 0) {
        return true;
    }
    home->alias = ALIAS_SERIALS;
    return false;
}

bool translate_home_enter(struct translate_homes *homes, uint64_t physical, uint64_t linear,
                          const uint64_t serial[2])
{
    unsigned int half = (unsigned int)(linear >> 63);
    uint64_t tag = tag_of(physical, half);
    struct translate_home *set = homes->home[set_of(tag)], *room = NULL;
    for (unsigned int way = 0; way < TRANSLATE_HOME_WAYS; way++) {
        struct translate_home *home = &set[way];
        if (home->serial != 0 && home->tag == tag) {
            return enter_known(home, linear & ~PAGE_MASK, serial[half]);
        }
        if (home->serial != serial[home->tag & 1]) {
            room = home;
        }
    }
    if (room == NULL) {
        return false;
    }
    *room = (struct translate_home){
        .tag = tag, .linear = linear & ~PAGE_MASK, .serial = serial[half], .alias = 0};
    return true;
}

bool translate_home_find(const struct translate_homes *homes, uint64_t physical, unsigned int half,
                         const uint64_t serial[2], uint64_t *linear)
{
    uint64_t tag = tag_of(physical, half);
    const struct translate_home *set = homes->home[set_of(tag)];
    for (unsigned int way = 0; way < TRANSLATE_HOME_WAYS; way++) {
        const struct translate_home *home = &set[way];
        if (home->tag == tag && home->serial == serial[half]) {
            *linear = home->linear;
            return home->alias == 0;
        }
    }
    return false;
}
