// A loop of AVX2 and FMA instructions: fused multiply-adds over two arrays of floats, integer
// shuffles and adds over the bits of the result; prints a sum. Every operation is exact or rounded
// as IEEE 754 says, so that each machine prints the same.
// usage: vector THOUSANDS-OF-PASSES

#include <immintrin.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { FLOATS = 1024, LANES = 8 };

static __m256i pass(float *values, const float *factors, __m256i sum)
{
    const __m256 half = _mm256_set1_ps(0.5f);
    for (size_t i = 0; i < FLOATS; i += LANES) {
        __m256 value = _mm256_load_ps(values + i);
        value = _mm256_fmadd_ps(value, _mm256_load_ps(factors + i), half);
        _mm256_store_ps(values + i, value);
        __m256i bits = _mm256_castps_si256(value);
        bits = _mm256_shuffle_epi32(_mm256_xor_si256(bits, _mm256_srli_epi32(bits, 9)), 0x4e);
        sum = _mm256_add_epi32(sum, bits);
    }
    return sum;
}

int main(int argc, char **argv)
{
    uint64_t passes = argc > 1 ? strtoull(argv[1], NULL, 10) * 1000 : 0;
    if (passes == 0) {
        fprintf(stderr, "usage: vector THOUSANDS-OF-PASSES\n");
        return 2;
    }
    static _Alignas(32) float values[FLOATS], factors[FLOATS];
    for (int i = 0; i < FLOATS; i++) {
        values[i] = (float)i;
        factors[i] = 0.25f + (float)i / (2 * FLOATS);
    }
    __m256i sum = _mm256_setzero_si256();
    for (uint64_t i = 0; i < passes; i++) {
        sum = pass(values, factors, sum);
    }
    uint32_t lanes[LANES];
    _mm256_storeu_si256((__m256i *)lanes, sum);
    for (int i = 0; i < LANES; i++) {
        printf("%08x%c", lanes[i], i == LANES - 1 ? '\n' : ' ');
    }
    return 0;
}
