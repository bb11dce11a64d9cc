#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "engines/vtx/vtx_internal.h"

/* What a person can do about each way in which opening fails. */
static int explain_open(const char *path, int code, struct error *error)
{
    switch (code) {
    case ENOENT:
    case ENXIO:
    case ENODEV:
        return error_set(error, code,
                         "%s is not there: build the kernel module (vtx/linux/build) and load it "
                         "(insmod build/module/trapeze.ko), or use --engine kvm or soft",
                         path);
    case EACCES:
    case EPERM:
        return error_set(error, code,
                         "no permission for %s, which is root's alone until its administrator "
                         "gives it to a group (a rule for udev: docs/vtx-engine.md); or use "
                         "--engine kvm or soft",
                         path);
    default:
        return error_set_errno(error, code, "can't open %s", path);
    }
}

static int check_version(int fd, const char *path, struct error *error)
{
    struct trapeze_vtx_version version = {.abi = 0};
    if (device_ioctl(fd, TRAPEZE_VTX_VERSION, &version) < 0) {
        /* The number of the call has the struct's size in it: a version far away has another. */
        return error_set(error, ENOTTY,
                         "%s is not the device of this trapeze's kernel module: build the module "
                         "of the same version and load it",
                         path);
    }
    if (version.abi != TRAPEZE_VTX_ABI) {
        return error_set(error, EPROTO,
                         "%s speaks version %u of the interface, this program version %d: build "
                         "the module of the same version and load it",
                         path, version.abi, TRAPEZE_VTX_ABI);
    }
    return 0;
}

int vtx_open_device(const char *path, struct error *error)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        return explain_open(path, errno, error);
    }
    int code = check_version(fd, path, error);
    if (code != 0) {
        close(fd);
        return code;
    }
    return fd;
}

int vtx_check_processor(int device, struct error *error)
{
    struct trapeze_vtx_version version = {.abi = 0};
    int code = device_ioctl(device, TRAPEZE_VTX_VERSION, &version);
    if (code < 0) {
        return error_set_errno(error, code, "the module does not say whether there is VT-x");
    }
    version.message[sizeof(version.message) - 1] = '\0';
    return version.error != 0 ? error_set(error, version.error, "%s", version.message) : 0;
}
