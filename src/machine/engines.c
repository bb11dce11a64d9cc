/* The engines that are built in, best first. The one table: see vm/engine.h. */
#include "engines/null/null.h"
#include "vm/engine.h"

const struct engine_ops *const engine_table[] = {
    &null_engine,
    NULL,
};
