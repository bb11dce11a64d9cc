#include "base/text.h"

struct text text_start(char *where, size_t size)
{
    struct text text = {where, size, 0};
    *where = '\0';
    return text;
}

void text_put(struct text *text, const char *words)
{
    for (; *words != '\0' && text->left > 1; words++, text->left--) {
        *text->at++ = *words;
        text->column = *words == '\n' ? 0 : text->column + 1;
    }
    *text->at = '\0';
}

void text_put_hexadecimal(struct text *text, uint64_t value, unsigned int digits)
{
    char buffer[16 + 1];
    char *at = buffer + sizeof(buffer) - 1;
    *at = '\0';
    for (unsigned int i = 0; (value != 0 || i < digits) && at > buffer; i++, value >>= 4) {
        *--at = "0123456789abcdef"[value & 0xf];
    }
    text_put(text, "0x");
    text_put(text, at);
}

void text_put_decimal(struct text *text, uint64_t value)
{
    char buffer[20 + 1];
    char *at = buffer + sizeof(buffer) - 1;
    *at = '\0';
    do {
        *--at = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    text_put(text, at);
}
