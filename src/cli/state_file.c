#include "cli/state_file.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#include "base/host_file.h"
#include "base/parse.h"
#include "cli/options.h"
#include "x86/entry_checks.h"

#define NAME_MAX_BYTES 64
#define NAMES_MAX      160

/* ---- names ---- */

struct other_register {
    const char *name;
    size_t offset; /* in struct saved_state; all have 64 bits */
};

#define GPR(register, index)                                                                       \
    {                                                                                              \
#register, offsetof(struct saved_state, gpr[index])                                        \
    }
#define OTHER(register, field)                                                                     \
    {                                                                                              \
#register, offsetof(struct saved_state, field)                                             \
    }

/* What is not among the fields of the entry checks. */
static const struct other_register others[] = {
    GPR(rax, X86_RAX), GPR(rcx, X86_RCX), GPR(rdx, X86_RDX), GPR(rbx, X86_RBX), GPR(rbp, X86_RBP),
    GPR(rsi, X86_RSI), GPR(rdi, X86_RDI), GPR(r8, X86_R8),   GPR(r9, X86_R9),   GPR(r10, X86_R10),
    GPR(r11, X86_R11), GPR(r12, X86_R12), GPR(r13, X86_R13), GPR(r14, X86_R14), GPR(r15, X86_R15),
    OTHER(cr2, cr2),   OTHER(cr8, cr8),   OTHER(dr0, dr[0]), OTHER(dr1, dr[1]), OTHER(dr2, dr[2]),
    OTHER(dr3, dr[3]), OTHER(dr6, dr6),
};

#define OTHER_COUNT (sizeof(others) / sizeof(others[0]))

/* One line of a file: a field of the checks, or one of the others. */
struct line_name {
    char text[NAME_MAX_BYTES];
    enum entry_field_id id; /* ENTRY_FIELD_NONE: others[instance] */
    unsigned int instance;
    unsigned int given; /* the line where the file gave it; 0: not yet */
};

struct line_names {
    unsigned int count;
    unsigned int given; /* how many of them a file has given */
    struct line_name each[NAMES_MAX];
};

static struct line_name *add_name(struct line_names *names, enum entry_field_id id,
                                  unsigned int instance)
{
    struct line_name *name = &names->each[names->count];
    names->count += names->count + 1 < NAMES_MAX ? 1 : 0;
    *name = (struct line_name){.id = id, .instance = instance};
    return name;
}

/* In the order of the table, but all of one register together: cs.selector, cs.base, … */
static void list_names(struct line_names *names)
{
    names->count = names->given = 0;
    for (unsigned int id = 1, end; id < ENTRY_FIELD_COUNT; id = end) {
        enum entry_instances instances = entry_fields[id].instances;
        for (end = id + 1; end < ENTRY_FIELD_COUNT && entry_fields[end].instances == instances;) {
            end++;
        }
        for (unsigned int i = 0; i < entry_instance_count(instances); i++) {
            for (unsigned int of = id; of < end; of++) {
                struct line_name *name = add_name(names, (enum entry_field_id)of, i);
                entry_field_name(name->id, i, name->text, sizeof(name->text));
            }
        }
    }
    for (unsigned int i = 0; i < OTHER_COUNT; i++) {
        struct line_name *name = add_name(names, ENTRY_FIELD_NONE, i);
        snprintf(name->text, sizeof(name->text), "%s", others[i].name);
    }
}

static struct line_name *find_name(struct line_names *names, const char *text)
{
    for (unsigned int i = 0; i < names->count; i++) {
        if (strcmp(names->each[i].text, text) == 0) {
            return &names->each[i];
        }
    }
    return NULL;
}

static unsigned int bits_of(const struct line_name *name)
{
    return name->id != ENTRY_FIELD_NONE ? entry_fields[name->id].bits : 64;
}

static uint64_t get(const struct saved_state *state, const struct line_name *name)
{
    if (name->id != ENTRY_FIELD_NONE) {
        return entry_field_get(&state->entry, name->id, name->instance);
    }
    uint64_t value;
    memcpy(&value, (const uint8_t *)state + others[name->instance].offset, sizeof(value));
    return value;
}

static void set(struct saved_state *state, const struct line_name *name, uint64_t value)
{
    if (name->id != ENTRY_FIELD_NONE) {
        entry_field_set(&state->entry, name->id, name->instance, value);
        return;
    }
    memcpy((uint8_t *)state + others[name->instance].offset, &value, sizeof(value));
}

/* ---- from an engine ---- */

void saved_state_from_x86(const struct x86_state *from, struct saved_state *to)
{
    memset(to, 0, sizeof(*to));
    entry_state_from_x86(from, &to->entry);
    memcpy(to->gpr, from->gpr, sizeof(to->gpr));
    to->cr2 = from->cr2;
    to->cr8 = from->cr8;
    memcpy(to->dr, from->dr, sizeof(to->dr));
    to->dr6 = from->dr[6];
}

/* ---- reading ---- */

static int unknown_name(const struct line_names *names, unsigned int line, const char *text,
                        struct error *error)
{
    const char *words[NAMES_MAX + 1];
    for (unsigned int i = 0; i < names->count; i++) {
        words[i] = names->each[i].text;
    }
    words[names->count] = NULL;
    const char *nearest = nearest_word(text, words);
    if (nearest == NULL) {
        return error_set(error, EINVAL, "line %u: nothing is called '%s'", line, text);
    }
    return error_set(error, EINVAL, "line %u: nothing is called '%s'; did you mean '%s'?", line,
                     text, nearest);
}

static int set_by_name(struct line_names *names, unsigned int line, const char *name_text,
                       const char *value_text, struct saved_state *state, struct error *error)
{
    struct line_name *name = find_name(names, name_text);
    if (name == NULL) {
        return unknown_name(names, line, name_text, error);
    }
    if (name->given != 0) {
        return error_set(error, EINVAL, "line %u: %s is given a second time, after line %u", line,
                         name_text, name->given);
    }
    uint64_t value;
    uint64_t maximum = UINT64_MAX >> (64 - bits_of(name));
    if (parse_number(value_text, name_text, 0, maximum, &value, NULL) != 0) {
        return error_set(error, EINVAL,
                         "line %u: %s is '%s'; it must be a number from 0 to 0x%" PRIx64, line,
                         name_text, value_text, maximum);
    }
    set(state, name, value);
    name->given = line;
    names->given++;
    return 0;
}

static bool is_blank(char letter)
{
    return letter == ' ' || letter == '\t' || letter == '\r';
}

/*
 * Copies the next word of [*at, end) and moves *at behind it. False for a word that is too long or
 * has letters that no name and no number has. An empty word is the end of the line.
 */
static bool take_word(const char **at, const char *end, char *word, size_t size)
{
    size_t length = 0;
    while (*at < end && is_blank(**at)) {
        (*at)++;
    }
    for (; *at < end && !is_blank(**at); (*at)++) {
        if (length + 1 == size || **at <= ' ' || **at > '~') {
            return false;
        }
        word[length++] = **at;
    }
    word[length] = '\0';
    return true;
}

/* line: [text, end) without its newline. */
static int parse_line(struct line_names *names, unsigned int number, const char *text,
                      const char *end, struct saved_state *state, struct error *error)
{
    char name[NAME_MAX_BYTES], value[NAME_MAX_BYTES], more[NAME_MAX_BYTES];
    const char *comment = memchr(text, '#', (size_t)(end - text));
    end = comment != NULL ? comment : end;
    if (!take_word(&text, end, name, sizeof(name)) ||
        !take_word(&text, end, value, sizeof(value)) ||
        !take_word(&text, end, more, sizeof(more))) {
        return error_set(error, EINVAL,
                         "line %u: this is no register's name and value; is the file a saved vCPU "
                         "state?",
                         number);
    }
    if (name[0] == '\0') {
        return 0;
    }
    if (value[0] == '\0') {
        return error_set(error, EINVAL, "line %u: '%s' has no value", number, name);
    }
    if (more[0] != '\0') {
        return error_set(error, EINVAL, "line %u: there is '%s' behind the value of %s", number,
                         more, name);
    }
    return set_by_name(names, number, name, value, state, error);
}

int state_file_parse(const char *text, size_t length, struct saved_state *state,
                     struct error *error)
{
    struct line_names names;
    struct x86_state reset;
    x86_state_reset(&reset);
    saved_state_from_x86(&reset, state);
    list_names(&names);
    const char *end = text + length;
    for (unsigned int line = 1; text < end; line++) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        const char *line_end = newline != NULL ? newline : end;
        int code = parse_line(&names, line, text, line_end, state, error);
        if (code != 0) {
            return code;
        }
        text = newline != NULL ? newline + 1 : end;
    }
    if (names.given == 0) {
        return error_set(error, EINVAL, "there is no register in it");
    }
    return 0;
}

int state_file_read(const char *path, struct saved_state *state, struct error *error)
{
    char buffer[STATE_FILE_MAX];
    ssize_t length = host_file_read(path, buffer, sizeof(buffer), error);
    if (length < 0) {
        error_prefix(error, "the vCPU state");
        return (int)length;
    }
    int code = state_file_parse(buffer, (size_t)length, state, error);
    if (code != 0) {
        error_prefix(error, "%s", path);
    }
    return code;
}

/* ---- writing ---- */

/* Which part of the file a name belongs to: the groups of fields in their order, then the others.
 */
static unsigned int part_of(const struct line_name *name)
{
    return name->id != ENTRY_FIELD_NONE ? (unsigned int)entry_fields[name->id].group
                                        : (unsigned int)ENTRY_GROUP_PROCESSOR + 1;
}

void state_file_write(const struct saved_state *state, const char *title, FILE *out)
{
    static const char *const headings[] = {
        "the guest's state, as VM entry loads it",
        "the controls of VM entry",
        "the processor, as far as VM entry depends on it",
        "registers that VM entry does not load",
    };
    struct line_names names;
    list_names(&names);
    fprintf(out, "# %s\n# 'trapeze check-state FILE' tells which rules of VM entry it breaks.\n",
            title);
    for (unsigned int i = 0; i < names.count; i++) {
        const struct line_name *name = &names.each[i];
        if (i == 0 || part_of(name) != part_of(name - 1)) {
            fprintf(out, "\n# %s\n", headings[part_of(name)]);
        }
        uint64_t value = get(state, name);
        if (bits_of(name) <= 8) { /* widths and flags */
            fprintf(out, "%-36s %" PRIu64 "\n", name->text, value);
        } else {
            fprintf(out, "%-36s 0x%0*" PRIx64 "\n", name->text, (int)bits_of(name) / 4, value);
        }
    }
}
