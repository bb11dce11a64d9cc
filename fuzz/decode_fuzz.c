/* The decoder on any bytes: within bounds, the same answer with more bytes behind, fields in range.
 */
#include <stdlib.h>
#include <string.h>

#include "x86/decode/decode.h"
#include "x86/registers.h"

static void require(bool condition)
{
    if (!condition) {
        abort();
    }
}

static void check_fields(const struct x86_instruction *instruction)
{
    require(instruction->length >= 1 && instruction->length <= X86_INSTRUCTION_MAX);
    require(instruction->operation != X86_OP_INVALID && instruction->operation < X86_OP_COUNT);
    require(instruction->feature < X86_FEATURE_COUNT);
    require(instruction->base <= X86_REGISTER_RIP && instruction->index <= X86_REGISTER_NONE);
    require(instruction->segment < X86_SEGMENT_COUNT && instruction->scale <= 3);
    require(instruction->reg < 16 && instruction->rm < 16 && instruction->vvvv < 16);
    require(instruction->memory_size <= 32);
    require(instruction->opcode_offset < instruction->length);
    require(instruction->vector_length == 0 || instruction->vector_length == 16 ||
            instruction->vector_length == 32);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (int mode = X86_DECODE_16; mode <= X86_DECODE_64; mode++) {
        struct x86_instruction instruction, again;
        /* A copy of exactly its size lets the sanitizer see a read beyond. */
        uint8_t *bytes = malloc(size + X86_INSTRUCTION_MAX);
        uint8_t *exact = malloc(size != 0 ? size : 1);
        if (bytes == NULL || exact == NULL) {
            abort();
        }
        memcpy(exact, data, size);
        memcpy(bytes, data, size);
        memset(bytes + size, 0xc4, X86_INSTRUCTION_MAX);

        enum x86_decode_result result =
            x86_decode((enum x86_decode_mode)mode, exact, size, &instruction);
        require(instruction.length <= size);
        if (result == X86_DECODE_OK) {
            check_fields(&instruction);
            require(x86_decode((enum x86_decode_mode)mode, bytes, size + X86_INSTRUCTION_MAX,
                               &again) == X86_DECODE_OK);
            require(memcmp(&instruction, &again, sizeof(again)) == 0);
        }
        require((result == X86_DECODE_TRUNCATED) <= (size < X86_INSTRUCTION_MAX));
        free(exact);
        free(bytes);
    }
    return 0;
}
