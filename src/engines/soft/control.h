/*
 * Control registers: MOV CR, LMSW, SMSW, CLTS, INVLPG, INVPCID, and EFER.
 *
 * Source:  Intel SDM volume 3, "Control Registers", "Mode Switching", "Initializing IA-32e Mode",
 *          "Invalidation of TLBs and Paging-Structure Caches"; volume 2, "MOV—Move to/from Control
 *          Registers".
 * Owner, thread: the vCPU.
 */
#ifndef TRAPEZE_ENGINES_SOFT_CONTROL_H
#define TRAPEZE_ENGINES_SOFT_CONTROL_H

#include "engines/soft/execute.h"

soft_execute soft_mov_from_cr;
soft_execute soft_mov_to_cr;
soft_execute soft_lmsw;
soft_execute soft_smsw;
soft_execute soft_clts;
soft_execute soft_invlpg;
soft_execute soft_invpcid;

/*
 * Writes as the instructions do, with every check and all that follows (PDPTEs, EFER.LMA, TLB
 * flushes, soft_mode_changed). Return false, with nothing changed, for what is #GP(0).
 */
bool soft_write_cr0(struct soft_cpu *cpu, uint64_t value);
bool soft_write_cr3(struct soft_cpu *cpu, uint64_t value);
bool soft_write_cr4(struct soft_cpu *cpu, uint64_t value);
bool soft_write_efer(struct soft_cpu *cpu, uint64_t value);

/* Raises #GP(0) unless the CPL is 0 (real-address mode counts as 0). */
void soft_require_cpl0(struct soft_cpu *cpu);

#endif
