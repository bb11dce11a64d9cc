/*
 * The one table from operations to the functions that run them. Each family has its own header.
 */
#include "engines/soft/execute.h"

const struct soft_execute_entry soft_execute_table[X86_OP_COUNT] = {
    /* integer.h, bits.h, stack.h, string.h, branch.h, io.h: the user-level integer set */

    /* segment.h, far.h, interrupt.h, task.h: segmentation, far transfers, gates, flags */

    /* control.h, msr.h, cpuid.h, syscall.h, debug.h: system registers */

    /* vector.h, x87.h, xsave.h: natively executed instructions and their state */

    [X86_OP_INVALID] = {NULL, 0, NULL},
};
