#include "vtx/bare/pages.h"

#include <string.h>

#define LOW_MEMORY_END UINT64_C(0x100000) /* below it are the BIOS's data and the trampoline */

static uint64_t length_of(struct memory_range range)
{
    return range.begin < range.end ? range.end - range.begin : 0;
}

/* The longest piece of a range that touches none of the reserved ones. */
static struct memory_range longest_free(struct memory_range range,
                                        const struct memory_range *reserved, unsigned int count)
{
    struct memory_range longest = {0, 0};
    /* A free piece begins where the range does or a reserved one ends. */
    for (unsigned int i = 0; i <= count; i++) {
        struct memory_range piece = range;
        if (i < count && reserved[i].end > piece.begin) {
            piece.begin = reserved[i].end;
        }
        for (unsigned int j = 0; j < count; j++) {
            if (reserved[j].begin < piece.end && reserved[j].end > piece.begin) {
                piece.end = reserved[j].begin;
            }
        }
        if (length_of(piece) > length_of(longest)) {
            longest = piece;
        }
    }
    return longest;
}

void pages_init(struct pages *pages, const struct boot_information *information,
                struct memory_range image)
{
    struct memory_range reserved[2 + BOOT_INFO_MODULES_MAX];
    reserved[0] = (struct memory_range){0, LOW_MEMORY_END};
    reserved[1] = image;
    unsigned int count = 2;
    for (unsigned int i = 0; i < information->module_count; i++) {
        reserved[count++] = information->modules[i].at;
    }
    struct memory_range longest = {0, 0};
    for (unsigned int i = 0; i < information->memory_count; i++) {
        struct memory_range piece = longest_free(information->memory[i], reserved, count);
        longest = length_of(piece) > length_of(longest) ? piece : longest;
    }
    *pages = (struct pages){.next = (longest.begin + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1),
                            .end = longest.end & ~(PAGE_SIZE - 1)};
}

void *pages_allocate(struct pages *pages)
{
    void *page = pages->free;
    if (page != NULL) {
        memcpy(&pages->free, page, sizeof(pages->free));
    } else if (pages->next < pages->end) {
        page = (void *)pages->next;
        pages->next += PAGE_SIZE;
    } else {
        return NULL;
    }
    pages->used++;
    return memset(page, 0, PAGE_SIZE);
}

void pages_free(struct pages *pages, void *page)
{
    if (page != NULL) {
        memcpy(page, &pages->free, sizeof(pages->free));
        pages->free = page;
        pages->used--;
    }
}

void *pages_allocate_piece(struct pages *pages, uint64_t length, uint64_t alignment)
{
    if (length > pages_left(pages)) {
        return NULL;
    }
    uint64_t begin = (pages->end - length) & ~(alignment - 1);
    if (begin < pages->next) {
        return NULL;
    }
    pages->end = begin;
    return memset((void *)begin, 0, length);
}

uint64_t pages_left(const struct pages *pages)
{
    return pages->next < pages->end ? pages->end - pages->next : 0;
}

static void *host_allocate(void *context, uint64_t *physical)
{
    void *page = pages_allocate(context);
    *physical = (uint64_t)page;
    return page;
}

static void host_free(void *context, void *page)
{
    pages_free(context, page);
}

static void *host_pointer(void *context, uint64_t physical)
{
    (void)context;
    return physical < UINT64_C(0x100000000) ? (void *)physical : NULL;
}

struct vtx_host pages_host(struct pages *pages)
{
    return (struct vtx_host){.context = pages,
                             .allocate_page = host_allocate,
                             .free_page = host_free,
                             .pointer = host_pointer};
}
