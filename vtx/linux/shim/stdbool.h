/* <stdbool.h> for the freestanding files, in a kernel that has none. */
#ifndef TRAPEZE_VTX_LINUX_SHIM_STDBOOL_H
#define TRAPEZE_VTX_LINUX_SHIM_STDBOOL_H

#include <linux/stddef.h> /* false, true */
#include <linux/types.h>  /* bool */

#endif
