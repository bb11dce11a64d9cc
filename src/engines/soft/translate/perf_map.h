/*
 * Names of translated code for perf: /tmp/perf-PID.map, a line "START SIZE name" a block, in
 * hexadecimal ("perf-map": the format that Linux perf reads for code that is made at run time).
 *
 * Purpose: `perf report` tells which code of the guest the time went to. A block's name is
 *          guest_RIP_user_PHYSICAL or guest_RIP_kernel_PHYSICAL.
 * Owner:   the engine_vm; perf knows one file a process, so the last VM made wins.
 * Thread:  perf_map_add from any; the others while no vCPU runs.
 *
 * It never fails the VM: what goes wrong is said once, and then there is no map.
 */
#ifndef TRAPEZE_ENGINES_SOFT_TRANSLATE_PERF_MAP_H
#define TRAPEZE_ENGINES_SOFT_TRANSLATE_PERF_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct perf_map;

#define PERF_MAP_DIRECTORY "/tmp" /* where perf looks */

/* A file of that name in a directory, written anew. NULL with a warning if it can't be made. */
struct perf_map *perf_map_create(const char *directory);

/* Writes what is left and closes the file, which stays for perf. NULL is allowed. */
void perf_map_destroy(struct perf_map *map);

/*
 * Names a block. NULL is allowed for map.
 *
 * rip, physical: where the guest has it.
 * user:          it runs at CPL 3.
 * host, size:    the executable mapping's bytes.
 */
void perf_map_add(struct perf_map *map, uint64_t rip, uint64_t physical, bool user,
                  const void *host, size_t size);

#endif
