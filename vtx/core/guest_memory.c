/* The guest's memory as its instructions see it: linear addresses, its page tables, the EPT. */
#include <string.h>

#include "vtx/core/internal.h"
#include "x86/control_rules.h"
#include "x86/paging.h"

void *vtx_guest_pointer(struct vtx_vcpu *vcpu, uint64_t physical, bool is_write,
                        enum vtx_memory_result *result)
{
    const struct vtx_vm *vm = vcpu->vm;
    const struct vtx_memory_slot *slot = vtx_vm_slot(vm, physical);
    struct vtx_ept_entry entry;
    if (slot == NULL || (is_write && slot->is_read_only)) {
        *result = VTX_MEMORY_DEVICE;
        return NULL;
    }
    unsigned int needed = is_write ? VTX_EPT_READ | VTX_EPT_WRITE : VTX_EPT_READ;
    if (!vtx_ept_walk(&vm->ept, physical, &entry) || (entry.permissions & needed) != needed) {
        vcpu->missing.address = physical;
        vcpu->missing.is_write = is_write;
        *result = VTX_MEMORY_MISSING;
        return NULL;
    }
    *result = VTX_MEMORY_OK;
    return vm->host->pointer(vm->host->context, entry.physical);
}

struct walk {
    struct vtx_vcpu *vcpu;
    enum vtx_memory_result result; /* of the last table entry that was looked at */
};

static void *table_entry(void *context, uint64_t physical)
{
    struct walk *walk = context;
    return vtx_guest_pointer(walk->vcpu, physical, true, &walk->result);
}

enum vtx_memory_result vtx_translate(struct vtx_vcpu *vcpu, uint64_t linear, unsigned int access,
                                     bool user, struct vtx_translation *translation)
{
    struct walk walk = {vcpu, VTX_MEMORY_OK};
    uint64_t pdptes[4];
    translation->linear = linear;
    struct paging_context context = {
        .cr0 = vtx_get(vcpu, VMCS_GUEST_CR0),
        .cr3 = vtx_get(vcpu, VMCS_GUEST_CR3),
        .cr4 = vtx_get(vcpu, VMCS_GUEST_CR4),
        .efer = vtx_get(vcpu, VMCS_GUEST_IA32_EFER),
        .smap_lifted = (vtx_get(vcpu, VMCS_GUEST_RFLAGS) & X86_FLAGS_AC) != 0,
        .physical_bits = vcpu->vm->capabilities->physical_address_bits,
        .pdpte = pdptes,
        .entry = table_entry,
        .context = &walk,
    };
    bool has_pdptes = x86_uses_pae_paging(context.cr0, context.cr4, context.efer);
    for (unsigned int i = 0; has_pdptes && i < 4; i++) {
        pdptes[i] = vtx_get(vcpu, VMCS_GUEST_PDPTE0 + i * VMCS_STRIDE);
    }
    struct paging_result result;
    enum paging_outcome outcome =
        paging_walk(&context, linear, (enum paging_access)access, user, true, &result);
    if (walk.result == VTX_MEMORY_MISSING) {
        return VTX_MEMORY_MISSING;
    }
    if (outcome == PAGING_RETRY) {
        vcpu->missing.address = vtx_get(vcpu, VMCS_GUEST_CR3); /* mapped: just run again */
        return VTX_MEMORY_MISSING;
    }
    translation->physical = result.physical;
    translation->error = result.error;
    return outcome == PAGING_OK ? VTX_MEMORY_OK : VTX_MEMORY_FAULT;
}

bool vtx_load_pdptes(struct vtx_vcpu *vcpu, uint64_t cr0, uint64_t cr3, uint64_t cr4, uint64_t efer,
                     enum vtx_step *step)
{
    struct walk walk = {vcpu, VTX_MEMORY_OK};
    const struct paging_context context = {
        .physical_bits = vcpu->vm->capabilities->physical_address_bits,
        .entry = table_entry,
        .context = &walk,
    };
    uint64_t pdptes[4];
    if (!x86_uses_pae_paging(cr0, cr4, efer)) {
        return true;
    }
    bool good = paging_load_pdptes(&context, cr3, pdptes);
    if (walk.result != VTX_MEMORY_OK) {
        *step = vtx_memory_step(vcpu, walk.result, &(struct vtx_translation){.linear = cr3});
        return false;
    }
    if (!good) {
        /* A state's are no fault of the guest's. */
        *step = vcpu->pdptes_due
                    ? vtx_leave_in_words(vcpu, "reserved bits are set in the PDPTEs at CR3", cr3)
                    : vtx_raise(vcpu, X86_VECTOR_GP, 0);
        return false;
    }
    for (unsigned int i = 0; i < 4; i++) {
        vtx_set(vcpu, VMCS_GUEST_PDPTE0 + i * VMCS_STRIDE, pdptes[i]);
    }
    return true;
}

/*
 * Up to two pages: first where everything is, then the copy, which cannot fail. Neither into nor
 * from: no copy.
 */
static enum vtx_memory_result copy(struct vtx_vcpu *vcpu, uint64_t linear, void *into,
                                   const void *from, uint32_t size, bool user,
                                   struct vtx_translation *at)
{
    bool write = into == NULL;
    uint32_t first = (uint32_t)(VTX_PAGE_SIZE - linear % VTX_PAGE_SIZE);
    uint32_t sizes[2] = {size < first ? size : first, size < first ? 0 : size - first};
    void *pointers[2] = {NULL, NULL};
    for (unsigned int i = 0; i < 2 && sizes[i] != 0; i++) {
        enum vtx_memory_result result =
            vtx_translate(vcpu, linear + i * first, write ? PAGING_WRITE : PAGING_READ, user, at);
        if (result != VTX_MEMORY_OK) {
            return result;
        }
        pointers[i] = vtx_guest_pointer(vcpu, at->physical, write, &result);
        if (pointers[i] == NULL) {
            return result;
        }
    }
    for (unsigned int i = 0; i < 2 && sizes[i] != 0; i++) {
        if (from != NULL) {
            memcpy(pointers[i], (const uint8_t *)from + i * first, sizes[i]);
        } else if (into != NULL) {
            memcpy((uint8_t *)into + i * first, pointers[i], sizes[i]);
        }
    }
    return VTX_MEMORY_OK;
}

enum vtx_memory_result vtx_read_guest(struct vtx_vcpu *vcpu, uint64_t linear, void *data,
                                      uint32_t size, bool user, struct vtx_translation *at)
{
    return copy(vcpu, linear, data, NULL, size, user, at);
}

enum vtx_memory_result vtx_write_guest(struct vtx_vcpu *vcpu, uint64_t linear, const void *data,
                                       uint32_t size, bool user, struct vtx_translation *at)
{
    return copy(vcpu, linear, NULL, data, size, user, at);
}

enum vtx_step vtx_memory_step(struct vtx_vcpu *vcpu, enum vtx_memory_result result,
                              const struct vtx_translation *translation)
{
    switch (result) {
    case VTX_MEMORY_OK:
        return VTX_STEP_RESUME;
    case VTX_MEMORY_FAULT:
        return vtx_raise_page_fault(vcpu, translation->error, translation->linear);
    case VTX_MEMORY_MISSING:
        return VTX_STEP_MEMORY;
    default:
        return vtx_leave_in_words(
            vcpu, "the guest has tables or operands where there is no memory: at linear address",
            translation->linear);
    }
}
