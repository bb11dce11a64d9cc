/*
 * trapeze: a virtual machine monitor. This file finds the command; each has a file of its own.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/options.h"
#include "cli/outcome_report.h"

static const struct command *const commands[] = {&run_command, &probe_command, &report_command,
                                                 &check_state_command, NULL};

static void print_help(FILE *out)
{
    fputs("Usage: trapeze COMMAND [OPTION]...\n"
          "\n"
          "A virtual machine monitor. It boots stock x86-64 kernels and small guests, with KVM or "
          "in\n"
          "software, and says why a guest did not start or stopped.\n"
          "\n"
          "Commands:\n",
          out);
    for (unsigned int i = 0; commands[i] != NULL; i++) {
        fprintf(out, "  %-11s  %s\n", commands[i]->name, commands[i]->summary);
    }
    fputs("\n"
          "  --help         print this; 'trapeze COMMAND --help' tells more\n"
          "  --version      print the version\n"
          "\n"
          "Examples:\n"
          "  trapeze run --kernel vmlinuz --initrd initramfs.cpio.gz --append console=ttyS0\n"
          "  trapeze run --flat hello.bin --mode real --at 0x8000\n"
          "  trapeze probe\n"
          "  trapeze check-state vcpu.state\n",
          out);
}

static bool is_help(const char *argument)
{
    return strcmp(argument, "--help") == 0 || strcmp(argument, "-h") == 0;
}

static const struct command *find_command(const char *name)
{
    for (unsigned int i = 0; commands[i] != NULL; i++) {
        if (strcmp(commands[i]->name, name) == 0) {
            return commands[i];
        }
    }
    return NULL;
}

static int unknown_command(const char *name)
{
    const char *names[sizeof(commands) / sizeof(commands[0])] = {NULL};
    for (unsigned int i = 0; commands[i] != NULL; i++) {
        names[i] = commands[i]->name;
    }
    const char *nearest = nearest_word(name, names);
    char text[256];
    if (nearest != NULL) {
        snprintf(text, sizeof(text), "there is no command '%.64s'; did you mean '%s'?", name,
                 nearest);
    } else {
        snprintf(text, sizeof(text), "there is no command '%.64s'; 'trapeze --help' lists them",
                 name);
    }
    print_problem(text);
    return EXIT_CODE_USAGE;
}

/*
 * A standard descriptor that is closed would be taken by the next file that is opened, and get
 * what was meant for the terminal. Opened the wrong way round it fails as it should.
 */
static void occupy_standard_descriptors(void)
{
    for (int descriptor = 0; descriptor <= STDERR_FILENO; descriptor++) {
        if (fcntl(descriptor, F_GETFD) < 0 &&
            open("/dev/null", descriptor == STDIN_FILENO ? O_WRONLY : O_RDONLY) != descriptor) {
            return; /* nothing to say, and nowhere to say it */
        }
    }
}

/* Help and tables are output like any other: a full disk is told. */
static int check_output(int exit_code)
{
    if ((exit_code == EXIT_CODE_OK || exit_code == EXIT_CODE_RULES_BROKEN) &&
        (fflush(stdout) != 0 || ferror(stdout) != 0)) {
        print_problem("cannot write to standard output");
        return EXIT_CODE_MONITOR_ERROR;
    }
    return exit_code;
}

static int run_command_named(char **arguments, int count)
{
    const struct command *command = find_command(arguments[0]);
    if (command == NULL) {
        return unknown_command(arguments[0]);
    }
    for (int i = 1; i < count; i++) {
        if (is_help(arguments[i])) {
            command->help(stdout);
            return EXIT_CODE_OK;
        }
    }
    return command->run(arguments + 1, count - 1);
}

int main(int count, char **arguments)
{
    occupy_standard_descriptors();
    signal(SIGPIPE, SIG_IGN); /* a reader that is gone is an error of the write */
    if (count < 2) {
        print_help(stderr);
        return EXIT_CODE_USAGE;
    }
    if (is_help(arguments[1])) {
        print_help(stdout);
        return check_output(EXIT_CODE_OK);
    }
    if (strcmp(arguments[1], "help") == 0) {
        const struct command *command = count > 2 ? find_command(arguments[2]) : NULL;
        if (command != NULL) {
            command->help(stdout);
        } else {
            print_help(stdout);
        }
        return check_output(EXIT_CODE_OK);
    }
    if (strcmp(arguments[1], "--version") == 0) {
        printf("trapeze %s\n", TRAPEZE_VERSION);
        return check_output(EXIT_CODE_OK);
    }
    return check_output(run_command_named(arguments + 1, count - 1));
}
