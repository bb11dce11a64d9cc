/*
 * <string.h> for the freestanding files: the memory functions that they may call. The kernel's own
 * header would bring names that are theirs (X86_FEATURE_…).
 */
#ifndef TRAPEZE_VTX_LINUX_SHIM_STRING_H
#define TRAPEZE_VTX_LINUX_SHIM_STRING_H

#include <linux/types.h>

void *memcpy(void *to, const void *from, size_t size);
void *memmove(void *to, const void *from, size_t size);
void *memset(void *at, int value, size_t size);
int memcmp(const void *a, const void *b, size_t size);

#endif
