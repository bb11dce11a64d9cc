#include "engines/kvm/kvm_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

int kvm_extension(int fd, int extension)
{
    int value = ioctl(fd, KVM_CHECK_EXTENSION, (unsigned long)extension);
    return value < 0 ? 0 : value;
}

/* Everything here has been in Linux for years: a kernel without one is too old to support. */
static const struct {
    int extension;
    const char *name;
} required_extensions[] = {
    {KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY"},
    {KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID"},
    {KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT"},
    {KVM_CAP_VCPU_EVENTS, "KVM_CAP_VCPU_EVENTS"},
    {KVM_CAP_DEBUGREGS, "KVM_CAP_DEBUGREGS"},
    {KVM_CAP_XSAVE, "KVM_CAP_XSAVE"},
};

/* What a person can do about each way in which opening fails. */
static int explain_open(const char *path, int code, struct error *error)
{
    switch (code) {
    case ENOENT:
        return error_set(error, code,
                         "%s is not there: load the kernel module kvm_intel or kvm_amd, switch on "
                         "virtualization in the firmware, or use --engine soft",
                         path);
    case EACCES:
    case EPERM:
        return error_set(error, code,
                         "no permission for %s: add yourself to its group (sudo usermod -aG kvm "
                         "$USER, then log in again), or use --engine soft",
                         path);
    default:
        return error_set_errno(error, code, "can't open %s", path);
    }
}

static int check_device(int fd, const char *path, struct error *error)
{
    int version = device_ioctl(fd, KVM_GET_API_VERSION, NULL);
    if (version < 0) {
        return error_set(error, ENOTTY, "%s is not a KVM device", path);
    }
    if (version != KVM_API_VERSION) {
        return error_set(error, EPROTO, "%s speaks API version %d, not %d: update the kernel", path,
                         version, KVM_API_VERSION);
    }
    for (size_t i = 0; i < sizeof(required_extensions) / sizeof(required_extensions[0]); i++) {
        if (kvm_extension(fd, required_extensions[i].extension) == 0) {
            return error_set(error, EOPNOTSUPP, "this kernel's KVM has no %s: update the kernel",
                             required_extensions[i].name);
        }
    }
    return 0;
}

int kvm_open_device(const char *path, struct error *error)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        return explain_open(path, errno, error);
    }
    int code = check_device(fd, path, error);
    if (code != 0) {
        close(fd);
        return code;
    }
    return fd;
}
