#include "cli/dump_state.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/host_file.h"
#include "base/log.h"
#include "cli/outcome_report.h"

/* How the title begins, and so a file, by which it is known again. */
#define STATE_TITLE      "vCPU "
#define STATE_FILE_START "# " STATE_TITLE

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

/* A pipe is not waited for, and nothing is emptied that is no state. Returns a descriptor. */
static int open_state(const char *path, struct error *error)
{
    if (host_file_is_foreign(path, STATE_FILE_START)) {
        return error_set(error, EEXIST,
                         "%s is there and is no vCPU state: remove it, or name another for it",
                         path);
    }
    struct stat status;
    int file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0666);
    if (file < 0 || fstat(file, &status) != 0) {
        int code = errno;
        if (file >= 0) {
            close(file);
        }
        return error_set_errno(error, code, "cannot write the state file '%s'", path);
    }
    if (!S_ISREG(status.st_mode)) {
        close(file);
        return error_set(error, EINVAL, "the state file '%s' is a pipe or device: name a file",
                         path);
    }
    return file;
}

int dump_state_prepare(const char *path, const char *trace, struct error *error)
{
    int file = open_state(path, error);
    if (file < 0) {
        return file;
    }
    close(file);
    return trace != NULL && host_file_is_same(path, trace)
               ? error_set(error, EINVAL, "%s cannot be both the trace and the state", path)
               : 0;
}

static int write_file(const struct saved_state *state, const char *title, const char *path,
                      struct error *error)
{
    int file = open_state(path, error);
    if (file < 0) {
        return file;
    }
    FILE *out = ftruncate(file, 0) == 0 ? fdopen(file, "w") : NULL;
    if (out == NULL) {
        int code = errno;
        close(file);
        return error_set_errno(error, code, "cannot write the state file '%s'", path);
    }
    state_file_write(state, title, out);
    bool is_written = ferror(out) == 0;
    return fclose(out) == 0 && is_written
               ? 0
               : error_set(error, EIO, "cannot write all of the state file '%s': is the disk full?",
                           path);
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
        log_warn("nothing is written to '%s': the state of vCPU %u is not known", path, index);
        return;
    }
    outcome_sentence(outcome, 0, "", text, sizeof(text));
    snprintf(
        title, sizeof(title),
        STATE_TITLE
        "%u of engine %s, trapeze " TRAPEZE_VERSION ": %s\n"
        "# As a VMCS has it: CR0.NE, CR4.VMXE and accessed bits are set, whatever the guest's are.",
        index, vm->engine->name, text);
    struct error error;
    if (write_file(&state, title, path, &error) == 0) {
        fprintf(stderr, "trapeze: the state of vCPU %u is in '%s'\n", index, path);
    } else {
        log_warn("the state of vCPU %u is not saved: %s", index, error.text);
    }
}
