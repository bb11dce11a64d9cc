/*
 * The KVM engine on this machine's /dev/kvm: tiny guests, state, kicks, and what is left behind.
 *
 * KVM may be emulated by the host and slow, so each guest is a handful of instructions.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/event_count.h"
#include "base/threads.h"
#include "check.h"
#include "engines/kvm/kvm.h"
#include "engines/kvm/kvm_guest.h"
#include "engines/kvm/kvm_internal.h"
#include "vm/exit_stats.h"
#include "vm/vm.h"

/* A vCPU of the engine without a VM object around it. */
struct bench {
    struct guestmem *memory;
    struct engine_vm *vm;
    struct engine_vcpu *vcpu;
    struct x86_state state;
    struct vcpu_exit exit;
    struct error error;
};

static struct guestmem *make_memory(uint64_t length)
{
    struct guestmem_options options = {.shared = false};
    struct guestmem *memory = NULL;
    struct error error;
    CHECK_EQUAL(guestmem_create(&options, &memory, &error), 0);
    CHECK_EQUAL(guestmem_add(memory, gpa(0), length, 0, &error), 0);
    return memory;
}

static bool succeeded(struct bench *bench, int code, const char *what)
{
    bool good = check_report(code == 0, __FILE__, __LINE__, what);
    if (!good) {
        fprintf(stderr, "    %d: %s\n", code, bench->error.text);
    }
    return good;
}

static bool open_bench(struct bench *bench, const char *arguments,
                       const struct interrupt_source *interrupts)
{
    memset(bench, 0, sizeof(*bench));
    bench->memory = make_memory(0x200000);
    struct engine_vm_options options = {
        .memory = bench->memory, .vcpu_count = 1, .arguments = arguments};
    struct cpuid_table cpuid;
    struct engine_vcpu_options vcpu_options = {.cpuid = &cpuid, .interrupts = interrupts};
    return succeeded(bench, kvm_engine.vm_create(&options, &bench->vm, &bench->error), "VM") &&
           succeeded(bench, kvm_engine.cpuid_supported(bench->vm, &cpuid, &bench->error),
                     "CPUID") &&
           succeeded(bench,
                     kvm_engine.vcpu_create(bench->vm, &vcpu_options, &bench->vcpu, &bench->error),
                     "vCPU") &&
           succeeded(bench,
                     kvm_engine.get_state(bench->vcpu, X86_STATE_ALL, &bench->state, &bench->error),
                     "state");
}

static void close_bench(struct bench *bench)
{
    if (bench->vcpu != NULL) {
        kvm_engine.vcpu_destroy(bench->vcpu);
    }
    if (bench->vm != NULL) {
        kvm_engine.vm_destroy(bench->vm);
    }
    guestmem_destroy(bench->memory);
}

/* Puts code into a mode's guest and its state into the vCPU. */
static void load(struct bench *bench, enum kvm_guest_mode mode, const uint8_t *code, size_t length)
{
    CHECK_EQUAL(kvm_guest_prepare(bench->memory, mode, code, length, &bench->state), 0);
    succeeded(bench,
              kvm_engine.set_state(bench->vcpu, X86_STATE_GENERAL | X86_STATE_SYSTEM, &bench->state,
                                   &bench->error),
              "set the mode");
}

/* Runs to the next exit that is none of EINTR, EAGAIN. */
static enum exit_reason run(struct bench *bench)
{
    int code;
    do {
        code = kvm_engine.run(bench->vcpu, &bench->exit, &bench->error);
    } while (code == -EINTR || code == -EAGAIN);
    succeeded(bench, code, "run");
    return code == 0 ? bench->exit.reason : EXIT_NONE;
}

static void get_general(struct bench *bench)
{
    succeeded(bench,
              kvm_engine.get_state(bench->vcpu, X86_STATE_GENERAL, &bench->state, &bench->error),
              "get the registers");
}

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

/* Guests */

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
    if (open_bench(&bench, "irqchip=off", NULL)) {
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
    if (open_bench(&bench, "irqchip=off", NULL)) {
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

/* rep outsb and rep insb: all elements arrive, however the kernel splits them. */
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
    if (open_bench(&bench, "irqchip=off", NULL)) {
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
    if (open_bench(&bench, "irqchip=off", NULL)) {
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
    if (open_bench(&bench, "irqchip=off", NULL)) {
        bench.state.idtr.limit = 0;
        load(&bench, KVM_GUEST_PROTECTED, code, sizeof(code));
        CHECK_EQUAL(run(&bench), EXIT_SHUTDOWN);
        CHECK_EQUAL(bench.exit.shutdown.exception_count, 0);
    }
    close_bench(&bench);
}

/* rdmsr and wrmsr of an MSR that KVM does not know come to the monitor, where it offers that. */
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
    if (open_bench(&bench, "irqchip=off", NULL)) {
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
            SKIP("this KVM does not pass on unknown MSRs");
        }
    }
    close_bench(&bench);
}

/* Interrupts without controllers in the kernel */

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
    if (open_bench(&bench, "irqchip=off", &controller.interface)) {
        CHECK_EQUAL(kvm_engine.features(bench.vm) & ENGINE_HAS_INTERRUPT_CONTROLLERS, 0);
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
    if (open_bench(&bench, "irqchip=off", NULL)) {
        load(&bench, KVM_GUEST_REAL, code, sizeof(code));
        uint16_t vector[2] = {0x8003, 0};
        guestmem_write(bench.memory, gpa(2 * 4), vector, sizeof(vector));
        CHECK_EQUAL(run(&bench), EXIT_HLT);
        CHECK_EQUAL(kvm_engine.nmi(bench.vcpu), 0);
        if (CHECK_EQUAL(run(&bench), EXIT_PIO)) {
            CHECK_EQUAL(bench.exit.pio.port, 0x99);
        }
    }
    close_bench(&bench);
}

/* State */

static void fill_pattern(struct x86_state *state)
{
    for (unsigned int i = 0; i < X86_GPR_COUNT; i++) {
        state->gpr[i] = UINT64_C(0x0101010101010101) * (i + 1);
    }
    state->rip = 0x12345;
    state->rflags = X86_FLAGS_ONE | X86_FLAGS_CF | X86_FLAGS_IF | X86_FLAGS_AC;
    state->segment[X86_FS].base = 0x7fff12345678;
    state->segment[X86_GS].base = UINT64_C(0xffffffff81000000);
    state->segment[X86_LDTR] = (struct x86_segment){.attributes = X86_SEGMENT_UNUSABLE};
    state->gdtr = (struct x86_table_register){.base = UINT64_C(0xffffffff82001000), .limit = 0x7f};
    state->idtr = (struct x86_table_register){.base = UINT64_C(0xffffffff82002000), .limit = 0xfff};
    state->cr2 = UINT64_C(0xffff888812345000);
    state->dr[0] = 0x1000;
    state->dr[3] = 0x4000;
    state->dr[6] = X86_DR6_ONES | X86_DR6_BS;
    state->dr[7] = X86_DR7_ONE | 3;
    state->msr.lstar = UINT64_C(0xffffffff81800000);
    state->msr.star = UINT64_C(0x0023001000000000);
    state->msr.fmask = 0x47700;
    state->msr.kernel_gs_base = 0x7f0011223344;
    state->msr.sysenter_cs = 0x10;
    state->msr.sysenter_eip = UINT64_C(0xffffffff81801000);
    state->msr.pat = UINT64_C(0x0007010600070106);
    state->xsave[0] = 0x7f; /* FCW 0x037f */
    state->xsave[1] = 0x03;
    state->xsave[24] = 0x80; /* MXCSR 0x1f80 */
    state->xsave[25] = 0x1f;
    memset(state->xsave + 160, 0xa5, 256); /* XMM0..15 */
    state->xsave[512] = X86_XCR0_X87 | X86_XCR0_SSE;
    state->sti_shadow = true;
    state->nmi_blocked = true;
}

static void test_state_round_trip(void)
{
    struct bench bench;
    if (open_bench(&bench, "irqchip=off", NULL)) {
        static const uint8_t code[] = {0xf4};
        CHECK_EQUAL(
            kvm_guest_prepare(bench.memory, KVM_GUEST_LONG, code, sizeof(code), &bench.state), 0);
        fill_pattern(&bench.state);
        struct x86_state *in = &bench.state;
        struct x86_state out;
        memset(&out, 0xcc, sizeof(out));
        succeeded(&bench, kvm_engine.set_state(bench.vcpu, X86_STATE_ALL, in, &bench.error), "set");
        succeeded(&bench, kvm_engine.get_state(bench.vcpu, X86_STATE_ALL, &out, &bench.error),
                  "get");
        CHECK(memcmp(out.gpr, in->gpr, sizeof(out.gpr)) == 0);
        CHECK_EQUAL(out.rip, in->rip);
        CHECK_EQUAL(out.rflags, in->rflags);
        for (unsigned int i = 0; i < X86_SEGMENT_ALL_COUNT; i++) {
            bool unusable = (in->segment[i].attributes & X86_SEGMENT_UNUSABLE) != 0;
            CHECK_EQUAL(out.segment[i].selector, in->segment[i].selector);
            CHECK_EQUAL(out.segment[i].attributes & X86_SEGMENT_UNUSABLE,
                        in->segment[i].attributes & X86_SEGMENT_UNUSABLE);
            if (!unusable) {
                CHECK_EQUAL(out.segment[i].base, in->segment[i].base);
                CHECK_EQUAL(out.segment[i].limit, in->segment[i].limit);
                CHECK_EQUAL(out.segment[i].attributes, in->segment[i].attributes);
            }
        }
        CHECK_EQUAL(out.gdtr.base, in->gdtr.base);
        CHECK_EQUAL(out.gdtr.limit, in->gdtr.limit);
        CHECK_EQUAL(out.idtr.base, in->idtr.base);
        CHECK_EQUAL(out.idtr.limit, in->idtr.limit);
        CHECK_EQUAL(out.cr0, in->cr0);
        CHECK_EQUAL(out.cr2, in->cr2);
        CHECK_EQUAL(out.cr3, in->cr3);
        CHECK_EQUAL(out.cr4, in->cr4);
        CHECK_EQUAL(out.efer, in->efer);
        CHECK(memcmp(out.dr, in->dr, sizeof(out.dr)) == 0);
        CHECK_EQUAL(out.msr.lstar, in->msr.lstar);
        CHECK_EQUAL(out.msr.star, in->msr.star);
        CHECK_EQUAL(out.msr.fmask, in->msr.fmask);
        CHECK_EQUAL(out.msr.kernel_gs_base, in->msr.kernel_gs_base);
        CHECK_EQUAL(out.msr.sysenter_cs, in->msr.sysenter_cs);
        CHECK_EQUAL(out.msr.sysenter_eip, in->msr.sysenter_eip);
        CHECK_EQUAL(out.msr.pat, in->msr.pat);
        CHECK_EQUAL(out.msr.apic_base, in->msr.apic_base);
        CHECK(out.msr.tsc >= in->msr.tsc);
        CHECK(memcmp(out.xsave, in->xsave, 24) == 0);
        CHECK(memcmp(out.xsave + 160, in->xsave + 160, 256) == 0);
        CHECK_EQUAL(out.xcr0, in->xcr0);
        CHECK_EQUAL(out.pkru, in->pkru);
        CHECK_EQUAL(out.sti_shadow, in->sti_shadow);
        CHECK_EQUAL(out.nmi_blocked, in->nmi_blocked);
        CHECK_EQUAL(out.exception_pending, in->exception_pending);
    }
    close_bench(&bench);
}

/* What is nonsense is refused with words, not taken. */
static void test_bad_state(void)
{
    struct bench bench;
    if (open_bench(&bench, "irqchip=off", NULL)) {
        bench.state.cr0 = X86_CR0_PG; /* paging without protection */
        bench.state.cr4 = UINT64_C(1) << 63;
        CHECK(kvm_engine.set_state(bench.vcpu, X86_STATE_SYSTEM, &bench.state, &bench.error) < 0);
        CHECK(strstr(bench.error.text, "system registers") != NULL);
    }
    close_bench(&bench);
}

/* Kicks */

struct kicker {
    struct engine_vcpu *vcpu;
    struct event_count asked; /* signalled when something below changes */
    atomic_uint wanted;       /* kicks asked for by the vCPU's thread */
    atomic_bool end;
};

static void ask_for_kick(struct kicker *kicker)
{
    atomic_fetch_add(&kicker->wanted, 1);
    event_count_signal(&kicker->asked);
}

static void end_kicker(struct kicker *kicker, pthread_t thread)
{
    atomic_store(&kicker->end, true);
    event_count_signal(&kicker->asked);
    pthread_join(thread, NULL);
}

static void *kick_on_demand(void *context)
{
    struct kicker *kicker = context;
    unsigned int done = 0;
    while (!atomic_load(&kicker->end)) {
        unsigned int ticket = event_count_ticket(&kicker->asked);
        if (atomic_load(&kicker->wanted) == done) {
            if (!atomic_load(&kicker->end)) {
                event_count_wait(&kicker->asked, ticket);
            }
            continue;
        }
        done++;
        for (volatile unsigned int i = 0; i < done % 16 * 500; i++) {
            /* at another moment each time */
        }
        kvm_engine.kick(kicker->vcpu);
    }
    return NULL;
}

#define KICKS 500u

/* An endless loop that only kicks end; a lost one hangs here. */
static void test_kicks(const char *arguments)
{
    static const uint8_t code[] = {0xeb, 0xfe}; /* jmp to itself */
    struct bench bench;
    if (open_bench(&bench, arguments, NULL)) {
        load(&bench, KVM_GUEST_REAL, code, sizeof(code));
        struct kicker kicker = {.vcpu = bench.vcpu};
        pthread_t thread;
        struct thread_options options = {
            .name = "kicker", .run = kick_on_demand, .context = &kicker};
        CHECK_EQUAL(thread_start(&thread, &options, &bench.error), 0);
        unsigned int kicked = 0;
        for (unsigned int i = 0; i < KICKS; i++) {
            ask_for_kick(&kicker);
            kicked += run(&bench) == EXIT_KICKED ? 1 : 0;
        }
        CHECK_EQUAL(kicked, KICKS);
        end_kicker(&kicker, thread);

        /* From the vCPU's own thread, before a run: not lost either, and reported once. */
        kvm_engine.kick(bench.vcpu);
        kvm_engine.kick(bench.vcpu);
        CHECK_EQUAL(run(&bench), EXIT_KICKED);
    }
    close_bench(&bench);
}

/* A kick between a port read and its completion: the read is completed, then the kick reported. */
static void test_kick_completes(void)
{
    struct bench bench;
    if (open_bench(&bench, "irqchip=off", NULL)) {
        load(&bench, KVM_GUEST_PROTECTED, io_wide, sizeof(io_wide));
        for (unsigned int i = 0; i < 3; i++) {
            CHECK_EQUAL(run(&bench), EXIT_PIO);
        }
        answer_in(&bench, 0x14, 4, 0xcafef00d);
        kvm_engine.kick(bench.vcpu);
        CHECK_EQUAL(run(&bench), EXIT_KICKED);
        get_general(&bench);
        CHECK_EQUAL(bench.state.gpr[X86_RAX], 0xcafef00d);
        CHECK_EQUAL(run(&bench), EXIT_HLT);
    }
    close_bench(&bench);
}

/* With interrupt controllers in the kernel HLT is in there too; a kick still ends it. */
static void test_kick_ends_halt_in_kernel(void)
{
    static const uint8_t code[] = {0xf4, 0xeb, 0xfd};
    struct bench bench;
    if (open_bench(&bench, NULL, NULL)) {
        if ((kvm_engine.features(bench.vm) & ENGINE_HAS_INTERRUPT_CONTROLLERS) == 0) {
            SKIP("this KVM has no interrupt controllers");
        } else {
            load(&bench, KVM_GUEST_REAL, code, sizeof(code));
            struct kicker kicker = {.vcpu = bench.vcpu};
            pthread_t thread;
            struct thread_options options = {
                .name = "kicker", .run = kick_on_demand, .context = &kicker};
            CHECK_EQUAL(thread_start(&thread, &options, &bench.error), 0);
            for (unsigned int i = 0; i < 50; i++) {
                ask_for_kick(&kicker);
                CHECK_EQUAL(run(&bench), EXIT_KICKED);
            }
            end_kicker(&kicker, thread);
            CHECK_EQUAL(kvm_engine.irq_line(bench.vm, 4, true), 0);
            CHECK_EQUAL(kvm_engine.irq_line(bench.vm, 4, false), 0);
            struct msi_message message = {.address = 0xfee00000, .data = 0x41};
            CHECK_EQUAL(kvm_engine.msi(bench.vm, &message), 0);
        }
    }
    close_bench(&bench);
}

/* With the VM object around it */

static void debug_exit_io(void *device, struct bus_access *access)
{
    if (access->is_write) {
        vm_stop(device, VM_DEBUG_EXIT, (int)access->value, NULL);
    } else {
        access->value = 0x21;
    }
}

static struct vm *make_vm(unsigned int vcpus, const char *arguments)
{
    struct vm_options options = {.engine = &kvm_engine,
                                 .engine_arguments = arguments,
                                 .memory = make_memory(0x200000),
                                 .vcpu_count = vcpus,
                                 .tsc_hz = 1000000000};
    struct vm *vm = NULL;
    struct error error = {""};
    if (!CHECK_EQUAL(vm_create(&options, &vm, &error), 0)) {
        fprintf(stderr, "    %s\n", error.text);
    }
    return vm;
}

static void start(struct vm *vm)
{
    struct error error = {""};
    if (!CHECK_EQUAL(vm_start(vm, &error), 0)) {
        fprintf(stderr, "    %s\n", error.text);
    }
}

static void test_vm_object(void)
{
    static const uint8_t code[] = {
        0xe4, 0xf4, /* in al, 0xf4 */
        0x04, 0x21, /* add al, 0x21 */
        0xe6, 0xf4, /* out 0xf4, al */
        0xeb, 0xfe, /* jmp to itself */
    };
    struct vm *vm = make_vm(1, NULL);
    bus_map(&vm->ports, 0xf4, 1, "debug-exit", debug_exit_io, vm);
    CHECK_EQUAL(
        kvm_guest_prepare(vm->memory, KVM_GUEST_REAL, code, sizeof(code), &vm->vcpus[0].initial),
        0);
    start(vm);
    CHECK_EQUAL(vm_wait(vm), VM_DEBUG_EXIT);
    CHECK_EQUAL(vm->outcome_code, 0x42);
    CHECK_EQUAL(exit_stats_total(vm->vcpus[0].stats, EXIT_PIO), 2);
    CHECK(vm->vcpus[0].final_known);
    CHECK_EQUAL(vm->vcpus[0].final.gpr[X86_RAX] & 0xff, 0x42);
    vm_destroy(vm);
}

static unsigned int open_descriptors(void)
{
    unsigned int count = 0;
    DIR *directory = opendir("/proc/self/fd");
    while (directory != NULL && readdir(directory) != NULL) {
        count++;
    }
    closedir(directory);
    return count;
}

/* Start and stop, at different moments, leaves nothing open. */
static void test_start_stop(void)
{
    static const uint8_t code[] = {0xeb, 0xfe};
    unsigned int before = open_descriptors();
    for (unsigned int i = 0; i < 24; i++) {
        struct vm *vm = make_vm(2, i % 2 == 0 ? NULL : "irqchip=off");
        kvm_guest_prepare(vm->memory, KVM_GUEST_REAL, code, sizeof(code), &vm->vcpus[0].initial);
        start(vm);
        struct timespec pause = {.tv_nsec = (long)i * 50000};
        nanosleep(&pause, NULL);
        vm_stop(vm, VM_QUIT, 0, NULL);
        CHECK_EQUAL(vm_wait(vm), VM_QUIT);
        vm_destroy(vm);
    }
    CHECK_EQUAL(open_descriptors(), before);
}

static void test_probe(void)
{
    struct engine_probe probe;
    kvm_engine.probe(&probe);
    CHECK(probe.usable);
    CHECK(probe.why[0] != '\0');
    CHECK(strstr(probe.details, "API version 12") != NULL);
    CHECK(strstr(probe.details, "real mode") != NULL);
    CHECK(probe.mips > 0 && probe.exit_us > 0);
    printf("%s\n%s\n%.1f MIPS, %.2f us an exit\n", probe.why, probe.details, probe.mips,
           probe.exit_us);
}

int main(void)
{
    test_open_errors();
    test_no_permission();
    struct error error;
    int device = kvm_open_device(KVM_DEVICE_PATH, &error);
    if (device < 0) {
        SKIP(error.text);
        return check_summary();
    }
    close(device);
    test_real_mode();
    test_wide_mode(KVM_GUEST_PROTECTED);
    test_wide_mode(KVM_GUEST_LONG);
    test_string_io();
    test_mmio();
    test_triple_fault();
    test_unknown_msr();
    test_user_space_interrupts();
    test_nmi();
    test_state_round_trip();
    test_bad_state();
    test_kicks("irqchip=off");
    test_kicks(NULL);
    test_kick_completes();
    test_kick_ends_halt_in_kernel();
    test_vm_object();
    test_start_stop();
    test_probe();
    return check_summary();
}
