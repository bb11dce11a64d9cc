#include "vtx/linux/vcpu.h"

#include <linux/anon_inodes.h>
#include <linux/fs.h>
#include <linux/idr.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#include "vtx/linux/run.h"
#include "vtx/linux/state.h"

/* Translations of vCPUs are told apart by these; without one they are flushed at each entry. */
#define VPID_MAX 0xffffu
static DEFINE_IDA(vpids);

/* ---- statistics ---- */

static int give_statistics(const struct vcpu *vcpu, void __user *argument)
{
    struct trapeze_vtx_statistics statistics = {.entries = vcpu->core.entries,
                                                .exits_inside = vcpu->core.exits_inside,
                                                .returns = vcpu->returns,
                                                .loads = vcpu->loads,
                                                .pages_small = vcpu->vm->pages_small,
                                                .pages_large = vcpu->vm->pages_large,
                                                .doorbells = vcpu->doorbells};
    size_t size = min(sizeof(statistics.exits), sizeof(vcpu->core.exits));
    memcpy(statistics.exits, vcpu->core.exits, size);
    return copy_to_user(argument, &statistics, sizeof(statistics)) != 0 ? -EFAULT : 0;
}

/* ---- calls ---- */

static long call(struct vcpu *vcpu, unsigned int request, void __user *argument)
{
    switch (request) {
    case TRAPEZE_VTX_RUN:
        return vcpu_run(vcpu);
    case TRAPEZE_VTX_GET_STATE:
        return state_get(vcpu, argument);
    case TRAPEZE_VTX_SET_STATE:
        return state_set(vcpu, argument);
    case TRAPEZE_VTX_STATISTICS:
        return give_statistics(vcpu, argument);
    default:
        return -ENOTTY;
    }
}

static long vcpu_ioctl(struct file *file, unsigned int request, unsigned long argument)
{
    struct vcpu *vcpu = file->private_data;
    long code;
    if (!vm_is_of_caller(vcpu->vm)) {
        return -EPERM;
    }
    if (mutex_lock_killable(&vcpu->lock) != 0) {
        return -EINTR;
    }
    code = call(vcpu, request, (void __user *)argument);
    mutex_unlock(&vcpu->lock);
    return code;
}

static int vcpu_mmap(struct file *file, struct vm_area_struct *area)
{
    struct vcpu *vcpu = file->private_data;
    return remap_vmalloc_range(area, vcpu->shared, area->vm_pgoff);
}

static void free_vcpu(struct vcpu *vcpu)
{
    struct vm *vm = vcpu->vm;
    vcpu_unload(vcpu);
    vtx_vcpu_destroy(&vcpu->core);
    if (vcpu->vpid != 0) {
        ida_free(&vpids, vcpu->vpid);
    }
    mutex_lock(&vm->lock);
    vm->vcpus &= ~BIT_ULL(vcpu->index);
    mutex_unlock(&vm->lock);
    vfree(vcpu->shared);
    vfree(vcpu);
    vm_put(vm);
}

static int vcpu_release(struct inode *inode, struct file *file)
{
    free_vcpu(file->private_data);
    return 0;
}

static const struct file_operations vcpu_operations = {
    .owner = THIS_MODULE,
    .unlocked_ioctl = vcpu_ioctl,
    .mmap = vcpu_mmap,
    .release = vcpu_release,
    .llseek = noop_llseek,
};

/* ---- creation ---- */

static int take_cpuid(struct vcpu *vcpu, const struct trapeze_vtx_vcpu *options)
{
    const struct trapeze_vtx_cpuid_entry __user *user =
        (const void __user *)(unsigned long)options->cpuid;
    u32 i;
    for (i = 0; i < options->cpuid_count; i++) {
        struct trapeze_vtx_cpuid_entry entry;
        if (copy_from_user(&entry, user + i, sizeof(entry)) != 0) {
            return -EFAULT;
        }
        if (entry.has_subleaf > 1 || entry.reserved != 0) {
            return -EINVAL;
        }
        vcpu->cpuid.entries[i] =
            (struct cpuid_entry){.leaf = entry.leaf,
                                 .subleaf = entry.subleaf,
                                 .has_subleaf = entry.has_subleaf != 0,
                                 .registers = {entry.eax, entry.ebx, entry.ecx, entry.edx}};
    }
    vcpu->cpuid.count = options->cpuid_count;
    return 0;
}

static int make_core(struct vcpu *vcpu, char *message, size_t size)
{
    struct error error = {""};
    struct vtx_vcpu_options options = {.vm = &vcpu->vm->core, .cpuid = &vcpu->cpuid};
    enum vtx_status status;
    int vpid = vcpu->vm->core.capabilities->has_vpid
                   ? ida_alloc_range(&vpids, 1, VPID_MAX, GFP_KERNEL_ACCOUNT)
                   : 0;
    options.vpid = vcpu->vpid = vpid > 0 ? vpid : 0;
    status = vtx_vcpu_create(&vcpu->core, &options, &error);
    if (status != VTX_OK) {
        if (vcpu->vpid != 0) {
            ida_free(&vpids, vcpu->vpid);
        }
        strscpy(message, error.text, size);
        return status == VTX_NO_MEMORY ? -ENOMEM : -EOPNOTSUPP;
    }
    return 0;
}

static int make_vcpu(struct vm *vm, const struct trapeze_vtx_vcpu *options, struct vcpu **out,
                     char *message, size_t size)
{
    int code = -ENOMEM;
    struct vcpu *vcpu = __vmalloc(sizeof(*vcpu), GFP_KERNEL_ACCOUNT | __GFP_ZERO);
    if (vcpu == NULL) {
        return -ENOMEM;
    }
    vcpu->vm = vm;
    vcpu->index = options->index;
    vcpu->processor = NO_PROCESSOR;
    mutex_init(&vcpu->lock);
    vcpu->shared = vmalloc_user(TRAPEZE_VTX_RUN_SIZE);
    if (vcpu->shared != NULL) {
        code = take_cpuid(vcpu, options);
    }
    if (code == 0) {
        code = make_core(vcpu, message, size);
    }
    if (code != 0) {
        vfree(vcpu->shared);
        vfree(vcpu);
        return code;
    }
    *out = vcpu;
    return 0;
}

/* The index is taken; from now on slots and doorbells stay as they are. */
static int take_index(struct vm *vm, u32 index)
{
    int code = 0;
    mutex_lock(&vm->lock);
    if ((vm->vcpus & BIT_ULL(index)) != 0) {
        code = -EEXIST;
    } else {
        vm->vcpus |= BIT_ULL(index);
        vm->is_started = true;
    }
    mutex_unlock(&vm->lock);
    return code;
}

static long create(struct vm *vm, const struct trapeze_vtx_vcpu *options, char *message,
                   size_t size)
{
    struct vcpu *vcpu;
    int code = take_index(vm, options->index);
    if (code != 0) {
        return code;
    }
    code = make_vcpu(vm, options, &vcpu, message, size);
    if (code != 0) {
        mutex_lock(&vm->lock);
        vm->vcpus &= ~BIT_ULL(options->index);
        mutex_unlock(&vm->lock);
        return code;
    }
    vm_get(vm);
    code = state_reset(vcpu);
    if (code == 0) {
        code = anon_inode_getfd("trapeze-vcpu", &vcpu_operations, vcpu, O_RDWR | O_CLOEXEC);
    }
    if (code < 0) {
        free_vcpu(vcpu);
    }
    if (code == -EIO) {
        strscpy(message, "the processor is not in root mode any more (see the kernel's log)", size);
    }
    return code;
}

static bool is_valid(const struct trapeze_vtx_vcpu *options)
{
    return options->index < TRAPEZE_VTX_VCPUS_MAX &&
           options->cpuid_count <= TRAPEZE_VTX_CPUID_MAX && options->reserved[0] == 0 &&
           options->reserved[1] == 0;
}

long vcpu_create(struct vm *vm, struct trapeze_vtx_vcpu __user *argument)
{
    struct trapeze_vtx_vcpu options;
    long code;
    if (copy_from_user(&options, argument, offsetof(struct trapeze_vtx_vcpu, message)) != 0) {
        return -EFAULT;
    }
    if (!is_valid(&options)) {
        return -EINVAL;
    }
    memset(options.message, 0, sizeof(options.message));
    code = create(vm, &options, options.message, sizeof(options.message));
    if (code < 0 &&
        copy_to_user(argument->message, options.message, sizeof(options.message)) != 0) {
        return -EFAULT;
    }
    return code;
}
