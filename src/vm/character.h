/*
 * Characters between a device (UART, console) and whatever is outside (terminal, file, socket).
 *
 * Purpose: two small structs; the device knows no files, the backend no registers.
 * Owner:   each side embeds its own; the machine connects them before the VM starts.
 * Thread:  all four functions under the VM's device lock. Freestanding.
 *
 * Input is never lost: a backend asks room() and hands over no more than that; what remains it
 * keeps (or leaves unread in the pipe) until room_available() tells it to ask again.
 */
#ifndef TRAPEZE_VM_CHARACTER_H
#define TRAPEZE_VM_CHARACTER_H

#include <stddef.h>
#include <stdint.h>

/* What a backend offers a device. */
struct character_backend {
    /*
     * Takes as many bytes as it can without blocking; returns how many (0..length). It may keep
     * them in a buffer of its own for a while. A backend whose file is gone takes everything. The
     * device tries again later with what was not taken. NULL: everything vanishes.
     */
    size_t (*write)(void *context, const uint8_t *bytes, size_t length);
    /* There is room for input again after there was none; NULL if the backend has no input. */
    void (*room_available)(void *context);
    void *context;
};

/* What a device offers a backend. */
struct character_device {
    size_t (*room)(void *context); /* bytes that receive would take now */
    void (*receive)(void *context, const uint8_t *bytes, size_t length); /* length <= room */
    void *context;
};

#endif
