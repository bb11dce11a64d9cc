/*
 * The functions of libc that the linked code calls: memory, a few for strings, and those that have
 * little to do where there is one thread and one memory.
 *
 * Owner, thread: the heap is the image's; one processor.
 */
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "vtx/bare/format.h"
#include "vtx/bare/heap.h"
#include "vtx/bare/services.h"

/*
 * ---- memory ----
 *
 * By the processor's string instructions, so that no loop here becomes a call of itself; by eight
 * bytes, as an emulator needs a step for each element.
 */

#define WORD 8

void *memcpy(void *to, const void *from, size_t length)
{
    void *at = to;
    size_t words = length / WORD;
    size_t rest = length % WORD;
    __asm__ volatile("rep movsq" : "+D"(at), "+S"(from), "+c"(words) : : "memory");
    __asm__ volatile("rep movsb" : "+D"(at), "+S"(from), "+c"(rest) : : "memory");
    return to;
}

void *memset(void *to, int value, size_t length)
{
    void *at = to;
    size_t words = length / WORD;
    size_t rest = length % WORD;
    uint64_t pattern = (uint8_t)value * UINT64_C(0x0101010101010101);
    __asm__ volatile("rep stosq" : "+D"(at), "+c"(words) : "a"(pattern) : "memory");
    __asm__ volatile("rep stosb" : "+D"(at), "+c"(rest) : "a"(pattern) : "memory");
    return to;
}

void *memmove(void *to, const void *from, size_t length)
{
    if ((uintptr_t)to - (uintptr_t)from >= length) {
        return memcpy(to, from, length);
    }
    uint8_t *to_end = (uint8_t *)to + length - 1;
    const uint8_t *from_end = (const uint8_t *)from + length - 1;
    __asm__ volatile("std; rep movsb; cld"
                     : "+D"(to_end), "+S"(from_end), "+c"(length)
                     :
                     : "memory");
    return to;
}

int memcmp(const void *left, const void *right, size_t length)
{
    const uint8_t *a = left;
    const uint8_t *b = right;
    for (size_t i = 0; i < length; i++) {
        if (a[i] != b[i]) {
            return a[i] < b[i] ? -1 : 1;
        }
    }
    return 0;
}

void explicit_bzero(void *at, size_t length)
{
    memset(at, 0, length); /* the assembly in there is volatile: it is not left out */
}

/* ---- strings ---- */

size_t strlen(const char *text)
{
    size_t length = 0;
    while (text[length] != 0) {
        length++;
    }
    return length;
}

int strcmp(const char *left, const char *right)
{
    while (*left != 0 && *left == *right) {
        left++;
        right++;
    }
    return (int)(uint8_t)*left - (int)(uint8_t)*right;
}

int strncmp(const char *left, const char *right, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (left[i] != right[i] || left[i] == 0) {
            return (int)(uint8_t)left[i] - (int)(uint8_t)right[i];
        }
    }
    return 0;
}

char *strstr(const char *text, const char *part)
{
    size_t length = strlen(part);
    for (; strncmp(text, part, length) != 0; text++) {
        if (*text == 0) {
            return NULL;
        }
    }
    return (char *)(uintptr_t)text;
}

int vsnprintf(char *text, size_t size, const char *format, va_list arguments)
{
    return (int)format_text(text, size, format, arguments);
}

int snprintf(char *text, size_t size, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    size_t length = format_text(text, size, format, arguments);
    va_end(arguments);
    return (int)length;
}

/* ---- the heap ---- */

void *malloc(size_t length)
{
    return heap_allocate(length);
}

void *calloc(size_t count, size_t size)
{
    size_t length;
    return __builtin_mul_overflow(count, size, &length) ? NULL : heap_allocate(length);
}

void free(void *at)
{
    heap_free(at);
}

/* ---- locks: one thread, no interrupt handler that takes any ---- */

int pthread_mutex_lock(pthread_mutex_t *mutex)
{
    (void)mutex;
    return 0;
}

int pthread_mutex_unlock(pthread_mutex_t *mutex)
{
    (void)mutex;
    return 0;
}

/* ---- time ---- */

int clock_gettime(clockid_t clock, struct timespec *time)
{
    uint64_t now = clock_now_ns() + (clock == CLOCK_REALTIME ? services_boot_time_ns() : 0);
    time->tv_sec = (time_t)(now / 1000000000u);
    time->tv_nsec = (long)(now % 1000000000u);
    return 0;
}
