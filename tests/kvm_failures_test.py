#!/usr/bin/env python3
"""Whatever KVM refuses, at whatever moment: the run ends, with one line that says what was being done and what to do.

usage: tests/kvm_failures_test.py TRAPEZE SHIM

SHIM (kvm_shim.c) is preloaded and makes calls fail; so some of this needs no KVM at all. Where there is none the rest is
skipped.
"""

import errno
import os
import sys
import tempfile
from pathlib import Path

from harness import Checks, run

MONITOR_ERROR = 125
DEBUG_EXIT = 7
GUEST = bytes([0xB0, DEBUG_EXIT, 0xE6, 0xF4, 0xEB, 0xFE])  # mov al, 7; out 0xf4, al; jmp $
IMMEDIATE_EXIT, SPLIT_IRQCHIP, PIT2 = 136, 121, 33  # of KVM_CHECK_EXTENSION

# What fails: the shim's words, more options, and what the line must say.
WITHOUT_DEVICE = (
    (f"open=-{errno.ENOENT}", (), ("/dev/kvm is not there", "kvm_intel or kvm_amd", "--engine soft")),
    (f"open=-{errno.EACCES}", (), ("no permission for /dev/kvm", "usermod -aG kvm")),
    (f"open=-{errno.EPERM}", (), ("no permission for /dev/kvm",)),
    (f"open=-{errno.EBUSY}", (), ("can't open /dev/kvm",)),
)
WITH_DEVICE = (
    ("GET_API_VERSION=11", (), ("API version 11, not 12", "update the kernel")),
    (f"GET_API_VERSION=-{errno.ENOTTY}", (), ("is not a KVM device",)),
    (f"CHECK_EXTENSION/{IMMEDIATE_EXIT}=0", (), ("no KVM_CAP_IMMEDIATE_EXIT", "update the kernel")),
    (f"CHECK_EXTENSION/{SPLIT_IRQCHIP}=0", ("--irqchip", "split"), ("no KVM_CAP_SPLIT_IRQCHIP", "--irqchip none")),
    (f"CHECK_EXTENSION/{PIT2}=0", ("--irqchip", "kernel"), ("no KVM_CAP_PIT2", "--irqchip none")),
    ("GET_VCPU_MMAP_SIZE=64", (), ("64 bytes is too small",)),
    (f"ENABLE_CAP=-{errno.ENOMEM}", ("--irqchip", "split"), ("can't make local APICs alone", "--irqchip none")),
)
# Each of these fails in each of these ways; the line must have these words and say what to do.
ERRORS = {errno.ENOMEM: "use a smaller --memory", errno.EFAULT: "please report it",
          errno.EINVAL: "update the kernel, try --cpu x86-64-v2, or use --engine soft"}
OWN_REMEDY = {"CREATE_IRQCHIP": "--irqchip none", "CREATE_PIT2": "--irqchip split"}
CALLS = {
    "CREATE_VM": "can't make a VM", "GET_VCPU_MMAP_SIZE": "does not say how large", "SET_TSS_ADDR": "refuses a place for its TSS",
    "SET_IDENTITY_MAP_ADDR": "refuses a place for its TSS", "CREATE_IRQCHIP": "can't make its interrupt controllers",
    "CREATE_PIT2": "can't make its 8254", "SET_GSI_ROUTING": "refuses the routing of interrupts",
    "SET_USER_MEMORY_REGION": "refuses 16 MiB of memory", "GET_SUPPORTED_CPUID": "does not say which CPUID",
    "CREATE_VCPU": "can't make vCPU 0", "SET_CPUID2": "refuses the CPUID of vCPU 0", "GET_LAPIC": "refuses the LAPIC",
    "SET_LAPIC": "refuses the LAPIC", "SET_REGS": "refuses the general registers",
    "SET_DEBUGREGS": "refuses the debug registers", "SET_MSRS": "does not take the MSRs", "SET_XCRS": "in XCR0",
    "SET_XSAVE": "refuses the FPU state", "GET_VCPU_EVENTS": "does not give the pending events",
    "SET_VCPU_EVENTS": "refuses the pending events", "SET_MP_STATE": "refuses to let the vCPU wait or run",
}
# The first answers where there is no SREGS2.
OTHERS = (
    (f"GET_SREGS=-{errno.EFAULT} GET_SREGS2=-{errno.EFAULT}", "does not give the system registers"),
    (f"SET_SREGS=-{errno.EINVAL} SET_SREGS2=-{errno.EINVAL}", "refuses the system registers"),
    (f"CREATE_VCPU=-{errno.EMFILE}", "raise the limit of open files"),
    (f"CREATE_VCPU=-{errno.EEXIST}", "dmesg"),
    (f"RUN=-{errno.EFAULT}", "can't reach the guest's memory"),
    (f"RUN=-{errno.ENOMEM}", "no memory left to run vCPU 0: free some"),
)


class Program:
    def __init__(self, trapeze, shim, guest):
        self.trapeze, self.shim, self.guest = trapeze, shim, guest

    def run(self, wishes, options=()):
        environment = dict(os.environ, LD_PRELOAD=str(self.shim), TRAPEZE_SHIM=wishes)
        return run([self.trapeze, "run", "--engine", "kvm", "--flat", self.guest, "--memory", "16M", "--timeout", "30",
                    *options], env=environment)


def check_failure(check, program, wishes, options, words):
    result = program.run(wishes, options)
    check.equal(result.status, MONITOR_ERROR, wishes, result)
    check.equal(len(result.errors.splitlines()), 1, f"{wishes}: lines", result)
    for word in words:
        check.contains(result.errors, word, wishes)


def main():
    check = Checks()
    with tempfile.TemporaryDirectory() as directory:
        guest = Path(directory) / "guest.bin"
        guest.write_bytes(GUEST)
        program = Program(sys.argv[1], Path(sys.argv[2]).resolve(), guest)
        for wishes, options, words in WITHOUT_DEVICE:
            check_failure(check, program, wishes, options, words)
        if not os.access("/dev/kvm", os.R_OK | os.W_OK):
            check.skip("no /dev/kvm that could be used")
            check.finish()
        check.equal(program.run("").status, DEBUG_EXIT, "nothing fails")
        for wishes, options, words in WITH_DEVICE:
            check_failure(check, program, wishes, options, words)
        for call, words in CALLS.items():
            for code, remedy in ERRORS.items():
                check_failure(check, program, f"{call}=-{code}", (), (words, OWN_REMEDY.get(call, remedy)))
        for wishes, words in OTHERS:
            check_failure(check, program, wishes, (), (words,))
        # The kernel's EINVAL is no wrong option.
        check_failure(check, program, f"CREATE_VCPU=-{errno.EINVAL}", ("--cpu-affinity", "0"), ("can't make vCPU 0",))
        # What is only used where it is there may fail.
        for wishes in (f"ENABLE_CAP=-{errno.EINVAL}", f"X86_SET_MSR_FILTER=-{errno.EINVAL}"):
            check.equal(program.run(wishes, ("--irqchip", "none")).status, DEBUG_EXIT, wishes)
    check.finish()


if __name__ == "__main__":
    main()
