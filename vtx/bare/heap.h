/*
 * The heap behind malloc: for the few and large things that the linked code allocates.
 *
 * Owner:   the image; whole pages each, which come from struct pages.
 * Thread:  one processor.
 */
#ifndef TRAPEZE_VTX_BARE_HEAP_H
#define TRAPEZE_VTX_BARE_HEAP_H

#include <stddef.h>

#include "vtx/bare/pages.h"

/* Where the heap's memory comes from; must live as long. */
void heap_init(struct pages *pages);

/* Zeroes; NULL when there is no memory. A freed piece is used again for what fits into it. */
void *heap_allocate(size_t length);
void heap_free(void *at);

#endif
