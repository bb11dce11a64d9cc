/*
 * The kernel module trapeze: VT-x for programs that may open /dev/trapeze. See docs/vtx-engine.md.
 *
 *   module.c      the device, and the module's own coming and going
 *   processors.c  root mode on each processor
 *   vm.c          a VM: its descriptor, doorbells
 *   memory.c      its memory: slots, pinning, EPT
 *   vcpu.c        a vCPU: its descriptor, statistics
 *   load.c        where it is loaded
 *   state.c       its state
 *   run.c         running it
 *   context.c     the host's registers around a stay in the guest
 *   exit.c        exits in the form of the interface
 *   host.c        what the core asks of the kernel
 */
#include "vtx/linux/core.h"

#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "trapeze/vtx.h"
#include "vtx/linux/processors.h"
#include "vtx/linux/vm.h"

static long give_version(void __user *argument)
{
    struct trapeze_vtx_version version = {.abi = TRAPEZE_VTX_ABI};
    version.error = processors_check(version.message, sizeof(version.message));
    return copy_to_user(argument, &version, sizeof(version)) != 0 ? -EFAULT : 0;
}

/* Writes the table out entry by entry; *count becomes how many there are. */
static int give_entries(const struct cpuid_table *table, u64 address, u32 *count)
{
    struct trapeze_vtx_cpuid_entry __user *user = (void __user *)(unsigned long)address;
    u32 i, room = *count;
    *count = table->count;
    if (room < table->count) {
        return -E2BIG;
    }
    for (i = 0; i < table->count; i++) {
        const struct cpuid_entry *from = &table->entries[i];
        struct trapeze_vtx_cpuid_entry entry = {.leaf = from->leaf,
                                                .subleaf = from->subleaf,
                                                .has_subleaf = from->has_subleaf,
                                                .eax = from->registers.eax,
                                                .ebx = from->registers.ebx,
                                                .ecx = from->registers.ecx,
                                                .edx = from->registers.edx};
        if (copy_to_user(user + i, &entry, sizeof(entry)) != 0) {
            return -EFAULT;
        }
    }
    return 0;
}

static int fill_cpuid(struct trapeze_vtx_cpuid *argument)
{
    struct cpuid_table *table;
    int code = processors_check(argument->message, sizeof(argument->message));
    if (code != 0) {
        return code;
    }
    table = kzalloc(sizeof(*table), GFP_KERNEL);
    if (table == NULL) {
        return -ENOMEM;
    }
    vtx_cpuid_supported(processors_capabilities(), table);
    code = give_entries(table, argument->entries, &argument->count);
    kfree(table);
    return code;
}

static long give_cpuid(struct trapeze_vtx_cpuid __user *user)
{
    struct trapeze_vtx_cpuid argument;
    int code;
    if (copy_from_user(&argument, user, offsetof(struct trapeze_vtx_cpuid, message)) != 0) {
        return -EFAULT;
    }
    if (argument.reserved0 != 0 || argument.reserved[0] != 0 || argument.reserved[1] != 0) {
        return -EINVAL;
    }
    memset(argument.message, 0, sizeof(argument.message));
    code = fill_cpuid(&argument);
    return copy_to_user(user, &argument, sizeof(argument)) != 0 ? -EFAULT : code;
}

static long device_ioctl(struct file *file, unsigned int request, unsigned long argument)
{
    void __user *user = (void __user *)argument;
    switch (request) {
    case TRAPEZE_VTX_VERSION:
        return give_version(user);
    case TRAPEZE_VTX_CREATE_VM:
        return vm_create(user);
    case TRAPEZE_VTX_GET_CPUID:
        return give_cpuid(user);
    default:
        return -ENOTTY;
    }
}

static const struct file_operations device_operations = {
    .owner = THIS_MODULE,
    .unlocked_ioctl = device_ioctl,
    .llseek = noop_llseek,
};

/* Root's alone until a rule for udev, or whoever administers the machine, says otherwise. */
static struct miscdevice device = {
    .minor = MISC_DYNAMIC_MINOR,
    .name = "trapeze",
    .fops = &device_operations,
    .mode = 0660,
};

static int __init module_comes(void)
{
    char message[TRAPEZE_VTX_MESSAGE_SIZE];
    int code = processors_prepare();
    if (code != 0) {
        return code;
    }
    /* Where there is no VT-x the device is there to say so. */
    if (processors_check(message, sizeof(message)) != 0) {
        pr_warn("trapeze: %s\n", message);
    }
    code = misc_register(&device);
    if (code != 0) {
        processors_release();
    }
    return code;
}

static void __exit module_goes(void)
{
    misc_deregister(&device);
    processors_release();
}

module_init(module_comes);
module_exit(module_goes);

MODULE_DESCRIPTION("VT-x for the virtual machine monitor Trapeze");
MODULE_AUTHOR("The authors of Trapeze");
MODULE_LICENSE("Dual MIT/GPL");
