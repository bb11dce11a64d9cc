/* <stddef.h> for the freestanding files, in a kernel that has none. */
#ifndef TRAPEZE_VTX_LINUX_SHIM_STDDEF_H
#define TRAPEZE_VTX_LINUX_SHIM_STDDEF_H

#include <linux/stddef.h> /* NULL, offsetof */
#include <linux/types.h>  /* size_t */

#endif
