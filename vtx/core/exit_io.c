/*
 * IN, OUT and their string forms.
 *
 * Source: Intel SDM volume 3, "Exit Qualification for I/O Instructions", "Information for VM Exits
 *         Due to Instruction Execution" (INS and OUTS); volume 2, "REP/REPE/REPZ/REPNE/REPNZ".
 */
#include <string.h>

#include "vtx/core/internal.h"
#include "x86/mmio_operation.h"
#include "x86/vmx_operand.h"

uint64_t vtx_merge(uint64_t old, uint64_t value, unsigned int size)
{
    uint64_t mask = mmio_size_mask(size);
    return size == 4 ? value & mask : (old & ~mask) | (value & mask);
}

/* A register of the instruction's address size. */
static void advance(struct vtx_vcpu *vcpu, unsigned int number, uint64_t by)
{
    const struct vtx_string_io *io = &vcpu->io;
    uint64_t *gpr = &vcpu->registers.gpr[number];
    *gpr = vtx_merge(*gpr, *gpr + by, io->address_size);
}

static uint64_t counter(struct vtx_vcpu *vcpu)
{
    return vcpu->registers.gpr[X86_RCX] & mmio_size_mask(vcpu->io.address_size);
}

/* One turn is done: the registers go on, and the instruction ends, or runs again for the rest. */
static enum vtx_step finish_string(struct vtx_vcpu *vcpu)
{
    struct vtx_string_io *io = &vcpu->io;
    uint64_t bytes = (uint64_t)io->size * io->count;
    advance(vcpu, io->is_write ? X86_RSI : X86_RDI, io->is_backwards ? -bytes : bytes);
    if (!io->repeats) {
        return vtx_skip(vcpu);
    }
    advance(vcpu, X86_RCX, -(uint64_t)io->count);
    return counter(vcpu) == 0 ? vtx_skip(vcpu) : VTX_STEP_RESUME;
}

static enum vtx_step complete_string(struct vtx_vcpu *vcpu)
{
    struct vtx_string_io *io = &vcpu->io;
    struct vtx_translation at;
    if (!io->is_write) {
        enum vtx_memory_result result = vtx_write_guest(
            vcpu, io->linear, io->data, io->size * io->count, vtx_guest_cpl(vcpu) == 3, &at);
        if (result == VTX_MEMORY_MISSING) {
            vcpu->completion = complete_string; /* the device has been read: only this again */
        }
        if (result != VTX_MEMORY_OK) {
            return vtx_memory_step(vcpu, result, &at);
        }
    }
    return finish_string(vcpu);
}

/* As many elements as lie in one page, going up; one where they cross it, go down, or are steps. */
static uint32_t elements(struct vtx_vcpu *vcpu)
{
    const struct vtx_string_io *io = &vcpu->io;
    uint32_t here = (uint32_t)(VTX_PAGE_SIZE - io->linear % VTX_PAGE_SIZE) / io->size;
    uint64_t left = io->repeats ? counter(vcpu) : 1;
    bool steps = (vtx_get(vcpu, VMCS_GUEST_RFLAGS) & X86_FLAGS_TF) != 0;
    if (here == 0 || io->is_backwards || steps) {
        here = 1;
    }
    return left < here ? (uint32_t)left : here;
}

static enum vtx_step start_string(struct vtx_vcpu *vcpu, uint64_t qualification)
{
    struct vtx_string_io *io = &vcpu->io;
    struct vtx_translation at;
    bool user = vtx_guest_cpl(vcpu) == 3;
    io->linear = vtx_get(vcpu, VMCS_GUEST_LINEAR_ADDRESS);
    io->address_size =
        vmx_operand_address_size((uint32_t)vtx_get(vcpu, VMCS_VM_EXIT_INSTRUCTION_INFORMATION));
    io->size = vcpu->exit.pio.size;
    io->repeats = (qualification & VMX_IO_REP) != 0;
    io->is_write = vcpu->exit.pio.is_write;
    io->is_backwards = (vtx_get(vcpu, VMCS_GUEST_RFLAGS) & X86_FLAGS_DF) != 0;
    io->count = elements(vcpu);
    if (io->count == 0) {
        return vtx_skip(vcpu);
    }
    enum vtx_memory_result result;
    if (io->is_write) {
        result = vtx_read_guest(vcpu, io->linear, io->data, io->size * io->count, user, &at);
    } else {
        /* Before the device is read: is there a place for it? What is there stays. */
        result = vtx_write_guest(vcpu, io->linear, NULL, io->size * io->count, user, &at);
    }
    if (result != VTX_MEMORY_OK) {
        return vtx_memory_step(vcpu, result, &at);
    }
    vcpu->exit.pio.count = io->count;
    vcpu->completion = complete_string;
    return vtx_leave(vcpu, EXIT_PIO);
}

static enum vtx_step complete_in(struct vtx_vcpu *vcpu)
{
    uint64_t value = 0;
    memcpy(&value, vcpu->io.data, vcpu->exit.pio.size);
    uint64_t *rax = &vcpu->registers.gpr[X86_RAX];
    *rax = vtx_merge(*rax, value, vcpu->exit.pio.size);
    return vtx_skip(vcpu);
}

enum vtx_step vtx_exit_io(struct vtx_vcpu *vcpu)
{
    uint64_t qualification = vtx_get(vcpu, VMCS_EXIT_QUALIFICATION);
    vcpu->exit.pio.port = (uint16_t)(qualification >> VMX_IO_PORT_SHIFT);
    vcpu->exit.pio.size = (uint8_t)((qualification & VMX_IO_SIZE) + 1);
    vcpu->exit.pio.is_write = (qualification & VMX_IO_IN) == 0;
    vcpu->exit.pio.count = 1;
    vcpu->exit.pio.data = vcpu->io.data;
    if ((qualification & VMX_IO_STRING) != 0) {
        return start_string(vcpu, qualification);
    }
    if (vcpu->exit.pio.is_write) {
        memcpy(vcpu->io.data, &vcpu->registers.gpr[X86_RAX], sizeof(uint32_t));
        vtx_skip(vcpu);
    } else {
        vcpu->completion = complete_in;
    }
    return vtx_leave(vcpu, EXIT_PIO);
}
