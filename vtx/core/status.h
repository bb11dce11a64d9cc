/*
 * How a function of the VT-x core fails.
 *
 * Purpose: the core has no errno; whoever embeds it turns these into its own. Where a person has to
 *          know more, the function fills in a struct error as well, of which only the text is used.
 * Owner, thread: values.
 */
#ifndef TRAPEZE_VTX_CORE_STATUS_H
#define TRAPEZE_VTX_CORE_STATUS_H

#include "base/error.h"

enum vtx_status {
    VTX_OK,
    VTX_NO_VTX,       /* the processor has no VT-x */
    VTX_LOCKED_OFF,   /* the firmware has switched it off until the next reset */
    VTX_ALREADY_ROOT, /* somebody else on this processor is in root mode */
    VTX_MISSING,      /* a feature that the core needs is not there */
    VTX_NO_MEMORY,
    VTX_INVALID, /* an argument makes no sense: an address or a size that is not aligned … */
    VTX_FAILED   /* a VMX instruction failed */
};

/* Puts words into *error; returns the status. */
enum vtx_status vtx_fail(enum vtx_status status, struct error *error, const char *words);

#endif
