#include "case.h"

void take_outcome(const word *frame);
extern struct machine *current_machine;

/* --- memory --- */

static volatile uint8_t *memory(word address)
{
    return (volatile uint8_t *)address;
}

void put(word address, uint64_t value, unsigned int size)
{
    for (unsigned int i = 0; i < size; i++) {
        memory(address)[i] = (uint8_t)(value >> (8 * i));
    }
}

uint64_t get(word address, unsigned int size)
{
    uint64_t value = 0;
    for (unsigned int i = 0; i < size; i++) {
        value |= (uint64_t)memory(address)[i] << (8 * i);
    }
    return value;
}

/* Compilers call it for structures that begin as zeroes. */
void *memset(void *to, int value, unsigned long length);
void *memset(void *to, int value, unsigned long length)
{
    for (unsigned long i = 0; i < length; i++) {
        ((volatile uint8_t *)to)[i] = (uint8_t)value;
    }
    return to;
}

/* --- output --- */

void out(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

void print(const char *text)
{
    while (*text != '\0') {
        out(0xe9, (uint8_t)*text++);
    }
}

static void print_hex(uint64_t value)
{
    static const char digits[] = "0123456789abcdef";
    unsigned int shift = 60;
    while (shift > 0 && value >> shift == 0) {
        shift -= 4;
    }
    for (;; shift -= 4) {
        out(0xe9, (uint8_t)digits[value >> shift & 15]);
        if (shift == 0) {
            return;
        }
    }
}

void print_field(const char *name, uint64_t value)
{
    print(name);
    print_hex(value);
}

/* --- chance --- */

static uint32_t chance_state = 0x2545f491;

uint32_t chance(uint32_t below)
{
    chance_state ^= chance_state << 13;
    chance_state ^= chance_state >> 17;
    chance_state ^= chance_state << 5;
    return (chance_state >> 8) % below;
}

bool once_in(uint32_t times)
{
    return chance(times) == 0;
}

/* --- descriptors --- */

uint64_t descriptor(uint32_t base, uint32_t limit, uint32_t attributes)
{
    return (limit & 0xffff) | (uint64_t)(limit & 0xf0000) << 32 |
           (uint64_t)(base & 0xffffff) << 16 | (uint64_t)(base & 0xff000000) << 32 |
           (uint64_t)attributes << 40;
}

uint64_t gate(uint64_t offset, uint32_t selector, uint32_t low_bits, uint32_t attributes)
{
    return (offset & 0xffff) | (uint64_t)selector << 16 | (uint64_t)low_bits << 32 |
           (uint64_t)attributes << 40 | (offset & 0xffff0000) << 32;
}

static void set_tables(void)
{
    for (word i = 0; i < GDT_END; i += 8) {
        put(GDT_TABLE + i, 0, 8);
    }
    for (uint32_t level = 0; level < 4; level++) {
        put(GDT_TABLE + (CODE(level) & ~7u),
            descriptor(0, 0xfffff, (IS_64 ? 0xa09b : 0xc09b) | level << 5), 8);
        put(GDT_TABLE + (DATA(level) & ~7u), descriptor(0, 0xfffff, 0xc093 | level << 5), 8);
    }
    put(GDT_TABLE + COMPAT_CODE, descriptor(0, 0xfffff, 0xc09b), 8);
    put(GDT_TABLE + TSS_SELECTOR, descriptor(TSS_TABLE, TSS_LIMIT, 0x89), 8);
    put(GDT_TABLE + LDT_SELECTOR, descriptor(LDT_TABLE, 0x1f, 0x82), 8);
}

void set_vector(unsigned int vector, uint64_t raw)
{
    word entry = IDT_TABLE + vector * (IS_64 ? 16 : 8);
    put(entry, raw, 8);
    if (IS_64) {
        put(entry + 8, 0, 8);
    }
}

/* Open to all levels, at level 0. */
static void set_handler(unsigned int vector, const uint8_t *handler)
{
    set_vector(vector, gate((word)handler, CODE(0), 0, 0xee));
}

struct __attribute__((packed)) table {
    uint16_t limit;
    word base;
};

static void load_registers(void)
{
    struct table gdt = {GDT_END - 1, GDT_TABLE};
    struct table idt = {0x80 * (IS_64 ? 16 : 8) - 1, IDT_TABLE};
    __asm__ volatile("lgdt %0" : : "m"(gdt));
    __asm__ volatile("lidt %0" : : "m"(idt));
    __asm__ volatile("lldt %w0" : : "r"(LDT_SELECTOR));
    __asm__ volatile("ltr %w0" : : "r"(TSS_SELECTOR));
}

static void set_task(void)
{
    for (word i = 0; i <= TSS_LIMIT; i += 4) {
        put(TSS_TABLE + i, 0, 4);
    }
    for (uint32_t level = 0; level < 3; level++) {
        put(TSS_TABLE + 4 + 8 * level, INNER_STACK + level * 0x400, 4);
        if (!IS_64) {
            put(TSS_TABLE + 8 + 8 * level, DATA(level), 4);
        }
    }
    put(TSS_TABLE + 102, IO_MAP, 2);
    if (IS_64) {
        put(TSS_TABLE + 36, INNER_STACK + 0xc00, 8);
    }
}

static void fill_stack(word from, word to)
{
    for (word at = from; at < to; at += 4) {
        *(volatile uint32_t *)at = 0x5a5a5a5a;
    }
}

void set_up(void)
{
    set_tables();
    set_task();
    for (unsigned int i = 0; i < 32; i++) {
        set_handler(i, vectors + 16 * i);
    }
    set_handler(0x60, arrival_vector);
    set_handler(0x61, done_vector);
    set_handler(0x70, case_vector);
    put(ARRIVAL, 0x60cd, 2);
    fill_stack(TEST_STACK - 0x80, TEST_STACK + 0x80);
    for (word level = 0; level < 3; level++) {
        fill_stack(INNER_STACK + level * 0x400 - 0x100, INNER_STACK + level * 0x400);
    }
    load_registers();
}

/* --- the outcome --- */

void take_outcome(const word *frame)
{
    struct machine *machine = current_machine;
    machine->ss = frame[0] & 0xffff;
    machine->gs = frame[1] & 0xffff;
    machine->fs = frame[2] & 0xffff;
    machine->es = frame[3] & 0xffff;
    machine->ds = frame[4] & 0xffff;
    machine->rcx = frame[5];
    machine->rbx = frame[6];
    machine->rax = frame[7];
    machine->vector = frame[8];
    machine->error = frame[9];
    machine->rip = frame[10];
    machine->cs = frame[11] & 0xffff;
    machine->rflags = frame[12];
    bool is_virtual = (machine->rflags & FLAGS_VM) != 0;
    bool has_stack = IS_64 || is_virtual || (machine->cs & 3) != 0;
    machine->rsp = has_stack ? frame[13] : (word)(frame + 13);
    machine->old_ss = has_stack ? frame[14] & 0xffff : machine->ss;
    if (is_virtual) {
        machine->es = frame[15] & 0xffff;
        machine->ds = frame[16] & 0xffff;
        machine->fs = frame[17] & 0xffff;
        machine->gs = frame[18] & 0xffff;
    }
}

uint64_t hash_memory(word from, word to)
{
    uint64_t hash = 0x14650fb0739d0383;
    for (word at = from; at < to; at++) {
        hash = (hash ^ *memory(at)) * 0x100000001b3;
    }
    return hash;
}

void print_registers(const struct machine *machine)
{
    print_field(" -> v", machine->vector);
    print_field(" e", machine->error);
    print_field(" ip", machine->rip);
    print_field(" cs", machine->cs);
    print_field(" fl", machine->rflags);
    print_field(" sp", machine->rsp);
    print_field(" ss", machine->old_ss);
    print_field(" ds", machine->ds);
    print_field(" es", machine->es);
    print_field(" fs", machine->fs);
    print_field(" gs", machine->gs);
    print_field(" a", machine->rax);
    print_field(" b", machine->rbx);
    print_field(" c", machine->rcx);
}
