#include "engines/soft/io.h"

#include <string.h>

#include "engines/soft/alu.h"
#include "engines/soft/debug.h"
#include "engines/soft/memory.h"
#include "engines/soft/string.h"
#include "engines/soft/translate.h"
#include "engines/soft/tss.h"

/* An input's place among the replayed accesses: no physical address has this bit. */
#define PORT_RECORD (UINT64_C(1) << 63)

/* --- permission --- */

/* "I/O Permission Bit Map": every bit of the ports touched must be 0; two bytes are always read. */
static bool bitmap_allows(struct soft_cpu *cpu, uint16_t port, unsigned int size)
{
    const struct x86_segment *tss = &cpu->segment[X86_TR];
    if ((tss->attributes & X86_SEGMENT_UNUSABLE) != 0 || !soft_tss_is_32bit(tss) ||
        tss->limit < SOFT_TSS_IO_MAP_BASE + 1) {
        return false;
    }
    unsigned int offset = (unsigned int)soft_tss_read(cpu, SOFT_TSS_IO_MAP_BASE, 2) + port / 8u;
    if (offset + 1 > tss->limit) {
        return false;
    }
    uint64_t bits = soft_tss_read(cpu, offset, 2);
    uint64_t wanted = ((UINT64_C(1) << size) - 1) << (port & 7);
    return (bits & wanted) == 0;
}

static void check_permission(struct soft_cpu *cpu, uint16_t port, unsigned int size)
{
    bool needs_bitmap =
        soft_protected(cpu) && (cpu->cpl > soft_iopl(cpu) || soft_virtual_8086(cpu));
    if (needs_bitmap && !bitmap_allows(cpu, port, size)) {
        soft_raise_error(cpu, X86_VECTOR_GP, 0);
    }
}

/* --- exits --- */

static void prepare_exit(struct soft_cpu *cpu, uint16_t port, unsigned int size, bool is_write)
{
    struct vcpu_exit *exit = cpu->exit;
    exit->reason = EXIT_PIO;
    exit->pio.port = port;
    exit->pio.size = (uint8_t)size;
    exit->pio.is_write = is_write;
    exit->pio.count = 1;
    exit->pio.data = cpu->pio_buffer;
    soft_debug_check_io(cpu, port, size);
}

static void leave_for_output(struct soft_cpu *cpu, uint16_t port, unsigned int size, uint64_t value)
{
    memcpy(cpu->pio_buffer, &value, sizeof cpu->pio_buffer);
    prepare_exit(cpu, port, size, true);
    soft_leave_after(cpu);
}

static void prepare_input(struct soft_cpu *cpu, uint16_t port, unsigned int size)
{
    memset(cpu->pio_buffer, 0xff, sizeof cpu->pio_buffer);
    prepare_exit(cpu, port, size, false);
    cpu->completing = true;
}

void soft_io_complete(struct soft_cpu *cpu)
{
    const struct vcpu_exit *exit = cpu->exit;
    cpu->completing = false;
    if (exit->pio.is_write) {
        return;
    }
    uint64_t value = 0;
    memcpy(&value, cpu->pio_buffer, exit->pio.size);
    if (!cpu->input_restarts) {
        soft_set_register(cpu, X86_RAX, exit->pio.size, true, value);
        return;
    }
    cpu->input_restarts = false;
    struct soft_mmio_record record = {
        .address = PORT_RECORD | exit->pio.port, .value = value, .size = exit->pio.size};
    soft_mmio_record(cpu, &record);
}

/* --- IN and OUT --- */

/* E4..E7 have the port in the instruction, EC..EF in DX. */
static uint16_t port_operand(const struct soft_cpu *cpu, const struct x86_instruction *decoded)
{
    bool in_dx = (decoded->opcode & 8) != 0;
    return in_dx ? (uint16_t)cpu->gpr[X86_RDX] : (uint16_t)(decoded->immediate & 0xff);
}

void soft_in(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    unsigned int size = in->decoded.operand_size;
    uint16_t port = port_operand(cpu, &in->decoded);
    check_permission(cpu, port, size);
    prepare_input(cpu, port, size);
    soft_leave_after(cpu);
}

void soft_out(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    unsigned int size = in->decoded.operand_size;
    uint16_t port = port_operand(cpu, &in->decoded);
    check_permission(cpu, port, size);
    leave_for_output(cpu, port, size, soft_get_register(cpu, X86_RAX, size, true));
}

/* --- INS and OUTS: one element an exit --- */

/* With REP and more to do the instruction is resumed at its own address. */
static void resume_if_unfinished(struct soft_cpu *cpu, const struct soft_string *string)
{
    if (string->repeat && soft_string_count(string) != 0) {
        cpu->next_rip = cpu->rip;
        cpu->mid_string = true;
    }
}

/*
 * The value read from the port, which an exit has fetched before; else that exit. Whether memory
 * can take it was checked before, so that no input is lost.
 */
static uint64_t port_input(struct soft_cpu *cpu, uint16_t port, unsigned int size)
{
    if (cpu->mmio_next < cpu->mmio_done) {
        const struct soft_mmio_record *record = &cpu->mmio_log[cpu->mmio_next];
        if (record->address == (PORT_RECORD | port) && record->size == size) {
            cpu->mmio_next++;
            return record->value;
        }
    }
    cpu->mmio_done = cpu->mmio_next;
    if (soft_mmio_log_is_full(cpu)) {
        return UINT64_MAX;
    }
    prepare_input(cpu, port, size);
    cpu->input_restarts = true;
    soft_leave_and_restart(cpu);
}

void soft_ins(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    struct soft_string string = soft_string_begin(cpu, in);
    uint16_t port = (uint16_t)cpu->gpr[X86_RDX];
    if (soft_string_count(&string) == 0) {
        return;
    }
    check_permission(cpu, port, string.size);
    uint64_t linear = soft_string_destination(&string, SOFT_WRITE);
    soft_check_write(cpu, linear, string.size);
    soft_write(cpu, linear, port_input(cpu, port, string.size), string.size);
    soft_string_advance(&string, false, true, 1);
    resume_if_unfinished(cpu, &string);
}

void soft_outs(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    struct soft_string string = soft_string_begin(cpu, in);
    uint16_t port = (uint16_t)cpu->gpr[X86_RDX];
    if (soft_string_count(&string) == 0) {
        return;
    }
    check_permission(cpu, port, string.size);
    uint64_t value = soft_read(cpu, soft_string_source(&string, SOFT_READ), string.size);
    soft_string_advance(&string, true, false, 1);
    resume_if_unfinished(cpu, &string);
    leave_for_output(cpu, port, string.size, value);
}
