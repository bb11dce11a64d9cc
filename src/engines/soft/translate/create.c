/*
 * A vCPU's translator: made and unmade.
 */
#include <asm/prctl.h>
#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "engines/soft/native_fault.h"
#include "engines/soft/translate/translate.h"
#include "engines/soft/translate/translator.h"
#include "engines/soft/vm.h"

static uint64_t host_features(void)
{
    static const uint32_t leaves[][2] = {{0, 0},   {1, 0},          {7, 0},         {7, 1},
                                         {0xd, 1}, {0x80000000, 0}, {0x80000001, 0}};
    struct cpuid_table table = {0};
    uint64_t features = 0;
    for (size_t i = 0; i < sizeof(leaves) / sizeof(leaves[0]); i++) {
        bool has_subleaves = leaves[i][0] == 7 || leaves[i][0] == 0xd;
        cpuid_set(&table, leaves[i][0], leaves[i][1], has_subleaves,
                  cpuid_host(leaves[i][0], leaves[i][1]));
    }
    for (unsigned int i = 0; i < X86_FEATURE_COUNT; i++) {
        if (i == X86_FEATURE_BASE || cpuid_has(&table, (enum x86_feature)i)) {
            features |= UINT64_C(1) << i;
        }
    }
    if (!__builtin_cpu_supports("avx")) { /* the kernel must save the registers, too */
        features &= ~(UINT64_C(1) << X86_FEATURE_AVX);
    }
    return features;
}

/* GS belongs to nobody else in the process; each thread keeps its own. */
bool translate_set_gs(const struct soft_cpu *cpu)
{
    static _Thread_local const struct soft_cpu *gs;
    if (gs != cpu) {
        if (syscall(SYS_arch_prctl, ARCH_SET_GS, cpu) != 0) {
            return false;
        }
        gs = cpu;
    }
    return true;
}

int translate_create(struct soft_cpu *cpu, struct error *error)
{
    struct translator *translator =
        mmap(NULL, sizeof(*translator), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (translator == MAP_FAILED) {
        return error_set(error, ENOMEM, "no memory for vCPU %u's translator", cpu->index);
    }
    const struct soft_options *options = &cpu->vm->options;
    if (!translate_set_gs(cpu)) { /* later ones are not checked */
        int code = errno;
        munmap(translator, sizeof(*translator));
        return error_set_errno(error, code, "setting GS (a security policy may forbid it)");
    }
    int status = translate_cache_create((size_t)options->code_cache / cpu->vm->vcpu_count,
                                        &translator->cache, error);
    if (status != 0) {
        munmap(translator, sizeof(*translator));
        return status;
    }
    translator->translate_after = options->translate_after;
    translator->smp = cpu->vm->vcpu_count > 1;
    translator->host_features = host_features();
    translator->serial[0] = 1;
    translator->serial[1] = translator->last_serial = 2;
    cpu->translate.self = cpu;
    cpu->translate.origin = translate_cache_origin(translator->cache);
    cpu->translate.translator = translator;
    if (!translate_make_glue(cpu)) {
        translate_destroy(cpu);
        return error_set(error, ENOMEM, "the translator's glue code does not fit");
    }
    return 0;
}

void translate_destroy(struct soft_cpu *cpu)
{
    struct translator *translator = cpu->translate.translator;
    if (translator != NULL) {
        native_fault_translated(NULL, NULL);
        translate_cache_destroy(translator->cache);
        munmap(translator, sizeof(*translator));
        cpu->translate.translator = NULL;
    }
}
