/* SPDX-License-Identifier: Apache-2.0 */
#include "bpf/go_code.h"

#include <Zydis/Zydis.h>
#include <errno.h>

/* Where in runtime.g the end of the stack is told that functions compare with. */
#define STACK_GUARD 0x10

/* Before the comparison, the place that it compares is found; behind it, a frame is made and the
 * arguments are stored. Go does either in fewer instructions. */
#define CHECK_INSTRUCTIONS_MAX 6
#define FRAME_INSTRUCTIONS_MAX 16

struct decoder {
    ZydisDecoder zydis;
    const uint8_t *bytes;
    size_t count, at;
    ZydisDecodedInstruction instruction;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
};

static bool
next(struct decoder *decoder)
{
    if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder->zydis, decoder->bytes + decoder->at,
                                             decoder->count - decoder->at, &decoder->instruction,
                                             decoder->operands))) {
        return false;
    }
    decoder->at += decoder->instruction.length;
    return true;
}

static bool
is_register(const ZydisDecodedOperand *operand, ZydisRegister which)
{
    return operand->type == ZYDIS_OPERAND_TYPE_REGISTER && operand->reg.value == which;
}

static bool
compares_with_guard(const struct decoder *decoder)
{
    const ZydisDecodedOperand *with = &decoder->operands[1];
    return decoder->instruction.mnemonic == ZYDIS_MNEMONIC_CMP &&
           with->type == ZYDIS_OPERAND_TYPE_MEMORY && with->mem.base == ZYDIS_REGISTER_R14 &&
           with->mem.index == ZYDIS_REGISTER_NONE && with->mem.disp.value == STACK_GUARD;
}

/* Passes the check: a comparison of the stack pointer, or for large frames of R12, which is made
 * from it, with the guard, and the jump to where the stack grows. */
static bool
pass_check(struct decoder *decoder)
{
    for (int i = 0; i < CHECK_INSTRUCTIONS_MAX && next(decoder); i++) {
        if (compares_with_guard(decoder)) {
            return next(decoder) && decoder->instruction.mnemonic == ZYDIS_MNEMONIC_JBE;
        }
        bool prepares = is_register(&decoder->operands[0], ZYDIS_REGISTER_R12) ||
                        decoder->instruction.mnemonic == ZYDIS_MNEMONIC_JB;
        if (!prepares) {
            return false;
        }
    }
    return false;
}

/* How much deeper the stack is behind this instruction. */
static int64_t
deepens(const struct decoder *decoder)
{
    const ZydisDecodedOperand *operands = decoder->operands;
    bool adds = decoder->instruction.mnemonic == ZYDIS_MNEMONIC_ADD;
    if (decoder->instruction.mnemonic == ZYDIS_MNEMONIC_PUSH) {
        return 8;
    }
    if ((adds || decoder->instruction.mnemonic == ZYDIS_MNEMONIC_SUB) &&
        is_register(&operands[0], ZYDIS_REGISTER_RSP) &&
        operands[1].type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
        return adds ? -operands[1].imm.value.s : operands[1].imm.value.s;
    }
    return 0;
}

/* Is this register stored so far above where the return address is? */
static bool
stores(const struct decoder *decoder, ZydisRegister which, int64_t depth, int64_t above)
{
    const ZydisDecodedOperand *to = &decoder->operands[0];
    return decoder->instruction.mnemonic == ZYDIS_MNEMONIC_MOV &&
           to->type == ZYDIS_OPERAND_TYPE_MEMORY && to->mem.base == ZYDIS_REGISTER_RSP &&
           to->mem.index == ZYDIS_REGISTER_NONE && to->mem.disp.value == depth + above &&
           is_register(&decoder->operands[1], which);
}

static bool
keeps_arguments(struct decoder decoder)
{
    int64_t depth = 0;
    bool first = false, second = false;
    for (int i = 0; i < FRAME_INSTRUCTIONS_MAX && next(&decoder); i++) {
        if (decoder.instruction.mnemonic == ZYDIS_MNEMONIC_CALL) {
            break;
        }
        depth += deepens(&decoder);
        first |= stores(&decoder, ZYDIS_REGISTER_RAX, depth, 8);
        second |= stores(&decoder, ZYDIS_REGISTER_RBX, depth, 16);
    }
    return first && second;
}

int
ns_go_code_read(const uint8_t *bytes, size_t count, struct ns_go_code *code)
{
    struct decoder decoder = {.bytes = bytes, .count = count};
    *code = (struct ns_go_code){0};
    if (!ZYAN_SUCCESS(
            ZydisDecoderInit(&decoder.zydis, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64)) ||
        !pass_check(&decoder)) {
        return -EINVAL;
    }
    code->entry = decoder.at;
    code->keeps_arguments = keeps_arguments(decoder);
    while (decoder.at < count) {
        size_t at = decoder.at;
        if (!next(&decoder)) {
            return -EINVAL;
        }
        if (decoder.instruction.mnemonic == ZYDIS_MNEMONIC_RET) {
            if (code->return_count == NS_GO_RETURNS_MAX) {
                return -EINVAL;
            }
            code->returns[code->return_count++] = at;
        }
    }
    return code->return_count > 0 ? 0 : -EINVAL;
}
