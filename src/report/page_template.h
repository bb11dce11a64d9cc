/*
 * page.html as a string, made of the file when Trapeze is built.
 *
 * Owner: a constant. Thread: any.
 */
#ifndef TRAPEZE_REPORT_PAGE_TEMPLATE_H
#define TRAPEZE_REPORT_PAGE_TEMPLATE_H

/* Has the mark @DATA@ once, where the summary goes. Ends with a zero. */
extern const char page_template[];

#endif
