/*
 * What the files of the core share, and nobody else sees.
 * docs/vt-x.md says what is in which file.
 *
 * Thread:  the one that runs the vCPU, loaded. Freestanding.
 */
#ifndef TRAPEZE_VTX_CORE_INTERNAL_H
#define TRAPEZE_VTX_CORE_INTERNAL_H

#include "base/text.h"
#include "vtx/core/vcpu.h"
#include "x86/vmcs_fields.h"

/* ---- fields of the current VMCS ---- */

/* A failure is noted in vcpu->failed_field, and the next entry reports it. */
uint64_t vtx_get(struct vtx_vcpu *vcpu, uint32_t encoding);
void vtx_set(struct vtx_vcpu *vcpu, uint32_t encoding, uint64_t value);

/* Sets or clears bits of one of the VM-execution controls in the VMCS, if that changes it. */
void vtx_set_controls(struct vtx_vcpu *vcpu, enum vtx_controls controls, uint32_t bits, bool on);

/* ---- setting up ---- */

/* Chooses vcpu->controls. VTX_MISSING with words. */
enum vtx_status vtx_choose_controls(struct vtx_vcpu *vcpu, struct error *error);

/* Every control field of the VMCS, once. */
void vtx_write_controls(struct vtx_vcpu *vcpu);

/* Once on each processor; and what may differ from one thread of it to the next. */
void vtx_write_host_state(struct vtx_vcpu *vcpu);
void vtx_refresh_host_state(struct vtx_vcpu *vcpu);

/* ---- the guest's registers ---- */

/* As the guest sees them. */
uint64_t vtx_guest_cr0(struct vtx_vcpu *vcpu);
uint64_t vtx_guest_cr4(struct vtx_vcpu *vcpu);

/* Puts what the guest is to have into register and read shadow; nothing is checked. */
void vtx_put_cr0(struct vtx_vcpu *vcpu, uint64_t value);
void vtx_put_cr4(struct vtx_vcpu *vcpu, uint64_t value);
void vtx_put_efer(struct vtx_vcpu *vcpu, uint64_t value); /* with "IA-32e mode guest" */

/* The privilege level: 0..3. */
unsigned int vtx_guest_cpl(struct vtx_vcpu *vcpu);
bool vtx_guest_is_64bit(struct vtx_vcpu *vcpu); /* 64-bit mode, not compatibility mode */

/* A general register, RSP included. */
uint64_t vtx_read_gpr(struct vtx_vcpu *vcpu, unsigned int number);
void vtx_write_gpr(struct vtx_vcpu *vcpu, unsigned int number, uint64_t value);

/* old with its low `size` bytes replaced, as instructions do it: 4 bytes clear the rest. */
uint64_t vtx_merge(uint64_t old, uint64_t value, unsigned int size);

/* WRMSR of IA32_EFER; false: #GP(0). */
bool vtx_write_efer(struct vtx_vcpu *vcpu, uint64_t value);

/* The guest's value of an MSR of vtx_vcpu_enter_context. */
uint64_t vtx_live_msr(struct vtx_vcpu *vcpu, uint32_t index);

/* Forgets translations of the guest's linear addresses: after what its MOV to CR would flush. */
void vtx_flush_linear(struct vtx_vcpu *vcpu);

/* ---- events ---- */

/* Blocking by STI or MOV SS; and with RFLAGS.TF a #DB that is to come. */
bool vtx_is_shadowed(struct vtx_vcpu *vcpu);
void vtx_make_step_due(struct vtx_vcpu *vcpu);

/* The instruction is done: shadows end, a single step is due; and vtx_skip moves RIP on as well. */
void vtx_end_instruction(struct vtx_vcpu *vcpu);
enum vtx_step vtx_skip(struct vtx_vcpu *vcpu);

/* An exception for the instruction that exited; with the rules for double and triple faults. */
enum vtx_step vtx_raise(struct vtx_vcpu *vcpu, uint8_t vector, uint32_t error);
enum vtx_step vtx_raise_page_fault(struct vtx_vcpu *vcpu, uint32_t error, uint64_t address);

/* An event of this type, or an exception, of hardware or software, waits for the next entry. */
bool vtx_event_is(const struct vtx_vcpu *vcpu, enum entry_interruption_type type);
bool vtx_exception_pending(const struct vtx_vcpu *vcpu);

void vtx_restore_nmi_blocking(struct vtx_vcpu *vcpu, bool unblocked);

/* Before an entry: what is to be injected. After an exit: what was not delivered. */
void vtx_prepare_events(struct vtx_vcpu *vcpu);
void vtx_requeue_event(struct vtx_vcpu *vcpu);

/* ---- leaving ---- */

enum vtx_step vtx_shut_down(struct vtx_vcpu *vcpu);
enum vtx_step vtx_leave(struct vtx_vcpu *vcpu, enum exit_reason reason);

/* EXIT_INTERNAL with words; number is shown after them in hexadecimal. */
enum vtx_step vtx_leave_in_words(struct vtx_vcpu *vcpu, const char *words, uint64_t number);

/* ---- failed entries in words; names of numbers are in x86/vmx_text.h ---- */

/* By the entry-check table, run over the VMCS. reason, qualification: of the exit. */
void vtx_explain_entry(struct vtx_vcpu *vcpu, uint32_t reason, uint64_t qualification, char *words,
                       size_t size);

/* Of VMLAUNCH and VMRESUME. number: of the VM-instruction error field, if result has one. */
void vtx_explain_failure(struct vtx_vcpu *vcpu, enum vtx_result result, uint32_t number,
                         char *words, size_t size);

/* The field that could not be read or written. */
void vtx_explain_field(const struct vtx_vcpu *vcpu, struct text *text);

/* ---- guest memory ---- */

enum vtx_memory_result {
    VTX_MEMORY_OK,
    VTX_MEMORY_FAULT,   /* the guest's tables do not allow it */
    VTX_MEMORY_MISSING, /* memory that the EPT does not map: vcpu->missing */
    VTX_MEMORY_DEVICE   /* not memory */
};

struct vtx_translation {
    uint64_t linear;   /* what was looked for, or the first byte that did not work */
    uint64_t physical; /* guest physical */
    uint32_t error;    /* page-fault error code */
};

/* By the guest's page tables. access: enum paging_access. */
enum vtx_memory_result vtx_translate(struct vtx_vcpu *vcpu, uint64_t linear, unsigned int access,
                                     bool user, struct vtx_translation *translation);

/* Where guest physical memory is; the rest of its 4 KiB page follows. NULL: *result says why. */
void *vtx_guest_pointer(struct vtx_vcpu *vcpu, uint64_t physical, bool is_write,
                        enum vtx_memory_result *result);

/* Copies of at most two pages; written is all or nothing, and without data only tried. */
enum vtx_memory_result vtx_read_guest(struct vtx_vcpu *vcpu, uint64_t linear, void *data,
                                      uint32_t size, bool user, struct vtx_translation *at);
enum vtx_memory_result vtx_write_guest(struct vtx_vcpu *vcpu, uint64_t linear, const void *data,
                                       uint32_t size, bool user, struct vtx_translation *at);

/* Loads the PDPTE registers, if the mode has them. False: *step says how to go on. */
bool vtx_load_pdptes(struct vtx_vcpu *vcpu, uint64_t cr0, uint64_t cr3, uint64_t cr4, uint64_t efer,
                     enum vtx_step *step);

/* What to do when an access was not VTX_MEMORY_OK. */
enum vtx_step vtx_memory_step(struct vtx_vcpu *vcpu, enum vtx_memory_result result,
                              const struct vtx_translation *translation);

/* ---- handlers that stand in files of their own ---- */

enum vtx_step vtx_handle_exit(struct vtx_vcpu *vcpu, uint32_t basic_reason);
enum vtx_step vtx_exit_exception_or_nmi(struct vtx_vcpu *vcpu);
enum vtx_step vtx_exit_interrupt_window(struct vtx_vcpu *vcpu);
enum vtx_step vtx_exit_nmi_window(struct vtx_vcpu *vcpu);
enum vtx_step vtx_exit_control_register(struct vtx_vcpu *vcpu);
enum vtx_step vtx_exit_mov_dr(struct vtx_vcpu *vcpu);
enum vtx_step vtx_exit_rdmsr(struct vtx_vcpu *vcpu);
enum vtx_step vtx_exit_wrmsr(struct vtx_vcpu *vcpu);
enum vtx_step vtx_exit_cpuid(struct vtx_vcpu *vcpu);
enum vtx_step vtx_exit_io(struct vtx_vcpu *vcpu);
enum vtx_step vtx_exit_ept_violation(struct vtx_vcpu *vcpu);
enum vtx_step vtx_exit_table_register(struct vtx_vcpu *vcpu);
enum vtx_step vtx_exit_segment_register(struct vtx_vcpu *vcpu);

#endif
