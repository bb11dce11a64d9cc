#include "engines/soft/translate/pressure.h"

#define LEVEL_MAX   8
#define SHARE_SHIFT 3                   /* of the time, an eighth may go into making blocks */
#define RELAX_AFTER (UINT64_C(1) << 28) /* cycles: some tenth of a second */

void translate_pressure_evicted(struct translate_pressure *pressure, uint64_t now)
{
    bool too_much = pressure->making > (now - pressure->since) >> SHARE_SHIFT;
    if (too_much && pressure->since != 0 && pressure->level < LEVEL_MAX) {
        pressure->level++;
    }
    pressure->since = now;
    pressure->making = 0;
}

void translate_pressure_relax(struct translate_pressure *pressure, uint64_t now)
{
    if (pressure->level > 0 && now - pressure->since >= RELAX_AFTER) {
        pressure->level--;
        pressure->since = now;
        pressure->making = 0;
    }
}
