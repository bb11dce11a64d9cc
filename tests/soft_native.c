#include "soft_native.h"

#include <cpuid.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static uint8_t *code;

static bool host_has_features(void)
{
    unsigned int a, b, c, d;
    return __builtin_cpu_supports("avx2") && __get_cpuid_count(0xd, 1, &a, &b, &c, &d) != 0 &&
           (a & 3) == 3; /* XSAVEOPT, XSAVEC */
}

bool native_setup(void)
{
    if (!host_has_features()) {
        return false;
    }
    code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (code == MAP_FAILED) {
        perror("mapping executable memory");
        exit(1);
    }
    return true;
}

#define YMM(n)            "vmovups %c[ymm] + 32 * " #n "(%%r15), %%ymm" #n "\n\t"
#define SAVE(n)           "vmovups %%ymm" #n ", %c[ymm] + 32 * " #n "(%%r15)\n\t"
#define GPR(n, name)      "mov %c[gpr] + 8 * " #n "(%%r15), %%" #name "\n\t"
#define SAVE_GPR(n, name) "mov %%" #name ", %c[gpr] + 8 * " #n "(%%r15)\n\t"
#define ALL(M)            M(0) M(1) M(2) M(3) M(4) M(5) M(6) M(7) M(8) M(9) M(10) M(11) M(12) M(13) M(14) M(15)
/* clang-format off */
#define ALL_GPR(M)                                                                                 \
    M(0, rax)                                                                                      \
    M(1, rcx)                                                                                      \
    M(2, rdx) M(3, rbx) M(5, rbp) M(6, rsi) M(7, rdi) M(8, r8) M(9, r9) M(10, r10) M(11, r11)      \
        M(12, r12) M(13, r13)
/* clang-format on */

void native_run(struct native_state *state, const uint8_t *bytes, size_t length)
{
    uint32_t host_mxcsr = 0x1f80;
    memcpy(code, bytes, length);
    code[length] = 0xc3;
    struct native_state *given_state = state;
    uint8_t *given_code = code;
    /* rbp is saved by hand: it cannot be named as clobbered */
    __asm__ volatile(
        "mov %[given_state], %%r15\n\t"
        "mov %[given_code], %%r14\n\t"
        "lea -128(%%rsp), %%rsp\n\t" /* the red zone */
        "push %%rbp\n\t"
        "fxrstor64 %c[x87](%%r15)\n\t" ALL(
            YMM) "ldmxcsr %c[mxcsr](%%r15)\n\t"
                 "pushq %c[flags](%%r15)\n\t" ALL_GPR(
                     GPR) "popfq\n\t"
                          "call *%%r14\n\t"
                          "pushfq\n\t"
                          "popq %c[flags](%%r15)\n\t" ALL_GPR(
                              SAVE_GPR) "stmxcsr %c[mxcsr](%%r15)\n\t" ALL(SAVE) "fxsave64 "
                                                                                 "%c[x87](%%r15)"
                                                                                 "\n\t"
                                                                                 "fninit\n\t"
                                                                                 "vzeroupper\n\t"
                                                                                 "pop %%rbp\n\t"
                                                                                 "lea 128(%%rsp), "
                                                                                 "%%rsp\n\t"
                                                                                 "cld\n\t"
        : [given_state] "+D"(given_state), [given_code] "+S"(given_code)
        : [x87] "i"(offsetof(struct native_state, x87)),
          [ymm] "i"(offsetof(struct native_state, ymm)),
          [gpr] "i"(offsetof(struct native_state, gpr)),
          [flags] "i"(offsetof(struct native_state, flags)),
          [mxcsr] "i"(offsetof(struct native_state, mxcsr))
        : "rax", "rcx", "rdx", "rbx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
          "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",
          "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
    __asm__ volatile("ldmxcsr %0" : : "m"(host_mxcsr));
}
