#!/usr/bin/env python3
"""Traces of exits from outside: `run --trace FILE` on every engine, whatever the end, and `report`.

usage: tests/trace_test.py TRAPEZE
"""

import fcntl
import os
import re
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from harness import PATIENCE, Checks, run, wait_for_thread

OK, PANIC, TIMEOUT, USAGE, QUIT, MONITOR_ERROR = 0, 121, 124, 126, 130, 125
F_SETPIPE_SZ = 1031  # of <fcntl.h>
LOST = re.compile(r"lacks (\d+) of")


def out8(port, value):
    """16-bit code: mov dx, port; mov al, value; out dx, al"""
    return b"\xba" + struct.pack("<H", port) + b"\xb0" + bytes([value]) + b"\xee"


END = b"\xb0\x05\xe6\xf4\xeb\xfe"       # mov al, 5; out 0xf4, al; jmp $
PANICS = out8(0x505, 1) + b"\xeb\xfe"
FOR_EVER = b"\xe6\x80\xe4\x71\xeb\xfa"  # out 0x80, al; in al, 0x71; again
# a letter for COM1, a port that nobody has, 300 bytes for the POST port, 8 of them by a string instruction
MIXED = (out8(0x3F8, 0x61) + b"\xba\x00\x03\x66\xed"      # mov dx, 0x300; in eax, dx
         + b"\xb9\x2c\x01\xe6\x80\xe2\xfc"                # mov cx, 300; again: out 0x80, al; loop again
         + b"\xba\x80\x00\xbe\x00\x80\xb9\x08\x00\xf3\x6e"  # mov dx, 0x80; mov si, 0x8000; mov cx, 8; rep outsb
         + END)


def guest(directory, code):
    path = Path(directory) / "guest.bin"
    path.write_bytes(code)
    return path


def run_traced(trapeze, engine, code, trace, *options):
    return run([trapeze, "run", "--engine", engine, "--flat", guest(trace.parent, code), "--console", "none",
                "--trace", trace, *options])


def listed(trapeze, trace):
    """How many exits of each kind at each address there are, as `report --list` has them; and what it complains of."""
    result = run([trapeze, "report", trace, "--list"])
    counts = Counter()
    for line in result.output.splitlines():
        if line.startswith("#"):
            continue
        words = line.split()
        place = words[6:7] if words[4:5] in (["read"], ["write"]) else []
        counts[words[3], place[0] if place else ""] += 1
    return counts, result


def counted(errors):
    """The same of the table that --stats prints."""
    counts = Counter()
    in_table = False
    for line in errors.splitlines():
        if line.startswith("exit  ") and " key " in line:
            in_table = True
        elif in_table and re.match(r"\S+ +(0x[0-9a-f]+ +)?\d+ +[\d.]+ +[\d.]+", line):
            words = line.split()
            has_key = words[1].startswith("0x")
            counts[words[0], words[1] if has_key else ""] += int(words[2 if has_key else 1])
        else:
            in_table = False
    return counts


def counted_by_reason(errors):
    """The table in front of it."""
    table = errors.partition("exits by reason")[2].partition("\nexit  ")[0].splitlines()[1:]
    return Counter({line.split()[0]: int(line.split()[1]) for line in table})


def check_counts(check, trapeze, trace, result, what):
    """A trace is whole and has what was counted, but for what it says it has lost."""
    counts, report = listed(trapeze, trace)
    check.equal(report.status, OK, f"{what}: report", report)
    check.equal(report.errors, "", f"{what}: the trace is whole")
    expected = counted(result.errors)
    lost = sum(int(number) for number in LOST.findall(result.errors))
    check.that(expected, f"{what}: --stats prints a table", result)
    by_reason = Counter()
    for (reason, _), count in expected.items():
        by_reason[reason] += count
    check.equal(counted_by_reason(result.errors), by_reason, f"{what}: --stats adds up by reason")
    check.equal(sum(counts.values()) + lost, sum(expected.values()), f"{what}: exits", result)
    if not lost:
        check.equal(counts, expected, f"{what}: exits by kind and address")
    return counts


def test_counts(check, trapeze, directory, engine):
    trace = directory / "counts.trace"
    result = run_traced(trapeze, engine, MIXED, trace, "--stats")
    check.equal(result.status, 5, f"{engine}: traced", result)
    counts = check_counts(check, trapeze, trace, result, engine)
    check.equal(counts["pio", "0x300"], 1, f"{engine}: the port that nobody has")
    check.that(counts["pio", "0x80"] >= 301, f"{engine}: the POST port", counts)
    listing = run([trapeze, "report", trace, "--list"]).output
    check.contains(listing, "pio write 1 0x3f8 = 0x61 com1", f"{engine}: the letter")
    check.contains(listing, "pio read 4 0x300 = 0xffffffff\n", f"{engine}: the answer of nobody")
    check.contains(listing, "pio write 1 0xf4 = 0x5 debug-exit", f"{engine}: the end")


def run_until_exits(trapeze, engine, code, trace, *options):
    """Ends a run by --timeout; a machine that is busy may need more of it until there are exits to count."""
    for seconds in ("0.2", "1", "5"):
        result = run_traced(trapeze, engine, code, trace, "--stats", "--timeout", seconds, *options)
        if counted(result.errors):
            break
    return result


def test_null(check, trapeze, directory):
    trace = directory / "null.trace"
    result = run_until_exits(trapeze, "null", END, trace, "--cpus", "2")
    check.equal(result.status, TIMEOUT, "null", result)
    check_counts(check, trapeze, trace, result, "null")


def test_endings(check, trapeze, directory, engine):
    trace = directory / "ending.trace"
    result = run_traced(trapeze, engine, PANICS, trace, "--stats")
    check.equal(result.status, PANIC, f"{engine}: panic", result)
    check_counts(check, trapeze, trace, result, f"{engine}: panic")
    result = run_until_exits(trapeze, engine, FOR_EVER, trace)
    check.equal(result.status, TIMEOUT, f"{engine}: time over", result)
    check_counts(check, trapeze, trace, result, f"{engine}: time over")


def wait_for(condition):
    give_up = time.monotonic() + PATIENCE
    while not condition() and time.monotonic() < give_up:
        time.sleep(0.01)
    return condition()


def end_by(trapeze, engine, trace, number):
    """Runs a guest that never ends until something is in its trace, and sends a signal."""
    trace.unlink(missing_ok=True)
    with subprocess.Popen([trapeze, "run", "--engine", engine, "--flat", guest(trace.parent, FOR_EVER), "--console",
                           "none", "--trace", trace, "--stats"], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
                          text=True) as process:
        there = wait_for(lambda: trace.exists() and trace.stat().st_size > 65536)
        process.send_signal(number)
        try:
            errors = process.communicate(timeout=PATIENCE)[1]
        except subprocess.TimeoutExpired:
            process.kill()
            errors = process.communicate()[1] + "\n(the test stopped it: hung)"
    return there, process.returncode, errors


def test_signals(check, trapeze, directory, engine):
    trace = directory / "signal.trace"
    for number in (signal.SIGTERM, signal.SIGINT):
        there, status, errors = end_by(trapeze, engine, trace, number)
        check.that(there, f"{engine}: a trace is written while the guest runs")
        check.equal(status, QUIT, f"{engine}: {number.name}", errors)
        counts, report = listed(trapeze, trace)
        lost = sum(int(lost) for lost in LOST.findall(errors))
        check.equal(report.errors, "", f"{engine}: {number.name}: the trace is whole")
        check.equal(sum(counts.values()) + lost, sum(counted(errors).values()), f"{engine}: {number.name}: exits", errors)
    end_by(trapeze, engine, trace, signal.SIGKILL)
    result = run([trapeze, "report", trace, "--text"])
    check.equal(result.status, OK, f"{engine}: SIGKILL", result)
    check.contains(result.output, "NOTE: the file is cut off at byte", f"{engine}: SIGKILL")
    check.that(re.search(r"pio write +0x80 +\d+", result.output), f"{engine}: SIGKILL: what is there is told", result)


def test_stalled_reader(check, trapeze, directory):
    """Whoever opens a FIFO and does not read it holds up neither the end of time nor a signal."""
    fifo = directory / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(reader, F_SETPIPE_SZ, 4096)  # soon full
    result = run_traced(trapeze, "soft", FOR_EVER, fifo, "--timeout", "1")
    check.equal(result.status, TIMEOUT, "a reader that stalls: time over", result)
    check.equal(result.errors.count("tracing ends here"), 1, "a reader that stalls is told once", result)
    with subprocess.Popen([trapeze, "run", "--engine", "soft", "--flat", guest(directory, FOR_EVER), "--console", "none",
                           "--trace", fifo], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        wait_for_thread(process.pid, "trace")
        process.send_signal(signal.SIGTERM)
        try:
            errors = process.communicate(timeout=PATIENCE)[1]
        except subprocess.TimeoutExpired:
            process.kill()
            errors = process.communicate()[1] + "\n(the test stopped it: hung)"
    check.equal(process.returncode, QUIT, "a reader that stalls: SIGTERM", errors)
    os.close(reader)


def test_files(check, trapeze, directory):
    trace = directory / "file.trace"
    traced = [trapeze, "run", "--engine", "soft", "--flat", guest(directory, MIXED), "--console", "none", "--trace"]
    result = run([*traced, "/dev/full"])
    check.equal(result.status, 5, "a full disk ends the tracing, not the run", result)
    check.equal(result.errors.count("No space left on device"), 1, "a full disk is told once", result)
    kernel = directory / "kernel"
    kernel.write_bytes(b"something that took years")
    result = run_traced(trapeze, "soft", MIXED, kernel)
    check.equal(result.status, USAGE, "a file that is no trace is kept", result)
    check.equal(kernel.read_bytes(), b"something that took years", "and not touched")
    result = run([*traced, directory / "no" / "place"])
    check.equal(result.status, USAGE, "no directory for the trace", result)
    run_traced(trapeze, "soft", MIXED, trace)
    before = trace.read_bytes()
    result = run([trapeze, "report", trace, "-o", trace])
    check.equal(result.status, USAGE, "the page is not written over the trace", result)
    check.equal(trace.read_bytes(), before, "which stays as it is")
    result = run([trapeze, "report", trace, "-o", kernel])
    check.equal(result.status, USAGE, "nor over what is no page", result)
    check.equal(kernel.read_bytes(), b"something that took years", "which stays, too")
    fifo = directory / "page-fifo"
    os.mkfifo(fifo)
    result = run([trapeze, "report", trace, "-o", fifo])
    check.equal(result.status, USAGE, "a page into a FIFO that nobody reads", result)
    check.contains(result.errors, "nobody reads the pipe", "a page into a FIFO that nobody reads")
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(reader, F_SETPIPE_SZ, 1 << 20)  # a page fits
    result = run([trapeze, "report", trace, "-o", fifo])
    check.equal(result.status, OK, "a page into a FIFO with a reader", result)
    check.that(os.read(reader, 1 << 20).endswith(b"</html>\n"), "a page into a FIFO with a reader: all of it")
    os.close(reader)
    for again in ("a new page", "the page once more"):
        result = run([trapeze, "report", trace, "-o", directory / "page"])
        check.equal(result.status, OK, again, result)
    result = run([trapeze, "report", trace])
    check.that(result.status == OK and trace.with_name("file.trace.html").exists(), "the page's own name", result)
    page = run([trapeze, "report", trace, "-o", "-"])
    check.equal(page.output, trace.with_name("file.trace.html").read_text(encoding="utf-8"), "the page on standard output")
    for arguments in (["--text"], ["--list"], ["-o", "-"]):
        with open("/dev/full", "wb") as full:
            result = run([trapeze, "report", trace, *arguments], stdout=full)
        check.equal(result.status, MONITOR_ERROR, f"report {arguments} to a full disk", result)
    check.equal(run([trapeze, "report", trace, "-o", "/dev/full"]).status, MONITOR_ERROR, "a page on a full disk")


def test_bad_usage(check, trapeze, directory):
    other = directory / "other"
    other.write_bytes(b"no trace at all")
    later = directory / "later"
    later.write_bytes(b"TRPZEXIT" + struct.pack("<I", 2) + bytes(200))
    for arguments, words in (([], "no trace: give the FILE"), (["a", "b"], "one trace a report"),
                             (["a", "--text", "--list"], "exclude each other"), (["a", "--txet"], "did you mean --text?"),
                             (["a", "-o"], "needs a value"), ([directory / "none"], "cannot open the trace"),
                             ([directory], "cannot be read: Is a directory"), ([other], "is no trace of exits"),
                             ([later], "version 2 of the format"), (["/dev/null"], "is empty"),
                             ([other, "--=x"], "no option")):
        result = run([trapeze, "report", *arguments])
        check.equal(result.status, USAGE, f"report {arguments}", result)
        check.that(words in result.errors and result.errors.count("\n") == 1, f"report {arguments}: {words}", result)
    result = run([trapeze, "report", "--help"])
    check.that(result.status == OK and "--output PAGE" in result.output and "\n      FILE " in result.output,
               "report --help", result)


def main():
    trapeze = Path(sys.argv[1]).resolve()
    check = Checks()
    probe = run([trapeze, "probe"]).output
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        for engine in ("soft", "kvm"):
            if not re.search(rf"^{engine} +usable", probe, re.M):
                check.skip(f"engine {engine}: 'trapeze probe' says why")
                continue
            test_counts(check, trapeze, directory, engine)
            test_endings(check, trapeze, directory, engine)
            test_signals(check, trapeze, directory, engine)
        test_null(check, trapeze, directory)
        test_stalled_reader(check, trapeze, directory)
        test_files(check, trapeze, directory)
        test_bad_usage(check, trapeze, directory)
    check.finish()


if __name__ == "__main__":
    main()
