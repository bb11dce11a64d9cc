/*
 * The translator as the rest of the soft engine sees it.
 *
 * Purpose: guest code as host code, several times as fast as the interpreter, which stays the
 *          reference and runs all that is not worth translating.
 * Owner:   each vCPU has its own; created with it.
 * Thread:  the vCPU's own.
 */
#ifndef TRAPEZE_ENGINES_SOFT_TRANSLATE_TRANSLATE_H
#define TRAPEZE_ENGINES_SOFT_TRANSLATE_TRANSLATE_H

#include "engines/soft/cpu.h"

/* Returns 0 or -errno; the vCPU's own thread. cpu->translate.translator stays NULL on failure. */
int translate_create(struct soft_cpu *cpu, struct error *error);
void translate_destroy(struct soft_cpu *cpu);

/*
 * Runs translated code from cpu->rip on, until somebody's attention is asked for or there is none.
 * False if there was none to begin with: the block at cpu->rip is to be interpreted. Leaves by
 * longjmp as an instruction does.
 */
bool translate_run(struct soft_cpu *cpu);

/*
 * Under check=lockstep, first thing where cpu->escape arrives: see lockstep_escaped. False: the run
 * is over.
 */
bool translate_escaped(struct soft_cpu *cpu, enum soft_escape *how);

/*
 * Code of a physical page (address >> 12), or any code, has changed. That linear addresses mean
 * other memory is seen by cpu->code_generation, which must change in both cases.
 */
void translate_drop_page(struct soft_cpu *cpu, uint64_t page);
void translate_drop_all(struct soft_cpu *cpu);

static inline bool translate_is_on(const struct soft_cpu *cpu)
{
    return cpu->translate.translator != NULL;
}

#endif
