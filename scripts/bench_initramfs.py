"""Makes the initramfs of scripts/bench-soft: Debian's programs with their libraries, and programs of our own.

What is packed lies unpacked in build/guest/bench-tree as well, so that the host can run the same programs (chroot).
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

from benchmarks import ROOT

GUEST = os.path.join(ROOT, "build/guest")
TREE = os.path.join(GUEST, "bench-tree")
ARCHIVE = os.path.join(GUEST, "bench.cpio")
SOURCES = os.path.join(ROOT, "bench/guest")
LIBRARIES = "lib/x86_64-linux-gnu"
PROGRAMS = "bench/bin"

# Package -> the programs taken from it.
PACKAGES = {
    "bc": ["usr/bin/bc"],
    "busybox-static": [],  # goes to /bin
    "coreutils": ["usr/bin/sort"],
    "cpp-12": ["usr/lib/gcc/x86_64-linux-gnu/12/cc1"],
    "gzip": ["bin/gzip"],
    "mawk": ["usr/bin/mawk"],
    "openssl": ["usr/bin/openssl"],
    "perl-base": ["usr/bin/perl"],
    "sqlite3": ["usr/bin/sqlite3"],
    "stress-ng": ["usr/bin/stress-ng"],
    "xz-utils": ["usr/bin/xz"],
    "zstd": ["usr/bin/zstd"],
}
# Where the libraries come from that those programs are linked with, and the libraries' own.
LIBRARY_PACKAGES = """
libc6 libcrypt1 libgmp10 libisl23 liblz4-1 liblzma5 libmpc3 libmpfr6 libreadline8 libsqlite3-0 libssl3 libtinfo6
libzstd1 zlib1g
libapparmor1 libbsd0 libdrm2 libegl1 libexpat1 libffi8 libgbm1 libgles2 libglvnd0 libipsec-mb1 libjpeg62-turbo
libjudydebian1 libkmod2 libmd0 libsctp1 libwayland-server0 libxxhash0
""".split()
# Our own programs -> what gcc needs to be told besides -O2 -static.
OWN_PROGRAMS = {"clockrun": [], "hash": [], "system": [], "vector": ["-mavx2", "-mfma"]}
OWN_FILES = ["words.pl", "tables.sql", "mandelbrot.awk"]
COMPILED_FILE = "src/x86/decode/decode.c"


def run(*command, **more):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, **more).stdout


def package(name):
    return run(os.path.join(ROOT, "scripts/get-package"), name, text=True).strip()


def needed_libraries(path):
    return re.findall(r"\(NEEDED\).*\[(.*)\]", run("readelf", "-d", path, text=True))


def find_library(name, roots):
    for root in roots:
        for directory in (LIBRARIES, "usr/" + LIBRARIES):
            path = os.path.join(root, directory, name)
            if os.path.lexists(path):
                return os.path.realpath(path)
    sys.exit(f"bench: no package of scripts/bench_initramfs.py has the library {name}")


def install(source, *destination):
    path = os.path.join(TREE, *destination)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    shutil.copy(source, path)
    return path


def install_libraries(programs):
    """Everything that the programs are linked with, and what that is linked with."""
    roots = [package(name) for name in LIBRARY_PACKAGES]
    loader = "ld-linux-x86-64.so.2"
    install(find_library(loader, roots), "lib64", loader)
    pending, done = list(programs), {loader}
    while pending:
        for name in needed_libraries(pending.pop()):
            if name not in done:
                done.add(name)
                pending.append(install(find_library(name, roots), LIBRARIES, name))


def install_busybox():
    busybox = install(os.path.join(package("busybox-static"), "bin/busybox"), "bin/busybox")
    for applet in run(busybox, "--list", text=True).split():
        link = os.path.join(TREE, "bin", applet)
        if not os.path.lexists(link):
            os.symlink("busybox", link)


def install_own():
    for name, options in OWN_PROGRAMS.items():
        run("gcc", "-std=gnu17", "-O2", *options, "-static", "-o", os.path.join(TREE, PROGRAMS, name),
            os.path.join(SOURCES, name + ".c"))
    for name in OWN_FILES:
        install(os.path.join(SOURCES, name), "bench", name)
    os.chmod(install(os.path.join(SOURCES, "init"), "init"), 0o755)


def make_data(perl):
    """Inputs: /bench/text (Perl's library), /bench/data (text and machine code), /bench/file.i (a file to compile)."""
    library = os.path.join(package("perl-base"), "usr", LIBRARIES, "perl-base")
    shutil.copytree(library, os.path.join(TREE, "usr", LIBRARIES, "perl-base"))
    paths = sorted(os.path.join(directory, name) for directory, _, names in os.walk(library)
                   for name in names if name.endswith((".pm", ".pl")))
    with open(os.path.join(TREE, "bench/text"), "wb") as text:
        for path in paths:
            with open(path, "rb") as file:
                text.write(file.read())
    with open(os.path.join(TREE, "bench/data"), "wb") as data:
        for path in (os.path.join(TREE, "bench/text"), perl):
            with open(path, "rb") as file:
                data.write(file.read())
    run("gcc", "-std=gnu17", "-E", "-Isrc", COMPILED_FILE, "-o", os.path.join(TREE, "bench/file.i"), cwd=ROOT)


def pack(directory, archive):
    """A newc cpio archive of a directory, uncompressed: unpacking is not what is measured."""
    names = sorted(os.path.relpath(os.path.join(top, name), directory)
                   for top, directories, files in os.walk(directory) for name in directories + files)
    with open(archive, "wb") as file:
        subprocess.run(["cpio", "--quiet", "-o", "-H", "newc", "-R", "0:0"], check=True, cwd=directory,
                       input="\n".join(names).encode(), stdout=file)


def is_newer_than_inputs(archive):
    inputs = [os.path.join(SOURCES, name) for name in os.listdir(SOURCES)]
    inputs += [os.path.abspath(__file__), os.path.join(ROOT, COMPILED_FILE)]
    return os.path.isdir(TREE) and os.path.exists(archive) and all(
        os.path.getmtime(archive) > os.path.getmtime(path) for path in inputs)


def make_base():
    """Makes build/guest/bench.cpio and the tree beside it, where they are not there or out of date."""
    if is_newer_than_inputs(ARCHIVE):
        return
    print("bench: making the initramfs", file=sys.stderr)
    shutil.rmtree(TREE, ignore_errors=True)
    for directory in ("bin", "dev", "proc", "sys", "tmp", "etc", PROGRAMS, LIBRARIES):
        os.makedirs(os.path.join(TREE, directory))
    programs = {}
    for name, paths in PACKAGES.items():
        for path in paths:
            base = os.path.basename(path)
            programs[base] = install(os.path.join(package(name), path), PROGRAMS, base)
    install_libraries(programs.values())
    install_busybox()
    install_own()
    make_data(programs["perl"])
    with open(os.path.join(TREE, "etc/passwd"), "w", encoding="ascii") as file:
        file.write("root:x:0:0:root:/tmp:/bin/sh\n")
    pack(TREE, ARCHIVE + ".new")
    os.replace(ARCHIVE + ".new", ARCHIVE)


def with_set(script, archive):
    """Writes an initramfs that is the base and /bench/set, the script its init runs."""
    with tempfile.TemporaryDirectory() as directory:
        os.mkdir(os.path.join(directory, "bench"))
        with open(os.path.join(directory, "bench/set"), "w", encoding="ascii") as file:
            file.write(script)
        pack(directory, archive + ".set")
    with open(archive, "wb") as file:
        for part in (ARCHIVE, archive + ".set"):
            with open(part, "rb") as source:
                shutil.copyfileobj(source, file)
    os.unlink(archive + ".set")
