#include "vtx/core/vcpu.h"

#include <string.h>

#include "base/text.h"
#include "vtx/core/internal.h"
#include "x86/control_rules.h"

/*
 * So many exits that the core resolves itself before a run ends, whatever happens: a guest that
 * does nothing but exit leaves its embedder a word.
 */
#define TURNS_MAX 100000u

/* ---- fields ---- */

static void note_failure(struct vtx_vcpu *vcpu, uint32_t encoding)
{
    if (vcpu->failed_field == 0) {
        vcpu->failed_field = encoding + 1;
    }
}

uint64_t vtx_get(struct vtx_vcpu *vcpu, uint32_t encoding)
{
    uint64_t value;
    if (vtx_vmread(encoding, &value) != VTX_SUCCEED) {
        note_failure(vcpu, encoding);
    }
    return value;
}

void vtx_set(struct vtx_vcpu *vcpu, uint32_t encoding, uint64_t value)
{
    if (vtx_vmwrite(encoding, value) != VTX_SUCCEED) {
        note_failure(vcpu, encoding);
    }
}

/* ---- creation ---- */

enum vtx_status vtx_vcpu_create(struct vtx_vcpu *vcpu, const struct vtx_vcpu_options *options,
                                struct error *error)
{
    memset(vcpu, 0, sizeof(*vcpu));
    vcpu->vm = options->vm;
    vcpu->cpuid = options->cpuid;
    vcpu->vpid = options->vpid;
    enum vtx_status status = vtx_choose_controls(vcpu, error);
    if (status != VTX_OK) {
        return status;
    }
    vcpu->cr4_allowed =
        x86_cr4_writable(vcpu->cpuid) & VMX_CR4_SUPPORTED & vcpu->vm->capabilities->cr4_fixed1;
    const struct vtx_host *host = vcpu->vm->host;
    vcpu->vmcs.at = host->allocate_page(host->context, &vcpu->vmcs.physical);
    if (vcpu->vmcs.at == NULL) {
        return vtx_fail(VTX_NO_MEMORY, error, "there is no memory for a VMCS");
    }
    uint32_t revision = vcpu->vm->capabilities->revision;
    memcpy(vcpu->vmcs.at, &revision, sizeof(revision));
    return VTX_OK;
}

void vtx_vcpu_destroy(struct vtx_vcpu *vcpu)
{
    if (vcpu->vmcs.at != NULL) {
        vcpu->vm->host->free_page(vcpu->vm->host->context, vcpu->vmcs.at);
        vcpu->vmcs.at = NULL;
    }
}

/* ---- on a processor ---- */

static enum vtx_status fail_field(struct vtx_vcpu *vcpu, struct error *error)
{
    struct text text = text_start(error->text, sizeof(error->text));
    vtx_explain_field(vcpu, &text);
    vtx_vcpu_unload(vcpu);
    return VTX_FAILED;
}

enum vtx_status vtx_vcpu_load(struct vtx_vcpu *vcpu, const struct vtx_cpu *cpu, struct error *error)
{
    if (vcpu->cpu == cpu) {
        /* Another vCPU may have been loaded since. */
        return vtx_vmptrld(vcpu->vmcs.physical) == VTX_SUCCEED
                   ? VTX_OK
                   : vtx_fail(VTX_FAILED, error, "VMPTRLD failed");
    }
    bool fresh = vcpu->host_cpu == NULL;
    if (fresh && vtx_vmclear(vcpu->vmcs.physical) != VTX_SUCCEED) {
        return vtx_fail(VTX_FAILED, error, "VMCLEAR of a new VMCS failed");
    }
    if (vtx_vmptrld(vcpu->vmcs.physical) != VTX_SUCCEED) {
        return vtx_fail(VTX_FAILED, error, "VMPTRLD failed: is the processor in root mode?");
    }
    vcpu->cpu = cpu;
    if (fresh) {
        vtx_write_controls(vcpu);
    }
    if (vcpu->host_cpu != cpu) {
        vtx_write_host_state(vcpu);
        vtx_ept_invalidate(&vcpu->vm->ept);
        vtx_flush_linear(vcpu);
        vcpu->host_cpu = cpu;
    }
    return vcpu->failed_field != 0 ? fail_field(vcpu, error) : VTX_OK;
}

void vtx_vcpu_unload(struct vtx_vcpu *vcpu)
{
    if (vcpu->cpu != NULL) {
        vtx_vmclear(vcpu->vmcs.physical);
        vcpu->cpu = NULL;
        vcpu->launched = false;
    }
}

/* ---- leaving ---- */

enum vtx_step vtx_leave(struct vtx_vcpu *vcpu, enum exit_reason reason)
{
    vcpu->exit.reason = reason;
    return VTX_STEP_LEAVE;
}

enum vtx_step vtx_leave_in_words(struct vtx_vcpu *vcpu, const char *words, uint64_t number)
{
    vcpu->exit.internal.code = (uint32_t)vcpu->reason;
    struct text text = text_start(vcpu->exit.internal.text, sizeof(vcpu->exit.internal.text));
    text_put(&text, words);
    text_put(&text, " ");
    text_put_hexadecimal(&text, number, 1);
    return vtx_leave(vcpu, EXIT_INTERNAL);
}

static enum vtx_step leave_with_bad_field(struct vtx_vcpu *vcpu)
{
    vcpu->exit.internal.code = vcpu->failed_field - 1;
    struct text text = text_start(vcpu->exit.internal.text, sizeof(vcpu->exit.internal.text));
    vtx_explain_field(vcpu, &text);
    return vtx_leave(vcpu, EXIT_INTERNAL);
}

static enum vtx_step leave_without_entry(struct vtx_vcpu *vcpu, enum vtx_result result)
{
    uint64_t number = result == VTX_FAIL_VALID ? vtx_get(vcpu, VMCS_VM_INSTRUCTION_ERROR) : 0;
    vcpu->exit.entry_failed.hardware_reason = number;
    vtx_explain_failure(vcpu, result, (uint32_t)number, vcpu->exit.entry_failed.text,
                        sizeof(vcpu->exit.entry_failed.text));
    return vtx_leave(vcpu, EXIT_ENTRY_FAILED);
}

static enum vtx_step leave_after_failed_entry(struct vtx_vcpu *vcpu)
{
    vtx_set(vcpu, VMCS_VM_ENTRY_INTERRUPTION_INFORMATION, 0); /* it was not delivered: not again */
    if ((vcpu->reason & VMX_REASON_BASIC) == VMX_REASON_ENTRY_MACHINE_CHECK) {
        vtx_call_machine_check_handler();
    }
    vcpu->exit.entry_failed.hardware_reason = vcpu->reason;
    vtx_explain_entry(vcpu, (uint32_t)vcpu->reason, vtx_get(vcpu, VMCS_EXIT_QUALIFICATION),
                      vcpu->exit.entry_failed.text, sizeof(vcpu->exit.entry_failed.text));
    return vtx_leave(vcpu, EXIT_ENTRY_FAILED);
}

/* ---- running ---- */

/* A vCPU that is not active does not enter: its embedder waits, not the processor. */
static enum vtx_step stay_inactive(struct vtx_vcpu *vcpu)
{
    return vcpu->activity == X86_SHUTDOWN ? vtx_shut_down(vcpu) : vtx_leave(vcpu, EXIT_HLT);
}

/* Of a state that came without: the memory may have yet to be mapped. */
static bool load_due_pdptes(struct vtx_vcpu *vcpu, enum vtx_step *step)
{
    vcpu->pdptes_due =
        !vtx_load_pdptes(vcpu, vtx_guest_cr0(vcpu), vtx_get(vcpu, VMCS_GUEST_CR3),
                         vtx_guest_cr4(vcpu), vtx_get(vcpu, VMCS_GUEST_IA32_EFER), step);
    return !vcpu->pdptes_due;
}

/* One entry and the exit that follows. */
static enum vtx_step enter_once(struct vtx_vcpu *vcpu)
{
    enum vtx_step step;
    bool has_event = vcpu->nmi_pending || (vcpu->event & ENTRY_INTERRUPTION_VALID) != 0;
    if (has_event && vcpu->activity == X86_HALTED) {
        vcpu->activity = X86_ACTIVE;
    }
    if (vcpu->activity != X86_ACTIVE) {
        return stay_inactive(vcpu);
    }
    if (vcpu->pdptes_due && !load_due_pdptes(vcpu, &step)) {
        return step;
    }
    if (has_event) {
        vtx_prepare_events(vcpu);
    }
    if (vcpu->failed_field != 0) {
        return leave_with_bad_field(vcpu);
    }
    if (vtx_read_cr2() != vcpu->cr2) {
        vtx_write_cr2(vcpu->cr2);
    }
    enum vtx_result result = vtx_enter(&vcpu->registers, vcpu->launched);
    if (result != VTX_SUCCEED) {
        return leave_without_entry(vcpu, result);
    }
    vcpu->cr2 = vtx_read_cr2();
    vcpu->reason = vtx_get(vcpu, VMCS_EXIT_REASON);
    uint32_t basic = (uint32_t)vcpu->reason & VMX_REASON_BASIC;
    if (basic < VMX_REASON_COUNT) {
        vcpu->exits[basic]++;
    }
    if ((vcpu->reason & VMX_REASON_ENTRY_FAILED) != 0) {
        return leave_after_failed_entry(vcpu);
    }
    vcpu->launched = true;
    vcpu->entries++;
    vtx_requeue_event(vcpu);
    step = vtx_handle_exit(vcpu, basic);
    vcpu->exits_inside += step == VTX_STEP_RESUME;
    return step;
}

static enum vtx_step complete(struct vtx_vcpu *vcpu)
{
    enum vtx_step (*completion)(struct vtx_vcpu * vcpu) = vcpu->completion;
    vcpu->completion = NULL;
    return completion != NULL ? completion(vcpu) : VTX_STEP_RESUME;
}

bool vtx_vcpu_complete(struct vtx_vcpu *vcpu)
{
    if (complete(vcpu) == VTX_STEP_LEAVE) {
        return false;
    }
    vcpu->exit.reason = EXIT_NONE;
    return vcpu->completion == NULL;
}

enum vtx_outcome vtx_vcpu_run(struct vtx_vcpu *vcpu)
{
    static const enum vtx_outcome outcomes[] = {
        [VTX_STEP_RESUME] = VTX_INTERRUPT, /* TURNS_MAX */
        [VTX_STEP_LEAVE] = VTX_EXIT,
        [VTX_STEP_MEMORY] = VTX_MEMORY,
        [VTX_STEP_INTERRUPT] = VTX_INTERRUPT,
    };
    enum vtx_step step = complete(vcpu);
    if (vcpu->timer != 0) {
        vtx_set(vcpu, VMCS_VMX_PREEMPTION_TIMER_VALUE, vcpu->timer);
    }
    for (unsigned int turn = 0; step == VTX_STEP_RESUME && turn < TURNS_MAX; turn++) {
        vcpu->exit.reason = EXIT_NONE;
        step = enter_once(vcpu);
    }
    return outcomes[step];
}
