/*
 * What the core and the shared sources ask of the kernel: pages, and error.h's functions.
 *
 * Owner:   constant.
 * Thread:  any that may sleep, for what allocates.
 */
#ifndef TRAPEZE_VTX_LINUX_HOST_H
#define TRAPEZE_VTX_LINUX_HOST_H

#include "vtx/core/host.h"

extern const struct vtx_host linux_vtx_host;

#endif
