/*
 * How the image ends.
 *
 * Owner, thread: any processor's; the machine stops.
 */
#ifndef TRAPEZE_VTX_BARE_FINISH_H
#define TRAPEZE_VTX_BARE_FINISH_H

/* Exit codes besides those of a guest (docs/bare-metal.md). */
enum finish_code {
    FINISH_GOOD = 0,
    FINISH_TEST_FAILED = 1,
    FINISH_USAGE = 126,
    FINISH_NO_VTX = 3, /* this machine cannot run guests */
    FINISH_IMAGE_FAILED = 125
};

/*
 * Prints "exit code N" on a line of its own, asks what machine this is to end (Bochs by its
 * shutdown port, Trapeze and QEMU by the debug-exit port), and halts where nothing listens.
 */
_Noreturn void finish(int code);

#endif
