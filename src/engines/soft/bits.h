/*
 * Bit tests, shifts, rotates, scans and the bit manipulation sets (BMI1, BMI2, LZCNT, POPCNT).
 *
 * Source:  Intel SDM volume 2, "Instruction Set Reference".
 * Owner, thread: the vCPU. All of them follow the rules in cpu.h.
 */
#ifndef TRAPEZE_ENGINES_SOFT_BITS_H
#define TRAPEZE_ENGINES_SOFT_BITS_H

#include "engines/soft/execute.h"

soft_execute soft_bit_test;     /* BT BTS BTR BTC */
soft_execute soft_shift;        /* ROL ROR RCL RCR SHL SHR SAL SAR */
soft_execute soft_double_shift; /* SHLD SHRD */
soft_execute soft_scan;         /* BSF BSR TZCNT LZCNT */
soft_execute soft_popcnt;
soft_execute soft_bmi;        /* ANDN BEXTR BZHI, and BLSI BLSMSK BLSR */
soft_execute soft_bmi_spread; /* PDEP PEXT */
soft_execute soft_bmi_shift;  /* RORX SARX SHLX SHRX */
soft_execute soft_mulx;

#endif
