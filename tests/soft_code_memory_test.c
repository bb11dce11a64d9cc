/* Executable memory: what the host shows of it, and hosts that do not like it. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "engines/soft/code_memory.h"

/* "Memory-Deny-Write-Execute", Linux 6.3. */
#ifndef PR_SET_MDWE
#define PR_SET_MDWE              65
#define PR_MDWE_REFUSE_EXEC_GAIN 1
#endif

#define SIZE 0x200000u

static const uint8_t return_42[] = {0xb8, 42, 0, 0, 0, 0xc3}; /* mov eax, 42; ret */

static unsigned int call(const void *code)
{
    unsigned int (*function)(void);
    memcpy(&function, &code, sizeof(function));
    return function();
}

/* The line of /proc/self/maps about an address; valid until the next call. */
static const char *mapping_of(const void *address)
{
    static char line[512];
    FILE *file = fopen("/proc/self/maps", "r");
    unsigned long start, end;
    bool found = false;
    while (!found && fgets(line, sizeof(line), file) != NULL) {
        found = sscanf(line, "%lx-%lx", &start, &end) == 2 && (uintptr_t)address >= start &&
                (uintptr_t)address < end;
    }
    fclose(file);
    return found ? line : "";
}

static unsigned int count_writable_and_executable(void)
{
    char line[512], permissions[8];
    unsigned int count = 0;
    FILE *file = fopen("/proc/self/maps", "r");
    while (fgets(line, sizeof(line), file) != NULL) {
        count += sscanf(line, "%*s %7s", permissions) == 1 && permissions[1] == 'w' &&
                         permissions[2] == 'x'
                     ? 1
                     : 0;
    }
    fclose(file);
    return count;
}

static unsigned int mapping_count(void)
{
    unsigned int count = 0;
    char line[512];
    FILE *file = fopen("/proc/self/maps", "r");
    while (fgets(line, sizeof(line), file) != NULL) {
        count++;
    }
    fclose(file);
    return count;
}

static void test_mappings(void)
{
    struct code_memory *memory;
    unsigned int before = mapping_count();
    CHECK_EQUAL(code_memory_create(SIZE, 0, &memory, NULL), 0);
    const void *code = code_memory_add(memory, return_42, sizeof(return_42));
    CHECK_EQUAL(call(code), 42);
    /* "/dev/zero" is how the kernel calls shared anonymous memory, and what perf looks for. */
    CHECK(strstr(mapping_of(code), " r-xs ") != NULL);
    CHECK(strstr(mapping_of(code), "/dev/zero") != NULL);
    CHECK_EQUAL(count_writable_and_executable(), 0);
    code_memory_destroy(memory);
    CHECK(strstr(mapping_of(code), " r-xs ") == NULL);
#ifdef __SANITIZE_ADDRESS__ /* which maps memory of its own */
    (void)before;
#else
    CHECK_EQUAL(mapping_count(), before);
#endif
}

/* In a child: what is forbidden stays so. Its exit code tells. */
enum { WORKS, NO_SUCH_POLICY, NO_MEMORY, WRONG };

static int run_under_policy(void)
{
    struct code_memory *memory;
    struct error error;
    if (prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0) != 0) {
        return NO_SUCH_POLICY;
    }
    if (code_memory_create(SIZE, 0, &memory, &error) != 0) {
        return NO_MEMORY;
    }
    const void *code = code_memory_add(memory, return_42, sizeof(return_42));
    return call(code) == 42 && strstr(mapping_of(code), "memfd") != NULL ? WORKS : WRONG;
}

/* Memory may not become executable: a file that is mapped so from the beginning does it. */
static void test_policy(void)
{
    int status = -1;
    pid_t child = fork();
    if (child == 0) {
        _exit(run_under_policy());
    }
    waitpid(child, &status, 0);
    CHECK(WIFEXITED(status));
    if (WEXITSTATUS(status) == NO_SUCH_POLICY) {
        SKIP("this kernel has no PR_SET_MDWE");
        return;
    }
    CHECK_EQUAL(WEXITSTATUS(status), WORKS);
}

/* More than there are addresses: an error, not a crash. */
static void test_too_much(void)
{
    struct code_memory *memory;
    struct error error = {{0}};
    CHECK(code_memory_create((size_t)1 << 60, 0, &memory, &error) < 0);
    CHECK(error.text[0] != '\0');
}

int main(void)
{
    test_mappings();
    test_policy();
    test_too_much();
    return check_summary();
}
