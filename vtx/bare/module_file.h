/*
 * The boot loader's modules as files: boot/kernel_file.h without a file system.
 *
 * Purpose: a kernel or an initrd "is opened" by its module's name, module0, module1, ….
 * Owner:   the image remembers which modules there are.
 * Thread:  one processor.
 */
#ifndef TRAPEZE_VTX_BARE_MODULE_FILE_H
#define TRAPEZE_VTX_BARE_MODULE_FILE_H

#include "vtx/bare/boot_information.h"

/* The modules that can be opened; information must live as long. */
void module_files_init(const struct boot_information *information);

/* "module0" …; NULL when there are not so many. */
const char *module_file_name(unsigned int index);

#endif
