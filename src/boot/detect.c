/* Tells kernels apart, and tells people what it is that they named instead of a kernel. */
#include <errno.h>
#include <string.h>

#include "boot/bytes.h"
#include "boot/bzimage.h"
#include "boot/elf.h"
#include "boot/kernel_file.h"
#include "boot/multiboot.h"
#include "boot/pvh.h"

#define SIGNATURE_MAX 8

/* Files that are often given by mistake. */
struct signature {
    uint16_t offset;
    uint8_t length;
    uint8_t bytes[SIGNATURE_MAX];
    const char *what; /* "is …" */
};

static const struct signature not_kernels[] = {
    {0, 2, {0x1f, 0x8b}, "compressed by gzip: decompress it (gzip -dc) and name the result"},
    {0, 6, {0xfd, '7', 'z', 'X', 'Z', 0}, "compressed by xz: decompress it (xz -dc) first"},
    {0, 4, {0x28, 0xb5, 0x2f, 0xfd}, "compressed by zstd: decompress it (zstd -dc) first"},
    {0, 4, {0x04, 0x22, 0x4d, 0x18}, "compressed by lz4: decompress it (lz4 -dc) first"},
    {0, 4, {0x02, 0x21, 0x4c, 0x18}, "compressed by lz4: decompress it (lz4 -dc) first"},
    {0, 3, {'B', 'Z', 'h'}, "compressed by bzip2: decompress it (bzip2 -dc) first"},
    {0, 5, {0x5d, 0, 0, 0, 0}, "compressed by lzma: decompress it (lzma -dc) first"},
    {0, 6, {'0', '7', '0', '7', '0', '1'}, "a cpio archive: give it as the initrd"},
    {0, 4, {'Q', 'F', 'I', 0xfb}, "a qcow2 disk image: name a kernel file"},
    {0, 7, {'!', '<', 'a', 'r', 'c', 'h', '>'}, "a package or library archive: unpack it first"},
    {0x38, 4, {'A', 'R', 'M', 'd'}, "a kernel for ARM: use one for x86-64"},
    {4, 4, {'z', 'i', 'm', 'g'}, "an EFI image with a compressed kernel: extract the kernel"},
};

static int refuse(const struct kernel_file *file, struct error *error)
{
    uint8_t start[64] = {0};
    size_t there = file->length < sizeof(start) ? (size_t)file->length : sizeof(start);
    int status = kernel_file_read(file, 0, start, there, error);
    if (status != 0) {
        return status;
    }
    for (size_t i = 0; i < sizeof(not_kernels) / sizeof(not_kernels[0]); i++) {
        const struct signature *signature = &not_kernels[i];
        if (memcmp(start + signature->offset, signature->bytes, signature->length) == 0) {
            return error_set(error, ENOEXEC, "the kernel '%s' is %s", file->path, signature->what);
        }
    }
    return error_set(error, ENOEXEC,
                     "'%s' is no kernel that can be started: give a Linux bzImage (vmlinuz), an "
                     "ELF kernel with a PVH entry, or a multiboot image",
                     file->path);
}

static int detect_elf(const struct kernel_file *file, enum boot_protocol *protocol,
                      struct error *error)
{
    /* Multiboot images with address fields need no valid ELF header, so this goes first. */
    bool is_multiboot = multiboot_recognise(file);
    struct elf_image image;
    uint64_t entry;

    int status = elf_parse(file, &image, is_multiboot ? NULL : error);
    if (status == 0) {
        status = pvh_find_entry(file, &image, &entry, is_multiboot ? NULL : error);
    }
    if (status > 0) {
        *protocol = BOOT_PROTOCOL_PVH;
        return 0;
    }
    if (is_multiboot) {
        *protocol = BOOT_PROTOCOL_MULTIBOOT;
        return 0;
    }
    if (status < 0) {
        return status;
    }
    return error_set(error, ENOEXEC,
                     "the ELF file '%s' has neither a PVH entry note nor a multiboot header: use "
                     "the bzImage (vmlinuz), or build Linux with CONFIG_PVH=y",
                     file->path);
}

int boot_detect(const struct kernel_file *file, enum boot_protocol *protocol, struct error *error)
{
    if (bzimage_recognise(file)) {
        *protocol = BOOT_PROTOCOL_BZIMAGE;
        return 0;
    }
    if (elf_recognise(file)) {
        return detect_elf(file, protocol, error);
    }
    if (multiboot_recognise(file)) {
        *protocol = BOOT_PROTOCOL_MULTIBOOT;
        return 0;
    }
    return refuse(file, error);
}
