/*
 * What src/base, src/vm and src/boot offer the shared code, done without an operating system.
 *
 * Purpose: services.c has the functions of base/error.h, base/log.h, base/clock.h and
 *          base/event_loop.h that the linked code calls; module_file.c those of
 *          boot/kernel_file.h, guest_memory.c those of vm/guestmem.h. This header is for the image
 *          itself.
 * Owner:   the image.
 * Thread:  the first processor.
 */
#ifndef TRAPEZE_VTX_BARE_SERVICES_H
#define TRAPEZE_VTX_BARE_SERVICES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/event_loop.h"

/* Measures the TSC against the PIT, some 20 ms, and reads the machine's clock of day. */
void services_init(void);

/* Nanoseconds from 1970 to when clock_now_ns was 0. */
uint64_t services_boot_time_ns(void);

/*
 * The one event loop there is: a deadline, for which the machine's timer interrupts. Whoever was
 * interrupted calls this; it runs what is due and sets the timer anew.
 */
void services_run_deadline(struct event_loop *loop);
struct event_loop *services_event_loop(void);

/* Shows log_info and log_debug, too. */
void services_be_verbose(void);

#endif
