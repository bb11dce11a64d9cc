/*
 * Instructions that exchange: XCHG, XADD, the CMPXCHG family, BSWAP.
 *
 * Source:  Intel SDM volume 2, "Instruction Set Reference"; volume 3, "Bus Locking".
 * Owner, thread: the vCPU. With LOCK (XCHG: always) the host's own locked instruction acts on the
 *          guest's memory, so it is atomic against every other vCPU and device thread.
 */
#ifndef TRAPEZE_ENGINES_SOFT_EXCHANGE_H
#define TRAPEZE_ENGINES_SOFT_EXCHANGE_H

#include "engines/soft/execute.h"

soft_execute soft_xchg;
soft_execute soft_xadd;
soft_execute soft_cmpxchg;
soft_execute soft_cmpxchg8b;
soft_execute soft_cmpxchg16b;
soft_execute soft_bswap;

#endif
