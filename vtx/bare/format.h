/*
 * Text from a format: as much of printf as the code that is linked here uses.
 *
 * Conversions d i u x X c s p %, with the flags - and 0, widths, precisions of %s, * for either,
 * and the lengths hh h l ll z. Anything else comes out as it stands in the format.
 *
 * Owner, thread: none; no state. Freestanding.
 */
#ifndef TRAPEZE_VTX_BARE_FORMAT_H
#define TRAPEZE_VTX_BARE_FORMAT_H

#include <stdarg.h>
#include <stddef.h>

/*
 * Writes at most size bytes, the final NUL included (nothing with size 0). Returns how many
 * characters the whole text has.
 */
size_t format_text(char *text, size_t size, const char *format, va_list arguments)
    __attribute__((format(printf, 3, 0)));

#endif
