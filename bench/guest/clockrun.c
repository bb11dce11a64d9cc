// Runs a command and says, on file descriptor 3, when it begins and what it took by this machine's
// monotonic clock. Lines: "bench: begin NAME" and "bench: end NAME NANOSECONDS STATUS".
// Runs in the guest, and on the host for comparison; statically linked.
// usage: clockrun NAME COMMAND [ARGUMENT]...

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MARKS = 3, STATUS_NO_CHILD = 126, STATUS_NO_COMMAND = 127 };

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static int run(char **command)
{
    pid_t child = fork();
    if (child == 0) {
        execvp(command[0], command);
        perror(command[0]);
        _exit(STATUS_NO_COMMAND);
    }
    int status;
    if (child < 0 || waitpid(child, &status, 0) != child) {
        return STATUS_NO_CHILD;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: clockrun NAME COMMAND [ARGUMENT]...\n");
        return 2;
    }
    if (fcntl(MARKS, F_SETFD, FD_CLOEXEC) != 0) {
        perror("clockrun: file descriptor 3");
        return 2;
    }
    dprintf(MARKS, "bench: begin %s\n", argv[1]);
    uint64_t begin = now_ns();
    int status = run(argv + 2);
    uint64_t taken = now_ns() - begin;
    dprintf(MARKS, "bench: end %s %llu %d\n", argv[1], (unsigned long long)taken, status);
    return status;
}
