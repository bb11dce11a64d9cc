/*
 * Host-side failures: a negative errno as the return value and a sentence in a struct error.
 *
 * Purpose: every function that can fail because of the host (no memory, no file, an ioctl refused)
 *          returns 0 or -errno and, where its caller may want to tell a person, fills a struct
 *          error that says what was being done and, if known, what to do next.
 * Owner:   the caller; a struct error is plain data, usually on the stack.
 * Thread:  any; no shared state.
 *
 * What a *guest* does wrong is never an error of this kind: it is a value.
 */
#ifndef TRAPEZE_BASE_ERROR_H
#define TRAPEZE_BASE_ERROR_H

struct error {
    char text[512]; /* one sentence without a final newline; empty when nothing went wrong */
};

/*
 * Records what was being done when `code` happened.
 *
 * error:  where to write; NULL is allowed and drops the text.
 * code:   a positive errno value (ENOENT) or its negative (-ENOENT).
 * format: printf-style text; the name of the errno is NOT appended.
 *
 * Returns the negative errno, so that `return error_set(error, ENOENT, …)` reads naturally.
 */
int error_set(struct error *error, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The same, with ": " and the errno's own words appended. */
int error_set_errno(struct error *error, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "context: " in front of a text that is already there (for callers higher up). */
void error_prefix(struct error *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
