/* Hostile files for the bzimage loader. */
#include "boot/bzimage.h"

#include "boot_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_boot(bzimage_load, data, size);
    return 0;
}
