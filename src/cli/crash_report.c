#include "cli/crash_report.h"

#include <inttypes.h>
#include <string.h>

#include "cli/dump_state.h"
#include "machine/linear_memory.h"
#include "x86/decode/decode.h"
#include "x86/disassemble.h"
#include "x86/entry_checks.h"

static const char *exception_name(uint8_t vector)
{
    static const char *const names[] = {
        [X86_VECTOR_DE] = "#DE divide error",
        [X86_VECTOR_DB] = "#DB debug exception",
        [X86_VECTOR_NMI] = "NMI",
        [X86_VECTOR_BP] = "#BP breakpoint",
        [X86_VECTOR_OF] = "#OF overflow",
        [X86_VECTOR_BR] = "#BR bound range exceeded",
        [X86_VECTOR_UD] = "#UD invalid opcode",
        [X86_VECTOR_NM] = "#NM no x87 or vector unit",
        [X86_VECTOR_DF] = "#DF double fault",
        [X86_VECTOR_TS] = "#TS invalid TSS",
        [X86_VECTOR_NP] = "#NP segment not present",
        [X86_VECTOR_SS] = "#SS stack-segment fault",
        [X86_VECTOR_GP] = "#GP general protection",
        [X86_VECTOR_PF] = "#PF page fault",
        [X86_VECTOR_MF] = "#MF x87 floating-point error",
        [X86_VECTOR_AC] = "#AC alignment check",
        [X86_VECTOR_MC] = "#MC machine check",
        [X86_VECTOR_XM] = "#XM SIMD floating-point exception",
    };
    const char *name = vector < sizeof(names) / sizeof(names[0]) ? names[vector] : NULL;
    return name != NULL ? name : "an exception";
}

static void print_exceptions(const struct vcpu_exit *exit, FILE *out)
{
    if (exit->shutdown.exception_count == 0) {
        fputs("  the engine cannot tell which exceptions led to it\n", out);
        return;
    }
    for (unsigned int i = 0; i < exit->shutdown.exception_count && i < EXIT_EXCEPTIONS_MAX; i++) {
        const struct exit_exception *exception = &exit->shutdown.exceptions[i];
        fprintf(out, "  %s %s (vector %u) at rip 0x%" PRIx64, i == 0 ? "first" : "then",
                exception_name(exception->vector), exception->vector, exception->rip);
        if (exception->has_error) {
            fprintf(out, ", error code 0x%x", exception->error);
        }
        if (exception->vector == X86_VECTOR_PF) {
            fprintf(out, ", address 0x%" PRIx64, exception->address);
        }
        fputc('\n', out);
    }
}

static void print_general(const struct x86_state *state, FILE *out)
{
    static const char names[X86_GPR_COUNT][4] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp",
                                                 "rsi", "rdi", "r8",  "r9",  "r10", "r11",
                                                 "r12", "r13", "r14", "r15"};
    for (unsigned int i = 0; i < X86_GPR_COUNT; i++) {
        fprintf(out, "  %-3s %016" PRIx64, names[i], state->gpr[i]);
        if (i % 4 == 3) {
            fputc('\n', out);
        }
    }
    fprintf(out, "  rip %016" PRIx64 "  flags %08" PRIx64 "\n", state->rip, state->rflags);
}

static void print_system(const struct x86_state *state, FILE *out)
{
    static const char names[X86_SEGMENT_ALL_COUNT][4] = {"es", "cs", "ss",  "ds",
                                                         "fs", "gs", "ldt", "tr"};
    for (unsigned int i = 0; i < X86_SEGMENT_ALL_COUNT; i++) {
        const struct x86_segment *segment = &state->segment[i];
        fprintf(out, "  %-3s %04x base %016" PRIx64 " limit %08x attributes %05x\n", names[i],
                segment->selector, segment->base, segment->limit, segment->attributes);
    }
    fprintf(out, "  gdt base %016" PRIx64 " limit %04x  idt base %016" PRIx64 " limit %04x\n",
            state->gdtr.base, state->gdtr.limit, state->idtr.base, state->idtr.limit);
    fprintf(out,
            "  cr0 %016" PRIx64 "  cr2 %016" PRIx64 "  cr3 %016" PRIx64 "\n  cr4 %016" PRIx64
            "  cr8 %016" PRIx64 "  efer %016" PRIx64 "\n",
            state->cr0, state->cr2, state->cr3, state->cr4, state->cr8, state->efer);
}

static void print_instruction(struct vm *vm, const struct x86_state *state, FILE *out)
{
    uint8_t bytes[X86_INSTRUCTION_MAX];
    enum x86_decode_mode mode = disassemble_mode(state);
    uint64_t address = state->rip;
    if (mode != X86_DECODE_64) {
        address = (state->segment[X86_CS].base + state->rip) & UINT64_C(0xffffffff);
    }
    size_t length = linear_read(vm->memory, state, address, bytes, sizeof(bytes));
    if (length == 0) {
        fprintf(out, "  nothing is mapped at rip (linear address 0x%" PRIx64 ")\n", address);
        return;
    }
    char text[128];
    struct x86_instruction instruction;
    if (x86_decode(mode, bytes, length, &instruction) == X86_DECODE_OK) {
        length = instruction.length;
    }
    disassemble(mode, state->rip, bytes, length, text, sizeof(text)); /* no text: bytes alone */
    fputs("  at rip:", out);
    for (size_t i = 0; i < length; i++) {
        fprintf(out, " %02x", bytes[i]);
    }
    fprintf(out, "%s%s\n", text[0] != '\0' ? "  " : "", text);
}

/* The entry doctor's findings, indented like the rest. */
static void print_broken_rules(const struct vcpu *vcpu, FILE *out)
{
    struct saved_state state;
    struct entry_violation violations[ENTRY_VIOLATIONS_MAX];
    if (!dump_state_of(vcpu, &state)) {
        return;
    }
    unsigned int count = entry_checks_run(&state.entry, violations, ENTRY_VIOLATIONS_MAX);
    if (count == 0) {
        fputs("  it keeps every rule of VM entry that Trapeze knows: the cause may be the "
              "hypervisor's own part\n",
              out);
    }
    for (unsigned int i = 0; i < count && i < ENTRY_VIOLATIONS_MAX; i++) {
        char text[ENTRY_TEXT_MAX];
        entry_violation_describe(&violations[i], text, sizeof(text));
        for (const char *line = text; *line != '\0';) {
            size_t length = strcspn(line, "\n");
            fprintf(out, "  %.*s\n", (int)length, line);
            line += length + (line[length] == '\n');
        }
    }
}

/* True if the engine failed on account of what a vCPU's guest did: its registers tell more. */
static bool failed_on_guest(const struct vm *vm)
{
    if (vm->outcome_vcpu >= vm->vcpu_count) {
        return false;
    }
    enum exit_reason reason = vm->vcpus[vm->outcome_vcpu].exit.reason;
    return reason == EXIT_INTERNAL || reason == EXIT_ENTRY_FAILED;
}

bool crash_report_is_due(const struct vm *vm, enum vm_outcome outcome)
{
    return outcome == VM_TRIPLE_FAULT || (outcome == VM_ENGINE_FAILED && failed_on_guest(vm));
}

void crash_report_print(struct vm *vm, unsigned int vcpu, FILE *out)
{
    const struct vcpu *ended = &vm->vcpus[vcpu];
    enum exit_reason reason = ended->exit.reason;
    if (reason == EXIT_ENTRY_FAILED) {
        fprintf(out, "trapeze: the processor refused the state of vCPU %u:\n", vcpu);
        print_broken_rules(ended, out);
    } else {
        fprintf(out, "trapeze: vCPU %u %s:\n", vcpu,
                reason == EXIT_SHUTDOWN ? "shut down" : "could not go on");
    }
    if (reason == EXIT_SHUTDOWN) {
        print_exceptions(&ended->exit, out);
    }
    if (!ended->final_known) {
        fputs("  its registers are not known\n", out);
        return;
    }
    print_general(&ended->final, out);
    print_system(&ended->final, out);
    print_instruction(vm, &ended->final, out);
}
