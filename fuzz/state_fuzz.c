/*
 * A vCPU's state file that may hold anything: it is refused in one line, or read, and then every
 * broken rule can be told, and what is written again is read as the same.
 */
#include <stdlib.h>
#include <string.h>

#include "cli/state_file.h"
#include "x86/entry_checks.h"

static void require(bool condition)
{
    if (!condition) {
        abort();
    }
}

static void check_rules(const struct saved_state *state)
{
    struct entry_violation violations[ENTRY_VIOLATIONS_MAX];
    unsigned int count = entry_checks_run(&state->entry, violations, ENTRY_VIOLATIONS_MAX);
    require(count <= ENTRY_VIOLATIONS_MAX);
    for (unsigned int i = 0; i < count; i++) {
        char text[ENTRY_TEXT_MAX];
        entry_violation_describe(&violations[i], text, sizeof(text));
        require(strlen(text) < sizeof(text) - 1);
        entry_violation_brief(&violations[i], text, sizeof(text));
        require(strlen(text) < sizeof(text) - 1 && strchr(text, '\n') == NULL);
    }
}

static char *write_out(const struct saved_state *state, size_t *size)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, size);
    require(out != NULL);
    state_file_write(state, "again", out);
    require(fclose(out) == 0 && *size <= STATE_FILE_MAX);
    return text;
}

static void check_written(const struct saved_state *state)
{
    struct saved_state again;
    struct error error;
    size_t size, size_again;
    char *text = write_out(state, &size);
    require(state_file_parse(text, size, &again, &error) == 0);
    char *text_again = write_out(&again, &size_again);
    require(size == size_again && memcmp(text, text_again, size) == 0);
    free(text);
    free(text_again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct saved_state state;
    struct error error = {""};
    char *exact = malloc(size != 0 ? size : 1); /* lets the sanitizer see a read beyond */
    require(exact != NULL);
    memcpy(exact, data, size);
    if (state_file_parse(exact, size, &state, &error) == 0) {
        check_rules(&state);
        check_written(&state);
    } else {
        require(error.text[0] != '\0' && strchr(error.text, '\n') == NULL);
    }
    free(exact);
    return 0;
}
