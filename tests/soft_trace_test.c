/* The trace of translated code, with blocks that nobody translated. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "check.h"
#include "engines/soft/translate/trace.h"
#include "x86/disassemble.h"

#define RIP 0xffffffff81000040

/* mov rax, [rdi]; push rbx; ret */
static const uint8_t guest[] = {0x48, 0x8b, 0x07, 0x53, 0xc3};
/* mov r10d, 1; mov rax, [r10]; ud2; nothing known; a jump to itself; bytes that are no instruction
 */
static const uint8_t host[] = {0x41, 0xba, 1,    0,    0,    0,    0x49,
                               0x8b, 0x02, 0x0f, 0x0b, 0xeb, 0xfe, 0x06};

static char *text;

/* What a trace of a block prints, in text. */
static void trace(const struct code_trace_row *rows, size_t count, bool user)
{
    const struct code_trace_block block = {.vcpu = 3,
                                           .rip = RIP,
                                           .physical = 0x1000040,
                                           .user = user,
                                           .mode = X86_DECODE_64,
                                           .rows = rows,
                                           .row_count = count};
    size_t size;
    free(text);
    text = NULL;
    FILE *out = open_memstream(&text, &size);
    log_set_level(LOG_SILENT); /* without a disassembler it says so */
    struct code_trace *code_trace = code_trace_create(out);
    log_set_level(LOG_WARN);
    code_trace_block(code_trace, &block);
    code_trace_destroy(code_trace);
    fclose(out);
}

static bool says(const char *words)
{
    bool found = strstr(text, words) != NULL;
    if (!found) {
        fprintf(stderr, "no '%s' in:\n%s", words, text);
    }
    return found;
}

/* The line that contains some words; valid until the next call. */
static const char *line_of(const char *words)
{
    static char line[512];
    const char *at = strstr(text, words);
    if (at == NULL) {
        return "";
    }
    while (at > text && at[-1] != '\n') {
        at--;
    }
    snprintf(line, sizeof(line), "%.*s", (int)strcspn(at, "\n"), at);
    return line;
}

static unsigned int line_count(void)
{
    unsigned int count = 0;
    for (const char *at = text; (at = strchr(at, '\n')) != NULL; at++) {
        count++;
    }
    return count;
}

static const struct code_trace_row rows[] = {
    {.label = "(entry)", .host_start = host + 9, .host_end = host + 11},
    {.guest_rip = RIP,
     .guest_bytes = guest,
     .guest_length = 3,
     .host_start = host,
     .host_end = host + 9},
    {.guest_rip = RIP + 3, .guest_bytes = guest + 3, .guest_length = 1},
    {.guest_rip = RIP + 4,
     .guest_bytes = guest + 4,
     .guest_length = 1,
     .host_start = host + 11,
     .host_end = host + 13},
    {.host_start = host + 13, .host_end = host + 14},
};

static bool has_disassembler(void)
{
    struct disassembler *disassembler = disassembler_open();
    disassembler_close(disassembler);
    return disassembler != NULL;
}

static void test_head(void)
{
    trace(rows, 5, false);
    CHECK(says(
        "vCPU 3, block 0xffffffff81000040 (kernel, physical 0x1000040): 3 instructions, 5 bytes; "
        "14 bytes of host code\n"));
    trace(rows + 1, 1, true);
    CHECK(says("(user, physical 0x1000040): 1 instruction, 3 bytes; 9 bytes of host code\n"));
    trace(rows, 0, true);
    CHECK(says("0 instructions, 0 bytes; 0 bytes"));
    CHECK_EQUAL(line_count(), 1);
}

static void test_side_by_side(void)
{
    char address[32];
    if (!has_disassembler()) {
        SKIP("no disassembler is installed");
        return;
    }
    trace(rows, 5, false);
    CHECK_EQUAL(line_count(), 7);
    CHECK(strstr(line_of("(entry)"), "ud2") != NULL);
    const char *line = line_of("mov rax, [rdi]");
    CHECK(strstr(line, "ffffffff81000040  mov rax, [rdi]") != NULL && strstr(line, "| ") != NULL);
    snprintf(address, sizeof(address), "%lx  ", (unsigned long)(uintptr_t)host);
    CHECK(strstr(line, address) != NULL && strstr(line, "mov r10d") != NULL);
    /* The second host instruction stands alone, in the same column. */
    size_t column = strcspn(line, "|");
    line = line_of("mov rax, [r10]");
    CHECK_EQUAL(strcspn(line, "|"), column);
    CHECK_EQUAL(strspn(line, " "), column);
    /* A guest instruction of which nothing was made; and host bytes that are no instruction. */
    CHECK(strchr(line_of("push rbx"), '|') == NULL);
    snprintf(address, sizeof(address), "%lx  06", (unsigned long)(uintptr_t)(host + 13));
    CHECK(says(address));
    /* Targets are resolved with the address where the code runs. */
    snprintf(address, sizeof(address), "%lX", (unsigned long)(uintptr_t)(host + 11));
    CHECK(strstr(line_of("jmp"), address) != NULL);
    CHECK(strstr(line_of("jmp"), "ffffffff81000044  ret") != NULL);
}

/* Bytes that are no instruction appear as bytes, whether there is a disassembler or not. */
static void test_bytes(void)
{
    static const uint8_t invalid[] = {0x06, 0x06, 0x06, 0x06, 0x06, 0x06, 0x06, 0x06,
                                      0x06, 0x06, 0x06, 0x06, 0x06, 0x06, 0x06};
    const struct code_trace_row row = {.guest_rip = 0x1000,
                                       .guest_bytes = invalid,
                                       .guest_length = 15,
                                       .host_start = invalid,
                                       .host_end = invalid + 15};
    char instruction[64] = "text";
    CHECK_EQUAL(disassembler_write(NULL, X86_DECODE_64, 0, guest, sizeof(guest), instruction,
                                   sizeof(instruction)),
                0);
    CHECK(instruction[0] == '\0');
    trace(&row, 1, true);
    CHECK(says("1000  06 06 06 06 06 06 06 06 06 06 06 06 06 06 06 "));
    CHECK_EQUAL(line_count(), 3); /* 12 host bytes a line */
}

/* Into standard error, as with --trace code; and no trace at all. */
static void test_standard_error(void)
{
    const struct code_trace_block block = {.rows = rows, .row_count = 5, .mode = X86_DECODE_64};
    char path[] = "/tmp/trace-test-XXXXXX";
    char content[4096] = "";
    int file = mkstemp(path), saved = dup(2);
    dup2(file, 2);
    struct code_trace *code_trace = code_trace_create(NULL);
    log_set_raw_terminal(true);
    code_trace_block(code_trace, &block);
    log_set_raw_terminal(false);
    code_trace_block(code_trace, &block);
    code_trace_destroy(code_trace);
    code_trace_block(NULL, &block);
    code_trace_destroy(NULL);
    dup2(saved, 2);
    close(saved);
    CHECK(pread(file, content, sizeof(content) - 1, 0) > 0);
    close(file);
    unlink(path);
    const char *raw = strstr(content, "14 bytes of host code\r\n");
    CHECK(raw != NULL && strstr(raw + 1, "14 bytes of host code\n") != NULL);
    const char *warning = strstr(content, "there is no disassembler");
    CHECK((warning != NULL) == !has_disassembler());
    CHECK(warning == NULL || strstr(warning + 1, "there is no disassembler") == NULL); /* once */
}

int main(void)
{
    test_head();
    test_side_by_side();
    test_bytes();
    test_standard_error();
    free(text);
    return check_summary();
}
