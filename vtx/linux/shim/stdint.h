/* <stdint.h> for the freestanding files, in a kernel that has none. */
#ifndef TRAPEZE_VTX_LINUX_SHIM_STDINT_H
#define TRAPEZE_VTX_LINUX_SHIM_STDINT_H

#include <linux/limits.h> /* SIZE_MAX */
#include <linux/types.h>

#define INT32_C(value)  value
#define INT64_C(value)  value##LL
#define UINT8_C(value)  value
#define UINT16_C(value) value
#define UINT32_C(value) value##U
#define UINT64_C(value) value##ULL

#define INT8_MIN   (-128)
#define INT8_MAX   127
#define INT16_MIN  (-32768)
#define INT16_MAX  32767
#define INT32_MIN  (-INT32_MAX - 1)
#define INT32_MAX  2147483647
#define INT64_MIN  (-INT64_MAX - 1)
#define INT64_MAX  9223372036854775807LL
#define UINT8_MAX  255
#define UINT16_MAX 65535
#define UINT32_MAX 4294967295U
#define UINT64_MAX 18446744073709551615ULL

#endif
