#!/usr/bin/env python3
"""What needs a true /dev/kvm, in one start of the laboratory machine: the KVM engine's unit tests, the tiny guests, and
Debian's stock kernel.

usage: tests/lab/lab_test.py TRAPEZE [NAME]...

Each case is a command for the machine's shell; what it printed and its status come back as files. With names only the
cases whose names begin so are run, and what they printed is shown.
"""

import os
import re
import shlex
import shutil
import sys
import tarfile
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import guest_test  # noqa: E402
import kvm_lab  # noqa: E402
from harness import HOST_WAS_BUSY, PATIENCE, Checks, Result  # noqa: E402

POWERED_OFF, RESET, PANIC, TRIPLE_FAULT = 0, 120, 121, 122
# Unit tests, and what they are called with.
TEST_PROGRAMS = {"crash_report": "", "engine_guest": "kvm", "kvm": "", "kvm_interrupts": "", "kvm_state": "", "kvm_vm": "",
                 "vm_pause": ""}
CPUS = 1            # of the laboratory machine: with more, spinning guests wait for each other
KILLED = 137        # what a case ends with that hung
# In seconds, and generous: the machine's clock is the host's, however busy that is. scripts/run-tests gives more than all.
RUN_PATIENCE = 100    # --timeout of a Linux guest
CASE_PATIENCE = 120   # a case that hangs by itself is ended within the machine
SLOW_PATIENCE = 160   # for those that wait for the guest's watchdogs
SILENCE = 200         # without a result: the machine itself hangs, as every case would have been ended
LAB_PATIENCE = 900    # for one start of the machine
ALL_PATIENCE = 1500   # for all starts, what is done before them included
STARTS = 3

# Lines of the guest kernel's log that are of warning level or worse and have nothing to do with the machine.
HARMLESS = (r"Unknown kernel command line parameters", r"Unstable clock detected", r"If you want to keep using the local clock",
            r"\"trace_clock=local\"", r"on the kernel command line", *HOST_WAS_BUSY)


class Case:
    """One command in the laboratory, and what is checked of its Result afterwards."""

    def __init__(self, name, command, verify, patience=CASE_PATIENCE):
        self.name, self.verify, self.patience = name, verify, patience
        self.command = command if isinstance(command, str) else shlex.join(map(str, command))


# ---- unit tests ----

def verify_unit_test(check, name, result):
    found = re.findall(r"^(\d+) passed, (\d+) failed, (\d+) skipped$", result.output, re.M)
    passed, failed, skipped = map(int, found[-1]) if found else (0, 1, 0)
    check.that(result.status == 0 and failed == 0, name, result)
    check.passed += passed
    check.skipped += skipped


def unit_test_cases(program_directory, files):
    for name, arguments in TEST_PROGRAMS.items():
        shutil.copy(program_directory / f"{name}_test", files)
        yield Case(f"unit-{name}", f"TRAPEZE_TEST_FEW=1 ./{name}_test {arguments}", verify_unit_test)


# ---- tiny guests ----

# What TCG's CPU does otherwise than the manuals have it, with the number of the guest's check that sees it. Where this no
# longer fails the line must go.
TCG_DIFFERS = {
    ("real_limit", "real"): 1,      # segment limits are not looked at
    ("mov_seg", "protected"): 20, ("mov_seg", "paged"): 20,  # nor null selectors when used
    ("int", "long"): 3,             # another error code for a vector beyond the IDT's limit
    ("control", "protected"): 33, ("control", "paged"): 33,  # DR7.GD does nothing
    ("control", "long"): 10,        # CR0's upper half can be set
}
TOO_SLOW = {("ports", "real"), ("ports", "long")}  # half a minute each; `guest_test.py` runs them on a fast KVM


def guest_case(files, guest, mode):
    image = guest_test.assemble(files, guest.name, guest_test.WIDTHS[mode])
    command = guest_test.command("trapeze", image.name, guest, mode, guest_test.Engine("kvm", ""))

    def verify(check, name, result):
        if (guest.name, mode) in TCG_DIFFERS:
            check.equal(result.status, TCG_DIFFERS[guest.name, mode], f"{name}, as TCG has it", result)
        else:
            guest_test.check_result(check, guest, name, result, is_kvm=True)

    return Case(f"guest-{guest.name}-{mode}", command, verify)


def guest_cases(files):
    for guest in guest_test.GUESTS:
        for mode in guest.modes:
            if (guest.name, mode) not in TOO_SLOW:
                yield guest_case(files, guest, mode)


# ---- Linux ----

# TCG does not tell KVM when a guest writes XCR0 (it has no such intercept). With this preloaded KVM knows beforehand; without,
# XSAVE cannot work, and the guest's kernel must be told so.
SHIM = "libxcr0_shim.so"
NO_XSAVE = "noxsave"


def linux(append, *options):
    preload = [] if NO_XSAVE in append else ["env", f"LD_PRELOAD=./{SHIM}"]
    return [*preload, "trapeze", "run", "--engine", "kvm", "--kernel", "/data/vmlinuz", "--initrd", "guest.cpio", "--append",
            f"console=ttyS0 quiet panic=-1 rdinit=/guest-init {append}", "--timeout", str(RUN_PATIENCE), *options]


def make_initramfs(path):
    """The demonstration's, and behind it our init: the kernel unpacks one archive after the other."""
    with open(path, "wb") as file:
        file.write(Path(kvm_lab.script("make-initramfs")).read_bytes())
        file.write(bytes(-file.tell() % 4))
        archive = kvm_lab.Archive(file)
        archive.copy(Path(__file__).with_name("guest-init"), "guest-init")
        archive.finish()


def check_processors(check, name, text, cpus):
    check.equal(len(re.findall(r"^processor\s*: \d+$", text, re.M)), cpus, f"{name}: processors", text)
    ids = re.findall(r"^apicid\s*: (\d+)$", text, re.M)
    check.equal(ids, [str(i) for i in range(cpus)], f"{name}: APIC ids")
    check.equal(set(re.findall(r"^cpu cores\s*: (\d+)$", text, re.M)), {str(cpus)}, f"{name}: cores of one package")
    ran = re.findall(r"^ran on processor: (\d+)$", text, re.M)
    check.equal(ran, [str(i) for i in range(cpus)], f"{name}: each processor runs programs")
    flags = (re.findall(r"^flags\s*: (.*)$", text, re.M) or [""])[0].split()
    for flag in ("fpu", "lm", "nx", "sse2", "x2apic", "tsc_deadline_timer", "hypervisor"):
        check.that(flag in flags, f"{name}: flag {flag}", flags)


def check_report(check, name, result, cpus, flags=(), not_flags=(), clock="kvm-clock"):
    text = result.output.replace("\r", "")
    if not check.equal(result.status, POWERED_OFF, name, result):
        return
    check_processors(check, name, text, cpus)
    shown = (re.findall(r"^flags\s*: (.*)$", text, re.M) or [""])[0].split()
    check.that(set(flags) <= set(shown) and not set(not_flags) & set(shown), f"{name}: has {flags} and not {not_flags}", shown)
    problems = [line for line in re.findall(r"^problem: (.*)$", text, re.M)
                if not any(re.search(one, line) for one in HARMLESS)]
    check.that(not problems, f"{name}: no warnings or errors in the guest's log", "\n".join(problems))
    check.that(re.search(r"IO-APIC\s+4-edge\s+ttyS0", text), f"{name}: the serial port interrupts", text)
    check.that(re.search(r"IO-APIC\s+9-fasteoi\s+acpi", text), f"{name}: ACPI has its interrupt")
    check.that(re.search(r"ERR:\s+0\b", text), f"{name}: no APIC errors")
    check.contains(text, f"clock source: {clock}\n", name)
    check.contains(text, "time passes", name)
    check.contains(text, "gzip there and back", name)
    expected = sum(i / 7 * 1.25 - 1 / i for i in range(1, 1001))
    check.contains(text, f"floating point: {expected:.9f}", name)
    check.contains(result.last_line, "trapeze: the guest powered off", name)


def report_case(cpus, *options, suffix="", append="", flags=("xsave", "avx2"), not_flags=(), before="", words=""):
    def verify(check, name, result):
        check_report(check, name, result, cpus, flags, not_flags)
        check.contains(result.output, words, name)

    command = shlex.join(map(str, linux(f"lab.do=report {append}", "--cpus", cpus, *options)))
    return Case(f"linux-{cpus}-cpus{suffix}", before + command, verify)


# What -vv tells of a guest's CPUID is a model for --cpu FILE; this one gets a name.
MODEL = """trapeze run --engine kvm --flat exit5.bin -vv 2>&1 | grep 'cpuid: ' | grep -v 'cpuid: 8000000[234]' >model
echo '80000002 * 65646f4d 7266206c 61206d6f 6c696620' >>model
echo '80000003 * 00000065 00000000 00000000 00000000' >>model
"""


def ending_case(name, append, status, words):
    def verify(check, name, result):
        check.equal(result.status, status, name, result)
        check.contains(result.last_line, words, name)

    return Case(name, linux(append), verify)


# A person at a terminal: waits for the prompt, types, and the shell answers.
SHELL = f"""
mkfifo keys
trapeze run --engine kvm --kernel /data/vmlinuz --initrd /data/initramfs.cpio.gz --append 'console=ttyS0 quiet noxsave' \\
    --timeout {RUN_PATIENCE} <keys >screen &
exec 3>keys
until grep -q 'guest# ' screen || ! kill -0 $!; do sleep 0.1; done
echo 'echo answer $((6 * 7)); poweroff -f' >&3
wait $!
status=$?
cat screen
exit $status
"""


def verify_shell(check, name, result):
    check.equal(result.status, POWERED_OFF, name, result)
    check.contains(result.output, "answer 42", name)


# Stopped for longer than the watchdogs of the guest's kernel wait (20 s and 21 s), as by Ctrl-Z.
STAND_STILL = """
{} >screen &
until grep -q 'guest-init: stand-still' screen || ! kill -0 $!; do sleep 0.1; done
kill -TSTP $!
sleep 30
grep -E '^State' /proc/$!/status
kill -CONT $!
wait $!
status=$?
cat screen
exit $status
"""


def verify_stand_still(check, name, result):
    check.equal(result.status, POWERED_OFF, name, result)
    check.contains(result.output, "T (stopped)", f"{name}: it is stopped")
    check.contains(result.errors, "trapeze: the guest is paused until SIGCONT", name)
    check.that(not re.search("lockup|stall|hung", result.output), f"{name}: the guest's watchdogs have been told", result)


def linux_cases():
    for cpus in (1, 2, 4):
        yield report_case(cpus)
    yield report_case(1, append=NO_XSAVE, suffix="-noxsave", flags=(), not_flags=("xsave",))
    yield report_case(1, "--cpu", "x86-64-v2", suffix="-v2", flags=("sse4_2",), not_flags=("avx", "avx2"))
    yield report_case(1, "--cpu", "x86-64-v3", suffix="-v3", flags=("avx2", "bmi2", "fma", "movbe", "xsave"))
    yield report_case(1, "--cpu", "model", suffix="-file", before=MODEL, words="model name\t: Model from a file")
    for mode in ("split", "none"):
        yield report_case(2, "--irqchip", mode, suffix=f"-{mode}")
    yield Case("linux-shell", SHELL, verify_shell)
    command = shlex.join(map(str, linux("lab.do=stand-still", "--timeout", str(SLOW_PATIENCE - 20))))
    yield Case("linux-stand-still", STAND_STILL.format(command), verify_stand_still, patience=SLOW_PATIENCE)
    yield ending_case("linux-reboot", "lab.do=reboot", RESET, "reboot")
    yield ending_case("linux-reboot-by-triple-fault", "lab.do=reboot reboot=t", TRIPLE_FAULT, "triple fault")
    yield ending_case("linux-panic", "lab.do=panic", PANIC, "Kernel panic - not syncing: sysrq triggered crash")


# ---- an ordinary user ----

def user_cases(files):
    (files / "exit5.bin").write_bytes(bytes([0xB0, 5, 0xE6, 0xF4]))  # mov al, 5; out 0xf4, al
    command = "trapeze run --engine kvm --flat /files/exit5.bin --memory 16M"

    def may(check, name, result):
        check.equal(result.status, 5, name, result)

    def may_not(check, name, result):
        check.equal(result.status, 125, name, result)
        check.contains(result.last_line, "no permission for /dev/kvm: add yourself to its group", name)

    def none(check, name, result):
        check.equal(result.status, 125, name, result)
        check.contains(result.last_line, "/dev/kvm is not there: load the kernel module", name)

    yield Case("user-in-group-kvm", f"su -s /bin/sh -c '{command}' user", may)
    yield Case("user-in-no-group", f"su -s /bin/sh -c '{command}' nobody", may_not)
    yield Case("user-without-device", f"mv /dev/kvm /dev/not; {command}; s=$?; mv /dev/not /dev/kvm; exit $s", none)


# ---- all of them ----

def write_script(path, cases, through=""):
    """Runs the cases in turn and writes what came of each to stdout, as a tar archive behind that of the one before, each
    through a filter."""
    lines = ["mkdir -p /results"]
    for case in cases:
        lines.append(f"timeout -s KILL {case.patience} sh -c {shlex.quote(case.command)} "
                     f">/results/{case.name}.output 2>/results/{case.name}.errors; echo $? >/results/{case.name}.status")
        lines.append(f"tar cf - -C /results {case.name}.output {case.name}.errors {case.name}.status {through}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_results(file):
    """{name: Result} of what is complete."""
    texts = {}
    file.seek(0)
    try:
        with tarfile.open(fileobj=file, mode="r:", ignore_zeros=True) as archive:
            for member in archive:
                texts[member.name] = archive.extractfile(member).read().decode(errors="replace")
    except tarfile.TarError:
        pass  # the machine ended while it wrote this one
    results = {}
    for name in (name.removesuffix(".status") for name in texts if name.endswith(".status")):
        status = int(texts[f"{name}.status"] or KILLED)
        errors = texts[f"{name}.errors"] + ("\n(it hung)" if status == KILLED else "")
        results[name] = Result(status, texts[f"{name}.output"], errors)
    return results


def run_machine(trapeze, cases, files, patience):
    """Starts the machine for some cases, for some seconds. Returns the results that there are, and the LabError if it did not end well."""
    write_script(files / "cases", cases)
    with tempfile.NamedTemporaryFile() as stream:
        try:
            kvm_lab.run(["sh", "cases"], cpus=CPUS, files=files, timeout=patience, stdout=stream, silence=SILENCE,
                        trapeze=trapeze)
            return read_results(stream), None
        except kvm_lab.LabError as error:
            return read_results(stream), error


def print_skipped(results):
    """Why the unit tests skipped what they skipped: each reason once."""
    reasons = [reason for result in results for reason in re.findall(r"^skipped: .*$", result.output, re.M)]
    for reason in dict.fromkeys(reasons):
        print(reason)


def run_cases(check, trapeze, cases, files, verbose, deadline):
    """Should the machine hang (kvm_lab.wait says why it might), the rest is run in another one."""
    results, began = {}, time.monotonic()
    for _ in range(STARTS):
        rest = [case for case in cases if case.name not in results]
        some, error = run_machine(trapeze, rest, files, min(max(LAB_PATIENCE, PATIENCE), deadline - time.monotonic()))
        results.update(some)
        if error is None and len(results) < len(cases):
            error = "its output is not whole"
        if error is None or len(results) == len(cases) or time.monotonic() >= deadline:
            break
        print(f"the laboratory machine failed in {next(case.name for case in rest if case.name not in results)}: {error}")
    print(f"{len(cases)} cases in {time.monotonic() - began:.0f} s")
    print_skipped(result for name, result in results.items() if name.startswith("unit-"))
    for case in cases:
        result = results.get(case.name, Result(KILLED, "", "(it was not run)"))
        if verbose:
            print(f"==== {case.name}: {case.command}\n{result}\n")
        case.verify(check, case.name, result)


def check_stale_directories(check):
    """What a killed program has left behind goes, what one uses stays."""
    stale = Path(tempfile.mkdtemp(prefix=kvm_lab.WORK_PREFIX))
    (stale / "file").write_bytes(b"")
    with kvm_lab.work_directory() as used:
        for directory in (stale, used):
            os.utime(directory, (0, 0))
        kvm_lab.remove_stale_directories()
        check.that(not stale.exists(), "a killed program's directory goes")
        check.that(used.exists(), "one that is used stays")


def main():
    trapeze = Path(sys.argv[1]).resolve()
    wanted = tuple(sys.argv[2:])
    check, deadline = Checks(), time.monotonic() + ALL_PATIENCE
    kvm_lab.end_at_signals()
    check_stale_directories(check)
    with kvm_lab.work_directory() as files:
        shutil.copy(trapeze.parent / "tests" / SHIM, files)
        cases = [*unit_test_cases(trapeze.parent / "tests", files), *guest_cases(files), *user_cases(files), *linux_cases()]
        cases = [case for case in cases if not wanted or case.name.startswith(wanted)]
        try:
            kvm_lab.check_host()
            make_initramfs(files / "guest.cpio")
            run_cases(check, trapeze, cases, files, wanted, deadline)
        except kvm_lab.HostLacks as error:
            check.skip(f"the laboratory: {error}")
            check.skipped = len(cases)
    check.finish()


if __name__ == "__main__":
    main()
