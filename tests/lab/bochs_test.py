#!/usr/bin/env python3
"""The bootable image (vtx/bare) on Bochs's processors with VT-x: the small guests, the flat guests, Linux; and bochs-lab itself.

usage: tests/lab/bochs_test.py IMAGE [NAME]...

IMAGE is trapeze-bare.elf. With names only the cases whose names begin so are run, and what the machine says is shown.
"""

import re
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import bochs_lab  # noqa: E402
import guest_test  # noqa: E402
from harness import Checks  # noqa: E402
from kvm_lab import HostLacks, LabError, script  # noqa: E402

NO_VTX, USAGE = 3, 126
SUMMARY = re.compile(r"^(\d+) passed, (\d+) failed, (\d+) skipped\r?$", re.M)
FLAT_SECONDS = 60   # of the machine's time, which runs fast while it executes little
FLAT_PATIENCE = 200
# Where the core gives up what other engines do: a device's access that crosses a page.
MAY_END = {"mmio": (guest_test.MONITOR_ERROR,)}
LINUX_PATIENCE = 300
LINUX_IPS = 50000000  # near the true speed, as Linux measures time


class Bochs:
    """Runs the image; remembers where it is and whether to show what it says."""

    def __init__(self, image, show):
        self.image, self.show = image, show

    def run(self, append, **more):
        code, said = bochs_lab.run(self.image, append=append, stdout=sys.stdout.buffer if self.show else None, **more)
        return code, said.decode(errors="replace").replace("\r", "")


# ---- the small guests ----

def test_small_guests(check, bochs):
    """Each test of the image is one here; Bochs's log is the second opinion on what VM entry refuses."""
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory) / "log"
        code, said = bochs.run("test", cpus=2, log=log)
        bochs_says = re.findall(r"VMENTER FAIL: (.*)|VMFAIL: (.*)", log.read_text(errors="replace"))
    found = SUMMARY.findall(said)
    passed, failed, skipped = map(int, found[-1]) if found else (0, 1, 0)
    check.passed += passed
    check.skipped += skipped
    check.that(code == 0 and failed == 0, "the small guests", said)
    check.contains(said, "1 of them entered root mode and left it", "the second processor")
    refused = re.findall(r"^refused:", said, re.M)
    check.that(refused and len(bochs_says) >= len(refused),
               f"the image saw {len(refused)} entries refused, Bochs {len(bochs_says)}", bochs_says)


# ---- processors that cannot do it ----

def test_no_vtx(check, bochs):
    for model, words in (("ryzen", "VT-x"), ("core2_penryn_t9600", "EPT"), ("core_duo_t2400_yonah", "64-bit")):
        code, said = bochs.run("test", model=model)
        check.equal(code, NO_VTX, f"{model}: exit code", said)
        check.contains(said, words, model)


def test_usage(check, bochs):
    for append, words in (("nonsense", "none of: test"), ("linux", "there is no kernel"), ("linux memory=x", "memory=MIB"),
                          ("linux memory=3000", "in one piece")):
        code, said = bochs.run(append)
        check.equal(code, USAGE, f"'{append}': exit code", said)
        check.contains(said, words, append)


# ---- flat guests, as on every other engine ----

def flat_cases(directory):
    """Each guest in each mode, as a module for the image; of those that throw garbage the fastest."""
    for guest in guest_test.GUESTS:
        for mode in guest.modes:
            if guest.name == "ports" or (guest.heavy and mode == "protected"):
                continue
            image = guest_test.assemble(directory, guest.name, guest_test.WIDTHS[mode])
            seconds = 1 if guest.status == guest_test.TIMEOUT else FLAT_SECONDS
            yield guest, mode, f"{image} {guest.name} mode={mode} exit={guest.kvm_status} timeout={seconds}"


def test_flat(check, bochs, policy="shadow"):
    with tempfile.TemporaryDirectory() as directory:
        cases = list(flat_cases(directory))
        _, said = bochs.run(f"flat trap={policy}", modules=[module for _, _, module in cases], timeout=FLAT_PATIENCE)
    for guest, mode, _ in cases:
        found = re.search(rf"^(?:ok|FAILED) +{guest.name} mode={mode} .*: (.*) \(exit code (\d+)\)$", said, re.M)
        if check.that(found, f"{guest.name}, {mode}, trap={policy}: the guest ran", said):
            code = int(found[2])
            may_end = (guest.kvm_status, *guest.may_end, *MAY_END.get(guest.name, ()))
            check.that(code in may_end, f"{guest.name}, {mode}, trap={policy}: {found[0]}", said)


def test_flat_trapped(check, bochs):
    test_flat(check, bochs, "all")


# ---- the walk through one entry and one exit ----

# What depends on where the linker and the allocator put things.
PLACES = {"2000", "2004", "201a", "6c02", "6c0a", "6c16"}
FIELD = re.compile(r"^ +([0-9a-f]{4}  .*?) +([0-9a-f]{4,16})$", re.M)


def test_walk(check, bochs):
    """docs/vt-x.md shows what the image prints."""
    with tempfile.TemporaryDirectory() as directory:
        guest = Path(directory) / "exit5.bin"
        guest.write_bytes(bytes([0xB0, 5, 0xE6, 0xF4]))
        _, said = bochs.run("flat trace=1", modules=[f"{guest} exit5 mode=long exit=5"])
    printed = FIELD.findall(said)
    documented = FIELD.findall((Path(__file__).resolve().parents[2] / "docs" / "vt-x.md").read_text())
    check.that(len(documented) > 30, "the walk has its values", documented)
    for field, value in documented:
        if field[:4] not in PLACES:
            check.that((field, value) in printed, f"docs/vt-x.md: {field} {value}", said)


# ---- Linux ----

def test_linux(check, bochs):
    """Debian's kernel to its shell, which is typed at, and to its end."""
    code, said = bochs.run("linux exits=1 append=console=ttyS0 quiet", memory=256, ips=LINUX_IPS, timeout=LINUX_PATIENCE,
                           modules=[script("get-kernel"), script("make-initramfs")],
                           answers=[("guest# ", "echo $((6 * 7)) in $(uname -s)\n"), ("42 in Linux", "poweroff -f\n")])
    check.equal(code, 0, "Linux: exit code", said)
    check.contains(said, "the guest powered off", "Linux")
    check.contains(said, "42 in Linux", "Linux's shell")


# ---- bochs-lab itself ----

def fails_with(check, what, words, *arguments, **more):
    try:
        bochs_lab.run(*arguments, **more)
        check.that(False, f"{what}: no error")
    except LabError as error:
        check.contains(str(error), words, what)


def test_lab(check, bochs):
    fails_with(check, "a file that is no image", "is no ISO image", __file__)
    fails_with(check, "a file that is not there", "cannot be read", "/nonexistent")
    fails_with(check, "a model that is none", "cpu directive malformed", bochs.image, model="none")
    fails_with(check, "a module that is not there", "there is no module", bochs.image, modules=["/nonexistent"])
    fails_with(check, "an image that never ends", "not done after", bochs.image, append="test", timeout=0.5)
    fails_with(check, "an answer that nobody asked for", "never said", bochs.image, append="nonsense", answers=[("x?y", "z")])


CASES = {"lab": test_lab, "usage": test_usage, "no-vtx": test_no_vtx, "small-guests": test_small_guests, "flat": test_flat,
         "flat-trapped": test_flat_trapped, "walk": test_walk, "linux": test_linux}


def main():
    check = Checks()
    image, wanted = sys.argv[1], sys.argv[2:]
    bochs = Bochs(image, bool(wanted))
    for name, test in CASES.items():
        if wanted and not any(name.startswith(word) for word in wanted):
            continue
        try:
            test(check, bochs)
        except HostLacks as error:
            check.skip(f"{name}: {error}")
        except LabError as error:
            check.that(False, name, error)
    check.finish()


if __name__ == "__main__":
    main()
