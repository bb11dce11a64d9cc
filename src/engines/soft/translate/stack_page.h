/*
 * The page that accesses by RSP met last.
 *
 * Purpose: half of a program's accesses go to its stack, and mostly to one page of it. So
 * translated code compares their addresses with that page before it looks into the TLB at all. Glue
 *          code does that when the page is another, and notes it (glue.c).
 *
 * A page stays noted as long as a TLB entry would stay: whatever flushes TLBs clears it. One that
 * only EFLAGS.AC opens (SOFT_REGIME_KERNEL_AC) is not noted; what the other regime of the kernel
 * allows is allowed in that one, too.
 *
 * Other vCPUs' threads do not reach what is noted. When they take write tags away (code.h), a store
 * that goes by the note nevertheless is followed by a look at cpu->write_revoked, and the vCPU
 * clears the notes of stores before it clears that.
 *
 * Owner, thread: the vCPU.
 */
#ifndef TRAPEZE_ENGINES_SOFT_TRANSLATE_STACK_PAGE_H
#define TRAPEZE_ENGINES_SOFT_TRANSLATE_STACK_PAGE_H

#include <stdbool.h>
#include <stdint.h>

struct soft_cpu;

/* Which accesses a note is for; bits. */
enum { TRANSLATE_STACK_USER = 1, TRANSLATE_STACK_WRITE = 2, TRANSLATE_STACK_KINDS = 4 };

/* Accesses by their size, at most 8, 64 and 512 bytes. */
enum { TRANSLATE_STACK_SIZES = 3 };

struct translate_stack_page {
    uint64_t tag;   /* the page's linear address */
    uint64_t delta; /* from linear to host addresses, of what was accessed last */
    /* Offsets in the page that are below it may be accessed, by size; 0: nothing is noted. */
    uint64_t limit[TRANSLATE_STACK_SIZES];
};

static inline unsigned int translate_stack_kind(bool user, bool write)
{
    return (user ? TRANSLATE_STACK_USER : 0u) | (write ? TRANSLATE_STACK_WRITE : 0u);
}

static inline unsigned int translate_stack_size(unsigned int bytes)
{
    return bytes <= 8 ? 0 : bytes <= 64 ? 1 : 2;
}

/* What struct translate_stack_page has as `limit` of a size when a page is noted. */
static inline unsigned int translate_stack_limit(unsigned int size)
{
    return 4096 + 1 - (8u << 3 * size); /* of a page */
}

/* Nothing to do where the vCPU has no translator. */
void translate_stack_clear(struct soft_cpu *cpu);
/* Only for stores. */
void translate_stack_clear_stores(struct soft_cpu *cpu);

#endif
