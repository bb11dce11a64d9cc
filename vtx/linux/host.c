#include "vtx/linux/host.h"

#include "base/error.h"

#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/kernel.h>
#include <linux/mm.h>

/* Accounted to the control group of the process whose VM it is for. */
static void *allocate_page(void *context, uint64_t *physical)
{
    void *page = (void *)__get_free_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
    if (page != NULL) {
        *physical = __pa(page);
    }
    return page;
}

static void free_page_of(void *context, void *page)
{
    free_page((unsigned long)page);
}

/* All memory is mapped on a 64-bit kernel; what is not memory has no page. */
static void *pointer(void *context, uint64_t physical)
{
    return pfn_valid(PHYS_PFN(physical)) ? __va(physical) : NULL;
}

const struct vtx_host linux_vtx_host = {
    .allocate_page = allocate_page, .free_page = free_page_of, .pointer = pointer};

/* ---- base/error.h ---- */

int error_set(struct error *error, int code, const char *format, ...)
{
    va_list arguments;
    if (error != NULL) {
        va_start(arguments, format);
        vsnprintf(error->text, sizeof(error->text), format, arguments);
        va_end(arguments);
    }
    return code < 0 ? code : -code;
}
