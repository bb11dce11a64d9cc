#include "base/parse.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

/* strtoull without its surprises: no sign, no leading blanks, no octal. */
static bool scan_number(const char *text, uint64_t *number, const char **end)
{
    bool is_hexadecimal = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
    const char *digits = is_hexadecimal ? text + 2 : text;
    if (is_hexadecimal ? !isxdigit((unsigned char)digits[0]) : !isdigit((unsigned char)digits[0])) {
        return false;
    }
    char *after;
    errno = 0;
    *number = strtoull(digits, &after, is_hexadecimal ? 16 : 10);
    *end = after;
    return errno == 0;
}

int parse_size(const char *text, uint64_t *bytes, struct error *error)
{
    static const char units[] = "KMGT";
    const char *end;
    uint64_t number;
    uint64_t factor = 1;
    if (!scan_number(text, &number, &end)) {
        return error_set(error, EINVAL, "'%s' is no size; write it as 512M or 2G", text);
    }
    if (*end != '\0') {
        const char *unit = strchr(units, toupper((unsigned char)*end));
        if (unit == NULL || end[1] != '\0') {
            return error_set(error, EINVAL, "'%s' is no size; write it as 512M or 2G", text);
        }
        factor = UINT64_C(1) << (10 * (unit - units + 1));
    }
    if (!checked_multiply(number, factor, bytes)) {
        return error_set(error, EINVAL, "the size '%s' is too large", text);
    }
    return 0;
}

int parse_number(const char *text, const char *what, uint64_t minimum, uint64_t maximum,
                 uint64_t *number, struct error *error)
{
    const char *end;
    if (!scan_number(text, number, &end) || *end != '\0' || *number < minimum ||
        *number > maximum) {
        return error_set(error, EINVAL, "'%s' is not %s: it must be a number from %llu to %llu",
                         text, what, (unsigned long long)minimum, (unsigned long long)maximum);
    }
    return 0;
}

#define SECONDS_MAX 1e9 /* about 30 years: still fits in nanoseconds */

int parse_seconds(const char *text, uint64_t *nanoseconds, struct error *error)
{
    char *end;
    double seconds = isdigit((unsigned char)text[0]) || text[0] == '.' ? strtod(text, &end) : -1;
    if (!(seconds >= 1e-9 && seconds <= SECONDS_MAX) || *end != '\0') {
        return error_set(error, EINVAL, "'%s' is no number of seconds above 0", text);
    }
    *nanoseconds = (uint64_t)(seconds * 1e9);
    return 0;
}
