"""A laboratory machine with VT-x: an image boots in Bochs, without a display.

IMAGE is a bootable ISO image, a multiboot kernel (ELF) or a Linux bzImage; for the latter two GRUB's ISO is made, and each
--module is given to the kernel (of Linux, the initrd). What the machine says on its serial port comes out on stdout at
once. The machine is done when it says "exit code N" on a line of its own (a program's name and a colon may stand before
it) and then powers off, is silent for a while, or stops: N is the exit status. Where the machine itself fails the status
is 125, where time is up 124, and one line on stderr says what happened.
"""

import argparse
import os
import re
import selectors
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from kvm_lab import HostLacks, LabError, TimeIsUp, end_at_signals, start

BOCHS = "bochs-bin"
BIOS = Path("/usr/share/bochs/BIOS-bochs-latest")
VGA_BIOS = Path("/usr/share/bochs/VGABIOS-lgpl-latest")
GRUB_PLATFORM = Path("/usr/lib/grub/i386-pc")
GRUB_MODULES = "biosdisk iso9660 linux multiboot normal serial terminal"

# What the machine is made of and the Debian packages that have it.
ISO_NEEDED = {"grub-mkrescue": "grub-common", GRUB_PLATFORM: "grub-pc-bin", "xorriso": "xorriso", "mformat": "mtools"}
NEEDED = {BOCHS: "bochs", BIOS: "bochsbios", VGA_BIOS: "bochs", **ISO_NEEDED}

MODEL = "corei7_haswell_4770"  # VT-x with EPT and unrestricted guest
EXIT_LINE = re.compile(rb"^(?:[\w-]+: )?exit code (\d{1,3})\r?$", re.M)
SILENCE_AT_END = 5       # seconds until a machine that has said its exit code and does not power off is ended
SERIAL_KEPT = 64 << 20   # bytes of what the machine says; one that says more has gone wild

BOCHSRC = """\
config_interface: textconfig
display_library: rfb, options="timeout=0"
plugin_ctrl: unmapped=1, speaker=0
memory: guest={memory}, host={memory}
cpu: model={model}, count={cpus}, ips={ips}, reset_on_triple_fault=0
clock: sync=none
romimage: file={bios}
vgaromimage: file={vga_bios}
ata0-master: type=cdrom, path="{iso}", status=inserted
boot: cdrom
com1: enabled=1, mode=socket-client, dev=127.0.0.1:{port}
sound: waveoutdrv=dummy
log: {log}
panic: action=fatal
error: action=report
info: action={info}
debug: action=ignore
{options}
"""

GRUB_CONFIGURATION = """\
set timeout=0
set default=0
serial --unit=0 --speed=115200
terminal_output serial
terminal_input serial
menuentry image {{
{commands}
boot
}}
"""


def check_host(needed):
    """Raises HostLacks where something is not there."""
    missing = [package for what, package in needed.items()
               if not (what.exists() if isinstance(what, Path) else shutil.which(what))]
    if missing:
        raise HostLacks(f"Bochs or GRUB is not there; on Debian: apt-get install {' '.join(dict.fromkeys(missing))}")


def kind_of(image):
    """'iso', 'multiboot' or 'linux', by what the file begins with."""
    try:
        with open(image, "rb") as file:
            head = file.read(0x8010)
    except OSError as error:
        raise LabError(f"{image} cannot be read: {error.strerror}") from error
    if head[0x8001:0x8006] == b"CD001":
        return "iso"
    if head[0x202:0x206] == b"HdrS":
        return "linux"
    if head[:4] == b"\x7fELF" and b"\x02\xb0\xad\x1b" in head[:8192]:
        return "multiboot"
    raise LabError(f"{image} is no ISO image, multiboot kernel or Linux bzImage")


def grub_words(text):
    """A command line in GRUB's language."""
    if any(character in text for character in "'\n"):
        raise LabError(f"GRUB takes neither quotes nor newlines in a command line: {text!r}")
    return " ".join(f"'{word}'" for word in text.split(" ") if word)


def make_iso(image, kind, iso, append="", modules=()):
    """An ISO image with GRUB that boots a kernel. A module is a path, or a path and arguments after a blank."""
    with tempfile.TemporaryDirectory(prefix="trapeze-iso-") as directory:
        boot = Path(directory) / "boot"
        (boot / "grub").mkdir(parents=True)
        shutil.copy(image, boot / "image")
        commands = [f"{kind} /boot/image {grub_words(append)}"]
        for number, module in enumerate(modules):
            path, _, arguments = str(module).partition(" ")
            if not Path(path).is_file():
                raise LabError(f"there is no module {path}")
            shutil.copy(path, boot / f"module{number}")
            load = "initrd" if kind == "linux" else "module"
            commands.append(f"{load} /boot/module{number} {grub_words(arguments)}")
        (boot / "grub" / "grub.cfg").write_text(GRUB_CONFIGURATION.format(commands="\n".join(commands)))
        done = subprocess.run(["grub-mkrescue", "-o", iso, directory, "-d", GRUB_PLATFORM, f"--install-modules={GRUB_MODULES}",
                               "--locales=", "--fonts=", "--themes=", "--compress=no"],
                              capture_output=True, text=True, check=False)
        if done.returncode != 0 or not Path(iso).is_file():
            said = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
            raise LabError(f"grub-mkrescue made no ISO image: {said[-1]}")


class Serial:
    """The machine's serial port: what was said, and what is typed when something was said."""

    def __init__(self, connection, stdout, answers):
        self.connection, self.stdout = connection, stdout
        self.answers = list(answers)  # pairs: text to wait for, text to type
        self.said = bytearray()
        self.seen = 0  # up to where answers have been given

    def receive(self):
        """False at the end."""
        try:
            data = self.connection.recv(65536)
        except ConnectionError:
            data = b""
        if not data:
            return False
        self.said += data
        if len(self.said) > SERIAL_KEPT:
            raise LabError(f"the image said more than {SERIAL_KEPT >> 20} MiB on its serial port")
        if self.stdout is not None:
            self.stdout.write(data)
            self.stdout.flush()
        self.answer()
        return True

    def answer(self):
        while self.answers:
            wait_for, text = self.answers[0]
            at = self.said.find(wait_for.encode(), self.seen)
            if at < 0:
                return
            self.seen = at + len(wait_for.encode())
            self.answers.pop(0)
            self.connection.sendall(text.encode())

    def exit_code(self):
        codes = EXIT_LINE.findall(self.said)
        return int(codes[-1]) if codes else None

    def tail(self):
        lines = self.said.decode(errors="replace").replace("\r", "").splitlines()
        return "\n".join("    " + line for line in lines[-12:]) or "    (nothing)"


def accept(server, machine, deadline, timeout):
    """Bochs connects its serial port when it starts."""
    server.settimeout(0.2)
    while time.monotonic() < deadline:
        try:
            connection, _ = server.accept()
            return connection
        except TimeoutError:
            if machine.poll() is not None:
                return None
    raise TimeIsUp(f"not done after {timeout:.0f} s; Bochs has not even connected its serial port")


def wait(serial, deadline, timeout):
    """Until the machine has ended, or has said its exit code and nothing more for a while."""
    last = time.monotonic()
    with selectors.DefaultSelector() as selector:
        selector.register(serial.connection, selectors.EVENT_READ)
        while True:
            if selector.select(0.2):
                if not serial.receive():
                    return
                last = time.monotonic()
            now = time.monotonic()
            if now > deadline:
                raise TimeIsUp(f"not done after {timeout:.0f} s; the serial port ended with:\n{serial.tail()}")
            if serial.exit_code() is not None and now - last > SILENCE_AT_END:
                return


def panic_line(work, log):
    """What Bochs says of a machine that went wrong: a triple fault, a device that it does not have, an option."""
    said = "".join(path.read_text(errors="replace") for path in (log, work / "out") if path.is_file())
    panics = re.findall(r"^\d+p\[.*?\] (.*)$|>>PANIC<<(.*)$|^(Bochs is not .*)$", said, re.M)
    return " ".join("".join(panics[0]).replace(">>PANIC<<", "").split()) if panics else "no word of why"


def result(serial, why):
    code = serial.exit_code()
    if code is None:
        raise LabError(f"the machine ended without an exit code (Bochs: {why}); its serial port ended with:\n{serial.tail()}")
    if code > 255:
        raise LabError(f"the image gave the exit code {code}, and 255 is the most")
    if serial.answers:
        raise LabError(f"the image never said {serial.answers[0][0]!r}; its serial port ended with:\n{serial.tail()}")
    return code


def run(image, cpus=1, memory=64, timeout=120, model=MODEL, ips=4000000, append="", modules=(), options=(), answers=(),
        stdout=None, log=None):
    """Boots an image; returns its exit code and all that it said (bytes). stdout is a binary file that gets the serial
    port's output at once, log where Bochs's own log is to be kept, with its notes; answers are pairs of a text to wait for
    and a text that is typed then. Raises LabError."""
    check_host(NEEDED)
    kind = kind_of(image)
    deadline = time.monotonic() + timeout
    with tempfile.TemporaryDirectory(prefix="trapeze-bochs-") as directory, socket.create_server(("127.0.0.1", 0)) as server:
        work = Path(directory)
        iso = Path(image).resolve() if kind == "iso" else work / "image.iso"
        if kind != "iso":
            make_iso(image, kind, iso, append, modules)
        log = Path(log).resolve() if log else work / "log"
        (work / "bochsrc").write_text(BOCHSRC.format(
            memory=memory, model=model, cpus=cpus, ips=ips, bios=BIOS, vga_bios=VGA_BIOS, iso=iso, log=log,
            port=server.getsockname()[1], info="report", options="\n".join(options)))
        # Debian's Bochs has its debugger built in, which waits for a command at the start: "continue".
        (work / "commands").write_text("c\n")
        with open(work / "out", "wb") as out, \
                start([BOCHS, "-q", "-f", work / "bochsrc", "-rc", work / "commands"], out, out) as machine:
            try:
                connection = accept(server, machine, deadline, timeout)
                if connection is None:
                    raise LabError(f"Bochs did not start: {panic_line(work, log)}")
                with connection:
                    serial = Serial(connection, stdout, answers)
                    wait(serial, deadline, timeout)
                try:
                    machine.wait(timeout=2)
                except subprocess.TimeoutExpired:
                    pass
            finally:
                machine.kill()
        return result(serial, panic_line(work, log)), bytes(serial.said)


def main():
    parser = argparse.ArgumentParser(prog="bochs-lab", description=__doc__, usage="bochs-lab [OPTION]... IMAGE",
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cpus", type=int, default=1, help="processors of the machine (1)")
    parser.add_argument("--memory", type=int, default=64, metavar="MIB", help="its memory (64)")
    parser.add_argument("--model", default=MODEL, help=f"Bochs's name of the processor ({MODEL})")
    parser.add_argument("--ips", type=int, default=4000000, metavar="N",
                        help="instructions in a second of the machine's time (4000000: short waits in the BIOS)")
    parser.add_argument("--append", default="", metavar="TEXT", help="the kernel's command line")
    parser.add_argument("--module", action="append", default=[], metavar="FILE[ ARGUMENTS]",
                        help="a file for the kernel: a multiboot module, an initrd")
    parser.add_argument("--type", nargs=2, action="append", default=[], metavar=("WAIT", "TEXT"),
                        help="types TEXT and a newline when the image has said WAIT")
    parser.add_argument("--option", action="append", default=[], metavar="LINE", help="another line of Bochs's configuration")
    parser.add_argument("--log", type=Path, metavar="FILE", help="where Bochs's own log is kept")
    parser.add_argument("--only-iso", type=Path, metavar="FILE", help="starts nothing: leaves GRUB's ISO image of a kernel there")
    parser.add_argument("--timeout", type=float, default=120, metavar="SECONDS", help="for all of it (120)")
    parser.add_argument("image", metavar="IMAGE")
    options = parser.parse_args()
    end_at_signals()
    try:
        if options.only_iso:
            check_host(ISO_NEEDED)
            make_iso(options.image, kind_of(options.image), options.only_iso.resolve(), options.append, options.module)
            return 0
        code, _ = run(options.image, options.cpus, options.memory, options.timeout, options.model, options.ips, options.append,
                      options.module, options.option, [(wait_for, text + "\n") for wait_for, text in options.type],
                      sys.stdout.buffer, options.log)
        return code
    except LabError as error:
        print(f"bochs-lab: {error}", file=sys.stderr)
        return error.status
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return LabError.status


if __name__ == "__main__":
    sys.exit(main())
