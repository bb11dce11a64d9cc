/* Hostile files for the multiboot loader. */
#include "boot/multiboot.h"

#include "boot_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_boot(multiboot_load, data, size);
    return 0;
}
