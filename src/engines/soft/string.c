#include "engines/soft/string.h"

#include "engines/soft/alu.h"
#include "engines/soft/integer.h"

struct soft_string soft_string_begin(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    const struct x86_instruction *decoded = &in->decoded;
    bool down = (cpu->flags & X86_FLAGS_DF) != 0;
    cpu->mid_string = false;
    return (struct soft_string){
        .cpu = cpu,
        .decoded = decoded,
        .size = decoded->operand_size,
        .mask = soft_size_mask(decoded->address_size),
        .step = down ? -(int64_t)decoded->operand_size : (int64_t)decoded->operand_size,
        .repeat = (decoded->flags & (X86_INSTRUCTION_REP | X86_INSTRUCTION_REPNE)) != 0,
    };
}

uint64_t soft_string_count(const struct soft_string *string)
{
    return string->repeat ? string->cpu->gpr[X86_RCX] & string->mask : 1;
}

uint64_t soft_string_source(const struct soft_string *string, enum soft_access access)
{
    uint64_t offset = string->cpu->gpr[X86_RSI] & string->mask;
    return soft_linear(string->cpu, string->decoded->segment, offset, string->size, access);
}

uint64_t soft_string_destination(const struct soft_string *string, enum soft_access access)
{
    uint64_t offset = string->cpu->gpr[X86_RDI] & string->mask;
    return soft_linear(string->cpu, X86_ES, offset, string->size, access);
}

void soft_string_advance(const struct soft_string *string, bool source, bool destination,
                         uint64_t elements)
{
    struct soft_cpu *cpu = string->cpu;
    unsigned int width = string->decoded->address_size;
    uint64_t distance = (uint64_t)string->step * elements;
    if (source) {
        soft_set_register(cpu, X86_RSI, width, true, cpu->gpr[X86_RSI] + distance);
    }
    if (destination) {
        soft_set_register(cpu, X86_RDI, width, true, cpu->gpr[X86_RDI] + distance);
    }
    if (string->repeat) {
        soft_set_register(cpu, X86_RCX, width, true, cpu->gpr[X86_RCX] - elements);
    }
    soft_progress(cpu);
}

bool soft_string_pause(const struct soft_string *string)
{
    struct soft_cpu *cpu = string->cpu;
    if (atomic_load_explicit(&cpu->attention, memory_order_relaxed) == 0 && cpu->pending_dr6 == 0) {
        return false;
    }
    cpu->next_rip = cpu->rip;
    cpu->mid_string = true;
    return true;
}

/* --- chunks: as many elements as lie in one page and within every limit --- */

/*
 * Bytes from this offset on for which the segment's checks say what they said for the first
 * element; 0 if each element must be checked by itself.
 */
static uint64_t segment_room(const struct soft_string *string, unsigned int segment,
                             uint64_t offset)
{
    const struct soft_cpu *cpu = string->cpu;
    uint64_t room = string->mask - offset; /* to where the offset wraps, or a byte before */
    if (soft_64bit(cpu)) {
        return room;
    }
    const struct x86_segment *descriptor = &cpu->segment[segment];
    uint32_t type = descriptor->attributes & X86_SEGMENT_TYPE;
    if ((type & (X86_TYPE_CODE | X86_TYPE_EXPAND_DOWN)) == X86_TYPE_EXPAND_DOWN ||
        offset > descriptor->limit) {
        return 0;
    }
    uint64_t to_limit = descriptor->limit - offset + 1;
    return to_limit < room ? to_limit : room;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/*
 * A host pointer to the elements at segment:offset, which soft_linear has checked the first of;
 * cuts *elements to what it reaches. NULL if not even one can be reached this way. Data
 * breakpoints want every access on its own, and so do single steps: "REP" with TF traps after each
 * iteration.
 */
static uint8_t *string_chunk(const struct soft_string *string, unsigned int segment,
                             uint64_t offset, uint64_t linear, enum soft_access access,
                             uint64_t *elements)
{
    uint64_t available;
    const struct soft_cpu *cpu = string->cpu;
    bool watched = (cpu->dr[7] & X86_DR7_ENABLES) != 0 || (cpu->flags & X86_FLAGS_TF) != 0;
    if (string->step < 0 || *elements < 2 || watched) {
        return NULL;
    }
    uint8_t *host = soft_chunk(string->cpu, linear, access, &available);
    available = least(available, segment_room(string, segment, offset));
    *elements = least(*elements, available / string->size);
    return *elements == 0 ? NULL : host;
}

static uint8_t *source_chunk(const struct soft_string *string, uint64_t linear, uint64_t *elements)
{
    uint64_t offset = string->cpu->gpr[X86_RSI] & string->mask;
    return string_chunk(string, string->decoded->segment, offset, linear, SOFT_READ, elements);
}

static uint8_t *destination_chunk(const struct soft_string *string, uint64_t linear,
                                  enum soft_access access, uint64_t *elements)
{
    uint64_t offset = string->cpu->gpr[X86_RDI] & string->mask;
    return string_chunk(string, X86_ES, offset, linear, access, elements);
}

/* --- the host's own string instructions, so that overlaps and flags come out alike --- */

#define HOST_MOVS(suffix)                                                                          \
    __asm__ volatile("rep movs" suffix : "+S"(source), "+D"(destination), "+c"(elements)::"memory")

static void host_movs(uint8_t *destination, const uint8_t *source, uint64_t elements,
                      unsigned int size)
{
    switch (size) {
    case 1:
        HOST_MOVS("b");
        break;
    case 2:
        HOST_MOVS("w");
        break;
    case 4:
        HOST_MOVS("l");
        break;
    default:
        HOST_MOVS("q");
        break;
    }
}

#define HOST_STOS(suffix)                                                                          \
    __asm__ volatile("rep stos" suffix                                                             \
                     : "+D"(destination), "+c"(elements)                                           \
                     : "a"(value)                                                                  \
                     : "memor"                                                                     \
                       "y")

static void host_stos(uint8_t *destination, uint64_t value, uint64_t elements, unsigned int size)
{
    switch (size) {
    case 1:
        HOST_STOS("b");
        break;
    case 2:
        HOST_STOS("w");
        break;
    case 4:
        HOST_STOS("l");
        break;
    default:
        HOST_STOS("q");
        break;
    }
}

#define HOST_CMPS(prefix, suffix)                                                                  \
    __asm__ volatile(prefix " cmps" suffix SOFT_ALU_CAPTURE                                        \
                     : "+S"(first), "+D"(second), "+c"(elements), "=a"(flags)                      \
                     :                                                                             \
                     : "cc", "memory")
#define HOST_CMPS_SIZES(prefix)                                                                    \
    switch (size) {                                                                                \
    case 1:                                                                                        \
        HOST_CMPS(prefix, "b");                                                                    \
        break;                                                                                     \
    case 2:                                                                                        \
        HOST_CMPS(prefix, "w");                                                                    \
        break;                                                                                     \
    case 4:                                                                                        \
        HOST_CMPS(prefix, "l");                                                                    \
        break;                                                                                     \
    default:                                                                                       \
        HOST_CMPS(prefix, "q");                                                                    \
        break;                                                                                     \
    }

/* Compares until the elements run out or the condition ends it; returns how many are left. */
static uint64_t host_cmps(const uint8_t *first, const uint8_t *second, uint64_t elements,
                          unsigned int size, bool while_equal, uint16_t *arithmetic)
{
    uint64_t flags;
    if (while_equal) {
        HOST_CMPS_SIZES("repe")
    } else {
        HOST_CMPS_SIZES("repne")
    }
    *arithmetic = (uint16_t)flags;
    return elements;
}

#define HOST_SCAS(prefix, suffix)                                                                  \
    __asm__ volatile(prefix " scas" suffix SOFT_ALU_CAPTURE                                        \
                     : "+D"(at), "+c"(elements), "+a"(accumulator)                                 \
                     :                                                                             \
                     : "cc", "memory")
#define HOST_SCAS_SIZES(prefix)                                                                    \
    switch (size) {                                                                                \
    case 1:                                                                                        \
        HOST_SCAS(prefix, "b");                                                                    \
        break;                                                                                     \
    case 2:                                                                                        \
        HOST_SCAS(prefix, "w");                                                                    \
        break;                                                                                     \
    case 4:                                                                                        \
        HOST_SCAS(prefix, "l");                                                                    \
        break;                                                                                     \
    default:                                                                                       \
        HOST_SCAS(prefix, "q");                                                                    \
        break;                                                                                     \
    }

static uint64_t host_scas(const uint8_t *at, uint64_t accumulator, uint64_t elements,
                          unsigned int size, bool while_equal, uint16_t *arithmetic)
{
    if (while_equal) {
        HOST_SCAS_SIZES("repe")
    } else {
        HOST_SCAS_SIZES("repne")
    }
    *arithmetic = (uint16_t)accumulator; /* the capture ended up in AX */
    return elements;
}

/* --- the instructions: a chunk where there is one, else one element --- */

void soft_movs(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    struct soft_string string = soft_string_begin(cpu, in);
    uint64_t count;
    while ((count = soft_string_count(&string)) != 0) {
        uint64_t from = soft_string_source(&string, SOFT_READ);
        uint64_t to = soft_string_destination(&string, SOFT_WRITE);
        const uint8_t *source = source_chunk(&string, from, &count);
        uint8_t *destination =
            source == NULL ? NULL : destination_chunk(&string, to, SOFT_WRITE, &count);
        if (destination != NULL) {
            host_movs(destination, source, count, string.size);
            soft_chunk_written(cpu, to, count * string.size);
        } else {
            count = 1;
            soft_write(cpu, to, soft_read(cpu, from, string.size), string.size);
        }
        soft_string_advance(&string, true, true, count);
        if (!string.repeat || (soft_string_count(&string) != 0 && soft_string_pause(&string))) {
            return;
        }
    }
}

void soft_stos(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    struct soft_string string = soft_string_begin(cpu, in);
    uint64_t count;
    while ((count = soft_string_count(&string)) != 0) {
        uint64_t to = soft_string_destination(&string, SOFT_WRITE);
        uint8_t *destination = destination_chunk(&string, to, SOFT_WRITE, &count);
        if (destination != NULL) {
            host_stos(destination, cpu->gpr[X86_RAX], count, string.size);
            soft_chunk_written(cpu, to, count * string.size);
        } else {
            count = 1;
            soft_write(cpu, to, soft_get_register(cpu, X86_RAX, string.size, true), string.size);
        }
        soft_string_advance(&string, false, true, count);
        if (!string.repeat || (soft_string_count(&string) != 0 && soft_string_pause(&string))) {
            return;
        }
    }
}

void soft_lods(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    struct soft_string string = soft_string_begin(cpu, in);
    while (soft_string_count(&string) != 0) {
        uint64_t value = soft_read(cpu, soft_string_source(&string, SOFT_READ), string.size);
        soft_set_register(cpu, X86_RAX, string.size, true, value);
        soft_string_advance(&string, true, false, 1);
        if (!string.repeat || (soft_string_count(&string) != 0 && soft_string_pause(&string))) {
            return;
        }
    }
}

/* True when a comparison's outcome ends REPE or REPNE. */
static bool comparison_ends(const struct soft_string *string)
{
    bool equal = (string->cpu->arithmetic & SOFT_ARITHMETIC_ZF) != 0;
    bool while_equal = (string->decoded->flags & X86_INSTRUCTION_REPNE) == 0;
    return equal != while_equal;
}

void soft_cmps(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    static soft_alu_function *const compare[4] = SOFT_ALU_SIZES(cmp);
    struct soft_string string = soft_string_begin(cpu, in);
    bool while_equal = (in->decoded.flags & X86_INSTRUCTION_REPNE) == 0;
    uint64_t count;
    while ((count = soft_string_count(&string)) != 0) {
        uint64_t first = soft_string_source(&string, SOFT_READ);
        uint64_t second = soft_string_destination(&string, SOFT_READ);
        const uint8_t *one = source_chunk(&string, first, &count);
        const uint8_t *other =
            one == NULL ? NULL : destination_chunk(&string, second, SOFT_READ, &count);
        if (other != NULL) {
            count -= host_cmps(one, other, count, string.size, while_equal, &cpu->arithmetic);
        } else {
            count = 1;
            uint64_t a = soft_read(cpu, first, string.size);
            uint64_t b = soft_read(cpu, second, string.size);
            compare[soft_size_index(string.size)](&cpu->arithmetic, a, b);
        }
        soft_string_advance(&string, true, true, count);
        if (!string.repeat || comparison_ends(&string) ||
            (soft_string_count(&string) != 0 && soft_string_pause(&string))) {
            return;
        }
    }
}

void soft_scas(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    static soft_alu_function *const compare[4] = SOFT_ALU_SIZES(cmp);
    struct soft_string string = soft_string_begin(cpu, in);
    bool while_equal = (in->decoded.flags & X86_INSTRUCTION_REPNE) == 0;
    uint64_t count;
    while ((count = soft_string_count(&string)) != 0) {
        uint64_t linear = soft_string_destination(&string, SOFT_READ);
        const uint8_t *at = destination_chunk(&string, linear, SOFT_READ, &count);
        if (at != NULL) {
            count -=
                host_scas(at, cpu->gpr[X86_RAX], count, string.size, while_equal, &cpu->arithmetic);
        } else {
            count = 1;
            uint64_t value = soft_read(cpu, linear, string.size);
            compare[soft_size_index(string.size)](&cpu->arithmetic, cpu->gpr[X86_RAX], value);
        }
        soft_string_advance(&string, false, true, count);
        if (!string.repeat || comparison_ends(&string) ||
            (soft_string_count(&string) != 0 && soft_string_pause(&string))) {
            return;
        }
    }
}
