/* The engine vtx without its device: opening it, state in the device's form, counters. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "engines/vtx/vtx.h"
#include "engines/vtx/vtx_abi.h"
#include "engines/vtx/vtx_internal.h"
#include "x86/vmx.h"

/* ---- opening ---- */

static void test_open_errors(void)
{
    struct error error;
    CHECK_EQUAL(vtx_open_device("/nonexistent/trapeze", &error), -ENOENT);
    CHECK(strstr(error.text, "insmod") != NULL && strstr(error.text, "soft") != NULL);
    CHECK_EQUAL(vtx_open_device("/dev/null", &error), -ENOTTY);
    CHECK(strstr(error.text, "is not the device") != NULL);
}

/* A file that only others may open; as root there is no such file, so this needs another user. */
static void test_no_permission(void)
{
    char path[] = "/tmp/trapeze-vtx-test-XXXXXX";
    int fd = mkstemp(path);
    CHECK(fd >= 0);
    close(fd);
    CHECK_EQUAL(chmod(path, 0), 0);
    struct error error;
    uid_t before = geteuid();
    if (before == 0) {
        CHECK_EQUAL(seteuid(65534), 0);
    }
    CHECK_EQUAL(vtx_open_device(path, &error), -EACCES);
    CHECK(strstr(error.text, "no permission") != NULL && strstr(error.text, "udev") != NULL);
    if (before == 0) {
        CHECK_EQUAL(seteuid(before), 0);
    }
    unlink(path);
}

static void test_arguments(void)
{
    struct error error;
    struct engine_vm *vm = NULL;
    struct engine_vm_options options = {.vcpu_count = 1, .arguments = "fast=yes"};
    CHECK_EQUAL(vtx_engine.vm_create(&options, &vm, &error), -EINVAL);
    CHECK(strstr(error.text, "fast=yes") != NULL);
}

/* ---- state ---- */

static struct x86_state state, back;
static struct trapeze_vtx_state device;

/* Every field another value, as far as it may have any. */
static void fill_state(struct x86_state *to, uint8_t seed)
{
    uint8_t *bytes = (uint8_t *)to;
    for (size_t i = 0; i < sizeof(*to); i++) {
        bytes[i] = (uint8_t)(seed + i * 7 + i / 251);
    }
    to->pdptrs_known = true;
    to->activity = X86_HALTED;
    to->sti_shadow = to->nmi_blocked = to->exception_pending = true;
    to->mov_ss_shadow = to->nmi_pending = to->exception_has_error = false;
    to->exception_vector = 14;
}

static void check_same(void)
{
    CHECK(memcmp(back.gpr, state.gpr, sizeof(state.gpr)) == 0);
    CHECK(back.rip == state.rip && back.rflags == state.rflags);
    for (unsigned int i = 0; i < X86_SEGMENT_ALL_COUNT; i++) {
        const struct x86_segment *a = &back.segment[i], *b = &state.segment[i];
        CHECK(a->base == b->base && a->limit == b->limit && a->attributes == b->attributes &&
              a->selector == b->selector);
    }
    CHECK(back.gdtr.base == state.gdtr.base && back.idtr.limit == state.idtr.limit);
    CHECK(back.cr0 == state.cr0 && back.cr2 == state.cr2 && back.cr3 == state.cr3 &&
          back.cr4 == state.cr4 && back.cr8 == state.cr8 && back.efer == state.efer);
    CHECK(memcmp(back.pdptr, state.pdptr, sizeof(state.pdptr)) == 0 && back.pdptrs_known);
    CHECK(memcmp(back.dr, state.dr, sizeof(state.dr)) == 0);
    CHECK(memcmp(&back.msr, &state.msr, sizeof(state.msr)) == 0);
    CHECK(back.xcr0 == state.xcr0 && back.pkru == state.pkru);
    CHECK(memcmp(back.xsave, state.xsave, sizeof(state.xsave)) == 0);
    CHECK_EQUAL(back.activity, state.activity);
    CHECK(back.sti_shadow && back.nmi_blocked && back.exception_pending);
    CHECK(!back.mov_ss_shadow && !back.nmi_pending && !back.exception_has_error);
    CHECK(back.exception_vector == 14 && back.exception_error == state.exception_error);
}

static void test_state_there_and_back(void)
{
    fill_state(&state, 3);
    memset(&device, 0, sizeof(device));
    memset(&back, 0, sizeof(back));
    vtx_abi_from_state(&state, X86_STATE_ALL, &device);
    CHECK_EQUAL(device.groups, TRAPEZE_VTX_ALL_GROUPS);
    CHECK(vtx_abi_to_state(&device, &back));
    check_same();
}

/* Only the groups that are named are touched. */
static void test_groups(void)
{
    fill_state(&state, 5);
    for (unsigned int group = 1; group <= TRAPEZE_VTX_EVENTS; group <<= 1) {
        memset(&device, 0, sizeof(device));
        memset(&back, 0, sizeof(back));
        vtx_abi_from_state(&state, group, &device);
        CHECK(vtx_abi_to_state(&device, &back));
        CHECK_EQUAL(back.rip == state.rip, group == X86_STATE_GENERAL);
        CHECK_EQUAL(back.cr3 == state.cr3, group == X86_STATE_SYSTEM);
        CHECK_EQUAL(back.dr[7] == state.dr[7], group == X86_STATE_DEBUG);
        CHECK_EQUAL(back.msr.lstar == state.msr.lstar, group == X86_STATE_MSRS);
        CHECK_EQUAL(back.xcr0 == state.xcr0, group == X86_STATE_FPU);
        CHECK_EQUAL(back.activity == X86_HALTED, group == X86_STATE_EVENTS);
    }
}

/* Refused, and nothing is changed. */
static void check_refused(const char *what)
{
    memset(&back, 0x5a, sizeof(back));
    struct x86_state before = back;
    if (!check_report(!vtx_abi_to_state(&device, &back) &&
                          memcmp(&before, &back, sizeof(back)) == 0,
                      __FILE__, __LINE__, what)) {
        return;
    }
    fill_state(&state, 9);
    vtx_abi_from_state(&state, X86_STATE_ALL, &device);
}

static void test_hostile_state(void)
{
    fill_state(&state, 9);
    vtx_abi_from_state(&state, X86_STATE_ALL, &device);
    device.groups |= 1u << 6;
    check_refused("an unknown group");
    device.reserved = 1;
    check_refused("reserved");
    device.system.segment[X86_TR].reserved[2] = 1;
    check_refused("a segment's reserved field");
    device.system.idtr.reserved[0] = 1;
    check_refused("a table's reserved field");
    device.system.reserved = 1;
    check_refused("system.reserved");
    device.system.pdptrs_known = 2;
    check_refused("pdptrs_known 2");
    device.fpu.reserved = 1;
    check_refused("fpu.reserved");
    device.events.activity = 4;
    check_refused("an unknown activity");
    device.events.nmi_blocked = 2;
    check_refused("a truth value of 2");
    device.events.exception_vector = 32;
    check_refused("an interrupt as an exception");
    device.events.reserved[0] = 1;
    check_refused("events.reserved");
}

/* ---- counters ---- */

static void test_statistics(void)
{
    struct trapeze_vtx_statistics statistics = {.entries = 100, .exits_inside = 40, .returns = 60};
    struct engine_counter counters[ENGINE_COUNTERS_MAX];
    statistics.exits[VMX_REASON_IO_INSTRUCTION] = 60;
    statistics.exits[VMX_REASON_CPUID] = 30;
    statistics.exits[VMX_REASON_MONITOR_TRAP] = 10; /* has no line of its own */
    unsigned int count = vtx_statistics_rows(&statistics, counters, ENGINE_COUNTERS_MAX);
    uint64_t io = 0, others = 0;
    for (unsigned int i = 0; i < count; i++) {
        if (strcmp(counters[i].name, "VM exits: I/O instruction") == 0) {
            io = counters[i].value;
            CHECK_EQUAL(counters[i].of, 100);
        } else if (strcmp(counters[i].name, "VM exits: others") == 0) {
            others = counters[i].value;
        }
    }
    CHECK_EQUAL(io, 60);
    CHECK_EQUAL(others, 10);
    CHECK_EQUAL(vtx_statistics_rows(&statistics, counters, 3), 3);
    /* All of them at once have room. */
    for (unsigned int i = 0; i < TRAPEZE_VTX_EXIT_REASONS; i++) {
        statistics.exits[i] = 1;
    }
    CHECK(vtx_statistics_rows(&statistics, counters, ENGINE_COUNTERS_MAX) + 2 <
          ENGINE_COUNTERS_MAX);
}

int main(void)
{
    test_open_errors();
    test_no_permission();
    test_arguments();
    test_state_there_and_back();
    test_groups();
    test_hostile_state();
    test_statistics();
    return check_summary();
}
