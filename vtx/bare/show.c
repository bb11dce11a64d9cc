#include "vtx/bare/show.h"

#include "vtx/bare/console.h"
#include "vtx/core/hardware.h"
#include "x86/vmcs_fields.h"
#include "x86/vmx_text.h"

#define ALWAYS(field)                                                                              \
    {                                                                                              \
        field, true                                                                                \
    }
#define ONCE(field)                                                                                \
    {                                                                                              \
        field, false                                                                               \
    }

struct shown_field {
    uint32_t encoding;
    bool each_time;
};

/* In the order in which the manual has the parts of a VMCS. */
static const struct shown_field fields_at_entry[] = {
    ONCE(VMCS_PIN_BASED_CONTROLS),
    ONCE(VMCS_PRIMARY_CONTROLS),
    ONCE(VMCS_SECONDARY_CONTROLS),
    ONCE(VMCS_EXCEPTION_BITMAP),
    ONCE(VMCS_IO_BITMAP_A),
    ONCE(VMCS_IO_BITMAP_B),
    ONCE(VMCS_MSR_BITMAPS),
    ONCE(VMCS_TSC_OFFSET),
    ONCE(VMCS_CR0_GUEST_HOST_MASK),
    ONCE(VMCS_CR0_READ_SHADOW),
    ONCE(VMCS_CR4_GUEST_HOST_MASK),
    ONCE(VMCS_CR4_READ_SHADOW),
    ONCE(VMCS_EPT_POINTER),
    ONCE(VMCS_VIRTUAL_PROCESSOR_IDENTIFIER),
    ONCE(VMCS_VM_EXIT_CONTROLS),
    ONCE(VMCS_VM_ENTRY_CONTROLS),
    ALWAYS(VMCS_VM_ENTRY_INTERRUPTION_INFORMATION),
    ONCE(VMCS_GUEST_CR0),
    ONCE(VMCS_GUEST_CR3),
    ONCE(VMCS_GUEST_CR4),
    ONCE(VMCS_GUEST_IA32_EFER),
    ONCE(VMCS_GUEST_CS_SELECTOR),
    ONCE(VMCS_GUEST_CS_BASE),
    ONCE(VMCS_GUEST_CS_LIMIT),
    ONCE(VMCS_GUEST_CS_ACCESS_RIGHTS),
    ONCE(VMCS_GUEST_TR_SELECTOR),
    ONCE(VMCS_GUEST_TR_ACCESS_RIGHTS),
    ONCE(VMCS_GUEST_GDTR_BASE),
    ONCE(VMCS_GUEST_GDTR_LIMIT),
    ALWAYS(VMCS_GUEST_RSP),
    ALWAYS(VMCS_GUEST_RIP),
    ALWAYS(VMCS_GUEST_RFLAGS),
    ALWAYS(VMCS_GUEST_INTERRUPTIBILITY_STATE),
    ALWAYS(VMCS_GUEST_ACTIVITY_STATE),
    ONCE(VMCS_VMCS_LINK_POINTER),
    ONCE(VMCS_HOST_CR0),
    ONCE(VMCS_HOST_CR3),
    ONCE(VMCS_HOST_CR4),
    ONCE(VMCS_HOST_IA32_EFER),
    ONCE(VMCS_HOST_CS_SELECTOR),
    ONCE(VMCS_HOST_TR_SELECTOR),
    ONCE(VMCS_HOST_TR_BASE),
    ONCE(VMCS_HOST_GDTR_BASE),
    ONCE(VMCS_HOST_IDTR_BASE),
    ONCE(VMCS_HOST_RIP),
};

static const uint32_t fields_at_exit[] = {
    VMCS_EXIT_REASON,
    VMCS_EXIT_QUALIFICATION,
    VMCS_VM_EXIT_INSTRUCTION_LENGTH,
    VMCS_VM_EXIT_INTERRUPTION_INFORMATION,
    VMCS_IDT_VECTORING_INFORMATION,
    VMCS_GUEST_PHYSICAL_ADDRESS,
    VMCS_GUEST_RIP,
    VMCS_GUEST_RFLAGS,
};

static void show_field(uint32_t encoding)
{
    const struct vmcs_field *field = vmcs_field_find(encoding);
    uint64_t value;
    if (field != NULL && vtx_vmread(encoding, &value) == VTX_SUCCEED) {
        print("  %04x  %-44s %0*lx\n", encoding, field->name, (int)vmcs_field_bits(field) / 4,
              value);
    }
}

void show_entry(struct vtx_vcpu *vcpu, unsigned int number)
{
    vtx_vcpu_complete(vcpu); /* so that what the next entry finds is what is shown */
    print("entry %u: %s\n", number, vcpu->launched ? "VMRESUME" : "VMLAUNCH");
    for (unsigned int i = 0; i < sizeof(fields_at_entry) / sizeof(fields_at_entry[0]); i++) {
        if (number == 1 || fields_at_entry[i].each_time) {
            show_field(fields_at_entry[i].encoding);
        }
    }
    print("        RAX %016lx  RCX %016lx  RDX %016lx\n", vcpu->registers.gpr[X86_RAX],
          vcpu->registers.gpr[X86_RCX], vcpu->registers.gpr[X86_RDX]);
}

/* What the core made of the last VM exit. */
static void show_outcome(const struct vtx_vcpu *vcpu, enum vtx_outcome outcome)
{
    const struct vcpu_exit *exit = &vcpu->exit;
    if (outcome != VTX_EXIT) {
        print("        to the image: %s\n", outcome == VTX_INTERRUPT
                                                ? "an interrupt of the machine's own"
                                                : "guest memory that is not mapped");
        return;
    }
    print("        to the image: %s", exit_reason_name(exit->reason));
    if (exit->reason == EXIT_PIO) {
        print(", port 0x%x, %u times %u bytes, %s, first byte 0x%x", exit->pio.port,
              exit->pio.count, exit->pio.size, exit->pio.is_write ? "OUT" : "IN",
              exit->pio.data[0]);
    } else if (exit->reason == EXIT_MMIO) {
        print(", address 0x%lx, %u bytes, %s", exit->mmio.address, exit->mmio.size,
              exit->mmio.is_write ? "write" : "read");
    } else if (exit->reason == EXIT_RDMSR || exit->reason == EXIT_WRMSR) {
        print(", MSR 0x%x, value 0x%lx", exit->msr.index, exit->msr.value);
    }
    print("\n");
}

void show_exit(const struct vtx_vcpu *vcpu, unsigned int number, enum vtx_outcome outcome)
{
    print("exit %u: %s (%lu entries so far, %lu exits resolved in the core)\n", number,
          vmx_reason_name((uint32_t)vcpu->reason & VMX_REASON_BASIC), vcpu->entries,
          vcpu->exits_inside);
    for (unsigned int i = 0; i < sizeof(fields_at_exit) / sizeof(fields_at_exit[0]); i++) {
        show_field(fields_at_exit[i]);
    }
    show_outcome(vcpu, outcome);
}
