#include "vtx/bare/heap.h"

#include <stdbool.h>
#include <string.h>

#define PIECES_MAX 32

struct piece {
    uint8_t *at;
    uint64_t length;
    bool in_use;
};

static struct {
    struct pages *pages;
    unsigned int count;
    struct piece pieces[PIECES_MAX];
} heap;

void heap_init(struct pages *pages)
{
    heap.pages = pages;
}

static struct piece *find_free(uint64_t length)
{
    for (unsigned int i = 0; i < heap.count; i++) {
        if (!heap.pieces[i].in_use && heap.pieces[i].length >= length) {
            return &heap.pieces[i];
        }
    }
    if (heap.count == PIECES_MAX) {
        return NULL;
    }
    struct piece *piece = &heap.pieces[heap.count];
    piece->at = pages_allocate_piece(heap.pages, length, PAGE_SIZE);
    piece->length = length;
    heap.count += piece->at != NULL;
    return piece->at != NULL ? piece : NULL;
}

void *heap_allocate(size_t length)
{
    if (length == 0 || length > SIZE_MAX - PAGE_SIZE) {
        return NULL;
    }
    struct piece *piece = find_free((length + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1));
    if (piece == NULL) {
        return NULL;
    }
    piece->in_use = true;
    return memset(piece->at, 0, piece->length);
}

void heap_free(void *at)
{
    for (unsigned int i = 0; i < heap.count; i++) {
        if (heap.pieces[i].at == at) {
            heap.pieces[i].in_use = false;
        }
    }
}
