/* A machine on the processor of vtx_fake.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vtx_fake.h"
#include "x86/msr.h"

#define CODE   UINT64_C(0x1000)
#define TABLES UINT64_C(0x100000) /* of the guest's paging; each mode maps 4 MiB to themselves */

static void put64(uint64_t where, uint64_t value)
{
    memcpy(fake_memory(where), &value, sizeof(value));
}

static void write_tables(enum fake_mode mode)
{
    memset(fake_memory(TABLES), 0, 3 * VTX_PAGE_SIZE);
    if (mode == FAKE_PAGED) {
        put64(TABLES, 0x83); /* one page of 4 MiB */
        return;
    }
    uint64_t pointers = mode == FAKE_LONG ? TABLES + 0x1000 : TABLES;
    uint64_t directory = TABLES + 0x2000;
    if (mode == FAKE_LONG) {
        put64(TABLES, (TABLES + 0x1000) | 7);
    }
    put64(pointers, directory | (mode == FAKE_LONG ? 7 : 1));
    put64(directory, 0x87);
    put64(directory + 8, 0x200087);
}

static struct x86_segment flat(uint16_t selector, uint32_t attributes)
{
    return (struct x86_segment){
        .limit = UINT32_MAX, .attributes = attributes, .selector = selector};
}

void fake_state(enum fake_mode mode, struct x86_state *state)
{
    x86_state_reset(state);
    state->segment[X86_CS].base = 0;
    state->segment[X86_CS].selector = 0;
    state->rip = CODE;
    state->gpr[X86_RSP] = 0x8000;
    if (mode == FAKE_REAL) {
        return;
    }
    for (unsigned int i = 0; i < X86_SEGMENT_COUNT; i++) {
        state->segment[i] = flat(0x10, X86_SEGMENT_G | X86_SEGMENT_DB | 0x93);
    }
    uint32_t size = mode == FAKE_LONG ? X86_SEGMENT_L : X86_SEGMENT_DB;
    state->segment[X86_CS] = flat(8, X86_SEGMENT_G | size | 0x9b);
    state->cr0 = X86_CR0_PE | X86_CR0_ET | X86_CR0_NE;
    if (mode >= FAKE_PAGED) {
        state->cr0 |= X86_CR0_PG;
        state->cr3 = TABLES;
        state->cr4 = mode == FAKE_PAGED ? X86_CR4_PSE : X86_CR4_PAE;
        write_tables(mode);
    }
    if (mode == FAKE_LONG) {
        state->efer = X86_EFER_LME | X86_EFER_LMA | X86_EFER_SCE | X86_EFER_NXE;
    }
}

static void require(enum vtx_status status, const struct error *error)
{
    if (status != VTX_OK) {
        fprintf(stderr, "vtx_machine.c: %s\n", error->text);
        abort();
    }
}

void fake_machine_set_mode(struct fake_machine *machine, enum fake_mode mode)
{
    fake_state(mode, &machine->state);
    vtx_vcpu_leave_context(machine->vcpu);
    vtx_vcpu_set_state(machine->vcpu, X86_STATE_ALL, &machine->state);
    vtx_vcpu_enter_context(machine->vcpu);
}

void fake_machine_start(struct fake_machine *machine, enum vtx_policy policy)
{
    struct error *error = &machine->error;
    struct vtx_capabilities *capabilities = &machine->capabilities;
    require(vtx_capabilities_read(capabilities, error), error);
    vtx_cpuid_supported(capabilities, &machine->cpuid);
    require(vtx_cpu_prepare(&machine->cpu, &fake_host, capabilities, error), error);
    require(vtx_cpu_enter(&machine->cpu, error), error);
    require(vtx_vm_create(&machine->vm, &fake_host, capabilities, policy), error);
    const struct vtx_memory_slot slots[] = {{.start = 0, .length = FAKE_MEMORY}};
    require(vtx_vm_set_memory(&machine->vm, slots, 1), error);
    require(vtx_ept_map(&machine->vm.ept, 0, FAKE_RAM, FAKE_MEMORY, VTX_EPT_ALL, VTX_WRITE_BACK,
                        VTX_SIZE_1G),
            error);
    machine->vcpu = aligned_alloc(64, (sizeof(*machine->vcpu) + 63) / 64 * 64);
    if (machine->vcpu == NULL) {
        abort();
    }
    const struct vtx_vcpu_options options = {
        .vm = &machine->vm, .cpuid = &machine->cpuid, .vpid = 1};
    require(vtx_vcpu_create(machine->vcpu, &options, error), error);
    require(vtx_vcpu_load(machine->vcpu, &machine->cpu, error), error);
    memset(fake_memory(0), 0, FAKE_MEMORY);
    fake_machine_set_mode(machine, FAKE_LONG);
}

void fake_machine_begin(struct fake_machine *machine, enum vtx_policy policy, enum fake_mode mode)
{
    fake_reset();
    fake_machine_start(machine, policy);
    fake_machine_set_mode(machine, mode);
}

bool fake_machine_stop(struct fake_machine *machine)
{
    bool clean = machine->vcpu->failed_field == 0;
    vtx_vcpu_leave_context(machine->vcpu);
    clean = clean && fake_msr(X86_MSR_IA32_DEBUGCTL) == 0x4000;
    vtx_vcpu_unload(machine->vcpu);
    vtx_vcpu_destroy(machine->vcpu);
    vtx_vm_destroy(&machine->vm);
    vtx_cpu_leave(&machine->cpu);
    vtx_cpu_release(&machine->cpu);
    free(machine->vcpu);
    return clean && fake_pages_in_use == 0 && !fake.in_root && fake.unknown_msrs == 0;
}

enum vtx_outcome fake_run(struct fake_machine *machine, struct fake_exit exit)
{
    fake_queue(exit);
    return vtx_vcpu_run(machine->vcpu);
}
