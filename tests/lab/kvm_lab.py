"""A laboratory machine with a true /dev/kvm: QEMU's TCG with SVM, Debian's cloud kernel, its modules kvm and kvm-amd.

The command runs in /files, which holds a copy of --files; /data has a stock kernel (vmlinuz) and an initramfs
(initramfs.cpio.gz) for guests; trapeze is in the PATH. What the command leaves in /out is copied to --out; what it prints,
on either stream, comes out on stdout at once; its exit status is that of this program. Where the machine itself fails the
status is 125, where time is up 124, and stderr says what happened.
"""

import argparse
import contextlib
import ctypes
import ctypes.util
import fcntl
import os
import re
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
GUEST = ROOT / "build" / "guest"
QEMU = "qemu-system-x86_64"

TIME_IS_UP, LAB_FAILED = 124, 125

# What init loads, by the directory below the modules' kernel/ in which each lies.
MODULES = {
    "irqbypass": "virt/lib", "kvm": "arch/x86/kvm", "kvm-amd": "arch/x86/kvm", "virtio_ring": "drivers/virtio",
    "virtio": "drivers/virtio", "virtio_pci_modern_dev": "drivers/virtio", "virtio_pci_legacy_dev": "drivers/virtio",
    "virtio_pci": "drivers/virtio", "virtio_blk": "drivers/block",
}
PASSWD = "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n"
GROUP = "root:x:0:\nuser:x:1000:\nkvm:x:104:user\nnogroup:x:65534:\n"

WORK_PREFIX = "trapeze-lab-"  # of directories for temporary files
FRESH = 60                    # seconds within which one may not have been locked yet
HEARTBEAT = 0.5               # seconds between two interrupts, see wait()
COMMAND_STARTS = "lab: the command starts"  # what init says then
RESULTS_BYTES = 512 << 20  # of the disk for results; a sparse file
PR_SET_PDEATHSIG = 1       # of <sys/prctl.h>
LIBC = ctypes.CDLL(None)


class LabError(Exception):
    """The machine could not be made or did not do its work; the text says why and what can be done."""

    status = LAB_FAILED


class HostLacks(LabError):
    """This host lacks what the machine is made of, and another try would find the same."""


class TimeIsUp(LabError):
    """The command was not done in time."""

    status = TIME_IS_UP


class Archive:
    """A cpio archive in the format "newc", as the kernel unpacks it into its first file system."""

    def __init__(self, file):
        self.file = file
        self.count = 0
        self.directories = {"."}

    def _entry(self, name, mode, data):
        name = name.strip("/").encode() + b"\0"
        self.count += 1
        fields = [self.count, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name), 0]
        self.file.write(b"070701" + b"".join(b"%08X" % field for field in fields) + name)
        self.file.write(bytes(-(110 + len(name)) % 4) + data + bytes(-len(data) % 4))

    def _parents(self, name):
        for parent in reversed(Path(name.strip("/")).parents):
            if str(parent) not in self.directories:
                self.directories.add(str(parent))
                self._entry(str(parent), stat.S_IFDIR | 0o755, b"")

    def add(self, name, data, mode=0o644):
        self._parents(name)
        self._entry(name, stat.S_IFREG | mode, data)

    def copy(self, path, name):
        self.add(name, Path(path).read_bytes(), Path(path).stat().st_mode & 0o777)

    def finish(self):
        self._entry("TRAILER!!!", 0, b"")


def script(name, *arguments):
    """What one of the project's scripts prints as its last line."""
    done = subprocess.run([ROOT / "scripts" / name, *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise HostLacks(f"scripts/{name} failed: {said[-1]}")
    return done.stdout.strip().splitlines()[-1]


def module_directory():
    """kernel/ of the modules that belong to the kernel of scripts/get-kernel."""
    for modules in sorted(GUEST.glob("linux-image-*/lib/modules/*/kernel"), reverse=True):
        if (modules / MODULES["kvm"]).is_dir():
            return modules
    raise HostLacks(f"{GUEST} has no kernel's modules: remove its vmlinuz and run scripts/get-kernel")


def is_program(path):
    with open(path, "rb") as file:
        return file.read(4) == b"\x7fELF" and os.access(path, os.X_OK)


def libraries(program):
    """What ldd says that a program loads."""
    done = subprocess.run(["ldd", program], capture_output=True, text=True, check=False)
    missing = re.findall(r"^\s*(\S+) => not found", done.stdout, re.M)
    if missing:
        raise LabError(f"{program} needs {missing[0]}, which this host lacks")
    return re.findall(r"(?:=> |^\s*)(/\S+) \(0x", done.stdout, re.M)


def disassembler():
    """The library that reports load if it is there; a list, for it may be absent."""
    name = ctypes.util.find_library("Zydis")
    listed = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=False).stdout
    return re.findall(rf"{re.escape(name)} .*=> (\S+)", listed)[:1] if name else []


def pack(archive, files, command, trapeze, init="init", modules=MODULES, more=()):
    """Everything that the machine needs; `more` are pairs of a file and its place."""
    archive.copy(Path(__file__).with_name(init), "init")
    archive.copy(Path(script("get-package", "busybox-static")) / "bin" / "busybox", "bin/busybox")
    archive.add("etc/passwd", PASSWD.encode())
    archive.add("etc/group", GROUP.encode())
    kernel = module_directory()
    for name, directory in modules.items():
        archive.copy(kernel / directory / f"{name}.ko", f"lab/{name}.ko")
    for path, name in more:
        archive.copy(path, name)
    archive.add("lab/command", (shlex.join(command) + "\n").encode())
    archive.copy(script("get-kernel"), "data/vmlinuz")
    archive.copy(script("make-initramfs"), "data/initramfs.cpio.gz")
    archive.copy(trapeze, "bin/trapeze")
    archive.add("files/.lab", b"")
    programs = {Path(trapeze)}
    for path in sorted(Path(files).rglob("*")) if files else []:
        if path.is_file():
            archive.copy(path, f"files/{path.relative_to(files)}")
            if is_program(path):
                programs.add(path)
    needed = {library for program in programs for library in libraries(program)} | set(disassembler())
    for library in sorted(needed):
        archive.copy(library, library)
    archive.finish()


def qemu_command(work, cpus, memory):
    # One thread for all processors: with one for each, QEMU 7.2's SVM hangs after some ten or hundred guests.
    return [QEMU, "-M", "q35", "-accel", "tcg,thread=single", "-cpu", "max", "-smp", str(cpus), "-m", str(memory),
            "-nodefaults", "-display", "none", "-no-reboot", "-serial", f"file:{work}/console", "-serial", "stdio",
            "-drive", f"file={work}/results,format=raw,if=virtio", "-kernel", script("get-kernel"),
            "-initrd", f"{work}/archive", "-append", "console=ttyS0 quiet panic=-1"]


def console(work):
    try:
        return (work / "console").read_text(errors="replace")
    except OSError:
        return ""


def console_tail(work):
    return "\n".join("    " + line.rstrip() for line in console(work).splitlines()[-12:]) or "    (nothing)"


def results(work, out):
    """Unpacks the archive on the disk; returns the command's exit status."""
    status = None
    try:
        with tarfile.open(work / "results", "r:") as archive:
            for member in archive:
                name = Path(member.name)
                if member.name == "lab/status":
                    status = int(archive.extractfile(member).read())
                elif name.parts[:1] == ("out",) and ".." not in name.parts and out:
                    target = Path(out).joinpath(*name.parts[1:])
                    if member.isdir():
                        target.mkdir(parents=True, exist_ok=True)
                    elif member.isfile():
                        target.write_bytes(archive.extractfile(member).read())
    except (tarfile.TarError, ValueError, OSError) as error:
        raise LabError(f"the machine's results cannot be read ({error}); its console ended with:\n{console_tail(work)}") \
            from error
    if status is None:
        raise LabError(f"the machine ended without a result; its console ended with:\n{console_tail(work)}")
    return status


def check_host():
    """Downloads what is to be downloaded; raises HostLacks where there can be no machine."""
    if not shutil.which(QEMU):
        raise HostLacks(f"{QEMU} is not there; on Debian: apt-get install qemu-system-x86")
    script("get-kernel")
    script("get-package", "busybox-static")
    script("make-initramfs")
    module_directory()


def end_at_signals():
    """Has the signals that end a program end this one by an exception: the machine and its files go, too."""
    def end(number, _):
        for other in numbers:
            signal.signal(other, signal.SIG_IGN)
        sys.exit(128 + number)

    numbers = [number for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
               if signal.getsignal(number) != signal.SIG_IGN]
    for number in numbers:
        signal.signal(number, end)


def remove_stale_directories():
    """Those of programs that were killed: nobody holds their lock."""
    for directory in Path(tempfile.gettempdir()).glob(WORK_PREFIX + "*"):
        with contextlib.suppress(OSError):  # somebody else's, or just gone
            status = directory.lstat()
            if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or time.time() - status.st_mtime < FRESH:
                continue
            lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(directory)
            finally:
                os.close(lock)


@contextlib.contextmanager
def work_directory():
    """A directory for temporary files. It goes at the end, and after SIGKILL when the next one is made."""
    remove_stale_directories()
    with tempfile.TemporaryDirectory(prefix=WORK_PREFIX) as directory:
        lock = os.open(directory, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield Path(directory)
        finally:
            os.close(lock)


def start(command, stdout, stderr):
    """Starts a program that does not outlive this one, however this one ends."""
    parent = os.getpid()

    def die_with_parent():
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before that
            os._exit(LAB_FAILED)

    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=stdout, stderr=stderr, preexec_fn=die_with_parent)


def wait(machine, work, timeout, stdout, silence):
    """Until the machine ends; raises TimeIsUp after `timeout` seconds, or when stdout has not grown for `silence`.

    Meanwhile it is sent a byte now and then. QEMU 7.2 sometimes forgets, when a guest of the machine's KVM was running, that
    the processor has an interrupt to take: its local APIC has the timer's vector in IRR, nothing masks it, and the
    processor sleeps in HLT with interrupts enabled for ever. Any other interrupt makes QEMU look there again; the serial
    line's does. Not before the command starts: until init has set the line it would echo the byte into the output.
    """
    began = spoken = beaten = time.monotonic()
    size, has_started = 0, False
    while machine.poll() is None:
        now = time.monotonic()
        if now - beaten >= HEARTBEAT:
            beaten = now
            has_started = has_started or COMMAND_STARTS in console(work)
            with contextlib.suppress(BrokenPipeError):
                os.write(machine.stdin.fileno(), b"\n" if has_started else b"")
        if silence and os.fstat(stdout.fileno()).st_size != size:
            size, spoken = os.fstat(stdout.fileno()).st_size, now
        if now - began > timeout or (silence and now - spoken > silence):
            raise TimeIsUp(f"not done after {now - began:.0f} s; the machine's console ended with:\n{console_tail(work)}")
        try:
            machine.wait(timeout=0.2)
        except subprocess.TimeoutExpired:
            pass


def run(command, cpus=1, memory=2048, files=None, out=None, timeout=300, stdout=None, silence=None, trapeze=None):
    """Runs a command in the machine; returns its exit status. stdout is as for subprocess, a file where there is a limit to
    the seconds of its silence. Raises LabError where there is no status."""
    trapeze = trapeze or ROOT / "build" / "release" / "trapeze"
    if not Path(trapeze).is_file():
        raise LabError(f"there is no {trapeze}; build it with make")
    check_host()
    with work_directory() as work:
        with open(work / "archive", "wb") as file:
            pack(Archive(file), files, command, trapeze)
        with open(work / "results", "wb") as file:
            file.truncate(RESULTS_BYTES)
        # A file: whatever is said on stderr, nothing waits for a reader.
        with open(work / "errors", "wb") as errors, start(qemu_command(work, cpus, memory), stdout, errors) as machine:
            try:
                wait(machine, work, timeout, stdout, silence)
            finally:
                machine.kill()
        if machine.returncode != 0:
            said = (work / "errors").read_text(errors="replace")[-2000:].strip()
            raise LabError(f"{QEMU} ended with {machine.returncode}: {said}")
        return results(work, out)


def main():
    parser = argparse.ArgumentParser(prog="kvm-lab", description=__doc__, usage="kvm-lab [OPTION]... -- COMMAND...",
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cpus", type=int, default=1, help="processors of the machine (1)")
    parser.add_argument("--memory", type=int, default=2048, metavar="MIB", help="its memory (2048)")
    parser.add_argument("--files", type=Path, metavar="DIR", help="what is to be in /files")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where what is in /out at the end goes")
    parser.add_argument("--timeout", type=float, default=300, metavar="SECONDS", help="for all of it (300)")
    parser.add_argument("--trapeze", type=Path, metavar="FILE", help="the program (build/release/trapeze)")
    parser.add_argument("command", nargs="+", metavar="COMMAND")
    options = parser.parse_args()
    if options.files and not options.files.is_dir():
        parser.error(f"{options.files} is no directory")
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
    end_at_signals()
    try:
        return run(options.command, options.cpus, options.memory, options.files, options.out, options.timeout,
                   trapeze=options.trapeze)
    except LabError as error:
        print(f"kvm-lab: {error}", file=sys.stderr)
        return error.status


if __name__ == "__main__":
    sys.exit(main())
