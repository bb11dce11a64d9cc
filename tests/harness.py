"""What the tests in Python share: counting checks, running the program, driving it on a pseudo-terminal.

The last line of a test is 'N passed, N failed, N skipped', like that of the tests in C.
"""

import contextlib
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# How long something may take before it counts as hung. Generous: machines are loaded, and no test is about speed.
PATIENCE = float(os.environ.get("TRAPEZE_TEST_PATIENCE", "120"))

# Warnings in a Linux guest's log that tell of the host only: it gave a virtual processor no time for a while.
HOST_WAS_BUSY = (r"hrtimer: interrupt took \d+ ns", r"perf: interrupt took too long", r"sched: RT throttling activated",
                 r"workqueue: .* hogged CPU", r"clocksource: (?:Long readout interval|timekeeping watchdog on CPU\d+: .* retr)")


def take_signals():
    """Whoever runs the tests in the background may have had these ignored, and so would all that they start."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGCHLD, signal.SIGTSTP, signal.SIGTTIN,
                   signal.SIGTTOU):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


class Checks:
    """Counts what passed, failed and was skipped, and says where. A test begins by making it."""

    def __init__(self):
        take_signals()
        self.passed = self.failed = self.skipped = 0

    def that(self, good, what, details=""):
        if good:
            self.passed += 1
        else:
            self.failed += 1
            print(f"FAILED: {what}")
            if details:
                print("\n".join("    " + line for line in str(details).splitlines()[-20:]))
        return good

    def equal(self, actual, expected, what, details=""):
        return self.that(actual == expected, f"{what}: is {actual!r}, expected {expected!r}", details)

    def contains(self, text, part, what):
        return self.that(part in text, f"{what}: no {part!r}", text if len(text) < 2000 else "")

    def skip(self, why):
        self.skipped += 1
        print(f"skipped: {why}")

    def finish(self):
        print(f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped")
        sys.exit(1 if self.failed else 0)


class Result:
    """What a program printed and how it ended."""

    def __init__(self, status, output, errors):
        self.status, self.output, self.errors = status, output, errors

    @property
    def last_line(self):
        lines = self.errors.rstrip("\n").splitlines()
        return lines[-1] if lines else ""

    def __str__(self):
        return f"exit status {self.status}\n--- output\n{self.output}\n--- errors\n{self.errors}"


def run(arguments, stdin=subprocess.DEVNULL, timeout=PATIENCE, **more):
    """Runs a program to its end. A text as stdin is fed to it."""
    data = None
    if isinstance(stdin, bytes):
        data, stdin = stdin, subprocess.PIPE
    more.setdefault("stdout", subprocess.PIPE)
    with subprocess.Popen([str(word) for word in arguments], stdin=stdin, stderr=subprocess.PIPE, **more) as process:
        try:
            output, errors = process.communicate(data, timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            output, errors = process.communicate()
            errors += b"\n(the test stopped it: hung)"
        return Result(process.returncode, (output or b"").decode(errors="replace"), errors.decode(errors="replace"))


@contextlib.contextmanager
def started(arguments, **more):
    """A program with text on its standard error, killed if it hangs."""
    more = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True} | more
    process = subprocess.Popen(arguments, **more)
    guard = threading.Timer(PATIENCE, process.kill)
    guard.start()
    try:
        with process:
            yield process
    finally:
        guard.cancel()


def wait_for_thread(pid, name):
    """Until a process has a thread of that name, or has ended, or hangs."""
    give_up = time.monotonic() + PATIENCE
    while time.monotonic() < give_up:
        try:
            names = [path.read_text().strip() for path in Path(f"/proc/{pid}/task").glob("*/comm")]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if name in names or not names:
            return
        time.sleep(0.005)


class Terminal:
    """A program on a pseudo-terminal of its own, as a person at a terminal has it."""

    def __init__(self, arguments):
        self.text = ""
        self.status = None
        self.master, self.slave = pty.openpty()
        self.before = termios.tcgetattr(self.slave)
        pid = os.fork()
        if pid == 0:
            os.close(self.master)
            os.login_tty(self.slave) if hasattr(os, "login_tty") else self._login_tty()
            os.execv(str(arguments[0]), [str(word) for word in arguments])
        self.pid = pid

    def _login_tty(self):
        import fcntl
        os.setsid()
        fcntl.ioctl(self.slave, termios.TIOCSCTTY, 0)
        for descriptor in range(3):
            os.dup2(self.slave, descriptor)
        if self.slave > 2:
            os.close(self.slave)

    def _read_some(self, wait):
        if self.master is None:
            time.sleep(wait)
            return False
        ready, _, _ = select.select([self.master], [], [], wait)
        if not ready:
            return False
        try:
            data = os.read(self.master, 65536)
        except OSError:
            return False
        self.text += data.decode(errors="replace")
        return bool(data)

    def wait_for(self, pattern, since=0):
        """Reads until the text after `since` matches; returns the match, or None when the program ended or hangs."""
        give_up = time.monotonic() + PATIENCE
        while time.monotonic() < give_up:
            found = re.search(pattern, self.text[since:])
            if found:
                return found
            if not self._read_some(0.1) and self.ended():
                self._read_some(0.1)
                return re.search(pattern, self.text[since:])
        return None

    def wait_until(self, condition):
        """Reads until a condition holds; False when the program ended or hangs."""
        give_up = time.monotonic() + PATIENCE
        while time.monotonic() < give_up:
            if condition():
                return True
            self._read_some(0.02)
            if self.ended():
                return condition()
        return False

    def type(self, text):
        os.write(self.master, text.encode())

    def is_raw(self):
        return not termios.tcgetattr(self.slave)[3] & termios.ICANON

    def is_restored(self):
        return termios.tcgetattr(self.slave) == self.before

    def kill(self, number):
        if self.status is None:
            os.kill(self.pid, number)

    def is_stopped(self):
        """Whether it stands still. A SIGCONT before that is lost, so who continues it waits for this, as a shell does."""
        if self.ended():
            return False
        state = os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT)
        return state is not None and state.si_status != 0

    def hang_up(self):
        """What closing the terminal's window does."""
        self.close()
        self.master = None

    def ended(self):
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
        return self.status is not None

    def finish(self):
        """Waits for the end, reading meanwhile; returns the exit status (negative: the signal that ended it)."""
        give_up = time.monotonic() + PATIENCE
        while not self.ended() and time.monotonic() < give_up:
            self._read_some(0.05)
        if not self.ended():
            os.kill(self.pid, signal.SIGKILL)
            self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            self.text += "\n(the test stopped it: hung)"
        while self._read_some(0.05):
            pass
        return self.status

    def close(self):
        for descriptor in (self.master, self.slave):
            os.close(descriptor)
