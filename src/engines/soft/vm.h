/*
 * What the vCPUs of one software VM share: memory, code tracking, the exclusive section.
 *
 * Owner:   the engine_vm; created before vCPUs, destroyed after them.
 * Thread:  noted at the fields.
 */
#ifndef TRAPEZE_ENGINES_SOFT_VM_H
#define TRAPEZE_ENGINES_SOFT_VM_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "engines/soft/cpu.h"
#include "engines/soft/options.h"

#define SOFT_VCPUS_MAX     64
#define SOFT_PHYSICAL_BITS 40

struct perf_map;
struct code_trace;
struct thunk_cache; /* thunk.h: native code for vector instructions */

struct soft_vm {
    struct soft_options options; /* constant */
    struct guestmem *memory;
    uint64_t tsc_hz;
    uint64_t tsc_origin; /* the host's TSC when the guest's was 0: one for all vCPUs */
    unsigned int vcpu_count;
    bool traps_all;                                  /* ENGINE_TRAP_ALL; constant */
    _Atomic(struct soft_cpu *) cpus[SOFT_VCPUS_MAX]; /* set by each vCPU's thread */
    pthread_mutex_t cpus_lock; /* held while a vCPU appears, goes, or is looked at by another */

    /* code.h: for each slot an array with one word a page; bit n: code decoded from granule n. */
    _Atomic(uint64_t) *code_granules[GUESTMEM_SLOTS_MAX];
    pthread_mutex_t code_marks_lock; /* after exclusive_lock, before cpus_lock */
    atomic_bool code_marks_changing; /* set and cleared under it */

    /* exclusive.h */
    pthread_mutex_t exclusive_lock;
    atomic_bool exclusive_wanted;
    bool has_membarrier;

    struct thunk_cache *thunks;

    struct perf_map *perf_map;       /* translate/perf_map.h; NULL: not wanted, or not to be had */
    struct code_trace *code_trace;   /* translate/trace.h; likewise */
    atomic_bool interpretation_told; /* that there is no translator: once is enough */
};

#endif
