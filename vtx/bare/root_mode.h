/*
 * The machine as a host of guests: what its VT-x can do, and the processors in root mode.
 *
 * Purpose: the first processor enters root mode at the start; the others are woken, enter and
 *          leave it, and sleep again.
 * Owner:   the image has one.
 * Thread:  the first processor, but for what the header of each function says.
 */
#ifndef TRAPEZE_VTX_BARE_ROOT_MODE_H
#define TRAPEZE_VTX_BARE_ROOT_MODE_H

#include "base/error.h"
#include "vtx/bare/pages.h"
#include "vtx/bare/start.h"
#include "vtx/core/capabilities.h"
#include "vtx/core/cpu.h"

struct root_mode {
    struct pages *pages;
    struct vtx_host host;
    struct vtx_capabilities capabilities;
    struct vtx_cpu processors[PROCESSORS_MAX]; /* the first is that which called root_mode_enter */
};

/* Reads the capabilities and enters root mode on this processor. The text says what is missing. */
enum vtx_status root_mode_enter(struct root_mode *root, struct pages *pages, struct error *error);
void root_mode_leave(struct root_mode *root);

/* What one of the other processors has done. */
struct processor_report {
    bool entered, left; /* root mode */
    struct error error; /* why not */
};

/*
 * Wakes the other processors by INIT and SIPI; each enters root mode, reports, and leaves it again.
 * Those that have not reported within a second or so are not there. Once.
 *
 * reports: PROCESSORS_MAX of them, by processor; the first is not used. Returns how many others
 * have reported.
 */
unsigned int root_mode_try_others(struct root_mode *root, struct processor_report *reports);

#endif
