#!/usr/bin/env python3
"""Fails if code that is to link freestanding later calls anything but itself and memory functions.

usage: tests/freestanding_symbols_test.py [COMPILER …]

Compiles devices, the entry checks and accesses to device memory with -ffreestanding in several ways, and looks at what the objects leave undefined.
"""

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ALLOWED = {"memcpy", "memset", "memmove", "memcmp"}
# gcc calls helpers of its own library for some arithmetic at some levels; none may be needed.
LEVELS = ["-O0", "-O2", "-Os"]
# Each part is closed in itself.
ENTRY = "src/base/text.c src/x86/entry_*.c"
PARTS = {
    "devices": "src/chipset/*.c",
    "entry checks": ENTRY,
    "device memory": "src/x86/mmio_*.c",
    "VT-x core": "vtx/core/*.[cS] src/x86/c*.c src/x86/mmio_*.c src/x86/paging.c src/x86/state.c src/x86/vm*.c "
                 "src/x86/decode/*.c " + ENTRY,
}


def symbols(objects, kind):
    """Names that `nm` lists for objects; kind is --undefined-only or --defined-only."""
    output = subprocess.run(["nm", "--format=posix", kind, *objects], check=True, capture_output=True, text=True).stdout
    return {line.split()[0] for line in output.splitlines() if len(line.split()) >= 2 and not line.endswith("]:")}


def check(compiler, level, part, directory):
    """What is wrong with one way of compiling a part, as a list of sentences."""
    objects = []
    for source in sorted(path for pattern in PARTS[part].split() for path in ROOT.glob(pattern)):
        target = str(Path(directory) / (str(source.relative_to(ROOT)).replace("/", "_") + ".o"))
        subprocess.run([*compiler, "-std=gnu17", level, "-ffreestanding", "-fno-stack-protector", "-U_FORTIFY_SOURCE",
                        "-fno-pic", "-mgeneral-regs-only", "-I", str(ROOT / "src"), "-I", str(ROOT), "-c", str(source),
                        "-o", target], check=True)
        objects.append(target)
    if not objects:
        return [f"{part}: there are no sources to look at"]
    wanted = symbols(objects, "--undefined-only") - symbols(objects, "--defined-only") - ALLOWED
    return [f"{' '.join(compiler)} {level}: {part} needs {name}" for name in sorted(wanted)]


def main():
    compiler = sys.argv[1:] or shlex.split(os.environ.get("CC", "cc"))
    problems, passed = [], 0
    ways = [(part, level) for part in PARTS for level in LEVELS]
    for part, level in ways:
        with tempfile.TemporaryDirectory() as directory:
            found = check(compiler, level, part, directory)
            problems += found
            passed += not found
    for problem in problems:
        print(problem)
    print(f"{passed} passed, {len(ways) - passed} failed, 0 skipped")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
