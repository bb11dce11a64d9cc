#!/bin/sh
# Builds a guest image: code that runs on bare metal, entered in real mode at its first byte.
#   build.sh OUTPUT BITS SOURCES -- COMPILER...
# With DISK=1 in the environment the image becomes a bootable disk, for machines with a BIOS.
set -e
output=$1
bits=$2
shift 2
sources=
while [ "$1" != -- ]; do
    sources="$sources $1"
    shift
done
shift
here=$(dirname "$0")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
emulation=elf_x86_64
[ "$bits" = 32 ] && emulation=elf_i386
flags="-m$bits -std=gnu17 -O1 -Wall -Wextra -Werror -ffreestanding -fno-pie -fno-pic -mno-red-zone
       -mgeneral-regs-only -fno-stack-protector -fno-asynchronous-unwind-tables
       -fcf-protection=none -fno-builtin"
objects=
for source in $sources; do
    object=$work/$(basename "$source").o
    "$@" $flags -c "$source" -o "$object"
    objects="$objects $object"
done
ld -m $emulation -Ttext=0x10000 -z max-page-size=16 --oformat binary -e start \
   -o "$output" $objects
if [ "$DISK" = 1 ]; then
    "$@" -m32 -c "$here/boot_sector.S" -o "$work/boot.o"
    ld -m elf_i386 -Ttext=0x7c00 --oformat binary -e _start -o "$work/boot" "$work/boot.o"
    cat "$work/boot" "$output" > "$work/disk"
    truncate -s 10321920 "$work/disk"
    mv "$work/disk" "$output"
fi
