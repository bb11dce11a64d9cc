#include "chipset/post_code.h"

#include "chipset/byte_access.h"

void post_code_init(struct post_code *post_code)
{
    post_code->value = 0;
}

void post_code_reset(struct post_code *post_code)
{
    post_code->value = 0;
}

static uint8_t read_latch(void *device, uint64_t offset)
{
    const struct post_code *post_code = device;

    return offset == 0 ? post_code->value : 0xff;
}

static void write_latch(void *device, uint64_t offset, uint8_t value)
{
    struct post_code *post_code = device;

    if (offset == 0) {
        post_code->value = value;
    }
}

void post_code_io(void *device, struct bus_access *access)
{
    byte_access(device, access, read_latch, write_latch);
}
