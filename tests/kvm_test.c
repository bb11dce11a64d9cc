/* The KVM engine where it cannot be used. The guests that it runs: engine_guest_test.c. */
#include <stdlib.h>
#include <sys/stat.h>

#include "kvm_bench.h"

/* Opening */

static void test_open_errors(void)
{
    struct error error;
    CHECK_EQUAL(kvm_open_device("/nonexistent/kvm", &error), -ENOENT);
    CHECK(strstr(error.text, "kvm_intel") != NULL && strstr(error.text, "soft") != NULL);
    CHECK_EQUAL(kvm_open_device("/dev/null", &error), -ENOTTY);
    CHECK(strstr(error.text, "not a KVM device") != NULL);
    struct bench bench = {.memory = make_memory(0x10000)};
    struct engine_vm_options options = {
        .memory = bench.memory, .vcpu_count = 1, .arguments = "irqchip=perhaps"};
    CHECK_EQUAL(kvm_engine.vm_create(&options, &bench.vm, &error), -EINVAL);
    CHECK(strstr(error.text, "irqchip=perhaps") != NULL);
    guestmem_destroy(bench.memory);
}

/* A file that only others may open; as root there is no such file, so this needs another user. */
static void test_no_permission(void)
{
    char path[] = "/tmp/trapeze-kvm-test-XXXXXX";
    int fd = mkstemp(path);
    CHECK(fd >= 0);
    close(fd);
    CHECK_EQUAL(chmod(path, 0), 0);
    struct error error;
    uid_t before = geteuid();
    if (before == 0) {
        CHECK_EQUAL(seteuid(65534), 0);
    }
    CHECK_EQUAL(kvm_open_device(path, &error), -EACCES);
    CHECK(strstr(error.text, "usermod -aG kvm") != NULL);
    if (before == 0) {
        CHECK_EQUAL(seteuid(before), 0);
    }
    unlink(path);
}

int main(void)
{
    test_open_errors();
    test_no_permission();
    return check_summary();
}
