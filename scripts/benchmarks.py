"""What scripts/run-benchmarks and scripts/bench-soft have in common: the contenders' command lines, and how one is run.

Trapeze's soft engine and QEMU's TCG get the same kernel, initramfs and kernel command line.
"""
import os
import shutil
import subprocess
import sys
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TRAPEZE = os.path.join(ROOT, "build/release/trapeze")
MEMORY_MIB = 512
STARTED = b"trapeze-init: started"
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def script(name):
    """What a script beside this one prints: the path of what it made."""
    return subprocess.run([os.path.join(ROOT, "scripts", name)], check=True,
                          stdout=subprocess.PIPE, text=True).stdout.strip()


def need_qemu():
    if shutil.which("qemu-system-x86_64") is None:
        sys.exit("qemu-system-x86_64 is not there: apt-get install qemu-system-x86")


def machines(kernel, initramfs, words, cpus=1, engine="soft"):
    """The command lines of the two contenders."""
    append = f"console=ttyS0 quiet panic=-1 {words}"
    trapeze = [TRAPEZE, "run", "--engine", engine, "--memory", f"{MEMORY_MIB}M", "--cpus", str(cpus),
               "--kernel", kernel, "--initrd", initramfs, "--append", append]
    qemu = ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-m", str(MEMORY_MIB),
            "-smp", str(cpus), "-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot",
            "-kernel", kernel, "-initrd", initramfs, "-append", append]
    return {"trapeze": trapeze, "tcg": qemu}


def cpu_seconds(pid):
    """CPU time of a process so far, user and system, all its threads."""
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
        fields = file.read().rpartition(")")[2].split()  # the name may hold spaces; field 3 comes next
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND


def lines_of(command, patience=3600):
    """Runs a machine; gives each line of its console, with the wall-clock and the CPU seconds since its start.

    The machine is killed when the caller stops asking, or after `patience` seconds.
    """
    begin = time.monotonic()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL)
    watchdog = threading.Timer(patience, process.kill)
    watchdog.start()
    rest = b""
    try:
        while chunk := os.read(process.stdout.fileno(), 65536):
            wall, cpu = time.monotonic() - begin, cpu_seconds(process.pid)
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                yield line.rstrip(b"\r"), wall, cpu
    finally:
        watchdog.cancel()
        process.kill()
        process.stdout.close()
        process.wait()


def run_until(command, marks):
    """Runs a machine; returns for each mark the wall-clock and the CPU seconds when it was seen, and the output."""
    output, seen = [], {}
    for line, wall, cpu in lines_of(command):
        output.append(line)
        for mark in marks:
            if mark not in seen and mark in line:
                seen[mark] = (wall, cpu)
        if len(seen) == len(marks):
            break
    text = b"\n".join(output)
    if len(seen) != len(marks):
        sys.exit(f"{command[0]} ended without saying {marks}:\n{text.decode(errors='replace')}")
    return seen, text
