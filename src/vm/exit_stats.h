/*
 * How often a vCPU came back to the monitor, why, and how long it was served.
 *
 * Purpose: --stats and SIGUSR1. Counted per reason and per port, address or MSR.
 * Owner:   the VM; one for each vCPU.
 * Thread:  one writer, the vCPU's thread; readers at any time from any thread. Every number is
 *          a relaxed atomic: a reader may see a count without its time, which is good enough.
 */
#ifndef TRAPEZE_VM_EXIT_STATS_H
#define TRAPEZE_VM_EXIT_STATS_H

#include <stdint.h>
#include <stdio.h>

#include "vm/exit.h"

struct exit_stats;

/* Different keys kept for each vCPU; what comes after goes into one row "others" a reason. */
#define EXIT_STATS_KEYS_MAX 384

/* NULL when there is no memory. */
struct exit_stats *exit_stats_create(void);
void exit_stats_destroy(struct exit_stats *stats);

/*
 * Counts one exit.
 *
 * key:  port, guest physical address or MSR; 0 for reasons that have none.
 * name: of the device that served it, a string constant; NULL if none.
 * ns:   time from the engine's return until it was served (for HLT: until woken).
 */
void exit_stats_count(struct exit_stats *stats, enum exit_reason reason, uint64_t key,
                      const char *name, uint64_t ns);

/* Counts one call of the engine's run and its time. */
void exit_stats_count_run(struct exit_stats *stats, uint64_t ns);

/* Counts a run that came back with nothing to serve (EINTR, EAGAIN). */
void exit_stats_count_retry(struct exit_stats *stats);

/* How often a reason was counted, over all keys. */
uint64_t exit_stats_total(const struct exit_stats *stats, enum exit_reason reason);

/* Calls of run, their time, and how many came back with nothing to serve. */
uint64_t exit_stats_runs(const struct exit_stats *stats);
uint64_t exit_stats_run_ns(const struct exit_stats *stats);
uint64_t exit_stats_retries(const struct exit_stats *stats);

/* Prints the sums over several vCPUs by reason, then by key; what took longest first. */
void exit_stats_print(const struct exit_stats *const *each, unsigned int count, FILE *out);

#endif
