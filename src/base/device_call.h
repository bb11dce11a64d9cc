/*
 * Calls into a device file behind which a guest runs, and the signals that come meanwhile.
 *
 * Purpose: what the engines share that have their guest in the kernel. Most calls must not notice a
 *          signal. The one that runs the guest must, as a signal is how another thread ends it: the
 *          flag in the page that kernel and program share covers the time before the system call,
 *          the signal the time within it. Whichever comes first, no kick is lost.
 * Owner:   struct run_kick lies in the engine's vCPU.
 * Thread:  noted at each function.
 */
#ifndef TRAPEZE_BASE_DEVICE_CALL_H
#define TRAPEZE_BASE_DEVICE_CALL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* ioctl that is repeated when a signal interrupts it; the result or -errno. Any thread. */
int device_ioctl(int fd, unsigned long request, void *argument);

struct run_kick {
    pthread_t owner; /* the thread that runs the guest, */
    pid_t thread;    /* as pthreads and as the kernel know it */
    /* In the shared page: not 0 makes the kernel complete the last exit and come back at once. */
    uint8_t *immediate_exit;
    atomic_bool kicked; /* a kick that no run has reported yet */
};

/* The calling thread will run the guest. immediate_exit is set once the page is there. */
void run_kick_prepare(struct run_kick *kick);

/* Makes the kernel leave a run, or not stay in the next one; no run reports it. Any thread. */
void run_kick_interrupt(struct run_kick *kick);

/* The same, and one run reports it. Any thread; async-signal-safe. */
void run_kick_send(struct run_kick *kick);

/*
 * Before the reasons for an interruption are looked at: one that comes after the look sets the flag
 * again, and the kernel reads it last. True if a kick waits: even so the kernel must be entered, as
 * it completes the last exit, and comes back. The owner.
 */
static inline bool run_kick_begin(struct run_kick *kick)
{
    __atomic_store_n(kick->immediate_exit, 0, __ATOMIC_SEQ_CST);
    bool kicked = atomic_exchange(&kick->kicked, false);
    if (kicked) {
        __atomic_store_n(kick->immediate_exit, 1, __ATOMIC_SEQ_CST);
    }
    return kicked;
}

/* The run came back interrupted; begun: what run_kick_begin said. True: by a kick. The owner. */
static inline bool run_kick_ended_it(struct run_kick *kick, bool begun)
{
    return begun || atomic_exchange(&kick->kicked, false);
}

/* The run came back with something to serve: a kick that it began with is the next one's. */
static inline void run_kick_keep(struct run_kick *kick, bool begun)
{
    if (begun) {
        atomic_store(&kick->kicked, true);
    }
}

#endif
