#include "engines/soft/x87.h"

#include <signal.h>
#include <string.h>

#include "engines/soft/fpu.h"
#include "engines/soft/memory.h"
#include "engines/soft/vector.h"
#include "engines/soft/vector_memory.h"

void soft_require_x87(struct soft_cpu *cpu)
{
    if ((cpu->cr0 & (X86_CR0_EM | X86_CR0_TS)) != 0) {
        soft_raise(cpu, X86_VECTOR_NM);
    }
}

void soft_wait_x87(struct soft_cpu *cpu)
{
    if (cpu->fpu->may_pend && (soft_fpu_status(cpu->fpu) & SOFT_FSW_ES) != 0) {
        soft_raise(cpu, X86_VECTOR_MF);
    }
}

void soft_execute_fwait(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    (void)in;
    const uint64_t both = X86_CR0_MP | X86_CR0_TS;
    if ((cpu->cr0 & both) == both) {
        soft_raise(cpu, X86_VECTOR_NM);
    }
    soft_wait_x87(cpu);
}

/* --- running --- */

/* Every instruction but the control instructions leaves its address and its operand's. */
static void note_pointers(struct soft_cpu *cpu, const struct x86_instruction *decoded)
{
    struct soft_x87_pointers *pointers = &cpu->fpu->pointers;
    pointers->fip = cpu->rip;
    pointers->fcs = cpu->segment[X86_CS].selector;
    pointers->fop = (uint16_t)((decoded->opcode & 7) << 8 | decoded->modrm);
    if (x86_has_memory_operand(decoded)) {
        pointers->fdp = soft_effective_address(cpu, decoded);
        pointers->fds = cpu->segment[decoded->segment].selector;
    }
}

static void run_thunk(struct soft_cpu *cpu, const struct soft_instruction *in, void *memory)
{
    thunk_function *thunk = (thunk_function *)(uintptr_t)in->thunk;
    soft_fpu_load(cpu->fpu);
    uint32_t result = thunk(&cpu->arithmetic, memory, NULL, NULL, cpu->fpu);
    if ((result & THUNK_FAULT) != 0) {
        soft_raise(cpu, (result & 0xff) == SIGFPE ? X86_VECTOR_MF : X86_VECTOR_UD);
    }
    if (result != 0) { /* FCOMI and its like; bit 9, a one in AH, is always set */
        cpu->arithmetic = (uint16_t)result;
    }
}

static void execute_register(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    soft_require_x87(cpu);
    soft_wait_x87(cpu);
    run_thunk(cpu, in, NULL);
    note_pointers(cpu, &in->decoded);
}

/* Sizes and directions of the memory operands. */
enum access { NONE, READ, WRITE, CONTROL };

struct memory_form {
    uint8_t size;
    uint8_t access; /* enum access */
};

#define EIGHT(size, access)                                                                        \
    {                                                                                              \
        {size, access}, {size, access}, {size, access}, {size, access}, {size, access},            \
            {size, access}, {size, access},                                                        \
        {                                                                                          \
            size, access                                                                           \
        }                                                                                          \
    }

/* By opcode - D8H and ModRM.reg. */
static const struct memory_form memory_forms[8][8] = {
    EIGHT(4, READ),
    {{4, READ},
     {0, NONE},
     {4, WRITE},
     {4, WRITE},
     {0, CONTROL},
     {2, CONTROL},
     {0, CONTROL},
     {2, CONTROL}},
    EIGHT(4, READ),
    {{4, READ}, {4, WRITE}, {4, WRITE}, {4, WRITE}, {0, NONE}, {10, READ}, {0, NONE}, {10, WRITE}},
    EIGHT(8, READ),
    {{8, READ},
     {8, WRITE},
     {8, WRITE},
     {8, WRITE},
     {0, CONTROL},
     {0, NONE},
     {0, CONTROL},
     {2, CONTROL}},
    EIGHT(2, READ),
    {{2, READ}, {2, WRITE}, {2, WRITE}, {2, WRITE}, {10, READ}, {8, READ}, {10, WRITE}, {8, WRITE}},
};

static struct memory_form memory_form_of(const struct x86_instruction *decoded)
{
    return memory_forms[decoded->opcode & 7][decoded->modrm >> 3 & 7];
}

static void execute_load(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    uint8_t operand[16];
    unsigned int size = memory_form_of(&in->decoded).size;
    soft_require_x87(cpu);
    soft_wait_x87(cpu);
    uint8_t *host = soft_direct_read(cpu, &in->decoded, size);
    if (host == NULL) {
        host = operand;
        soft_vector_read(cpu, soft_operand_linear(cpu, &in->decoded, size, SOFT_READ), host, size);
    }
    run_thunk(cpu, in, host);
    note_pointers(cpu, &in->decoded);
}

/*
 * "Invalid operation, overflow, underflow": an unmasked one of these keeps a store from its
 * destination. None was pending before, so a flag of an unmasked one is this instruction's own.
 */
static bool has_stored(const struct soft_fpu *fpu)
{
    const unsigned int preventing = 0x19; /* IE, OE, UE */
    return !fpu->may_pend || (soft_fpu_status(fpu) & ~soft_fpu_control(fpu) & preventing) == 0;
}

/*
 * The destination may fault or be MMIO, where the store leaves the run loop and the instruction
 * runs again: the x87 state changes only once the bytes are out.
 */
static void store_carefully(struct soft_cpu *cpu, const struct soft_instruction *in,
                            uint64_t linear, unsigned int size)
{
    struct soft_fpu *fpu = cpu->fpu;
    uint8_t operand[16] = {0};
    soft_check_write(cpu, linear, size); /* a fault comes before an exception of the x87's own */
    soft_fpu_save(fpu);
    struct soft_fxsave_image before = fpu->image;
    run_thunk(cpu, in, operand);
    bool stored = has_stored(fpu);
    soft_fpu_save(fpu);
    struct soft_fxsave_image after = fpu->image;
    fpu->image = before;
    if (stored) {
        soft_vector_write(cpu, linear, operand, size);
    }
    fpu->image = after;
}

static void execute_store(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    unsigned int size = memory_form_of(&in->decoded).size;
    soft_require_x87(cpu);
    soft_wait_x87(cpu);
    struct soft_direct_write write = soft_direct_write_begin(cpu, &in->decoded, size);
    if (write.host != NULL) {
        run_thunk(cpu, in, write.host);
        soft_direct_write_end(cpu, &write, size);
    } else {
        store_carefully(cpu, in, soft_operand_linear(cpu, &in->decoded, size, SOFT_WRITE), size);
    }
    note_pointers(cpu, &in->decoded);
}

/* --- control instructions: they leave the pointers alone --- */

static void execute_fldcw(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    soft_require_x87(cpu);
    soft_wait_x87(cpu);
    uint64_t linear = soft_operand_linear(cpu, &in->decoded, 2, SOFT_READ);
    uint16_t value = (uint16_t)soft_read(cpu, linear, 2);
    soft_fpu_load(cpu->fpu);
    __asm__ volatile("fldcw %0" : : "m"(value));
    cpu->fpu->may_pend = (value & SOFT_FSW_EXCEPTIONS) != SOFT_FSW_EXCEPTIONS;
}

static void execute_fnstcw(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    soft_require_x87(cpu);
    soft_write(cpu, soft_operand_linear(cpu, &in->decoded, 2, SOFT_WRITE),
               soft_fpu_control(cpu->fpu), 2);
}

static void execute_fnstsw(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    soft_require_x87(cpu);
    uint16_t status = soft_fpu_status(cpu->fpu);
    if (soft_is_memory(in)) {
        soft_write(cpu, soft_operand_linear(cpu, &in->decoded, 2, SOFT_WRITE), status, 2);
    } else {
        soft_set_register(cpu, X86_RAX, 2, false, status);
    }
}

static void execute_fninit(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    (void)in;
    soft_require_x87(cpu);
    soft_fpu_load(cpu->fpu);
    __asm__ volatile("fninit");
    cpu->fpu->pointers = (struct soft_x87_pointers){0};
    cpu->fpu->may_pend = false;
}

static void execute_fnclex(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    (void)in;
    soft_require_x87(cpu);
    soft_fpu_load(cpu->fpu);
    __asm__ volatile("fnclex");
}

/* FNENI, FNDISI, FNSETPM: from the 8087 and 80287, ignored since. */
static void execute_nothing(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    (void)in;
    soft_require_x87(cpu);
}

/* --- choosing --- */

void soft_execute_x87(struct soft_cpu *cpu, const struct soft_instruction *in)
{
    soft_undefined(cpu, in);
}

/* The control instructions, by opcode and ModRM.reg (memory) or all of ModRM (registers). */
struct control_form {
    uint8_t opcode, modrm; /* memory forms: mod and rm as 0 */
    soft_execute *execute;
};

static const struct control_form control_forms[] = {
    {0xd9, 4 << 3, soft_execute_fldenv},  {0xd9, 5 << 3, execute_fldcw},
    {0xd9, 6 << 3, soft_execute_fnstenv}, {0xd9, 7 << 3, execute_fnstcw},
    {0xdd, 4 << 3, soft_execute_frstor},  {0xdd, 6 << 3, soft_execute_fnsave},
    {0xdd, 7 << 3, execute_fnstsw},       {0xdf, 0xe0, execute_fnstsw},
    {0xdb, 0xe0, execute_nothing},        {0xdb, 0xe1, execute_nothing},
    {0xdb, 0xe2, execute_fnclex},         {0xdb, 0xe3, execute_fninit},
    {0xdb, 0xe4, execute_nothing},
};

static soft_execute *control_execute(const struct x86_instruction *decoded)
{
    uint8_t modrm = decoded->mod == 3 ? decoded->modrm : decoded->modrm & 0x38;
    for (size_t i = 0; i < sizeof(control_forms) / sizeof(control_forms[0]); i++) {
        if (control_forms[i].opcode == decoded->opcode && control_forms[i].modrm == modrm) {
            return control_forms[i].execute;
        }
    }
    return NULL;
}

void soft_prepare_x87(struct soft_cpu *cpu, struct soft_instruction *in)
{
    const struct x86_instruction *decoded = &in->decoded;
    soft_execute *control = control_execute(decoded);
    if (control != NULL) {
        in->execute = control;
        return;
    }
    soft_execute *execute = execute_register;
    if (decoded->mod != 3) {
        unsigned int access = memory_form_of(decoded).access;
        execute = access == READ ? execute_load : access == WRITE ? execute_store : soft_undefined;
    }
    in->thunk = thunk_for_x87(cpu->fpu->thunks, decoded->opcode, decoded->modrm);
    in->execute = in->thunk == NULL ? soft_undefined : execute;
}
