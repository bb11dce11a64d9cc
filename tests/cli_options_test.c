/* Command lines: values, mistakes, and what is said about them. */
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "base/log.h"
#include "base/parse.h"
#include "check.h"
#include "cli/engine_arguments.h"
#include "cli/outcome_report.h"
#include "cli/run_options.h"

static bool size_is(const char *text, uint64_t expected)
{
    uint64_t bytes;
    struct error error;
    return parse_size(text, &bytes, &error) == 0 && bytes == expected;
}

static bool size_is_refused(const char *text)
{
    uint64_t bytes;
    struct error error = {{0}};
    return parse_size(text, &bytes, &error) == -EINVAL && error.text[0] != '\0';
}

static void test_sizes(void)
{
    CHECK(size_is("512M", UINT64_C(512) << 20));
    CHECK(size_is("2g", UINT64_C(2) << 30));
    CHECK(size_is("4096", 4096));
    CHECK(size_is("0x1000K", UINT64_C(0x1000) << 10));
    CHECK(size_is("16383T", UINT64_C(16383) << 40));
    CHECK(size_is_refused(""));
    CHECK(size_is_refused("M"));
    CHECK(size_is_refused("-1M"));
    CHECK(size_is_refused(" 1M"));
    CHECK(size_is_refused("1MB"));
    CHECK(size_is_refused("1.5G"));
    CHECK(size_is_refused("16777216T"));
    CHECK(size_is_refused("18446744073709551616"));
    CHECK(size_is_refused("0xG"));
    CHECK(size_is_refused("1\xc3\xa4"));
}

static void test_numbers(void)
{
    uint64_t number;
    struct error error;
    CHECK(parse_number("64", "a count", 1, 64, &number, &error) == 0 && number == 64);
    CHECK(parse_number("0xf4", "a port", 1, 65535, &number, &error) == 0 && number == 0xf4);
    CHECK_EQUAL(parse_number("65", "a count", 1, 64, &number, &error), -EINVAL);
    CHECK(strstr(error.text, "from 1 to 64") != NULL);
    CHECK_EQUAL(parse_number("0", "a count", 1, 64, &number, &error), -EINVAL);
    CHECK_EQUAL(parse_number("4 ", "a count", 1, 64, &number, &error), -EINVAL);
    CHECK_EQUAL(parse_number("+4", "a count", 1, 64, &number, &error), -EINVAL);
    CHECK(parse_seconds("1.5", &number, &error) == 0 && number == 1500000000);
    CHECK_EQUAL(parse_seconds("0", &number, &error), -EINVAL);
    CHECK_EQUAL(parse_seconds("1e-12", &number, &error), -EINVAL); /* 0 ns would mean none */
    CHECK_EQUAL(parse_seconds("nan", &number, &error), -EINVAL);
    CHECK_EQUAL(parse_seconds("1e30", &number, &error), -EINVAL);
    CHECK_EQUAL(parse_seconds("-1", &number, &error), -EINVAL);
    CHECK_EQUAL(parse_seconds("5s", &number, &error), -EINVAL);
    CHECK_EQUAL(parse_seconds("", &number, &error), -EINVAL);
}

static void test_nearest(void)
{
    static const char *const words[] = {"kernel", "initrd", "memory", "append", NULL};
    CHECK(strcmp(nearest_word("kernal", words), "kernel") == 0);
    CHECK(nearest_word("initramfs", words) == NULL);
    CHECK(strcmp(nearest_word("mem", words), "memory") == 0);
    CHECK(strcmp(nearest_word("apend", words), "append") == 0);
    CHECK(nearest_word("x", words) == NULL);
    CHECK(nearest_word("", words) == NULL);
    CHECK(nearest_word("an-option-that-is-much-longer-than-any-there-is", words) == NULL);
}

#define ARGUMENTS_MAX 24

static int parse(struct run_options *options, struct error *error, const char *first, ...)
{
    char *arguments[ARGUMENTS_MAX];
    int count = 0;
    va_list rest;
    va_start(rest, first);
    for (const char *word = first; word != NULL; word = va_arg(rest, const char *)) {
        arguments[count++] = (char *)(uintptr_t)word;
    }
    va_end(rest);
    *error = (struct error){{0}};
    return run_options_parse(arguments, count, options, error);
}

/* True if the arguments are refused and the message contains some words. */
#define REFUSED(words, ...)                                                                        \
    CHECK(parse(&options, &error, __VA_ARGS__, NULL) == -EINVAL &&                                 \
          strstr(error.text, words) != NULL)

static void test_run_options(void)
{
    struct run_options options;
    struct error error;
    CHECK_EQUAL(parse(&options, &error, "--kernel", "k", NULL), 0);
    CHECK_EQUAL(options.memory_bytes, UINT64_C(512) << 20);
    CHECK_EQUAL(options.vcpu_count, 1);
    CHECK_EQUAL(options.debug_exit_port, 0xf4);
    CHECK(strcmp(options.engine, "auto") == 0 && strcmp(options.console, "stdio") == 0);

    CHECK_EQUAL(parse(&options, &error, "--kernel=k=1", "-m", "1G", "-c", "4", "--initrd", "a",
                      "--initrd", "b", "--append", "--x", "-v", "-v", "--stats", "--timeout", "2.5",
                      "--engine", "null,a=b", NULL),
                0);
    CHECK(strcmp(options.kernel, "k=1") == 0 && strcmp(options.command_line, "--x") == 0);
    CHECK(options.initrd_count == 2 && strcmp(options.initrds[1], "b") == 0);
    CHECK(options.verbosity == 2 && options.print_stats && options.timeout_ns == 2500000000);
    CHECK(strcmp(options.engine, "null") == 0 && strcmp(options.engine_arguments, "a=b") == 0);

    CHECK_EQUAL(parse(&options, &error, "--kernel", "k", "-vsv", NULL), 0);
    CHECK(options.verbosity == 2 && options.print_stats);

    CHECK_EQUAL(parse(&options, &error, "--kernel", "k", "--trace", "f", "--trace", "code", NULL),
                0);
    CHECK(strcmp(options.trace_exits, "f") == 0 && options.trace_code);
    CHECK_EQUAL(parse(&options, &error, "--kernel", "k", "--trace=./code", NULL), 0);
    CHECK(strcmp(options.trace_exits, "./code") == 0 && !options.trace_code);

    CHECK_EQUAL(parse(&options, &error, "--flat", "f", "--mode", "long", "--at", "0x100000", NULL),
                0);
    CHECK(options.mode == BOOT_MODE_LONG && options.address == 0x100000);
}

static void test_refused(void)
{
    struct run_options options;
    struct error error;
    REFUSED("nothing to run", "--stats");
    REFUSED("exclude each other", "--kernel", "k", "--flat", "f");
    REFUSED("--mode and --at are for --flat", "--kernel", "k", "--mode", "real");
    REFUSED("takes no --initrd", "--flat", "f", "--initrd", "i");
    REFUSED("did you mean --memory?", "--kernel", "k", "--memroy", "1G");
    REFUSED("--help lists", "--kernel", "k", "--frobnicate");
    REFUSED("--stats takes no value", "--kernel", "k", "--stats=1");
    REFUSED("--memory needs a value", "--kernel", "k", "--memory");
    REFUSED("is no option", "vmlinuz");
    REFUSED("-x", "-x");
    REFUSED("-vx", "-vx");
    REFUSED("-vm", "-vm");
    REFUSED("did you mean 512M?", "--kernel", "k", "--memory", "512");
    REFUSED("from 1 to 64", "--kernel", "k", "--cpus", "65");
    REFUSED("from 1 to 64", "--kernel", "k", "--cpus", "0");
    REFUSED("there is no engine 'qemu'", "--kernel", "k", "--engine", "qemu");
    REFUSED("there is no engine", "--kernel", "k", "--engine", "a-name-that-is-far-too-long");
    REFUSED("need an engine's name", "--kernel", "k", "--engine", "auto,a=b");
    REFUSED("needs a file", "--kernel", "k", "--trace", "");
    REFUSED("exits go to one file", "--kernel", "k", "--trace", "a", "--trace", "b");
    REFUSED("--code-cache: 'big' is no size", "--kernel", "k", "--code-cache", "big");
    REFUSED("--code-cache is for the engine soft", "--kernel", "k", "--code-cache", "8M",
            "--engine", "kvm");
    REFUSED("--perf-map is for the engine soft", "--kernel", "k", "-e", "null", "--perf-map");
    REFUSED("--trace code is for the engine soft", "--kernel", "k", "-e", "kvm,irqchip=none",
            "--trace", "code");
    REFUSED("--irqchip is for the engine kvm", "--kernel", "k", "-e", "soft", "--irqchip", "none");
    REFUSED("there is no irqchip 'off'", "--kernel", "k", "--irqchip", "off");
    REFUSED("there are shadow and all", "--kernel", "k", "--trap", "some");
    REFUSED("a host CPU", "--kernel", "k", "--cpu-affinity", "two");
    REFUSED("a host CPU", "--kernel", "k", "--cpu-affinity", "3-2");
    REFUSED("a host CPU", "--kernel", "k", "--cpu-affinity", "1,");
    REFUSED("a host CPU", "--kernel", "k", "--cpu-affinity", "1024");
    REFUSED("more CPUs than", "--kernel", "k", "--cpu-affinity", "0-64");
    REFUSED("there is no mode", "--flat", "f", "--mode", "unreal");
    REFUSED("is not an address", "--flat", "f", "--at", "here");
    REFUSED("is not a port", "--flat", "f", "--debug-exit", "65536");
    REFUSED("number of seconds", "--kernel", "k", "--timeout", "soon");
}

static void test_trap(void)
{
    struct run_options options;
    struct error error;
    CHECK_EQUAL(parse(&options, &error, "--kernel", "k", NULL), 0);
    CHECK_EQUAL(options.trap, ENGINE_TRAP_SHADOW);
    CHECK_EQUAL(parse(&options, &error, "--kernel", "k", "--trap", "all", NULL), 0);
    CHECK_EQUAL(options.trap, ENGINE_TRAP_ALL);
    CHECK_EQUAL(parse(&options, &error, "--kernel", "k", "--trap", "shadow", NULL), 0);
    CHECK_EQUAL(options.trap, ENGINE_TRAP_SHADOW);
}

static void test_affinity(void)
{
    struct run_options options;
    struct error error;
    CHECK_EQUAL(parse(&options, &error, "--kernel", "k", "--cpu-affinity", "5,2-4", NULL), 0);
    CHECK_EQUAL(options.affinity_count, 4);
    CHECK(options.affinity[0] == 5 && options.affinity[1] == 2 && options.affinity[3] == 4);
    CHECK_EQUAL(parse(&options, &error, "--kernel", "k", NULL), 0);
    CHECK_EQUAL(options.affinity_count, 0);
}

/* What an engine is given for some options. */
#define COMPOSED(engine, settings, ...)                                                            \
    CHECK(parse(&options, &error, "--kernel", "k", __VA_ARGS__, NULL) == 0 &&                      \
          engine_arguments_compose(&options, engine, text, sizeof(text), &error) == 0 &&           \
          strcmp(text, settings) == 0)

static void test_engine_arguments(void)
{
    struct run_options options;
    struct error error;
    char text[ENGINE_ARGUMENTS_MAX];
    COMPOSED("soft", "", "--cpus", "1");
    COMPOSED("soft", "tier=interpreter", "--engine", "soft,tier=interpreter");
    COMPOSED("soft", "code-cache=8M", "--code-cache", "8M");
    COMPOSED("soft", "perf-map", "--perf-map");
    COMPOSED("soft", "trace=code", "--trace", "code", "-e", "soft");
    COMPOSED("soft", "count", "-s");
    COMPOSED("soft", "translate-after=0,code-cache=2M,perf-map,trace=code,count", "-e",
             "soft,translate-after=0", "-s", "--trace", "code", "--perf-map", "--code-cache", "2M");
    /* Another engine: what was meant for it, and none of what it does not know. */
    COMPOSED("kvm", "irqchip=none", "-e", "kvm,irqchip=none", "-s");
    COMPOSED("kvm", "irqchip=split", "-e", "kvm", "--irqchip", "split");
    log_set_level(LOG_SILENT);
    COMPOSED("soft", "", "-e", "auto", "--irqchip", "kernel");
    COMPOSED("kvm", "", "-e", "auto", "--perf-map", "--code-cache", "8M", "-s");
    log_set_level(LOG_WARN);

    CHECK_EQUAL(parse(&options, &error, "--kernel", "k", "-e", "soft,tier=interpreter", "-s", NULL),
                0);
    CHECK_EQUAL(engine_arguments_compose(&options, "soft", text, 23, &error), 0);
    CHECK(strcmp(text, "tier=interpreter,count") == 0);
    CHECK_EQUAL(engine_arguments_compose(&options, "soft", text, 22, &error), -EINVAL);
    CHECK_EQUAL(engine_arguments_compose(&options, "soft", text, 1, &error), -EINVAL);
    CHECK(strstr(error.text, "longer than 0 bytes") != NULL);
}

/* Every outcome has a code of its own, and words. */
static void test_outcomes(void)
{
    bool seen[256] = {false};
    for (int i = VM_POWERED_OFF; i <= VM_ENGINE_FAILED; i++) {
        enum vm_outcome outcome = (enum vm_outcome)i;
        char text[256];
        outcome_sentence(outcome, 7, "", text, sizeof(text));
        CHECK(text[0] != '\0');
        if (outcome == VM_DEBUG_EXIT) {
            CHECK(strstr(text, "7") != NULL);
            continue;
        }
        int code = outcome_exit_code(outcome, 7);
        CHECK(code >= 0 && code < 256 && !seen[code]);
        seen[code] = true;
    }
    CHECK_EQUAL(outcome_exit_code(VM_DEBUG_EXIT, 0), 0);
    CHECK_EQUAL(outcome_exit_code(VM_DEBUG_EXIT, 255), 255);
    CHECK_EQUAL(outcome_exit_code(VM_DEBUG_EXIT, 256), 255);
    CHECK_EQUAL(outcome_exit_code(VM_DEBUG_EXIT, -1), 255);
    char text[64];
    outcome_sentence(VM_PANICKED, 0, "Kernel panic - not syncing: x", text, sizeof(text));
    CHECK(strcmp(text, "the guest's kernel panicked: Kernel panic - not syncing: x") == 0);
}

int main(void)
{
    test_sizes();
    test_numbers();
    test_nearest();
    test_run_options();
    test_refused();
    test_trap();
    test_affinity();
    test_engine_arguments();
    test_outcomes();
    return check_summary();
}
