/*
 * A virtual machine: what its vCPUs share.
 *
 * Purpose: guest memory (EPT, and the list of what is memory at all), the I/O and MSR bitmaps, and
 *          the policy: which instructions of the guest exit.
 * Source:  Intel SDM volume 3, "I/O-Bitmap Addresses", "MSR-Bitmap Address".
 * Owner:   the embedder. Options are copied, but for pointers, which must live as long.
 * Thread:  create, destroy and vtx_vm_set_memory while no vCPU runs. Freestanding.
 */
#ifndef TRAPEZE_VTX_CORE_VM_H
#define TRAPEZE_VTX_CORE_VM_H

#include "vtx/core/ept.h"

/*
 * The two ideas of where a guest's privileged state lives.
 *
 * VTX_TRAP_ALL:    every sensitive instruction exits and is emulated: the classic monitor.
 * VTX_TRAP_SHADOW: the guest works on VT-x's own copy of the state, and exits only for what the
 *                  monitor must own.
 */
enum vtx_policy { VTX_TRAP_SHADOW, VTX_TRAP_ALL };

struct vtx_memory_slot {
    uint64_t start, length; /* guest physical, multiples of 4 KiB; no two overlap */
    bool is_read_only;      /* a write is EXIT_MMIO */
};

#define VTX_MEMORY_SLOTS_MAX 16

struct vtx_vm {
    const struct vtx_host *host;
    const struct vtx_capabilities *capabilities;
    enum vtx_policy policy;
    struct vtx_ept ept;
    struct vtx_page io_bitmap_a, io_bitmap_b, msr_bitmap;
    struct vtx_memory_slot slots[VTX_MEMORY_SLOTS_MAX];
    unsigned int slot_count;
};

/* Allocates. VTX_NO_MEMORY. */
enum vtx_status vtx_vm_create(struct vtx_vm *vm, const struct vtx_host *host,
                              const struct vtx_capabilities *capabilities, enum vtx_policy policy);

/* Its vCPUs are gone. */
void vtx_vm_destroy(struct vtx_vm *vm);

/*
 * Says where there is memory. An access outside is EXIT_MMIO; one inside that the EPT does not
 * map is VTX_MEMORY (vcpu.h). Copied. VTX_INVALID: too many, not aligned, or they overlap.
 */
enum vtx_status vtx_vm_set_memory(struct vtx_vm *vm, const struct vtx_memory_slot *slots,
                                  unsigned int count);

/*
 * Whether guests may use ports of the machine by themselves, without an exit. Under VTX_TRAP_ALL
 * every port exits all the same.
 */
void vtx_vm_pass_ports(struct vtx_vm *vm, uint16_t first, unsigned int count, bool passes);

/* The slot that holds an address, or NULL. */
const struct vtx_memory_slot *vtx_vm_slot(const struct vtx_vm *vm, uint64_t guest);

#endif
