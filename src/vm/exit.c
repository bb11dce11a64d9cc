#include "vm/exit.h"

#include <stddef.h>

const char *exit_reason_name(enum exit_reason reason)
{
    static const char *const names[EXIT_REASON_COUNT] = {
        [EXIT_NONE] = "none",
        [EXIT_KICKED] = "kicked",
        [EXIT_PIO] = "pio",
        [EXIT_MMIO] = "mmio",
        [EXIT_RDMSR] = "rdmsr",
        [EXIT_WRMSR] = "wrmsr",
        [EXIT_HLT] = "hlt",
        [EXIT_HYPERCALL] = "hypercall",
        [EXIT_INTERRUPT_WINDOW] = "interrupt-window",
        [EXIT_DEBUG] = "debug",
        [EXIT_SHUTDOWN] = "shutdown",
        [EXIT_ENTRY_FAILED] = "entry-failed",
        [EXIT_EOI] = "eoi",
        [EXIT_SYSTEM_EVENT] = "system-event",
        [EXIT_INTERNAL] = "internal",
        [EXIT_INSTRUCTION] = "instruction",
    };
    unsigned int index = (unsigned int)reason;
    return index < EXIT_REASON_COUNT && names[index] != NULL ? names[index] : "unknown";
}
