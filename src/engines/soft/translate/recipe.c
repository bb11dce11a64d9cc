#include "engines/soft/translate/recipe.h"

#include "engines/soft/alu.h"
#include "engines/soft/translate/translator.h"

static enum translate_recipe_kind kind_of(const struct x86_instruction *in, bool same)
{
    switch ((enum x86_operation)in->operation) {
    case X86_OP_AND:
    case X86_OP_OR:
    case X86_OP_XOR:
        return RECIPE_LOGIC;
    case X86_OP_ADD:
        return same ? RECIPE_NONE : RECIPE_ADD; /* the upper bit of what was doubled is gone */
    case X86_OP_SUB:
        return same ? RECIPE_LOGIC : RECIPE_SUB; /* zero: the flags are those of XOR, too */
    case X86_OP_NEG:
        return RECIPE_NEG;
    case X86_OP_CMP:
        return RECIPE_CMP;
    case X86_OP_TEST:
        return RECIPE_TEST;
    default:
        return RECIPE_NONE;
    }
}

static uint32_t register_bit(unsigned int reg, unsigned int size, bool has_rex)
{
    bool high = size == 1 && !has_rex && reg >= 4 && reg < 8;
    return UINT32_C(1) << (high ? reg - 4 : reg);
}

/* The operands of the instructions that kind_of knows, first and second as these are meant. */
static void take_operands(const struct x86_instruction *in, struct translate_recipe *recipe)
{
    bool has_modrm = (in->flags & X86_INSTRUCTION_MODRM) != 0;
    uint8_t rm = x86_has_memory_operand(in) ? RECIPE_MEMORY : in->rm;
    if (in->operation == X86_OP_NEG) {
        recipe->first = recipe->second = rm;
    } else if (in->immediate_size != 0) { /* of the accumulator, where there is no ModRM */
        recipe->first = has_modrm ? rm : X86_RAX;
        recipe->second = RECIPE_IMMEDIATE;
        recipe->immediate = (int32_t)in->immediate;
    } else {
        bool to_register = in->opcode < 0x40 && (in->opcode & 2) != 0;
        recipe->first = to_register ? in->reg : rm;
        recipe->second = to_register ? rm : in->reg;
    }
}

static uint32_t needs_of(const struct translate_recipe *recipe)
{
    uint32_t needs = 0;
    if (recipe->first < 16) {
        needs |= register_bit(recipe->first, recipe->size, recipe->has_rex);
    }
    if (recipe->second < 16 && recipe->kind != RECIPE_LOGIC) {
        needs |= register_bit(recipe->second, recipe->size, recipe->has_rex);
    }
    return needs;
}

struct translate_recipe translate_recipe_of(const struct unit_instruction *at, uint32_t *needs)
{
    const struct x86_instruction *in = &at->in.decoded;
    struct translate_recipe recipe = {.kind = RECIPE_NONE};
    *needs = 0;
    if (at->kind != UNIT_NATIVE) {
        return recipe;
    }
    recipe.size = in->operand_size;
    recipe.has_rex = (in->flags & X86_INSTRUCTION_REX) != 0;
    take_operands(in, &recipe);
    recipe.kind = (uint8_t)kind_of(in, recipe.first == recipe.second);
    bool compares = recipe.kind == RECIPE_CMP || recipe.kind == RECIPE_TEST;
    if (recipe.first == RECIPE_MEMORY && !compares) {
        recipe.kind = RECIPE_NONE; /* the result is in memory, which others may change */
    }
    if (recipe.kind != RECIPE_NONE) {
        *needs = needs_of(&recipe);
    }
    return recipe;
}

typedef uint64_t alu_function(uint16_t *arithmetic, uint64_t a, uint64_t b);

#define SIZES(name)                                                                                \
    {                                                                                              \
        soft_##name##8, soft_##name##16, soft_##name##32, soft_##name##64                          \
    }

static uint64_t operand(const struct soft_cpu *cpu, const struct translate_recipe *recipe,
                        unsigned int which)
{
    switch (which) {
    case RECIPE_IMMEDIATE:
        return (uint64_t)(int64_t)recipe->immediate;
    case RECIPE_MEMORY:
        return cpu->translate.flags_operand;
    default:
        return soft_get_register(cpu, which, recipe->size, recipe->has_rex);
    }
}

void translate_recipe_apply(struct soft_cpu *cpu, const struct translate_recipe *recipe)
{
    static alu_function *const add[] = SIZES(add);
    static alu_function *const sub[] = SIZES(sub);
    static alu_function *const and[] = SIZES(and);
    if (recipe->kind == RECIPE_NONE) {
        return;
    }
    uint64_t first = operand(cpu, recipe, recipe->first);
    uint64_t second = operand(cpu, recipe, recipe->second);
    unsigned int index = soft_size_index(recipe->size);
    switch ((enum translate_recipe_kind)recipe->kind) {
    case RECIPE_NONE:
        break;
    case RECIPE_LOGIC:
        and[index](&cpu->arithmetic, first, first);
        break;
    case RECIPE_ADD:
        add[index](&cpu->arithmetic, first - second, second);
        break;
    case RECIPE_SUB:
        sub[index](&cpu->arithmetic, first + second, second);
        break;
    case RECIPE_NEG:
        sub[index](&cpu->arithmetic, 0, 0 - first);
        break;
    case RECIPE_CMP:
        sub[index](&cpu->arithmetic, first, second);
        break;
    case RECIPE_TEST:
        and[index](&cpu->arithmetic, first, second);
        break;
    }
}
