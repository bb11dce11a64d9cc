#include "engines/vtx/vtx_internal.h"

#include "x86/vmx.h"

/* Exits by the names of the manual; the rarest are one line together. */
static const struct {
    enum vmx_exit_reason reason;
    const char *name;
} shown[] = {
    {VMX_REASON_EXCEPTION_OR_NMI, "VM exits: exception or NMI"},
    {VMX_REASON_EXTERNAL_INTERRUPT, "VM exits: external interrupt"},
    {VMX_REASON_INTERRUPT_WINDOW, "VM exits: interrupt window"},
    {VMX_REASON_NMI_WINDOW, "VM exits: NMI window"},
    {VMX_REASON_TASK_SWITCH, "VM exits: task switch"},
    {VMX_REASON_CPUID, "VM exits: CPUID"},
    {VMX_REASON_HLT, "VM exits: HLT"},
    {VMX_REASON_INVLPG, "VM exits: INVLPG"},
    {VMX_REASON_RDTSC, "VM exits: RDTSC"},
    {VMX_REASON_VMCALL, "VM exits: VMCALL"},
    {VMX_REASON_CONTROL_REGISTER, "VM exits: control register"},
    {VMX_REASON_MOV_DR, "VM exits: debug register"},
    {VMX_REASON_IO_INSTRUCTION, "VM exits: I/O instruction"},
    {VMX_REASON_RDMSR, "VM exits: RDMSR"},
    {VMX_REASON_WRMSR, "VM exits: WRMSR"},
    {VMX_REASON_PAUSE, "VM exits: PAUSE"},
    {VMX_REASON_GDTR_OR_IDTR, "VM exits: GDTR or IDTR"},
    {VMX_REASON_LDTR_OR_TR, "VM exits: LDTR or TR"},
    {VMX_REASON_EPT_VIOLATION, "VM exits: EPT violation"},
    {VMX_REASON_RDTSCP, "VM exits: RDTSCP"},
    {VMX_REASON_WBINVD, "VM exits: WBINVD"},
    {VMX_REASON_XSETBV, "VM exits: XSETBV"},
};

#define SHOWN (sizeof(shown) / sizeof(shown[0]))

/* Lines under way into the caller's array. */
struct rows {
    struct engine_counter *counters;
    unsigned int count, max;
};

static void add(struct rows *rows, const char *name, enum engine_counter_unit unit, uint64_t value,
                uint64_t of)
{
    if (rows->count < rows->max) {
        rows->counters[rows->count++] =
            (struct engine_counter){.name = name, .unit = unit, .value = value, .of = of};
    }
}

static uint64_t all_exits(const struct trapeze_vtx_statistics *statistics)
{
    uint64_t sum = 0;
    for (unsigned int i = 0; i < TRAPEZE_VTX_EXIT_REASONS; i++) {
        sum += statistics->exits[i];
    }
    return sum;
}

static void add_exits(struct rows *rows, const struct trapeze_vtx_statistics *statistics)
{
    uint64_t all = all_exits(statistics), rest = all;
    add(rows, "VM exits", ENGINE_COUNT, all, 0);
    add(rows, "served in the core", ENGINE_COUNT, statistics->exits_inside, all);
    for (size_t i = 0; i < SHOWN; i++) {
        uint64_t count = statistics->exits[shown[i].reason];
        rest -= count;
        if (count != 0) {
            add(rows, shown[i].name, ENGINE_COUNT, count, all);
        }
    }
    if (rest != 0) {
        add(rows, "VM exits: others", ENGINE_COUNT, rest, all);
    }
}

unsigned int vtx_statistics_rows(const struct trapeze_vtx_statistics *statistics,
                                 struct engine_counter *counters, unsigned int max)
{
    struct rows rows = {.counters = counters, .max = max};
    add(&rows, "VM entries", ENGINE_COUNT, statistics->entries, 0);
    add_exits(&rows, statistics);
    add(&rows, "returns to the program", ENGINE_COUNT, statistics->returns, 0);
    add(&rows, "doorbells rung", ENGINE_COUNT, statistics->doorbells, 0);
    add(&rows, "VMCS made current", ENGINE_COUNT, statistics->loads, 0);
    return rows.count;
}

unsigned int vtx_vcpu_statistics(const struct engine_vcpu *vcpu, struct engine_counter *counters,
                                 unsigned int max)
{
    struct trapeze_vtx_statistics statistics;
    if (device_ioctl(vcpu->fd, TRAPEZE_VTX_STATISTICS, &statistics) < 0) {
        return 0;
    }
    unsigned int count = vtx_statistics_rows(&statistics, counters, max);
    /* The VM's, told once. */
    if (vcpu->index == 0 && count + 2 <= max) {
        counters[count++] = (struct engine_counter){.name = "guest memory in 2 MiB pages",
                                                    .unit = ENGINE_BYTES,
                                                    .value = statistics.pages_large << 21};
        counters[count++] = (struct engine_counter){.name = "guest memory in 4 KiB pages",
                                                    .unit = ENGINE_BYTES,
                                                    .value = statistics.pages_small << 12};
    }
    return count;
}
