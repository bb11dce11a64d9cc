/* The KVM engine's interrupts: messages, routes, ends of interrupt, eventfds. */
#include <sys/eventfd.h>

#include "kvm_bench.h"

#define VECTOR 0x41u
#define GSI    30u
#define READY  0x98u
#define DONE   0x99u

/* Enables the x2APIC, says so at a port, halts; BL counts interrupts, each ended by EOI. */
static const uint8_t code[] = {
    0x66, 0xb9,  0x1b, 0x00, 0x00, 0x00, /* mov ecx, 0x1b: IA32_APIC_BASE */
    0x0f, 0x32,                          /* rdmsr */
    0x80, 0xcc,  0x0c,                   /* or ah, 0x0c: enabled, x2APIC */
    0x0f, 0x30,                          /* wrmsr */
    0x66, 0xb9,  0x0f, 0x08, 0x00, 0x00, /* mov ecx, 0x80f: the spurious-interrupt register */
    0x66, 0xb8,  0xff, 0x01, 0x00, 0x00, /* mov eax, 0x1ff */
    0x66, 0x31,  0xd2,                   /* xor edx, edx */
    0x0f, 0x30,                          /* wrmsr */
    0xe6, READY,                         /* out READY, al */
    0xfb,                                /* sti */
    0xf4,                                /* hlt */
    0xe6, DONE,                          /* out DONE, al */
    0xfe, 0xc3,                          /* (0x8024) inc bl */
    0x66, 0xb9,  0x0b, 0x08, 0x00, 0x00, /* mov ecx, 0x80b: EOI */
    0x66, 0x31,  0xc0,                   /* xor eax, eax */
    0x66, 0x31,  0xd2,                   /* xor edx, edx */
    0x0f, 0x30,                          /* wrmsr */
    0xcf,                                /* iret */
};
#define HANDLER 0x8024u

static const struct msi_message edge = {.address = 0xfee00000, .data = VECTOR};
static const struct msi_message level = {.address = 0xfee00000,
                                         .data = VECTOR | 1u << 14 | 1u << 15};

static bool is_port(const struct bench *bench, enum exit_reason reason, uint16_t port)
{
    return reason == EXIT_PIO && bench->exit.pio.port == port;
}

/* A bench whose guest waits for interrupts; false where this KVM can't do that. */
static bool open_waiting(struct bench *bench, const char *arguments)
{
    if (!open_bench(bench, arguments, NULL)) {
        return false;
    }
    load(bench, KVM_GUEST_REAL, code, sizeof(code));
    uint16_t vector[2] = {HANDLER, 0};
    guestmem_write(bench->memory, gpa(VECTOR * 4), vector, sizeof(vector));
    if (is_port(bench, run(bench), READY)) {
        return true;
    }
    SKIP("this KVM's guests have no x2APIC");
    return false;
}

static void expect_interrupt(struct bench *bench)
{
    CHECK(is_port(bench, run(bench), DONE));
    get_general(bench);
    CHECK_EQUAL(bench->state.gpr[X86_RBX] & 0xff, 1);
}

static void test_message(const char *arguments)
{
    struct bench bench;
    if (open_waiting(&bench, arguments)) {
        CHECK_EQUAL(kvm_engine.msi(bench.vm, &edge), 0);
        expect_interrupt(&bench);
    }
    close_bench(&bench);
}

/* Some hosts' KVM interprets its guests, and does not do all that it says. */
static bool is_slow(void)
{
    struct engine_probe probe;
    kvm_engine.probe(&probe);
    return probe.mips < 50;
}

/* The guest's end of a level-triggered interrupt of our IOAPIC comes to the monitor. */
static void test_end_of_interrupt(void)
{
    struct bench bench;
    if (open_waiting(&bench, "irqchip=split")) {
        CHECK_EQUAL(kvm_engine.msi_route(bench.vm, 4, &level), 0);
        CHECK_EQUAL(kvm_engine.msi(bench.vm, &level), 0);
        enum exit_reason reason = run(&bench);
        if (reason != EXIT_EOI && is_slow()) {
            SKIP("this host's KVM keeps ends of interrupt to itself");
        } else if (CHECK_EQUAL(reason, EXIT_EOI)) {
            CHECK_EQUAL(bench.exit.eoi.vector, VECTOR);
            expect_interrupt(&bench);
        }
    }
    close_bench(&bench);
}

static void test_irq_event(const char *arguments)
{
    struct bench bench;
    int event = eventfd(0, EFD_CLOEXEC);
    if (open_waiting(&bench, arguments)) {
        CHECK_EQUAL(kvm_engine.msi_route(bench.vm, GSI, &edge), 0);
        CHECK_EQUAL(kvm_engine.irq_event(bench.vm, event, GSI, true, &bench.error), 0);
        CHECK_EQUAL(eventfd_write(event, 1), 0);
        expect_interrupt(&bench);
        CHECK_EQUAL(kvm_engine.irq_event(bench.vm, event, GSI, false, &bench.error), 0);
    }
    close_bench(&bench);
    close(event);
}

static void test_bad_routes(void)
{
    struct bench bench;
    if (open_bench(&bench, "irqchip=split", NULL)) {
        CHECK_EQUAL(kvm_engine.msi_route(bench.vm, ENGINE_ROUTES_MAX, &edge), -ENOSPC);
        for (unsigned int gsi = 0; gsi < ENGINE_ROUTES_MAX; gsi++) {
            CHECK_EQUAL(kvm_engine.msi_route(bench.vm, gsi, &edge), 0);
        }
        CHECK_EQUAL(kvm_engine.msi_route(bench.vm, 5, &level), 0); /* replaced, not added */
    }
    close_bench(&bench);
    if (open_bench(&bench, "irqchip=kernel", NULL)) {
        CHECK_EQUAL(kvm_engine.msi_route(bench.vm, 4, &edge), -EINVAL); /* an IOAPIC's input */
    }
    close_bench(&bench);
    if (open_bench(&bench, "irqchip=none", NULL)) {
        CHECK_EQUAL(kvm_engine.msi_route(bench.vm, GSI, &edge), -EINVAL);
    }
    close_bench(&bench);
}

/* What KVM refuses (here: all, without its descriptor) leaves the routes as they were. */
static void test_refused_route(void)
{
    struct bench bench;
    if (open_bench(&bench, "irqchip=split", NULL)) {
        CHECK_EQUAL(kvm_engine.msi_route(bench.vm, GSI, &edge), 0);
        int fd = bench.vm->fd;
        bench.vm->fd = -1;
        CHECK_EQUAL(kvm_engine.msi_route(bench.vm, GSI, &edge), 0); /* no change, no call */
        CHECK_EQUAL(kvm_engine.msi_route(bench.vm, GSI, &level), -EBADF);
        CHECK_EQUAL(bench.vm->routes[0].u.msi.data, edge.data);
        CHECK_EQUAL(kvm_engine.msi_route(bench.vm, GSI + 1, &edge), -EBADF);
        CHECK_EQUAL(bench.vm->route_count, 1); /* the new place is given back */
        bench.vm->fd = fd;
        CHECK_EQUAL(kvm_engine.msi_route(bench.vm, GSI, &level), 0);
    }
    close_bench(&bench);
}

/* Two writes of the doorbell's value, one of another, which leaves the engine. */
static void test_doorbell(void)
{
    static const uint8_t ringing[] = {
        0xb0, 0x07, /* mov al, 7 */
        0xe6, 0x20, /* out 0x20, al */
        0xe6, 0x20, /* out 0x20, al */
        0xb0, 0x08, /* mov al, 8 */
        0xe6, 0x20, /* out 0x20, al */
    };
    static const struct engine_doorbell doorbell = {
        .address = 0x20, .size = 1, .is_port = true, .has_value = true, .value = 7};
    struct bench bench;
    int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (open_bench(&bench, "irqchip=none", NULL)) {
        load(&bench, KVM_GUEST_REAL, ringing, sizeof(ringing));
        CHECK_EQUAL(kvm_engine.doorbell(bench.vm, event, &doorbell, true, &bench.error), 0);
        CHECK(is_port(&bench, run(&bench), 0x20));
        CHECK_EQUAL(bench.exit.pio.data[0], 8);
        eventfd_t rung = 0;
        CHECK_EQUAL(eventfd_read(event, &rung), 0);
        CHECK_EQUAL(rung, 2);
        CHECK_EQUAL(kvm_engine.doorbell(bench.vm, event, &doorbell, false, &bench.error), 0);
        CHECK(kvm_engine.doorbell(bench.vm, event, &doorbell, false, &bench.error) <
              0); /* it is gone */
    }
    close_bench(&bench);
    close(event);
}

/* Where an event cannot be used, it is said why, and what the device does instead. */
static void test_events_that_are_refused(void)
{
    static const struct engine_doorbell wide = {.address = 0x20, .size = 3, .is_port = true};
    struct bench bench;
    int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (open_bench(&bench, "irqchip=none", NULL)) {
        CHECK_EQUAL(kvm_engine.irq_event(bench.vm, event, GSI, true, &bench.error), -EOPNOTSUPP);
        CHECK(strstr(bench.error.text, "--irqchip none") != NULL);
        CHECK_EQUAL(kvm_engine.doorbell(bench.vm, event, &wide, true, &bench.error), -EIO);
        CHECK(strstr(bench.error.text, "KVM refuses a doorbell at 0x20: Invalid") != NULL);
        int device = bench.vm->device;
        bench.vm->device = -1; /* no extension is there any more */
        CHECK_EQUAL(kvm_engine.doorbell(bench.vm, event, &wide, true, &bench.error), -EOPNOTSUPP);
        CHECK(strstr(bench.error.text, "no KVM_CAP_IOEVENTFD: update the kernel") != NULL);
        CHECK_EQUAL(kvm_engine.irq_event(bench.vm, event, GSI, true, &bench.error), -EOPNOTSUPP);
        CHECK(strstr(bench.error.text, "no KVM_CAP_IRQFD: update the kernel") != NULL);
        bench.vm->device = device;
    }
    close_bench(&bench);
    close(event);
}

int main(void)
{
    if (kvm_is_usable()) {
        test_message("irqchip=kernel");
        test_message("irqchip=split");
        test_end_of_interrupt();
        test_irq_event("irqchip=kernel");
        test_irq_event("irqchip=split");
        test_bad_routes();
        test_refused_route();
        test_doorbell();
        test_events_that_are_refused();
    }
    return check_summary();
}
