/*
 * CPU models: which of an engine's features a guest is shown (`--cpu`).
 *
 * Purpose: a guest that is to run on other hosts too must not find more than all of them have.
 * Source:  the levels x86-64-v2 and x86-64-v3: System V Application Binary Interface, AMD64
 *          Architecture Processor Supplement, "Micro-Architecture Levels"; the bits: Intel SDM
 *          volume 2, "CPUID—CPU Identification", AMD APM volume 3, "Obtaining Processor
 *          Information Via the CPUID Instruction".
 * Owner:   plain data. Thread: any.
 */
#ifndef TRAPEZE_MACHINE_CPU_MODEL_H
#define TRAPEZE_MACHINE_CPU_MODEL_H

#include "base/error.h"
#include "x86/cpuid.h"

/*
 * Takes away of an engine's table what a model does not have.
 *
 * model: "host" or "max" (all that the engine offers), "x86-64-v2", "x86-64-v3", or else the path
 *        of a text file of at most 64 KiB: a line "LEAF SUBLEAF EAX EBX ECX EDX" in hexadecimal
 *        for each leaf that the guest is to see, SUBLEAF "*" where the leaf has none; "#" begins
 *        a comment, and lines of cpu_model_log will do. Topology and the hypervisor's leaves are
 *        the machine's in any case.
 *
 * Errors: -EINVAL when the engine lacks what the model needs, or there is no such model or file.
 */
int cpu_model_apply(const char *model, struct cpuid_table *table, struct error *error);

/* Writes a table to the log (-vv). */
void cpu_model_log(const struct cpuid_table *table);

#endif
