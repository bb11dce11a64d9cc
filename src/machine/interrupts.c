#include "machine/interrupts.h"

#include "base/clock.h"
#include "base/log.h"

#define ISA_LINES          16u
#define TIMER_LINE         0u
#define TIMER_IOAPIC_INPUT 2u /* as the MADT's interrupt source override says */

/* ---- lines ---- */

static void set_line(void *context, unsigned int number, bool level)
{
    struct interrupts *interrupts = context;
    if (number < ISA_LINES) {
        pic_set_irq(&interrupts->pic, number, level);
    }
    ioapic_set_irq(&interrupts->ioapic, number == TIMER_LINE ? TIMER_IOAPIC_INPUT : number, level);
}

static void set_engine_line(void *context, unsigned int number, bool level)
{
    struct interrupts *interrupts = context;
    struct vm *vm = interrupts->vm;
    vm->engine->irq_line(vm->engine_vm, number, level);
}

struct irq_line interrupts_line(struct interrupts *interrupts, unsigned int number)
{
    return (struct irq_line){.set = interrupts->in_engine ? set_engine_line : set_line,
                             .context = interrupts,
                             .index = number};
}

/* ---- what the controllers ask of each other and of the vCPUs ---- */

static bool deliver_to_lapics(void *context, const struct msi_message *message)
{
    struct interrupts *interrupts = context;
    return lapics_msi(&interrupts->lapics, message);
}

static bool deliver_to_engine(void *context, const struct msi_message *message)
{
    struct vm *vm = ((struct interrupts *)context)->vm;
    return vm->engine->msi(vm->engine_vm, message) == 0;
}

/* The engine has to know which vectors' ends of interrupt it must tell us. */
static void route_in_engine(void *context, unsigned int input, const struct msi_message *message)
{
    struct vm *vm = ((struct interrupts *)context)->vm;
    int code = vm->engine->msi_route(vm->engine_vm, input, message);
    if (code != 0) {
        log_info("the engine does not take the route of IOAPIC input %u (%d)", input, code);
    }
}

/* The 8259's output where the local APICs are the engine's: an external interrupt of vCPU 0. */
static void set_pic_output(void *context, unsigned int index, bool level)
{
    struct interrupts *interrupts = context;
    (void)index;
    atomic_store(&interrupts->pic_raised, level);
    if (level) {
        vm_signal_interrupt(interrupts->vm, 0);
    }
}

static int acknowledge_pic(void *context)
{
    struct interrupts *interrupts = context;
    return pic_acknowledge(&interrupts->pic);
}

static void end_of_interrupt(void *context, uint8_t vector)
{
    struct interrupts *interrupts = context;
    ioapic_eoi(&interrupts->ioapic, vector);
}

/*
 * The engine's TSC of a vCPU, as a time of the timer host. Called by the vCPU's own thread: its
 * guest has just written the deadline.
 */
static uint64_t time_of_tsc(void *context, unsigned int vcpu, uint64_t tsc)
{
    const struct interrupts *interrupts = context;
    struct vm *vm = interrupts->vm;
    struct timer_host *timers = vm_timer_host(vm);
    uint64_t now = timers->now(timers);
    uint64_t guest_now = clock_tsc() + vm->engine->tsc_offset(vm->vcpus[vcpu].engine_vcpu);
    if (tsc <= guest_now) {
        return now;
    }
    unsigned __int128 wait =
        (unsigned __int128)(tsc - guest_now) * 1000000000u / interrupts->tsc_hz;
    return wait < UINT64_MAX - now ? now + (uint64_t)wait : UINT64_MAX;
}

static void signal_interrupt(void *context, unsigned int vcpu)
{
    vm_signal_interrupt(((struct interrupts *)context)->vm, vcpu);
}

static void signal_init(void *context, unsigned int vcpu)
{
    vm_signal_init(((struct interrupts *)context)->vm, vcpu);
}

static void signal_sipi(void *context, unsigned int vcpu, uint8_t vector)
{
    vm_signal_sipi(((struct interrupts *)context)->vm, vcpu, vector);
}

static void signal_nmi(void *context, unsigned int vcpu)
{
    vm_signal_nmi(((struct interrupts *)context)->vm, vcpu);
}

static bool map_window(void *context, uint64_t base, void *device)
{
    struct interrupts *interrupts = context;
    if (bus_map(&interrupts->vm->mmio, base, LAPIC_WINDOW_SIZE, "lapic", lapic_window_io, device) !=
        0) {
        /* Not a warning: a guest that does so in a loop must not fill a person's terminal. */
        log_info("the guest moved its local APIC to 0x%llx, where another device is",
                 (unsigned long long)base);
        return false;
    }
    return true;
}

static void unmap_window(void *context, uint64_t base)
{
    bus_unmap(&((struct interrupts *)context)->vm->mmio, base);
}

static const struct lapic_signals lapic_signals = {
    .interrupt_changed = signal_interrupt,
    .init = signal_init,
    .sipi = signal_sipi,
    .nmi = signal_nmi,
    .map_window = map_window,
    .unmap_window = unmap_window,
};

/* ---- struct interrupt_source: called by the vCPU's thread, without the device lock ---- */

static bool source_pending(void *context)
{
    struct vcpu_interrupts *vcpu = context;
    if (!lapic_pending_hint(&vcpu->all->lapics, vcpu->index)) {
        return false;
    }
    pthread_mutex_lock(&vcpu->all->vm->device_lock);
    bool pending = lapic_pending(&vcpu->all->lapics, vcpu->index);
    pthread_mutex_unlock(&vcpu->all->vm->device_lock);
    return pending;
}

static int source_acknowledge(void *context)
{
    struct vcpu_interrupts *vcpu = context;
    pthread_mutex_lock(&vcpu->all->vm->device_lock);
    int vector = lapic_acknowledge(&vcpu->all->lapics, vcpu->index);
    pthread_mutex_unlock(&vcpu->all->vm->device_lock);
    return vector;
}

static uint8_t source_get_cr8(void *context)
{
    struct vcpu_interrupts *vcpu = context;
    pthread_mutex_lock(&vcpu->all->vm->device_lock);
    uint8_t value = lapic_get_cr8(&vcpu->all->lapics, vcpu->index);
    pthread_mutex_unlock(&vcpu->all->vm->device_lock);
    return value;
}

static void source_set_cr8(void *context, uint8_t value)
{
    struct vcpu_interrupts *vcpu = context;
    pthread_mutex_lock(&vcpu->all->vm->device_lock);
    lapic_set_cr8(&vcpu->all->lapics, vcpu->index, value);
    pthread_mutex_unlock(&vcpu->all->vm->device_lock);
}

/* The same of vCPU 0 where the local APICs are the engine's: the 8259 alone. */

static bool pic_source_pending(void *context)
{
    return atomic_load(&((struct vcpu_interrupts *)context)->all->pic_raised);
}

static int pic_source_acknowledge(void *context)
{
    struct interrupts *interrupts = ((struct vcpu_interrupts *)context)->all;
    pthread_mutex_lock(&interrupts->vm->device_lock);
    int vector = atomic_load(&interrupts->pic_raised) ? pic_acknowledge(&interrupts->pic) : -1;
    pthread_mutex_unlock(&interrupts->vm->device_lock);
    return vector;
}

/* ---- struct vm_platform ---- */

static bool platform_rdmsr(void *context, unsigned int vcpu, uint32_t index, uint64_t *value)
{
    struct interrupts *interrupts = context;
    return !interrupts->lapics_in_engine && lapics_owns_msr(index) &&
           lapics_rdmsr(&interrupts->lapics, vcpu, index, value);
}

static bool platform_wrmsr(void *context, unsigned int vcpu, uint32_t index, uint64_t value)
{
    struct interrupts *interrupts = context;
    return !interrupts->lapics_in_engine && lapics_owns_msr(index) &&
           lapics_wrmsr(&interrupts->lapics, vcpu, index, value);
}

static const struct interrupt_source *platform_interrupts(void *context, unsigned int vcpu)
{
    struct interrupts *interrupts = context;
    bool has_source = !interrupts->in_engine && (!interrupts->lapics_in_engine || vcpu == 0);
    return has_source ? &interrupts->vcpus[vcpu].source : NULL;
}

/* ---- making ---- */

static void init_lapics(struct interrupts *interrupts, uint8_t physical_address_bits)
{
    struct vm *vm = interrupts->vm;
    bool has_msrs = (vm->engine_features & ENGINE_LACKS_APIC_MSRS) == 0;
    struct lapics_config config = {
        .count = vm->vcpu_count,
        .timers = vm_timer_host(vm),
        .has_x2apic = has_msrs,
        .has_tsc_deadline = has_msrs && vm->engine->tsc_offset != NULL,
        .has_eoi_suppression = true,
        .physical_address_bits = physical_address_bits,
        .signals = &lapic_signals,
        .signals_context = interrupts,
        .time_of_tsc = time_of_tsc,
        .tsc_context = interrupts,
        .pic_acknowledge = acknowledge_pic,
        .pic_context = interrupts,
        .eoi = end_of_interrupt,
        .eoi_context = interrupts,
    };
    lapics_init(&interrupts->lapics, &config);
    lapics_set_virtual_wire(&interrupts->lapics); /* no firmware runs */
}

/* Each vCPU's controller: our local APIC, or nothing but the 8259 on the first. */
static void init_sources(struct interrupts *interrupts)
{
    for (unsigned int i = 0; i < interrupts->vm->vcpu_count; i++) {
        struct vcpu_interrupts *vcpu = &interrupts->vcpus[i];
        *vcpu = (struct vcpu_interrupts){.all = interrupts, .index = i};
        vcpu->source = interrupts->lapics_in_engine
                           ? (struct interrupt_source){.pending = pic_source_pending,
                                                       .acknowledge = pic_source_acknowledge,
                                                       .context = vcpu}
                           : (struct interrupt_source){.pending = source_pending,
                                                       .acknowledge = source_acknowledge,
                                                       .get_cr8 = source_get_cr8,
                                                       .set_cr8 = source_set_cr8,
                                                       .context = vcpu};
    }
}

static void init_pic_and_ioapic(struct interrupts *interrupts)
{
    bool split = interrupts->lapics_in_engine;
    struct pic_config pic = {
        .output = {.set = lapics_set_lint0, .context = &interrupts->lapics, .index = 0}};
    if (split) {
        pic.output = (struct irq_line){.set = set_pic_output, .context = interrupts, .index = 0};
    }
    pic_init(&interrupts->pic, &pic);
    struct ioapic_config ioapic = {.id = IOAPIC_ID,
                                   .version = IOAPIC_VERSION_EOI,
                                   .deliver = split ? deliver_to_engine : deliver_to_lapics,
                                   .routed = split ? route_in_engine : NULL,
                                   .context = interrupts};
    ioapic_init(&interrupts->ioapic, &ioapic);
}

static int map_controllers(struct interrupts *interrupts)
{
    struct vm *vm = interrupts->vm;
    struct pic *pic = &interrupts->pic;
    int result = bus_map(&vm->ports, PIC_PRIMARY_PORT, 2, "pic", pic_primary_io, pic);
    if (result == 0) {
        result = bus_map(&vm->ports, PIC_SECONDARY_PORT, 2, "pic", pic_secondary_io, pic);
    }
    if (result == 0) {
        result = bus_map(&vm->ports, PIC_ELCR_PORT, 2, "pic", pic_elcr_io, pic);
    }
    if (result == 0) {
        result =
            bus_map(&vm->mmio, IOAPIC_BASE, IOAPIC_SIZE, "ioapic", ioapic_io, &interrupts->ioapic);
    }
    return result;
}

int interrupts_init(struct interrupts *interrupts, struct vm *vm, uint64_t tsc_hz,
                    uint8_t physical_address_bits, struct error *error)
{
    interrupts->vm = vm;
    interrupts->tsc_hz = tsc_hz;
    interrupts->in_engine = (vm->engine_features & ENGINE_HAS_INTERRUPT_CONTROLLERS) != 0;
    interrupts->lapics_in_engine = (vm->engine_features & ENGINE_HAS_LOCAL_APICS) != 0;
    vm->platform = (struct vm_platform){.rdmsr = platform_rdmsr,
                                        .wrmsr = platform_wrmsr,
                                        .interrupts = platform_interrupts,
                                        .end_of_interrupt = end_of_interrupt,
                                        .context = interrupts};
    if (interrupts->in_engine) {
        return 0;
    }
    init_sources(interrupts);
    if (!interrupts->lapics_in_engine) {
        init_lapics(interrupts, physical_address_bits);
    }
    init_pic_and_ioapic(interrupts);
    int result = map_controllers(interrupts);
    return result != 0 ? error_set(error, result, "cannot map the interrupt controllers") : 0;
}
