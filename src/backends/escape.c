#include "backends/escape.h"

#define CONTROL_A 0x01

enum escape_request escape_filter(struct escape *escape, uint8_t typed, uint8_t bytes[2],
                                  size_t *count)
{
    *count = 0;
    if (!escape->after_control_a) {
        if (typed == CONTROL_A) {
            escape->after_control_a = true;
        } else {
            bytes[(*count)++] = typed;
        }
        return ESCAPE_NONE;
    }
    escape->after_control_a = false;
    switch (typed) {
    case 'x':
    case 'X':
        return ESCAPE_QUIT;
    case 'p':
    case 'P':
        return ESCAPE_PAUSE;
    case 'h':
    case '?':
        return ESCAPE_HELP;
    case CONTROL_A:
        bytes[(*count)++] = CONTROL_A;
        return ESCAPE_NONE;
    default:
        bytes[(*count)++] = CONTROL_A;
        bytes[(*count)++] = typed;
        return ESCAPE_NONE;
    }
}
