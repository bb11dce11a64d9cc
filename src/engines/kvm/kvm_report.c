/* What KVM could not go on with, in words that help. */
#include <stdio.h>
#include <string.h>

#include "engines/kvm/kvm_internal.h"
#include "x86/disassemble.h"

/* The linear address of the next instruction. */
static uint64_t linear_rip(const struct x86_state *state)
{
    if (disassemble_mode(state) == X86_DECODE_64) {
        return state->rip;
    }
    return (state->segment[X86_CS].base + state->rip) & UINT32_MAX;
}

static void describe_bytes(const struct x86_state *state, const uint8_t *bytes, size_t length,
                           char *text, size_t size)
{
    char instruction[96];
    struct x86_instruction decoded;
    enum x86_decode_mode mode = disassemble_mode(state);
    if (x86_decode(mode, bytes, length, &decoded) == X86_DECODE_OK) {
        length = decoded.length;
    }
    disassemble(mode, state->rip, bytes, length, instruction, sizeof(instruction));
    int used =
        snprintf(text, size,
                 "KVM can't emulate an instruction at rip 0x%llx:", (unsigned long long)state->rip);
    for (size_t i = 0; i < length && used < (int)size; i++) {
        used += snprintf(text + used, size - (size_t)used, " %02x", bytes[i]);
    }
    if (used < (int)size) {
        snprintf(text + used, size - (size_t)used, "%s%s (--engine soft knows all)",
                 instruction[0] != '\0' ? "  " : "", instruction);
    }
}

void kvm_describe_emulation(struct engine_vcpu *vcpu, char *text, size_t size)
{
    struct x86_state state;
    uint8_t bytes[X86_INSTRUCTION_MAX];
    unsigned int groups = X86_STATE_GENERAL | X86_STATE_SYSTEM;
    if (kvm_vcpu_get_state(vcpu, groups, &state, NULL) != 0) {
        snprintf(text, size, "KVM can't emulate an instruction");
        return;
    }
    struct kvm_translation translation = {.linear_address = linear_rip(&state)};
    if (device_ioctl(vcpu->fd, KVM_TRANSLATE, &translation) < 0 || translation.valid == 0) {
        snprintf(text, size, "the guest's page tables map nothing at its rip 0x%llx",
                 (unsigned long long)state.rip);
        return;
    }
    /* No further than the page: what follows it may be elsewhere. */
    size_t length = 0x1000 - (translation.physical_address & 0xfff);
    length = length < sizeof(bytes) ? length : sizeof(bytes);
    if (guestmem_read(vcpu->vm->memory, gpa(translation.physical_address), bytes, length) != 0) {
        snprintf(text, size,
                 "the guest runs at 0x%llx, where there is no memory: it has jumped astray, or "
                 "--memory is too small for it",
                 (unsigned long long)translation.physical_address);
        return;
    }
    describe_bytes(&state, bytes, length, text, size);
}

/* What the hardware's reason means: VT-x's basic exit reason (with bit 31), or SVM's exit code. */
static const char *entry_failure(uint64_t reason)
{
    switch (reason) {
    case 0x80000021:
        return "VM-entry failure due to invalid guest state";
    case 0x80000022:
        return "VM-entry failure due to MSR loading";
    case UINT64_MAX:
    case UINT32_MAX:
        return "VMEXIT_INVALID: invalid guest state";
    default:
        return "a reason that is not known here";
    }
}

/* Which rules of VM entry the vCPU's state breaks is told by the crash report. */
void kvm_describe_failed_entry(uint64_t reason, char *text, size_t size)
{
    snprintf(text, size, "the processor refused the guest's state (0x%llx, %s)",
             (unsigned long long)reason, entry_failure(reason));
}
