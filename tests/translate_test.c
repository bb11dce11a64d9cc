/*
 * translate_test [--seed N] [--programs N] [--seconds N] [--corpus DIR] [--expected ARGUMENTS]
 *                [--actual ARGUMENTS] [--cpus N] [--ignore-flags MASK] [--steps] [--disturb]
 *                [--trap] [--verbose] [--show SEED]
 *
 * Random programs (program.h) on the soft engine, interpreted and translated: replays the corpus,
 * then makes up programs. A program that differs is made smaller, shown, and written to the corpus.
 */
#include <dirent.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "check.h"
#include "program.h"

#define PROGRAMS_DEFAULT  10000
#define SEED_DEFAULT      UINT64_C(20261123)
#define DIFFERENCES_SHOWN 5

/* What is endless to the expected side is not compared; the other side gets much more time. */
#define EXPECTED_PATIENCE_MS 500
#define ACTUAL_PATIENCE_MS   20000

struct options {
    uint64_t seed, programs, seconds;
    const char *corpus, *expected, *actual;
    uint64_t ignored_flags; /* of those that exceptions save */
    unsigned int cpus;
    bool steps, disturb, trap, verbose, shows;
};

struct tester {
    struct options options;
    struct differential_forms *forms;
    struct program_machine *expected, *actual;
    struct program_outcome expected_outcome, actual_outcome;
    struct program_tolerance tolerance;
    unsigned int differences;
    uint64_t ends[PROGRAM_FAILED + 1], records[32], interrupts, open;
};

/* --- one program --- */

static bool agree(struct tester *tester, const struct program *program, FILE *to)
{
    program_machine_run(tester->expected, program, &tester->expected_outcome);
    if (tester->expected_outcome.end == PROGRAM_ENDLESS) {
        return true; /* it has destroyed its way out */
    }
    program_machine_run(tester->actual, program, &tester->actual_outcome);
    return program_compare(&tester->expected_outcome, &tester->actual_outcome, &tester->tolerance,
                           to);
}

/* Whether the expected side agrees with itself: else it tells the time, or the like. */
static bool is_stable(struct tester *tester, const struct program *program)
{
    static struct program_outcome again;
    program_machine_run(tester->expected, program, &tester->expected_outcome);
    program_machine_run(tester->expected, program, &again);
    return program_compare(&tester->expected_outcome, &again, &tester->tolerance, NULL);
}

static bool still_differs(void *context, const struct program *program)
{
    struct tester *tester = context;
    return !agree(tester, program, NULL) && !program_is_open(program, &tester->expected_outcome) &&
           is_stable(tester, program);
}

static void report(struct tester *tester, const struct program *program)
{
    static struct program smaller;
    if (tester->differences++ >= DIFFERENCES_SHOWN) {
        return;
    }
    smaller = *program;
    program_reduce(&smaller, still_differs, tester);
    fprintf(stderr, "a difference, program 0x%" PRIx64 ":\n", program->seed);
    program_show(&smaller, stderr);
    agree(tester, &smaller, stderr);
    if (tester->options.corpus != NULL && !tester->options.steps) {
        char path[512];
        snprintf(path, sizeof(path), "%s/found-%" PRIx64, tester->options.corpus, program->seed);
        program_write(path, &smaller);
    }
}

static void count(struct tester *tester, uint64_t seed)
{
    const struct program_outcome *outcome = &tester->expected_outcome;
    tester->ends[outcome->end]++;
    if (outcome->end != PROGRAM_DONE && tester->options.verbose) {
        printf("program 0x%" PRIx64 ": end %d\n", seed, outcome->end);
    }
    tester->interrupts += tester->actual_outcome.interrupts;
    for (unsigned int i = 0; i < outcome->record_count; i++) {
        tester->records[outcome->records[i].vector & 31]++;
    }
}

static bool try_program(struct tester *tester, const struct program *program)
{
    bool good = agree(tester, program, NULL);
    count(tester, program->seed);
    if (!good &&
        (program_is_open(program, &tester->expected_outcome) || !is_stable(tester, program))) {
        tester->open++;
        return true;
    }
    if (!good) {
        report(tester, program);
    }
    return good;
}

/* --- the tester itself --- */

typedef void spoil(struct program_outcome *outcome);

static void spoil_register(struct program_outcome *outcome)
{
    outcome->registers.gpr[X86_R11] ^= 1;
}

static void spoil_vector(struct program_outcome *outcome)
{
    outcome->registers.ymm[7][31] ^= 0x80;
}

static void spoil_x87(struct program_outcome *outcome)
{
    outcome->registers.x87[32 + 16 * 3] ^= 1;
}

static void spoil_mxcsr(struct program_outcome *outcome)
{
    outcome->registers.x87[DIFFERENTIAL_X87_MXCSR] ^= 1;
}

static void spoil_memory(struct program_outcome *outcome)
{
    outcome->pages[5][4095] ^= 1;
}

static void spoil_entry(struct program_outcome *outcome)
{
    outcome->entries[5] ^= 0x40;
}

static void spoil_device(struct program_outcome *outcome)
{
    outcome->device_hash ^= 1;
}

static void spoil_end(struct program_outcome *outcome)
{
    outcome->end = outcome->end == PROGRAM_DONE ? PROGRAM_ENDLESS : PROGRAM_DONE;
}

static void spoil_count(struct program_outcome *outcome)
{
    outcome->record_count--;
}

static void spoil_saved_flags(struct program_outcome *outcome)
{
    outcome->records[0].rflags ^= X86_FLAGS_DF;
}

static void spoil_saved_rip(struct program_outcome *outcome)
{
    outcome->records[0].rip ^= 1;
}

static void spoil_cr2(struct program_outcome *outcome)
{
    outcome->records[0].cr2 ^= 1;
}

/* Each thing that is compared, made different, must be seen; and so must a wrong instruction. */
static void test_itself(struct tester *tester)
{
    static spoil *const spoils[] = {spoil_register,    spoil_vector,    spoil_x87,    spoil_mxcsr,
                                    spoil_memory,      spoil_entry,     spoil_device, spoil_end,
                                    spoil_saved_flags, spoil_saved_rip, spoil_cr2,    spoil_count};
    static struct program_outcome spoiled;
    /* add r11, 1; ud2: the log has #UD, with the flags as they were left */
    static struct program program = {.seed = 1,
                                     .length = 6,
                                     .count = 2,
                                     .instructions = {4, 2},
                                     .segment_count = 1,
                                     .segments = {0x100},
                                     .code = {0x49, 0x83, 0xc3, 0x01, 0x0f, 0x0b}};
    CHECK(agree(tester, &program, stderr));
    CHECK_EQUAL(tester->expected_outcome.end, PROGRAM_DONE);
    CHECK(tester->expected_outcome.record_count > 0);
    CHECK_EQUAL(tester->expected_outcome.records[0].vector, X86_VECTOR_UD);
    CHECK_EQUAL(tester->expected_outcome.records[0].rip, PROGRAM_CODE + 4);
    for (size_t i = 0; i < sizeof(spoils) / sizeof(spoils[0]); i++) {
        spoiled = tester->actual_outcome;
        spoils[i](&spoiled);
        CHECK(!program_compare(&tester->expected_outcome, &spoiled, &tester->tolerance, NULL));
    }
    struct program other = program;
    other.code[3] = 0x02;
    program_machine_run(tester->actual, &other, &tester->actual_outcome);
    CHECK(!program_compare(&tester->expected_outcome, &tester->actual_outcome, &tester->tolerance,
                           NULL));
}

/* --- many programs --- */

static int is_program(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static void replay(struct tester *tester)
{
    struct dirent **names;
    static struct program program;
    int found = tester->options.corpus == NULL
                    ? 0
                    : scandir(tester->options.corpus, &names, is_program, alphasort);
    for (int i = 0; i < found; i++) {
        char path[512];
        snprintf(path, sizeof(path), "%s/%s", tester->options.corpus, names[i]->d_name);
        if (!CHECK(program_read(path, &program)) || !CHECK(try_program(tester, &program))) {
            fprintf(stderr, "    %s\n", path);
        }
        free(names[i]);
    }
    if (found > 0) {
        free(names);
    }
}

static uint64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec;
}

/* A check for each hundred of them. */
static void make_up(struct tester *tester)
{
    const struct options *options = &tester->options;
    static struct program program;
    struct differential_random seeds = {options->seed};
    uint64_t end = now() + options->seconds;
    bool more = true;
    for (uint64_t done = 0; more;) {
        bool good = true;
        for (unsigned int i = 0; i < 100; i++) {
            program_generate(tester->forms, differential_bits(&seeds), NULL, 0, &program);
            good &= try_program(tester, &program);
        }
        CHECK(good);
        done += 100;
        more = (options->seconds != 0 ? now() < end : done < options->programs) &&
               tester->differences < 4 * DIFFERENCES_SHOWN;
    }
}

static void show_counts(const struct tester *tester)
{
    static const char *const names[] = {"done", "stopped", "endless", "failed"};
    for (unsigned int i = 0; i <= PROGRAM_FAILED; i++) {
        printf("%s %" PRIu64 ", ", names[i], tester->ends[i]);
    }
    printf("open %" PRIu64 ", %" PRIu64 " interrupts; exceptions:", tester->open,
           tester->interrupts);
    for (unsigned int i = 0; i < 32; i++) {
        if (tester->records[i] != 0) {
            printf(" #%u %" PRIu64, i, tester->records[i]);
        }
    }
    printf("\n");
}

static bool open_machines(struct tester *tester, bool disturbed)
{
    const struct options *options = &tester->options;
    const struct program_machine_options expected = {.arguments = options->expected,
                                                     .lost_flags = options->ignored_flags,
                                                     .vcpu_count = 1,
                                                     .patience_ms = EXPECTED_PATIENCE_MS};
    const struct program_machine_options actual = {.arguments = options->actual,
                                                   .lost_flags = options->ignored_flags,
                                                   .vcpu_count = options->cpus,
                                                   .steps = options->steps,
                                                   .disturbed = disturbed,
                                                   .traps_all = options->trap,
                                                   .patience_ms = ACTUAL_PATIENCE_MS};
    struct error error = {0};
    if (!CHECK(program_machine_create(&expected, &tester->expected, &error) == 0) ||
        !CHECK(program_machine_create(&actual, &tester->actual, &error) == 0)) {
        fprintf(stderr, "%s\n", error.text);
        return false;
    }
    tester->forms =
        differential_forms_create(program_machine_cpuid(tester->expected), X86_OP_INVALID);
    return CHECK(tester->forms != NULL);
}

static void close_machines(struct tester *tester)
{
    program_machine_destroy(tester->expected);
    program_machine_destroy(tester->actual);
    differential_forms_destroy(tester->forms);
    tester->expected = tester->actual = NULL;
    tester->forms = NULL;
}

static void work(struct tester *tester, bool disturbed)
{
    if (open_machines(tester, disturbed)) {
        test_itself(tester);
        replay(tester);
        make_up(tester);
    }
    close_machines(tester);
    if (tester->options.verbose) {
        show_counts(tester);
    }
    if (tester->differences > 0) {
        fprintf(stderr, "%u differences\n", tester->differences);
    }
}

static void show(struct tester *tester)
{
    static struct program program;
    if (open_machines(tester, false)) {
        program_generate(tester->forms, tester->options.seed, NULL, 0, &program);
        program_show(&program, stdout);
        try_program(tester, &program);
        show_counts(tester);
    }
    close_machines(tester);
}

static void parse(int argc, char **argv, struct options *options)
{
    static const struct option names[] = {{"seed", required_argument, NULL, 's'},
                                          {"programs", required_argument, NULL, 'n'},
                                          {"seconds", required_argument, NULL, 't'},
                                          {"corpus", required_argument, NULL, 'c'},
                                          {"expected", required_argument, NULL, 'e'},
                                          {"actual", required_argument, NULL, 'a'},
                                          {"show", required_argument, NULL, 'p'},
                                          {"cpus", required_argument, NULL, 'm'},
                                          {"ignore-flags", required_argument, NULL, 'i'},
                                          {"steps", no_argument, NULL, 'b'},
                                          {"disturb", no_argument, NULL, 'd'},
                                          {"trap", no_argument, NULL, 'l'},
                                          {"verbose", no_argument, NULL, 'v'},
                                          {NULL, 0, NULL, 0}};
    int option;
    while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
        switch (option) {
        case 'p':
            options->shows = true;
            /* fallthrough */
        case 's':
            options->seed = strtoull(optarg, NULL, 0);
            break;
        case 'n':
            options->programs = strtoull(optarg, NULL, 0);
            break;
        case 't':
            options->seconds = strtoull(optarg, NULL, 0);
            break;
        case 'c':
            options->corpus = optarg;
            break;
        case 'e':
            options->expected = optarg;
            break;
        case 'a':
            options->actual = optarg;
            break;
        case 'i':
            options->ignored_flags = strtoull(optarg, NULL, 0);
            break;
        case 'm':
            options->cpus = (unsigned int)strtoul(optarg, NULL, 0);
            break;
        case 'b':
            options->steps = true;
            break;
        case 'd':
            options->disturb = true;
            break;
        case 'l':
            options->trap = true;
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
    tester.options = (struct options){.seed = SEED_DEFAULT,
                                      .programs = PROGRAMS_DEFAULT,
                                      .expected = "tier=interpreter",
                                      .cpus = 1};
    parse(argc, argv, &tester.options);
    tester.tolerance.rflags = tester.options.ignored_flags;
    if (tester.options.shows) {
        show(&tester);
        return check_summary();
    }
    work(&tester, tester.options.disturb);
    return check_summary();
}
