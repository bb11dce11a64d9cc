/*
 * differential_test [--seed N] [--cases N] [--seconds N] [--only OPERATION] [--corpus DIR]
 *                   [--verbose]
 *
 * Replays the corpus, then makes up cases. The work is done in a child process, so that a case that
 * kills or hangs it is reported like any other difference.
 */
#include <dirent.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "differential.h"

#define CASES_DEFAULT      400000
#define DIFFERENCES_SHOWN  10
#define HANG_SECONDS       30
#define SEED_DEFAULT       UINT64_C(20240607)
#define OUTCOMES_TO_REPORT 32

struct options {
    uint64_t seed, cases, seconds;
    enum x86_operation only;
    const char *corpus;
    bool verbose;
};

/* Shared with the parent. */
struct progress {
    volatile uint64_t cases;
    volatile bool running; /* what: the case that is being run */
    struct differential_case what;
    unsigned int passed, failed, skipped;
    uint64_t outcomes[OUTCOMES_TO_REPORT]; /* by vector + 3, of the native runs */
};

struct tester {
    struct options options;
    struct progress *progress;
    struct differential_soft *soft;
    struct differential_forms *forms;
    struct differential_outcome start, native, soft_end[DIFFERENTIAL_VCPUS];
    unsigned int differences;
};

/* --- one case --- */

static bool agree(struct tester *tester, const struct differential_case *what, FILE *to)
{
    static const char *const names[] = {"blocks and tier 1", "single steps"};
    bool equal = true;
    differential_start(what, &tester->start);
    differential_native_run(what, &tester->start, &tester->native);
    if (differential_is_open(what, &tester->start, &tester->native)) {
        return true;
    }
    for (unsigned int i = 0; i < DIFFERENTIAL_VCPUS; i++) {
        differential_soft_run(tester->soft, (enum differential_vcpu)i, what, &tester->start,
                              &tester->soft_end[i]);
        if (!differential_compare(what, &tester->native, &tester->soft_end[i], NULL)) {
            equal = false;
            if (to != NULL) {
                fprintf(to, " %s:\n", names[i]);
                differential_compare(what, &tester->native, &tester->soft_end[i], to);
            }
        }
    }
    return equal;
}

/* Replaces what the difference does not need by NOPs, so that all else keeps its place. */
static void make_smaller(struct tester *tester, struct differential_case *what)
{
    for (unsigned int i = 0; i + 1 < what->count; i++) {
        struct differential_case less = *what;
        memset(less.code + less.instructions[i].offset, 0x90, less.instructions[i].length);
        if (!agree(tester, &less, NULL)) {
            *what = less;
        }
    }
}

static void report(struct tester *tester, const struct differential_case *found)
{
    struct differential_case what = *found;
    tester->differences++;
    if (tester->differences > DIFFERENCES_SHOWN) {
        return;
    }
    if (agree(tester, &what, NULL)) {
        fprintf(stderr, "a difference that did not happen again:\n");
        differential_show(&what, stderr);
        return;
    }
    make_smaller(tester, &what);
    fprintf(stderr, "difference in ");
    differential_show(&what, stderr);
    agree(tester, &what, stderr);
    if (tester->options.corpus != NULL) {
        char path[512];
        snprintf(path, sizeof(path), "%s/found-%016" PRIx64, tester->options.corpus, what.seed);
        if (differential_write(path, &what)) {
            fprintf(stderr, "  written to %s\n", path);
        }
    }
}

static bool try_case(struct tester *tester, const struct differential_case *what)
{
    struct progress *progress = tester->progress;
    progress->what = *what;
    progress->running = true;
    bool good = agree(tester, what, NULL);
    progress->running = false;
    progress->cases++;
    unsigned int outcome = (unsigned int)(tester->native.vector + 3);
    if (outcome < OUTCOMES_TO_REPORT) {
        progress->outcomes[outcome]++;
    }
    if (!good) {
        report(tester, what);
    }
    return good;
}

/* --- the corpus --- */

static void replay(struct tester *tester)
{
    const char *directory = tester->options.corpus;
    struct dirent **entries;
    int count = directory == NULL ? 0 : scandir(directory, &entries, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        char path[512];
        struct differential_case what;
        snprintf(path, sizeof(path), "%s/%s", directory, entries[i]->d_name);
        bool is_case = entries[i]->d_name[0] != '.';
        free(entries[i]);
        if (is_case && CHECK(differential_read(path, &what)) && !CHECK(try_case(tester, &what))) {
            fprintf(stderr, "  in %s\n", path);
        }
    }
    if (count > 0) {
        free(entries);
    }
}

/* --- the tester itself --- */

typedef void spoil(struct differential_outcome *outcome);

static void spoil_register(struct differential_outcome *outcome)
{
    outcome->registers.gpr[X86_RBX] ^= 1;
}

static void spoil_flag(struct differential_outcome *outcome)
{
    outcome->registers.rflags ^= X86_FLAGS_AF;
}

static void spoil_vector(struct differential_outcome *outcome)
{
    outcome->registers.ymm[7][31] ^= 0x80;
}

static void spoil_x87(struct differential_outcome *outcome)
{
    outcome->registers.x87[32 + 16 * 3] ^= 1;
}

static void spoil_mxcsr(struct differential_outcome *outcome)
{
    outcome->registers.x87[DIFFERENTIAL_X87_MXCSR] ^= 1;
}

static void spoil_memory(struct differential_outcome *outcome)
{
    outcome->memory.data[4][4095] ^= 1;
}

static void spoil_vector_number(struct differential_outcome *outcome)
{
    outcome->vector = outcome->vector == X86_VECTOR_UD ? X86_VECTOR_GP : X86_VECTOR_UD;
}

static void spoil_rip(struct differential_outcome *outcome)
{
    outcome->registers.rip++;
}

/* Each thing that is compared, made different, must be seen; and so must a wrong instruction. */
static void test_itself(struct tester *tester)
{
    static spoil *const spoils[] = {spoil_register, spoil_flag,   spoil_vector,        spoil_x87,
                                    spoil_mxcsr,    spoil_memory, spoil_vector_number, spoil_rip};
    struct differential_case what;
    differential_generate(tester->forms, 1, &what);
    CHECK(agree(tester, &what, stderr));
    for (size_t i = 0; i < sizeof(spoils) / sizeof(spoils[0]); i++) {
        struct differential_outcome spoiled = tester->soft_end[0];
        spoils[i](&spoiled);
        CHECK(!differential_compare(&what, &tester->native, &spoiled, NULL));
    }
    /* add rbx, 1 natively, sub rbx, -1 in the guest: the flags differ */
    struct differential_case add = {.seed = 1,
                                    .start = DIFFERENTIAL_CODE,
                                    .length = 9,
                                    .code = {0x48, 0x83, 0xc3, 0x01, 0xe9, 0xf7, 0xaf, 0xf3, 0x08}};
    struct differential_case subtract = add;
    subtract.code[2] = 0xeb;
    subtract.code[3] = 0xff;
    differential_split(&add);
    CHECK(agree(tester, &add, NULL));
    CHECK_EQUAL(tester->native.vector, DIFFERENTIAL_ENDED);
    CHECK_EQUAL(tester->native.registers.gpr[X86_RBX], tester->start.registers.gpr[X86_RBX] + 1);
    differential_start(&subtract, &tester->start);
    differential_soft_run(tester->soft, DIFFERENTIAL_FULL, &subtract, &tester->start,
                          &tester->soft_end[0]);
    CHECK(!differential_compare(&add, &tester->native, &tester->soft_end[0], NULL));
}

/* --- many cases --- */

static uint64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec;
}

/* A check for each thousand of them. */
static void make_up(struct tester *tester)
{
    const struct options *options = &tester->options;
    struct differential_random seeds = {options->seed};
    uint64_t end = now() + options->seconds;
    bool more = true;
    for (uint64_t done = 0; more;) {
        bool good = true;
        for (unsigned int i = 0; i < 1000; i++) {
            struct differential_case what;
            differential_generate(tester->forms, differential_bits(&seeds), &what);
            good &= try_case(tester, &what);
        }
        CHECK(good);
        done += 1000;
        more = (options->seconds != 0 ? now() < end : done < options->cases) &&
               tester->differences < 10 * DIFFERENCES_SHOWN;
    }
}

static void show_outcomes(const struct progress *progress)
{
    printf("%" PRIu64 " cases;", progress->cases);
    for (int i = 0; i < OUTCOMES_TO_REPORT; i++) {
        if (progress->outcomes[i] != 0) {
            printf(i < 3 ? " ended(%d) %" PRIu64 : " #%d %" PRIu64, i - 3, progress->outcomes[i]);
        }
    }
    printf("\n");
}

static void work(struct tester *tester)
{
    struct error error = {0};
    if (!differential_native_setup()) {
        SKIP("this host cannot run cases natively");
        return;
    }
    if (!CHECK(differential_soft_create(&tester->soft, &error) == 0)) {
        fprintf(stderr, "%s\n", error.text);
        return;
    }
    differential_native_handlers();
    tester->forms =
        differential_forms_create(differential_soft_cpuid(tester->soft), tester->options.only);
    if (CHECK(tester->forms != NULL)) {
        test_itself(tester);
        replay(tester);
        make_up(tester);
        differential_forms_destroy(tester->forms);
    }
    differential_soft_destroy(tester->soft);
    if (tester->differences > 0) {
        fprintf(stderr, "%u differences\n", tester->differences);
    }
    if (tester->options.verbose) {
        show_outcomes(tester->progress);
    }
}

/* --- the two processes --- */

static int child(struct tester *tester)
{
    work(tester);
    tester->progress->passed = check_passed;
    tester->progress->failed = check_failed;
    tester->progress->skipped = check_skipped;
    fflush(NULL);
    return 0;
}

/* Waits for the child; kills it when a case takes for ever. Its wait status. */
static int watch(pid_t process, const struct progress *progress)
{
    uint64_t cases = 0, since = now();
    int status;
    while (waitpid(process, &status, WNOHANG) == 0) {
        usleep(20000);
        if (progress->cases != cases || !progress->running) {
            cases = progress->cases;
            since = now();
        } else if (now() - since > HANG_SECONDS) {
            fprintf(stderr, "a case hangs\n");
            kill(process, SIGKILL);
            waitpid(process, &status, 0);
            return status;
        }
    }
    return status;
}

static enum x86_operation operation_named(const char *name)
{
    for (int i = 1; i < X86_OP_COUNT; i++) {
        if (strcmp(x86_operation_name((enum x86_operation)i), name) == 0) {
            return (enum x86_operation)i;
        }
    }
    fprintf(stderr, "no operation is called %s\n", name);
    exit(2);
}

static void parse(int argc, char **argv, struct options *options)
{
    static const struct option names[] = {{"seed", required_argument, NULL, 's'},
                                          {"cases", required_argument, NULL, 'n'},
                                          {"seconds", required_argument, NULL, 't'},
                                          {"only", required_argument, NULL, 'o'},
                                          {"corpus", required_argument, NULL, 'c'},
                                          {"verbose", no_argument, NULL, 'v'},
                                          {NULL, 0, NULL, 0}};
    int option;
    while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
        switch (option) {
        case 's':
            options->seed = strtoull(optarg, NULL, 0);
            break;
        case 'n':
            options->cases = strtoull(optarg, NULL, 0);
            break;
        case 't':
            options->seconds = strtoull(optarg, NULL, 0);
            break;
        case 'o':
            options->only = operation_named(optarg);
            break;
        case 'c':
            options->corpus = optarg;
            break;
        case 'v':
            options->verbose = true;
            break;
        default:
            exit(2);
        }
    }
}

int main(int argc, char **argv)
{
    static struct tester tester;
    tester.options = (struct options){.seed = SEED_DEFAULT, .cases = CASES_DEFAULT};
    parse(argc, argv, &tester.options);
    struct progress *progress =
        mmap(NULL, sizeof(*progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (progress == MAP_FAILED) {
        perror("mmap");
        return 1;
    }
    tester.progress = progress;
    pid_t process = fork();
    if (process < 0) {
        perror("fork");
        return 1;
    }
    if (process == 0) {
        return child(&tester);
    }
    int status = watch(process, progress);
    check_passed = progress->passed;
    check_failed = progress->failed;
    check_skipped = progress->skipped;
    if (!CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0)) {
        fprintf(stderr, "the process that ran the cases ended with status 0x%x%s\n", status,
                progress->running ? ", in this case:" : "");
        if (progress->running) {
            differential_show(&progress->what, stderr);
        }
    }
    return check_summary();
}
