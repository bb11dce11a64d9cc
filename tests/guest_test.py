#!/usr/bin/env python3
"""Tiny guests through the real program, on every engine and in every mode that they are made for.

usage: tests/guest_test.py TRAPEZE [GUEST]...

A guest (tests/guest/flat) is assembled for the width of the mode, loaded at 0x8000, and says how it went through the
debug-exit port: 0, or the number of its check that failed; 200 + n: the exception n that nobody expected.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from harness import ROOT, Checks, run

TRIPLE_FAULT, STUCK, TIMEOUT, MONITOR_ERROR = 122, 123, 124, 125
SOURCES = ROOT / "tests" / "guest" / "flat"
WIDTHS = {"real": 16, "protected": 32, "paged": 32, "long": 64}
ALL = tuple(WIDTHS)
WIDE = ("protected", "paged", "long")


class Guest:
    """How one guest is run and how it must end."""

    def __init__(self, name, modes=ALL, status=0, output="passed\n", errors=(), options=(), may_end=(), heavy=False,
                 user=False, real_exceptions=False, kvm_status=None, kvm_errors=None):
        self.name, self.modes, self.status, self.output = name, modes, status, output
        self.errors = errors    # what standard error must match, in this order (not where the engine cannot tell)
        self.options = options
        self.may_end = may_end  # other exit statuses that are as good: the guest asks for trouble
        self.heavy = heavy      # too much for an engine of a million instructions a second
        self.user = user        # goes to CPL 3
        self.real_exceptions = real_exceptions  # needs the IDTR's limit in real mode
        self.kvm_errors = errors if kvm_errors is None else kvm_errors
        self.kvm_status = status if kvm_status is None else kvm_status


GUESTS = (
    Guest("hello", output="hello\npassed\n"),
    Guest("real_limit", modes=("real",)),
    # what x86 lets a program do without telling the monitor
    Guest("sgdt", user=True), Guest("sidt", user=True), Guest("sldt", user=True), Guest("str", user=True),
    Guest("smsw", user=True), Guest("pushf", user=True), Guest("popf", user=True), Guest("lar", user=True),
    Guest("lsl", user=True), Guest("verr", user=True), Guest("push_cs", user=True), Guest("mov_seg", user=True),
    Guest("pop_seg", user=True), Guest("call_far", user=True), Guest("jmp_far", user=True), Guest("ret_far", user=True),
    Guest("int", user=True), Guest("iret", user=True),
    # what traps
    Guest("cli_sti", user=True), Guest("control", user=True),
    # garbage
    Guest("msrs", output="passed\n", heavy=True),
    Guest("ports", modes=("real", "long"), output=None, heavy=True),
    Guest("mmio", modes=WIDE, output=None, heavy=True, may_end=(TRIPLE_FAULT, STUCK)),
    # KVM would have to emulate what is in no slot
    Guest("nowhere", modes=WIDE, kvm_status=MONITOR_ERROR, kvm_errors=(r"could not go on", r"rip 00000000d0000000",
          r"the guest runs at 0xd0000000, where there is no memory")),
    # what must end the run
    Guest("no_handlers", modes=WIDE, status=TRIPLE_FAULT, output="",
          errors=(r"first #UD .* at rip 0x", r"then #GP .*error code 0x33", r"then #GP .*error code 0x6b",
                  r"then #GP .*error code 0x43", r"at rip: 0f 0b")),
    Guest("no_handlers", modes=("real",), status=TRIPLE_FAULT, output="", real_exceptions=True,
          errors=(r"first #UD .* at rip 0x", r"then #GP", r"then #GP", r"then #GP", r"at rip: 0f 0b")),
    Guest("halt", status=STUCK, output="", options=("--timeout", "20")),
    Guest("loop", status=TIMEOUT, output="", options=("--timeout", "0.3")),
)


def assemble(directory, name, bits):
    """The image as a file."""
    image = Path(directory) / f"{name}{bits}.bin"
    if not image.exists():
        target = image.with_suffix(".o")
        subprocess.run(["as", "--64" if bits == 64 else "--32", "--defsym", f"BITS={bits}", "-I", SOURCES,
                        "-o", target, SOURCES / f"{name}.S"], check=True)
        subprocess.run(["ld", "-m", "elf_x86_64" if bits == 64 else "elf_i386", "-Ttext=0x8000", "-e", "start",
                        "-z", "max-page-size=16", "--no-warn-rwx-segments", "--oformat", "binary", "-o", image, target],
                       check=True)
    return image


class Engine:
    """An engine as `trapeze probe` describes it, and the policy that it is run with."""

    def __init__(self, name, probe, trap="shadow"):
        self.name, self.trap = name, trap
        found = re.search(rf"^{name} +(.*(?:\n  .*)*)", probe, re.MULTILINE)
        self.text = found.group(1) if found else "not built in"
        speed = re.search(r"speed: ([0-9.]+) million", self.text)
        self.mips = float(speed.group(1)) if speed else 0

    def why_not(self, guest, mode):
        """Why a guest cannot be run, or None."""
        if not self.text.startswith("usable"):
            return f"{self.name}: {self.text.splitlines()[0]}"
        if self.name == "kvm" and mode == "paged" and "with paging: fails" in self.text:
            return "kvm of this host fails in protected mode with paging"
        if self.is_slow_kvm() and guest.user and mode != "real":
            return "kvm of this host interprets its guests and does not get CPL 3 right"
        if self.is_slow_kvm() and guest.real_exceptions:
            return "kvm of this host interprets its guests and ignores the IDTR's limit in real mode"
        if self.is_slow_kvm() and guest.heavy:
            return "kvm of this host is too slow"
        return None

    def words(self):
        """As --engine takes it; of the soft engine's tiers the one that the environment asks for."""
        settings = os.environ.get("TRAPEZE_TEST_SOFT", "") if self.name == "soft" else ""
        return f"{self.name},{settings}" if settings else self.name

    def is_slow_kvm(self):
        return self.name == "kvm" and self.mips < 50


ENGINES = (("soft", "shadow"), ("soft", "all"), ("kvm", "shadow"))


def command(trapeze, image, guest, mode, engine):
    return [trapeze, "run", "--flat", image, "--mode", mode, "--engine", engine.words(), "--trap", engine.trap,
            "--memory", "16M", "--timeout", "60", *guest.options]


def check_result(check, guest, what, result, is_kvm):
    """Whether a run ended as it must."""
    if result.status in guest.may_end:
        check.that(True, what)
        return
    good = check.equal(result.status, guest.kvm_status if is_kvm else guest.status, what, result)
    if good and guest.output is not None and result.status == guest.status:
        check.equal(result.output.replace("\r", ""), guest.output, f"{what}: output")
    if good and "the engine cannot tell" not in result.errors:
        errors = guest.kvm_errors if is_kvm else guest.errors
        found = re.search("(?s:.*)".join(errors), result.errors)
        check.that(found, f"{what}: standard error lacks {errors}", result.errors)


def test_guest(check, trapeze, image, guest, mode, engine):
    """Runs it; returns why it could not be run after all, or None."""
    result = run(command(trapeze, image, guest, mode, engine))
    if engine.is_slow_kvm() and "KVM can't emulate an instruction" in result.errors:
        return "kvm of this host interprets its guests and does not know all instructions"
    check_result(check, guest, f"{guest.name}, {mode}, {engine.name}, trap {engine.trap}", result, engine.name == "kvm")
    return None


def describe_engines(trapeze):
    """What `trapeze probe` says. It gives each trial some milliseconds, in which a busy machine may not get to it."""
    for _ in range(10):
        probe = run([trapeze, "probe"]).output
        if "not done after" not in probe:
            break
    return probe


def main():
    check = Checks()
    trapeze, wanted = sys.argv[1], sys.argv[2:]
    probe = describe_engines(trapeze)
    engines = [Engine(name, probe, trap) for name, trap in ENGINES]
    skips = {}
    with tempfile.TemporaryDirectory() as directory:
        for guest in GUESTS:
            for mode in guest.modes if not wanted or guest.name in wanted else ():
                image = assemble(directory, guest.name, WIDTHS[mode])
                for engine in engines:
                    why = engine.why_not(guest, mode)
                    if why is None:
                        why = test_guest(check, trapeze, image, guest, mode, engine)
                    if why is not None:
                        skips[why] = skips.get(why, 0) + 1
    for why, count in skips.items():
        check.skip(f"{why} ({count} guests)")
    check.finish()


if __name__ == "__main__":
    main()
