#include "vtx/linux/state.h"

#include <asm/msr.h>
#include <asm/tsc.h>
#include <linux/uaccess.h>

#include "engines/vtx/vtx_abi.h"

static size_t place_of(u32 group, size_t *size)
{
#define GROUP(bit, member)                                                                         \
    case bit:                                                                                      \
        *size = sizeof(((struct trapeze_vtx_state *)NULL)->member);                                \
        return offsetof(struct trapeze_vtx_state, member)
    switch (group) {
        GROUP(TRAPEZE_VTX_GENERAL, general);
        GROUP(TRAPEZE_VTX_SYSTEM, system);
        GROUP(TRAPEZE_VTX_DEBUG, debug);
        GROUP(TRAPEZE_VTX_MSRS, msrs);
        GROUP(TRAPEZE_VTX_FPU, fpu);
        GROUP(TRAPEZE_VTX_EVENTS, events);
    default:
        *size = 0;
        return 0;
    }
#undef GROUP
}

/* Copies the groups that are meant between the program's struct and ours. */
static int copy_groups(struct vcpu *vcpu, void __user *argument, bool is_in)
{
    u32 group;
    for (group = 1; group < TRAPEZE_VTX_ALL_GROUPS; group <<= 1) {
        size_t size, place = place_of(group, &size);
        u8 *at = (u8 *)&vcpu->transfer + place;
        u8 __user *user = (u8 __user *)argument + place;
        if ((vcpu->transfer.groups & group) != 0 &&
            (is_in ? copy_from_user(at, user, size) : copy_to_user(user, at, size)) != 0) {
            return -EFAULT;
        }
    }
    return 0;
}

/* The first two fields: which groups. */
static int take_groups(struct vcpu *vcpu, void __user *argument)
{
    if (copy_from_user(&vcpu->transfer, argument, offsetof(struct trapeze_vtx_state, general)) !=
        0) {
        return -EFAULT;
    }
    return (vcpu->transfer.groups & ~TRAPEZE_VTX_ALL_GROUPS) != 0 || vcpu->transfer.reserved != 0
               ? -EINVAL
               : 0;
}

static void fetch_groups(struct vcpu *vcpu)
{
    vtx_vcpu_get_state(&vcpu->core, vcpu->transfer.groups, &vcpu->state);
}

/* An exit that waits for its answer is forgotten. A TSC of 0: all vCPUs of the VM count in step. */
static void put_groups(struct vcpu *vcpu)
{
    u32 groups = vcpu->transfer.groups;
    vcpu->core.completion = NULL;
    vcpu->answer_due = false;
    vtx_vcpu_set_state(&vcpu->core, groups, &vcpu->state);
    if ((groups & TRAPEZE_VTX_MSRS) != 0) {
        u64 at = vcpu->state.msr.tsc != 0 ? rdtsc() : vcpu->vm->tsc_origin;
        vtx_vcpu_set_tsc_offset(&vcpu->core, vcpu->state.msr.tsc - at);
    }
    vcpu->shared->tsc_offset = vcpu->core.tsc_offset;
}

int state_get(struct vcpu *vcpu, void __user *argument)
{
    int code = take_groups(vcpu, argument);
    if (code == 0) {
        code = vcpu_with_loaded(vcpu, fetch_groups);
    }
    if (code == 0) {
        vtx_abi_from_state(&vcpu->state, vcpu->transfer.groups, &vcpu->transfer);
        code = copy_groups(vcpu, argument, false);
    }
    return code;
}

int state_set(struct vcpu *vcpu, void __user *argument)
{
    int code = take_groups(vcpu, argument);
    if (code == 0) {
        code = copy_groups(vcpu, argument, true);
    }
    if (code == 0 && !vtx_abi_to_state(&vcpu->transfer, &vcpu->state)) {
        code = -EINVAL;
    }
    return code == 0 ? vcpu_with_loaded(vcpu, put_groups) : code;
}

/*
 * The longest stay in the guest. The host's interrupts end it sooner, but for those of Bochs 2.7
 * while a guest keeps its own off.
 */
#define STAY_MAX_MS 10u

static void put_all(struct vcpu *vcpu)
{
    put_groups(vcpu);
    vtx_set_timer(&vcpu->core, (u64)tsc_khz * STAY_MAX_MS);
}

int state_reset(struct vcpu *vcpu)
{
    x86_state_reset(&vcpu->state);
    vcpu->transfer.groups = TRAPEZE_VTX_ALL_GROUPS;
    return vcpu_with_loaded(vcpu, put_all);
}
