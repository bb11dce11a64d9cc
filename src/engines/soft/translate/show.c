/*
 * What people see of a block that has just been made.
 */
#include "engines/soft/translate/perf_map.h"
#include "engines/soft/translate/trace.h"
#include "engines/soft/translate/translator.h"
#include "engines/soft/vm.h"

static void trace(const struct soft_cpu *cpu, const struct translate_block *block)
{
    const struct translator *translator = cpu->translate.translator;
    const struct unit *unit = &translator->unit;
    struct code_trace_row rows[UNIT_MAX + 2];
    size_t count = 0;
    uint64_t page = cpu->rip & ~SOFT_PAGE_MASK;
    rows[count++] = (struct code_trace_row){
        .label = "entry", .host_start = block->code, .host_end = translator->code_of[0]};
    for (unsigned int i = 0; i < unit->count; i++) {
        const struct unit_instruction *at = &unit->instruction[i];
        rows[count++] = (struct code_trace_row){.guest_rip = page + at->offset,
                                                .guest_bytes = at->in.bytes,
                                                .guest_length = at->in.decoded.length,
                                                .host_start = translator->code_of[i],
                                                .host_end = translator->code_of[i + 1]};
    }
    rows[count++] = (struct code_trace_row){.label = "exits and slow paths",
                                            .host_start = translator->code_of[unit->count],
                                            .host_end = block->code + block->code_length};
    struct code_trace_block shown = {.vcpu = cpu->index,
                                     .rip = cpu->rip,
                                     .physical = block->physical,
                                     .user = cpu->cpl == 3,
                                     .mode = cpu->mode & SOFT_MODE_DECODE,
                                     .rows = rows,
                                     .row_count = count};
    code_trace_block(cpu->vm->code_trace, &shown);
}

void translate_show(const struct soft_cpu *cpu, const struct translate_block *block)
{
    if (cpu->vm->code_trace != NULL) {
        trace(cpu, block);
    }
    perf_map_add(cpu->vm->perf_map, cpu->rip, block->physical, cpu->cpl == 3, block->code,
                 block->code_length);
}
