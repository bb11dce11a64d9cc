/* The map of translated code for perf: its lines, and that a VM outlives every trouble with it. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "engines/soft/translate/perf_map.h"

static char directory[] = "/tmp/perf-map-test-XXXXXX";
static char path[128];
static char content[1 << 16];

/* The file's length, its beginning in content; -1 if it is not there. */
static long read_file(const char *name)
{
    FILE *file = fopen(name, "r");
    if (file == NULL) {
        return -1;
    }
    size_t length = fread(content, 1, sizeof(content) - 1, file);
    content[length] = '\0';
    fclose(file);
    return (long)length;
}

/* Sends standard error to a file and back; the second returns how many lines came. */
static int saved_stderr;
static char warnings[160];

static void catch_warnings(void)
{
    snprintf(warnings, sizeof(warnings), "%s/warnings", directory);
    int descriptor = open(warnings, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    saved_stderr = dup(STDERR_FILENO);
    dup2(descriptor, STDERR_FILENO);
    close(descriptor);
}

static unsigned int caught_warnings(void)
{
    unsigned int lines = 0;
    dup2(saved_stderr, STDERR_FILENO);
    close(saved_stderr);
    read_file(warnings);
    for (const char *at = content; (at = strchr(at, '\n')) != NULL; at++) {
        lines++;
    }
    unlink(warnings);
    return lines;
}

static void test_lines(void)
{
    struct perf_map *map = perf_map_create(directory);
    CHECK(map != NULL);
    perf_map_add(map, 0xffffffff81000040, 0x1000040, false, (const void *)0x7f0000001000, 0x1f0);
    perf_map_add(map, 0x401000, 0x1234000, true, (const void *)0x7f0000001200, 16);
    perf_map_destroy(map);
    CHECK(read_file(path) > 0);
    CHECK(strcmp(content, "7f0000001000 1f0 guest_ffffffff81000040_kernel_1000040\n"
                          "7f0000001200 10 guest_401000_user_1234000\n") == 0);
}

/* perf must not see blocks of a process that had the same number before. */
static void test_anew(void)
{
    struct perf_map *map = perf_map_create(directory);
    perf_map_destroy(map);
    CHECK_EQUAL(read_file(path), 0);
}

/* In everybody's directory others may have laid a link: its target stays as it is. */
static void test_link(void)
{
    char target[160];
    struct stat status;
    snprintf(target, sizeof(target), "%s/target", directory);
    FILE *file = fopen(target, "w");
    fputs("precious", file);
    fclose(file);
    unlink(path);
    CHECK_EQUAL(symlink(target, path), 0);
    struct perf_map *map = perf_map_create(directory);
    perf_map_add(map, 1, 2, true, &status, 3);
    perf_map_destroy(map);
    CHECK(read_file(target) == 8 && strcmp(content, "precious") == 0);
    CHECK(lstat(path, &status) == 0 && S_ISREG(status.st_mode));
    unlink(target);
    unlink(path);
}

static void test_no_file(void)
{
    catch_warnings();
    struct perf_map *map = perf_map_create("/nonexistent/directory");
    perf_map_add(map, 1, 2, true, &map, 3);
    perf_map_destroy(map);
    bool none = map == NULL;
    unsigned int lines = caught_warnings();
    CHECK(none);
    CHECK_EQUAL(lines, 1);

    /* Something there that can't be taken away. */
    CHECK_EQUAL(mkdir(path, 0700), 0);
    catch_warnings();
    map = perf_map_create(directory);
    none = map == NULL;
    lines = caught_warnings();
    CHECK(none);
    CHECK_EQUAL(lines, 1);
    rmdir(path);

    char name[400];
    memset(name, 'x', sizeof(name));
    name[sizeof(name) - 1] = '\0';
    catch_warnings();
    map = perf_map_create(name);
    none = map == NULL;
    lines = caught_warnings();
    CHECK(none);
    CHECK_EQUAL(lines, 1);
}

/* A full disk, in the middle and at the end: one warning. */
static void test_full(unsigned int blocks)
{
    struct rlimit before, small = {.rlim_cur = 8192, .rlim_max = RLIM_INFINITY};
    getrlimit(RLIMIT_FSIZE, &before);
    small.rlim_max = before.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    catch_warnings();
    struct perf_map *map = perf_map_create(directory);
    setrlimit(RLIMIT_FSIZE, &small);
    for (unsigned int i = 0; i < blocks; i++) {
        perf_map_add(map, i, i, true, &small, 16);
    }
    perf_map_destroy(map);
    setrlimit(RLIMIT_FSIZE, &before);
    CHECK_EQUAL(caught_warnings(), 1);
    CHECK_EQUAL(read_file(path), 8192);
}

#define THREADS            4
#define BLOCKS_OF_A_THREAD 300

static void *add_blocks(void *map)
{
    for (unsigned int i = 0; i < BLOCKS_OF_A_THREAD; i++) {
        perf_map_add(map, 0x401000, 0x1234000, true, (const void *)0x7f0000001200, 16);
    }
    return NULL;
}

/* vCPUs translate at the same time; lines stay whole. */
static void test_threads(void)
{
    static const char line[] = "7f0000001200 10 guest_401000_user_1234000\n";
    struct perf_map *map = perf_map_create(directory);
    pthread_t threads[THREADS];
    for (unsigned int i = 0; i < THREADS; i++) {
        pthread_create(&threads[i], NULL, add_blocks, map);
    }
    for (unsigned int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    perf_map_destroy(map);
    CHECK_EQUAL(read_file(path), THREADS * BLOCKS_OF_A_THREAD * strlen(line));
    bool whole = true;
    for (const char *at = content; *at != '\0' && whole; at += strlen(line)) {
        whole = strncmp(at, line, strlen(line)) == 0;
    }
    CHECK(whole);
}

int main(void)
{
    CHECK(mkdtemp(directory) != NULL);
    snprintf(path, sizeof(path), "%s/perf-%ld.map", directory, (long)getpid());
    test_lines();
    test_anew();
    test_link();
    test_no_file();
    test_full(100000); /* more than is buffered */
    test_full(1000);   /* all still buffered when the map is closed */
    test_threads();
    unlink(path);
    CHECK_EQUAL(rmdir(directory), 0);
    return check_summary();
}
