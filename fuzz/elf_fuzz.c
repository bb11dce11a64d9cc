/* Hostile ELF files for the PVH loader: headers, segments, notes. */
#include "boot/pvh.h"

#include "boot_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_boot(pvh_load, data, size);
    return 0;
}
