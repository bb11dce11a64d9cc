/*
 * VT-x: any exits, with any registers and any memory. Nothing breaks, and whatever the core makes
 * of them is a state that the processor takes.
 */
#include <string.h>

#include "check.h"
#include "vtx/core/injection.h"
#include "vtx_fake.h"

#define ROUNDS 400
#define EXITS  400

static struct fake_machine machine;
static uint64_t seed;

/* xorshift64* */
static uint64_t random64(void)
{
    seed ^= seed >> 12;
    seed ^= seed << 25;
    seed ^= seed >> 27;
    return seed * UINT64_C(0x2545f4914f6cdd1d);
}

static uint64_t below(uint64_t limit)
{
    return (random64() >> 11) % limit;
}

/* Numbers that are near something: bits, masks, addresses of the guest's memory. */
static uint64_t interesting(void)
{
    switch (below(6)) {
    case 0:
        return UINT64_C(1) << below(64);
    case 1:
        return UINT64_MAX << below(64);
    case 2:
        return below(FAKE_MEMORY);
    case 3:
        return FAKE_MEMORY - 8 + below(16);
    case 4:
        return below(256);
    default:
        return random64();
    }
}

/* Exceptions and NMIs; with interrupts, too, as of an event on its way. */
static uint32_t random_event(bool with_interrupts)
{
    static const uint32_t types[] = {ENTRY_NMI, ENTRY_HARDWARE_EXCEPTION, ENTRY_SOFTWARE_EXCEPTION,
                                     ENTRY_SOFTWARE_INTERRUPT, ENTRY_EXTERNAL_INTERRUPT};
    /* An interrupt is delivered to who takes interrupts. */
    bool takes = (fake_field(VMCS_GUEST_RFLAGS) & X86_FLAGS_IF) != 0;
    uint32_t type = types[below(!with_interrupts ? 3 : takes ? 5 : 4)];
    uint32_t vector = type == ENTRY_NMI                  ? X86_VECTOR_NMI
                      : type == ENTRY_HARDWARE_EXCEPTION ? (uint32_t)below(20)
                      : type == ENTRY_SOFTWARE_EXCEPTION ? X86_VECTOR_BP
                                                         : (uint32_t)below(256);
    const uint32_t with_error = 0x27d00; /* DF, TS to PF, AC */
    bool has_error = type == ENTRY_HARDWARE_EXCEPTION && (with_error >> vector & 1) != 0;
    return 0x80000000u | type << 8 | vector | (has_error ? 0x800u : 0);
}

/* All reasons but the one that ends everything. */
static struct fake_exit random_exit(void)
{
    struct fake_exit exit = {
        .reason = (uint32_t)below(VMX_REASON_COUNT),
        .length = 1 + (uint32_t)below(15),
        .qualification = interesting(),
        .information = (uint32_t)random64(),
        .linear = interesting(),
        .physical = below(2) != 0 ? 0xfee00000 + below(4096) : interesting(),
    };
    if (exit.reason == VMX_REASON_TRIPLE_FAULT) {
        exit.reason = VMX_REASON_CONTROL_REGISTER;
    }
    if (exit.reason == VMX_REASON_EXCEPTION_OR_NMI) {
        exit.interruption = random_event(false);
        exit.interruption_error = (uint32_t)below(256);
    }
    if (exit.reason == VMX_REASON_EPT_VIOLATION && below(4) == 0) {
        exit.vectoring = random_event(true);
        fake_set_field(VMCS_GUEST_INTERRUPTIBILITY_STATE, 0); /* its delivery had begun */
    }
    return exit;
}

/* Of an exit that comes with a register: only those that a processor has. */
static void make_possible(struct fake_exit *exit)
{
    static const unsigned int control_registers[] = {0, 3, 4, 8};
    if (exit->reason == VMX_REASON_CONTROL_REGISTER) {
        exit->qualification =
            control_registers[below(4)] | below(4) << 4 | below(16) << 8 | below(0x10000) << 16;
    } else if (exit->reason == VMX_REASON_IO_INSTRUCTION) {
        static const unsigned int sizes[] = {0, 1, 3};
        exit->qualification = sizes[below(3)] | below(8) << 3 | below(0x10000) << 16;
        exit->information = (uint32_t)below(3) << 7;
    } else if (exit->reason == VMX_REASON_GDTR_OR_IDTR || exit->reason == VMX_REASON_LDTR_OR_TR) {
        exit->information =
            (exit->information & ~0x38380u) | (uint32_t)below(3) << 7 | (uint32_t)below(6) << 15;
    }
}

static void stir_registers(void)
{
    struct vtx_vcpu *vcpu = machine.vcpu;
    const uint64_t flags = X86_FLAGS_IF | X86_FLAGS_DF | X86_FLAGS_AC | X86_FLAGS_CF | X86_FLAGS_TF;
    if (!vtx_event_pending(vcpu)) {
        uint64_t now = X86_FLAGS_ONE | (random64() & flags);
        uint64_t blocking = below(8) != 0                           ? 0
                            : (now & X86_FLAGS_IF) != 0 && below(2) ? ENTRY_BLOCKING_STI
                                                                    : ENTRY_BLOCKING_MOV_SS;
        bool step = blocking != 0 && (now & X86_FLAGS_TF) != 0;
        fake_set_field(VMCS_GUEST_RFLAGS, now);
        fake_set_field(VMCS_GUEST_INTERRUPTIBILITY_STATE, blocking);
        fake_set_field(VMCS_GUEST_PENDING_DEBUG_EXCEPTIONS, step ? ENTRY_PENDING_BS : 0);
    }
    vcpu->registers.gpr[below(X86_GPR_COUNT)] = interesting();
    if (below(2) == 0) {
        static const uint32_t msrs[] = {0x10,       0x1b,       0x174,      0x175,
                                        0x200,      0x250,      0x277,      0x2ff,
                                        0xc0000080, 0xc0000081, 0xc0000100, 0xc0000102};
        vcpu->registers.gpr[X86_RCX] = msrs[below(12)];
    }
    if (below(4) == 0 && !vtx_event_pending(vcpu)) {
        if (vtx_can_interrupt(vcpu)) {
            vtx_inject_interrupt(vcpu, (uint8_t)below(256));
        } else {
            vtx_inject_nmi(vcpu);
        }
    }
}

static void answer(struct vcpu_exit *exit)
{
    switch (exit->reason) {
    case EXIT_PIO:
        CHECK(exit->pio.size * exit->pio.count <= VTX_PAGE_SIZE);
        memset(exit->pio.data, (int)below(256), (size_t)exit->pio.size * exit->pio.count);
        break;
    case EXIT_MMIO:
        CHECK(exit->mmio.size >= 1 && exit->mmio.size <= 8);
        memset(exit->mmio.data, (int)below(256), sizeof(exit->mmio.data));
        break;
    case EXIT_RDMSR:
    case EXIT_WRMSR:
        exit->msr.refused = below(2) == 0;
        break;
    case EXIT_ENTRY_FAILED:
        fprintf(stderr, "%s\n", exit->entry_failed.text);
        CHECK(exit->reason != EXIT_ENTRY_FAILED);
        break;
    default:
        break;
    }
}

/* As an embedder does before it looks at the guest or gives it an interrupt; but maps nothing. */
static void complete(void)
{
    while (!vtx_vcpu_complete(machine.vcpu) && machine.vcpu->exit.reason != EXIT_NONE) {
        answer(&machine.vcpu->exit);
    }
}

static void round_of_exits(enum vtx_policy policy, enum fake_mode mode)
{
    fake_machine_begin(&machine, policy, mode);
    for (uint64_t at = 0; at < FAKE_MEMORY; at += VTX_PAGE_SIZE) {
        uint64_t value = interesting();
        memcpy(fake_memory(at), &value, sizeof(value));
    }
    fake_state(mode, &machine.state); /* its page tables again */
    for (unsigned int i = 0; i < EXITS && machine.vcpu->activity != X86_SHUTDOWN; i++) {
        stir_registers();
        struct fake_exit exit = random_exit();
        make_possible(&exit);
        enum vtx_outcome outcome = fake_run(&machine, exit);
        if (outcome == VTX_EXIT) {
            answer(&machine.vcpu->exit);
            if (machine.vcpu->exit.reason == EXIT_ENTRY_FAILED) {
                break;
            }
            complete();
        } else if (outcome == VTX_MEMORY) {
            CHECK(vtx_vm_slot(&machine.vm, machine.vcpu->missing.address) != NULL);
            machine.vcpu->completion = NULL;
        }
    }
    CHECK(fake_machine_stop(&machine));
}

int main(void)
{
    for (unsigned int round = 0; round < ROUNDS; round++) {
        seed = round + 1;
        round_of_exits(round % 2 != 0 ? VTX_TRAP_ALL : VTX_TRAP_SHADOW,
                       (enum fake_mode)(round / 2 % FAKE_MODES));
    }
    return check_summary();
}
