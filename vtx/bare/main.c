/*
 * Trapeze without an operating system: a type-1 monitor.
 *
 * Purpose: enters root mode on the machine it was booted on, and runs what the command line asks
 *          for: the small guests, or Linux.
 * Thread:  the first processor. docs/bare-metal.md tells how it is used.
 */
#include <errno.h>
#include <string.h>

#include "vtx/bare/boot_information.h"
#include "vtx/bare/command_line.h"
#include "vtx/bare/console.h"
#include "vtx/bare/descriptors.h"
#include "vtx/bare/finish.h"
#include "vtx/bare/guest_machine.h"
#include "vtx/bare/heap.h"
#include "vtx/bare/machine_interrupts.h"
#include "vtx/bare/module_file.h"
#include "vtx/bare/pages.h"
#include "vtx/bare/root_mode.h"
#include "vtx/bare/services.h"
#include "vtx/bare/small_guests.h"

#define SECOND             UINT64_C(1000000000)
#define MIB                UINT64_C(0x100000)
#define LARGE_PAGE         (2 * MIB)
#define OWN_MEMORY         (4 * MIB)   /* kept for tables and the heap */
#define DEFAULT_MEMORY_MAX (512 * MIB) /* of a guest whose memory nobody named */
#define FLAT_MEMORY        (16 * MIB)
#define FLAT_ADDRESS       0x8000
#define FLAT_TIMEOUT_S     20 /* unless the module's line has timeout=SECONDS */

extern const uint8_t image_begin[], image_end[]; /* image.ld */

/* All that there is one of; too large for a stack. */
static struct {
    struct boot_information information;
    struct pages pages;
    struct root_mode root;
    struct guest_machine guest;
} image;

static _Noreturn void fail(int code, const struct error *error)
{
    print("trapeze-bare: %s\n", error->text);
    finish(code);
}

static void print_machine(void)
{
    const struct vtx_capabilities *capabilities = &image.root.capabilities;
    uint64_t bytes = pages_left(&image.pages);
    print(
        "trapeze-bare: in root mode: VMCS revision 0x%x, EPT pages of 4 KiB%s%s, VPID %s, %lu MiB "
        "of memory\n",
        capabilities->revision, capabilities->has_ept_2m ? ", 2 MiB" : "",
        capabilities->has_ept_1g ? ", 1 GiB" : "", capabilities->has_vpid ? "yes" : "no",
        bytes / MIB);
}

/* ---- guests with a PC around them ---- */

/* Runs a loaded machine to its end and prints the outcome; returns the exit code. */
static int run_guest(const struct bare_options *options)
{
    char sentence[256];
    guest_machine_run(&image.guest, options->timeout * SECOND);
    int code = guest_machine_outcome(&image.guest, sentence, sizeof(sentence));
    if (options->exits) {
        guest_machine_print_exits(&image.guest);
    }
    print("trapeze-bare: %s\n", sentence);
    return code;
}

static struct guest_options guest_options_of(const struct bare_options *options, uint64_t memory,
                                             struct error *error)
{
    struct guest_options guest = {
        .memory = memory,
        .piece = pages_allocate_piece(&image.pages, memory, LARGE_PAGE),
        .policy = options->trap_all ? VTX_TRAP_ALL : VTX_TRAP_SHADOW,
        .to_show = options->trace,
    };
    if (guest.piece == NULL) {
        error_set(error, ENOMEM,
                  "the machine has no %lu MiB in one piece for the guest: give it more, or the "
                  "guest less (memory=MIB)",
                  memory / MIB);
        fail(FINISH_USAGE, error);
    }
    return guest;
}

static int run_linux(const struct bare_options *options)
{
    struct error error = {{0}};
    uint64_t left = pages_left(&image.pages);
    uint64_t memory = options->memory_mib * MIB;
    if (memory == 0) {
        memory = left > OWN_MEMORY + LARGE_PAGE ? left - OWN_MEMORY - LARGE_PAGE : 0;
        memory = memory < DEFAULT_MEMORY_MAX ? memory : DEFAULT_MEMORY_MAX;
    }
    memory &= ~(LARGE_PAGE - 1);
    struct guest_options guest = guest_options_of(options, memory, &error);
    struct boot_request request = {.kernel = module_file_name(0),
                                   .initrd = module_file_name(1),
                                   .command_line = options->append};
    if (request.kernel == NULL) {
        error_set(&error, EINVAL,
                  "there is no kernel: give the boot loader one as the first module");
        fail(FINISH_USAGE, &error);
    }
    if (!guest_machine_create(&image.guest, &image.root, &guest, &error) ||
        !guest_machine_load(&image.guest, &request, &error)) {
        fail(FINISH_IMAGE_FAILED, &error);
    }
    print("trapeze-bare: a guest with %lu MiB of memory starts\n", memory / MIB);
    return run_guest(options);
}

static const char *const mode_names[] = {
    [BOOT_MODE_REAL] = "real",
    [BOOT_MODE_PROTECTED] = "protected",
    [BOOT_MODE_PAGED] = "paged",
    [BOOT_MODE_LONG] = "long",
};

static enum boot_mode mode_of(const char *name)
{
    for (unsigned int i = 0; i < sizeof(mode_names) / sizeof(mode_names[0]); i++) {
        if (strcmp(name, mode_names[i]) == 0) {
            return (enum boot_mode)i;
        }
    }
    return BOOT_MODE_REAL;
}

/* The number of name=NUMBER in a module's line. */
static unsigned int number_of(const char *line, const char *name, unsigned int otherwise)
{
    char text[16];
    unsigned int number = otherwise;
    command_line_value(line, name, text, sizeof(text));
    command_line_number(text, 1000, &number);
    return number;
}

/* One flat image, as its module's line wants it. True if it ended as expected. */
static bool run_flat(unsigned int index, const struct guest_options *guest)
{
    const char *line = image.information.modules[index].line;
    struct error error = {{0}};
    char mode[16];
    char sentence[256];
    command_line_value(line, "mode", mode, sizeof(mode));
    struct boot_request request = {.kernel = module_file_name(index),
                                   .protocol = BOOT_PROTOCOL_FLAT,
                                   .flat_mode = mode_of(mode),
                                   .flat_address = FLAT_ADDRESS};
    memset(guest->piece, 0, guest->memory);
    if (!guest_machine_create(&image.guest, &image.root, guest, &error) ||
        !guest_machine_load(&image.guest, &request, &error)) {
        print("FAILED  %s: %s\n", line, error.text);
        return false;
    }
    guest_machine_run(&image.guest, number_of(line, "timeout", FLAT_TIMEOUT_S) * SECOND);
    int code = guest_machine_outcome(&image.guest, sentence, sizeof(sentence));
    guest_machine_destroy(&image.guest);
    bool good = code == (int)number_of(line, "exit", 0);
    print("%s  %s: %s (exit code %d)\n", good ? "ok    " : "FAILED", line, sentence, code);
    return good;
}

static int run_flats(const struct bare_options *options)
{
    struct error error = {{0}};
    struct guest_options guest = guest_options_of(options, FLAT_MEMORY, &error);
    unsigned int passed = 0;
    for (unsigned int i = 0; i < image.information.module_count; i++) {
        passed += run_flat(i, &guest);
    }
    unsigned int failed = image.information.module_count - passed;
    print("%u passed, %u failed, 0 skipped\n", passed, failed);
    return failed == 0 ? FINISH_GOOD : FINISH_TEST_FAILED;
}

static int run_tests(const struct bare_options *options)
{
    return small_guests_run(&image.root, options->name) ? FINISH_GOOD : FINISH_TEST_FAILED;
}

/* ---- the beginning ---- */

/* Called by start.S. */
_Noreturn void bare_main(uint32_t magic, uint32_t address);

void bare_main(uint32_t magic, uint32_t address)
{
    struct bare_options options;
    struct error error = {{0}};
    console_init();
    descriptors_load(0);
    if (!boot_information_read(magic, address, &image.information)) {
        error_set(&error, EINVAL, "the boot loader gave no memory map: boot by multiboot or PVH");
        fail(FINISH_USAGE, &error);
    }
    pages_init(&image.pages, &image.information,
               (struct memory_range){(uint64_t)image_begin, (uint64_t)image_end});
    heap_init(&image.pages);
    module_files_init(&image.information);
    if (!command_line_parse(image.information.command_line, &options, &error)) {
        fail(FINISH_USAGE, &error);
    }
    machine_interrupts_init();
    services_init();
    if (options.verbose) {
        services_be_verbose();
    }
    if (root_mode_enter(&image.root, &image.pages, &error) != VTX_OK) {
        fail(FINISH_NO_VTX, &error);
    }
    print_machine();
    if (options.command == BARE_DEFAULT) {
        options.command = image.information.module_count != 0 ? BARE_LINUX : BARE_TEST;
    }
    int code = options.command == BARE_LINUX  ? run_linux(&options)
               : options.command == BARE_FLAT ? run_flats(&options)
                                              : run_tests(&options);
    root_mode_leave(&image.root);
    finish(code);
}
