/*
 * May the guest's address be accessed, and where is it on the host? Code for that.
 *
 * Purpose: an access by RSP is compared with the stack page that was met last (stack_page.h); any
 *          other looks into the TLB. Either leaves by a stub to glue where it can't say yes, which
 *          comes back behind the check, or not at all.
 * Owner:   translate_generate's frame. Thread: the vCPU.
 */
#ifndef TRAPEZE_ENGINES_SOFT_TRANSLATE_CHECK_H
#define TRAPEZE_ENGINES_SOFT_TRANSLATE_CHECK_H

#include "engines/soft/translate/generate.h"

struct check {
    struct address address; /* the lowest that is looked at */
    unsigned int size;      /* bytes from there on */
    bool write;
    bool alone;                      /* see struct access */
    const struct unit_group *leader; /* the group that it is for, or NULL */
    bool own_write;                  /* … whose leader's own access is a store */
};

/* By RSP alone. */
bool check_is_by_stack(const struct address *address);

/*
 * These change EFLAGS, T0 and T1; check_stack only `result` and T0: T1 may go on to hold the
 * guest's R11, but nothing else.
 */

/* T0 = the host's address. */
void check_to_host(struct generate *generate, const struct check *check);
/* By RSP: `result`, T0 or T1, = the distance to host addresses. */
void check_stack(struct generate *generate, const struct check *check, unsigned int result);

/* reg, T0 or T1, becomes the address; the other keeps what it has, unless it is part of that. */
void check_address_into(struct generate *generate, unsigned int reg, const struct address *address);
/* T0 = the linear address. */
void check_linear_address(struct generate *generate, const struct address *address);

#endif
