/*
 * soak KERNEL INITRD COMMAND-LINE CPUS MIB ENGINE-ARGUMENTS KICK-US
 *
 * Runs a guest on the soft engine and disturbs it: each vCPU is kicked out of the engine again and
 * again. The guest's console is our output; what it says is judged by scripts/soak.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "backends/console.h"
#include "engines/soft/soft.h"
#include "machine/machine.h"

struct disturber {
    struct vm *vm;
    pthread_t thread;
    long pause_us;
    atomic_bool over;
    uint64_t kicks;
};

static int complain(const char *what, const struct error *error)
{
    fprintf(stderr, "soak: %s: %s\n", what, error->text);
    return 1;
}

static void *disturb(void *context)
{
    struct disturber *disturber = context;
    struct vm *vm = disturber->vm;
    const struct timespec pause = {.tv_nsec = disturber->pause_us * 1000};
    while (!disturber->over) {
        pthread_mutex_lock(&vm->lock);
        for (unsigned int i = 0; i < vm->vcpu_count; i++) {
            if (vm->vcpus[i].engine_vcpu != NULL) {
                vm->engine->kick(vm->vcpus[i].engine_vcpu);
                disturber->kicks++;
            }
        }
        pthread_mutex_unlock(&vm->lock);
        nanosleep(&pause, NULL);
    }
    return NULL;
}

static int run(struct machine *machine, long pause_us)
{
    struct disturber disturber = {.vm = machine_vm(machine), .pause_us = pause_us};
    struct machine_result result;
    struct error error;
    if (machine_start(machine, &error) != 0) {
        return complain("start", &error);
    }
    bool disturbs = pause_us > 0;
    if (disturbs && pthread_create(&disturber.thread, NULL, disturb, &disturber) != 0) {
        fprintf(stderr, "soak: no thread\n");
        disturbs = false;
    }
    machine_wait(machine, &result);
    if (disturbs) {
        disturber.over = true;
        pthread_join(disturber.thread, NULL);
    }
    machine_print_stats(machine, stderr);
    fprintf(stderr, "soak: %llu kicks; outcome %d, code %d %s\n",
            (unsigned long long)disturber.kicks, (int)result.outcome, result.code, result.text);
    return result.outcome == VM_POWERED_OFF ? 0 : 1;
}

int main(int argc, char **argv)
{
    struct console *console;
    struct machine *machine;
    struct error error;
    if (argc != 8) {
        fprintf(stderr, "usage: soak KERNEL INITRD COMMAND-LINE CPUS MIB ENGINE-ARGUMENTS "
                        "KICK-US\n");
        return 2;
    }
    if (console_open("stdio", &console, &error) != 0) {
        return complain("console", &error);
    }
    struct machine_options options = {.engine = &soft_engine,
                                      .engine_arguments = argv[6],
                                      .memory_bytes = strtoull(argv[5], NULL, 10) << 20,
                                      .vcpu_count = (unsigned int)strtoul(argv[4], NULL, 10),
                                      .console = console};
    if (machine_create(&options, &machine, &error) != 0) {
        return complain("machine", &error);
    }
    const struct boot_request request = {.kernel = argv[1],
                                         .initrd = argv[2],
                                         .command_line = argv[3],
                                         .protocol = BOOT_PROTOCOL_DETECT};
    int status = machine_load(machine, &request, &error);
    status = status != 0 ? complain("load", &error) : run(machine, strtol(argv[7], NULL, 10));
    machine_destroy(machine);
    console_close(console);
    return status;
}
