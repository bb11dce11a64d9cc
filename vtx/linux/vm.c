#include "vtx/linux/vm.h"

#include <asm/msr.h>
#include <linux/anon_inodes.h>
#include <linux/compat.h>
#include <linux/eventfd.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "vtx/linux/host.h"
#include "vtx/linux/memory.h"
#include "vtx/linux/processors.h"
#include "vtx/linux/vcpu.h"

static void free_vm(struct kref *references)
{
    struct vm *vm = container_of(references, struct vm, references);
    unsigned int i;
    mmu_notifier_unregister(&vm->process_end, vm->mm); /* lets the memory go if need be */
    vtx_vm_destroy(&vm->core);
    for (i = 0; i < vm->doorbell_count; i++) {
        eventfd_ctx_put(vm->doorbells[i].event);
    }
    processors_put();
    mmdrop(vm->mm);
    kfree(vm);
}

void vm_get(struct vm *vm)
{
    kref_get(&vm->references);
}

void vm_put(struct vm *vm)
{
    kref_put(&vm->references, free_vm);
}

bool vm_is_of_caller(const struct vm *vm)
{
    return vm->mm == current->mm;
}

/*
 * The process ends, or becomes another program: nobody can run the VM any more, though others may
 * hold its descriptors. What was the guest's is not theirs to keep.
 */
static void process_ends(struct mmu_notifier *notifier, struct mm_struct *mm)
{
    struct vm *vm = container_of(notifier, struct vm, process_end);
    mutex_lock(&vm->lock);
    memory_release(vm);
    mutex_unlock(&vm->lock);
}

static const struct mmu_notifier_ops process_operations = {.release = process_ends};

/* ---- doorbells ---- */

/* Takes over the reference to the event if it returns 0. */
static int add_doorbell(struct vm *vm, const struct doorbell *doorbell)
{
    if (vm->is_started) {
        return -EBUSY;
    }
    if (vm->doorbell_count == DOORBELLS_MAX) {
        return -ENOSPC;
    }
    vm->doorbells[vm->doorbell_count++] = *doorbell;
    return 0;
}

static int set_doorbell(struct vm *vm, const struct trapeze_vtx_doorbell *argument)
{
    struct doorbell doorbell = {.port = argument->port,
                                .size = argument->size,
                                .has_value = argument->has_value != 0,
                                .value = argument->value};
    int code;
    if (argument->has_value > 1 || argument->reserved0 != 0 || argument->reserved[0] != 0 ||
        argument->reserved[1] != 0 ||
        (argument->size != 1 && argument->size != 2 && argument->size != 4)) {
        return -EINVAL;
    }
    doorbell.event = eventfd_ctx_fdget(argument->event);
    if (IS_ERR(doorbell.event)) {
        return PTR_ERR(doorbell.event);
    }
    mutex_lock(&vm->lock);
    code = add_doorbell(vm, &doorbell);
    mutex_unlock(&vm->lock);
    if (code != 0) {
        eventfd_ctx_put(doorbell.event);
    }
    return code;
}

/* ---- calls ---- */

static long vm_ioctl(struct file *file, unsigned int request, unsigned long argument)
{
    struct vm *vm = file->private_data;
    void __user *user = (void __user *)argument;
    struct trapeze_vtx_memory memory;
    struct trapeze_vtx_doorbell doorbell;
    if (!vm_is_of_caller(vm)) {
        return -EPERM;
    }
    switch (request) {
    case TRAPEZE_VTX_SET_MEMORY:
        return copy_from_user(&memory, user, sizeof(memory)) != 0 ? -EFAULT
                                                                  : memory_add_slot(vm, &memory);
    case TRAPEZE_VTX_SET_DOORBELL:
        return copy_from_user(&doorbell, user, sizeof(doorbell)) != 0 ? -EFAULT
                                                                      : set_doorbell(vm, &doorbell);
    case TRAPEZE_VTX_CREATE_VCPU:
        return vcpu_create(vm, user);
    default:
        return -ENOTTY;
    }
}

static int vm_release(struct inode *inode, struct file *file)
{
    vm_put(file->private_data);
    return 0;
}

static const struct file_operations vm_operations = {
    .owner = THIS_MODULE,
    .unlocked_ioctl = vm_ioctl,
    .release = vm_release,
    .llseek = noop_llseek,
};

/* ---- creation ---- */

/* The process's end is waited for from here on; takes back the VM where that cannot be. */
static int watch_process(struct vm *vm)
{
    int code;
    vm->process_end.ops = &process_operations;
    code = mmu_notifier_register(&vm->process_end, vm->mm);
    if (code != 0) {
        vtx_vm_destroy(&vm->core);
        processors_put();
        mmdrop(vm->mm);
        kfree(vm);
    }
    return code;
}

static int make_vm(u32 policy, struct vm **out, char *message, size_t size)
{
    struct vm *vm;
    int code = processors_acquire(message, size);
    if (code != 0) {
        return code;
    }
    vm = kzalloc(sizeof(*vm), GFP_KERNEL_ACCOUNT);
    if (vm == NULL ||
        vtx_vm_create(&vm->core, &linux_vtx_host, processors_capabilities(),
                      policy == TRAPEZE_VTX_TRAP_ALL ? VTX_TRAP_ALL : VTX_TRAP_SHADOW) != VTX_OK) {
        kfree(vm);
        processors_put();
        return -ENOMEM;
    }
    kref_init(&vm->references);
    mutex_init(&vm->lock);
    vm->mm = current->mm;
    mmgrab(vm->mm);
    vm->tsc_origin = rdtsc();
    code = watch_process(vm);
    *out = vm;
    return code;
}

static bool is_valid(const struct trapeze_vtx_vm *options)
{
    return options->policy <= TRAPEZE_VTX_TRAP_ALL && options->reserved0 == 0 &&
           options->reserved[0] == 0 && options->reserved[1] == 0 && options->reserved[2] == 0;
}

long vm_create(struct trapeze_vtx_vm __user *argument)
{
    struct trapeze_vtx_vm options;
    struct vm *vm;
    int code;
    if (copy_from_user(&options, argument, offsetof(struct trapeze_vtx_vm, message)) != 0) {
        return -EFAULT;
    }
    if (!is_valid(&options)) {
        return -EINVAL;
    }
    memset(options.message, 0, sizeof(options.message));
    code = make_vm(options.policy, &vm, options.message, sizeof(options.message));
    if (code == 0) {
        code = anon_inode_getfd("trapeze-vm", &vm_operations, vm, O_RDWR | O_CLOEXEC);
        if (code < 0) {
            vm_put(vm);
        }
        return code;
    }
    if (copy_to_user(argument->message, options.message, sizeof(options.message)) != 0) {
        return -EFAULT;
    }
    return code;
}
