/*
 * Where things are in a small guest's memory; for C and for guests.S.
 *
 * Owner, thread: constants only.
 */
#ifndef TRAPEZE_VTX_BARE_SMALL_GUEST_LAYOUT_H
#define TRAPEZE_VTX_BARE_SMALL_GUEST_LAYOUT_H

#define GUEST_CODE      0x8000
#define GUEST_DATA      0x20000
#define GUEST_TABLES    0x30000  /* three pages for paging of the guest's own */
#define GUEST_IDT       0x40000  /* 32 gates, and their handlers behind them */
#define GUEST_SIZE      0x200000 /* mapped from the start */
#define GUEST_READ_ONLY 0x200000 /* a page */
#define GUEST_LATE      0x201000 /* a page that the EPT maps only when it is asked for */
#define GUEST_NOWHERE   0xf0000000

#endif
