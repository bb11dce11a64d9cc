#!/usr/bin/env python3
"""Our VT-x driver in the laboratory machine with VT-x, in one start of it: the module, the engine, hostile programs, what can
go wrong around it, and what an exit costs beside kvm_intel.

usage: tests/lab/vtx_test.py [--long] TRAPEZE [NAME]...

Each case is a command for the machine's shell; what it printed and its status come back. With names only the cases whose
names begin so are run, and what they printed is shown. --long runs those that take minutes: Linux with two processors on a
machine with two.
"""

import io
import re
import shlex
import shutil
import sys
import tempfile
import time
import zlib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import guest_test  # noqa: E402
import kvm_lab  # noqa: E402
import vtx_lab  # noqa: E402
from harness import Checks, Result  # noqa: E402
from lab_test import (KILLED, POWERED_OFF, Case, check_report, make_initramfs, read_results, verify_unit_test,  # noqa: E402
                      write_script)

MONITOR_ERROR, TIMEOUT = 125, 124
ALL_PATIENCE = 1500      # seconds for either kind, five minutes at most on an idle host; scripts/run-tests gives more
EXIT_INSTRUCTIONS = 600  # in root mode, for a port write that is served in the kernel

# What the kernel says when something of ours went wrong in it.
COMPLAINTS = r"BUG|WARNING|Oops|general protection|Call Trace|soft lockup|rcu.*stall|scheduling while atomic|leaked"


def unit_cases(program_directory, files):
    for name, arguments in (("engine_guest", " vtx"), ("vtx_device", "")):
        shutil.copy(program_directory / f"{name}_test", files)
        yield Case(f"unit-{name}", f"./{name}_test{arguments}", verify_unit_test)


# ---- tiny guests ----

# Those that touch every port, MSR or a good part of memory take minutes here.
TOO_SLOW = {"ports", "msrs", "mmio"}


def guest_cases(files):
    for guest in guest_test.GUESTS:
        for mode in guest.modes:
            if guest.name in TOO_SLOW:
                continue
            image = guest_test.assemble(files, guest.name, guest_test.WIDTHS[mode])
            command = guest_test.command("trapeze", image.name, guest, mode, guest_test.Engine("vtx", ""))

            def verify(check, name, result, guest=guest):
                if guest.name == "nowhere":  # as with KVM it ends the run; the words are the core's
                    verify_words(MONITOR_ERROR, "where there is no memory")(check, name, result)
                else:
                    guest_test.check_result(check, guest, name, result, is_kvm=True)

            yield Case(f"guest-{guest.name}-{mode}", command, verify)


# ---- Linux ----

def linux(append, *options):
    return ["trapeze", "run", "--engine", "vtx", "--kernel", "/data/vmlinuz", "--initrd", "guest.cpio", "--memory", "256M",
            "--append", f"console=ttyS0 quiet panic=-1 rdinit=/guest-init {append}", "--timeout", "250", *options]


def verify_linux(check, name, result):
    check.equal(result.status, POWERED_OFF, name, result)
    check.contains(result.output, "guest-init: nothing", name)
    check.contains(result.last_line, "trapeze: the guest powered off", name)
    check.that(re.search(r"VM exits: I/O instruction +\d+", result.errors), f"{name}: the engine's counters", result)


def linux_cases():
    yield Case("linux", linux("lab.do=nothing", "--stats"), verify_linux, patience=120)


# Moves every thread of the process $p from one processor to the other and back until it has ended.
MOVE = """mask=1
while [ -e /proc/$p/exe ]; do
    for task in /proc/$p/task/*; do taskset -p $mask ${task##*/} >/dev/null 2>&1; done
    mask=$((3 - mask))
    sleep 0.1
done"""


def long_cases():
    for cpus in (1, 2):
        def verify(check, name, result, cpus=cpus):
            check_report(check, name, result, cpus, clock="tsc")  # which CPUID says never stops here

        command = shlex.join(linux("lab.do=report", "--cpus", str(cpus)))
        yield Case(f"linux-{cpus}-cpus", f"{command} & p=$!\n{MOVE}\nwait $p", verify, patience=280)


# ---- what can go wrong around it ----

LOOP = bytes([0xFB, 0xEB, 0xFE])          # sti; jmp to itself: with interrupts off nothing ends it under KVM here
EXIT5 = bytes([0xB0, 5, 0xE6, 0xF4])          # mov al, 5; out 0xf4, al
STORM = bytes([0xE6, 0x80, 0xEB, 0xFC])       # out 0x80, al; jmp back to it
RUN = "trapeze run --engine vtx --memory 16M --flat"


def verify_words(status, *words):
    def verify(check, name, result):
        check.equal(result.status, status, name, result)
        for word in words:
            check.contains(result.output + result.errors, word, name)

    return verify


def trouble_cases(files):
    for name, code in (("loop", LOOP), ("exit5", EXIT5), ("storm", STORM)):
        (files / f"{name}.bin").write_bytes(code)
    # The guest loops until the file goes; the shell waits until it is in the kernel.
    start = f"{RUN} loop.bin & p=$!; until grep -q trapeze-vcpu /proc/$p/maps || [ ! -e /proc/$p/exe ]; do sleep 0.05; done; "
    start_kvm = start.replace("--engine vtx", "--engine kvm").replace("trapeze-vcpu", "kvm-vcpu")
    pinned = "grep VmPin /proc/$p/status"
    yield Case("exit-code", f"{RUN} exit5.bin", verify_words(5))
    yield Case("trap-all", f"{RUN} exit5.bin --trap all", verify_words(5))
    yield Case("device-is-roots", "stat -c '%a %U' /dev/trapeze", verify_words(0, "660 root"))
    yield Case("nobody-may", f"su -s /bin/sh -c '{RUN} /files/exit5.bin' nobody",
               verify_words(MONITOR_ERROR, "no permission for /dev/trapeze", "udev"))
    yield Case("limit", f"chgrp kvm /dev/trapeze; su -s /bin/sh -c 'ulimit -l 0; {RUN} /files/exit5.bin' user",
               verify_words(MONITOR_ERROR, "pinned memory", "ulimit -l"))
    yield Case("group-may", f"chgrp kvm /dev/trapeze; su -s /bin/sh -c '{RUN} /files/exit5.bin' user", verify_words(5))
    yield Case("no-device", f"mv /dev/trapeze /dev/not; {RUN} exit5.bin; s=$?; mv /dev/not /dev/trapeze; exit $s",
               verify_words(MONITOR_ERROR, "/dev/trapeze is not there", "insmod"))
    yield Case("other-device", f"mv /dev/trapeze /dev/not; mknod /dev/trapeze c 1 3; {RUN} exit5.bin; s=$?; "
               "mv -f /dev/not /dev/trapeze; exit $s", verify_words(MONITOR_ERROR, "is not the device"))
    yield Case("storm", f"{RUN} storm.bin --timeout 2", verify_words(TIMEOUT))
    yield Case("two-processes", f"{RUN} loop.bin --timeout 3 & a=$!; {RUN} loop.bin --timeout 3 & wait $a; s=$?; "
               f"{RUN} exit5.bin; t=$?; wait $!; exit $((s == {TIMEOUT} && t == 5 ? $? : 1))", verify_words(TIMEOUT))
    yield Case("module-in-use", f"{start} rmmod trapeze; s=$?; kill $p; wait $p; exit $s",
               verify_words(1, "Resource temporarily unavailable"))
    yield Case("killed", f"{start} {pinned}; kill -9 $p; wait $p; rmmod trapeze && insmod /lab/trapeze.ko && {RUN} exit5.bin",
               verify_words(5, "VmPin"))
    yield Case("kvm-has-it", f"{start_kvm} {RUN} exit5.bin; s=$?; kill $p; wait $p; {RUN} exit5.bin; exit $((s * 100 + $?))",
               verify_words((MONITOR_ERROR * 100 + 5) % 256, "in VMX operation already", "rmmod kvm_intel"))
    yield Case("kvm-must-wait", f"{start} trapeze run --engine kvm --memory 16M --flat exit5.bin; s=$?; kill $p; wait $p; "
               "trapeze run --engine kvm --memory 16M --flat exit5.bin; exit $((s * 100 + $?))",
               verify_words((MONITOR_ERROR * 100 + 5) % 256, "KVM can't make a VM"))


# ---- figures ----

def verify_cost(check, name, result):
    costs = {engine: (float(out), float(inside)) for engine, out, inside in
             re.findall(r"^(\w+): ([\d.]+) ticks .* program, ([\d.]+) ", result.output, re.M)}
    if not check.that("vtx" in costs and "kvm" in costs, name, result):
        return
    print(f"instructions in root mode for a port write: {costs}")
    for place, ours, kvms in zip(("to the program", "in the kernel"), costs["vtx"], costs["kvm"]):
        check.that(ours < kvms, f"{name}: a write {place} takes {ours}, KVM {kvms}")
    check.that(costs["vtx"][1] <= EXIT_INSTRUCTIONS, f"{name}: {costs['vtx'][1]} instructions")


def cost_cases(bench_directory, files):
    shutil.copy(bench_directory / "exit_cost_bench", files)
    yield Case("cost", "./exit_cost_bench kvm && ./exit_cost_bench vtx", verify_cost)


# ---- the end ----

def verify_log(check, name, result):
    check.equal(result.status, 0, f"{name}: the module goes", result)
    found = re.findall(rf"^.*(?:{COMPLAINTS}).*$", result.output, re.M)
    check.that(not found, f"{name}: the kernel complains", "\n".join(found[:20]))


# KVM's own complaint when it must wait is none.
END_CASE = Case("log", "rmmod trapeze && dmesg | grep -v 'kvm: enabling virtualization on CPU'", verify_log)


# ---- all of them ----

def unpack(data):
    """The archives that came one behind the other, each compressed; the last one may be cut off."""
    whole = bytearray()
    while data[:2] == b"\x1f\x8b":
        stream = zlib.decompressobj(16 + zlib.MAX_WBITS)
        try:
            part = stream.decompress(data)
        except zlib.error:
            break
        if not stream.eof:
            break
        whole += part
        data = stream.unused_data
    return io.BytesIO(bytes(whole))


def run_machine(trapeze, cases, files, patience, cpus):
    """Starts the machine for the cases. Returns the results that there are, and the LabError if it did not end well."""
    write_script(files / "cases", cases, "| gzip -1")
    script = "load-trapeze && load-kvm && sh cases"
    output = io.BytesIO()
    try:
        vtx_lab.run(["sh", "-c", script], cpus=cpus, files=files, timeout=patience, stdout=output, trapeze=trapeze)
        error = None
    except kvm_lab.LabError as failure:
        error = failure
    return read_results(unpack(output.getvalue())), error


def run_cases(check, trapeze, cases, files, verbose, patience, cpus):
    began = time.monotonic()
    results, error = run_machine(trapeze, cases, files, patience, cpus)
    if error is not None:
        check.that(False, "the laboratory machine", error)
    print(f"{len(cases)} cases in {time.monotonic() - began:.0f} s")
    for case in cases:
        result = results.get(case.name, Result(KILLED, "", "(it was not run)"))
        if verbose:
            print(f"==== {case.name}: {case.command}\n{result}\n")
        case.verify(check, case.name, result)


def no_vtx(check, trapeze, files):
    """Where the processor has no VT-x (QEMU's, of the KVM engine's laboratory) the device says so."""
    shutil.copy(vtx_lab.build_module(), files / "trapeze.ko")
    with tempfile.TemporaryFile() as output:
        status = kvm_lab.run(["sh", "-c", f"insmod trapeze.ko && {RUN} exit5.bin"], files=files, stdout=output, timeout=100,
                             trapeze=trapeze)
        output.seek(0)
        said = output.read().decode(errors="replace")
    check.equal(status, MONITOR_ERROR, "no VT-x", said)
    check.contains(said, "VT-x", "no VT-x")


def main():
    words = sys.argv[1:]
    is_long = "--long" in words
    words = [word for word in words if word != "--long"]
    trapeze, wanted = Path(words[0]).resolve(), tuple(words[1:])
    check = Checks()
    kvm_lab.end_at_signals()
    with tempfile.TemporaryDirectory() as directory:
        files = Path(directory)
        try:
            vtx_lab.check_host()
            make_initramfs(files / "guest.cpio")
            troubles = list(trouble_cases(files))
            if is_long:
                cases = list(long_cases())
            else:
                cases = [*cost_cases(trapeze.parent / "bench", files), *unit_cases(trapeze.parent / "tests", files), *troubles,
                         *guest_cases(files), *linux_cases()]
            cases = [case for case in cases if not wanted or case.name.startswith(wanted)] + [END_CASE]
            run_cases(check, trapeze, cases, files, wanted, ALL_PATIENCE, 2 if is_long else 1)
            if not wanted and not is_long:
                no_vtx(check, trapeze, files)
        except kvm_lab.HostLacks as error:
            check.skip(f"the laboratory with VT-x: {error}")
    check.finish()


if __name__ == "__main__":
    main()
