/*
 * Makes KVM fail: preloaded (LD_PRELOAD) in front of the program under test, which knows nothing of
 * it.
 *
 * TRAPEZE_SHIM holds "CALL=RESULT" or "CALL/ARGUMENT=RESULT", separated by spaces. CALL is "open",
 * of /dev/kvm, or an ioctl by its name without KVM_; ARGUMENT is the number of an extension, for
 * CHECK_EXTENSION. A RESULT below zero is an -errno. Calls that are not named go to the kernel.
 */
#undef _FILE_OFFSET_BITS /* else open is another name for open64, and both are needed here */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME(request) #request, KVM_##request

static const struct {
    const char *name;
    unsigned long request;
} requests[] = {
    {NAME(CHECK_EXTENSION)},
    {NAME(CREATE_IRQCHIP)},
    {NAME(CREATE_PIT2)},
    {NAME(CREATE_VCPU)},
    {NAME(CREATE_VM)},
    {NAME(ENABLE_CAP)},
    {NAME(GET_API_VERSION)},
    {NAME(GET_LAPIC)},
    {NAME(GET_SREGS)},
    {NAME(GET_SREGS2)},
    {NAME(GET_SUPPORTED_CPUID)},
    {NAME(GET_VCPU_EVENTS)},
    {NAME(GET_VCPU_MMAP_SIZE)},
    {NAME(RUN)},
    {NAME(SET_CPUID2)},
    {NAME(SET_DEBUGREGS)},
    {NAME(SET_GSI_ROUTING)},
    {NAME(SET_IDENTITY_MAP_ADDR)},
    {NAME(SET_LAPIC)},
    {NAME(SET_MP_STATE)},
    {NAME(SET_MSRS)},
    {NAME(SET_REGS)},
    {NAME(SET_SREGS)},
    {NAME(SET_SREGS2)},
    {NAME(SET_TSS_ADDR)},
    {NAME(SET_USER_MEMORY_REGION)},
    {NAME(SET_VCPU_EVENTS)},
    {NAME(SET_XCRS)},
    {NAME(SET_XSAVE)},
    {NAME(X86_SET_MSR_FILTER)},
};

static const char *name_of(unsigned long request)
{
    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        if (requests[i].request == request) {
            return requests[i].name;
        }
    }
    return "";
}

/* Finds a call in TRAPEZE_SHIM; *result is what it is to return. */
static bool is_replaced(const char *name, unsigned long argument, int *result)
{
    const char *wish = getenv("TRAPEZE_SHIM");
    size_t length = strlen(name);
    while (length != 0 && wish != NULL && *wish != '\0') {
        if (strncmp(wish, name, length) == 0 && (wish[length] == '=' || wish[length] == '/')) {
            char *end = NULL;
            const char *rest = wish + length;
            bool matches = *rest == '=' || strtoul(rest + 1, &end, 0) == argument;
            rest = end != NULL ? end : rest;
            *result = (int)strtol(rest + 1, NULL, 0);
            if (matches) {
                return true;
            }
        }
        wish = strchr(wish, ' ');
        wish = wish != NULL ? wish + 1 : NULL;
    }
    return false;
}

static int returned(int result)
{
    if (result >= 0) {
        return result;
    }
    errno = -result;
    return -1;
}

int ioctl(int fd, unsigned long request, ...)
{
    va_list arguments;
    va_start(arguments, request);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    int result;
    if (is_replaced(name_of(request), (unsigned long)argument, &result)) {
        return returned(result);
    }
    int (*next)(int, unsigned long, ...) =
        (int (*)(int, unsigned long, ...))(uintptr_t)dlsym(RTLD_NEXT, "ioctl");
    return next(fd, request, argument);
}

static int open_with(const char *symbol, const char *path, int flags, int mode)
{
    int result;
    if (strcmp(path, "/dev/kvm") == 0 && is_replaced("open", 0, &result)) {
        return returned(result);
    }
    int (*next)(const char *, int, ...) =
        (int (*)(const char *, int, ...))(uintptr_t)dlsym(RTLD_NEXT, symbol);
    return next(path, flags, mode);
}

int open(const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    int mode = va_arg(arguments, int);
    va_end(arguments);
    return open_with("open", path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    int mode = va_arg(arguments, int);
    va_end(arguments);
    return open_with("open64", path, flags, mode);
}
