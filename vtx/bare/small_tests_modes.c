/* Guests start in each mode, and change modes by themselves. */
#include "vtx/bare/small_guests.h"

#define MSW_PE 0x01u

SMALL_GUEST_CODE(any_mode);
SMALL_GUEST_CODE(real_to_long);
SMALL_GUEST_CODE(pae);

static void check_mode(struct small_guest *guest, uint32_t pe)
{
    small_guest_start(guest);
    uint32_t word = small_guest_out(guest, 0x10);
    small_test_check(guest->test, (word & MSW_PE) == pe, "CR0.PE is that of the mode");
    small_guest_expect_out(guest, 0x11, 0x5a);
    small_guest_expect(guest, EXIT_HLT);
}

static void test_real(struct small_guest *guest)
{
    check_mode(guest, 0);
}

static void test_protected(struct small_guest *guest)
{
    check_mode(guest, MSW_PE);
}

static void test_real_to_long(struct small_guest *guest)
{
    small_guest_start(guest);
    for (const char *step = "rpcl"; *step != 0; step++) { /* real … compatibility, long */
        small_guest_expect_out(guest, 0x10, (uint8_t)*step);
    }
    small_guest_expect(guest, EXIT_HLT);
}

static void test_pae(struct small_guest *guest)
{
    small_guest_start(guest);
    small_guest_expect_out(guest, 0x10, 0x12345678);
    small_guest_expect(guest, EXIT_HLT);
}

static const struct small_test_entry entries[] = {
    {"mode-real", SMALL_GUEST(any_mode), BOOT_MODE_REAL, test_real, NULL},
    {"mode-protected", SMALL_GUEST(any_mode), BOOT_MODE_PROTECTED, test_protected, NULL},
    {"mode-paged", SMALL_GUEST(any_mode), BOOT_MODE_PAGED, test_protected, NULL},
    {"mode-pae", SMALL_GUEST(pae), BOOT_MODE_PROTECTED, test_pae, NULL},
    {"mode-long", SMALL_GUEST(any_mode), BOOT_MODE_LONG, test_protected, NULL},
    {"mode-real-to-long", SMALL_GUEST(real_to_long), BOOT_MODE_REAL, test_real_to_long, NULL},
};

const struct small_test_table small_tests_modes = {entries, sizeof(entries) / sizeof(entries[0])};
