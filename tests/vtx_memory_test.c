/* VT-x: ports and their strings, EPT violations, device memory, descriptor tables. */
#include <string.h>

#include "check.h"
#include "vtx_fake.h"

static struct fake_machine machine;

#define DEVICE UINT64_C(0xfee00000) /* guest physical, where there is no memory */
#define CODE   UINT64_C(0x1000)

static uint64_t *gpr(enum x86_gpr number)
{
    return &machine.vcpu->registers.gpr[number];
}

static uint64_t rip(void)
{
    return fake_field(VMCS_GUEST_RIP);
}

static struct vcpu_exit *exit_of(void)
{
    return &machine.vcpu->exit;
}

static bool leaves(struct fake_exit exit, enum exit_reason reason)
{
    return fake_run(&machine, exit) == VTX_EXIT && exit_of()->reason == reason;
}

static bool goes_on(void)
{
    return vtx_vcpu_run(machine.vcpu) == VTX_INTERRUPT;
}

/* ---- ports ---- */

static struct fake_exit port(uint16_t number, unsigned int size, bool in)
{
    return (struct fake_exit){.reason = VMX_REASON_IO_INSTRUCTION,
                              .length = 1,
                              .qualification = (size - 1) | (in ? 8 : 0) | (uint64_t)number << 16};
}

static void test_ports(void)
{
    static const struct {
        unsigned int size;
        uint64_t after; /* of IN, over all ones */
    } rows[] = {{1, UINT64_C(0xffffffffffffff44)},
                {2, UINT64_C(0xffffffffffff3344)},
                {4, UINT64_C(0x11223344)}};
    fake_machine_begin(&machine, VTX_TRAP_SHADOW, FAKE_LONG);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint64_t before = rip();
        *gpr(X86_RAX) = UINT64_C(0x55667788);
        CHECK(leaves(port(0xfff0, rows[i].size, false), EXIT_PIO));
        CHECK_EQUAL(exit_of()->pio.port, 0xfff0);
        CHECK_EQUAL(exit_of()->pio.size, rows[i].size);
        CHECK_EQUAL(exit_of()->pio.count, 1);
        CHECK(exit_of()->pio.is_write);
        CHECK(memcmp(exit_of()->pio.data, gpr(X86_RAX), rows[i].size) == 0);
        CHECK(goes_on());
        *gpr(X86_RAX) = UINT64_MAX;
        CHECK(leaves(port(0x60, rows[i].size, true), EXIT_PIO));
        CHECK(!exit_of()->pio.is_write);
        const uint32_t value = 0x11223344;
        memcpy(exit_of()->pio.data, &value, sizeof(value));
        CHECK(vtx_vcpu_complete(machine.vcpu));
        CHECK_EQUAL(exit_of()->reason, EXIT_NONE);
        CHECK_EQUAL(*gpr(X86_RAX), rows[i].after);
        CHECK_EQUAL(rip(), before + 2);
    }
    CHECK(fake_machine_stop(&machine));
}

/* information: the address size, 0 to 2. */
static struct fake_exit string(unsigned int size, bool in, bool rep, uint64_t linear)
{
    struct fake_exit exit = port(0x1f0, size, in);
    exit.qualification |= 16 | (rep ? 32 : 0);
    exit.information = 2u << 7;
    exit.linear = linear;
    return exit;
}

static void test_strings(void)
{
    fake_machine_begin(&machine, VTX_TRAP_SHADOW, FAKE_LONG);
    uint64_t before = rip();
    /* OUTSB, three of them, in one exit. */
    memcpy(fake_memory(0x2000), "abc", 3);
    *gpr(X86_RSI) = 0x2000;
    *gpr(X86_RCX) = 3;
    CHECK(leaves(string(1, false, true, 0x2000), EXIT_PIO));
    CHECK_EQUAL(exit_of()->pio.count, 3);
    CHECK(memcmp(exit_of()->pio.data, "abc", 3) == 0);
    CHECK_EQUAL(*gpr(X86_RSI), 0x2000);
    CHECK(goes_on());
    CHECK_EQUAL(*gpr(X86_RSI), 0x2003);
    CHECK_EQUAL(*gpr(X86_RCX), 0);
    CHECK_EQUAL(rip(), before + 1);
    /* INSW over the end of a page: as many as fit, then the instruction again. */
    *gpr(X86_RDI) = 0x2ffc;
    *gpr(X86_RCX) = 5;
    CHECK(leaves(string(2, true, true, 0x2ffc), EXIT_PIO));
    CHECK_EQUAL(exit_of()->pio.count, 2);
    memcpy(exit_of()->pio.data, "1234", 4);
    CHECK(goes_on());
    CHECK(memcmp(fake_memory(0x2ffc), "1234", 4) == 0);
    CHECK_EQUAL(*gpr(X86_RCX), 3);
    CHECK_EQUAL(*gpr(X86_RDI), 0x3000);
    CHECK_EQUAL(rip(), before + 1);
    /* An element across two pages; backwards one by one. */
    CHECK(leaves(string(4, true, false, 0x2ffe), EXIT_PIO));
    CHECK_EQUAL(exit_of()->pio.count, 1);
    memcpy(exit_of()->pio.data, "wxyz", 4);
    CHECK(goes_on());
    CHECK(memcmp(fake_memory(0x2ffe), "wxyz", 4) == 0);
    fake_set_field(VMCS_GUEST_RFLAGS, X86_FLAGS_ONE | X86_FLAGS_DF);
    *gpr(X86_RSI) = 0x2004;
    *gpr(X86_RCX) = 9;
    CHECK(leaves(string(4, false, true, 0x2004), EXIT_PIO));
    CHECK_EQUAL(exit_of()->pio.count, 1);
    CHECK(goes_on());
    CHECK_EQUAL(*gpr(X86_RSI), 0x2000);
    CHECK_EQUAL(*gpr(X86_RCX), 8);
    /* One by one for a single step, which is due after each. */
    fake_set_field(VMCS_GUEST_RFLAGS, X86_FLAGS_ONE | X86_FLAGS_TF);
    *gpr(X86_RSI) = 0x2000;
    CHECK(leaves(string(1, false, true, 0x2000), EXIT_PIO));
    CHECK_EQUAL(exit_of()->pio.count, 1);
    CHECK(goes_on());
    CHECK_EQUAL(*gpr(X86_RCX), 7);
    fake_set_field(VMCS_GUEST_RFLAGS, X86_FLAGS_ONE);
    /* A count of zero, of the address size. */
    before = rip();
    *gpr(X86_RCX) = 0x10000;
    struct fake_exit none = string(1, false, true, 0x2000);
    none.information = 0; /* 16 bits */
    CHECK_EQUAL(fake_run(&machine, none), VTX_INTERRUPT);
    CHECK_EQUAL(rip(), before + 1);
    CHECK_EQUAL(*gpr(X86_RCX), 0x10000);
    /* The guest's tables do not map it: a page fault, and no device has been asked. */
    CHECK_EQUAL(fake_run(&machine, string(1, true, false, 0x800000)), VTX_INTERRUPT);
    CHECK_EQUAL((uint8_t)fake.injected, X86_VECTOR_PF);
    CHECK_EQUAL(fake.injected_error, X86_PF_WRITE);
    CHECK_EQUAL(fake.cr2, 0x800000);
    /* Only its second page: that is the address, and no device has been asked either. */
    const uint64_t beyond = 0x400000;
    CHECK_EQUAL(fake_run(&machine, string(4, true, false, beyond - 2)), VTX_INTERRUPT);
    CHECK_EQUAL(fake.injected_error, X86_PF_WRITE);
    CHECK_EQUAL(fake.cr2, beyond);
    CHECK_EQUAL(fake_run(&machine, string(4, false, false, beyond - 2)), VTX_INTERRUPT);
    CHECK_EQUAL(fake.injected_error, 0);
    CHECK_EQUAL(fake.cr2, beyond);
    CHECK(fake_machine_stop(&machine));
}

/* ---- memory ---- */

static struct fake_exit violation(uint64_t physical, bool write)
{
    return (struct fake_exit){.reason = VMX_REASON_EPT_VIOLATION,
                              .physical = physical,
                              .qualification = (write ? 2u : 1u) | 0x180};
}

/* The guest's page tables map the device's page at a linear address of their second half. */
static void map_device(void)
{
    const uint64_t entry = DEVICE | 0x87;
    memcpy(fake_memory(0x102000 + 8), &entry, sizeof(entry)); /* 2 MiB at linear 200000H */
}

#define DEVICE_LINEAR (UINT64_C(0x200000) + (DEVICE & 0x1fffff))

static void put_code(const char *bytes, size_t size)
{
    memcpy(fake_memory(CODE), bytes, size);
    fake_set_field(VMCS_GUEST_RIP, CODE);
}

#define CODE_IS(bytes) put_code(bytes, sizeof(bytes) - 1)

static void test_device(void)
{
    fake_machine_begin(&machine, VTX_TRAP_SHADOW, FAKE_LONG);
    map_device();
    *gpr(X86_RBX) = 0x200000;
    CODE_IS("\x8b\x43\x20"); /* mov 0x20(%rbx), %eax */
    *gpr(X86_RAX) = UINT64_MAX;
    CHECK(leaves(violation(DEVICE + 0x20, false), EXIT_MMIO));
    CHECK_EQUAL(exit_of()->mmio.address, DEVICE + 0x20);
    CHECK_EQUAL(exit_of()->mmio.size, 4);
    CHECK(!exit_of()->mmio.is_write);
    const uint32_t value = 0xcafe;
    memcpy(exit_of()->mmio.data, &value, sizeof(value));
    CHECK(goes_on());
    CHECK_EQUAL(*gpr(X86_RAX), 0xcafe);
    CHECK_EQUAL(rip(), CODE + 3);

    CODE_IS("\x48\x89\x03"); /* mov %rax, (%rbx) */
    *gpr(X86_RAX) = UINT64_C(0x1122334455667788);
    CHECK(leaves(violation(DEVICE, true), EXIT_MMIO));
    CHECK(exit_of()->mmio.is_write);
    CHECK_EQUAL(exit_of()->mmio.size, 8);
    CHECK(memcmp(exit_of()->mmio.data, gpr(X86_RAX), 8) == 0);
    CHECK(vtx_vcpu_complete(machine.vcpu));
    CHECK_EQUAL(rip(), CODE + 3);

    /* A read and a write: two exits, and complete says so. */
    CODE_IS("\x83\x0b\x80"); /* orl $-128, (%rbx) */
    CHECK(leaves(violation(DEVICE, true), EXIT_MMIO));
    CHECK(!exit_of()->mmio.is_write);
    memcpy(exit_of()->mmio.data, &value, sizeof(value));
    CHECK(!vtx_vcpu_complete(machine.vcpu));
    CHECK(exit_of()->reason == EXIT_MMIO && exit_of()->mmio.is_write);
    uint32_t written;
    memcpy(&written, exit_of()->mmio.data, sizeof(written));
    CHECK_EQUAL(written, 0xfffffffe);
    CHECK(goes_on());
    CHECK_EQUAL(rip(), CODE + 3);

    /* From the device into memory, repeated. */
    CODE_IS("\xf3\xa4"); /* rep movsb */
    *gpr(X86_RSI) = 0x200000;
    *gpr(X86_RDI) = 0x6000;
    *gpr(X86_RCX) = 2;
    CHECK(leaves(violation(DEVICE, false), EXIT_MMIO));
    exit_of()->mmio.data[0] = 'q';
    CHECK(goes_on());
    CHECK_EQUAL(*fake_memory(0x6000), 'q');
    CHECK_EQUAL(*gpr(X86_RCX), 1);
    CHECK_EQUAL(rip(), CODE);
    CHECK(fake_machine_stop(&machine));
}

static void test_device_in_other_modes(void)
{
    /* Real mode: DS * 16; 32-bit code; both without paging. */
    fake_machine_begin(&machine, VTX_TRAP_SHADOW, FAKE_REAL);
    const struct vtx_memory_slot low[] = {{0, 0xa0000, false}};
    vtx_vm_set_memory(&machine.vm, low, 1);
    fake_set_field(VMCS_GUEST_DS_BASE, 0xb8000);
    CODE_IS("\xa1\x02\x00"); /* mov 2, %ax */
    CHECK(leaves(violation(0xb8002, false), EXIT_MMIO));
    CHECK_EQUAL(exit_of()->mmio.address, 0xb8002);
    CHECK_EQUAL(exit_of()->mmio.size, 2);
    CHECK(goes_on());
    fake_machine_set_mode(&machine, FAKE_PROTECTED);
    CODE_IS("\xa1\x30\x00\xe0\xfe"); /* mov 0xfee00030, %eax */
    CHECK(leaves(violation(DEVICE + 0x30, false), EXIT_MMIO));
    CHECK_EQUAL(exit_of()->mmio.address, DEVICE + 0x30);
    CHECK(goes_on());
    CHECK_EQUAL(rip(), CODE + 5);
    CHECK(fake_machine_stop(&machine));
}

/* Instructions that lie across pages, or are not served, or on read-only memory. */
static void test_device_special(void)
{
    fake_machine_begin(&machine, VTX_TRAP_SHADOW, FAKE_LONG);
    map_device();
    *gpr(X86_RBX) = 0x200000;
    memcpy(fake_memory(0x1ffe), "\x8b\x43\x20", 3);
    fake_set_field(VMCS_GUEST_RIP, 0x1ffe);
    CHECK(leaves(violation(DEVICE + 0x20, false), EXIT_MMIO));
    CHECK(goes_on());
    CHECK_EQUAL(rip(), 0x2001);
    CODE_IS("\x0f\x28\x03"); /* movaps (%rbx), %xmm0 */
    CHECK(leaves(violation(DEVICE, false), EXIT_INTERNAL));
    CHECK(exit_of()->internal.text[0] != '\0');
    machine.vcpu->completion = NULL;
    CODE_IS("\xff\xff"); /* no instruction */
    CHECK(leaves(violation(DEVICE, false), EXIT_INTERNAL));
    /* Read-only memory: reads are memory's, writes a device's. */
    const struct vtx_memory_slot rom[] = {{0, 0x200000, false}, {0x200000, 0x200000, true}};
    vtx_vm_set_memory(&machine.vm, rom, 2);
    const uint64_t entry = 0x200087;
    memcpy(fake_memory(0x102000 + 8), &entry, sizeof(entry));
    CODE_IS("\x83\x0b\x80"); /* orl $-128, (%rbx) */
    *fake_memory(0x200000) = 1;
    CHECK(leaves(violation(0x200000, true), EXIT_MMIO));
    CHECK(exit_of()->mmio.is_write);
    CHECK_EQUAL(exit_of()->mmio.data[0], 0x81);
    CHECK_EQUAL(*fake_memory(0x200000), 1);
    CHECK(goes_on());
    CHECK(fake_machine_stop(&machine));
}

static void test_missing_memory(void)
{
    fake_machine_begin(&machine, VTX_TRAP_SHADOW, FAKE_LONG);
    CHECK_EQUAL(fake_run(&machine, violation(0x7000, true)), VTX_MEMORY);
    CHECK_EQUAL(machine.vcpu->missing.address, 0x7000);
    CHECK(machine.vcpu->missing.is_write);
    /* A string into memory that goes away between the device and the copy: the device is asked
     * once. */
    CHECK(leaves(string(1, true, false, 0x7000), EXIT_PIO));
    exit_of()->pio.data[0] = 'm';
    vtx_ept_unmap(&machine.vm.ept, 0x7000, 0x1000);
    uint64_t before = rip();
    machine.vcpu->missing.address = 0;
    CHECK(!vtx_vcpu_complete(machine.vcpu)); /* which says so without running, too */
    CHECK_EQUAL(exit_of()->reason, EXIT_NONE);
    CHECK_EQUAL(machine.vcpu->missing.address, 0x7000);
    CHECK_EQUAL(vtx_vcpu_run(machine.vcpu), VTX_MEMORY);
    CHECK_EQUAL(machine.vcpu->missing.address, 0x7000);
    vtx_ept_map(&machine.vm.ept, 0x7000, FAKE_RAM + 0x7000, 0x1000, VTX_EPT_ALL, VTX_WRITE_BACK,
                VTX_SIZE_4K);
    CHECK(goes_on());
    CHECK_EQUAL(*fake_memory(0x7000), 'm');
    CHECK_EQUAL(rip(), before + 1);
    /* Likewise the memory half of an instruction on a device. */
    map_device();
    *gpr(X86_RSI) = 0x200000;
    *gpr(X86_RDI) = 0x7000;
    CODE_IS("\xa4"); /* movsb */
    vtx_ept_unmap(&machine.vm.ept, 0x7000, 0x1000);
    CHECK(leaves(violation(DEVICE, false), EXIT_MMIO));
    exit_of()->mmio.data[0] = 'n';
    CHECK(!vtx_vcpu_complete(machine.vcpu));
    CHECK_EQUAL(exit_of()->reason, EXIT_NONE);
    CHECK_EQUAL(vtx_vcpu_run(machine.vcpu), VTX_MEMORY);
    vtx_ept_map(&machine.vm.ept, 0x7000, FAKE_RAM + 0x7000, 0x1000, VTX_EPT_ALL, VTX_WRITE_BACK,
                VTX_SIZE_4K);
    CHECK(goes_on());
    CHECK_EQUAL(*fake_memory(0x7000), 'n');
    CHECK_EQUAL(*gpr(X86_RDI), 0x7001);
    CHECK(fake_machine_stop(&machine));
}

static void test_where_there_is_nothing(void)
{
    static const struct {
        uint64_t qualification;
        uint32_t vectoring;
        const char *words;
    } rows[] = {{4 | 0x180, 0, "executes"},
                {1 | 0x80, 0, "page tables"},
                {1 | 0x180, 0x80000030, "interrupts"}};
    fake_machine_begin(&machine, VTX_TRAP_SHADOW, FAKE_LONG);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct fake_exit exit = violation(DEVICE, false);
        exit.qualification = rows[i].qualification;
        exit.vectoring = rows[i].vectoring;
        CHECK(leaves(exit, EXIT_INTERNAL));
        CHECK(strstr(exit_of()->internal.text, rows[i].words) != NULL);
        CHECK(strstr(exit_of()->internal.text, "0xfee00000") != NULL);
    }
    machine.vcpu->event = 0;
    /* An IRET unblocked NMIs before it faulted here. */
    struct fake_exit exit = violation(0x3000, false);
    exit.qualification |= VMX_EPT_VIOLATION_NMI_UNBLOCKED;
    CHECK_EQUAL(fake_run(&machine, exit), VTX_MEMORY);
    CHECK_EQUAL(fake_field(VMCS_GUEST_INTERRUPTIBILITY_STATE), ENTRY_BLOCKING_NMI);
    CHECK(fake_machine_stop(&machine));
}

/* ---- descriptor tables ---- */

#define NO_INDEX (1u << 22)
#define NO_BASE  (1u << 27)

static enum vtx_outcome table(uint32_t reason, uint32_t identity, uint32_t information,
                              uint64_t displacement)
{
    return fake_run(&machine, (struct fake_exit){.reason = reason,
                                                 .length = 7,
                                                 .information = information | identity << 28,
                                                 .qualification = displacement});
}

static void test_table_registers(void)
{
    enum { SGDT, SIDT, LGDT, LIDT };
    const uint32_t reason = VMX_REASON_GDTR_OR_IDTR;
    const uint32_t wide = 2u << 7 | X86_DS << 15;
    fake_machine_begin(&machine, VTX_TRAP_ALL, FAKE_LONG);
    uint16_t limit = 0x7f;
    uint64_t base = UINT64_C(0xffff800000004000);
    memcpy(fake_memory(0x2010), &limit, 2);
    memcpy(fake_memory(0x2012), &base, 8);
    *gpr(X86_RBX) = 0x2000; /* base, and RCX * 8 as the index */
    *gpr(X86_RCX) = 1;
    uint64_t before = rip();
    table(reason, LGDT, wide | X86_RBX << 23 | X86_RCX << 18 | 3, 8);
    CHECK_EQUAL(fake_field(VMCS_GUEST_GDTR_BASE), base);
    CHECK_EQUAL(fake_field(VMCS_GUEST_GDTR_LIMIT), limit);
    CHECK_EQUAL(rip(), before + 7);
    table(reason, SGDT, wide | NO_INDEX | NO_BASE, 0x3000);
    CHECK(memcmp(fake_memory(0x3000), fake_memory(0x2010), 10) == 0);
    table(reason, LIDT, wide | X86_RBX << 23 | NO_INDEX, 0x10);
    CHECK_EQUAL(fake_field(VMCS_GUEST_IDTR_BASE), base);
    table(reason, SIDT, wide | NO_INDEX | NO_BASE, 0x3ffb); /* across two pages */
    CHECK(memcmp(fake_memory(0x3ffb), fake_memory(0x2010), 10) == 0);
    fake_memory(0x2019)[0] = 0x7f; /* not canonical */
    table(reason, LGDT, wide | X86_RBX << 23 | NO_INDEX, 0x10);
    CHECK_EQUAL((uint8_t)fake.injected, X86_VECTOR_GP);
    table(reason, LGDT, wide | NO_INDEX | NO_BASE, 0x900000); /* not mapped by the guest */
    CHECK_EQUAL((uint8_t)fake.injected, X86_VECTOR_PF);
    CHECK_EQUAL(fake.cr2, 0x900000);
    table(reason, SGDT, wide | NO_INDEX | NO_BASE, 0x3ffffc); /* its second page is not */
    CHECK_EQUAL(fake.injected_error, X86_PF_WRITE);
    CHECK_EQUAL(fake.cr2, 0x400000);
    /* Real mode: 24 bits of base, addresses of 16 bits, from a segment. */
    fake_machine_set_mode(&machine, FAKE_REAL);
    fake_set_field(VMCS_GUEST_FS_BASE, 0x1000);
    *gpr(X86_RBX) = 0xffff;
    table(reason, LGDT, X86_FS << 15 | X86_RBX << 23 | NO_INDEX, 0x1011);
    CHECK_EQUAL(fake_field(VMCS_GUEST_GDTR_BASE), 0x004000);
    CHECK_EQUAL(fake_field(VMCS_GUEST_GDTR_LIMIT), limit);
    CHECK(fake_machine_stop(&machine));
}

static void test_segment_registers(void)
{
    enum { SLDT, STR, LLDT, LTR };
    const uint32_t reason = VMX_REASON_LDTR_OR_TR, in_register = 1u << 10 | X86_RBX << 3;
    const uint64_t gdt[] = {
        0, 0x00cf9b000000ffff,           UINT64_C(0x0000890020000067), /* 10H: TSS */
        0, UINT64_C(0x0000820030000017),                               /* 20H: LDT */
        0, UINT64_C(0x0000090020000067),                               /* 30H: TSS, not present */
        0};
    fake_machine_begin(&machine, VTX_TRAP_ALL, FAKE_LONG);
    memcpy(fake_memory(0x4000), gdt, sizeof(gdt));
    fake_set_field(VMCS_GUEST_GDTR_BASE, 0x4000);
    fake_set_field(VMCS_GUEST_GDTR_LIMIT, sizeof(gdt) - 1);
    *gpr(X86_RBX) = 0x10;
    table(reason, LTR, in_register, 0);
    CHECK_EQUAL(fake_field(VMCS_GUEST_TR_SELECTOR), 0x10);
    CHECK_EQUAL(fake_field(VMCS_GUEST_TR_BASE), 0x2000);
    CHECK_EQUAL(fake_field(VMCS_GUEST_TR_LIMIT), 0x67);
    CHECK_EQUAL(fake_field(VMCS_GUEST_TR_ACCESS_RIGHTS), 0x8b);
    CHECK_EQUAL(fake_memory(0x4015)[0], 0x8b); /* busy now */
    table(reason, LTR, in_register, 0);
    CHECK_EQUAL(fake.injected, 0x80000b0d);
    CHECK_EQUAL(fake.injected_error, 0x10);
    *gpr(X86_RBX) = 0x20;
    table(reason, LLDT, in_register, 0);
    CHECK_EQUAL(fake_field(VMCS_GUEST_LDTR_BASE), 0x3000);
    static const struct {
        uint32_t identity;
        uint16_t selector;
        uint8_t vector;
    } refused[] = {{LTR, 0, X86_VECTOR_GP},     {LTR, 0x14, X86_VECTOR_GP},
                   {LTR, 0x30, X86_VECTOR_NP},  {LTR, 0x20, X86_VECTOR_GP},
                   {LLDT, 0x10, X86_VECTOR_GP}, {LLDT, 0x38, X86_VECTOR_GP},
                   {LTR, 0x8, X86_VECTOR_GP}};
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        *gpr(X86_RBX) = refused[i].selector;
        table(reason, refused[i].identity, in_register, 0);
        CHECK_EQUAL((uint8_t)fake.injected, refused[i].vector);
        CHECK_EQUAL(fake.injected_error, refused[i].selector);
    }
    table(reason, STR, in_register, 0);
    CHECK_EQUAL(*gpr(X86_RBX), 0x10);
    table(reason, SLDT, 2u << 7 | NO_INDEX | NO_BASE | X86_DS << 15, 0x5000);
    CHECK_EQUAL(*fake_memory(0x5000), 0x20);
    *gpr(X86_RBX) = 3;
    table(reason, LLDT, in_register, 0); /* none */
    CHECK(fake_field(VMCS_GUEST_LDTR_ACCESS_RIGHTS) == X86_SEGMENT_UNUSABLE);
    CHECK(fake_machine_stop(&machine));
}

int main(void)
{
    test_ports();
    test_strings();
    test_device();
    test_device_in_other_modes();
    test_device_special();
    test_missing_memory();
    test_where_there_is_nothing();
    test_table_registers();
    test_segment_registers();
    return check_summary();
}
