/* vCPU states in files: what is written is read, and what is no state is told by its line. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "cli/state_file.h"
#include "entry_states.h"

static int parse(const char *text, struct saved_state *state, struct error *error)
{
    error->text[0] = '\0';
    return state_file_parse(text, strlen(text), state, error);
}

/* What is written in text; the caller frees it. */
static char *write_out(const struct saved_state *state)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    CHECK(out != NULL);
    state_file_write(state, "a test", out);
    fclose(out);
    return text;
}

static void test_round_trip(void)
{
    struct saved_state state, again;
    struct error error;
    struct x86_state reset;
    x86_state_reset(&reset);
    saved_state_from_x86(&reset, &state);
    for (unsigned int start = 0; start < START_COUNT; start++) {
        entry_start((enum entry_start)start, &state.entry);
        for (unsigned int i = 0; i < X86_GPR_COUNT; i++) {
            state.gpr[i] = i == X86_RSP ? state.gpr[i] : UINT64_C(0x1111111111111111) * i;
        }
        state.cr2 = UINT64_MAX;
        state.dr[3] = 0x1234;
        char *text = write_out(&state);
        CHECK(strlen(text) < STATE_FILE_MAX);
        CHECK_EQUAL(parse(text, &again, &error), 0);
        char *text_again = write_out(&again);
        CHECK(strcmp(text, text_again) == 0);
        free(text);
        free(text_again);
    }
}

static void test_parse(void)
{
    struct saved_state state;
    struct error error;
    CHECK_EQUAL(
        parse("# a comment\n\n\t cr0  0x11 # another\r\ncs.base 4096\nrax\t7", &state, &error), 0);
    CHECK_EQUAL(state.entry.cr0, 0x11);
    CHECK_EQUAL(state.entry.segment[X86_CS].base, 4096);
    CHECK_EQUAL(state.gpr[X86_RAX], 7);
    CHECK_EQUAL(state.entry.rip, 0xfff0); /* not given: as after RESET */
    CHECK_EQUAL(
        parse("cs.selector 0xffff\nprocessor.has_lam 1\npdpte3 0xffffffffffffffff", &state, &error),
        0);
    CHECK_EQUAL(state.entry.segment[X86_CS].selector, 0xffff);
    CHECK_EQUAL(state.entry.pdpte[3], UINT64_MAX);
}

static void check_refused(const char *text, const char *words)
{
    struct saved_state state;
    struct error error;
    CHECK(parse(text, &state, &error) < 0);
    if (!CHECK(strstr(error.text, words) != NULL)) {
        fprintf(stderr, "    '%s' is not in '%s'\n", words, error.text);
    }
    CHECK(strchr(error.text, '\n') == NULL);
}

static void test_refused(void)
{
    check_refused("", "no register");
    check_refused("# nothing\n\n", "no register");
    check_refused("cr0", "line 1: 'cr0' has no value");
    check_refused("\n\ncr0 0x\n", "line 3: cr0 is '0x'");
    check_refused("cr0 -1",
                  "line 1: cr0 is '-1'; it must be a number from 0 to 0xffffffffffffffff");
    check_refused("cr0 1z", "'1z'");
    check_refused("cr0 0x10000000000000000", "line 1");
    check_refused("cs.selector 0x10000", "from 0 to 0xffff");
    check_refused("processor.in_smm 2", "from 0 to 0x1");
    check_refused("cr0 1 2", "line 1: there is '2' behind the value of cr0");
    check_refused("cr0 1\ncr3 2\ncr0 1\n", "line 3: cr0 is given a second time, after line 1");
    check_refused("cs.bose 1", "did you mean 'cs.base'?");
    check_refused("CR0 1", "line 1: nothing is called 'CR0'");
    check_refused("es. 1", "nothing is called 'es.'");
    check_refused("cr0 \x01", "line 1: this is no register's name and value");
    check_refused("cr0 1\n\xff\xfe", "line 2");
    char word[200];
    memset(word, 'x', sizeof(word));
    word[sizeof(word) - 1] = '\0';
    check_refused(word, "line 1: this is no register's name and value");
    struct saved_state state;
    struct error error;
    CHECK(state_file_parse("cr0 1\0 2", 8, &state, &error) < 0); /* a zero byte ends nothing */
}

static void test_read(void)
{
    struct saved_state state;
    struct error error;
    CHECK(state_file_read("/nonexistent/state", &state, &error) < 0);
    CHECK(strstr(error.text, "/nonexistent/state") != NULL);
    CHECK(state_file_read("/dev/null", &state, &error) < 0);
    CHECK(strstr(error.text, "/dev/null") != NULL);
    CHECK(state_file_read("/dev/zero", &state, &error) < 0);
    CHECK(strstr(error.text, "is a pipe or device") != NULL);
    CHECK(state_file_read("/", &state, &error) < 0);
    char path[] = "/tmp/trapeze-state-XXXXXX";
    int file = mkstemp(path);
    CHECK(file >= 0 && ftruncate(file, STATE_FILE_MAX + 1) == 0);
    close(file);
    CHECK_EQUAL(state_file_read(path, &state, &error), -EFBIG);
    unlink(path);
    CHECK_EQUAL(mkfifo(path, 0600), 0); /* which nobody writes to: not waited for */
    CHECK(state_file_read(path, &state, &error) < 0);
    CHECK(strstr(error.text, "is a pipe or device") != NULL);
    unlink(path);
}

int main(void)
{
    test_round_trip();
    test_parse();
    test_refused();
    test_read();
    return check_summary();
}
