/*
 * Instructions that load, store and examine segment registers and descriptor tables.
 *
 * Source:  Intel SDM volume 2, each by its name; volume 3, "Protection", "User-Mode Instruction
 *          Prevention".
 * Owner, thread: the vCPU's.
 */
#ifndef TRAPEZE_ENGINES_SOFT_SEGMENT_H
#define TRAPEZE_ENGINES_SOFT_SEGMENT_H

#include "engines/soft/execute.h"
#include "engines/soft/segment_load.h"

/*
 * What loading `segment` (not CS) with a selector gives in the present mode, all checks done;
 * mark it accessed, assign it to cpu->segment[segment] and call soft_mode_changed().
 */
struct soft_load soft_check_segment(struct soft_cpu *cpu, unsigned int segment, uint16_t selector);

/* segment.c: the segment registers */
soft_execute soft_mov_from_segment, soft_mov_to_segment, soft_push_segment, soft_pop_segment;
soft_execute soft_load_far_pointer; /* LDS, LES, LSS, LFS, LGS */

/* segment_table.c: the table registers */
soft_execute soft_lgdt, soft_lidt, soft_sgdt, soft_sidt, soft_lldt, soft_ltr, soft_sldt, soft_str;

/* segment_verify.c: questions about a selector, answered in ZF */
soft_execute soft_lar, soft_lsl, soft_verr, soft_verw, soft_arpl;

#endif
