/* Root mode itself, on each processor. */
#include <string.h>

#include "vtx/bare/console.h"
#include "vtx/bare/small_guests.h"
#include "vtx/core/hardware.h"
#include "vtx/core/vcpu.h"

/* Somebody, this image, is in root mode already. */
static void test_already(struct small_test *test)
{
    struct error error = {{0}};
    struct vtx_cpu second;
    struct root_mode *root = test->root;
    if (vtx_cpu_prepare(&second, &root->host, &root->capabilities, &error) != VTX_OK) {
        small_test_fail(test, "%s", error.text);
        return;
    }
    small_test_check(test, vtx_cpu_enter(&second, &error) == VTX_ALREADY_ROOT, "it is refused");
    small_test_check(test, error.text[0] != 0, "with words");
    small_test_check(test, root->processors[0].in_root, "nothing has changed");
    vtx_cpu_release(&second);
}

/* Out and in again. */
static void test_leave(struct small_test *test)
{
    struct error error = {{0}};
    struct vtx_cpu *cpu = &test->root->processors[0];
    vtx_cpu_leave(cpu);
    small_test_check(test, !cpu->in_root, "VMXOFF leaves root mode");
    if (vtx_cpu_enter(cpu, &error) != VTX_OK) {
        small_test_fail(test, "it cannot be entered again: %s", error.text);
    }
}

static void test_others(struct small_test *test)
{
    static struct processor_report reports[PROCESSORS_MAX];
    unsigned int count = root_mode_try_others(test->root, reports);
    for (unsigned int i = 1; i <= count && i < PROCESSORS_MAX; i++) {
        if (!reports[i].entered || !reports[i].left) {
            small_test_fail(test, "processor %u: %s", i, reports[i].error.text);
        }
    }
    print("note    other-processors: %u of them entered root mode and left it\n", count);
}

static const struct small_test_entry entries[] = {
    {.name = "root-mode-twice", .alone = test_already},
    {.name = "root-mode-again", .alone = test_leave},
    {.name = "other-processors", .alone = test_others},
};

const struct small_test_table small_tests_machine = {entries, sizeof(entries) / sizeof(entries[0])};
