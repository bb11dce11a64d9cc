/*
 * Decimal adjustment: AAA AAS AAM AAD DAA DAS. Not there in 64-bit mode, so the host can't help.
 *
 * Source:  Intel SDM volume 2, the instructions' "Operation".
 * Owner, thread: the vCPU.
 */
#ifndef TRAPEZE_ENGINES_SOFT_DECIMAL_H
#define TRAPEZE_ENGINES_SOFT_DECIMAL_H

#include "engines/soft/execute.h"

soft_execute soft_aaa;
soft_execute soft_aas;
soft_execute soft_aam;
soft_execute soft_aad;
soft_execute soft_daa;
soft_execute soft_das;

#endif
