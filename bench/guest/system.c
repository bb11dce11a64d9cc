// Small measures of an operating system's own work, each a number of times; prints the count of
// those that went right.
// usage: system call|fork|exec|pipe|switch|fault COUNT

#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE_BYTES = 4096, FAULT_PAGES = 256, PIPE_BYTES = 4096 };

static long do_call(long count)
{
    long good = 0;
    for (long i = 0; i < count; i++) {
        good += syscall(SYS_getppid) >= 0;
    }
    return good;
}

static int ended_well(pid_t child)
{
    int status;
    return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) &&
           WEXITSTATUS(status) == 0;
}

static long do_fork(long count)
{
    long good = 0;
    for (long i = 0; i < count; i++) {
        pid_t child = fork();
        if (child == 0) {
            _exit(0);
        }
        good += ended_well(child);
    }
    return good;
}

// This program itself is what is executed; with the word "nothing" it does nothing.
static long do_exec(long count)
{
    char *words[] = {"system", "nothing", "0", NULL}, *environment[] = {NULL};
    long good = 0;
    for (long i = 0; i < count; i++) {
        pid_t child = 0;
        posix_spawn(&child, "/proc/self/exe", NULL, NULL, words, environment);
        good += ended_well(child);
    }
    return good;
}

static long do_pipe(long count)
{
    char out[PIPE_BYTES], in[PIPE_BYTES];
    int ends[2];
    long good = 0;
    if (pipe(ends) != 0) {
        return 0;
    }
    for (long i = 0; i < count; i++) {
        memset(out, (int)i, sizeof(out));
        good += write(ends[1], out, sizeof(out)) == sizeof(out) &&
                read(ends[0], in, sizeof(in)) == sizeof(in) && memcmp(out, in, sizeof(in)) == 0;
    }
    return good;
}

// Sends back each byte, until the other end is closed.
static void echo(int from, int to)
{
    char byte;
    while (read(from, &byte, 1) == 1 && write(to, &byte, 1) == 1) {
    }
}

// Two processes hand a byte to and fro: two context switches a round where they share a CPU.
static long do_switch(long count)
{
    int there[2], back[2];
    long good = 0;
    if (pipe(there) != 0 || pipe(back) != 0) {
        return 0;
    }
    pid_t child = fork();
    if (child == 0) {
        close(there[1]);
        echo(there[0], back[1]);
        _exit(0);
    }
    for (long i = 0; i < count; i++) {
        char sent = (char)i, received;
        good +=
            write(there[1], &sent, 1) == 1 && read(back[0], &received, 1) == 1 && sent == received;
    }
    close(there[1]);
    return ended_well(child) ? good : 0;
}

static long do_fault(long count)
{
    size_t bytes = (size_t)FAULT_PAGES * PAGE_BYTES;
    long good = 0;
    for (long i = 0; i < count; i += FAULT_PAGES) {
        char *area = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (area == MAP_FAILED) {
            break;
        }
        madvise(area, bytes, MADV_NOHUGEPAGE);
        for (size_t at = 0; at < bytes; at += PAGE_BYTES) {
            good += area[at]++ == 0;
        }
        munmap(area, bytes);
    }
    return good;
}

static long do_nothing(long count)
{
    return count;
}

static const struct {
    const char *name;
    long (*run)(long count);
} WORK[] = {
    {"call", do_call},     {"fork", do_fork},   {"exec", do_exec},       {"pipe", do_pipe},
    {"switch", do_switch}, {"fault", do_fault}, {"nothing", do_nothing},
};

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; argc == 3 && i < sizeof(WORK) / sizeof(WORK[0]); i++) {
        if (strcmp(argv[1], WORK[i].name) == 0) {
            long count = strtol(argv[2], NULL, 10);
            long good = WORK[i].run(count);
            if (count > 0) { // the executed copy says nothing
                printf("%s %ld\n", argv[1], good);
            }
            return 0;
        }
    }
    fprintf(stderr, "usage: system call|fork|exec|pipe|switch|fault COUNT\n");
    return 2;
}
