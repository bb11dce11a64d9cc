/* What to say, and what to do, when the kernel refuses something. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engines/kvm/kvm_internal.h"

/* What a person can do about it, or where to look. */
static const char *remedy(int code)
{
    static const struct {
        int code;
        const char *text;
    } remedies[] = {
        {ENOMEM, "free memory on the host, raise the limit of the control group, or use a smaller "
                 "--memory"},
        {EINVAL, "this kernel or processor does not have it: update the kernel, try --cpu "
                 "x86-64-v2, or use --engine soft"},
        {ENXIO, "this kernel does not have it: update the kernel, or use --engine soft"},
        {ENOTTY, "this kernel does not have it: update the kernel, or use --engine soft"},
        {EFAULT, "this is a fault of trapeze or of the kernel, whose log (dmesg) may say more: "
                 "please report it"},
        {EMFILE, "raise the limit of open files (ulimit -n)"},
        {ENFILE, "the host has too many open files"},
        {EPERM, "a sandbox or security policy forbids it"},
        {EACCES, "a sandbox or security policy forbids it"},
        {EBUSY, "another hypervisor may have the processor's virtualization"},
    };
    for (size_t i = 0; i < sizeof(remedies) / sizeof(remedies[0]); i++) {
        if (remedies[i].code == abs(code)) {
            return remedies[i].text;
        }
    }
    return "the kernel's log (dmesg) may say more";
}

void kvm_add_remedy(struct error *error, int code)
{
    if (error != NULL) {
        size_t used = strlen(error->text);
        snprintf(error->text + used, sizeof(error->text) - used, " (%s)", remedy(code));
    }
}

int kvm_error(struct error *error, int code, const char *format, ...)
{
    char text[sizeof(error->text)];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    code = error_set_errno(error, code, "%s", text);
    kvm_add_remedy(error, code);
    return kvm_failure(code);
}
