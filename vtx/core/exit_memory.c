/*
 * EPT violations: memory that the embedder has yet to map, and accesses to devices. What such an
 * instruction wants is taken apart by x86/mmio_access.h, and its accesses are made one by one;
 * those of them that are a device's leave as EXIT_MMIO.
 *
 * Source: Intel SDM volume 3, "Exit Qualification for EPT Violations".
 */
#include <string.h>

#include "vtx/core/internal.h"
#include "x86/paging.h"

/* ---- the instruction ---- */

static enum x86_decode_mode code_mode(struct vtx_vcpu *vcpu)
{
    if (vtx_guest_is_64bit(vcpu)) {
        return X86_DECODE_64;
    }
    bool wide = (vtx_get(vcpu, VMCS_GUEST_CS_ACCESS_RIGHTS) & X86_SEGMENT_DB) != 0;
    return wide ? X86_DECODE_32 : X86_DECODE_16;
}

static void read_segments(struct vtx_vcpu *vcpu, struct x86_segment *segments)
{
    for (unsigned int i = 0; i < X86_SEGMENT_COUNT; i++) {
        uint32_t step = i * VMCS_STRIDE;
        segments[i] = (struct x86_segment){
            .base = vtx_get(vcpu, VMCS_GUEST_ES_BASE + step),
            .limit = (uint32_t)vtx_get(vcpu, VMCS_GUEST_ES_LIMIT + step),
            .attributes = (uint32_t)vtx_get(vcpu, VMCS_GUEST_ES_ACCESS_RIGHTS + step),
            .selector = (uint16_t)vtx_get(vcpu, VMCS_GUEST_ES_SELECTOR + step),
        };
    }
}

/* The second page is looked at only if the first is not enough. */
static enum vtx_memory_result fetch(struct vtx_vcpu *vcpu, uint64_t linear, bool user,
                                    struct vtx_translation *at)
{
    struct vtx_mmio *mmio = &vcpu->mmio;
    uint8_t bytes[X86_INSTRUCTION_MAX];
    size_t have = 0;
    for (unsigned int pages = 0; pages < 2 && have < sizeof(bytes); pages++) {
        enum vtx_memory_result result = vtx_translate(vcpu, linear + have, PAGING_FETCH, user, at);
        const uint8_t *from = NULL;
        if (result == VTX_MEMORY_OK) {
            from = vtx_guest_pointer(vcpu, at->physical, false, &result);
        }
        if (from == NULL) {
            return result;
        }
        size_t here = VTX_PAGE_SIZE - (linear + have) % VTX_PAGE_SIZE;
        size_t take = here < sizeof(bytes) - have ? here : sizeof(bytes) - have;
        memcpy(bytes + have, from, take);
        have += take;
        if (x86_decode(mmio->mode.code, bytes, have, &mmio->instruction) == X86_DECODE_OK) {
            return VTX_MEMORY_OK;
        }
    }
    return VTX_MEMORY_DEVICE;
}

static struct mmio_registers registers_now(struct vtx_vcpu *vcpu)
{
    struct mmio_registers now;
    memcpy(now.gpr, vcpu->registers.gpr, sizeof(now.gpr));
    now.gpr[X86_RSP] = vtx_get(vcpu, VMCS_GUEST_RSP);
    now.rip = vtx_get(vcpu, VMCS_GUEST_RIP);
    now.rflags = vtx_get(vcpu, VMCS_GUEST_RFLAGS);
    return now;
}

/* The instruction, or one element of a repeated one, is done. */
static enum vtx_step commit(struct vtx_vcpu *vcpu)
{
    const struct mmio_registers *after = &vcpu->mmio.access.after;
    memcpy(vcpu->registers.gpr, after->gpr, sizeof(after->gpr));
    vtx_set(vcpu, VMCS_GUEST_RSP, after->gpr[X86_RSP]);
    vtx_set(vcpu, VMCS_GUEST_RIP, after->rip);
    vtx_set(vcpu, VMCS_GUEST_RFLAGS, after->rflags);
    vtx_end_instruction(vcpu);
    return VTX_STEP_RESUME;
}

/* ---- its accesses ---- */

static enum vtx_step go_on(struct vtx_vcpu *vcpu);

static enum vtx_step leave_for_device(struct vtx_vcpu *vcpu, uint64_t physical, uint8_t size,
                                      bool is_write, enum vtx_step (*completion)(struct vtx_vcpu *))
{
    vcpu->exit.mmio.address = physical;
    vcpu->exit.mmio.size = size;
    vcpu->exit.mmio.is_write = is_write;
    memcpy(vcpu->exit.mmio.data, &vcpu->mmio.access.write_value, sizeof(vcpu->exit.mmio.data));
    if (!is_write) {
        memset(vcpu->exit.mmio.data, 0, sizeof(vcpu->exit.mmio.data));
    }
    vcpu->completion = completion;
    return vtx_leave(vcpu, EXIT_MMIO);
}

static enum vtx_step complete_read(struct vtx_vcpu *vcpu)
{
    struct vtx_mmio *mmio = &vcpu->mmio;
    memcpy(&mmio->access.value[mmio->reads_done++], vcpu->exit.mmio.data,
           sizeof(vcpu->exit.mmio.data));
    return go_on(vcpu);
}

/* Memory that is missing: the access again, once it is there. */
static enum vtx_step wait_or_fail(struct vtx_vcpu *vcpu, enum vtx_memory_result result,
                                  const struct vtx_translation *at)
{
    if (result == VTX_MEMORY_MISSING) {
        vcpu->completion = go_on;
    }
    return vtx_memory_step(vcpu, result, at);
}

/* Where an operand is. *pointer is NULL for a device's; one that crosses a page is none's. */
static enum vtx_memory_result locate(struct vtx_vcpu *vcpu, const struct mmio_operand *operand,
                                     bool is_write, struct vtx_translation *at, void **pointer)
{
    bool user = vtx_guest_cpl(vcpu) == 3;
    enum vtx_memory_result result =
        vtx_translate(vcpu, operand->linear, is_write ? PAGING_WRITE : PAGING_READ, user, at);
    *pointer = NULL;
    if (result == VTX_MEMORY_OK) {
        *pointer = vtx_guest_pointer(vcpu, at->physical, is_write, &result);
        result = result == VTX_MEMORY_DEVICE ? VTX_MEMORY_OK : result;
    }
    if (operand->linear % VTX_PAGE_SIZE + operand->size > VTX_PAGE_SIZE) {
        result = VTX_MEMORY_DEVICE;
    }
    return result;
}

static enum vtx_step write_operand(struct vtx_vcpu *vcpu)
{
    const struct mmio_access *access = &vcpu->mmio.access;
    struct vtx_translation at;
    void *pointer;
    enum vtx_memory_result result = locate(vcpu, &access->write, true, &at, &pointer);
    if (result != VTX_MEMORY_OK) {
        return wait_or_fail(vcpu, result, &at);
    }
    if (pointer == NULL) {
        return leave_for_device(vcpu, at.physical, access->write.size, true, commit);
    }
    memcpy(pointer, &access->write_value, access->write.size);
    return commit(vcpu);
}

static enum vtx_step go_on(struct vtx_vcpu *vcpu)
{
    struct vtx_mmio *mmio = &vcpu->mmio;
    struct mmio_access *access = &mmio->access;
    struct vtx_translation at;
    void *pointer;
    while (mmio->reads_done < access->read_count) {
        const struct mmio_operand *operand = &access->read[mmio->reads_done];
        enum vtx_memory_result result = locate(vcpu, operand, false, &at, &pointer);
        if (result != VTX_MEMORY_OK) {
            return wait_or_fail(vcpu, result, &at);
        }
        if (pointer == NULL) {
            return leave_for_device(vcpu, at.physical, operand->size, false, complete_read);
        }
        uint64_t value = 0;
        memcpy(&value, pointer, operand->size);
        access->value[mmio->reads_done++] = value;
    }
    if (!mmio->is_computed) {
        mmio->is_computed = true;
        mmio_access_compute(&mmio->mode, &mmio->instruction, access);
    }
    return access->has_write ? write_operand(vcpu) : commit(vcpu);
}

static enum vtx_step on_device(struct vtx_vcpu *vcpu, uint64_t physical)
{
    struct vtx_mmio *mmio = &vcpu->mmio;
    struct mmio_registers before = registers_now(vcpu);
    struct vtx_translation at;
    bool is_protected = (vtx_get(vcpu, VMCS_GUEST_CR0) & X86_CR0_PE) != 0;
    mmio->mode.code = code_mode(vcpu);
    mmio->mode.real_or_v86 = !is_protected || (before.rflags & X86_FLAGS_VM) != 0;
    mmio->mode.linear_bits = 48; /* no guest is shown LA57 */
    mmio->mode.segment = mmio->segment;
    read_segments(vcpu, mmio->segment);
    bool wide = mmio->mode.code == X86_DECODE_64;
    uint64_t linear = wide ? before.rip : (uint32_t)(mmio->segment[X86_CS].base + before.rip);
    enum vtx_memory_result result = fetch(vcpu, linear, vtx_guest_cpl(vcpu) == 3, &at);
    if (result == VTX_MEMORY_DEVICE) {
        return vtx_leave_in_words(vcpu, "what accesses a device is no instruction: at", linear);
    }
    if (result != VTX_MEMORY_OK) {
        return vtx_memory_step(vcpu, result, &at);
    }
    mmio->reads_done = 0;
    mmio->is_computed = false;
    switch (mmio_access_plan(&mmio->mode, &mmio->instruction, &before, &mmio->access)) {
    case MMIO_ACCESS_OK:
        return go_on(vcpu);
    case MMIO_ACCESS_FAULT:
        return vtx_raise(vcpu, mmio->access.vector, 0);
    default:
        return vtx_leave_in_words(vcpu, mmio->access.why, physical);
    }
}

/* ---- the exit ---- */

enum vtx_step vtx_exit_ept_violation(struct vtx_vcpu *vcpu)
{
    uint64_t qualification = vtx_get(vcpu, VMCS_EXIT_QUALIFICATION);
    uint64_t physical = vtx_get(vcpu, VMCS_GUEST_PHYSICAL_ADDRESS);
    const uint64_t of_an_access = VMX_EPT_VIOLATION_LINEAR | VMX_EPT_VIOLATION_ACCESS;
    bool is_write = (qualification & VMX_EPT_VIOLATION_WRITE) != 0;
    vtx_restore_nmi_blocking(vcpu, (qualification & VMX_EPT_VIOLATION_NMI_UNBLOCKED) != 0);
    const struct vtx_memory_slot *slot = vtx_vm_slot(vcpu->vm, physical);
    if (slot != NULL && !(is_write && slot->is_read_only)) {
        vcpu->missing.address = physical;
        vcpu->missing.is_write = is_write;
        return VTX_STEP_MEMORY;
    }
    if ((qualification & VMX_EPT_VIOLATION_FETCH) != 0) {
        return vtx_leave_in_words(vcpu,
                                  "the guest executes where there is no memory: at guest "
                                  "physical address",
                                  physical);
    }
    if ((qualification & of_an_access) != of_an_access) {
        return vtx_leave_in_words(vcpu,
                                  "the guest has its page tables where there is no memory: at "
                                  "guest physical address",
                                  physical);
    }
    if ((vcpu->event & ENTRY_INTERRUPTION_VALID) != 0) {
        return vtx_leave_in_words(vcpu,
                                  "the guest takes interrupts or has stacks where there is no "
                                  "memory: at guest physical address",
                                  physical);
    }
    return on_device(vcpu, physical);
}
