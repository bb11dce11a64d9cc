/*
 * Tells KVM beforehand what a guest is going to write to XCR0. For the laboratory only, preloaded
 * (LD_PRELOAD) in front of the program under test, which knows nothing of it.
 *
 * TCG's SVM does not intercept XSETBV. So the guest's goes straight to the processor, and KVM,
 * which has not seen it, puts its own idea of XCR0, the 1 of RESET, there again at the next entry:
 * the guest's XRSTOR then faults over the components that have gone. A guest that enables all that
 * its CPUID leaf 0DH shows, as Linux does, runs if KVM has had that idea from the start.
 */
#include <dlfcn.h>
#include <linux/kvm.h>
#include <stdarg.h>
#include <stdint.h>

#define LEAF_XSAVE 0xdu

/* Of the vCPU that the thread has last given its CPUID: each has a thread of its own. */
static _Thread_local uint64_t components;

static uint64_t components_in(const struct kvm_cpuid2 *cpuid)
{
    for (uint32_t i = 0; i < cpuid->nent; i++) {
        const struct kvm_cpuid_entry2 *entry = &cpuid->entries[i];
        if (entry->function == LEAF_XSAVE && entry->index == 0) {
            return entry->eax | (uint64_t)entry->edx << 32;
        }
    }
    return 0;
}

int ioctl(int fd, unsigned long request, ...)
{
    va_list arguments;
    va_start(arguments, request);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    int (*next)(int, unsigned long, ...) =
        (int (*)(int, unsigned long, ...))(uintptr_t)dlsym(RTLD_NEXT, "ioctl");
    struct kvm_xcrs xcrs;
    if (request == KVM_SET_CPUID2) {
        components = components_in(argument);
    } else if (request == KVM_SET_XCRS && components != 0) {
        xcrs = *(const struct kvm_xcrs *)argument;
        xcrs.xcrs[0].value = components;
        argument = &xcrs;
    }
    return next(fd, request, argument);
}
