#include "vtx/bare/root_mode.h"

#include <stdatomic.h>
#include <string.h>

#include "vtx/bare/descriptors.h"
#include "vtx/bare/machine_interrupts.h"
#include "vtx/core/hardware.h"
#include "x86/msr.h"
#include "x86/registers.h"

#define LEAF_FEATURES      1u
#define FEATURES_ECX_XSAVE (1u << 26)

/* The local APIC's interrupt command register: "Interrupt Command Register (ICR)". */
#define XAPIC_BASE          UINT64_C(0xfee00000)
#define XAPIC_ICR_LOW       0x300
#define MSR_X2APIC_ICR      0x830u
#define ICR_INIT_ALL_OTHERS 0x000c4500u /* all excluding self, assert, INIT */
#define ICR_SIPI_ALL_OTHERS (0x000c4600u | TRAMPOLINE >> 12)
#define INIT_WAIT_US        10000u
#define SIPI_WAIT_US        200u
#define REPORT_WAIT_US      10000u
#define REPORT_WAITS        20u

extern const uint8_t trampoline_begin[], trampoline_end[];
extern uint32_t other_count; /* start.S: how many others have come out of the trampoline */

/* What the others work on; set before they are woken. */
static struct {
    struct root_mode *root;
    struct processor_report *reports;
    atomic_uint done;
} others;

/* The core switches a guest's extended state by XSAVE where the host has enabled it. */
static void enable_xsave(void)
{
    if ((vtx_cpuid(LEAF_FEATURES, 0).ecx & FEATURES_ECX_XSAVE) != 0) {
        vtx_write_cr4(vtx_read_cr4() | X86_CR4_OSXSAVE);
    }
}

enum vtx_status root_mode_enter(struct root_mode *root, struct pages *pages, struct error *error)
{
    *root = (struct root_mode){.pages = pages, .host = pages_host(pages)};
    enable_xsave();
    enum vtx_status status = vtx_capabilities_read(&root->capabilities, error);
    for (unsigned int i = 0; status == VTX_OK && i < PROCESSORS_MAX; i++) {
        status = vtx_cpu_prepare(&root->processors[i], &root->host, &root->capabilities, error);
    }
    return status == VTX_OK ? vtx_cpu_enter(&root->processors[0], error) : status;
}

void root_mode_leave(struct root_mode *root)
{
    vtx_cpu_leave(&root->processors[0]);
    for (unsigned int i = 0; i < PROCESSORS_MAX; i++) {
        vtx_cpu_release(&root->processors[i]);
    }
}

/* Where start.S leads the others to; index is from 1 on. */
void processors_other_main(unsigned int index);

void processors_other_main(unsigned int index)
{
    descriptors_load(index);
    struct vtx_cpu *cpu = &others.root->processors[index];
    struct processor_report *report = &others.reports[index];
    if (vtx_cpu_enter(cpu, &report->error) == VTX_OK) {
        report->entered = cpu->in_root;
        vtx_cpu_leave(cpu);
        report->left = !cpu->in_root;
    }
    atomic_fetch_add(&others.done, 1);
}

static void send_to_others(uint32_t command)
{
    if ((vtx_rdmsr(X86_MSR_IA32_APIC_BASE) & X86_APIC_BASE_EXTD) != 0) {
        vtx_wrmsr(MSR_X2APIC_ICR, command);
    } else {
        *(volatile uint32_t *)(XAPIC_BASE + XAPIC_ICR_LOW) = command;
    }
}

unsigned int root_mode_try_others(struct root_mode *root, struct processor_report *reports)
{
    memset(reports, 0, sizeof(*reports) * PROCESSORS_MAX);
    others.root = root;
    others.reports = reports;
    memcpy((void *)TRAMPOLINE, trampoline_begin, (size_t)(trampoline_end - trampoline_begin));
    send_to_others(ICR_INIT_ALL_OTHERS);
    machine_spin(INIT_WAIT_US);
    for (unsigned int i = 0; i < 2; i++) {
        send_to_others(ICR_SIPI_ALL_OTHERS);
        machine_spin(SIPI_WAIT_US);
    }
    for (unsigned int i = 0; i < REPORT_WAITS; i++) {
        machine_spin(REPORT_WAIT_US);
        uint32_t seen = *(volatile uint32_t *)&other_count;
        if (seen != 0 && seen == atomic_load(&others.done)) {
            break;
        }
    }
    return atomic_load(&others.done);
}
