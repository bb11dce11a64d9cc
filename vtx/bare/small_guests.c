#include "vtx/bare/small_guests.h"

#include <string.h>

#include "vtx/bare/console.h"

#define TEST_MEMORY (GUEST_SIZE + 0x200000) /* a large page, and another for single ones */

static const struct small_test_table *const tables[] = {
    &small_tests_machine,   &small_tests_modes,  &small_tests_devices,
    &small_tests_registers, &small_tests_events, &small_tests_refusals,
};

/* True if it passed; one that leaks pages has not. */
static bool run_test(const struct small_test_entry *entry, struct root_mode *root, uint8_t *memory)
{
    static struct small_guest guest; /* too large for the stack */
    struct small_test test = {.root = root, .name = entry->name, .memory = memory};
    unsigned int used = root->pages->used;
    if (entry->run == NULL) {
        entry->alone(&test);
    } else if (small_guest_make(&guest, &test, entry->code, entry->mode)) {
        entry->run(&guest);
        small_guest_end(&guest);
    }
    if (root->pages->used != used) {
        small_test_fail(&test, "%u pages are in use, and were %u before", root->pages->used, used);
    }
    if (!test.failed) {
        print("ok      %s\n", entry->name);
    }
    return !test.failed;
}

bool small_guests_run(struct root_mode *root, const char *name)
{
    unsigned int passed = 0;
    unsigned int failed = 0;
    uint8_t *memory = pages_allocate_piece(root->pages, TEST_MEMORY, GUEST_SIZE);
    if (memory == NULL) {
        print("trapeze-bare: the machine has no 4 MiB in one piece for the tests\n");
        return false;
    }
    for (unsigned int i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
        for (unsigned int j = 0; j < tables[i]->count; j++) {
            const struct small_test_entry *entry = &tables[i]->entries[j];
            if (name != NULL && strncmp(entry->name, name, strlen(name)) != 0) {
                continue;
            }
            bool good = run_test(entry, root, memory);
            passed += good;
            failed += !good;
        }
    }
    print("%u passed, %u failed, 0 skipped\n", passed, failed);
    return failed == 0;
}
