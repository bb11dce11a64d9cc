#include "engines/soft/translate/stack_page.h"

#include <string.h>

#include "engines/soft/cpu.h"

static void clear(struct soft_cpu *cpu, unsigned int kind)
{
    memset(cpu->translate.stack[kind].limit, 0, sizeof(cpu->translate.stack[kind].limit));
}

void translate_stack_clear(struct soft_cpu *cpu)
{
    for (unsigned int kind = 0; kind < TRANSLATE_STACK_KINDS; kind++) {
        clear(cpu, kind);
    }
}

void translate_stack_clear_stores(struct soft_cpu *cpu)
{
    clear(cpu, TRANSLATE_STACK_WRITE);
    clear(cpu, TRANSLATE_STACK_WRITE | TRANSLATE_STACK_USER);
}
