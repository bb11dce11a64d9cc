/*
 * What `trapeze run` was asked for.
 *
 * Owner:   the run command; strings point into the argument vector.
 * Thread:  the first one.
 */
#ifndef TRAPEZE_CLI_RUN_OPTIONS_H
#define TRAPEZE_CLI_RUN_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "boot/request.h"
#include "cli/options.h"
#include "vm/vm.h"

#define ENGINE_NAME_MAX 16

/* The engine that --code-cache, --perf-map and --trace code are for: the one that translates code.
 */
#define ENGINE_WITH_CODE "soft"

/* The engine that --irqchip is for: the one that may leave interrupt controllers to the kernel. */
#define ENGINE_WITH_IRQCHIP "kvm"

struct run_options {
    const char *kernel; /* NULL with flat */
    const char *flat;   /* NULL with kernel */
    enum boot_mode mode;
    bool mode_given;
    uint64_t address;
    bool address_given;
    const char *initrds[BOOT_MODULES_MAX + 1];
    unsigned int initrd_count;
    const char *command_line; /* NULL: empty */

    uint64_t memory_bytes;
    unsigned int vcpu_count;
    unsigned int affinity[VM_VCPUS_MAX]; /* the host's CPUs for vCPUs, in turn */
    unsigned int affinity_count;         /* 0: any */
    const char *cpu;                     /* a model of machine/cpu_model.h, or NULL */
    char engine[ENGINE_NAME_MAX];        /* "auto", or a name in the engine table */
    const char *engine_arguments;        /* "key=value,…", or NULL */
    const char *code_cache;              /* a valid size, as typed; NULL: not given */
    bool perf_map;
    enum engine_trap trap;
    const char *irqchip; /* kernel, split or none; NULL: not given */
    bool trace_code;
    const char *trace_exits; /* a file, or NULL */
    uint16_t debug_exit_port;
    bool has_test_device;
    const char *console;

    uint64_t timeout_ns; /* 0: none */
    bool print_stats;
    const char *dump_state; /* a path, or NULL */
    int verbosity;          /* how often -v was given */
};

extern const struct option run_option_table[];

/* Fills in *options from the arguments. -EINVAL with one line that says what to do. */
int run_options_parse(char **arguments, int count, struct run_options *options,
                      struct error *error);

#endif
