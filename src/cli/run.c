/* `trapeze run`: boots a guest and says how it ended. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/backend.h"
#include "backends/console.h"
#include "base/host_file.h"
#include "base/log.h"
#include "cli/choose_engine.h"
#include "cli/command.h"
#include "cli/crash_report.h"
#include "cli/dump_state.h"
#include "cli/engine_arguments.h"
#include "cli/notice.h"
#include "cli/outcome_report.h"
#include "cli/run_options.h"
#include "cli/watch.h"
#include "machine/machine.h"
#include "vm/exit_trace.h"

/* ---- help ---- */

static void help(FILE *out)
{
    fputs("Usage: trapeze run --kernel FILE [OPTION]...\n"
          "       trapeze run --flat FILE [--mode MODE] [--at ADDRESS] [OPTION]...\n"
          "\n"
          "Runs a guest in a virtual machine and ends with an exit code that says how it went.\n"
          "\n"
          "Options:\n",
          out);
    options_print(run_option_table, out);
    fputs("\nConsoles:\n", out);
    for (unsigned int i = 0; backend_table[i] != NULL; i++) {
        fprintf(out, "  %-10s  %s\n", backend_table[i]->syntax, backend_table[i]->summary);
    }
    fputs("\nEngines:\n  auto        the fastest of those below on this host\n", out);
    for (unsigned int i = 0; engine_table[i] != NULL; i++) {
        fprintf(out, "  %-10s  %s\n", engine_table[i]->name, engine_table[i]->summary);
    }
    fputs("\nKeys, where the console is a terminal:\n"
          "  Ctrl-A x       ends the run\n"
          "  Ctrl-A p       pauses the guest, and lets it go on\n"
          "  Ctrl-A Ctrl-A  sends one Ctrl-A to the guest\n"
          "  Ctrl-A h       lists these\n"
          "\nSIGUSR1 prints what --stats prints.\n"
          "\nExit codes:\n",
          out);
    outcome_print_codes(out);
    fputs(
        "\nExamples:\n"
        "  trapeze run --kernel vmlinuz --initrd initrd.gz --append 'console=ttyS0 quiet'\n"
        "  trapeze run --kernel vmlinuz --memory 2G --cpus 4 --console file:boot.log --timeout 60\n"
        "  trapeze run --flat hello.bin --mode long --at 0x100000 --engine soft --stats\n",
        out);
}

/* ---- a run ---- */

/* While the guest runs. At the end they are printed whatever time that takes. */
static void print_stats_now(void *context)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (out == NULL) {
        log_warn("no memory for the statistics");
        return;
    }
    machine_print_stats(context, out);
    if (fclose(out) == 0) {
        notice_print(text);
    }
    free(text);
}

static void ended_by_signal(void *context, int number)
{
    char text[32];
    snprintf(text, sizeof(text), "SIG%s", sigabbrev_np(number));
    machine_stop(context, VM_QUIT, number, text);
}

static void pause_machine(void *context, bool pause)
{
    machine_pause(context, pause);
}

static void timed_out(void *context)
{
    machine_stop(context, VM_TIMED_OUT, 0, NULL);
}

static int load(const struct run_options *options, struct machine *machine, struct error *error)
{
    struct boot_module modules[BOOT_MODULES_MAX] = {{.path = NULL}};
    struct boot_request request = {
        .kernel = options->kernel,
        .command_line = options->command_line,
        .initrd = options->initrd_count > 0 ? options->initrds[0] : NULL,
        .modules = modules,
        .protocol = BOOT_PROTOCOL_DETECT,
    };
    if (options->flat != NULL) {
        request.kernel = options->flat;
        request.protocol = BOOT_PROTOCOL_FLAT;
        request.flat_mode = options->mode;
        request.flat_address = options->address;
    }
    for (unsigned int i = 1; i < options->initrd_count; i++) {
        modules[request.module_count++].path = options->initrds[i];
    }
    return machine_load(machine, &request, error);
}

/* An error that the person can do something about by giving other options or files. */
static int exit_code_of(int result)
{
    static const int of_the_host[] = {ENOMEM, EIO, ENODEV, EMFILE, ENFILE, EAGAIN};
    for (unsigned int i = 0; i < sizeof(of_the_host) / sizeof(of_the_host[0]); i++) {
        if (result == -of_the_host[i]) {
            return EXIT_CODE_MONITOR_ERROR;
        }
    }
    return EXIT_CODE_USAGE;
}

static void dump_state(const struct run_options *options, const struct vm *vm,
                       enum vm_outcome outcome)
{
    if (options->dump_state != NULL) {
        dump_state_write(vm, outcome, options->dump_state);
    }
}

/* After the terminal is restored: the table, the report, and as the last line the outcome. */
static int report(const struct run_options *options, struct machine *machine,
                  const struct machine_result *result)
{
    struct vm *vm = machine_vm(machine);
    if (options->print_stats) {
        machine_print_stats(machine, stderr);
    }
    if (crash_report_is_due(vm, result->outcome)) {
        crash_report_print(vm, vm->outcome_vcpu < vm->vcpu_count ? vm->outcome_vcpu : 0, stderr);
    }
    dump_state(options, vm, result->outcome);
    char sentence[700];
    outcome_sentence(result->outcome, result->code, result->text, sentence, sizeof(sentence));
    print_problem(sentence);
    return outcome_exit_code(result->outcome, result->code);
}

/* The signals are watched until all is printed: the terminal may be one that takes nothing. */
static int run_loaded(const struct run_options *options, struct machine *machine,
                      struct console *console)
{
    struct watch watch = {.timeout_ns = options->timeout_ns,
                          .ended = ended_by_signal,
                          .timed_out = timed_out,
                          .print_stats = print_stats_now,
                          .pause = pause_machine,
                          .context = machine};
    struct error error;
    if (watch_start(&watch, &error) != 0) {
        print_problem(error.text);
        return EXIT_CODE_MONITOR_ERROR;
    }
    int exit_code;
    int code = machine_start(machine, &error);
    if (code == 0) {
        struct machine_result result;
        machine_wait(machine, &result);
        exit_code = report(options, machine, &result);
    } else {
        console_finish(console, &(struct error){{0}});
        dump_state(options, machine_vm(machine), VM_ENGINE_FAILED);
        print_problem(error.text);
        /* Which CPUs of the host there are for a thread, only its start tells. */
        exit_code = code == -EINVAL && options->affinity_count != 0 ? EXIT_CODE_USAGE
                                                                    : EXIT_CODE_MONITOR_ERROR;
    }
    watch_stop(&watch);
    return exit_code;
}

/* trace: NULL if exits are not traced. */
static int run_machine(const struct run_options *options, const struct engine_ops *engine,
                       struct console *console, struct exit_trace *trace)
{
    struct error error;
    struct machine *machine;
    char arguments[ENGINE_ARGUMENTS_MAX];
    if (engine_arguments_compose(options, engine->name, arguments, sizeof(arguments), &error) !=
        0) {
        print_problem(error.text);
        return EXIT_CODE_USAGE;
    }
    struct machine_options machine_options = {.engine = engine,
                                              .engine_arguments = arguments,
                                              .trap = options->trap,
                                              .cpu = options->cpu,
                                              .memory_bytes = options->memory_bytes,
                                              .vcpu_count = options->vcpu_count,
                                              .affinity = options->affinity,
                                              .affinity_count = options->affinity_count,
                                              .debug_exit_port = options->debug_exit_port,
                                              .has_test_device = options->has_test_device,
                                              .console = console,
                                              .trace = trace};
    int code = machine_create(&machine_options, &machine, &error);
    if (code != 0) {
        print_problem(error.text);
        return code == -EINVAL ? EXIT_CODE_USAGE : EXIT_CODE_MONITOR_ERROR;
    }
    int exit_code;
    code = load(options, machine, &error);
    if (code != 0) {
        print_problem(error.text);
        exit_code = exit_code_of(code);
    } else {
        exit_code = run_loaded(options, machine, console);
    }
    machine_destroy(machine);
    return exit_code;
}

/*
 * The console's file is emptied: it must be none of those that are read, nor what else is written.
 * A trace that is not there yet is found to be the same only when the console's file is.
 */
static int check_console_file(const struct run_options *options, struct error *error)
{
    static const char kind[] = "file:";
    if (strncmp(options->console, kind, sizeof(kind) - 1) != 0) {
        return 0;
    }
    const char *path = options->console + sizeof(kind) - 1;
    const char *const others[] = {options->kernel, options->flat, options->cpu, options->dump_state,
                                  options->trace_exits};
    bool is_taken = false;
    for (unsigned int i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        is_taken = is_taken || (others[i] != NULL && host_file_is_same(path, others[i]));
    }
    for (unsigned int i = 0; i < options->initrd_count; i++) {
        is_taken = is_taken || host_file_is_same(path, options->initrds[i]);
    }
    return is_taken ? error_set(error, EINVAL,
                                "%s cannot be the console's file and something else, too: name "
                                "another",
                                path)
                    : 0;
}

static int run_traced(const struct run_options *options, const struct engine_ops *engine,
                      struct console *console)
{
    struct exit_trace *trace = NULL;
    if (options->trace_exits != NULL) {
        struct error error;
        int code = check_console_file(options, &error);
        if (code == 0) {
            code = exit_trace_create(options->trace_exits, options->vcpu_count, &trace, &error);
        }
        if (code != 0) {
            print_problem(error.text);
            return exit_code_of(code);
        }
    }
    int exit_code = run_machine(options, engine, console, trace);
    exit_trace_destroy(trace);
    return exit_code;
}

/* A file that is not there is told before anything is measured or taken. */
static int check_files(const struct run_options *options, struct error *error)
{
    struct kernel_file file;
    const char *kernel = options->kernel != NULL ? options->kernel : options->flat;
    int code = kernel_file_open(kernel, options->kernel != NULL ? "kernel" : "image", &file, error);
    for (unsigned int i = 0; code == 0 && i < options->initrd_count; i++) {
        kernel_file_close(&file);
        code = kernel_file_open(options->initrds[i], "initrd", &file, error);
    }
    if (code == 0) {
        kernel_file_close(&file);
    }
    if (code == 0 && options->dump_state != NULL) {
        code = dump_state_prepare(options->dump_state, options->trace_exits, error);
    }
    return code == 0 ? check_console_file(options, error) : code;
}

static int run(char **arguments, int count)
{
    struct run_options options;
    struct error error;
    if (run_options_parse(arguments, count, &options, &error) != 0 ||
        check_files(&options, &error) != 0) {
        print_problem(error.text);
        return EXIT_CODE_USAGE;
    }
    if (options.verbosity > 0) {
        log_set_level(options.verbosity == 1 ? LOG_INFO : LOG_DEBUG);
    }
    watch_block_signals();
    const struct engine_ops *engine = choose_engine(options.engine, &error);
    if (engine == NULL) {
        print_problem(error.text);
        return EXIT_CODE_MONITOR_ERROR;
    }
    struct console *console;
    int code = console_open(options.console, &console, &error);
    if (code != 0) {
        print_problem(error.text);
        return exit_code_of(code);
    }
    int exit_code = run_traced(&options, engine, console);
    console_close(console);
    return exit_code;
}

const struct command run_command = {
    .name = "run",
    .summary = "run a guest: a Linux or other kernel, or a flat image",
    .run = run,
    .help = help,
};
