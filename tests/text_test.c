/* Text without printf: numbers, and buffers that are too small. */
#include "base/text.h"

#include <string.h>

#include "check.h"

static void test_numbers(void)
{
    static const struct {
        uint64_t value;
        unsigned int digits;
        const char *hexadecimal, *decimal;
    } rows[] = {
        {0, 1, "0x0", "0"},
        {0xab, 1, "0xab", "171"},
        {0xab, 8, "0x000000ab", "171"},
        {UINT64_MAX, 16, "0xffffffffffffffff", "18446744073709551615"},
        {0, 16, "0x0000000000000000", "0"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char buffer[64];
        struct text text = text_start(buffer, sizeof(buffer));
        text_put_hexadecimal(&text, rows[i].value, rows[i].digits);
        CHECK(strcmp(buffer, rows[i].hexadecimal) == 0);
        text = text_start(buffer, sizeof(buffer));
        text_put_decimal(&text, rows[i].value);
        CHECK(strcmp(buffer, rows[i].decimal) == 0);
    }
}

/* A string at all times, cut where there is no room; nothing beyond it is touched. */
static void test_small_buffers(void)
{
    const char whole[] = "ab\ncd0x12";
    for (size_t size = 1; size < 12; size++) {
        char buffer[16];
        memset(buffer, '#', sizeof(buffer));
        struct text text = text_start(buffer, size);
        CHECK(buffer[0] == '\0');
        text_put(&text, "ab\n");
        text_put(&text, "cd");
        CHECK(size < 6 || text.column == 2);
        text_put_hexadecimal(&text, 0x12, 1);
        size_t expected = size - 1 < strlen(whole) ? size - 1 : strlen(whole);
        CHECK_EQUAL(strlen(buffer), expected);
        CHECK(memcmp(buffer, whole, expected) == 0);
        CHECK(buffer[size] == '#');
    }
}

int main(void)
{
    test_numbers();
    test_small_buffers();
    return check_summary();
}
