#include "base/device_call.h"

#include <errno.h>
#include <sys/ioctl.h>

#include "base/threads.h"

int device_ioctl(int fd, unsigned long request, void *argument)
{
    int result;
    do {
        result = ioctl(fd, request, argument);
    } while (result < 0 && errno == EINTR);
    return result < 0 ? -errno : result;
}

void run_kick_prepare(struct run_kick *kick)
{
    kick->owner = pthread_self();
    kick->thread = thread_id();
    thread_prepare_kicks();
}

void run_kick_interrupt(struct run_kick *kick)
{
    __atomic_store_n(kick->immediate_exit, 1, __ATOMIC_SEQ_CST);
    if (!pthread_equal(pthread_self(), kick->owner)) {
        thread_kick(kick->thread);
    }
}

void run_kick_send(struct run_kick *kick)
{
    atomic_store(&kick->kicked, true);
    run_kick_interrupt(kick);
}
