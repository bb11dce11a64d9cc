#!/usr/bin/env python3
"""The program from outside: every exit code, what it says, its consoles, and the terminal that it gives back.

usage: tests/cli_test.py TRAPEZE
"""

import contextlib
import os
import pty
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness import PATIENCE, ROOT, Checks, Terminal, run, started, wait_for_thread

OK, RULES_BROKEN, RESET, PANIC, TRIPLE_FAULT, STUCK, TIMEOUT, MONITOR_ERROR, USAGE, QUIT = 0, 1, 120, 121, 122, 123, 124, 125, 126, 130

COM1, ACPI_CONTROL, PVPANIC, RESET_CONTROL = 0x3F8, 0x604, 0x505, 0xCF9

# ---- little guests ----

def out8(port, value):
    """16-bit code: mov dx, port; mov al, value; out dx, al"""
    return b"\xba" + struct.pack("<H", port) + b"\xb0" + bytes([value]) + b"\xee"


def say(text):
    return b"".join(out8(COM1, byte) for byte in text.encode())


def debug_exit(code):
    """In every mode: mov al, code; out 0xf4, al; jmp $"""
    return b"\xb0" + bytes([code]) + b"\xe6\xf4\xeb\xfe"


LOOP = b"\xeb\xfe"
HALT_FOR_EVER = b"\xfa\xf4\xeb\xfd"  # cli; hlt; jmp to the hlt
POWER_OFF = b"\xba" + struct.pack("<H", ACPI_CONTROL) + b"\xb8" + struct.pack("<H", 5 << 10 | 1 << 13) + b"\xef" + LOOP
# lidt of a table with limit 0 at 0x8010, then int3: no handler for it, nor for what follows from that
NO_HANDLERS = (b"\x0f\x01\x1e\x10\x80\xcc" + LOOP).ljust(0x10, b"\x90") + bytes(6)
# 64-bit code: the same; the table follows the code
NO_HANDLERS_LONG = b"\x0f\x01\x1d\x04\x00\x00\x00\x0f\x0b\xeb\xfe" + bytes(10)
# Sends back what it reads from COM1 until there is a 'q': then code 7.
ECHO = (b"\xba\xfd\x03\xec\xa8\x01\x74\xfb"  # mov dx, 3fd; again: in al, dx; test al, 1; jz again
        b"\xba\xf8\x03\xec\x3c\x71\x74\x03"  # mov dx, 3f8; in al, dx; cmp al, 'q'; je done
        b"\xee\xeb\xed"                      # out dx, al; jmp start
        b"\xb0\x07\xe6\xf4\xeb\xfe")         # done: mov al, 7; out 0xf4, al
# 50000 bytes, each one more than that before it, modulo 256.
FLOOD = b"\xba\xf8\x03\xb9\x50\xc3\xb0\x00\xee\xfe\xc0\xe2\xfb" + debug_exit(0)
FLOOD_FOR_EVER = b"\xba\xf8\x03\xb0\x78\xee\xeb\xfd"


class Guests:
    """Writes guest images into a directory of their own."""

    def __init__(self, directory):
        self.directory = Path(directory)
        self.count = 0

    def file(self, content):
        self.count += 1
        path = self.directory / f"guest{self.count}"
        path.write_bytes(content)
        return path

    def fifo(self):
        self.count += 1
        path = self.directory / f"fifo{self.count}"
        os.mkfifo(path)
        return path


# ---- without a guest ----

def test_help(check, trapeze):
    for arguments in (["--help"], ["-h"], ["help"]):
        result = run([trapeze, *arguments])
        check.equal(result.status, OK, f"{arguments}", result)
        check.contains(result.output, "Usage: trapeze COMMAND", f"{arguments}")
        check.equal(result.errors, "", f"{arguments}: stderr")
    for arguments in (["run", "--help"], ["help", "run"], ["run", "--kernel", "x", "--help"]):
        result = run([trapeze, *arguments])
        check.equal(result.status, OK, f"{arguments}", result)
        for part in ("--kernel FILE", "--engine", "Ctrl-A x", "Exit codes:", "Examples:", "file:PATH"):
            check.contains(result.output, part, f"{arguments}")
        for code in (RESET, PANIC, TRIPLE_FAULT, STUCK, TIMEOUT, MONITOR_ERROR, USAGE, QUIT):
            check.contains(result.output, f"\n  {code} ", f"{arguments}: exit codes")
    for command in ("probe", "check-state"):
        check.equal(run([trapeze, command, "--help"]).status, OK, f"{command} --help")
    result = run([trapeze, "--version"])
    check.that(result.status == OK and result.output.startswith("trapeze 0."), "--version", result)
    result = run([trapeze])
    check.that(result.status == USAGE and "Usage:" in result.errors and not result.output, "no arguments", result)


def test_manual(check, trapeze):
    """The manual page and the completion know every option."""
    page = (ROOT / "docs" / "trapeze.1").read_text(encoding="utf-8")
    zsh = (ROOT / "scripts" / "completion" / "_trapeze").read_text(encoding="utf-8")
    options = [word for line in run([trapeze, "run", "--help"]).output.splitlines() if line.startswith("  ")
               for word in line[:28].replace(",", " ").split() if word.startswith("--")]
    check.that(len(options) > 10, "options in the help text", options)
    for option in options:
        check.that(re.search(rf" -{option[2:]}\b", page), f"docs/trapeze.1: no {option}")
        check.contains(zsh, option, "the zsh completion")
    script = (f"PATH={trapeze.parent}:$PATH; . {ROOT}/scripts/completion/trapeze.bash; COMP_WORDS=(trapeze run --)\n"
              "COMP_CWORD=2; _trapeze trapeze -- run; echo ${COMPREPLY[@]}")
    offered = run(["bash", "-c", script]).output.split()
    for option in options:
        check.that(option in offered, f"the bash completion: no {option}", offered)


BAD_USAGE = [
    (["rnu"], "did you mean 'run'?"),
    (["frobnicate"], "'trapeze --help' lists them"),
    (["run"], "--kernel FILE"),
    (["run", "--kernal", "x"], "did you mean --kernel?"),
    (["run", "--frobnicate"], "--help"),
    (["run", "-x"], "--help"),
    (["run", "vmlinuz"], "--kernel FILE"),
    (["run", "--kernel"], "needs a value"),
    (["run", "--kernel", "/dev/null", "--cpus", "0"], "from 1 to 64"),
    (["run", "--kernel", "/dev/null", "--cpus", "65"], "from 1 to 64"),
    (["run", "--kernel", "/dev/null", "--cpus", "many"], "from 1 to 64"),
    (["run", "--kernel", "/dev/null", "--memory", "512"], "did you mean 512M?"),
    (["run", "--kernel", "/dev/null", "--memory", "99999999999T"], "too large"),
    (["run", "--kernel", "/dev/null", "--memory", "lots"], "512M or 2G"),
    (["run", "--kernel", "/dev/null", "--engine", "bochs"], "there are auto"),
    (["run", "--kernel", "/dev/null", "--engine", "kvm", "--code-cache", "8M"], "--code-cache is for the engine soft"),
    (["run", "--kernel", "/dev/null", "--engine", "null", "--perf-map"], "--perf-map is for the engine soft"),
    (["run", "--kernel", "/dev/null", "--engine", "kvm", "--trace", "code"], "--trace code is for the engine soft"),
    (["run", "--kernel", "/dev/null", "--trace", ""], "needs a file"),
    (["run", "--kernel", "/dev/null", "--trace", "a", "--trace", "b"], "exits go to one file"),
    (["run", "--kernel", "/dev/null", "--code-cache", "much"], "512M or 2G"),
    (["run", "--kernel", "/dev/null", "--timeout", "-1"], "seconds"),
    (["run", "--flat", "/dev/null", "--mode", "smm"], "real, protected, paged and long"),
    (["run", "--flat", "/dev/null", "--kernel", "/dev/null"], "exclude each other"),
    (["run", "--kernel", "/nonexistent/vmlinuz"], "/nonexistent/vmlinuz"),
    (["run", "--kernel", "/usr"], "/usr"),
    (["run", "--kernel", "/dev/null"], "/dev/null"),
    (["run", "--flat", "/dev/null", "--dump-state"], "needs a value"),
    (["probe", "--all"], "--all"),
    (["check-state"], "give the FILE"),
    (["check-state", "--lst"], "did you mean --list?"),
    (["check-state", "one", "two"], "'one' or 'two'?"),
    (["check-state", "--list", "/dev/null"], "--list takes no file"),
    (["check-state", "/nonexistent/state"], "/nonexistent/state"),
    (["check-state", "/dev/null"], "/dev/null"),
    (["check-state", "/dev/zero"], "/dev/zero"),
    (["check-state", "/"], "'/'"),
]


def one_line(result):
    """True if what was said is one line that begins with the program's name."""
    return result.errors.startswith("trapeze: ") and result.errors.count("\n") == 1 and not result.output


def test_bad_usage(check, trapeze):
    for arguments, words in BAD_USAGE:
        result = run([trapeze, *arguments])
        check.equal(result.status, USAGE, " ".join(arguments), result)
        check.contains(result.errors, words, " ".join(arguments))
        check.that(one_line(result), f"{arguments}: one line", result)


def bzimage_header(length):
    """The beginning of something that says it is a bzImage with so many bytes of protected-mode code."""
    image = bytearray(4096)
    image[0x1F1] = 1                      # setup sectors
    image[0x1F4:0x1F8] = struct.pack("<I", length // 16)
    image[0x1FE:0x200] = b"\x55\xaa"
    image[0x200:0x202] = b"\xeb\x66"
    image[0x202:0x206] = b"HdrS"
    image[0x206:0x208] = struct.pack("<H", 0x20F)
    image[0x211] = 1
    return bytes(image)


def test_bad_files(check, trapeze, guests):
    bad = [
        ("empty", guests.file(b"")),
        ("text", guests.file(b"this is no kernel\n" * 1000)),
        ("short", guests.file(b"MZ")),
        ("truncated bzImage", guests.file(bzimage_header(8 << 20))),
        ("truncated ELF", guests.file(b"\x7fELF\x02\x01\x01" + bytes(20))),
        ("ELF program", Path("/bin/true")),
    ]
    for name, path in bad:
        result = run([trapeze, "run", "--engine", "null", "--kernel", path])
        check.equal(result.status, USAGE, f"kernel: {name}", result)
        check.contains(result.errors, str(path), f"kernel: {name}")
        check.that(one_line(result), f"kernel: {name}: one line", result)
    loop = guests.file(LOOP)
    for what, options in [
            ("an initrd that is not there", ["--kernel", loop, "--initrd", "/nonexistent/initrd"]),
            ("too little memory", ["--flat", loop, "--memory", "4K"]),
            ("too much memory", ["--flat", loop, "--memory", "1T"]),
            ("an image beyond memory", ["--flat", loop, "--mode", "long", "--at", "0x40000000"]),
            ("real mode above 1 MiB", ["--flat", loop, "--at", "0x200000"]),
            ("a port that is taken", ["--flat", loop, "--debug-exit", "0x3f8"]),
            ("a directory that is not there", ["--flat", loop, "--console", "file:/nonexistent/log"]),
            ("a state in a directory that is not there", ["--flat", loop, "--dump-state", "/nonexistent/state"]),
            ("a host CPU that is not there", ["--flat", loop, "--cpu-affinity", "1023"]),
            ("a CPU model without an end", ["--flat", loop, "--cpu", "/dev/zero"]),
            ("a CPU model that is a FIFO", ["--flat", loop, "--cpu", guests.fifo()]),
            ("a FIFO that nobody reads", ["--flat", loop, "--console", f"file:{guests.fifo()}"]),
            ("a console that is none", ["--flat", loop, "--console", "tty"])]:
        result = run([trapeze, "run", "--engine", "null", *options])
        check.equal(result.status, USAGE, what, result)
        check.that(one_line(result), f"{what}: one line", result)


def test_console_file(check, trapeze, guests):
    """The console's file is emptied, so it may not be one that is read or written for something else."""
    loop, new = guests.file(LOOP), guests.file(b"")
    unborn = guests.directory / "unborn"
    alias = guests.directory / "alias"
    alias.symlink_to(loop)
    for what, console, options in [
            ("the image", loop, []), ("the image by another name", alias, []), ("the state", new, ["--dump-state", new]),
            ("the trace", unborn, ["--trace", unborn]), ("an initrd", alias, ["--initrd", loop]),
            ("the CPU model", alias, ["--cpu", loop])]:
        guest = ["--kernel" if "--initrd" in options else "--flat", loop]
        result = run([trapeze, "run", "--engine", "null", *guest, "--console", f"file:{console}", "--timeout", "0.1", *options])
        check.equal(result.status, USAGE, f"a console's file that is {what}", result)
        check.contains(result.errors, "cannot be the console's file and something else", f"a console's file that is {what}")
        check.that(loop.read_bytes() == LOOP, f"a console's file that is {what}: nothing is emptied")
    result = run([trapeze, "run", "--engine", "null", "--flat", loop, "--console", "file:/dev/null", "--trace", "/dev/null",
                  "--timeout", "0.1"])
    check.equal(result.status, TIMEOUT, "console and trace thrown away", result)


def test_kernel_limits(check, trapeze, guests, kernel):
    """A real kernel, with what does not fit."""
    big = guests.file(b"")
    with big.open("r+b") as file:
        file.truncate(100 << 20)
    cut = guests.file(kernel.read_bytes()[:1 << 20])
    for what, options, words in [
            ("an initrd that does not fit", ["--initrd", big, "--memory", "96M"], "memory"),
            ("a command line that does not fit", ["--append", "x" * 5000], "command line"),
            ("too little memory", ["--memory", "8M"], "memory"),
            ("a truncated kernel", ["--kernel", cut], str(cut))]:
        result = run([trapeze, "run", "--engine", "null", "--kernel", kernel, *options])
        check.equal(result.status, USAGE, what, result)
        check.contains(result.errors, words, what)
        check.that(one_line(result), f"{what}: one line", result)


def test_permission(check, trapeze, guests):
    path = guests.file(LOOP)
    path.chmod(0)
    user = {}
    if os.getuid() == 0:
        user = {"user": 65534, "group": 65534, "extra_groups": []}
        if run(["test", "-x", trapeze], **user).status != 0:
            check.skip("files without permission: this is root, and nobody else can run the program")
            return
    result = run([trapeze, "run", "--engine", "null", "--flat", path], **user)
    check.that(result.status == USAGE and "ermission" in result.errors, "no permission for the image", result)
    if run(["test", "-e", "/dev/kvm", "-a", "!", "-r", "/dev/kvm"], **user).status == 0:
        result = run([trapeze, "run", "--engine", "kvm", "--flat", "/bin/true"], **user)
        check.equal(result.status, MONITOR_ERROR, "no permission for /dev/kvm", result)
        check.contains(result.errors, "no permission for /dev/kvm", "no permission for /dev/kvm")
        check.that(one_line(result), "no permission for /dev/kvm: one line", result)


def test_probe(check, trapeze):
    result = run([trapeze, "probe"])
    check.equal(result.status, OK, "probe", result)
    for engine in ("kvm", "soft", "null"):
        check.that(any(line.startswith(f"{engine} ") for line in result.output.splitlines()), f"probe: {engine}", result)
    return [engine for engine in ("soft", "kvm")
            if any(line.startswith(f"{engine} ") and "  usable" in line for line in result.output.splitlines())]


def test_lost_output(check, trapeze, guests):
    with open("/dev/full", "w", encoding="utf-8") as full:
        result = run([trapeze, "--help"], stdout=full)
        check.equal(result.status, MONITOR_ERROR, "--help on a full disk", result)
    result = run(["sh", "-c", f"{trapeze} --help >&-"])
    check.equal(result.status, MONITOR_ERROR, "--help with standard output closed", result)
    # All three closed: nothing to say it on, but no descriptor mix-up either.
    log = guests.directory / "log"
    result = run(["sh", "-c", f"{trapeze} run --engine null --flat {guests.file(LOOP)} --timeout 0.1 "
                  f"--console file:{log} <&- >&- 2>&-"])
    check.equal(result.status, TIMEOUT, "all standard descriptors closed", result)
    check.equal(log.read_text(encoding="utf-8"), "", "what was for stderr is not in the file")


# ---- the null engine: runs without a guest ----

def read_statistics(process):
    """The lines up to the last one that SIGUSR1 asks for."""
    lines = []
    for line in process.stderr:
        lines.append(line)
        if line.startswith("ran for"):
            break
    return lines


def test_timeout_and_signals(check, trapeze, guests):
    loop = guests.file(LOOP)
    result = run([trapeze, "run", "--engine", "null", "--flat", loop, "--timeout", "0.2", "--stats"])
    check.equal(result.status, TIMEOUT, "--timeout", result)
    check.contains(result.last_line, "--timeout", "the last line")
    check.contains(result.errors, "ran for", "--stats")
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        with started([trapeze, "run", "--engine", "null", "--flat", loop]) as process:
            # SIGUSR1 first: its answer shows that the run is under way.
            wait_for_thread(process.pid, "watch")
            process.send_signal(signal.SIGUSR1)
            lines = read_statistics(process)
            process.send_signal(number)
            rest = process.stderr.read()
            check.equal(process.wait(), QUIT, f"{number.name}", "".join(lines) + rest)
            check.contains(rest, number.name, "the last line")
            check.that(any("null" in line for line in lines), "SIGUSR1 prints the statistics", "".join(lines))


def test_own_signal(check, trapeze, guests):
    """The signal that the monitor sends to itself does nothing when somebody else sends it."""
    with started([trapeze, "run", "--engine", "null", "--flat", guests.file(LOOP)]) as process:
        wait_for_thread(process.pid, "watch")
        process.send_signal(signal.SIGUSR2)
        process.send_signal(signal.SIGUSR1)
        read_statistics(process)
        process.send_signal(signal.SIGUSR2)
        time.sleep(0.05)  # with both waiting the kernel hands out SIGTERM first, and that would show nothing
        process.send_signal(signal.SIGTERM)
        check.contains(process.stderr.read(), "SIGTERM", "SIGUSR2 does not end the watching")
        check.equal(process.wait(), QUIT, "SIGUSR2, then SIGTERM")


def test_full_socket(check, trapeze, guests):
    """Standard error may be a socket, as services have it: one that is full keeps nobody from ending the run."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            theirs.send(bytes(4096))
    theirs.setblocking(True)
    with started([trapeze, "run", "--engine", "null", "--flat", guests.file(LOOP)], stderr=theirs) as process:
        wait_for_thread(process.pid, "watch")
        process.send_signal(signal.SIGUSR1)
        time.sleep(0.2)
        while process.poll() is None:  # the end has something to say, too: whoever asks twice does not wait for it
            process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
        check.equal(process.wait(), QUIT, "standard error is a socket that is full")
    ours.close()
    theirs.close()


def test_ignored_signal(check, trapeze, guests):
    """What was ignored when the program started stays ignored: that is how nohup works, and shells without job control."""
    with started(["sh", "-c", f"trap '' HUP TSTP; exec {trapeze} run --engine null --flat {guests.file(LOOP)}"]) as process:
        wait_for_thread(process.pid, "watch")
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTSTP)
        process.send_signal(signal.SIGUSR1)  # its answer shows that they have been passed over
        read_statistics(process)
        process.send_signal(signal.SIGTERM)
        text = process.stderr.read()
        check.contains(text, "SIGTERM", "an ignored SIGHUP does not end the run")
        check.that("paused" not in text, "an ignored SIGTSTP does not stop it", text)
        check.equal(process.wait(), QUIT, "ignored signals, then SIGTERM")


def test_terminal(check, trapeze, guests):
    """Raw while the guest has it; as before afterwards, whatever ended it."""
    arguments = [trapeze, "run", "--engine", "null", "--flat", guests.file(LOOP)]
    ends = [("Ctrl-A x", None, QUIT), ("SIGTERM", signal.SIGTERM, QUIT), ("SIGINT", signal.SIGINT, QUIT),
            ("SIGHUP", signal.SIGHUP, QUIT), ("SIGSEGV", signal.SIGSEGV, -signal.SIGSEGV),
            ("SIGABRT", signal.SIGABRT, -signal.SIGABRT)]
    for name, number, expected in ends:
        terminal = Terminal(arguments)
        check.that(terminal.wait_until(terminal.is_raw), f"{name}: the terminal is raw", terminal.text)
        if number is None:
            terminal.type("abc\001\001\001x")
        else:
            terminal.kill(number)
        status = terminal.finish()
        # A sanitizer makes an exit of its own out of a crash.
        check.that(status == expected or (expected < 0 and status != 0), f"{name}: exit status {status}", terminal.text)
        check.that(terminal.is_restored(), f"{name}: the terminal is restored", terminal.text)
        terminal.close()

    terminal = Terminal(arguments)
    terminal.wait_until(terminal.is_raw)
    terminal.type("\001h")
    check.that(terminal.wait_for("Ctrl-A x quits"), "Ctrl-A h lists the keys", terminal.text)
    terminal.kill(signal.SIGTSTP)
    check.that(terminal.wait_until(terminal.is_restored), "SIGTSTP gives the terminal back")
    check.that(terminal.wait_for("trapeze: the guest is paused until SIGCONT"), "and says so", terminal.text)
    check.that(terminal.wait_until(terminal.is_stopped), "and stops")
    terminal.kill(signal.SIGCONT)
    check.that(terminal.wait_until(terminal.is_raw), "SIGCONT takes it again")
    terminal.type("\001x")
    check.equal(terminal.finish(), QUIT, "Ctrl-A x after a stop", terminal.text)
    check.that(terminal.is_restored(), "and the terminal is restored")
    terminal.close()

    # The terminal goes away: its window is closed, the connection is cut.
    terminal = Terminal(arguments)
    terminal.wait_until(terminal.is_raw)
    terminal.hang_up()
    check.that(terminal.finish() in (QUIT, MONITOR_ERROR), f"a closed terminal: exit status {terminal.status}")

    terminal = Terminal([trapeze, "run", "--engine", "null", "--flat", "/nonexistent/image"])
    check.equal(terminal.finish(), USAGE, "an error on a terminal", terminal.text)
    check.that(terminal.is_restored(), "an error leaves the terminal alone")
    terminal.close()


# A shell of some lines: it runs a job in the foreground, and is told when that stops or ends. Its arguments are for how many
# seconds at most, and the job.
SHELL = r"""
import os, signal, sys, termios, time
def give_up(*_):
    print("hung")
    os.kill(job, signal.SIGKILL)
    sys.exit(1)
signal.signal(signal.SIGALRM, give_up)
signal.alarm(int(sys.argv[1]))
def is_raw():
    return not termios.tcgetattr(0)[3] & termios.ICANON
def wait_until_raw():
    while not is_raw():
        time.sleep(0.01)
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
settings = termios.tcgetattr(0)
def start():
    job = os.fork()
    if job == 0:
        os.setpgid(0, 0)
        os.tcsetpgrp(0, os.getpid())
        signal.signal(signal.SIGTTOU, signal.SIG_DFL)
        os.execv(sys.argv[2], sys.argv[2:])
    return job
def stopped():
    return os.WIFSTOPPED(os.waitpid(job, os.WUNTRACED)[1])
def end_in_background(what):
    "As the built-in kill does with a job that is stopped, until it has ended."
    os.tcsetpgrp(0, os.getpid())
    os.kill(job, signal.SIGTERM)
    os.kill(job, signal.SIGCONT)
    status = os.waitpid(job, os.WUNTRACED)[1]
    if os.WIFSTOPPED(status):
        os.kill(job, signal.SIGKILL)
        os.waitpid(job, 0)
        print(what + ": stopped again")
    else:
        print(what + ": ended:", os.waitstatus_to_exitcode(status), "raw:", is_raw())
"""

JOB_CONTROL = SHELL + r"""
job = start()
wait_until_raw()
os.kill(job, signal.SIGTSTP)
print("stopped:", stopped(), "raw:", is_raw())
os.tcsetpgrp(0, os.getpid())
os.kill(job, signal.SIGCONT)
print("background: stopped:", stopped(), "raw:", is_raw())
os.tcsetpgrp(0, job)
os.kill(job, signal.SIGCONT)
wait_until_raw()
os.kill(job, signal.SIGSTOP)
print("SIGSTOP: stopped:", stopped())
os.tcsetpgrp(0, os.getpid())
termios.tcsetattr(0, termios.TCSANOW, settings)
os.kill(job, signal.SIGCONT)
print("SIGSTOP, background: stopped:", stopped(), "settings kept:", termios.tcgetattr(0) == settings)
os.tcsetpgrp(0, job)
os.kill(job, signal.SIGCONT)
wait_until_raw()
os.kill(job, signal.SIGTSTP)
stopped()
end_in_background("after SIGTSTP")
job = start()
wait_until_raw()
os.kill(job, signal.SIGSTOP)
stopped()
end_in_background("after SIGSTOP")
"""

# While the image is read the console is open, but the run has not begun.
EARLY_BACKGROUND = SHELL + r"""
job = start()
def is_console_open():
    names = []
    for name in os.listdir(f"/proc/{job}/fd"):
        try:
            names.append(os.readlink(f"/proc/{job}/fd/{name}"))
        except OSError:
            pass
    return any("eventfd" in name for name in names)
while not is_console_open():
    pass
os.kill(job, signal.SIGTSTP)
os.tcsetpgrp(0, os.getpid())
print("early: stopped:", stopped())
os.kill(job, signal.SIGCONT)
print("early, continued: stopped:", stopped(), "settings kept:", termios.tcgetattr(0) == settings)
os.tcsetpgrp(0, job)
os.kill(job, signal.SIGCONT)
wait_until_raw()
os.kill(job, signal.SIGSTOP)
stopped()
end_in_background("early")
"""


def check_job(check, script, arguments, *wanted):
    terminal = Terminal([sys.executable, "-c", script, max(1, int(PATIENCE / 2)), *arguments])
    terminal.finish()
    for expected in wanted:
        check.contains(terminal.text, expected, "job control")
    terminal.close()


def test_job_control(check, trapeze, guests):
    """In the background it stops again, and leaves the terminal to the shell; a signal ends it even there."""
    run_null = [trapeze, "run", "--engine", "null", "--flat", guests.file(LOOP)]
    check_job(check, JOB_CONTROL, run_null, "stopped: True raw: False", "background: stopped: True raw: False",
              "SIGSTOP: stopped: True", "SIGSTOP, background: stopped: True settings kept: True",
              f"after SIGTSTP: ended: {QUIT} raw: False", f"after SIGSTOP: ended: {QUIT} raw: False")
    large = guests.file(LOOP)
    os.truncate(large, 100 << 20)
    run_large = [trapeze, "run", "--engine", "null", "--memory", "256M", "--mode", "long", "--at", "0x100000", "--flat", large]
    check_job(check, EARLY_BACKGROUND, run_large, "early: stopped: True", "early, continued: stopped: True settings kept: True",
              f"early: ended: {QUIT} raw: False")


# ---- guests, on every engine that this host has ----

def test_pause(check, trapeze, guests, engine):
    """Ctrl-A p makes a guest that answers stand still, and lets it go on; being stopped meanwhile changes nothing."""
    terminal = Terminal([trapeze, "run", "--engine", engine, "--memory", "16M", "--flat", guests.file(ECHO)])
    check.that(terminal.wait_until(terminal.is_raw), f"{engine}: pause: the terminal is raw", terminal.text)
    for digit, number in (("5", signal.SIGTSTP), ("6", signal.SIGSTOP)):
        length = len(terminal.text)
        terminal.type("\001p" + digit)
        check.that(terminal.wait_for("paused; Ctrl-A p", length), f"{engine}: Ctrl-A p says so", terminal.text)
        terminal.kill(number)
        if number == signal.SIGTSTP:
            check.that(terminal.wait_until(terminal.is_restored), f"{engine}: SIGTSTP while paused")
        check.that(terminal.wait_until(terminal.is_stopped), f"{engine}: {number.name} while paused: it stops")
        terminal.kill(signal.SIGCONT)
        check.that(terminal.wait_until(terminal.is_raw), f"{engine}: SIGCONT while paused")
        check.that(digit not in terminal.text, f"{engine}: a paused guest does not answer", terminal.text)
        terminal.type("\001p")
        check.that(terminal.wait_for(digit, length), f"{engine}: it answers when it goes on", terminal.text)
    terminal.type("\001p\001x")
    check.equal(terminal.finish(), QUIT, f"{engine}: Ctrl-A x while paused", terminal.text)
    terminal.close()


def run_guest(trapeze, engine, image, *options, **more):
    return run([trapeze, "run", "--engine", engine, "--memory", "16M", "--flat", image, "--timeout", "100", *options],
               **more)


def test_outcomes(check, trapeze, guests, engine):
    panic_words = "Kernel panic - not syncing: VFS: no root"
    cases = [
        ("debug exit", debug_exit(42), 42, "42"),
        ("debug exit 0", debug_exit(0), 0, "0"),
        ("a code beyond 255", b"\xb8\x00\x10\xe7\xf4" + LOOP, 255, "4096"),
        ("power off", POWER_OFF, OK, "powered off"),
        ("reset", out8(RESET_CONTROL, 6) + LOOP, RESET, "reboot"),
        ("keyboard reset", out8(0x64, 0xFE) + LOOP, RESET, "reboot"),
        ("pvpanic", out8(PVPANIC, 1) + LOOP, PANIC, "panicked"),
        ("panic, then reset", say(panic_words + "\r\n") + out8(RESET_CONTROL, 6) + LOOP, PANIC, panic_words),
        ("reset, nearly a panic", say("Kernel panic\n") + out8(RESET_CONTROL, 6) + LOOP, RESET, "reboot"),
    ]
    if engine != "kvm":  # with the interrupt controllers in the kernel a halted vCPU never comes back
        cases.append(("stuck", HALT_FOR_EVER, STUCK, "stuck"))
    for name, code, expected, words in cases:
        result = run_guest(trapeze, engine, guests.file(code))
        check.equal(result.status, expected, f"{engine}: {name}", result)
        check.contains(result.last_line, words, f"{engine}: {name}: the last line")
    result = run([trapeze, "run", "--engine", engine, "--flat", guests.file(LOOP), "--timeout", "0.3"])
    check.equal(result.status, TIMEOUT, f"{engine}: a loop", result)


def test_modes(check, trapeze, guests, engine):
    for mode in ("real", "protected", "paged", "long"):
        result = run_guest(trapeze, engine, guests.file(debug_exit(33)), "--mode", mode, "--at", "0x10000")
        check.equal(result.status, 33, f"{engine}: {mode}", result)


def test_triple_fault(check, trapeze, guests, engine):
    for mode, code in (("real", NO_HANDLERS), ("long", NO_HANDLERS_LONG)):
        if engine.startswith("kvm") and mode == "real":
            continue  # KVM's emulator knows no limit of the real-mode IDT
        result = run_guest(trapeze, engine, guests.file(code), "--mode", mode)
        what = f"{engine}: triple fault in {mode} mode"
        check.equal(result.status, TRIPLE_FAULT, what, result)
        check.contains(result.last_line, "triple fault", what)
        for part in ("rip ", "cr3 ", "cs "):
            check.contains(result.errors, part, what)
        if engine == "soft":
            check.contains(result.errors, "then #GP general protection", what)
            check.contains(result.errors, "at rip: cc" if mode == "real" else "at rip: 0f 0b", what)
            if list(Path("/usr/lib").glob("**/libZydis.so.*")):
                check.contains(result.errors, "cc  int3" if mode == "real" else "0f 0b  ud2", what)
            else:
                check.skip("no disassembler")


def test_states(check, trapeze, guests, engine):
    """What a guest left can be entered; what is changed there is told."""
    state = guests.directory / "state"
    for mode, code, status in (("real", HALT_FOR_EVER, STUCK), ("long", NO_HANDLERS_LONG, TRIPLE_FAULT)):
        what = f"{engine}: a state from {mode} mode"
        result = run_guest(trapeze, engine, guests.file(code), "--mode", mode, "--dump-state", state)
        check.equal(result.status, status, what, result)
        check.contains(result.errors, str(state), what)
        result = run([trapeze, "check-state", state])
        check.that(result.status == OK and "keeps all" in result.output, what, result)
    lines = state.read_text(encoding="utf-8").splitlines()
    check.that(lines[0].startswith("# vCPU 0") and "triple fault" in lines[0], "the state's title", lines[0])
    changed = [line.replace("0x0000a09b", "0x0000e09b") for line in lines]
    state.write_text("\n".join(changed), encoding="utf-8")
    result = run([trapeze, "check-state", state])
    check.equal(result.status, RULES_BROKEN, "a broken rule", result)
    for part in ("cs-db-with-l (CS)", "Checks on Guest Segment Registers", "0x0000e09b", "1 rule is broken"):
        check.contains(result.output, part, "a broken rule")
    check.equal(result.errors, "", "a broken rule is no error")
    state.write_text("\n".join(lines[:20] + ["cs.base 0x10g"]), encoding="utf-8")
    result = run([trapeze, "check-state", state])
    check.that(result.status == USAGE and one_line(result), "a state with a bad line", result)
    check.contains(result.errors, "line 21", "a state with a bad line")
    result = run_guest(trapeze, engine, guests.file(debug_exit(3)), "--dump-state", state)
    check.that(result.status == 3 and state.read_text(encoding="utf-8").endswith("0x10g"), "a state stays after a good end", result)
    state.unlink()
    result = run_guest(trapeze, engine, guests.file(debug_exit(3)), "--dump-state", state)
    check.that(result.status == 3 and state.read_bytes() == b"", "no state after a good end", result)
    image = guests.file(HALT_FOR_EVER)
    for what, options in (("over the image", ["--dump-state", image]), ("in a FIFO", ["--dump-state", guests.fifo()]),
                          ("in a device", ["--dump-state", "/dev/null"]),
                          ("in the trace", ["--dump-state", state, "--trace", state])):
        result = run_guest(trapeze, engine, image, *options)
        check.that(result.status == USAGE and one_line(result), f"a state {what}", result)
    check.equal(image.read_bytes(), HALT_FOR_EVER, "the image is kept")
    result = run([trapeze, "check-state", "--list"])
    check.that(result.status == OK and "pdpte-reserved" in result.output, "--list", result)
    with open("/dev/full", "w", encoding="utf-8") as full:
        result = run([trapeze, "check-state", "--list"], stdout=full)
        check.equal(result.status, MONITOR_ERROR, "--list on a full disk", result)


def test_consoles(check, trapeze, guests, engine):
    hello = guests.file(say("hello, world\r\n") + debug_exit(3))
    result = run_guest(trapeze, engine, hello)
    check.that(result.status == 3 and result.output == "hello, world\r\n", f"{engine}: hello on stdio", result)
    result = run_guest(trapeze, engine, hello, "--console", "none")
    check.that(result.status == 3 and not result.output, f"{engine}: hello on none", result)

    log = guests.directory / "console.log"
    log.write_text("what was there before")
    result = run_guest(trapeze, engine, guests.file(FLOOD), "--console", f"file:{log}")
    check.equal(result.status, 0, f"{engine}: a flood into a file", result)
    check.that(log.read_bytes() == bytes(i % 256 for i in range(50000)), f"{engine}: nothing is lost or out of order")
    result = run_guest(trapeze, engine, hello, "--console", "file:/dev/full")
    check.equal(result.status, MONITOR_ERROR, f"{engine}: a full disk", result)
    check.contains(result.last_line, "No space left", f"{engine}: a full disk")
    check.equal(result.errors.count("No space left"), 1, f"{engine}: said once", result)

    result = run(["sh", "-c", f"{trapeze} run --engine {engine} --flat {guests.file(FLOOD_FOR_EVER)} --timeout 100 | head -c 1000",
                  ])
    check.that(len(result.output) == 1000 and "Broken pipe" in result.last_line, f"{engine}: a reader that goes", result)
    result = run(["sh", "-c", f"{trapeze} run --engine {engine} --flat {hello} --timeout 100 >&-"])
    check.equal(result.status, MONITOR_ERROR, f"{engine}: standard output closed", result)


def test_nobody_reads(check, trapeze, guests, engine):
    """A pseudo-terminal that nobody has opened takes some output and drops the rest: no failure of anything."""
    image = guests.file(b"\x66\xb9" + struct.pack("<I", 100000) + b"\xba\xf8\x03\xb0\x78\xee\x67\xe2\xfc" + debug_exit(9))
    result = run_guest(trapeze, engine, image, "--console", "pty")
    check.equal(result.status, 9, f"{engine}: nobody reads the pty", result)
    check.contains(result.errors, "output is dropped", f"{engine}: but it is said")

    # A terminal that takes nothing any more can hold up the end; whoever asks twice is not kept waiting.
    terminal = Terminal([trapeze, "run", "--engine", engine, "--flat", guests.file(FLOOD_FOR_EVER)])
    wait_for_thread(terminal.pid, "watch")
    for _ in range(3):
        terminal.kill(signal.SIGUSR1)  # nor does what was asked for and is not taken
        time.sleep(0.1)
    terminal.kill(signal.SIGTSTP)
    stopped, give_up = False, time.monotonic() + PATIENCE
    while not stopped and time.monotonic() < give_up:
        time.sleep(0.02)
        stopped = terminal.is_stopped()
    check.that(stopped, f"{engine}: a terminal that nobody reads: it can be stopped")
    terminal.kill(signal.SIGCONT)
    give_up = time.monotonic() + PATIENCE
    while not terminal.ended() and time.monotonic() < give_up:
        terminal.kill(signal.SIGTERM)
        time.sleep(0.3)
    if not terminal.ended():
        terminal.kill(signal.SIGKILL)
        terminal.finish()
    check.that(terminal.status in (QUIT, MONITOR_ERROR), f"{engine}: a terminal that nobody reads: {terminal.status}")
    check.that(terminal.is_restored(), f"{engine}: and it is restored")
    terminal.close()


def test_stats_of_a_loop(check, trapeze, guests, engine):
    """A guest that never leaves its CPU is asked to when somebody wants to know what it does."""
    arguments = [trapeze, "run", "--engine", engine, "--flat", guests.file(LOOP), "--console", "none"]
    with started(arguments) as process:
        wait_for_thread(process.pid, "watch")
        runs, give_up = 0, time.monotonic() + PATIENCE
        while runs == 0 and time.monotonic() < give_up:
            process.send_signal(signal.SIGUSR1)
            for line in read_statistics(process):
                if line.startswith("vCPU 0"):
                    runs = int(re.search(r"(\d+) runs", line)[1])
        process.send_signal(signal.SIGTERM)
        process.stderr.read()
        check.equal(process.wait(), QUIT, f"{engine}: SIGUSR1 and a loop")
        check.that(runs > 0, f"{engine}: SIGUSR1 tells of a guest that only computes")


def test_other_terminal(check, trapeze, guests, engine):
    """A terminal that does not control the process (a serial line, say) is one to type at nevertheless."""
    master, slave = pty.openpty()
    with started([trapeze, "run", "--engine", engine, "--flat", guests.file(ECHO)], stdin=slave, stdout=slave,
                 start_new_session=True) as process:
        os.write(master, b"q")
        errors = process.stderr.read()
    check.equal(process.returncode, 7, f"{engine}: a terminal that does not control it", errors)
    os.close(master)
    os.close(slave)


def check_end_of_input(check, arguments, engine):
    """It is not the end of the run."""
    with started(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdin.write("abc")
        process.stdin.close()
        check.equal(process.stdout.read(3), "abc", f"{engine}: what came before the end of input")
        time.sleep(0.2)  # less shows less, and fails nothing
        check.equal(process.poll(), None, f"{engine}: the guest runs on after it")
        process.terminate()
        check.equal(process.stdout.read(), "", f"{engine}: nothing comes after it")
        check.equal(process.wait(), QUIT, f"{engine}: end of input, then SIGTERM")


def test_input(check, trapeze, guests, engine):
    echo = guests.file(ECHO)
    text = b"".join(b"line %d with some length\n" % i for i in range(200))
    result = run_guest(trapeze, engine, echo, stdin=text + b"q")
    check.equal(result.status, 7, f"{engine}: piped input", result)
    check.that(result.output == text.decode(), f"{engine}: input comes back as it was", result)
    # Binary input is no keys: there is no terminal.
    result = run_guest(trapeze, engine, echo, stdin=b"a\001x\001\001bq")
    check.that(result.status == 7 and result.output == "a\001x\001\001b", f"{engine}: no escapes in a pipe", result)
    check_end_of_input(check, [trapeze, "run", "--engine", engine, "--flat", echo], engine)
    result = run(["sh", "-c", f"{trapeze} run --engine {engine} --flat {echo} --timeout 0.3 <&-"])
    check.equal(result.status, TIMEOUT, f"{engine}: standard input closed", result)

    terminal = Terminal([trapeze, "run", "--engine", engine, "--flat", echo])
    terminal.wait_until(terminal.is_raw)
    terminal.type("typed\001\001\003q")  # Ctrl-A Ctrl-A is one Ctrl-A; Ctrl-C is the guest's
    check.equal(terminal.finish(), 7, f"{engine}: typed on a terminal", terminal.text)
    check.contains(terminal.text, "typed\001\003", f"{engine}: echoed on a terminal")
    check.that(terminal.is_restored(), f"{engine}: the terminal is restored")
    terminal.close()
    # A guest that writes without end can be left.
    terminal = Terminal([trapeze, "run", "--engine", engine, "--flat", guests.file(FLOOD_FOR_EVER)])
    terminal.wait_for("xxxx")
    terminal.type("\001x")
    check.equal(terminal.finish(), QUIT, f"{engine}: Ctrl-A x in a flood", terminal.text[-300:])
    terminal.close()


def test_engine_choice(check, trapeze, guests, engines):
    result = run_guest(trapeze, "auto", guests.file(debug_exit(1)))
    first = result.errors.splitlines()[0] if result.errors else ""
    check.equal(result.status, 1, "--engine auto", result)
    check.that(any(first.startswith(f"trapeze: engine {engine}: ") for engine in engines), "auto says what it chose", result)
    result = run_guest(trapeze, "soft", guests.file(debug_exit(1)), "--stats")
    check.contains(result.errors, "guest instructions:", "--stats counts")
    result = run_guest(trapeze, "soft,frobnicate=1", guests.file(debug_exit(1)))
    check.equal(result.status, USAGE, "a setting that the engine does not know", result)
    check.contains(result.errors, "it takes tier=translate|interpreter", "the settings that there are")


# What engines refuse once they are asked; --code-cache is a size, but not one that soft takes.
REFUSED_BY_ENGINES = [
    ("soft", ["--code-cache", "1023K"], "from 1M to 1G"),
    ("soft", ["--code-cache", "2G"], "from 1M to 1G"),
    ("soft,tier=interpreter", ["--perf-map"], "perf-map is about translated code"),
    ("soft,tier=interpreter", ["--trace", "code"], "trace=code is about translated code"),
    ("soft,tier=hot", [], "there are translate, interpreter"),
    ("soft,check=lockstep=1", [], "there is lockstep"),
    ("soft," + "count," * 60, [], "longer than"),
    ("soft,check=lockstep", ["--trap", "all"], "take one of them away"),
    ("kvm", ["--trap", "all"], "the kernel decides what leaves its guests"),
    ("null", ["--trap", "all"], "it runs no instructions"),
]


def test_soft_settings(check, trapeze, guests):
    guest = guests.file(debug_exit(1))
    for engine, options, words in REFUSED_BY_ENGINES:
        result = run_guest(trapeze, engine, guest, *options)
        check.equal(result.status, USAGE, f"{engine} {options}", result)
        check.contains(result.errors, words, f"{engine} {options}")
        check.that(one_line(result), f"{engine} {options}: one line", result)
    for engine in ("soft", "soft,tier=interpreter", "soft,tier=translate,translate-after=0", "soft,code-cache=2M,count"):
        result = run_guest(trapeze, engine, guest, "--code-cache", "1M")
        check.equal(result.status, 1, engine, result)
    result = run_guest(trapeze, "soft", guest, "--stats")
    check.contains(result.errors, "\nengine soft:\n", "--stats: what the engine counted")
    result = run_guest(trapeze, "soft", guest, "--trace", "code")
    check.equal(result.status, 1, "--trace code", result)


def test_trap(check, trapeze, guests):
    """PUSHF; POPF; CPUID in a loop of three rounds, and exit: what --stats, --trace and the report say of it."""
    code = bytes.fromhex("b90300 669c 669d 51 31c0 0fa2 59 e2f4") + debug_exit(7)
    guest = guests.file(code)
    with tempfile.TemporaryDirectory() as directory:
        trace = os.path.join(directory, "trace")
        result = run_guest(trapeze, "soft", guest, "--trap", "all", "--stats", "--trace", trace)
        check.equal(result.status, 7, "--trap all", result)
        for name in ("pushf", "popf", "cpuid"):
            check.that(re.search(rf"^instruction +3 +[0-9.]+ +[0-9.]+ +{name}$", result.errors, re.MULTILINE),
                       f"--stats counts {name}", result)
        listed = run([trapeze, "report", trace, "--list"]).output
        check.equal(re.findall(r" instruction (\w+)$", listed, re.MULTILINE), ["pushf", "popf", "cpuid"] * 3, "--trace has them")
        text = run([trapeze, "report", trace, "--text"]).output
        check.that(re.search(r"^instruction +3 .* popf$", text, re.MULTILINE), "the report has them", text)
        result = run_guest(trapeze, "soft", guest, "--trap", "shadow", "--stats")
        check.equal(result.status, 7, "--trap shadow", result)
        check.that("instruction " not in result.errors.replace("guest instruction", ""), "nothing traps", result)


PERF_LINE = re.compile(r"[0-9a-f]+ [0-9a-f]+ guest_[0-9a-f]+_(user|kernel)_[0-9a-f]+\n")


def test_perf_map(check, trapeze, guests):
    with subprocess.Popen([trapeze, "run", "--engine", "soft,translate-after=0", "--flat", guests.file(debug_exit(1)),
                           "--perf-map", "--timeout", "100"], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        path = Path(f"/tmp/perf-{process.pid}.map")
        check.equal(process.wait(), 1, "--perf-map")
    if check.that(path.exists(), "--perf-map: the map"):
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        check.that(all(PERF_LINE.fullmatch(line) for line in lines), "--perf-map: the map's lines", lines)
        path.unlink()


def main():
    trapeze = Path(sys.argv[1]).resolve()
    check = Checks()
    with tempfile.TemporaryDirectory() as directory:
        guests = Guests(directory)
        test_help(check, trapeze)
        test_manual(check, trapeze)
        test_bad_usage(check, trapeze)
        test_bad_files(check, trapeze, guests)
        test_console_file(check, trapeze, guests)
        kernel = ROOT / "build" / "guest" / "vmlinuz"
        if kernel.exists():
            test_kernel_limits(check, trapeze, guests, kernel)
        else:
            check.skip("no kernel: scripts/get-kernel")
        test_permission(check, trapeze, guests)
        test_lost_output(check, trapeze, guests)
        test_timeout_and_signals(check, trapeze, guests)
        test_own_signal(check, trapeze, guests)
        test_full_socket(check, trapeze, guests)
        test_ignored_signal(check, trapeze, guests)
        test_terminal(check, trapeze, guests)
        test_job_control(check, trapeze, guests)
        engines = test_probe(check, trapeze)
        for engine in engines:
            if engine == "kvm":
                test_outcomes(check, trapeze, guests, "kvm,irqchip=none")
            test_outcomes(check, trapeze, guests, engine)
            test_triple_fault(check, trapeze, guests, engine)
            test_consoles(check, trapeze, guests, engine)
            test_nobody_reads(check, trapeze, guests, engine)
            test_stats_of_a_loop(check, trapeze, guests, engine)
            test_other_terminal(check, trapeze, guests, engine)
            test_input(check, trapeze, guests, engine)
            test_pause(check, trapeze, guests, engine)
            if engine == "soft":  # a slow KVM does not run every mode; `probe` tells which
                test_modes(check, trapeze, guests, engine)
        if "soft" in engines:
            test_engine_choice(check, trapeze, guests, engines)
            test_soft_settings(check, trapeze, guests)
            test_trap(check, trapeze, guests)
            test_perf_map(check, trapeze, guests)
            test_states(check, trapeze, guests, "soft")
    check.finish()


if __name__ == "__main__":
    main()
