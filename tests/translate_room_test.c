/*
 * Blocks are made where little room is left, down to none, in a region of the code cache or in its
 * descriptions: each comes out whole or not at all, and what stands before and behind it is not
 * touched.
 */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "engines/soft/translate/translator.h"
#include "soft_guest.h"
#include "soft_machine.h"

#define FILLING    0x5a
#define LOOKED_AT  64 /* bytes before and behind */
#define CODE_ROOM  768
#define DATA_ROOM  2048
#define PLENTY     16384
#define GRANULE    16
#define PLACES_MAX 96

/* Each form that has code of its own for branches within, and some that want much room. */
GUEST(pieces, "rep movsb\n jmp 1f\n"
              "1: rep stosq\n jmp 1f\n"
              "1: lodsq\n scasb\n jmp 1f\n"
              "1: add %rax, %rbx\n dec %rcx\n jnz 1b\n jmp 1f\n"
              "1: adc %r10, 8(%rsi,%r11)\n mov %rax, 16(%rsi)\n pushfq\n jmp 1f\n"
              "1: call 1f\n"
              "1: call *8(%rdi)\n"
              "jmp *%r10\n"
              "ret $8\n"
              "cpuid\n div %ecx\n jmp 1f\n"
              "1: lock cmpxchg %rbx, (%rdi)\n jz 1b\n jmp 1f\n"
              "1: vpaddd (%rdi), %ymm1, %ymm2\n movups %xmm3, 4(%rdi)\n jmp 1f\n"
              "1: fldl (%rdi)\n fsin\n fstpl 8(%rdi)\n jmp 1f\n"
              "1: shl %cl, %rdx\n sbb %rax, %rax\n setc (%rsi)\n cmovc %r10, %r11\n hlt\n");

struct fixture {
    struct soft_guest guest;
    struct soft_cpu *cpu;
    struct translator *translator;
    uint16_t places[PLACES_MAX]; /* offsets in the page, where blocks begin */
    unsigned int place_count;
    unsigned int made, refused;
};

static uint8_t *page_of(const struct fixture *fixture)
{
    return guestmem_pointer(fixture->guest.memory, gpa(SOFT_GUEST_CODE), SOFT_PAGE_SIZE);
}

/* The pieces, and behind them bytes that decode to whatever they do. */
static void fill_page(struct fixture *fixture)
{
    uint8_t *page = page_of(fixture);
    uint64_t random = UINT64_C(0x9e3779b97f4a7c15);
    for (unsigned int i = 0; i < SOFT_PAGE_SIZE; i++) {
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
        page[i] = (uint8_t)(random >> 56);
    }
    memcpy(page, guest_pieces, GUEST_LENGTH(pieces));
    page[0xfff] = 0x90;
}

static bool collect(struct fixture *fixture, unsigned int offset, uint16_t bits)
{
    return translate_collect(fixture->cpu, &fixture->translator->unit, SOFT_GUEST_CODE + offset,
                             page_of(fixture) + offset, (uint16_t)(fixture->cpu->mode | bits),
                             UNIT_MAX);
}

/* Every block of the pieces, and some of the rest, which does not reach the end of the page. */
static void find_places(struct fixture *fixture)
{
    unsigned int offset = 0;
    while (fixture->place_count < PLACES_MAX && offset < 0xe00 && collect(fixture, offset, 0)) {
        fixture->places[fixture->place_count++] = (uint16_t)offset;
        offset = fixture->translator->unit.end;
    }
}

static bool open_fixture(struct fixture *fixture, const char *arguments)
{
    memset(fixture, 0, sizeof(*fixture));
    setenv("TRAPEZE_TEST_SOFT", arguments, 1);
    if (!soft_guest_open(&fixture->guest, SOFT_GUEST_64)) {
        return false;
    }
    static const uint8_t halt[] = {0xf4};
    soft_guest_load(&fixture->guest, halt, sizeof(halt));
    CHECK_EQUAL(soft_guest_run(&fixture->guest), EXIT_HLT);
    fixture->cpu = (void *)fixture->guest.vcpu; /* it begins with that (engine.c) */
    fixture->translator = fixture->cpu->translate.translator;
    if (!CHECK(fixture->translator != NULL)) {
        soft_guest_close(&fixture->guest);
        return false;
    }
    fixture->translator->smp = true; /* stores are followed by a check */
    fill_page(fixture);
    find_places(fixture);
    CHECK(fixture->place_count >= 24);
    return true;
}

/* --- a region in which little room is left --- */

/* Bytes that can still be taken for descriptions. */
static size_t data_left(struct translate_cache *cache)
{
    size_t left = 0;
    for (size_t step = (size_t)1 << 20; step >= GRANULE; step /= 2) {
        while (translate_cache_take(cache, step) != NULL) {
            left += step;
        }
    }
    return left;
}

/* Fills an empty region but for so many bytes of code and descriptions. Returns where they begin.
 */
static uint8_t *leave_room(struct fixture *fixture, size_t code, size_t data)
{
    struct translate_cache *cache = fixture->translator->cache;
    translate_cache_next_region(cache);
    translate_cache_begin(cache);
    size_t total = data_left(cache);
    struct emitter emitter = translate_cache_begin(cache);
    struct translate_block *block = translate_cache_take(cache, total - data);
    block->physical = UINT64_C(0x123456000);
    emitter.at = emitter.end - code;
    translate_cache_commit(cache, &emitter, block);
    return emitter.at;
}

static bool is_filling(const uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (bytes[i] != FILLING) {
            return false;
        }
    }
    return true;
}

/* Blocks that were there before do not run any more. */
static void try_block(struct fixture *fixture, unsigned int place, size_t code, size_t data)
{
    struct translate_cache *cache = fixture->translator->cache;
    uint8_t *room = leave_room(fixture, code, data);
    struct emitter emitter = translate_cache_begin(cache);
    bool more = translate_cache_contains(cache, (uintptr_t)(emitter.end + emitter.displacement));
    memset(room - LOOKED_AT, FILLING, LOOKED_AT + code + (more ? LOOKED_AT : 0));
    if (!CHECK(collect(fixture, fixture->places[place], TRANSLATE_VECTORS | TRANSLATE_X87))) {
        return;
    }
    const struct translate_block *block = translate_generate(fixture->cpu);
    bool good = is_filling(room - LOOKED_AT, LOOKED_AT) &&
                (!more || is_filling(emitter.end, LOOKED_AT)) &&
                (block == NULL || block->code_length <= code);
    if (!CHECK(good)) {
        fprintf(stderr, "    the block at %03x, with room for %zu, %zu bytes\n",
                fixture->places[place], code, data);
    }
    *(block != NULL ? &fixture->made : &fixture->refused) += 1;
}

static void try_rooms(const char *arguments)
{
    struct fixture fixture;
    if (!open_fixture(&fixture, arguments)) {
        return;
    }
    for (unsigned int place = 0; place < fixture.place_count; place++) {
        for (size_t code = 0; code <= CODE_ROOM; code += GRANULE) {
            try_block(&fixture, place, code, PLENTY);
        }
        for (size_t data = 0; data <= DATA_ROOM; data += GRANULE) {
            try_block(&fixture, place, PLENTY, data);
        }
    }
    CHECK(fixture.made > 1000);
    CHECK(fixture.refused > 1000);
    soft_guest_close(&fixture.guest);
}

int main(void)
{
    try_rooms("tier=translate,translate-after=0,code-cache=1M");
    try_rooms("tier=translate,translate-after=0,code-cache=1M,count");
    return check_summary();
}
