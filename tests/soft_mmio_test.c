/*
 * MMIO on the software engine: an instruction that reaches a device leaves the run loop for every
 * access and starts anew, so each access must reach the device once, in order, with its size.
 */
#include <string.h>

#include "check.h"
#include "soft_machine.h"
#include "x86/registers.h"

/* A device that is 64 KiB of memory and remembers what was asked of it. */
#define DEVICE_BYTES 0x10000u
#define LOG_MAX      512

struct access {
    uint32_t offset;
    uint8_t size;
    bool is_write;
    uint64_t value;
};

struct device {
    uint8_t bytes[DEVICE_BYTES];
    struct access log[LOG_MAX];
    unsigned int count;
};

static void serve(void *context, struct vcpu_exit *exit)
{
    struct device *device = context;
    if (exit->reason != EXIT_MMIO || exit->mmio.address < MACHINE_MMIO ||
        exit->mmio.address + exit->mmio.size > MACHINE_MMIO + DEVICE_BYTES) {
        return;
    }
    uint32_t offset = (uint32_t)(exit->mmio.address - MACHINE_MMIO);
    if (exit->mmio.is_write) {
        memcpy(device->bytes + offset, exit->mmio.data, exit->mmio.size);
    } else {
        memcpy(exit->mmio.data, device->bytes + offset, exit->mmio.size);
    }
    if (device->count < LOG_MAX) {
        struct access *access = &device->log[device->count++];
        *access = (struct access){
            .offset = offset, .size = exit->mmio.size, .is_write = exit->mmio.is_write};
        memcpy(&access->value, exit->mmio.data, exit->mmio.size);
    }
}

static bool log_is(const struct device *device, const struct access *expected, unsigned int count)
{
    bool good = device->count == count;
    for (unsigned int i = 0; good && i < count; i++) {
        const struct access *is = &device->log[i], *wanted = &expected[i];
        good = is->offset == wanted->offset && is->size == wanted->size &&
               is->is_write == wanted->is_write && is->value == wanted->value;
    }
    for (unsigned int i = 0; !good && i < device->count; i++) {
        const struct access *is = &device->log[i];
        fprintf(stderr, "    %s 0x%x size %u: 0x%" PRIx64 "\n", is->is_write ? "write" : "read",
                is->offset, is->size, is->value);
    }
    return good;
}

/* RDI: the device; RSI: RAM at 0x8000, of which the bytes are 0, 1, 2 …. */
#define MMIO_GUEST(name, text)                                                                     \
    GUEST(name, "mov $0x10000000, %edi\nmov $0x8000, %esi\n" text "\n" GUEST_EXIT)

MMIO_GUEST(load, "mov 0x10(%rdi), %eax");
MMIO_GUEST(store, "movl $0x55667788, 0x10(%rdi)\nxor %eax, %eax");
MMIO_GUEST(add, "xor %eax, %eax\naddl $5, 0x10(%rdi)\nsetc %al");
MMIO_GUEST(lock_add, "xor %eax, %eax\nlock addl $5, 0x10(%rdi)\nsetc %al");
MMIO_GUEST(inc_byte, "incb 0x10(%rdi)\nmov $0, %eax");
MMIO_GUEST(xchg, "mov $0x99, %eax\nxchg %eax, 0x10(%rdi)");
MMIO_GUEST(cmpxchg, "mov $0x11223344, %eax\nmov $7, %ecx\nlock cmpxchg %ecx, 0x10(%rdi)");
MMIO_GUEST(cmpxchg_differs, "mov $1, %eax\nmov $7, %ecx\nlock cmpxchg %ecx, 0x10(%rdi)");
MMIO_GUEST(xadd, "mov $1, %eax\nlock xadd %eax, 0x10(%rdi)");
MMIO_GUEST(push, "pushq 0x10(%rdi)\npop %rax");
MMIO_GUEST(pop, "pushq $0x77\npopq 0x10(%rdi)\nxor %eax, %eax");
MMIO_GUEST(call, "lea 1f(%rip), %rax\nmov %rax, 0x40(%rdi)\nmov $1, %eax\ncall *0x40(%rdi)\n"
                 "jmp 2f\n1: inc %eax\nret\n2:");
MMIO_GUEST(movs, "push %rsi\nxchg %rsi, %rdi\nmovsl\nxor %eax, %eax\npop %rsi\nmov (%rsi), %eax");
MMIO_GUEST(rep_movs_to, "mov $5, %ecx\nrep movsb\nmov %ecx, %eax");
MMIO_GUEST(rep_movs_from, "xchg %rsi, %rdi\nadd $0x10, %rsi\nmov $3, %ecx\nrep movsw\n"
                          "mov 0x8000, %eax");
MMIO_GUEST(rep_movs_within, "lea 0x10(%rdi), %rsi\nmov $2, %ecx\nrep movsq\nmov %ecx, %eax");
MMIO_GUEST(rep_stos, "mov $0xabcd, %eax\nmov $3, %ecx\nrep stosl\nmov %ecx, %eax");
MMIO_GUEST(repe_cmps, "mov $3, %ecx\nrepe cmpsb\nmov %ecx, %eax");
MMIO_GUEST(repne_scas, "mov $0x33, %eax\nadd $0x10, %rdi\nmov $9, %ecx\nrepne scasb\n"
                       "mov %ecx, %eax");
MMIO_GUEST(vector_load, "movups 0x10(%rdi), %xmm0\nmovd %xmm0, %eax");
MMIO_GUEST(vector_store, "movups (%rsi), %xmm0\nmovups %xmm0, 0x20(%rdi)\nxor %eax, %eax");
MMIO_GUEST(page_crossing_load, "mov 0xffe(%rdi), %eax");
MMIO_GUEST(page_crossing_store, "movl $0x04030201, 0xffe(%rdi)\nxor %eax, %eax");
MMIO_GUEST(test_load, "xor %eax, %eax\ntestl $0x44, 0x10(%rdi)\nsetnz %al");
MMIO_GUEST(cmov, "xor %eax, %eax\nstc\ncmovc 0x10(%rdi), %eax");
MMIO_GUEST(bts, "xor %eax, %eax\nlock btsl $31, 0x10(%rdi)\nsetc %al");

struct mmio_case {
    const char *name;
    const uint8_t *begin, *end;
    uint32_t result;
    unsigned int count;
    struct access log[16];
};

#define CASE(name) #name, guest_##name, guest_##name##_end
#define R(offset, size, value)                                                                     \
    {                                                                                              \
        offset, size, false, value                                                                 \
    }
#define W(offset, size, value)                                                                     \
    {                                                                                              \
        offset, size, true, value                                                                  \
    }

/* The device's bytes at 0x10..0x18 are 44 33 22 11 88 77 66 55; at 0xffe..0x1002 aa bb cc dd. */
static const struct mmio_case mmio_cases[] = {
    {CASE(load), 0x11223344, 1, {R(0x10, 4, 0x11223344)}},
    {CASE(store), 0, 1, {W(0x10, 4, 0x55667788)}},
    {CASE(add), 0, 2, {R(0x10, 4, 0x11223344), W(0x10, 4, 0x11223349)}},
    {CASE(lock_add), 0, 2, {R(0x10, 4, 0x11223344), W(0x10, 4, 0x11223349)}},
    {CASE(inc_byte), 0, 2, {R(0x10, 1, 0x44), W(0x10, 1, 0x45)}},
    {CASE(xchg), 0x11223344, 2, {R(0x10, 4, 0x11223344), W(0x10, 4, 0x99)}},
    {CASE(cmpxchg), 0x11223344, 2, {R(0x10, 4, 0x11223344), W(0x10, 4, 7)}},
    {CASE(cmpxchg_differs), 0x11223344, 2, {R(0x10, 4, 0x11223344), W(0x10, 4, 0x11223344)}},
    {CASE(xadd), 0x11223344, 2, {R(0x10, 4, 0x11223344), W(0x10, 4, 0x11223345)}},
    {CASE(push), 0x11223344, 1, {R(0x10, 8, 0x5566778811223344)}},
    {CASE(pop), 0, 1, {W(0x10, 8, 0x77)}},
    {CASE(movs), 0x00000000, 1, {R(0, 4, 0)}},
    {CASE(rep_movs_to), 0, 5, {W(0, 1, 0), W(1, 1, 1), W(2, 1, 2), W(3, 1, 3), W(4, 1, 4)}},
    {CASE(rep_movs_from),
     0x11223344,
     3,
     {R(0x10, 2, 0x3344), R(0x12, 2, 0x1122), R(0x14, 2, 0x7788)}},
    {CASE(rep_movs_within),
     0,
     4,
     {R(0x10, 8, 0x5566778811223344), W(0, 8, 0x5566778811223344), R(0x18, 8, 0), W(8, 8, 0)}},
    {CASE(rep_stos), 0, 3, {W(0, 4, 0xabcd), W(4, 4, 0xabcd), W(8, 4, 0xabcd)}},
    {CASE(repe_cmps), 1, 2, {R(0, 1, 0), R(1, 1, 0)}},
    {CASE(repne_scas), 7, 2, {R(0x10, 1, 0x44), R(0x11, 1, 0x33)}},
    {CASE(vector_load), 0x11223344, 2, {R(0x10, 8, 0x5566778811223344), R(0x18, 8, 0)}},
    {CASE(vector_store), 0, 2, {W(0x20, 8, 0x0706050403020100), W(0x28, 8, 0x0f0e0d0c0b0a0908)}},
    {CASE(page_crossing_load),
     0xddccbbaa,
     4,
     {R(0xffe, 1, 0xaa), R(0xfff, 1, 0xbb), R(0x1000, 1, 0xcc), R(0x1001, 1, 0xdd)}},
    {CASE(page_crossing_store),
     0,
     4,
     {W(0xffe, 1, 1), W(0xfff, 1, 2), W(0x1000, 1, 3), W(0x1001, 1, 4)}},
    {CASE(test_load), 1, 1, {R(0x10, 4, 0x11223344)}},
    {CASE(cmov), 0x11223344, 1, {R(0x10, 4, 0x11223344)}},
    {CASE(bts), 0, 2, {R(0x10, 4, 0x11223344), W(0x10, 4, 0x91223344)}},
};

static struct soft_machine *machine_with(struct device *device, const uint8_t *begin,
                                         const uint8_t *end)
{
    static const uint8_t at_10[] = {0x44, 0x33, 0x22, 0x11, 0x88, 0x77, 0x66, 0x55};
    static const uint8_t at_ffe[] = {0xaa, 0xbb, 0xcc, 0xdd};
    struct soft_machine *machine = soft_machine_create(1);
    if (machine == NULL) {
        return NULL;
    }
    memset(device, 0, sizeof(*device));
    memcpy(device->bytes + 0x10, at_10, sizeof(at_10));
    memcpy(device->bytes + 0xffe, at_ffe, sizeof(at_ffe));
    for (uint8_t i = 0; i < 64; i++) {
        machine->ram[0x8000 + i] = i;
    }
    machine->serve = serve;
    machine->context = device;
    soft_machine_load(machine, MACHINE_CODE, begin, (size_t)(end - begin));
    return machine;
}

static void run_case(const struct mmio_case *row, bool kicks)
{
    static struct device device;
    struct soft_machine *machine = machine_with(&device, row->begin, row->end);
    if (!CHECK(machine != NULL)) {
        return;
    }
    machine->kick_after_each = kicks;
    enum machine_end end = soft_machine_run(machine, MACHINE_CODE);
    bool good = end == MACHINE_DONE && machine->cpus[0].result == row->result &&
                log_is(&device, row->log, row->count);
    if (!check_report(good, __FILE__, __LINE__, row->name)) {
        fprintf(stderr, "    end %d, result 0x%x, expected 0x%x, kicks %d\n", (int)end,
                machine->cpus[0].result, row->result, kicks);
    }
    soft_machine_destroy(machine);
}

static void test_accesses(void)
{
    for (size_t i = 0; i < sizeof(mmio_cases) / sizeof(mmio_cases[0]); i++) {
        run_case(&mmio_cases[i], false);
        run_case(&mmio_cases[i], true);
    }
}

/* A CALL and an indirect jump through a device: the store, the load, in this order. */
static void test_call_through_device(void)
{
    static struct device device;
    struct soft_machine *machine = machine_with(&device, guest_call, guest_call_end);
    if (!CHECK(machine != NULL)) {
        return;
    }
    CHECK_EQUAL(soft_machine_run(machine, MACHINE_CODE), MACHINE_DONE);
    CHECK_EQUAL(machine->cpus[0].result, 2);
    CHECK_EQUAL(device.count, 2);
    CHECK(device.log[0].is_write && !device.log[1].is_write);
    CHECK_EQUAL(device.log[1].size, 8);
    soft_machine_destroy(machine);
}

/* RAM and device side by side: linear page 0x151000 leads to the device's first page. */
GUEST(beside, "mov $0x151000, %edi\n"
              "mov $0x8877665544332211, %rax\n"
              "mov %rax, -3(%rdi)\n"
              "lock addq $1, -3(%rdi)\n"
              "mov -3(%rdi), %rcx\n"
              "inc %rax\n"
              "cmp %rax, %rcx\n"
              "setne %al\n"
              "movzbl %al, %eax\n" GUEST_EXIT);

static void test_half_ram_half_device(void)
{
    static struct device device;
    struct soft_machine *machine = machine_with(&device, guest_beside, guest_beside_end);
    if (!CHECK(machine != NULL)) {
        return;
    }
    *soft_machine_page_entry(machine, 0x151000) = MACHINE_MMIO | 0x63;
    CHECK_EQUAL(soft_machine_run(machine, MACHINE_CODE), MACHINE_DONE);
    CHECK_EQUAL(machine->cpus[0].result, 0);
    static const uint8_t in_ram[] = {0x12, 0x22, 0x33};
    static const uint8_t in_device[] = {0x44, 0x55, 0x66, 0x77, 0x88};
    CHECK(memcmp(machine->ram + 0x150ffd, in_ram, sizeof(in_ram)) == 0);
    CHECK(memcmp(device.bytes, in_device, sizeof(in_device)) == 0);
    /* Five bytes: written one by one; read and written as four and one; read one by one. */
    CHECK_EQUAL(device.count, 5 + 2 + 2 + 5);
    soft_machine_destroy(machine);
}

/* --- code in a device --- */

GUEST(in_device, "mov $0x1234, %eax\n"
                 "xor %ecx, %ecx\n"
                 "1: add $2, %eax\n"
                 "inc %ecx\n"
                 "cmp $3, %ecx\n"
                 "jb 1b\n"
                 "addl $1, 0x100(%rdi)\n" /* the device is reached for data too */
                 "add 0x100(%rdi), %eax\n"
                 "ret\n");
GUEST(call_device, "mov $0x10000000, %edi\ncall *%rdi\n" GUEST_EXIT);

static void test_execution_from_device(void)
{
    static struct device device;
    struct soft_machine *machine = machine_with(&device, guest_call_device, guest_call_device_end);
    if (!CHECK(machine != NULL)) {
        return;
    }
    memcpy(device.bytes, guest_in_device, GUEST_LENGTH(in_device));
    CHECK_EQUAL(soft_machine_run(machine, MACHINE_CODE), MACHINE_DONE);
    CHECK_EQUAL(machine->cpus[0].result, 0x1234 + 6 + 1);
    unsigned int writes = 0;
    for (unsigned int i = 0; i < device.count; i++) {
        writes += device.log[i].is_write;
    }
    CHECK_EQUAL(writes, 1);
    CHECK_EQUAL(device.bytes[0x100], 1);
    soft_machine_destroy(machine);
}

/* An instruction of which RAM holds the beginning and a device the rest. */
GUEST(half_code, "mov $0x11223344, %eax\n" GUEST_EXIT);

static void test_instruction_half_in_device(void)
{
    static struct device device;
    struct soft_machine *machine = machine_with(&device, guest_half_code, guest_half_code_end);
    if (!CHECK(machine != NULL)) {
        return;
    }
    uint64_t page = 0x151000;
    *soft_machine_page_entry(machine, page) = MACHINE_MMIO | 0x63;
    soft_machine_load(machine, page - 2, guest_half_code, 2);
    memcpy(device.bytes, guest_half_code + 2, GUEST_LENGTH(half_code) - 2);
    CHECK_EQUAL(soft_machine_run(machine, page - 2), MACHINE_DONE);
    CHECK_EQUAL(machine->cpus[0].result, 0x11223344);
    soft_machine_destroy(machine);
}

int main(void)
{
    test_accesses();
    test_call_through_device();
    test_half_ram_half_device();
    test_execution_from_device();
    test_instruction_half_in_device();
    return check_summary();
}
