#include "vtx/bare/format.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct output {
    char *text;
    size_t size;
    size_t length; /* of the whole text, whether it fits or not */
};

static void put(struct output *output, char character)
{
    if (output->length + 1 < output->size) {
        output->text[output->length] = character;
    }
    output->length++;
}

/* What stands between the percent sign and the conversion's letter. */
struct conversion {
    bool left, zeroes, has_precision;
    unsigned int width, precision;
    int length; /* in bytes, of an integer */
};

static void put_padded(struct output *output, const struct conversion *conversion, const char *text,
                       size_t length)
{
    size_t padding = conversion->width > length ? conversion->width - length : 0;
    for (size_t i = 0; !conversion->left && i < padding; i++) {
        put(output, ' ');
    }
    for (size_t i = 0; i < length; i++) {
        put(output, text[i]);
    }
    for (size_t i = 0; conversion->left && i < padding; i++) {
        put(output, ' ');
    }
}

static void put_number(struct output *output, const struct conversion *conversion, uint64_t value,
                       bool negative, unsigned int base, bool capitals)
{
    const char *digits = capitals ? "0123456789ABCDEF" : "0123456789abcdef";
    char text[72];
    size_t at = sizeof(text);
    do {
        text[--at] = digits[value % base];
        value /= base;
    } while (value != 0);
    size_t wanted = conversion->zeroes && !conversion->left ? conversion->width : 0;
    while (sizeof(text) - at + negative < wanted && at > 1) {
        text[--at] = '0';
    }
    if (negative) {
        text[--at] = '-';
    }
    put_padded(output, conversion, text + at, sizeof(text) - at);
}

static unsigned int parse_number(const char **format, va_list *arguments)
{
    unsigned int number = 0;
    if (**format == '*') {
        (*format)++;
        int given = va_arg(*arguments, int);
        return given > 0 ? (unsigned int)given : 0;
    }
    while (**format >= '0' && **format <= '9' && number < 1000) {
        number = number * 10 + (unsigned int)(**format - '0');
        (*format)++;
    }
    return number;
}

/* Leaves *format at the conversion's letter. */
static struct conversion parse(const char **format, va_list *arguments)
{
    struct conversion conversion = {.length = 4};
    for (; **format == '-' || **format == '0'; (*format)++) {
        conversion.left |= **format == '-';
        conversion.zeroes |= **format == '0';
    }
    conversion.width = parse_number(format, arguments);
    if (**format == '.') {
        (*format)++;
        conversion.has_precision = true;
        conversion.precision = parse_number(format, arguments);
    }
    for (; **format == 'h'; (*format)++) {
        conversion.length /= 2;
    }
    for (; **format == 'l' || **format == 'z'; (*format)++) {
        conversion.length = 8;
    }
    return conversion;
}

static uint64_t unsigned_argument(const struct conversion *conversion, va_list *arguments)
{
    switch (conversion->length) {
    case 1:
        return (uint8_t)va_arg(*arguments, unsigned int);
    case 2:
        return (uint16_t)va_arg(*arguments, unsigned int);
    case 8:
        return va_arg(*arguments, uint64_t);
    default:
        return va_arg(*arguments, unsigned int);
    }
}

static int64_t signed_argument(const struct conversion *conversion, va_list *arguments)
{
    switch (conversion->length) {
    case 1:
        return (int8_t)va_arg(*arguments, int);
    case 2:
        return (int16_t)va_arg(*arguments, int);
    case 8:
        return va_arg(*arguments, int64_t);
    default:
        return va_arg(*arguments, int);
    }
}

static void put_string(struct output *output, const struct conversion *conversion, const char *text)
{
    size_t length = 0;
    if (text == NULL) {
        text = "(null)";
    }
    while ((!conversion->has_precision || length < conversion->precision) && text[length] != 0) {
        length++;
    }
    put_padded(output, conversion, text, length);
}

/* False for a letter that is none of ours. */
static bool convert(struct output *output, const struct conversion *conversion, char letter,
                    va_list *arguments)
{
    char character;
    int64_t number;
    switch (letter) {
    case 'd':
    case 'i':
        number = signed_argument(conversion, arguments);
        put_number(output, conversion, number < 0 ? -(uint64_t)number : (uint64_t)number,
                   number < 0, 10, false);
        return true;
    case 'u':
        put_number(output, conversion, unsigned_argument(conversion, arguments), false, 10, false);
        return true;
    case 'x':
    case 'X':
        put_number(output, conversion, unsigned_argument(conversion, arguments), false, 16,
                   letter == 'X');
        return true;
    case 'p':
        put_number(output, conversion, (uint64_t)va_arg(*arguments, void *), false, 16, false);
        return true;
    case 'c':
        character = (char)va_arg(*arguments, int);
        put_padded(output, conversion, &character, 1);
        return true;
    case 's':
        put_string(output, conversion, va_arg(*arguments, const char *));
        return true;
    case '%':
        put(output, '%');
        return true;
    default:
        return false;
    }
}

size_t format_text(char *text, size_t size, const char *format, va_list arguments)
{
    struct output output = {.text = text, .size = size};
    va_list rest;
    va_copy(rest, arguments);
    while (*format != 0) {
        const char *start = format;
        if (*format++ != '%') {
            put(&output, *start);
            continue;
        }
        struct conversion conversion = parse(&format, &rest);
        if (*format != 0 && convert(&output, &conversion, *format, &rest)) {
            format++;
            continue;
        }
        for (; start != format; start++) {
            put(&output, *start);
        }
    }
    va_end(rest);
    if (size != 0) {
        text[output.length < size ? output.length : size - 1] = 0;
    }
    return output.length;
}
