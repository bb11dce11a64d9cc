#include "engines/soft/debug.h"

#include "engines/soft/memory.h"

/* The R/W field of DR7. */
enum breakpoint_type { BREAK_EXECUTE, BREAK_WRITE, BREAK_IO, BREAK_ACCESS };

#define DR6_WRITABLE UINT64_C(0xe00f) /* B0..B3, BD, BS, BT */
#define DR7_WRITABLE UINT64_C(0xffff23ff)

static bool is_enabled(const struct soft_cpu *cpu, unsigned int number)
{
    return (cpu->dr[7] >> (2 * number) & 3) != 0;
}

static enum breakpoint_type type_of(const struct soft_cpu *cpu, unsigned int number)
{
    return (enum breakpoint_type)(cpu->dr[7] >> (16 + 4 * number) & 3);
}

/* The LEN field: 1, 2, 8 or 4 bytes. */
static uint64_t length_of(const struct soft_cpu *cpu, unsigned int number)
{
    static const uint8_t lengths[4] = {1, 2, 8, 4};
    return lengths[cpu->dr[7] >> (18 + 4 * number) & 3];
}

/* Do [a, a + a_size) and the breakpoint's naturally aligned field have a byte in common? */
static bool overlaps(const struct soft_cpu *cpu, unsigned int number, uint64_t at, uint64_t size)
{
    uint64_t length = length_of(cpu, number);
    uint64_t start = cpu->dr[number] & ~(length - 1);
    return at - start < length || start - at < size;
}

void soft_debug_changed(struct soft_cpu *cpu)
{
    soft_tlb_flush_all(cpu);
    if (soft_debug_armed(cpu)) {
        soft_attend(cpu, SOFT_ATTENTION_STEP);
    }
}

uint64_t soft_debug_execute_hits(const struct soft_cpu *cpu, uint64_t linear)
{
    uint64_t hits = 0;
    for (unsigned int i = 0; i < 4; i++) {
        if (is_enabled(cpu, i) && type_of(cpu, i) == BREAK_EXECUTE && cpu->dr[i] == linear) {
            hits |= UINT64_C(1) << i;
        }
    }
    return hits;
}

void soft_debug_check_data(struct soft_cpu *cpu, uint64_t linear, uint64_t size, bool is_write)
{
    for (unsigned int i = 0; i < 4; i++) {
        enum breakpoint_type type = type_of(cpu, i);
        bool watched = type == BREAK_ACCESS || (type == BREAK_WRITE && is_write);
        if (is_enabled(cpu, i) && watched && overlaps(cpu, i, linear, size)) {
            cpu->pending_dr6 |= UINT64_C(1) << i;
        }
    }
}

void soft_debug_check_io(struct soft_cpu *cpu, uint16_t port, unsigned int size)
{
    if ((cpu->cr4 & X86_CR4_DE) == 0) {
        return;
    }
    for (unsigned int i = 0; i < 4; i++) {
        if (is_enabled(cpu, i) && type_of(cpu, i) == BREAK_IO && overlaps(cpu, i, port, size)) {
            cpu->pending_dr6 |= UINT64_C(1) << i;
        }
    }
}

/*
 * The checks that MOV to and from share, in the architecture's order, and the register meant:
 * 4 and 5 are other names of 6 and 7 unless CR4.DE is set.
 */
static unsigned int checked_number(struct soft_cpu *cpu, unsigned int number)
{
    if (number >= 8 || ((number == 4 || number == 5) && (cpu->cr4 & X86_CR4_DE) != 0)) {
        soft_raise(cpu, X86_VECTOR_UD);
    }
    if (cpu->cpl != 0) {
        soft_raise_error(cpu, X86_VECTOR_GP, 0);
    }
    if ((cpu->dr[7] & X86_DR7_GD) != 0) {
        /* "General-Detect Exception Condition": a fault; GD is cleared for the handler */
        cpu->dr[7] &= ~X86_DR7_GD;
        soft_debug_report(cpu, X86_DR6_BD);
        soft_raise(cpu, X86_VECTOR_DB);
    }
    return number == 4 || number == 5 ? number + 2 : number;
}

void soft_mov_from_dr(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    unsigned int number = checked_number(cpu, in->decoded.reg);
    soft_set_register(cpu, in->decoded.rm, soft_64bit(cpu) ? 8 : 4, true, cpu->dr[number]);
}

void soft_mov_to_dr(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    unsigned int number = checked_number(cpu, in->decoded.reg);
    uint64_t value = soft_get_register(cpu, in->decoded.rm, soft_64bit(cpu) ? 8 : 4, true);
    if (number >= 6 && value >> 32 != 0) {
        soft_raise_error(cpu, X86_VECTOR_GP, 0);
    }
    if (number == 6) {
        value = (value & DR6_WRITABLE) | X86_DR6_ONES;
    } else if (number == 7) {
        value = (value & DR7_WRITABLE) | X86_DR7_ONE;
    }
    bool was_armed = soft_debug_armed(cpu);
    cpu->dr[number] = value;
    if (was_armed || soft_debug_armed(cpu)) {
        soft_debug_changed(cpu);
    }
}
