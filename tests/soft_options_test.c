/* The settings of `--engine soft,…`. */
#include <errno.h>
#include <string.h>

#include "check.h"
#include "engines/soft/options.h"
#include "engines/soft/soft.h"

static bool parse(const char *text, struct soft_options *options)
{
    struct error error = {{0}};
    if (soft_options_parse(text, options, &error) == 0) {
        return true;
    }
    fprintf(stderr, "%s: %s\n", text, error.text);
    return false;
}

/* True if a text is refused in one line that contains some words. */
static bool refused(const char *text, const char *words)
{
    struct soft_options options;
    struct error error = {{0}};
    bool good = soft_options_parse(text, &options, &error) == -EINVAL &&
                strstr(error.text, words) != NULL && strchr(error.text, '\n') == NULL;
    if (!good) {
        fprintf(stderr, "'%s': '%s' is without '%s'\n", text, error.text, words);
    }
    return good;
}

static void test_defaults(const char *text)
{
    struct soft_options options;
    memset(&options, 0xa5, sizeof(options));
    CHECK(parse(text, &options));
    CHECK(options.translate);
    CHECK_EQUAL(options.code_cache, 64 << 20);
    CHECK_EQUAL(options.translate_after, 1);
    CHECK(!options.check_lockstep && !options.trace_code && !options.perf_map && !options.count);
}

static void test_values(void)
{
    struct soft_options options;
    CHECK(parse("tier=interpreter", &options) && !options.translate);
    CHECK(parse("tier=interpreter,tier=translate", &options) && options.translate);
    CHECK(parse("code-cache=1M", &options) && options.code_cache == 1 << 20);
    CHECK(parse("code-cache=1G", &options) && options.code_cache == 1 << 30);
    CHECK(parse("code-cache=0x200000", &options) && options.code_cache == 2 << 20);
    CHECK(parse("translate-after=0", &options) && options.translate_after == 0);
    CHECK(parse("translate-after=1000", &options) && options.translate_after == 1000);
    CHECK(parse("check=lockstep", &options) && options.check_lockstep && !options.trace_code);
    CHECK(parse("trace=code", &options) && options.trace_code && !options.check_lockstep);
    CHECK(parse("perf-map", &options) && options.perf_map && !options.count);
    CHECK(parse("count", &options) && options.count && !options.perf_map);
    CHECK(parse("code-cache=2M,perf-map,translate-after=7,count,check=lockstep", &options));
    CHECK_EQUAL(options.code_cache, 2 << 20);
    CHECK_EQUAL(options.translate_after, 7);
    CHECK(options.perf_map && options.count && options.check_lockstep && options.translate);
}

static void test_refusals(void)
{
    CHECK(refused("frobnicate=1", "tier=translate|interpreter, code-cache=SIZE, translate-after=N, "
                                  "check=lockstep, trace=code, perf-map, count"));
    CHECK(refused("frobnicate=1", "no setting 'frobnicate=1'"));
    CHECK(refused("tie=translate", "no setting 'tie=translate'"));
    CHECK(refused("tier2=translate", "no setting"));
    CHECK(refused("=", "no setting '='"));
    CHECK(refused(",", "no setting ''"));
    CHECK(refused("count,", "no setting ''"));
    CHECK(refused("tier=fast", "there is no tier 'fast'; there are translate, interpreter"));
    CHECK(refused("tier=", "there is no tier ''"));
    CHECK(refused("tier", "tier needs a value: tier=translate|interpreter"));
    CHECK(refused("perf-map=on", "perf-map takes no value"));
    CHECK(refused("count=", "count takes no value"));
    CHECK(refused("code-cache=1023K", "from 1M to 1G"));
    CHECK(refused("code-cache=1025M", "from 1M to 1G"));
    CHECK(refused("code-cache=much", "code-cache: 'much' is no size"));
    CHECK(refused("code-cache=99999999999999T", "too large"));
    CHECK(refused("translate-after=1001", "from 0 to 1000"));
    CHECK(refused("translate-after=-1", "from 0 to 1000"));
    CHECK(refused("check=nothing", "there is no check 'nothing'; there is lockstep"));
    CHECK(refused("trace=exits", "there is no trace 'exits'; there is code"));
    CHECK(refused("check=lockstep,tier=interpreter", "check=lockstep is about translated code"));
    CHECK(refused("tier=interpreter,trace=code", "trace=code is about translated code"));
    CHECK(refused("tier=interpreter,perf-map", "perf-map is about translated code"));
    /* Longer than the copy of one setting, and than the message. */
    char large[2000];
    memset(large, 'x', sizeof(large));
    large[sizeof(large) - 1] = '\0';
    CHECK(refused(large, "it takes tier="));
    memcpy(large, "tier=", 5);
    CHECK(refused(large, "it takes tier="));
}

/* The engine asks for them before it makes anything. */
static void test_engine(void)
{
    struct engine_vm_options options = {.arguments = "tier=translate,nonsense", .vcpu_count = 1};
    struct engine_vm *vm;
    struct error error = {{0}};
    CHECK_EQUAL(soft_engine.vm_create(&options, &vm, &error), -EINVAL);
    CHECK(strstr(error.text, "'nonsense'") != NULL);
}

int main(void)
{
    test_defaults(NULL);
    test_defaults("");
    test_values();
    test_refusals();
    test_engine();
    return check_summary();
}
