/*
 * The one table from operations to the functions that run them. Each family has its own header.
 */
#include "engines/soft/execute.h"
#include "engines/soft/far.h"
#include "engines/soft/flags.h"
#include "engines/soft/interrupt.h"
#include "engines/soft/segment.h"

const struct soft_execute_entry soft_execute_table[X86_OP_COUNT] = {
    /* integer.h, bits.h, stack.h, string.h, branch.h, io.h: the user-level integer set */

    /* segment.h, far.h, interrupt.h, flags.h: segmentation, far transfers, gates, flags */
    [X86_OP_MOV_FROM_SEGMENT] = {soft_mov_from_segment, 0, NULL},
    [X86_OP_MOV_TO_SEGMENT] = {soft_mov_to_segment, SOFT_ENDS_BLOCK, NULL},
    [X86_OP_PUSH_SEGMENT] = {soft_push_segment, 0, NULL},
    [X86_OP_POP_SEGMENT] = {soft_pop_segment, SOFT_ENDS_BLOCK, NULL},
    [X86_OP_LDS] = {soft_load_far_pointer, SOFT_ENDS_BLOCK, NULL},
    [X86_OP_LES] = {soft_load_far_pointer, SOFT_ENDS_BLOCK, NULL},
    [X86_OP_LSS] = {soft_load_far_pointer, SOFT_ENDS_BLOCK, NULL},
    [X86_OP_LFS] = {soft_load_far_pointer, SOFT_ENDS_BLOCK, NULL},
    [X86_OP_LGS] = {soft_load_far_pointer, SOFT_ENDS_BLOCK, NULL},
    [X86_OP_LGDT] = {soft_lgdt, SOFT_ENDS_BLOCK, NULL},
    [X86_OP_LIDT] = {soft_lidt, SOFT_ENDS_BLOCK, NULL},
    [X86_OP_LLDT] = {soft_lldt, SOFT_ENDS_BLOCK, NULL},
    [X86_OP_LTR] = {soft_ltr, SOFT_ENDS_BLOCK, NULL},
    [X86_OP_SGDT] = {soft_sgdt, 0, NULL},
    [X86_OP_SIDT] = {soft_sidt, 0, NULL},
    [X86_OP_SLDT] = {soft_sldt, 0, NULL},
    [X86_OP_STR] = {soft_str, 0, NULL},
    [X86_OP_LAR] = {soft_lar, 0, NULL},
    [X86_OP_LSL] = {soft_lsl, 0, NULL},
    [X86_OP_VERR] = {soft_verr, 0, NULL},
    [X86_OP_VERW] = {soft_verw, 0, NULL},
    [X86_OP_ARPL] = {soft_arpl, 0, NULL},
    [X86_OP_JMP_FAR] = {soft_jmp_far, SOFT_ENDS_BLOCK, NULL},
    [X86_OP_JMP_FAR_INDIRECT] = {soft_jmp_far_indirect, SOFT_ENDS_BLOCK, NULL},
    [X86_OP_CALL_FAR] = {soft_call_far, SOFT_ENDS_BLOCK, NULL},
    [X86_OP_CALL_FAR_INDIRECT] = {soft_call_far_indirect, SOFT_ENDS_BLOCK, NULL},
    [X86_OP_RET_FAR] = {soft_ret_far, SOFT_ENDS_BLOCK, NULL},
    [X86_OP_INT] = {soft_int, SOFT_ENDS_BLOCK, NULL},
    [X86_OP_INT1] = {soft_int1, SOFT_ENDS_BLOCK, NULL},
    [X86_OP_INT3] = {soft_int3, SOFT_ENDS_BLOCK, NULL},
    [X86_OP_INTO] = {soft_into, SOFT_ENDS_BLOCK, NULL},
    [X86_OP_IRET] = {soft_iret, SOFT_ENDS_BLOCK, NULL},
    [X86_OP_PUSHF] = {soft_pushf, 0, NULL},
    [X86_OP_POPF] = {soft_popf, SOFT_ENDS_BLOCK, NULL},
    [X86_OP_CLI] = {soft_cli, SOFT_ENDS_BLOCK, NULL},
    [X86_OP_STI] = {soft_sti, SOFT_ENDS_BLOCK, NULL},

    /* control.h, msr.h, cpuid.h, syscall.h, debug.h: system registers */

    /* vector.h, x87.h, xsave.h: natively executed instructions and their state */

    [X86_OP_INVALID] = {NULL, 0, NULL},
};
