/* SPDX-License-Identifier: Apache-2.0 */
#include "bpf/points.h"

#include <Zydis/Zydis.h>

/* So many instructions are looked at for what matters before a call. */
#define STRAIGHT_MAX 32

struct decoded {
    ZydisDecodedInstruction instruction;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
};

/* A walk over the instructions of a function, one behind the other. */
struct walk {
    ZydisDecoder decoder;
    const struct ns_function *function;
    size_t at;
    struct decoded decoded;
};

static void
walk_begin(struct walk *walk, const struct ns_function *function)
{
    *walk = (struct walk){.function = function};
    ZydisDecoderInit(&walk->decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
}

/* Decodes what stands at walk->at. False at the end, and at what is no instruction. */
static bool
look(struct walk *walk)
{
    const struct ns_function *function = walk->function;
    return walk->at < function->bytes &&
           ZYAN_SUCCESS(ZydisDecoderDecodeFull(&walk->decoder, function->code + walk->at,
                                               function->bytes - walk->at,
                                               &walk->decoded.instruction, walk->decoded.operands));
}

static void
step(struct walk *walk)
{
    walk->at += walk->decoded.instruction.length;
}

/* A branch or call whose target is written in it; fills the target. */
static bool
is_direct(const struct walk *walk, uint64_t *target)
{
    const struct decoded *decoded = &walk->decoded;
    if (decoded->instruction.operand_count_visible == 0 ||
        decoded->operands[0].type != ZYDIS_OPERAND_TYPE_IMMEDIATE ||
        !decoded->operands[0].imm.is_relative) {
        return false;
    }
    *target = walk->function->address + walk->at + decoded->instruction.length +
              decoded->operands[0].imm.value.u;
    return true;
}

/* --- the entry ------------------------------------------------------------------------------ */

/*
 * branch_setup_xol_ops and push_setup_xol_ops of the kernel's arch/x86/kernel/uprobes.c, without
 * what only newer kernels have. Prefixes are the kernel's business alone with push: 0x41 there, in
 * an instruction of two bytes.
 */
static bool
is_emulated(const uint8_t *code, size_t length)
{
    uint8_t first = code[0];
    switch (length) {
    case 1: /* push, nop */
        return (first >= 0x50 && first <= 0x57) || first == 0x90;
    case 2: /* push of r8 to r15, jmp rel8, jcc rel8 */
        return (first == 0x41 && code[1] >= 0x50 && code[1] <= 0x57) || first == 0xeb ||
               (first >= 0x70 && first <= 0x7f);
    case 5: /* call, jmp rel32 */
        return first == 0xe8 || first == 0xe9;
    case 6: /* jcc rel32 */
        return first == 0x0f && code[1] >= 0x80 && code[1] <= 0x8f;
    default:
        return false;
    }
}

/* Does some instruction that can be seen go to what follows the entry, up to `last`? */
static bool
is_entered(const struct ns_function *function, uint64_t last)
{
    struct walk walk;
    uint64_t target;
    walk_begin(&walk, function);
    for (; look(&walk); step(&walk)) {
        if (is_direct(&walk, &target) && target > function->address && target <= last) {
            return true;
        }
    }
    return false;
}

uint64_t
ns_point_of_entry(const struct ns_function *function, bool *cheap)
{
    struct walk walk;
    walk_begin(&walk, function);
    *cheap = false;
    while (look(&walk)) {
        if (is_emulated(function->code + walk.at, walk.decoded.instruction.length)) {
            uint64_t address = function->address + walk.at;
            *cheap = walk.at == 0 || !is_entered(function, address);
            return *cheap ? address : function->address;
        }
        ZydisMnemonic mnemonic = walk.decoded.instruction.mnemonic;
        if (mnemonic != ZYDIS_MNEMONIC_ENDBR64 && mnemonic != ZYDIS_MNEMONIC_NOP) {
            break;
        }
        step(&walk);
    }
    return function->address;
}

/* --- a function that two share -------------------------------------------------------------- */

/* What is known of the registers of a call where straight code has come to. */
struct held {
    bool widened;    /* rdx: the plain count, as 64 bits */
    bool is_pointer; /* rcx: an address on the function's own stack ... */
    int64_t offset;  /* ... so far from rsp */
    bool compared;   /* the flags are of the plain count, compared to zero */
};

static bool
is_register(const ZydisDecodedOperand *operand, ZydisRegister name)
{
    return operand->type == ZYDIS_OPERAND_TYPE_REGISTER && operand->reg.value == name;
}

/* A whole register, whichever part of it is meant. */
static ZydisRegister
whole(ZydisRegister name)
{
    return ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, name);
}

static bool
writes(const struct decoded *decoded, ZydisRegister name)
{
    for (size_t i = 0; i < decoded->instruction.operand_count; i++) {
        const ZydisDecodedOperand *operand = &decoded->operands[i];
        if (operand->type == ZYDIS_OPERAND_TYPE_REGISTER &&
            (operand->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0 &&
            whole(operand->reg.value) == name) {
            return true;
        }
    }
    return false;
}

/* Memory at rsp and a distance, and nothing else. */
static bool
is_on_stack(const ZydisDecodedOperand *operand, int64_t *offset)
{
    bool is =
        operand->type == ZYDIS_OPERAND_TYPE_MEMORY && operand->mem.base == ZYDIS_REGISTER_RSP &&
        operand->mem.index == ZYDIS_REGISTER_NONE &&
        (operand->mem.segment == ZYDIS_REGISTER_SS || operand->mem.segment == ZYDIS_REGISTER_DS);
    *offset = is && operand->mem.disp.has_displacement ? operand->mem.disp.value : 0;
    return is;
}

/* movslq %edx,%rdx */
static bool
widens(const struct decoded *decoded)
{
    return decoded->instruction.mnemonic == ZYDIS_MNEMONIC_MOVSXD &&
           is_register(&decoded->operands[0], ZYDIS_REGISTER_RDX) &&
           is_register(&decoded->operands[1], ZYDIS_REGISTER_EDX);
}

/* mov %rsp,%rcx or lea N(%rsp),%rcx */
static bool
points(const struct decoded *decoded, int64_t *offset)
{
    const ZydisDecodedOperand *operands = decoded->operands;
    *offset = 0;
    if (!is_register(&operands[0], ZYDIS_REGISTER_RCX)) {
        return false;
    }
    if (decoded->instruction.mnemonic == ZYDIS_MNEMONIC_MOV) {
        return is_register(&operands[1], ZYDIS_REGISTER_RSP);
    }
    return decoded->instruction.mnemonic == ZYDIS_MNEMONIC_LEA && is_on_stack(&operands[1], offset);
}

/* test %edx,%edx */
static bool
compares(const struct decoded *decoded)
{
    return decoded->instruction.mnemonic == ZYDIS_MNEMONIC_TEST &&
           is_register(&decoded->operands[0], ZYDIS_REGISTER_EDX) &&
           is_register(&decoded->operands[1], ZYDIS_REGISTER_EDX);
}

/* Instructions that do nothing but what their operands say, and go on to the next. */
static bool
is_simple(const ZydisDecodedInstruction *instruction)
{
    switch (instruction->meta.category) {
    case ZYDIS_CATEGORY_BINARY:
    case ZYDIS_CATEGORY_DATAXFER:
    case ZYDIS_CATEGORY_LOGICAL:
    case ZYDIS_CATEGORY_MISC: /* lea */
    case ZYDIS_CATEGORY_NOP:
    case ZYDIS_CATEGORY_WIDENOP:
    case ZYDIS_CATEGORY_PUSH:
        return true;
    default:
        return instruction->mnemonic == ZYDIS_MNEMONIC_ENDBR64;
    }
}

/* One instruction of the straight code. False where it leaves that, or what a call needs. */
static bool
follow(const struct decoded *decoded, bool plain, struct held *held)
{
    int64_t offset;
    if (plain && decoded->instruction.mnemonic == ZYDIS_MNEMONIC_JS) {
        return held->compared; /* leaves with a count below zero, and with no other */
    }
    if (!is_simple(&decoded->instruction) || writes(decoded, ZYDIS_REGISTER_RDI) ||
        writes(decoded, ZYDIS_REGISTER_RSI)) {
        return false;
    }
    if (plain && widens(decoded)) {
        held->widened = true;
    } else if (plain && points(decoded, &offset)) {
        held->is_pointer = true;
        held->offset = offset;
    } else if (writes(decoded, ZYDIS_REGISTER_RDX) || writes(decoded, ZYDIS_REGISTER_RCX) ||
               (held->is_pointer && writes(decoded, ZYDIS_REGISTER_RSP))) {
        return false;
    }
    if (plain && compares(decoded)) {
        held->compared = true;
    } else if (decoded->instruction.cpu_flags != NULL &&
               (decoded->instruction.cpu_flags->modified | decoded->instruction.cpu_flags->set_0 |
                decoded->instruction.cpu_flags->set_1 |
                decoded->instruction.cpu_flags->undefined) != 0) {
        held->compared = false;
    }
    return true;
}

/* Follows the straight code to its first call. False where that is none of the known form. */
static bool
find_call(struct walk *walk, bool plain, struct held *held, uint64_t *target)
{
    const struct ns_function *function = walk->function;
    *held = (struct held){0};
    for (int i = 0; i < STRAIGHT_MAX && look(walk); i++, step(walk)) {
        if (walk->decoded.instruction.mnemonic == ZYDIS_MNEMONIC_CALL) {
            return is_direct(walk, target) && !is_entered(function, function->address + walk->at) &&
                   (!plain || (held->widened && held->is_pointer));
        }
        if (!follow(&walk->decoded, plain, held)) {
            return false;
        }
    }
    return false;
}

/* Nothing else in the function leads to `target`, or to where its bytes do not say. All of it must
 * be instructions. */
static bool
leads_there_once(const struct ns_function *function, uint64_t target)
{
    struct walk walk;
    size_t times = 0;
    walk_begin(&walk, function);
    for (; look(&walk); step(&walk)) {
        const ZydisDecodedInstruction *instruction = &walk.decoded.instruction;
        uint64_t to;
        bool direct = is_direct(&walk, &to);
        times += direct && to == target;
        if (!direct && (instruction->meta.category == ZYDIS_CATEGORY_CALL ||
                        instruction->meta.category == ZYDIS_CATEGORY_UNCOND_BR)) {
            return false;
        }
    }
    return walk.at == function->bytes && times == 1;
}

/* Behind the call the plain function takes its result from where rcx pointed: what the shared one
 * has there is the count. walk stands at the call. */
static bool
takes_result(struct walk *walk, int64_t offset)
{
    for (step(walk); look(walk); step(walk)) {
        const struct decoded *decoded = &walk->decoded;
        int64_t from;
        if (decoded->instruction.mnemonic == ZYDIS_MNEMONIC_MOV &&
            (is_register(&decoded->operands[0], ZYDIS_REGISTER_EAX) ||
             is_register(&decoded->operands[0], ZYDIS_REGISTER_RAX)) &&
            is_on_stack(&decoded->operands[1], &from) && from == offset) {
            return true;
        }
        if (writes(decoded, ZYDIS_REGISTER_RSP)) {
            return false;
        }
    }
    return false;
}

bool
ns_point_shared(const struct ns_function *plain, const struct ns_function *telling,
                uint64_t *shared)
{
    struct walk of_plain, of_telling;
    struct held held, none;
    uint64_t called;
    walk_begin(&of_plain, plain);
    walk_begin(&of_telling, telling);
    return find_call(&of_plain, true, &held, shared) &&
           find_call(&of_telling, false, &none, &called) && called == *shared &&
           leads_there_once(plain, *shared) && leads_there_once(telling, *shared) &&
           takes_result(&of_plain, held.offset);
}
