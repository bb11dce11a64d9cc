#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "base/log.h"
#include "engines/kvm/kvm_internal.h"
#include "x86/msr.h"

struct msr_place {
    uint32_t index;
    uint32_t offset; /* in struct x86_msrs */
};

#define PLACE(index, field)                                                                        \
    {                                                                                              \
        index, offsetof(struct x86_msrs, field)                                                    \
    }

/* The one list of what is got and set; at most 64, one bit each in engine_vm.refused_msrs. */
static const struct msr_place places[] = {
    PLACE(X86_MSR_IA32_TSC, tsc),
    PLACE(X86_MSR_IA32_TSC_ADJUST, tsc_adjust),
    PLACE(X86_MSR_KVM_WALL_CLOCK_NEW, kvm_wall_clock),
    PLACE(X86_MSR_KVM_SYSTEM_TIME_NEW, kvm_system_time),
    PLACE(X86_MSR_IA32_APIC_BASE, apic_base),
    PLACE(X86_MSR_IA32_SPEC_CTRL, spec_ctrl),
    PLACE(X86_MSR_IA32_SYSENTER_CS, sysenter_cs),
    PLACE(X86_MSR_IA32_SYSENTER_ESP, sysenter_esp),
    PLACE(X86_MSR_IA32_SYSENTER_EIP, sysenter_eip),
    PLACE(X86_MSR_IA32_MISC_ENABLE, misc_enable),
    PLACE(X86_MSR_IA32_MTRR_PHYSBASE0 + 0, mtrr_variable[0]),
    PLACE(X86_MSR_IA32_MTRR_PHYSBASE0 + 1, mtrr_variable[1]),
    PLACE(X86_MSR_IA32_MTRR_PHYSBASE0 + 2, mtrr_variable[2]),
    PLACE(X86_MSR_IA32_MTRR_PHYSBASE0 + 3, mtrr_variable[3]),
    PLACE(X86_MSR_IA32_MTRR_PHYSBASE0 + 4, mtrr_variable[4]),
    PLACE(X86_MSR_IA32_MTRR_PHYSBASE0 + 5, mtrr_variable[5]),
    PLACE(X86_MSR_IA32_MTRR_PHYSBASE0 + 6, mtrr_variable[6]),
    PLACE(X86_MSR_IA32_MTRR_PHYSBASE0 + 7, mtrr_variable[7]),
    PLACE(X86_MSR_IA32_MTRR_PHYSBASE0 + 8, mtrr_variable[8]),
    PLACE(X86_MSR_IA32_MTRR_PHYSBASE0 + 9, mtrr_variable[9]),
    PLACE(X86_MSR_IA32_MTRR_PHYSBASE0 + 10, mtrr_variable[10]),
    PLACE(X86_MSR_IA32_MTRR_PHYSBASE0 + 11, mtrr_variable[11]),
    PLACE(X86_MSR_IA32_MTRR_PHYSBASE0 + 12, mtrr_variable[12]),
    PLACE(X86_MSR_IA32_MTRR_PHYSBASE0 + 13, mtrr_variable[13]),
    PLACE(X86_MSR_IA32_MTRR_PHYSBASE0 + 14, mtrr_variable[14]),
    PLACE(X86_MSR_IA32_MTRR_PHYSBASE0 + 15, mtrr_variable[15]),
    PLACE(X86_MSR_IA32_MTRR_FIX64K_00000, mtrr_fixed[0]),
    PLACE(X86_MSR_IA32_MTRR_FIX16K_80000, mtrr_fixed[1]),
    PLACE(X86_MSR_IA32_MTRR_FIX16K_A0000, mtrr_fixed[2]),
    PLACE(X86_MSR_IA32_MTRR_FIX4K_C0000 + 0, mtrr_fixed[3]),
    PLACE(X86_MSR_IA32_MTRR_FIX4K_C0000 + 1, mtrr_fixed[4]),
    PLACE(X86_MSR_IA32_MTRR_FIX4K_C0000 + 2, mtrr_fixed[5]),
    PLACE(X86_MSR_IA32_MTRR_FIX4K_C0000 + 3, mtrr_fixed[6]),
    PLACE(X86_MSR_IA32_MTRR_FIX4K_C0000 + 4, mtrr_fixed[7]),
    PLACE(X86_MSR_IA32_MTRR_FIX4K_C0000 + 5, mtrr_fixed[8]),
    PLACE(X86_MSR_IA32_MTRR_FIX4K_C0000 + 6, mtrr_fixed[9]),
    PLACE(X86_MSR_IA32_MTRR_FIX4K_C0000 + 7, mtrr_fixed[10]),
    PLACE(X86_MSR_IA32_MTRR_DEF_TYPE, mtrr_def_type),
    PLACE(X86_MSR_IA32_PAT, pat),
    PLACE(X86_MSR_IA32_XSS, xss),
    PLACE(X86_MSR_IA32_STAR, star),
    PLACE(X86_MSR_IA32_LSTAR, lstar),
    PLACE(X86_MSR_IA32_CSTAR, cstar),
    PLACE(X86_MSR_IA32_FMASK, fmask),
    PLACE(X86_MSR_IA32_KERNEL_GS_BASE, kernel_gs_base),
    PLACE(X86_MSR_IA32_TSC_AUX, tsc_aux),
    /* Last: it depends on the TSC and on the LAPIC, which kvm_vcpu_set_state sets before MSRs. */
    PLACE(X86_MSR_IA32_TSC_DEADLINE, tsc_deadline),
};

#define PLACES (sizeof(places) / sizeof(places[0]))
_Static_assert(PLACES <= 64, "engine_vm.refused_msrs has a bit for each");

/* struct kvm_msrs with room for the entries that follow it. */
struct msr_list {
    uint32_t count;
    uint32_t padding;
    struct kvm_msr_entry entries[PLACES];
};
_Static_assert(offsetof(struct msr_list, entries) == sizeof(struct kvm_msrs), "KVM's layout");

static uint64_t *field_of(struct x86_msrs *msrs, const struct msr_place *place)
{
    return (uint64_t *)(void *)((uint8_t *)msrs + place->offset);
}

/* Says so once a VM: a host may lack an MSR, which is no reason not to run. */
static void note_refused(struct engine_vm *vm, size_t place, const char *verb)
{
    uint64_t bit = UINT64_C(1) << place;
    if ((atomic_fetch_or(&vm->refused_msrs, bit) & bit) == 0) {
        log_debug("KVM refuses to %s MSR 0x%x", verb, places[place].index);
    }
}

/*
 * One system call for all places from `first` on. Returns how many were served until one was
 * refused, or -errno.
 */
static int transfer(struct engine_vcpu *vcpu, unsigned long request, size_t first,
                    struct msr_list *list)
{
    list->count = (uint32_t)(PLACES - first);
    return device_ioctl(vcpu->fd, request, list);
}

int kvm_get_msrs(struct engine_vcpu *vcpu, struct x86_msrs *msrs, struct error *error)
{
    struct msr_list list;
    memset(msrs, 0, sizeof(*msrs));
    for (size_t first = 0; first < PLACES; first++) {
        memset(&list, 0, sizeof(list));
        for (size_t i = first; i < PLACES; i++) {
            list.entries[i - first].index = places[i].index;
        }
        int served = transfer(vcpu, KVM_GET_MSRS, first, &list);
        if (served < 0) {
            return kvm_error(error, served, "KVM does not give the MSRs");
        }
        for (size_t i = 0; i < (size_t)served; i++) {
            *field_of(msrs, &places[first + i]) = list.entries[i].data;
        }
        first += (size_t)served; /* the one it stopped at is skipped */
        if (first < PLACES) {
            note_refused(vcpu->vm, first, "read");
        }
    }
    return 0;
}

int kvm_set_msrs(struct engine_vcpu *vcpu, const struct x86_msrs *msrs, struct error *error)
{
    struct x86_msrs copy = *msrs;
    struct msr_list list;
    for (size_t first = 0; first < PLACES; first++) {
        memset(&list, 0, sizeof(list));
        for (size_t i = first; i < PLACES; i++) {
            list.entries[i - first] = (struct kvm_msr_entry){.index = places[i].index,
                                                             .data = *field_of(&copy, &places[i])};
        }
        int served = transfer(vcpu, KVM_SET_MSRS, first, &list);
        if (served < 0) {
            return kvm_error(error, served, "KVM does not take the MSRs");
        }
        first += (size_t)served;
        if (first < PLACES) {
            note_refused(vcpu->vm, first, "write");
        }
    }
    return 0;
}

int kvm_set_apic_base(struct engine_vcpu *vcpu, const struct x86_msrs *msrs, struct error *error)
{
    struct msr_list list = {.count = 1};
    list.entries[0] =
        (struct kvm_msr_entry){.index = X86_MSR_IA32_APIC_BASE, .data = msrs->apic_base};
    int served = device_ioctl(vcpu->fd, KVM_SET_MSRS, &list);
    return served < 0 ? kvm_error(error, served, "KVM does not take IA32_APIC_BASE") : 0;
}

/* MSR exits */

/* What our local APIC needs, and KVM would keep to itself without having one. */
static bool filter_apic_msrs(struct engine_vm *vm)
{
    uint64_t denied = 0; /* a bitmap of one bit, which is not set; the kernel reads eight bytes */
    struct kvm_msr_filter filter = {.flags = KVM_MSR_FILTER_DEFAULT_ALLOW};
    static const uint32_t indices[] = {X86_MSR_IA32_APIC_BASE, X86_MSR_IA32_TSC_DEADLINE};
    for (size_t i = 0; i < sizeof(indices) / sizeof(indices[0]); i++) {
        filter.ranges[i] = (struct kvm_msr_filter_range){
            .flags = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE,
            .nmsrs = 1,
            .base = indices[i],
            .bitmap = (uint8_t *)&denied,
        };
    }
    return device_ioctl(vm->fd, KVM_X86_SET_MSR_FILTER, &filter) == 0;
}

void kvm_enable_msr_exits(struct engine_vm *vm)
{
    struct kvm_enable_cap cap = {.cap = KVM_CAP_X86_USER_SPACE_MSR,
                                 .args = {KVM_MSR_EXIT_REASON_UNKNOWN}};
    bool ours = !kvm_has_lapics(vm) && kvm_extension(vm->device, KVM_CAP_X86_MSR_FILTER) != 0;
    if (kvm_extension(vm->device, KVM_CAP_X86_USER_SPACE_MSR) == 0) {
        return;
    }
    if (ours) {
        /* The filter does not apply to x2APIC's: those are "invalid" as long as there is none. */
        cap.args[0] |= KVM_MSR_EXIT_REASON_FILTER | KVM_MSR_EXIT_REASON_INVAL;
    }
    bool enabled = device_ioctl(vm->fd, KVM_ENABLE_CAP, &cap) == 0;
    vm->has_apic_msr_exits = ours && enabled && filter_apic_msrs(vm);
}
