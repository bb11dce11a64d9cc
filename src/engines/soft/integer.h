/*
 * Integer arithmetic and logic on general registers and memory.
 *
 * Source:  Intel SDM volume 2, "Instruction Set Reference".
 * Owner, thread: the vCPU. All of them follow the rules in cpu.h.
 */
#ifndef TRAPEZE_ENGINES_SOFT_INTEGER_H
#define TRAPEZE_ENGINES_SOFT_INTEGER_H

#include "engines/soft/alu.h"
#include "engines/soft/execute.h"

soft_execute soft_binary; /* ADD OR ADC SBB AND SUB XOR CMP */
soft_execute soft_test;
soft_execute soft_unary; /* NOT NEG INC DEC */
soft_execute soft_multiply;
soft_execute soft_imul_signed;
soft_execute soft_imul2;
soft_execute soft_imul3;
soft_execute soft_divide;
soft_execute soft_divide_signed;
soft_execute soft_add_carry; /* ADCX ADOX */
soft_execute soft_crc32;
soft_execute soft_bound;

/*
 * Replaces the r/m operand by function(operand, operand2): a register, or memory through
 * soft_rmw_begin, with host LOCK instructions where the guest's has LOCK. Flags are committed
 * last. locked may be NULL for instructions that do not take LOCK.
 */
void soft_modify_rm(struct soft_cpu *cpu, const struct soft_instruction *in, uint64_t operand2,
                    soft_alu_function *function, soft_alu_locked_function *locked);

#endif
