/*
 * A guest whose page tables the test can change: the first 4 MByte as they are, and from 1 GByte on
 * a window of 512 pages onto frames of the test's choice. The upper half has the same tables.
 *
 * Owner, thread: as struct soft_guest.
 */
#ifndef TRAPEZE_TESTS_SOFT_GUEST_WINDOW_H
#define TRAPEZE_TESTS_SOFT_GUEST_WINDOW_H

#include "soft_guest.h"

#define TABLES UINT64_C(0x310000) /* PML4, page directory pointers, two directories, a table */
#define TABLE  UINT64_C(0x314000) /* the window's */
#define FRAMES UINT64_C(0x380000)
#define PAGE   UINT64_C(0x1000)
#define ENTRY  UINT64_C(0x67) /* present, writable, user, accessed, dirty */
#define LARGE  UINT64_C(0x80)
#define WINDOW UINT64_C(0x40000000)

static inline void soft_guest_window_map(struct soft_guest *guest, unsigned int page,
                                         unsigned int frame)
{
    soft_guest_write(guest, TABLE + 8 * page, (FRAMES + frame * PAGE) | ENTRY, 8);
}

/* Opens a guest in 64-bit mode; nothing is in the window yet. */
static inline bool soft_guest_window_open(struct soft_guest *guest)
{
    if (!soft_guest_open(guest, SOFT_GUEST_64)) {
        return false;
    }
    soft_guest_write(guest, TABLES, (TABLES + PAGE) | ENTRY, 8);
    soft_guest_write(guest, TABLES + 511 * 8, (TABLES + PAGE) | ENTRY, 8);
    soft_guest_write(guest, TABLES + PAGE, (TABLES + 2 * PAGE) | ENTRY, 8);
    soft_guest_write(guest, TABLES + PAGE + 8, (TABLES + 3 * PAGE) | ENTRY, 8);
    soft_guest_write(guest, TABLES + 2 * PAGE, ENTRY | LARGE, 8);
    soft_guest_write(guest, TABLES + 2 * PAGE + 8, UINT64_C(0x200000) | ENTRY | LARGE, 8);
    soft_guest_write(guest, TABLES + 3 * PAGE, TABLE | ENTRY, 8);
    guest->state.cr3 = TABLES;
    return true;
}

#endif
