/*
 * A guest's memory for the loaders and devices: vm/guestmem.h over one piece of the machine's.
 *
 * Owner:   the image; the piece is not given back.
 * Thread:  one processor.
 */
#ifndef TRAPEZE_VTX_BARE_GUEST_MEMORY_H
#define TRAPEZE_VTX_BARE_GUEST_MEMORY_H

#include "vm/guestmem.h"

struct guestmem {
    struct memory_slot slot; /* the only one, from guest physical 0 on */
};

#endif
