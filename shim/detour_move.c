/* SPDX-License-Identifier: Apache-2.0 */
#if defined(__x86_64__)
#include "shim/detour_move.h"

#include <stdbool.h>
#include <string.h>

#define JUMP_NEAR 0xe9
#define CALL_NEAR 0xe8
#define CONDITION_SHORT 0x70 /* to 0x7f: jcc rel8 */
#define CONDITION_NEAR 0x80  /* to 0x8f behind 0x0f: jcc rel32 */
#define ESCAPE 0x0f

static const uint8_t endbr64[] = {0xf3, 0x0f, 0x1e, 0xfa};

struct decoded {
    ZydisDecodedInstruction instruction;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
};

static bool
decode(const struct ns_zydis *zydis, const uint8_t *at, size_t bytes, struct decoded *decoded)
{
    return ZYAN_SUCCESS(zydis->decode(&zydis->decoder, at, bytes, &decoded->instruction,
                                      decoded->operands)) &&
           decoded->instruction.length > 0 && decoded->instruction.length <= bytes;
}

/* A branch whose target is counted from its end. */
static bool
is_relative_branch(const struct decoded *decoded)
{
    const ZydisDecodedInstruction *instruction = &decoded->instruction;
    return instruction->operand_count_visible > 0 &&
           decoded->operands[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE &&
           decoded->operands[0].imm.is_relative;
}

static uintptr_t
target_of(const struct decoded *decoded, uintptr_t address)
{
    return address + decoded->instruction.length + (uintptr_t)decoded->operands[0].imm.value.s;
}

/* The distance that is written into an instruction whose last byte is before `end`. */
static bool
distance(uintptr_t end, uintptr_t target, int32_t *relative)
{
    int64_t wanted = (int64_t)(target - end);
    *relative = (int32_t)wanted;
    return wanted >= INT32_MIN && wanted <= INT32_MAX;
}

bool
ns_detour_jump(uint8_t at[static NS_DETOUR_JUMP_BYTES], uintptr_t place, uintptr_t target)
{
    int32_t relative;
    if (!distance(place + NS_DETOUR_JUMP_BYTES, target, &relative)) {
        return false;
    }
    at[0] = JUMP_NEAR;
    memcpy(at + 1, &relative, sizeof relative);
    return true;
}

/* Does the flow never come to the next instruction? */
static bool
ends_flow(const ZydisDecodedInstruction *instruction)
{
    return instruction->meta.category == ZYDIS_CATEGORY_UNCOND_BR ||
           instruction->meta.category == ZYDIS_CATEGORY_RET ||
           instruction->mnemonic == ZYDIS_MNEMONIC_UD2 ||
           instruction->mnemonic == ZYDIS_MNEMONIC_HLT;
}

static bool
is_trap(const ZydisDecodedInstruction *instruction)
{
    return instruction->meta.category == ZYDIS_CATEGORY_INTERRUPT ||
           instruction->mnemonic == ZYDIS_MNEMONIC_INT3;
}

/* Writes a relative branch in its long form. Bytes written, or 0 where it has none. */
static size_t
move_branch(const struct decoded *decoded, uintptr_t target, uint8_t *to, uintptr_t place,
            bool *far)
{
    const ZydisDecodedInstruction *instruction = &decoded->instruction;
    size_t opcode = 1;
    if (instruction->mnemonic == ZYDIS_MNEMONIC_JMP) {
        to[0] = JUMP_NEAR;
    } else if (instruction->mnemonic == ZYDIS_MNEMONIC_CALL) {
        to[0] = CALL_NEAR;
    } else if (instruction->meta.category == ZYDIS_CATEGORY_COND_BR &&
               ((instruction->opcode_map == ZYDIS_OPCODE_MAP_DEFAULT &&
                 (instruction->opcode & 0xf0) == CONDITION_SHORT) ||
                (instruction->opcode_map == ZYDIS_OPCODE_MAP_0F &&
                 (instruction->opcode & 0xf0) == CONDITION_NEAR))) {
        to[0] = ESCAPE;
        to[1] = (uint8_t)(CONDITION_NEAR | (instruction->opcode & 0x0f));
        opcode = 2;
    } else {
        return 0; /* loop, jrcxz, xbegin */
    }
    int32_t relative;
    *far = !distance(place + opcode + sizeof relative, target, &relative);
    memcpy(to + opcode, &relative, sizeof relative);
    return opcode + sizeof relative;
}

/* Copies an instruction; where it refers to memory by its distance, the distance is corrected. */
static bool
move_plain(const struct decoded *decoded, const uint8_t *from, uintptr_t address, uint8_t *to,
           uintptr_t place, bool *far)
{
    const ZydisDecodedInstruction *instruction = &decoded->instruction;
    memcpy(to, from, instruction->length);
    if ((instruction->attributes & ZYDIS_ATTRIB_IS_RELATIVE) == 0) {
        return true;
    }
    if (instruction->raw.disp.size != 32) {
        return false;
    }
    int32_t old;
    memcpy(&old, from + instruction->raw.disp.offset, sizeof old);
    uintptr_t target = address + instruction->length + (uintptr_t)(intptr_t)old;
    int32_t relative;
    *far = !distance(place + instruction->length, target, &relative);
    memcpy(to + instruction->raw.disp.offset, &relative, sizeof relative);
    return true;
}

/* Looks through the whole function: nothing may jump into what the jump covers, and all of it must
 * be instructions, or else this cannot be known. */
static enum ns_detour_refusal
check_body(const struct ns_zydis *zydis, const uint8_t *code, size_t bytes, uintptr_t function,
           uintptr_t entry)
{
    struct decoded decoded;
    for (size_t at = 0; at < bytes; at += decoded.instruction.length) {
        if (!decode(zydis, code + at, bytes - at, &decoded)) {
            return NS_DETOUR_UNDECODED;
        }
        if (is_relative_branch(&decoded)) {
            uintptr_t target = target_of(&decoded, function + at);
            if (target > entry && target < entry + NS_DETOUR_JUMP_BYTES) {
                return NS_DETOUR_ENTERED;
            }
        }
    }
    return NS_DETOUR_MOVED;
}

enum ns_detour_refusal
ns_detour_move(const struct ns_zydis *zydis, const uint8_t *code, size_t bytes, uintptr_t function,
               uint8_t to[static NS_DETOUR_MOVED_BYTES_MAX], uintptr_t place, uintptr_t *entry,
               size_t *moved_bytes)
{
    size_t at = 0;
    if (bytes >= sizeof endbr64 && memcmp(code, endbr64, sizeof endbr64) == 0) {
        at = sizeof endbr64;
    }
    *entry = function + at;
    const size_t patch_end = at + NS_DETOUR_JUMP_BYTES;
    if (bytes < patch_end) {
        return NS_DETOUR_SHORT;
    }
    enum ns_detour_refusal refusal = check_body(zydis, code, bytes, function, *entry);
    size_t written = 0;
    struct decoded decoded;
    bool flows = true;
    while (refusal == NS_DETOUR_MOVED && at < patch_end) {
        if (!flows) {
            return NS_DETOUR_SHORT;
        }
        const uint8_t *from = code + at;
        if (!decode(zydis, from, bytes - at, &decoded) || is_trap(&decoded.instruction)) {
            return NS_DETOUR_UNDECODED;
        }
        const size_t next = at + decoded.instruction.length;
        bool far = false;
        size_t count = decoded.instruction.length;
        if (is_relative_branch(&decoded)) {
            uintptr_t target = target_of(&decoded, function + at);
            bool calls_on = decoded.instruction.mnemonic == ZYDIS_MNEMONIC_CALL && next < patch_end;
            count =
                calls_on ? 0 : move_branch(&decoded, target, to + written, place + written, &far);
        } else if (decoded.instruction.meta.category == ZYDIS_CATEGORY_CALL && next < patch_end) {
            count = 0; /* it would come back into the jump, if it is under way now */
        } else if (!move_plain(&decoded, from, function + at, to + written, place + written,
                               &far)) {
            count = 0;
        }
        if (count == 0 || far) {
            return far ? NS_DETOUR_FAR : NS_DETOUR_RELATIVE;
        }
        flows = !ends_flow(&decoded.instruction);
        written += count;
        at = next;
    }
    if (refusal == NS_DETOUR_MOVED && flows) {
        if (!ns_detour_jump(to + written, place + written, function + at)) {
            return NS_DETOUR_FAR;
        }
        written += NS_DETOUR_JUMP_BYTES;
    }
    *moved_bytes = written;
    return refusal;
}

const char *
ns_detour_refusal_text(enum ns_detour_refusal refusal)
{
    static const char *const texts[] = {
        [NS_DETOUR_MOVED] = "moved",
        [NS_DETOUR_SHORT] = "is too short",
        [NS_DETOUR_UNDECODED] = "has bytes that are no instruction, or a breakpoint",
        [NS_DETOUR_CHANGED] = "was changed by a debugger or by another tool",
        [NS_DETOUR_NO_MEMORY] = "cannot be moved: no memory",
        [NS_DETOUR_RELATIVE] = "begins with an instruction that cannot be moved",
        [NS_DETOUR_FAR] = "is too far from free memory",
        [NS_DETOUR_ENTERED] = "jumps back into its beginning",
    };
    return texts[refusal];
}
#endif
