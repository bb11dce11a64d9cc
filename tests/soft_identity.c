#include "soft_identity.h"

#include <string.h>

#include "engines/soft/cpuid.h"
#include "engines/soft/memory.h"
#include "engines/soft/translate.h"

struct soft_cpu identity_cpu;
struct vcpu_exit identity_exit;
bool identity_left, identity_chunks, identity_pdptes_good;
uint64_t identity_wall;

static uint64_t identity_base;
static struct soft_vm identity_vm;

/* --- leaving --- */

static _Noreturn void leave(struct soft_cpu *cpu, enum x86_vector vector, bool has_error,
                            uint32_t error)
{
    cpu->exception_vector = (uint8_t)vector;
    cpu->exception_has_error = has_error;
    cpu->exception_error = error;
    siglongjmp(cpu->escape, SOFT_ESCAPE_EXCEPTION);
}

void soft_raise(struct soft_cpu *cpu, enum x86_vector vector)
{
    leave(cpu, vector, false, 0);
}

void soft_raise_error(struct soft_cpu *cpu, enum x86_vector vector, uint32_t error)
{
    leave(cpu, vector, true, error);
}

void soft_raise_page_fault(struct soft_cpu *cpu, uint64_t linear, uint32_t error)
{
    cpu->cr2 = linear;
    leave(cpu, X86_VECTOR_PF, true, error);
}

void soft_leave_and_restart(struct soft_cpu *cpu)
{
    siglongjmp(cpu->escape, SOFT_ESCAPE_EXIT);
}

void soft_leave_after(struct soft_cpu *cpu)
{
    (void)cpu;
    identity_left = true;
}

void soft_undefined(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    (void)in;
    soft_raise(cpu, X86_VECTOR_UD);
}

void soft_mode_changed(struct soft_cpu *cpu)
{
    const struct x86_segment *code = &cpu->segment[X86_CS];
    bool is_64bit = soft_long_mode(cpu) && (code->attributes & X86_SEGMENT_L) != 0;
    bool is_32bit = (code->attributes & X86_SEGMENT_DB) != 0;
    cpu->mode = is_64bit ? X86_DECODE_64 : is_32bit ? X86_DECODE_32 : X86_DECODE_16;
    uint32_t dpl = cpu->segment[X86_SS].attributes & X86_SEGMENT_DPL;
    cpu->cpl = (uint8_t)(soft_protected(cpu) ? dpl >> X86_SEGMENT_DPL_SHIFT : 0);
    cpu->address_mask = UINT64_MAX; /* identity_base lies anywhere */
}

void soft_set_rflags(struct soft_cpu *cpu, uint64_t rflags)
{
    cpu->flags = (rflags & ~X86_FLAGS_ARITHMETIC) | X86_FLAGS_ONE;
    soft_set_arithmetic_flags(cpu, rflags);
}

/* --- memory --- */

static uint64_t cut(uint64_t value, unsigned int size)
{
    return size == 8 ? value : size == 4 ? (uint32_t)value : (uint16_t)value;
}

uint64_t soft_linear(struct soft_cpu *cpu, unsigned int segment, uint64_t offset, unsigned int size,
                     enum soft_access access)
{
    (void)access;
    enum x86_vector vector = segment == X86_SS ? X86_VECTOR_SS : X86_VECTOR_GP;
    if (soft_64bit(cpu)) {
        if (!soft_canonical(cpu, offset)) {
            soft_raise_error(cpu, vector, 0);
        }
        return offset + (segment == X86_FS || segment == X86_GS ? cpu->segment[segment].base : 0);
    }
    if (offset + size - 1 > cpu->segment[segment].limit) {
        soft_raise_error(cpu, vector, 0);
    }
    return identity_base + offset;
}

uint64_t soft_effective_address(const struct soft_cpu *cpu, const struct x86_instruction *in)
{
    uint64_t address = (uint64_t)(int64_t)in->displacement + (cpu->gpr[in->index] << in->scale);
    address += in->base == X86_REGISTER_RIP ? cpu->next_rip : cpu->gpr[in->base];
    return cut(address, in->address_size);
}

uint64_t soft_operand_linear(struct soft_cpu *cpu, const struct x86_instruction *in,
                             unsigned int size, enum soft_access access)
{
    return soft_linear(cpu, in->segment, soft_effective_address(cpu, in), size, access);
}

void soft_check_write(struct soft_cpu *cpu, uint64_t linear, size_t length)
{
    if (identity_wall != 0 && linear + length > identity_wall) {
        soft_raise_page_fault(cpu, linear < identity_wall ? identity_wall : linear, X86_PF_WRITE);
    }
}

uint64_t soft_read(struct soft_cpu *cpu, uint64_t linear, unsigned int size)
{
    (void)cpu;
    uint64_t value = 0;
    memcpy(&value, (const void *)linear, size);
    return value;
}

void soft_write(struct soft_cpu *cpu, uint64_t linear, uint64_t value, unsigned int size)
{
    soft_check_write(cpu, linear, size);
    memcpy((void *)linear, &value, size);
}

void soft_read_bytes(struct soft_cpu *cpu, uint64_t linear, void *buffer, size_t length)
{
    (void)cpu;
    memcpy(buffer, (const void *)linear, length);
}

void soft_write_bytes(struct soft_cpu *cpu, uint64_t linear, const void *buffer, size_t length)
{
    soft_check_write(cpu, linear, length);
    memcpy((void *)linear, buffer, length);
}

/* --- the same as the processor itself, or as another level: no difference here --- */

uint64_t soft_system_read(struct soft_cpu *cpu, uint64_t linear, unsigned int size)
{
    return soft_read(cpu, linear, size);
}

void soft_system_write(struct soft_cpu *cpu, uint64_t linear, uint64_t value, unsigned int size)
{
    soft_write(cpu, linear, value, size);
}

void soft_system_check_write(struct soft_cpu *cpu, uint64_t linear, size_t length)
{
    soft_check_write(cpu, linear, length);
}

uint8_t soft_system_update(struct soft_cpu *cpu, uint64_t linear, uint8_t clear, uint8_t set)
{
    uint8_t before = (uint8_t)soft_read(cpu, linear, 1);
    soft_write(cpu, linear, (uint64_t)((before & ~clear) | set), 1);
    return before;
}

void soft_write_as(struct soft_cpu *cpu, bool user, uint64_t linear, uint64_t value,
                   unsigned int size)
{
    (void)user;
    soft_write(cpu, linear, value, size);
}

void soft_check_write_as(struct soft_cpu *cpu, bool user, uint64_t linear, size_t length)
{
    (void)user;
    soft_check_write(cpu, linear, length);
}

bool soft_physical_read(struct soft_cpu *cpu, uint64_t address, void *buffer, size_t length)
{
    (void)cpu;
    memcpy(buffer, (const void *)address, length);
    return true;
}

/* --- operands --- */

void soft_rmw_begin(struct soft_cpu *cpu, struct soft_rmw *rmw, uint64_t linear, unsigned int size,
                    bool locked)
{
    (void)locked;
    soft_check_write(cpu, linear, size);
    *rmw = (struct soft_rmw){.host = (void *)linear, .linear = linear, .size = size};
}

void soft_rmw_end(struct soft_cpu *cpu, struct soft_rmw *rmw)
{
    (void)cpu, (void)rmw;
}

uint8_t *soft_chunk(struct soft_cpu *cpu, uint64_t linear, enum soft_access access,
                    uint64_t *available)
{
    *available = SOFT_PAGE_SIZE - (linear & SOFT_PAGE_MASK);
    if (access == SOFT_WRITE) {
        soft_check_write(cpu, linear, 1);
    }
    return identity_chunks ? (uint8_t *)linear : NULL;
}

void soft_chunk_written(struct soft_cpu *cpu, uint64_t linear, uint64_t length)
{
    (void)cpu, (void)linear, (void)length;
}

uint64_t soft_read_rm(struct soft_cpu *cpu, const struct x86_instruction *in, unsigned int size)
{
    if ((in->flags & X86_INSTRUCTION_MEMORY) == 0) {
        return soft_get_register(cpu, in->rm, size, (in->flags & X86_INSTRUCTION_REX) != 0);
    }
    return soft_read(cpu, soft_operand_linear(cpu, in, size, SOFT_READ), size);
}

void soft_write_rm(struct soft_cpu *cpu, const struct x86_instruction *in, unsigned int size,
                   uint64_t value)
{
    if ((in->flags & X86_INSTRUCTION_MEMORY) == 0) {
        soft_set_register(cpu, in->rm, size, (in->flags & X86_INSTRUCTION_REX) != 0, value);
        return;
    }
    soft_write(cpu, soft_operand_linear(cpu, in, size, SOFT_WRITE), value, size);
}

unsigned int soft_stack_width(const struct soft_cpu *cpu)
{
    if (soft_64bit(cpu)) {
        return 8;
    }
    return (cpu->segment[X86_SS].attributes & X86_SEGMENT_DB) != 0 ? 4 : 2;
}

void soft_add_rsp(struct soft_cpu *cpu, int64_t delta)
{
    soft_set_register(cpu, X86_RSP, soft_stack_width(cpu), true,
                      cpu->gpr[X86_RSP] + (uint64_t)delta);
}

static uint64_t stack_offset(const struct soft_cpu *cpu, uint64_t displacement)
{
    return cut(cpu->gpr[X86_RSP] + displacement, soft_stack_width(cpu));
}

void soft_push(struct soft_cpu *cpu, uint64_t value, unsigned int size)
{
    uint64_t offset = stack_offset(cpu, UINT64_C(0) - size);
    soft_write(cpu, soft_linear(cpu, X86_SS, offset, size, SOFT_WRITE), value, size);
    soft_add_rsp(cpu, -(int64_t)size);
}

uint64_t soft_stack_peek(struct soft_cpu *cpu, uint64_t displacement, unsigned int size)
{
    uint64_t offset = stack_offset(cpu, displacement);
    return soft_read(cpu, soft_linear(cpu, X86_SS, offset, size, SOFT_READ), size);
}

uint64_t soft_pop(struct soft_cpu *cpu, unsigned int size)
{
    uint64_t value = soft_stack_peek(cpu, 0, size);
    soft_add_rsp(cpu, size);
    return value;
}

void soft_tlb_flush_all(struct soft_cpu *cpu)
{
    (void)cpu;
}

void soft_tlb_flush_non_global(struct soft_cpu *cpu)
{
    (void)cpu;
}

void soft_tlb_flush_page(struct soft_cpu *cpu, uint64_t linear)
{
    (void)cpu, (void)linear;
}

void soft_tlb_flush_page_of(struct soft_cpu *cpu, uint16_t pcid, uint64_t linear)
{
    (void)cpu, (void)pcid, (void)linear;
}

void soft_tlb_flush_context(struct soft_cpu *cpu, uint16_t pcid)
{
    (void)cpu, (void)pcid;
}

void soft_tlb_switch(struct soft_cpu *cpu, bool keep)
{
    (void)cpu, (void)keep;
}

bool soft_load_pdptes(struct soft_cpu *cpu, uint64_t cr3)
{
    (void)cpu, (void)cr3;
    return identity_pdptes_good;
}

bool soft_physical_write(struct soft_cpu *cpu, uint64_t address, const void *buffer, size_t length)
{
    (void)cpu;
    memcpy((void *)address, buffer, length);
    return true;
}

/* --- set-up and running --- */

static void load_flat(uint32_t code_attributes)
{
    for (unsigned int i = 0; i < X86_SEGMENT_COUNT; i++) {
        identity_cpu.segment[i] =
            (struct x86_segment){.limit = UINT32_MAX, .attributes = 0xc093, .selector = 0x10};
    }
    identity_cpu.segment[X86_CS].attributes = code_attributes;
    identity_cpu.segment[X86_TR] = (struct x86_segment){.limit = 0x67, .attributes = 0x8b};
    soft_mode_changed(&identity_cpu);
}

static void reset(void)
{
    memset(&identity_cpu, 0, sizeof identity_cpu);
    identity_vm.tsc_hz = UINT64_C(2000000000);
    identity_cpu.vm = &identity_vm;
    identity_cpu.exit = &identity_exit;
    identity_cpu.flags = X86_FLAGS_ONE;
    identity_cpu.arithmetic = 0x200;
    identity_cpu.features = UINT64_MAX;
    identity_cpu.dr[7] = X86_DR7_ONE;
    identity_base = 0;
    identity_wall = 0;
    identity_chunks = true;
    identity_pdptes_good = true;
    identity_left = false;
    soft_cpuid_supported(&identity_cpu.cpuid);
}

void identity_reset(void)
{
    reset();
    identity_cpu.cr0 = X86_CR0_PE | X86_CR0_PG | X86_CR0_ET;
    identity_cpu.cr4 = X86_CR4_PAE;
    identity_cpu.efer = X86_EFER_LME | X86_EFER_LMA | X86_EFER_SCE;
    load_flat(0xa09b);
}

void identity_reset_32(uint64_t base)
{
    reset();
    identity_cpu.cr0 = X86_CR0_PE | X86_CR0_ET;
    identity_base = base;
    load_flat(0xc09b);
}

void identity_set_cpl(unsigned int cpl)
{
    identity_cpu.segment[X86_SS].attributes &= ~X86_SEGMENT_DPL;
    identity_cpu.segment[X86_SS].attributes |= cpl << X86_SEGMENT_DPL_SHIFT;
    soft_mode_changed(&identity_cpu);
}

enum identity_result identity_try(void (*function)(struct soft_cpu *cpu))
{
    switch (sigsetjmp(identity_cpu.escape, 0)) {
    case SOFT_ESCAPE_NONE:
        function(&identity_cpu);
        return IDENTITY_DONE;
    case SOFT_ESCAPE_EXCEPTION:
        return IDENTITY_FAULT;
    default:
        return IDENTITY_EXIT;
    }
}

static struct soft_instruction running;

static void run_one(struct soft_cpu *cpu)
{
    running.execute(cpu, &running);
}

enum identity_result identity_run(const uint8_t *bytes, size_t length)
{
    enum x86_decode_mode mode = (enum x86_decode_mode)(identity_cpu.mode & SOFT_MODE_DECODE);
    if (x86_decode(mode, bytes, length, &running.decoded) != X86_DECODE_OK ||
        running.decoded.length != length) {
        return IDENTITY_UNDEFINED;
    }
    running.execute = soft_execute_table[running.decoded.operation].execute;
    if (running.execute == NULL) {
        return IDENTITY_UNDEFINED;
    }
    identity_left = false;
    identity_cpu.next_rip = identity_cpu.rip + length;
    enum identity_result result = identity_try(run_one);
    if (result == IDENTITY_DONE) {
        identity_cpu.rip = identity_cpu.next_rip;
    }
    return result;
}

bool identity_faults(const uint8_t *bytes, size_t length, unsigned int vector, int64_t error)
{
    return identity_run(bytes, length) == IDENTITY_FAULT &&
           identity_cpu.exception_vector == vector &&
           identity_cpu.exception_has_error == (error >= 0) &&
           (error < 0 || identity_cpu.exception_error == error);
}
