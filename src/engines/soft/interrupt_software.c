#include "engines/soft/flags.h"
#include "engines/soft/frame.h"
#include "engines/soft/interrupt.h"
#include "engines/soft/interrupt_enter.h"
#include "engines/soft/memory.h"
#include "engines/soft/segment_load.h"
#include "engines/soft/tss.h"

#define REDIRECTION_BITMAP_BYTES 32u

/*
 * "Software Interrupt Redirection Bit Map": the 32 bytes below the I/O permission map of the TSS; a
 * clear bit sends INT n to the program's own handler.
 */
bool soft_int_is_redirected(struct soft_cpu *cpu, uint8_t vector)
{
    const struct x86_segment *tss = &cpu->segment[X86_TR];
    if (!soft_tss_is_32bit(tss) || tss->limit < SOFT_TSS_IO_MAP_BASE + 1) {
        soft_raise_error(cpu, X86_VECTOR_GP, 0);
    }
    uint64_t map = soft_tss_read(cpu, SOFT_TSS_IO_MAP_BASE, 2);
    uint64_t position = map - REDIRECTION_BITMAP_BYTES + vector / 8u;
    if (map < REDIRECTION_BITMAP_BYTES || position > tss->limit) {
        soft_raise_error(cpu, X86_VECTOR_GP, 0);
    }
    uint64_t byte = soft_tss_read(cpu, (unsigned int)position, 1);
    return (byte >> (vector % 8u) & 1) == 0;
}

/*
 * "Class 3—Software Interrupt Handling in Virtual-8086 Mode", methods 5 and 6: as in real-address
 * mode, through the table at linear address 0; with IOPL < 3 VIF stands for IF.
 */
void soft_enter_redirected(struct soft_cpu *cpu, uint8_t vector)
{
    uint64_t pointer = soft_read(cpu, 4u * vector, 4);
    bool is_virtual = soft_iopl(cpu) < 3;
    uint64_t image = soft_rflags(cpu) & ~X86_FLAGS_RF;
    if (is_virtual) {
        image = soft_virtual_flags_image(image);
    }
    const uint64_t items[] = {image, cpu->segment[X86_CS].selector, cpu->next_rip};
    struct soft_stack stack = soft_current_stack(cpu, 0);
    struct x86_segment code = soft_virtual_8086_segment((uint16_t)(pointer >> 16));
    soft_check_frame(cpu, &stack, 3, 2);
    cpu->gpr[X86_RSP] = soft_write_frame(cpu, &stack, items, 3, 2);
    soft_event_commit(cpu, &code, pointer & 0xffff,
                      X86_FLAGS_TF | X86_FLAGS_RF | (is_virtual ? X86_FLAGS_VIF : X86_FLAGS_IF));
}

static void enter_software(struct soft_cpu *cpu, enum soft_event_kind kind, uint8_t vector)
{
    struct soft_event event = {.kind = kind, .vector = vector, .return_rip = cpu->next_rip};
    soft_enter_event(cpu, &event);
}

/* "INT n": in virtual-8086 mode it is sensitive to IOPL; INT3, INTO and INT1 are not. */
void soft_int(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    uint8_t vector = (uint8_t)in->decoded.immediate;
    if (soft_virtual_8086(cpu)) {
        if ((cpu->cr4 & X86_CR4_VME) != 0 && soft_int_is_redirected(cpu, vector)) {
            soft_enter_redirected(cpu, vector);
            return;
        }
        if (soft_iopl(cpu) < 3) {
            soft_raise_error(cpu, X86_VECTOR_GP, 0);
        }
    }
    enter_software(cpu, SOFT_EVENT_SOFTWARE, vector);
}

void soft_int1(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    (void)in;
    enter_software(cpu, SOFT_EVENT_INT1, X86_VECTOR_DB);
}

void soft_int3(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    (void)in;
    enter_software(cpu, SOFT_EVENT_SOFTWARE, X86_VECTOR_BP);
}

void soft_into(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    (void)in;
    if ((soft_arithmetic_flags(cpu) & X86_FLAGS_OF) != 0) {
        enter_software(cpu, SOFT_EVENT_SOFTWARE, X86_VECTOR_OF);
    }
}
