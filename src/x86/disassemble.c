#include "x86/disassemble.h"

#if __has_include(<Zydis/Zydis.h>)

#include <Zydis/Zydis.h>
#include <dlfcn.h>
#include <stdlib.h>

/* What is used of the library, by the types of its own headers. */
struct disassembler {
    void *handle;
    __typeof__(&ZydisGetVersion) get_version;
    __typeof__(&ZydisDecoderInit) decoder_init;
    __typeof__(&ZydisDecoderDecodeFull) decode_full;
    __typeof__(&ZydisFormatterInit) formatter_init;
    __typeof__(&ZydisFormatterFormatInstruction) format_instruction;
};

/* dlsym() returns data pointers; POSIX lets them be functions. */
static bool find(void *handle, const char *name, void *function)
{
    void *symbol = dlsym(handle, name);
    __builtin_memcpy(function, &symbol, sizeof(symbol));
    return symbol != NULL;
}

/* The structures differ between minor versions: only the one that this was built with will do. */
static bool is_our_version(ZyanU64 version)
{
    return ZYDIS_VERSION_MAJOR(version) == ZYDIS_VERSION_MAJOR(ZYDIS_VERSION) &&
           ZYDIS_VERSION_MINOR(version) == ZYDIS_VERSION_MINOR(ZYDIS_VERSION);
}

static bool find_all(void *handle, struct disassembler *library)
{
    return find(handle, "ZydisGetVersion", &library->get_version) &&
           is_our_version(library->get_version()) &&
           find(handle, "ZydisDecoderInit", &library->decoder_init) &&
           find(handle, "ZydisDecoderDecodeFull", &library->decode_full) &&
           find(handle, "ZydisFormatterInit", &library->formatter_init) &&
           find(handle, "ZydisFormatterFormatInstruction", &library->format_instruction);
}

/* False if there is none; else its handle is to be closed. */
static bool load(struct disassembler *library)
{
    static const char *const names[] = {"libZydis.so.4.0", "libZydis.so.4"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        library->handle = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
        if (library->handle != NULL && find_all(library->handle, library)) {
            return true;
        }
        if (library->handle != NULL) {
            dlclose(library->handle);
        }
    }
    return false;
}

struct disassembler *disassembler_open(void)
{
    struct disassembler *disassembler = malloc(sizeof(*disassembler));
    if (disassembler != NULL && !load(disassembler)) {
        free(disassembler);
        return NULL;
    }
    return disassembler;
}

void disassembler_close(struct disassembler *disassembler)
{
    if (disassembler != NULL) {
        dlclose(disassembler->handle);
        free(disassembler);
    }
}

size_t disassembler_write(const struct disassembler *disassembler, enum x86_decode_mode mode,
                          uint64_t rip, const uint8_t *bytes, size_t n, char *text, size_t size)
{
    static const struct {
        ZydisMachineMode mode;
        ZydisStackWidth width;
    } modes[] = {
        [X86_DECODE_16] = {ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16},
        [X86_DECODE_32] = {ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32},
        [X86_DECODE_64] = {ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64},
    };
    ZydisDecoder decoder;
    ZydisDecodedInstruction instruction;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
    ZydisFormatter formatter;

    text[0] = '\0';
    if (disassembler == NULL) {
        return 0;
    }
    bool done =
        ZYAN_SUCCESS(disassembler->decoder_init(&decoder, modes[mode].mode, modes[mode].width)) &&
        ZYAN_SUCCESS(disassembler->decode_full(&decoder, bytes, n, &instruction, operands)) &&
        ZYAN_SUCCESS(disassembler->formatter_init(&formatter, ZYDIS_FORMATTER_STYLE_INTEL)) &&
        ZYAN_SUCCESS(disassembler->format_instruction(&formatter, &instruction, operands,
                                                      instruction.operand_count_visible, text, size,
                                                      rip, NULL));
    if (!done) {
        text[0] = '\0';
    }
    return done ? instruction.length : 0;
}

bool disassemble(enum x86_decode_mode mode, uint64_t rip, const uint8_t *bytes, size_t n,
                 char *text, size_t size)
{
    struct disassembler library;

    text[0] = '\0';
    if (!load(&library)) {
        return false;
    }
    size_t length = disassembler_write(&library, mode, rip, bytes, n, text, size);
    dlclose(library.handle);
    return length != 0;
}

#else

bool disassemble(enum x86_decode_mode mode, uint64_t rip, const uint8_t *bytes, size_t n,
                 char *text, size_t size)
{
    return disassembler_write(NULL, mode, rip, bytes, n, text, size) != 0;
}

struct disassembler *disassembler_open(void)
{
    return NULL;
}

void disassembler_close(struct disassembler *disassembler)
{
    (void)disassembler;
}

size_t disassembler_write(const struct disassembler *disassembler, enum x86_decode_mode mode,
                          uint64_t rip, const uint8_t *bytes, size_t n, char *text, size_t size)
{
    (void)disassembler, (void)mode, (void)rip, (void)bytes, (void)n, (void)size;
    text[0] = '\0';
    return 0;
}

#endif

enum x86_decode_mode disassemble_mode(const struct x86_state *state)
{
    uint32_t attributes = state->segment[X86_CS].attributes;
    if ((state->efer & X86_EFER_LMA) != 0 && (attributes & X86_SEGMENT_L) != 0) {
        return X86_DECODE_64;
    }
    return (attributes & X86_SEGMENT_DB) != 0 ? X86_DECODE_32 : X86_DECODE_16;
}
