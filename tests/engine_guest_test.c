/*
 * Tiny guests on an engine of the hardware's, their exits and interrupts.
 *
 * usage: engine_guest_test kvm|vtx
 */
#include <stdlib.h>

#include "engine_bench.h"

/* The engine under test, and how its interrupt controllers are left to us. */
static const struct {
    const char *name, *arguments;
} known[] = {{"kvm", "irqchip=none"}, {"vtx", NULL}};
static const struct engine_ops *engine;
static const char *engine_arguments;

static bool open_bench(struct bench *bench, const struct interrupt_source *interrupts)
{
    return open_engine_bench(bench, engine, engine_arguments, interrupts);
}

/* False: there is no such engine. */
static bool find_engine(const char *name)
{
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        for (unsigned int k = 0; engine_table[k] != NULL; k++) {
            if (strcmp(known[i].name, name) == 0 && strcmp(engine_table[k]->name, name) == 0) {
                engine = engine_table[k];
                engine_arguments = known[i].arguments;
            }
        }
    }
    return engine != NULL;
}

static bool is_usable(void)
{
    struct engine_probe probe;
    engine->probe(&probe);
    if (!probe.usable) {
        SKIP(probe.why);
    }
    return probe.usable;
}

/* Each mode: 0x1234 goes out of port 0x10 (word), a byte comes in, HLT; sizes in code order. */
static const uint8_t io_real[] = {
    0xb8, 0x34, 0x12, /* mov ax, 0x1234 */
    0xe7, 0x10,       /* out 0x10, ax */
    0xe4, 0x11,       /* in al, 0x11 */
    0x88, 0xc3,       /* mov bl, al */
    0xf4,             /* hlt */
};
static const uint8_t io_wide[] = {
    0xb8, 0x78, 0x56, 0x34, 0x12, /* mov eax, 0x12345678 */
    0xe7, 0x10,                   /* out 0x10, eax */
    0x66, 0xe7, 0x12,             /* out 0x12, ax */
    0xe6, 0x13,                   /* out 0x13, al */
    0xe5, 0x14,                   /* in eax, 0x14 */
    0x89, 0xc3,                   /* mov ebx, eax */
    0xf4,                         /* hlt */
};

static void expect_out(struct bench *bench, uint16_t port, uint8_t size, uint32_t value)
{
    uint32_t seen = 0;
    if (!CHECK_EQUAL(run(bench), EXIT_PIO)) {
        return;
    }
    CHECK(bench->exit.pio.is_write);
    CHECK_EQUAL(bench->exit.pio.port, port);
    CHECK_EQUAL(bench->exit.pio.count, 1);
    if (CHECK_EQUAL(bench->exit.pio.size, size)) {
        memcpy(&seen, bench->exit.pio.data, size);
    }
    CHECK_EQUAL(seen, value);
}

static void answer_in(struct bench *bench, uint16_t port, uint8_t size, uint32_t value)
{
    if (!CHECK_EQUAL(run(bench), EXIT_PIO)) {
        return;
    }
    CHECK(!bench->exit.pio.is_write);
    CHECK_EQUAL(bench->exit.pio.port, port);
    if (CHECK_EQUAL(bench->exit.pio.size, size)) {
        memcpy(bench->exit.pio.data, &value, size);
    }
}

static void test_real_mode(void)
{
    struct bench bench;
    if (open_bench(&bench, NULL)) {
        load(&bench, KVM_GUEST_REAL, io_real, sizeof(io_real));
        expect_out(&bench, 0x10, 2, 0x1234);
        answer_in(&bench, 0x11, 1, 0x5a);
        CHECK_EQUAL(run(&bench), EXIT_HLT);
        get_general(&bench);
        CHECK_EQUAL(bench.state.gpr[X86_RBX] & 0xff, 0x5a);
        CHECK_EQUAL(bench.state.rip, KVM_GUEST_ENTRY + sizeof(io_real));
    }
    close_bench(&bench);
}

static void test_wide_mode(enum kvm_guest_mode mode)
{
    struct bench bench;
    if (open_bench(&bench, NULL)) {
        load(&bench, mode, io_wide, sizeof(io_wide));
        expect_out(&bench, 0x10, 4, 0x12345678);
        expect_out(&bench, 0x12, 2, 0x5678);
        expect_out(&bench, 0x13, 1, 0x78);
        answer_in(&bench, 0x14, 4, 0xdeadbeef);
        CHECK_EQUAL(run(&bench), EXIT_HLT);
        get_general(&bench);
        CHECK_EQUAL(bench.state.gpr[X86_RBX], 0xdeadbeef);
    }
    close_bench(&bench);
}

/* rep outsb and rep insb: all elements arrive, however the engine splits them. */
static void test_string_io(void)
{
    static const uint8_t code[] = {
        0xbe, 0x00, 0x60, /* mov si, 0x6000 */
        0xb9, 0x08, 0x00, /* mov cx, 8 */
        0xba, 0x10, 0x00, /* mov dx, 0x10 */
        0xf3, 0x6e,       /* rep outsb */
        0xbf, 0x00, 0x61, /* mov di, 0x6100 */
        0xb9, 0x08, 0x00, /* mov cx, 8 */
        0xf3, 0x6c,       /* rep insb */
        0xf4,             /* hlt */
    };
    struct bench bench;
    if (open_bench(&bench, NULL)) {
        load(&bench, KVM_GUEST_REAL, code, sizeof(code));
        guestmem_write(bench.memory, gpa(0x6000), "trapeze!", 8);
        char seen[9] = {0};
        unsigned int out = 0, in = 0;
        enum exit_reason reason = run(&bench);
        while (reason == EXIT_PIO && out <= 8 && in <= 8) {
            for (uint32_t i = 0; i < bench.exit.pio.count && out <= 8 && in <= 8; i++) {
                if (bench.exit.pio.is_write) {
                    seen[out++ % 8] = (char)bench.exit.pio.data[i];
                } else {
                    bench.exit.pio.data[i] = (uint8_t)('a' + in++);
                }
            }
            reason = run(&bench);
        }
        CHECK_EQUAL(reason, EXIT_HLT);
        CHECK(strcmp(seen, "trapeze!") == 0);
        char stored[9] = {0};
        guestmem_read(bench.memory, gpa(0x6100), stored, 8);
        CHECK(strcmp(stored, "abcdefgh") == 0);
    }
    close_bench(&bench);
}

static void test_mmio(void)
{
    static const uint8_t code[] = {
        0xb8, 0x78, 0x56, 0x34, 0x12,             /* mov eax, 0x12345678 */
        0xa3, 0x00, 0x00, 0x00, 0xd0,             /* mov [0xd0000000], eax */
        0x8b, 0x1d, 0x04, 0x00, 0x00, 0xd0,       /* mov ebx, [0xd0000004] */
        0x0f, 0xb6, 0x0d, 0x08, 0x00, 0x00, 0xd0, /* movzx ecx, byte [0xd0000008] */
        0xf4,                                     /* hlt */
    };
    struct bench bench;
    if (open_bench(&bench, NULL)) {
        load(&bench, KVM_GUEST_PROTECTED, code, sizeof(code));
        CHECK_EQUAL(run(&bench), EXIT_MMIO);
        CHECK(bench.exit.mmio.is_write);
        CHECK_EQUAL(bench.exit.mmio.address, 0xd0000000);
        CHECK_EQUAL(bench.exit.mmio.size, 4);
        CHECK(memcmp(bench.exit.mmio.data, "\x78\x56\x34\x12", 4) == 0);
        CHECK_EQUAL(run(&bench), EXIT_MMIO);
        CHECK(!bench.exit.mmio.is_write);
        CHECK_EQUAL(bench.exit.mmio.address, 0xd0000004);
        memcpy(bench.exit.mmio.data, "\xef\xbe\xad\xde", 4);
        CHECK_EQUAL(run(&bench), EXIT_MMIO);
        CHECK_EQUAL(bench.exit.mmio.size, 1);
        bench.exit.mmio.data[0] = 0x77;
        CHECK_EQUAL(run(&bench), EXIT_HLT);
        get_general(&bench);
        CHECK_EQUAL(bench.state.gpr[X86_RBX], 0xdeadbeef);
        CHECK_EQUAL(bench.state.gpr[X86_RCX], 0x77);
    }
    close_bench(&bench);
}

/* ud2 with an empty IDT: #UD, then #DF, then shutdown. */
static void test_triple_fault(void)
{
    static const uint8_t code[] = {0x0f, 0x0b};
    struct bench bench;
    if (open_bench(&bench, NULL)) {
        bench.state.idtr.limit = 0;
        load(&bench, KVM_GUEST_PROTECTED, code, sizeof(code));
        CHECK_EQUAL(run(&bench), EXIT_SHUTDOWN);
        CHECK_EQUAL(bench.exit.shutdown.exception_count, 0);
    }
    close_bench(&bench);
}

/* rdmsr and wrmsr of an MSR that the engine does not know come to the monitor, where it offers
 * that. */
static void test_unknown_msr(void)
{
    static const uint8_t code[] = {
        0xb9, 0x99, 0x00, 0xcd, 0xab, /* mov ecx, 0xabcd0099 */
        0x0f, 0x32,                   /* rdmsr */
        0x89, 0xc3,                   /* mov ebx, eax */
        0x0f, 0x30,                   /* wrmsr */
        0xf4,                         /* hlt */
    };
    struct bench bench;
    if (open_bench(&bench, NULL)) {
        load(&bench, KVM_GUEST_PROTECTED, code, sizeof(code));
        enum exit_reason reason = run(&bench);
        if (reason == EXIT_RDMSR) {
            CHECK_EQUAL(bench.exit.msr.index, 0xabcd0099);
            CHECK(bench.exit.msr.refused);
            bench.exit.msr.refused = false;
            bench.exit.msr.value = UINT64_C(0x1122334455667788);
            CHECK_EQUAL(run(&bench), EXIT_WRMSR);
            CHECK_EQUAL(bench.exit.msr.value, UINT64_C(0x1122334455667788));
            bench.exit.msr.refused = false;
            CHECK_EQUAL(run(&bench), EXIT_HLT);
            get_general(&bench);
            CHECK_EQUAL(bench.state.gpr[X86_RBX], 0x55667788);
        } else {
            SKIP("this engine does not pass on unknown MSRs");
        }
    }
    close_bench(&bench);
}

/* Interrupts */

struct fake_controller {
    unsigned int waiting; /* how many interrupts are left */
    unsigned int acknowledged;
    uint8_t cr8;
    struct interrupt_source interface;
};

static bool fake_pending(void *context)
{
    return ((struct fake_controller *)context)->waiting != 0;
}

static int fake_acknowledge(void *context)
{
    struct fake_controller *controller = context;
    controller->waiting--;
    controller->acknowledged++;
    return 0x21;
}

static uint8_t fake_get_cr8(void *context)
{
    return ((struct fake_controller *)context)->cr8;
}

static void fake_set_cr8(void *context, uint8_t value)
{
    ((struct fake_controller *)context)->cr8 = value;
}

/* The guest counts interrupts in BL and ends when it has seen three. */
static void test_user_space_interrupts(void)
{
    static const uint8_t code[] = {
        0xfb,             /* sti */
        0xf4,             /* hlt */
        0x80, 0xfb, 0x03, /* cmp bl, 3 */
        0x75, 0xfa,       /* jne back to the hlt */
        0xfa,             /* cli */
        0xe6, 0x99,       /* out 0x99, al */
        0xfe, 0xc3,       /* (0x800a) inc bl */
        0xcf,             /* iret */
    };
    struct fake_controller controller = {0};
    controller.interface = (struct interrupt_source){.pending = fake_pending,
                                                     .acknowledge = fake_acknowledge,
                                                     .get_cr8 = fake_get_cr8,
                                                     .set_cr8 = fake_set_cr8,
                                                     .context = &controller};
    struct bench bench;
    if (open_bench(&bench, &controller.interface)) {
        CHECK_EQUAL(bench.engine->features(bench.vm) & ENGINE_HAS_INTERRUPT_CONTROLLERS, 0);
        load(&bench, KVM_GUEST_REAL, code, sizeof(code));
        uint16_t vector[2] = {0x800a, 0};
        guestmem_write(bench.memory, gpa(0x21 * 4), vector, sizeof(vector));
        unsigned int exits = 0, halts = 0;
        enum exit_reason reason = run(&bench);
        while (exits++ < 50 && (reason == EXIT_HLT || reason == EXIT_INTERRUPT_WINDOW)) {
            if (reason == EXIT_HLT && controller.acknowledged < 3) {
                halts++;
                controller.waiting++;
            }
            reason = run(&bench);
        }
        CHECK_EQUAL(reason, EXIT_PIO);
        CHECK_EQUAL(controller.acknowledged, 3);
        CHECK(halts >= 1);
        get_general(&bench);
        CHECK_EQUAL(bench.state.gpr[X86_RBX] & 0xff, 3);
    }
    close_bench(&bench);
}

static void test_nmi(void)
{
    static const uint8_t code[] = {
        0xf4,       /* hlt with interrupts off */
        0xe6, 0x98, /* out 0x98, al: must not be reached before the handler's */
        0xe6, 0x99, /* (0x8003) out 0x99, al */
    };
    struct bench bench;
    if (open_bench(&bench, NULL)) {
        load(&bench, KVM_GUEST_REAL, code, sizeof(code));
        uint16_t vector[2] = {0x8003, 0};
        guestmem_write(bench.memory, gpa(2 * 4), vector, sizeof(vector));
        CHECK_EQUAL(run(&bench), EXIT_HLT);
        CHECK_EQUAL(bench.engine->nmi(bench.vcpu), 0);
        if (CHECK_EQUAL(run(&bench), EXIT_PIO)) {
            CHECK_EQUAL(bench.exit.pio.port, 0x99);
        }
    }
    close_bench(&bench);
}

/* A kick between a port read and its completion: the read is completed, then the kick reported. */
static void test_kick_completes(void)
{
    struct bench bench;
    if (open_bench(&bench, NULL)) {
        load(&bench, KVM_GUEST_PROTECTED, io_wide, sizeof(io_wide));
        for (unsigned int i = 0; i < 3; i++) {
            CHECK_EQUAL(run(&bench), EXIT_PIO);
        }
        answer_in(&bench, 0x14, 4, 0xcafef00d);
        bench.engine->kick(bench.vcpu);
        CHECK_EQUAL(run(&bench), EXIT_KICKED);
        get_general(&bench);
        CHECK_EQUAL(bench.state.gpr[X86_RAX], 0xcafef00d);
        CHECK_EQUAL(run(&bench), EXIT_HLT);
    }
    close_bench(&bench);
}

int main(int count, char **arguments)
{
    if (count != 2 || !find_engine(arguments[1])) {
        fputs("usage: engine_guest_test kvm|vtx\n", stderr);
        return EXIT_FAILURE;
    }
    if (is_usable()) {
        test_real_mode();
        test_wide_mode(KVM_GUEST_PROTECTED);
        test_wide_mode(KVM_GUEST_LONG);
        test_string_io();
        test_mmio();
        test_triple_fault();
        test_unknown_msr();
        test_user_space_interrupts();
        test_nmi();
        test_kick_completes();
    }
    return check_summary();
}
