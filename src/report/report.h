/*
 * A summary for people: text for terminals, and one page for browsers.
 *
 * Owner:  none. Thread: one. Whether writing went well, the stream knows.
 */
#ifndef TRAPEZE_REPORT_REPORT_H
#define TRAPEZE_REPORT_REPORT_H

#include <stdio.h>

#include "report/summary.h"

/* How a page begins, and is known again: the first lines of page.html. */
#define REPORT_PAGE_START "<!DOCTYPE html>\n<!--\n  The page of `trapeze report`"

/* name: of the trace, for the title. */
void report_text(const struct summary *summary, const char *name, FILE *out);

/*
 * The page of report/page.html with the summary in it as JSON. It needs nothing else: no network,
 * no other file. Its size is bounded, below a megabyte, whatever the trace.
 */
void report_page(const struct summary *summary, const char *name, FILE *out);

#endif
