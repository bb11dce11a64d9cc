/* `trapeze report`: what a trace of exits has to tell, as a page or as text. */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/host_file.h"
#include "cli/command.h"
#include "cli/options.h"
#include "cli/outcome_report.h"
#include "report/report.h"

#define PATH_SIZE 4096

struct report_options {
    const char *trace;
    const char *page; /* NULL: the trace's name with .html */
    bool as_text, as_list;
};

static int set_trace(void *target, const char *value, struct error *error)
{
    return option_set_once(&((struct report_options *)target)->trace, value,
                           "there is one trace a report", error);
}

static int set_page(void *target, const char *value, struct error *error)
{
    (void)error;
    ((struct report_options *)target)->page = value;
    return 0;
}

static int set_text(void *target, const char *value, struct error *error)
{
    (void)value;
    (void)error;
    ((struct report_options *)target)->as_text = true;
    return 0;
}

static int set_list(void *target, const char *value, struct error *error)
{
    (void)value;
    (void)error;
    ((struct report_options *)target)->as_list = true;
    return 0;
}

static const struct option report_option_table[] = {
    {OPTION_PLAIN, 0, "FILE", "the trace, as 'trapeze run --trace FILE' writes it", set_trace},
    {"output", 'o', "PAGE", "where the page goes (default: FILE.html); - is standard output",
     set_page},
    {"text", 't', NULL, "print text for a terminal instead", set_text},
    {"list", 'l', NULL, "print each exit on a line instead", set_list},
    {.name = NULL},
};

static void help(FILE *out)
{
    fputs("Usage: trapeze report FILE [-o PAGE]\n"
          "       trapeze report FILE --text\n"
          "       trapeze report FILE --list\n"
          "\n"
          "Makes one self-contained HTML page of a trace of exits: when they came, what they cost, "
          "and\n"
          "which ports and addresses they were for. Or says the same as text.\n"
          "\n"
          "Options:\n",
          out);
    options_print(report_option_table, out);
    fputs("\nExamples:\n"
          "  trapeze run --kernel vmlinuz --initrd initramfs.cpio.gz --trace boot.trace\n"
          "  trapeze report boot.trace -o boot.html\n",
          out);
}

static int parse(char **arguments, int count, struct report_options *options, struct error *error)
{
    *options = (struct report_options){.trace = NULL};
    int result = options_parse(report_option_table, arguments, count, options, error);
    if (result == 0 && options->trace == NULL) {
        return error_set(error, EINVAL, "no trace: give the FILE that 'run --trace FILE' wrote");
    }
    if (result == 0 && options->as_text + options->as_list + (options->page != NULL) > 1) {
        return error_set(error, EINVAL, "--output, --text and --list exclude each other");
    }
    return result;
}

/* ---- one exit a line ---- */

static void print_exit(const struct trace_info *info, const struct trace_exit *exit)
{
    const struct trace_record *record = &exit->record;
    const struct trace_kind *kind = &info->kinds[record->kind];
    printf("%.6f %.3f %u %s", (double)exit->begin_ns / 1e6, (double)exit->duration_ns / 1e3,
           exit->vcpu, kind->name);
    if (record->size != 0) {
        printf(" %s %u", (record->flags & TRACE_RECORD_WRITE) != 0 ? "write" : "read",
               record->size);
    }
    bool is_named_alone = kind->space == TRACE_SPACE_INSTRUCTION;
    if ((record->flags & TRACE_RECORD_HAS_ADDRESS) != 0 && !is_named_alone) {
        printf(" 0x%" PRIx64, record->address);
    }
    if ((record->flags & TRACE_RECORD_HAS_VALUE) != 0) {
        printf(" = 0x%" PRIx64, record->value);
    }
    if ((record->flags & TRACE_RECORD_HAS_COUNT) != 0) {
        printf(" * %" PRIu32, record->count);
    }
    const struct trace_device *device = (record->flags & TRACE_RECORD_HAS_ADDRESS) != 0
                                            ? trace_info_device(info, kind->space, record->address)
                                            : NULL;
    printf("%s%s\n", device != NULL ? " " : "", device != NULL ? device->name : "");
}

static int print_list(struct trace_reader *reader)
{
    const struct trace_info *info = trace_reader_info(reader);
    struct trace_exit exit;
    printf("# ms us vCPU exit [direction bytes] [address] [= value] [* count] [device]\n");
    while (trace_reader_next(reader, &exit) && ferror(stdout) == 0) {
        print_exit(info, &exit);
    }
    return EXIT_CODE_OK; /* what became of standard output, main looks at */
}

/* ---- a page ---- */

/*
 * Empties the file only when it is known not to be the trace itself. is_named: by a person, who may
 * have meant another file; what has a trace's name and .html can only be its page.
 */
static FILE *open_page(const char *path, bool is_named, const char *trace, struct error *error)
{
    if (host_file_is_same(path, trace)) {
        error_set(error, EINVAL, "%s is the trace itself; the page needs another name", path);
        return NULL;
    }
    if (is_named && host_file_is_foreign(path, REPORT_PAGE_START)) {
        error_set(error, EEXIST, "%s is there and is no report: remove it, or name another", path);
        return NULL;
    }
    int file = host_file_open_output(path, error);
    if (file < 0) {
        error_prefix(error, "the page");
        return NULL;
    }
    /* A device or a pipe cannot be cut to length, and need not. */
    FILE *out = ftruncate(file, 0) == 0 || errno == EINVAL ? fdopen(file, "w") : NULL;
    if (out == NULL) {
        error_set_errno(error, errno, "cannot write %s", path);
        close(file);
    }
    return out;
}

static int write_page(const struct summary *summary, const struct report_options *options)
{
    char path[PATH_SIZE];
    struct error error;
    if (options->page != NULL && strcmp(options->page, "-") == 0) {
        report_page(summary, options->trace, stdout);
        return EXIT_CODE_OK;
    }
    int length = options->page != NULL ? snprintf(path, sizeof(path), "%s", options->page)
                                       : snprintf(path, sizeof(path), "%s.html", options->trace);
    if (length >= (int)sizeof(path)) {
        print_problem("the page's name is too long");
        return EXIT_CODE_USAGE;
    }
    FILE *out = open_page(path, options->page != NULL, options->trace, &error);
    if (out == NULL) {
        print_problem(error.text);
        return EXIT_CODE_USAGE;
    }
    report_page(summary, options->trace, out);
    bool failed = ferror(out) != 0;
    if (fclose(out) != 0 || failed) {
        error_set(&error, EIO, "cannot write the whole page to %s: is the disk full?", path);
        print_problem(error.text);
        return EXIT_CODE_MONITOR_ERROR;
    }
    fprintf(stderr, "trapeze: %s shows %" PRIu64 " exit%s\n", path, summary->ending->records,
            summary->ending->records == 1 ? "" : "s");
    return EXIT_CODE_OK;
}

static void warn_of_note(const struct trace_ending *ending, const char *name)
{
    if (ending->note[0] != '\0') {
        char text[sizeof(ending->note) + 512];
        snprintf(text, sizeof(text), "%.400s: %s", name, ending->note);
        print_problem(text);
    }
}

static int report(struct trace_reader *reader, const struct report_options *options)
{
    struct summary *summary;
    struct error error;
    if (options->as_list) {
        int exit_code = print_list(reader);
        warn_of_note(trace_reader_ending(reader), options->trace);
        return exit_code;
    }
    if (summary_create(reader, &summary, &error) != 0) {
        print_problem(error.text);
        return EXIT_CODE_MONITOR_ERROR;
    }
    int exit_code = EXIT_CODE_OK;
    if (options->as_text) {
        report_text(summary, options->trace, stdout);
    } else {
        warn_of_note(summary->ending, options->trace);
        exit_code = write_page(summary, options);
    }
    summary_destroy(summary);
    return exit_code;
}

static int run(char **arguments, int count)
{
    struct report_options options;
    struct error error;
    if (parse(arguments, count, &options, &error) != 0) {
        print_problem(error.text);
        return EXIT_CODE_USAGE;
    }
    FILE *trace = fopen(options.trace, "re");
    if (trace == NULL) {
        error_set_errno(&error, errno, "cannot open the trace %s", options.trace);
        print_problem(error.text);
        return EXIT_CODE_USAGE;
    }
    struct trace_reader *reader;
    int exit_code = EXIT_CODE_USAGE;
    if (trace_reader_create(trace, &reader, &error) != 0) {
        error_prefix(&error, "%s", options.trace);
        print_problem(error.text);
    } else {
        exit_code = report(reader, &options);
        trace_reader_destroy(reader);
    }
    fclose(trace);
    return exit_code;
}

const struct command report_command = {
    .name = "report",
    .summary = "show a trace of exits as a page or as text",
    .run = run,
    .help = help,
};
