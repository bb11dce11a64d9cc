/* What the software CPU says of itself to `trapeze probe`. */
#include "check.h"
#include "engines/soft/soft.h"

int main(void)
{
    struct engine_probe probe = {.usable = false};
    soft_engine.probe(&probe);
    CHECK(probe.usable);
    CHECK(probe.why[0] != '\0');
    CHECK(probe.mips > 0);
    /*
     * No bound on how long an exit takes; but one that is over within 4 ns, some ten host
     * instructions, never was one: a CPU still halted by the guest before looks like that.
     */
    CHECK(probe.exit_us > 0.004);
    return check_summary();
}
