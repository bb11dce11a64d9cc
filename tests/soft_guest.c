#include "soft_guest.h"

#include <string.h>

#include "boot/cpu_state.h"
#include "boot/layout.h"
#include "check.h"
#include "engines/soft/soft.h"
#include "soft_tier.h"
#include "x86/descriptor.h"

#define IDT_BASE   UINT64_C(0x10000)
#define STUB_BASE  UINT64_C(0x20000)
#define STUB_SIZE  16u
#define VECTORS    256u
#define GATE_FLAGS UINT64_C(0x8e00) /* present, DPL 0, interrupt gate */

static bool good(int status, const struct error *error, const char *what)
{
    bool fine = check_report(status == 0, __FILE__, __LINE__, what);
    if (!fine) {
        fprintf(stderr, "    %d: %s\n", status, error->text);
    }
    return fine;
}

/* --- the vCPU's interrupt source is there from the start, and empty until one is set --- */

static bool forward_pending(void *context)
{
    const struct interrupt_source *source = ((struct soft_guest *)context)->source;
    return source != NULL && source->pending(source->context);
}

static int forward_acknowledge(void *context)
{
    const struct interrupt_source *source = ((struct soft_guest *)context)->source;
    return source == NULL ? -1 : source->acknowledge(source->context);
}

static uint8_t forward_get_cr8(void *context)
{
    const struct interrupt_source *source = ((struct soft_guest *)context)->source;
    return source == NULL ? 0 : source->get_cr8(source->context);
}

static void forward_set_cr8(void *context, uint8_t value)
{
    const struct interrupt_source *source = ((struct soft_guest *)context)->source;
    if (source != NULL) {
        source->set_cr8(source->context, value);
    }
}

void soft_guest_set_interrupts(struct soft_guest *guest, const struct interrupt_source *source)
{
    guest->source = source;
}

static bool make_engine(struct soft_guest *guest, enum engine_trap trap, struct error *error)
{
    struct engine_vm_options options = {.memory = guest->memory,
                                        .vcpu_count = 1,
                                        .tsc_hz = 1000000000,
                                        .trap = trap,
                                        .arguments = soft_tier_arguments()};
    struct cpuid_table cpuid;
    guest->interrupts = (struct interrupt_source){.pending = forward_pending,
                                                  .acknowledge = forward_acknowledge,
                                                  .get_cr8 = forward_get_cr8,
                                                  .set_cr8 = forward_set_cr8,
                                                  .context = guest};
    struct engine_vcpu_options vcpu_options = {.cpuid = &cpuid, .interrupts = &guest->interrupts};
    return good(soft_engine.vm_create(&options, &guest->vm, error), error, "VM") &&
           good(soft_engine.cpuid_supported(guest->vm, &cpuid, error), error, "CPUID") &&
           good(soft_engine.vcpu_create(guest->vm, &vcpu_options, &guest->vcpu, error), error,
                "vCPU");
}

/* The gate's second doubleword, and in 64-bit mode the upper half, are zero: stubs lie low. */
static void write_vectors(struct soft_guest *guest)
{
    static const uint8_t stub64[] = {0xf4, 0x48, 0xcf}; /* hlt; iretq */
    static const uint8_t stub32[] = {0xf4, 0xcf};
    const uint64_t gate_size = guest->is_64bit ? 16 : 8;
    struct guestmem *memory = guest->memory;
    for (uint64_t i = 0; i < VECTORS; i++) {
        uint64_t stub = STUB_BASE + i * STUB_SIZE;
        uint64_t gate = (stub & 0xffff) | (uint64_t)BOOT_SELECTOR_CODE << 16 | GATE_FLAGS << 32 |
                        (stub >> 16) << 48;
        soft_guest_write(guest, IDT_BASE + i * gate_size, gate, 8);
        if (guest->is_64bit) {
            CHECK_EQUAL(guestmem_write(memory, gpa(stub), stub64, sizeof stub64), 0);
        } else {
            CHECK_EQUAL(guestmem_write(memory, gpa(stub), stub32, sizeof stub32), 0);
        }
    }
    guest->state.idtr =
        (struct x86_table_register){.base = IDT_BASE, .limit = (uint16_t)(VECTORS * gate_size - 1)};
}

bool soft_guest_open(struct soft_guest *guest, enum soft_guest_mode mode)
{
    return soft_guest_open_trapping(guest, mode, ENGINE_TRAP_SHADOW);
}

bool soft_guest_open_trapping(struct soft_guest *guest, enum soft_guest_mode mode,
                              enum engine_trap trap)
{
    struct guestmem_options options = {.shared = false};
    struct error error;
    memset(guest, 0, sizeof(*guest));
    guest->is_64bit = mode == SOFT_GUEST_64;
    if (!good(guestmem_create(&options, &guest->memory, &error), &error, "memory") ||
        !good(guestmem_add(guest->memory, gpa(0), SOFT_GUEST_MEMORY, 0, &error), &error, "RAM") ||
        !make_engine(guest, trap, &error)) {
        soft_guest_close(guest);
        return false;
    }
    int status = guest->is_64bit
                     ? cpu_state_long(guest->memory, SOFT_GUEST_CODE, &guest->state, &error)
                     : cpu_state_protected(guest->memory, SOFT_GUEST_CODE, &guest->state, &error);
    good(status, &error, "state");
    guest->state.gpr[X86_RSP] = SOFT_GUEST_STACK;
    guest->state.xcr0 = 1;
    write_vectors(guest);
    return true;
}

void soft_guest_close(struct soft_guest *guest)
{
    if (guest->vcpu != NULL) {
        soft_engine.vcpu_destroy(guest->vcpu);
    }
    if (guest->vm != NULL) {
        soft_engine.vm_destroy(guest->vm);
    }
    if (guest->memory != NULL) {
        guestmem_destroy(guest->memory);
    }
    memset(guest, 0, sizeof(*guest));
}

void soft_guest_load(struct soft_guest *guest, const uint8_t *code, size_t length)
{
    CHECK_EQUAL(guestmem_write(guest->memory, gpa(SOFT_GUEST_CODE), code, length), 0);
    guest->state.rip = SOFT_GUEST_CODE;
}

void soft_guest_write(struct soft_guest *guest, uint64_t address, uint64_t value, unsigned int size)
{
    CHECK_EQUAL(guestmem_write(guest->memory, gpa(address), &value, size), 0);
}

uint64_t soft_guest_read(struct soft_guest *guest, uint64_t address, unsigned int size)
{
    uint64_t value = 0;
    CHECK_EQUAL(guestmem_read(guest->memory, gpa(address), &value, size), 0);
    return value;
}

enum exit_reason soft_guest_run(struct soft_guest *guest)
{
    struct error error;
    guest->state.activity = X86_ACTIVE;
    good(soft_engine.set_state(guest->vcpu, X86_STATE_ALL, &guest->state, &error), &error,
         "set the state");
    do {
        good(soft_engine.run(guest->vcpu, &guest->exit, &error), &error, "run");
    } while (guest->exit.reason == EXIT_KICKED);
    good(soft_engine.get_state(guest->vcpu, X86_STATE_ALL, &guest->state, &error), &error,
         "get the state");
    return guest->exit.reason;
}

int soft_guest_vector(const struct soft_guest *guest)
{
    uint64_t offset = guest->state.rip - STUB_BASE;
    bool in_stub = guest->exit.reason == EXIT_HLT && offset % STUB_SIZE == 1;
    return in_stub && offset / STUB_SIZE < VECTORS ? (int)(offset / STUB_SIZE) : -1;
}

uint64_t soft_guest_frame(struct soft_guest *guest, unsigned int item)
{
    unsigned int size = guest->is_64bit ? 8 : 4;
    return soft_guest_read(guest, guest->state.gpr[X86_RSP] + item * size, size);
}

void soft_guest_set_frame(struct soft_guest *guest, unsigned int item, uint64_t value)
{
    unsigned int size = guest->is_64bit ? 8 : 4;
    soft_guest_write(guest, guest->state.gpr[X86_RSP] + item * size, value, size);
}
