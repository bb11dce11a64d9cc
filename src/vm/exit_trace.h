/*
 * Every exit of every vCPU into a file: --trace.
 *
 * Purpose: what exit_stats only adds up, one by one and in order: reason, direction, size, address,
 *          value, when, and how long it took. vm/trace_format.h has the file.
 * Owner:   whoever called exit_trace_create; it outlives the VM that it is given to.
 * Thread:  each vCPU's thread fills chunks of its own, without a lock or a system call; a thread
 *          of the trace's writes them. When the disk is slower than the guest the vCPUs do not
 *          wait: what finds no free chunk is lost, and counted. Otherwise noted below.
 *
 * A file that can be written no more (a full disk) is told in one line, and the guest goes on.
 */
#ifndef TRAPEZE_VM_EXIT_TRACE_H
#define TRAPEZE_VM_EXIT_TRACE_H

#include <stdint.h>

#include "base/error.h"
#include "vm/bus.h"
#include "vm/exit.h"

struct exit_trace;
struct exit_trace_lane; /* one vCPU's part */

/*
 * Opens the file and empties it. path must stay valid. The thread that will run the VM.
 * Errors: -EEXIST for a file that is there and is no trace, what open says, -ENOMEM.
 */
int exit_trace_create(const char *path, unsigned int vcpu_count, struct exit_trace **out,
                      struct error *error);

/* Finishes it first; NULL is allowed. */
void exit_trace_destroy(struct exit_trace *trace);

/*
 * Writes the header with the names of the devices, and starts the thread. Before vCPUs run.
 * Errors: no thread. A full disk is no error: it ends the tracing, not the run.
 */
int exit_trace_start(struct exit_trace *trace, const char *engine, const struct bus *ports,
                     const struct bus *mmio, struct error *error);

/* After exit_trace_create. */
struct exit_trace_lane *exit_trace_lane(struct exit_trace *trace, unsigned int vcpu);

/*
 * Notes an exit that has been served. left, served: clock_now_ns when the engine came back, and
 * when that had been dealt with. The vCPU's thread.
 */
void exit_trace_record(struct exit_trace_lane *lane, const struct vcpu_exit *exit, uint64_t left,
                       uint64_t served);

/* The vCPU has ended; engine_ns: how long it was in the engine. Its thread. */
void exit_trace_close_lane(struct exit_trace_lane *lane, uint64_t engine_ns);

/*
 * Writes what is left and the totals, closes the file, and warns of exits that were lost. After
 * the vCPUs' threads have ended. May be called again.
 */
void exit_trace_finish(struct exit_trace *trace);

/* Exits that were noted, and that were lost, on all vCPUs. After exit_trace_finish. */
uint64_t exit_trace_records(const struct exit_trace *trace);
uint64_t exit_trace_lost(const struct exit_trace *trace);

#endif
