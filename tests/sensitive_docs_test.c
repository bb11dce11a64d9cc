/*
 * docs/hardware-assist.md has the table of sensitive instructions as src/x86/sensitive.c has it.
 *
 * usage: sensitive_docs_test DOCUMENT      each row must be a line of it
 *        sensitive_docs_test               prints the rows
 */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "x86/sensitive.h"

#define ROW_MAX      256u
#define DOCUMENT_MAX (1u << 20)

static void format_row(const struct x86_sensitive *row, char text[ROW_MAX])
{
    static const char *const in_user_mode[] = {
        [X86_SENSITIVE_PRIVILEGED] = "faults",
        [X86_SENSITIVE_BY_IOPL] = "faults above IOPL",
        [X86_SENSITIVE_UNPRIVILEGED] = "runs",
    };
    snprintf(text, ROW_MAX, "| `%s`%s | %s | %s | %s |\n", row->name,
             row->is_of_pentium ? " ★" : "", row->why, in_user_mode[row->sensitivity],
             row->vtx == NULL ? "–" : row->vtx);
}

static char *read_document(const char *path)
{
    char *text = calloc(1, DOCUMENT_MAX + 1);
    FILE *in = fopen(path, "r");
    if (!CHECK(text != NULL && in != NULL) || !CHECK(fread(text, 1, DOCUMENT_MAX, in) != 0)) {
        exit(1);
    }
    fclose(in);
    return text;
}

int main(int count, char **arguments)
{
    char *document = count > 1 ? read_document(arguments[1]) : NULL;
    char text[ROW_MAX];
    for (unsigned int i = 0; i < X86_OP_COUNT; i++) {
        const struct x86_sensitive *row = x86_sensitive_find((enum x86_operation)i);
        if (row == NULL) {
            continue;
        }
        format_row(row, text);
        CHECK(row->why != NULL && row->section != NULL && row->sensitivity != X86_SENSITIVE_NOT);
        if (document == NULL) {
            fputs(text, stdout);
        } else if (!CHECK(strstr(document, text) != NULL)) {
            fprintf(stderr, "    missing: %s", text);
        }
    }
    free(document);
    return check_summary();
}
