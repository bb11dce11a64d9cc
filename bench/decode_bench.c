/*
 * Decoding speed over every instruction of libc, in nanoseconds an instruction: ours, and Zydis's
 * minimal and full decoding in the same run.
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "../tests/decode_text.h"
#include "x86/decode/decode.h"

#ifdef TRAPEZE_HAVE_ZYDIS
#include <Zydis/Zydis.h>
#endif

#define ROUNDS 9

/* The code, and where its instructions start. */
struct workload {
    struct decode_text text;
    uint32_t *starts;
    size_t count;
};

static uint64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static size_t left(const struct workload *work, size_t at)
{
    size_t n = work->text.size - at;
    return n < X86_INSTRUCTION_MAX ? n : X86_INSTRUCTION_MAX;
}

static bool prepare(struct workload *work, const char *path)
{
    work->text = decode_text_load(path);
    work->starts = malloc((work->text.size + 1) * sizeof(*work->starts));
    if (work->text.size == 0 || work->text.size > UINT32_MAX || work->starts == NULL) {
        return false;
    }
    for (size_t at = 0; at < work->text.size;) {
        struct x86_instruction instruction;
        if (x86_decode(X86_DECODE_64, work->text.bytes + at, left(work, at), &instruction) !=
            X86_DECODE_OK) {
            at++;
            continue;
        }
        work->starts[work->count++] = (uint32_t)at;
        at += instruction.length;
    }
    return work->count != 0;
}

static uint64_t decode_ours(const struct workload *work)
{
    struct x86_instruction instruction;
    uint64_t sum = 0;

    for (size_t i = 0; i < work->count; i++) {
        size_t at = work->starts[i];
        x86_decode(X86_DECODE_64, work->text.bytes + at, left(work, at), &instruction);
        sum += instruction.length;
    }
    return sum;
}

#ifdef TRAPEZE_HAVE_ZYDIS

static uint64_t decode_zydis(const struct workload *work, bool minimal)
{
    ZydisDecoder decoder;
    ZydisDecodedInstruction instruction;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
    uint64_t sum = 0;

    ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    ZydisDecoderEnableMode(&decoder, ZYDIS_DECODER_MODE_MINIMAL, minimal);
    for (size_t i = 0; i < work->count; i++) {
        size_t at = work->starts[i];
        const uint8_t *bytes = work->text.bytes + at;
        instruction.length = 0;
        if (minimal) {
            ZydisDecoderDecodeInstruction(&decoder, NULL, bytes, left(work, at), &instruction);
        } else {
            ZydisDecoderDecodeFull(&decoder, bytes, left(work, at), &instruction, operands);
        }
        sum += instruction.length;
    }
    return sum;
}

static uint64_t decode_zydis_minimal(const struct workload *work)
{
    return decode_zydis(work, true);
}

static uint64_t decode_zydis_full(const struct workload *work)
{
    return decode_zydis(work, false);
}

#endif

/* The fastest of some rounds. */
static void measure(const char *name, uint64_t (*decode)(const struct workload *),
                    const struct workload *work)
{
    uint64_t best = UINT64_MAX, sum = 0;

    for (int i = 0; i < ROUNDS; i++) {
        uint64_t start = now();
        sum = decode(work);
        uint64_t taken = now() - start;
        best = taken < best ? taken : best;
    }
    printf("%-24s %7.1f ns/instruction   (%" PRIu64 " bytes)\n", name,
           (double)best / (double)work->count, sum);
}

int main(int argc, char **argv)
{
    const char *path = argc > 1 ? argv[1] : "/lib/x86_64-linux-gnu/libc.so.6";
    struct workload work = {0};

    if (!prepare(&work, path)) {
        fprintf(stderr, "%s: no 64-bit code there\n", path);
        return 1;
    }
    printf("%s: %zu instructions\n", path, work.count);
    measure("decode", decode_ours, &work);
#ifdef TRAPEZE_HAVE_ZYDIS
    measure("decode-zydis-minimal", decode_zydis_minimal, &work);
    measure("decode-zydis-full", decode_zydis_full, &work);
#endif
    free(work.starts);
    decode_text_free(&work.text);
    return 0;
}
