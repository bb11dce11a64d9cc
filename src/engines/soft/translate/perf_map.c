#include "engines/soft/translate/perf_map.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

#define BUFFER_SIZE (256u << 10)

struct perf_map {
    pthread_mutex_t lock;
    FILE *file; /* NULL after it could not be written */
    char path[256];
};

/*
 * The directory is everybody's. What lies there is taken away, as it may be from an earlier process
 * of the same number; and if it can't be, or comes back as a link, it is somebody else's.
 */
static FILE *open_anew(const char *path)
{
    if (unlink(path) != 0 && errno != ENOENT) {
        return NULL;
    }
    int descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (descriptor < 0) {
        return NULL;
    }
    FILE *file = fdopen(descriptor, "w");
    if (file == NULL) {
        close(descriptor);
    }
    return file;
}

struct perf_map *perf_map_create(const char *directory)
{
    struct perf_map *map = calloc(1, sizeof(*map));
    if (map == NULL) {
        log_warn("no memory for perf's map: the guest's code gets no names");
        return NULL;
    }
    int length =
        snprintf(map->path, sizeof(map->path), "%s/perf-%ld.map", directory, (long)getpid());
    errno = ENAMETOOLONG;
    map->file = (size_t)length < sizeof(map->path) ? open_anew(map->path) : NULL;
    if (map->file == NULL) {
        log_warn("can't make %s (%s): the guest's code gets no names", map->path, strerror(errno));
        free(map);
        return NULL;
    }
    setvbuf(map->file, NULL, _IOFBF, BUFFER_SIZE);
    pthread_mutex_init(&map->lock, NULL);
    return map;
}

/* Gives up; with the lock held, or alone. */
static void give_up(struct perf_map *map)
{
    log_warn("can't write %s (%s): it is incomplete", map->path, strerror(errno));
    map->file = NULL;
}

void perf_map_destroy(struct perf_map *map)
{
    if (map == NULL) {
        return;
    }
    if (map->file != NULL && fclose(map->file) != 0) {
        give_up(map);
    }
    pthread_mutex_destroy(&map->lock);
    free(map);
}

void perf_map_add(struct perf_map *map, uint64_t rip, uint64_t physical, bool user,
                  const void *host, size_t size)
{
    if (map == NULL) {
        return;
    }
    pthread_mutex_lock(&map->lock);
    if (map->file != NULL &&
        fprintf(map->file, "%" PRIxPTR " %zx guest_%" PRIx64 "_%s_%" PRIx64 "\n", (uintptr_t)host,
                size, rip, user ? "user" : "kernel", physical) < 0) {
        FILE *file = map->file;
        give_up(map);
        fclose(file);
    }
    pthread_mutex_unlock(&map->lock);
}
