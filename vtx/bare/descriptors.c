#include "vtx/bare/descriptors.h"

#include <stdbool.h>

#include "vtx/bare/console.h"
#include "vtx/bare/finish.h"
#include "vtx/bare/machine_interrupts.h"
#include "vtx/bare/start.h"

#define VECTOR_ENTRY_SIZE 16 /* of vectors.S */
#define VECTOR_NMI        2
#define VECTOR_DF         8
#define VECTOR_MC         18
#define GATE_INTERRUPT    UINT64_C(0x8e00) /* present, DPL 0, 64-bit interrupt gate */
#define GDT_ENTRIES       6                /* null, three of start.S, TSS in two */
#define IST_USUAL         1
#define IST_GRAVE         2 /* NMI, #DF and #MC may come while the usual stack is in use */
#define STACK_SIZE        8192

extern const uint8_t vector_entries[];

/* "Task Management in 64-bit Mode". */
struct task_state_segment {
    uint32_t reserved0;
    uint64_t rsp[3];
    uint64_t reserved1;
    uint64_t ist[7];
    uint64_t reserved2;
    uint16_t reserved3, io_map_base;
} __attribute__((packed));

struct table_register {
    uint16_t limit;
    uint64_t base;
} __attribute__((packed));

struct idt_gate {
    uint64_t low, high;
};

/* Of one processor; aligned for the stacks. */
struct processor_tables {
    uint8_t usual_stack[STACK_SIZE];
    uint8_t grave_stack[STACK_SIZE];
    uint64_t gdt[GDT_ENTRIES];
    struct task_state_segment tss;
} __attribute__((aligned(16)));

static struct processor_tables tables[PROCESSORS_MAX];
static struct idt_gate idt[VECTORS]; /* the same for all; the first processor fills it in */

static const char *const exception_names[] = {
    "#DE divide error",
    "#DB debug",
    "NMI",
    "#BP breakpoint",
    "#OF overflow",
    "#BR bound range exceeded",
    "#UD invalid opcode",
    "#NM device not available",
    "#DF double fault",
    "coprocessor segment overrun",
    "#TS invalid TSS",
    "#NP segment not present",
    "#SS stack-segment fault",
    "#GP general protection",
    "#PF page fault",
    "reserved",
    "#MF x87 floating-point error",
    "#AC alignment check",
    "#MC machine check",
    "#XM SIMD floating-point exception",
};

static uint64_t read_cr2(void)
{
    uint64_t value;
    __asm__ volatile("mov %%cr2, %0" : "=r"(value));
    return value;
}

static void report_exception(const struct interrupt_frame *frame)
{
    const char *name = frame->vector < sizeof(exception_names) / sizeof(exception_names[0])
                           ? exception_names[frame->vector]
                           : "exception";
    print("\ntrapeze-bare: %s (vector %lu, error code 0x%lx) in the image at rip 0x%lx\n", name,
          frame->vector, frame->error, frame->rip);
    print("  rax %016lx  rbx %016lx  rcx %016lx  rdx %016lx\n", frame->rax, frame->rbx, frame->rcx,
          frame->rdx);
    print("  rsi %016lx  rdi %016lx  rbp %016lx  rsp %016lx\n", frame->rsi, frame->rdi, frame->rbp,
          frame->rsp);
    print("  r8  %016lx  r9  %016lx  r10 %016lx  r11 %016lx\n", frame->r8, frame->r9, frame->r10,
          frame->r11);
    print("  r12 %016lx  r13 %016lx  r14 %016lx  r15 %016lx\n", frame->r12, frame->r13, frame->r14,
          frame->r15);
    print("  rflags %08lx  cs %02lx  ss %02lx  cr2 %016lx\n", frame->rflags, frame->cs, frame->ss,
          read_cr2());
}

/* Called by vectors.S, interrupts off. */
void descriptors_handle(struct interrupt_frame *frame);

void descriptors_handle(struct interrupt_frame *frame)
{
    if (frame->vector >= VECTOR_PIC_FIRST) {
        machine_interrupts_handle((unsigned int)frame->vector - VECTOR_PIC_FIRST);
        return;
    }
    report_exception(frame);
    if (frame->vector != VECTOR_NMI) { /* nobody sends one on purpose; it is no mistake of ours */
        finish(FINISH_IMAGE_FAILED);
    }
}

static struct idt_gate gate(unsigned int vector)
{
    uint64_t entry = (uint64_t)vector_entries + (uint64_t)vector * VECTOR_ENTRY_SIZE;
    bool is_grave = vector == VECTOR_NMI || vector == VECTOR_DF || vector == VECTOR_MC;
    uint64_t ist = is_grave ? IST_GRAVE : IST_USUAL;
    return (struct idt_gate){.low = (entry & 0xffff) | SELECTOR_CODE << 16 |
                                    (ist | GATE_INTERRUPT) << 32 | (entry >> 16 & 0xffff) << 48,
                             .high = entry >> 32};
}

static void fill_gdt(struct processor_tables *own)
{
    uint64_t tss = (uint64_t)&own->tss;
    own->gdt[SELECTOR_CODE / 8] = UINT64_C(0x00af9b000000ffff);
    own->gdt[SELECTOR_DATA / 8] = UINT64_C(0x00cf93000000ffff);
    own->gdt[SELECTOR_CODE_32 / 8] = UINT64_C(0x00cf9b000000ffff);
    own->gdt[SELECTOR_TSS / 8] = (sizeof(own->tss) - 1) | (tss & 0xffffff) << 16 |
                                 UINT64_C(0x89) << 40 | (tss >> 24 & 0xff) << 56;
    own->gdt[SELECTOR_TSS / 8 + 1] = tss >> 32;
}

void descriptors_load(unsigned int index)
{
    struct processor_tables *own = &tables[index];
    own->tss.ist[IST_USUAL - 1] = (uint64_t)(own->usual_stack + STACK_SIZE);
    own->tss.ist[IST_GRAVE - 1] = (uint64_t)(own->grave_stack + STACK_SIZE);
    own->tss.io_map_base = sizeof(own->tss);
    fill_gdt(own);
    for (unsigned int vector = 0; index == 0 && vector < VECTORS; vector++) {
        idt[vector] = gate(vector);
    }
    struct table_register gdt_register = {.limit = sizeof(own->gdt) - 1,
                                          .base = (uint64_t)own->gdt};
    struct table_register idt_register = {.limit = sizeof(idt) - 1, .base = (uint64_t)idt};
    uint16_t task = SELECTOR_TSS;
    __asm__ volatile("lgdt %0\n\tlidt %1\n\tltr %2"
                     :
                     : "m"(gdt_register), "m"(idt_register), "r"(task)
                     : "memory");
}
