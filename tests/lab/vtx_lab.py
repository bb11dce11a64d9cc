"""A laboratory machine with VT-x that runs Linux: Bochs, Debian's cloud kernel, its modules kvm and kvm-intel, and ours.

The command runs in /files, which holds a copy of --files; /data has a stock kernel (vmlinuz) and an initramfs
(initramfs.cpio.gz) for guests; trapeze is in the PATH. No module is loaded: they lie in /lab (load-kvm, load-trapeze and
unload load and unload them). What the command prints, on either stream, comes out on stdout at once, and
after it a line with its exit status, which is that of this program. Where the machine itself fails the status is 125, where time is up 124, and stderr says what happened.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import bochs_lab
from kvm_lab import ROOT, Archive, HostLacks, LabError, end_at_signals, module_directory, pack, script

MODULES = {"irqbypass": "virt/lib", "kvm": "arch/x86/kvm", "kvm-intel": "arch/x86/kvm"}
IPS = 50000000  # near the true speed, as Linux measures time
# What need not be done takes long here.
APPEND = "console=ttyS1 quiet panic=-1 mitigations=off cryptomgr.notests random.trust_cpu=on audit=0"
START = b"lab: the command starts\n"
END = re.compile(rb"\nexit code \d+\n\Z")
SCRIPTS = {
    "load-kvm": "for module in irqbypass kvm kvm-intel; do insmod /lab/$module.ko || exit 1; done",
    "load-trapeze": "insmod /lab/trapeze.ko",
    "unload": "for module; do rmmod $module || exit 1; done",
}


def kernel_headers():
    """The directory that modules for the laboratory's kernel are built against."""
    release = module_directory().parent.name
    headers = Path("/usr/src") / f"linux-headers-{release}"
    if not (headers / "Makefile").is_file():
        raise HostLacks(f"{headers} is not there; on Debian: apt-get install linux-headers-{release}")
    return headers


def build_module():
    """Our module for the laboratory's kernel; returns its path."""
    directory = ROOT / "build" / "module"
    done = subprocess.run([ROOT / "vtx" / "linux" / "build", directory, kernel_headers()], capture_output=True, text=True,
                          check=False)
    if done.returncode != 0:
        raise LabError(f"the module cannot be built:\n{(done.stdout + done.stderr)[-3000:]}")
    stripped = directory / "trapeze.stripped"  # what it has for debuggers is ten times its size
    subprocess.run(["strip", "--strip-debug", "-o", stripped, directory / "trapeze.ko"], check=True)
    return stripped


def check_host():
    """Downloads what is to be downloaded; raises HostLacks where there can be no machine."""
    bochs_lab.check_host(bochs_lab.NEEDED)
    for name, *arguments in (("get-kernel",), ("get-package", "busybox-static"), ("make-initramfs",)):
        script(name, *arguments)
    kernel_headers()


class Output:
    """Passes on what comes after the line START: before it GRUB speaks."""

    def __init__(self, stdout):
        self.stdout, self.before = stdout, b""

    def write(self, data):
        if self.before is None:
            self.stdout.write(data)
            return
        self.before += data
        _, found, rest = self.before.partition(START)
        if found:
            self.before = None
            self.stdout.write(rest)

    def flush(self):
        self.stdout.flush()


def tail_of(path):
    lines = path.read_text(errors="replace").splitlines() if path.is_file() else []
    return "\n".join("    " + line.rstrip() for line in lines[-12:]) or "    (nothing)"


def run(command, cpus=1, memory=768, files=None, timeout=300, stdout=None, trapeze=None, console=None, **more):
    """Runs a command in the machine; returns its exit status and what it printed (bytes). stdout is a binary file that gets
    that at once, console where the kernel's words go. Raises LabError where there is no status."""
    trapeze = trapeze or ROOT / "build" / "release" / "trapeze"
    if not Path(trapeze).is_file():
        raise LabError(f"there is no {trapeze}; build it with make")
    check_host()
    with tempfile.TemporaryDirectory(prefix="trapeze-vtx-lab-") as directory:
        work = Path(directory)
        console = console or work / "console"
        scripts = work / "scripts"
        scripts.mkdir()
        for name, text in SCRIPTS.items():
            (scripts / name).write_text(f"#!/bin/sh\n{text}\n")
            (scripts / name).chmod(0o755)
        with open(work / "archive", "wb") as file:
            pack(Archive(file), files, command, trapeze, init="vtx-init", modules=MODULES,
                 more=[(build_module(), "lab/trapeze.ko"), *((scripts / name, f"lab/{name}") for name in SCRIPTS)])
        try:
            status, said = bochs_lab.run(
                script("get-kernel"), cpus=cpus, memory=memory, timeout=timeout, ips=IPS, append=APPEND,
                modules=[work / "archive"], stdout=Output(stdout) if stdout else None,
                options=[f'com2: enabled=1, mode=file, dev="{console}"'], **more)
            return status, END.sub(b"", said.partition(START)[2])
        except LabError as error:
            error.args = (f"{error}\nits console ended with:\n{tail_of(Path(console))}",)
            raise


def main():
    parser = argparse.ArgumentParser(prog="vtx-lab", description=__doc__, usage="vtx-lab [OPTION]... -- COMMAND...",
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cpus", type=int, default=1, help="processors of the machine (1)")
    parser.add_argument("--memory", type=int, default=768, metavar="MIB", help="its memory (768)")
    parser.add_argument("--files", type=Path, metavar="DIR", help="what is to be in /files")
    parser.add_argument("--model", default=bochs_lab.MODEL, help=f"Bochs's name of the processor ({bochs_lab.MODEL})")
    parser.add_argument("--console", type=Path, metavar="FILE", help="where the kernel's words go")
    parser.add_argument("--log", type=Path, metavar="FILE", help="where Bochs's own log is kept")
    parser.add_argument("--timeout", type=float, default=300, metavar="SECONDS", help="for all of it (300)")
    parser.add_argument("--trapeze", type=Path, metavar="FILE", help="the program (build/release/trapeze)")
    parser.add_argument("command", nargs="+", metavar="COMMAND")
    options = parser.parse_args()
    if options.files and not options.files.is_dir():
        parser.error(f"{options.files} is no directory")
    end_at_signals()
    try:
        return run(options.command, options.cpus, options.memory, options.files, options.timeout, sys.stdout.buffer,
                   options.trapeze, options.console, model=options.model, log=options.log)[0]
    except LabError as error:
        print(f"vtx-lab: {error}", file=sys.stderr)
        return error.status


if __name__ == "__main__":
    sys.exit(main())
