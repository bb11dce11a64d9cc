#include "vtx/core/vm.h"

#include <string.h>

#include "base/checked.h"
#include "x86/msr.h"
#include "x86/vmx_bitmaps.h"

/*
 * What VT-x or vtx_vcpu_enter_context switches: a guest may work on these by itself. IA32_EFER is
 * not among them, as a guest could set bits there that the host's processor has, but CPUID hides.
 */
static const uint32_t switched_msrs[] = {
    X86_MSR_IA32_SYSENTER_CS,    X86_MSR_IA32_SYSENTER_ESP, X86_MSR_IA32_SYSENTER_EIP,
    X86_MSR_IA32_STAR,           X86_MSR_IA32_LSTAR,        X86_MSR_IA32_CSTAR,
    X86_MSR_IA32_FMASK,          X86_MSR_IA32_FS_BASE,      X86_MSR_IA32_GS_BASE,
    X86_MSR_IA32_KERNEL_GS_BASE,
};

static void fill_in_msr_bitmap(uint8_t *bitmap, enum vtx_policy policy)
{
    memset(bitmap, 0xff, VTX_PAGE_SIZE);
    for (size_t i = 0;
         policy == VTX_TRAP_SHADOW && i < sizeof(switched_msrs) / sizeof(switched_msrs[0]); i++) {
        vmx_msr_bitmap_pass(bitmap, switched_msrs[i]);
    }
}

static bool allocate(const struct vtx_host *host, struct vtx_page *page)
{
    page->at = host->allocate_page(host->context, &page->physical);
    return page->at != NULL;
}

enum vtx_status vtx_vm_create(struct vtx_vm *vm, const struct vtx_host *host,
                              const struct vtx_capabilities *capabilities, enum vtx_policy policy)
{
    *vm = (struct vtx_vm){.host = host, .capabilities = capabilities, .policy = policy};
    enum vtx_status status = vtx_ept_create(&vm->ept, host, capabilities);
    if (status != VTX_OK) {
        return status;
    }
    if (!allocate(host, &vm->msr_bitmap) || !allocate(host, &vm->io_bitmap_a) ||
        !allocate(host, &vm->io_bitmap_b)) {
        vtx_vm_destroy(vm);
        return VTX_NO_MEMORY;
    }
    vtx_vm_pass_ports(vm, 0, VMX_PORTS, false);
    fill_in_msr_bitmap(vm->msr_bitmap.at, policy);
    return VTX_OK;
}

void vtx_vm_destroy(struct vtx_vm *vm)
{
    vtx_ept_destroy(&vm->ept);
    struct vtx_page *const pages[] = {&vm->msr_bitmap, &vm->io_bitmap_a, &vm->io_bitmap_b};
    for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
        if (pages[i]->at != NULL) {
            vm->host->free_page(vm->host->context, pages[i]->at);
            pages[i]->at = NULL;
        }
    }
}

void vtx_vm_pass_ports(struct vtx_vm *vm, uint16_t first, unsigned int count, bool passes)
{
    vmx_io_bitmaps_pass(vm->io_bitmap_a.at, vm->io_bitmap_b.at, first, count, passes);
}

enum vtx_status vtx_vm_set_memory(struct vtx_vm *vm, const struct vtx_memory_slot *slots,
                                  unsigned int count)
{
    if (count > VTX_MEMORY_SLOTS_MAX) {
        return VTX_INVALID;
    }
    for (unsigned int i = 0; i < count; i++) {
        uint64_t end;
        if (((slots[i].start | slots[i].length) & (VTX_PAGE_SIZE - 1)) != 0 ||
            !checked_add(slots[i].start, slots[i].length, &end)) {
            return VTX_INVALID;
        }
        for (unsigned int k = 0; k < i; k++) {
            if (ranges_overlap(slots[i].start, slots[i].length, slots[k].start, slots[k].length)) {
                return VTX_INVALID;
            }
        }
    }
    memcpy(vm->slots, slots, count * sizeof(*slots));
    vm->slot_count = count;
    return VTX_OK;
}

const struct vtx_memory_slot *vtx_vm_slot(const struct vtx_vm *vm, uint64_t guest)
{
    for (unsigned int i = 0; i < vm->slot_count; i++) {
        if (guest >= vm->slots[i].start && guest - vm->slots[i].start < vm->slots[i].length) {
            return &vm->slots[i];
        }
    }
    return NULL;
}
