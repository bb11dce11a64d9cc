#!/usr/bin/env python3
"""Debian's stock cloud kernel on the software engine, as a person at a terminal has it: boots, shell, power off, reboot,
panic; and what its log says about our hardware.

usage: tests/integration/linux_test.py TRAPEZE
"""

import hashlib
import re
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from harness import HOST_WAS_BUSY, ROOT, Checks, Terminal, run  # noqa: E402

POWERED_OFF, RESET, PANIC, TRIPLE_FAULT = 0, 120, 121, 122
PROMPT = r"guest# (?:\x1b\[6n)?$"  # the shell asks the terminal where its cursor is

# Lines of the kernel's log that are of warning level or worse and have nothing to do with the machine.
HARMLESS = (r"Unknown kernel command line parameters", *HOST_WAS_BUSY)


def boot(trapeze, kernel, initrd, append, *options):
    return [trapeze, "run", "--engine", "soft", "--kernel", kernel, "--initrd", initrd, "--append",
            f"console=ttyS0 quiet {append}".strip(), *options]


def command(check, terminal, text):
    """Types a command at the guest's shell; returns what it printed."""
    since = len(terminal.text)
    terminal.type(text + "\n")
    # The shell echoes the line, then comes the output, then its next prompt.
    found = terminal.wait_for(r"(?s)\r\n(.*)" + PROMPT, since)
    check.that(found, f"the guest answers '{text}'", terminal.text[since:])
    return found[1].replace("\r\n", "\n") if found else ""


def check_processors(check, terminal, count):
    what = f"{count} vCPUs"
    cpuinfo = command(check, terminal, "cat /proc/cpuinfo")
    check.equal(len(re.findall(r"^processor\s*: \d+$", cpuinfo, re.M)), count, f"{what}: processors", cpuinfo)
    ids = re.findall(r"^apicid\s*: (\d+)$", cpuinfo, re.M)
    check.equal(ids, [str(i) for i in range(count)], f"{what}: APIC ids")
    check.equal(set(re.findall(r"^cpu cores\s*: (\d+)$", cpuinfo, re.M)), {str(count)}, f"{what}: cores of one package")
    flags = (re.findall(r"^flags\s*: (.*)$", cpuinfo, re.M) or [""])[0].split()
    for flag in ("fpu", "lm", "nx", "sse2", "x2apic", "tsc_deadline_timer", "hypervisor", "constant_tsc"):
        check.that(flag in flags, f"{what}: flag {flag}", flags)
    check.that("monitor" not in flags, f"{what}: no MONITOR", flags)
    for processor in range(count):
        output = command(check, terminal, f"taskset {1 << processor:x} awk '{{print $39}}' /proc/self/stat")
        check.equal(output.strip(), str(processor), f"{what}: runs on processor {processor}")


def check_log(check, terminal):
    errors = command(check, terminal, "dmesg -r | grep '^<[0-4]>'")
    lines = [line for line in errors.splitlines() if line.strip() and not any(re.search(one, line) for one in HARMLESS)]
    check.that(not lines, "no warnings or errors in the guest's log", "\n".join(lines))


def check_devices(check, terminal):
    interrupts = command(check, terminal, "cat /proc/interrupts")
    check.that(re.search(r"IO-APIC\s+4-edge\s+ttyS0", interrupts), "the serial port interrupts", interrupts)
    check.that(re.search(r"IO-APIC\s+9-fasteoi\s+acpi", interrupts), "ACPI has its interrupt", interrupts)
    check.that(re.search(r"ERR:\s+0\b", interrupts), "no APIC errors", interrupts)
    source = command(check, terminal, "cat /sys/devices/system/clocksource/clocksource0/current_clocksource")
    check.that(source.strip() in ("kvm-clock", "tsc"), "a good clock source", source)
    now = command(check, terminal, "date +%s")
    check.that(now.strip().isdigit() and abs(int(now) - time.time()) < 120, "the time of day", now)
    slept = command(check, terminal, "a=$(cut -d. -f1 /proc/uptime); sleep 2; b=$(cut -d. -f1 /proc/uptime); echo $((b-a))")
    check.that(slept.strip().isdigit() and int(slept) >= 2, "time passes", slept)
    memory = command(check, terminal, "free -m | awk '/^Mem/ {print $2}'")
    check.that(memory.strip().isdigit() and 400 < int(memory) < 512, "memory", memory)


def check_work(check, terminal):
    """Enough of user space to meet faults, signals, processes, floating point and system calls of all kinds."""
    output = command(check, terminal, "dd if=/dev/urandom of=/tmp/a bs=64k count=16 2>/dev/null; "
                     "gzip -c /tmp/a | gzip -dc | cmp - /tmp/a && echo same")
    check.equal(output.strip(), "same", "gzip there and back")
    output = command(check, terminal, "awk 'BEGIN {for (i = 1; i <= 1000; i++) s += i / 7 * 1.25 - 1 / i; printf \"%.9f\\n\", s}'")
    expected = sum(i / 7 * 1.25 - 1 / i for i in range(1, 1001))
    check.equal(output.strip(), f"{expected:.9f}", "floating point")
    output = command(check, terminal, "printf 'a\\nb\\n' | sha256sum | cut -c1-16")
    check.equal(output.strip(), hashlib.sha256(b"a\nb\n").hexdigest()[:16], "sha256")
    output = command(check, terminal, "for i in 1 2 3 4 5 6 7 8; do sh -c \"echo $i\"; done | sort -r | tr -d '\\n'; echo")
    check.equal(output.strip(), "87654321", "processes")
    output = command(check, terminal, "sh -c 'kill -SEGV $$'; echo $?")
    check.contains(output, "139", "a signal")


def test_shell(check, trapeze, kernel, initrd, cpus):
    what = f"{cpus} vCPUs"
    terminal = Terminal(boot(trapeze, kernel, initrd, "", "--cpus", str(cpus)))
    if not check.that(terminal.wait_for(PROMPT), f"{what}: a shell", terminal.text):
        terminal.type("\001x")
        terminal.finish()
        return
    command(check, terminal, "stty cols 500")  # else the shell breaks the lines that it echoes
    check.contains(command(check, terminal, "uname -a"), "Linux", f"{what}: uname")
    check_processors(check, terminal, cpus)
    check_log(check, terminal)
    check_devices(check, terminal)
    check_work(check, terminal)
    # Ctrl-C is the guest's.
    since = len(terminal.text)
    terminal.type("sh -c 'echo sleeping; exec sleep 1000'\n")
    terminal.wait_for("\r\nsleeping\r\n", since)
    terminal.type("\003")
    check.that(terminal.wait_for(r"\^C[\r\n]*" + PROMPT, since), f"{what}: Ctrl-C ends a command", terminal.text[since:])
    terminal.type("poweroff -f\n")
    check.equal(terminal.finish(), POWERED_OFF, f"{what}: poweroff", terminal.text)
    check.contains(terminal.text[-500:], "trapeze: the guest powered off", what)
    check.that(terminal.is_restored(), f"{what}: the terminal is restored")
    terminal.close()


def test_reboot(check, trapeze, kernel, initrd):
    # reboot=t is a triple fault: how a machine without any other way resets; here an outcome of its own.
    for way, expected in (("", RESET), ("reboot=k", RESET), ("reboot=p", RESET), ("reboot=t", TRIPLE_FAULT)):
        terminal = Terminal(boot(trapeze, kernel, initrd, way))
        terminal.wait_for(PROMPT)
        terminal.type("reboot -f\n")
        check.equal(terminal.finish(), expected, f"reboot with '{way}'", terminal.text[-2000:])
        terminal.close()


def test_panic(check, trapeze, kernel, initrd):
    result = run(boot(trapeze, kernel, initrd, "panic=-1 rdinit=/nonexistent root=/dev/nonexistent"))
    check.equal(result.status, PANIC, "no init", result)
    check.contains(result.last_line, "Kernel panic - not syncing: VFS: Unable to mount root fs", "the panic's words")
    terminal = Terminal(boot(trapeze, kernel, initrd, "panic=-1"))
    terminal.wait_for(PROMPT)
    terminal.type("echo c >/proc/sysrq-trigger\n")
    check.equal(terminal.finish(), PANIC, "sysrq c", terminal.text[-3000:])
    check.contains(terminal.text[-500:], "panicked: Kernel panic - not syncing: sysrq triggered crash", "the panic's words")
    terminal.close()


def test_demo(check, trapeze):
    result = run([ROOT / "scripts" / "demo", trapeze])
    check.equal(result.status, POWERED_OFF, "make demo without a terminal", result)
    for part in ("Linux", "model name", "Mem:", "trapeze-init: done"):
        check.contains(result.output, part, "the demonstration")


def test_large_memory(check, trapeze, kernel, initrd):
    """A guest with 5 GiB has memory above the hole for devices."""
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory) / "log"
        result = run(boot(trapeze, kernel, initrd, "trapeze.demo", "--memory", "5G", "--cpus", "2", "--stats",
                          "--console", f"file:{log}"))
        text = log.read_text(encoding="utf-8", errors="replace")
        check.equal(result.status, POWERED_OFF, "5 GiB", f"{result}\n{text}")
        found = re.search(r"Mem:\s+(\d+)", text)
        check.that(found and 4700 < int(found[1]) < 5120, "5 GiB are seen", text)
        check.contains(result.errors, "guest instructions:", "--stats")


def main():
    trapeze = Path(sys.argv[1]).resolve()
    check = Checks()
    kernel = run([ROOT / "scripts" / "get-kernel"]).output.strip()
    initrd = run([ROOT / "scripts" / "make-initramfs"]).output.strip()
    if not check.that(kernel and initrd, "a kernel and an initramfs"):
        check.finish()
    for cpus in (1, 2):
        test_shell(check, trapeze, kernel, initrd, cpus)
    test_reboot(check, trapeze, kernel, initrd)
    test_panic(check, trapeze, kernel, initrd)
    test_large_memory(check, trapeze, kernel, initrd)
    test_demo(check, trapeze)
    check.finish()


if __name__ == "__main__":
    main()
