/* CPU models: what is taken away, what is missed, and files. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "machine/cpu_model.h"

static struct cpuid_table rich_table(void)
{
    struct cpuid_table table = {.count = 0};
    struct cpuid_registers all = {UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX};
    cpuid_set(&table, 0, 0, false, (struct cpuid_registers){.eax = 0xd});
    cpuid_set(&table, 1, 0, false, all);
    cpuid_set(&table, 7, 0, true, all);
    cpuid_set(&table, 7, 1, true, all);
    for (uint32_t subleaf = 0; subleaf < 10; subleaf++) {
        cpuid_set(&table, 0xd, subleaf, true, all);
    }
    cpuid_set(&table, 0x40000000, 0, false, all);
    cpuid_set(&table, 0x80000000, 0, false, (struct cpuid_registers){.eax = 0x80000008});
    cpuid_set(&table, 0x80000001, 0, false, all);
    cpuid_set(&table, 0x80000008, 0, false, all);
    return table;
}

static void test_levels(void)
{
    struct error error;
    struct cpuid_table v2 = rich_table(), v3 = rich_table(), host = rich_table();
    CHECK_EQUAL(cpu_model_apply("x86-64-v2", &v2, &error), 0);
    CHECK_EQUAL(cpu_model_apply("x86-64-v3", &v3, &error), 0);
    CHECK_EQUAL(cpu_model_apply("host", &host, &error), 0);
    static const enum x86_feature of_v2[] = {X86_FEATURE_SSE4_2, X86_FEATURE_POPCNT,
                                             X86_FEATURE_CX16};
    static const enum x86_feature of_v3[] = {X86_FEATURE_AVX2,  X86_FEATURE_BMI2,
                                             X86_FEATURE_FMA,   X86_FEATURE_MOVBE,
                                             X86_FEATURE_LZCNT, X86_FEATURE_XSAVE};
    static const enum x86_feature of_neither[] = {X86_FEATURE_AES,      X86_FEATURE_SHA,
                                                  X86_FEATURE_PKU,      X86_FEATURE_VAES,
                                                  X86_FEATURE_AVX_VNNI, X86_FEATURE_SSE4A};
    for (unsigned int i = 0; i < sizeof(of_v2) / sizeof(of_v2[0]); i++) {
        CHECK(cpuid_has(&v2, of_v2[i]) && cpuid_has(&v3, of_v2[i]));
    }
    for (unsigned int i = 0; i < sizeof(of_v3) / sizeof(of_v3[0]); i++) {
        CHECK(!cpuid_has(&v2, of_v3[i]) && cpuid_has(&v3, of_v3[i]));
    }
    for (unsigned int i = 0; i < sizeof(of_neither) / sizeof(of_neither[0]); i++) {
        CHECK(!cpuid_has(&v3, of_neither[i]) && cpuid_has(&host, of_neither[i]));
    }
    CHECK(cpuid_find(&v3, 0xd, 2) != NULL && cpuid_find(&v3, 0xd, 5) == NULL);
    CHECK_EQUAL(cpuid_answer(&v3, 0xd, 0).eax, 7);
    CHECK(cpuid_find(&v2, 0xd, 2) == NULL);
    CHECK_EQUAL(cpuid_answer(&v2, 0x40000000, 0).eax, UINT32_MAX);
}

static void test_missing(void)
{
    struct error error;
    struct cpuid_table table = rich_table();
    cpuid_find(&table, 7, 0)->registers.ebx &= ~(1u << 5); /* AVX2 */
    CHECK_EQUAL(cpu_model_apply("x86-64-v3", &table, &error), -EINVAL);
    CHECK(strstr(error.text, "no x86-64-v3: CPUID leaf 0x7 lacks 0x20 in EBX") != NULL);
    CHECK_EQUAL(cpu_model_apply("x86-64-v2", &table, &error), 0);
}

/* Applies a file with this text. */
static int apply_text(const char *text, struct cpuid_table *table, struct error *error)
{
    char path[] = "/tmp/trapeze-cpu-model-XXXXXX";
    int file = mkstemp(path);
    CHECK(file >= 0 && write(file, text, strlen(text)) == (ssize_t)strlen(text));
    close(file);
    *table = rich_table();
    cpuid_find(table, 1, 0)->registers.ecx = 0x1;
    int result = cpu_model_apply(path, table, error);
    unlink(path);
    return result;
}

static void test_files(void)
{
    struct error error;
    struct cpuid_table table;
    CHECK_EQUAL(apply_text("# a model\n\n0 * 7 756e6547 6c65746e 49656e69\n"
                           "1 * 306c3 0 1 bfebfbff # SSE3\n7 0 0 20 0 0\n",
                           &table, &error),
                0);
    CHECK_EQUAL(cpuid_answer(&table, 1, 0).eax, 0x306c3);
    CHECK_EQUAL(cpuid_answer(&table, 7, 0).ebx, 0x20);
    CHECK_EQUAL(cpuid_answer(&table, 0x40000000, 0).eax, UINT32_MAX); /* the machine's */
    CHECK_EQUAL(cpuid_answer(&table, 0x80000001, 0).edx, 0);          /* not in the file */

    /* A saved log, with what the machine had set. */
    CHECK_EQUAL(apply_text("trapeze: debug: cpuid: 00000001 * 000806f8 0 80200001 10000201\n",
                           &table, &error),
                0);
    CHECK_EQUAL(cpuid_find(&table, 1, 0)->registers.eax, 0x806f8);

    CHECK_EQUAL(apply_text("1 * 0 0 3 0\n", &table, &error), -EINVAL);
    CHECK(strstr(error.text, "line 1: this engine's CPU lacks 0x2 of leaf 0x1") != NULL);
    CHECK_EQUAL(apply_text("0 * 1 2 3\n", &table, &error), -EINVAL);
    CHECK(strstr(error.text, "line 1: is not LEAF SUBLEAF EAX EBX ECX EDX") != NULL);
    CHECK_EQUAL(apply_text("0 * 1 2 3 4 5\n", &table, &error), -EINVAL);
    CHECK_EQUAL(apply_text("x * 1 2 3 4\n", &table, &error), -EINVAL);
    CHECK_EQUAL(apply_text("1\n", &table, &error), -EINVAL);
    CHECK_EQUAL(apply_text("0 -1 1 2 3 4\n", &table, &error), -EINVAL);
    CHECK_EQUAL(apply_text("0 * 1 2 3 -4\n", &table, &error), -EINVAL);
    CHECK_EQUAL(apply_text("0 * 1 2 3 100000000\n", &table, &error), -EINVAL);
    CHECK_EQUAL(apply_text("0 *1 2 3 4\n", &table, &error), -EINVAL);
    CHECK_EQUAL(apply_text("0 ** 1 2 3 4\n", &table, &error), -EINVAL);
    CHECK_EQUAL(apply_text("0 * 1 2 3 0x\n", &table, &error), -EINVAL);
    CHECK_EQUAL(apply_text("0x0 0x0 1 2\t3 ffffFFFF \r\n", &table, &error), 0);
    CHECK_EQUAL(cpuid_answer(&table, 0, 0).edx, 0xffffffff);
    CHECK_EQUAL(apply_text("# nothing\n", &table, &error), -EINVAL);
    CHECK_EQUAL(apply_text("", &table, &error), -EINVAL);
    CHECK_EQUAL(cpu_model_apply("x86-64-v9", &table, &error), -EINVAL);
    CHECK(strstr(error.text, "there is no CPU model 'x86-64-v9'") != NULL);
}

/* None of these may be waited for, or read for ever. */
static void test_no_files(void)
{
    struct error error;
    struct cpuid_table table = rich_table();
    char path[] = "/tmp/trapeze-cpu-model-XXXXXX";
    int file = mkstemp(path);
    CHECK(file >= 0 && ftruncate(file, 1 << 20) == 0);
    close(file);
    CHECK_EQUAL(cpu_model_apply(path, &table, &error), -EINVAL);
    CHECK(strstr(error.text, "has more than 65536 bytes") != NULL);
    CHECK_EQUAL(truncate(path, 100), 0);
    CHECK_EQUAL(cpu_model_apply(path, &table, &error), -EINVAL);
    CHECK(strstr(error.text, "is no text") != NULL);
    unlink(path);
    CHECK_EQUAL(mkfifo(path, 0600), 0);
    CHECK_EQUAL(cpu_model_apply(path, &table, &error), -EINVAL);
    CHECK(strstr(error.text, "is a pipe or device") != NULL);
    unlink(path);
    CHECK_EQUAL(cpu_model_apply("/dev/zero", &table, &error), -EINVAL);
    CHECK(strstr(error.text, "is a pipe or device") != NULL);
    CHECK_EQUAL(cpu_model_apply("/", &table, &error), -EINVAL);
    CHECK(strstr(error.text, "is a directory") != NULL);
    CHECK_EQUAL(table.count, rich_table().count);
}

int main(void)
{
    test_levels();
    test_missing();
    test_files();
    test_no_files();
    return check_summary();
}
