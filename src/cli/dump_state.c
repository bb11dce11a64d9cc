#include "cli/dump_state.h"

#include <errno.h>

#include "base/log.h"
#include "cli/outcome_report.h"

#define LEAF_FEATURES      0x7u
#define LEAF_ADDRESS_SIZES 0x80000008u

bool dump_state_of(const struct vcpu *vcpu, struct saved_state *state)
{
    if (!vcpu->final_known && vcpu->creation == 0) {
        return false;
    }
    saved_state_from_x86(vcpu->final_known ? &vcpu->final : &vcpu->initial, state);
    const struct cpuid_table *cpuid = vcpu->cpuid.count != 0 ? &vcpu->cpuid : vcpu->vm->cpuid;
    entry_processor_from_cpuid(&state->entry.processor, cpuid_answer(cpuid, LEAF_FEATURES, 0),
                               cpuid_answer(cpuid, LEAF_FEATURES, 1),
                               cpuid_answer(cpuid, LEAF_ADDRESS_SIZES, 0));
    return true;
}

int dump_state_prepare(const char *path, struct error *error)
{
    FILE *out = fopen(path, "we");
    if (out == NULL || fclose(out) != 0) {
        return error_set_errno(error, errno, "cannot write the state file '%s'", path);
    }
    return 0;
}

static bool write_file(const struct saved_state *state, const char *title, const char *path)
{
    FILE *out = fopen(path, "we");
    if (out == NULL) {
        return false;
    }
    state_file_write(state, title, out);
    bool good = ferror(out) == 0;
    return fclose(out) == 0 && good;
}

void dump_state_write(const struct vm *vm, enum vm_outcome outcome, const char *path)
{
    if (outcome != VM_TRIPLE_FAULT && outcome != VM_STUCK && outcome != VM_ENGINE_FAILED) {
        return;
    }
    unsigned int index = vm->outcome_vcpu < vm->vcpu_count ? vm->outcome_vcpu : 0;
    struct saved_state state;
    char text[200], title[384];
    if (!dump_state_of(&vm->vcpus[index], &state)) {
        log_warn("'%s' stays empty: the state of vCPU %u is not known", path, index);
        return;
    }
    outcome_sentence(outcome, 0, "", text, sizeof(text));
    snprintf(
        title, sizeof(title),
        "vCPU %u of engine %s, trapeze " TRAPEZE_VERSION ": %s\n"
        "# As a VMCS has it: CR0.NE, CR4.VMXE and accessed bits are set, whatever the guest's are.",
        index, vm->engine->name, text);
    if (write_file(&state, title, path)) {
        fprintf(stderr, "trapeze: the state of vCPU %u is in '%s'\n", index, path);
    } else {
        log_warn("cannot write the state of vCPU %u to '%s'", index, path);
    }
}
