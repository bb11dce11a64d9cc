#include "vtx/core/status.h"

#include "base/text.h"

enum vtx_status vtx_fail(enum vtx_status status, struct error *error, const char *words)
{
    struct text text = text_start(error->text, sizeof(error->text));
    text_put(&text, words);
    return status;
}
