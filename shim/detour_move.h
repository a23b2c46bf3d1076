/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moves the first instructions of a function to another place, where they do the same. x86-64.
 *
 * Whole instructions are moved, as many as a jump of NS_DETOUR_JUMP_BYTES covers; those that count
 * from their own address are written anew. What cannot be moved for certain is refused.
 */
#ifndef NS_SHIM_DETOUR_MOVE_H
#define NS_SHIM_DETOUR_MOVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <Zydis/Zydis.h>

/* jmp rel32 */
#define NS_DETOUR_JUMP_BYTES 5

/* Room for what NS_DETOUR_JUMP_BYTES can cover: at most five instructions, of which each takes at
 * most fifteen bytes, and the jump back. */
#define NS_DETOUR_MOVED_BYTES_MAX 96

/* Of the library that was found at run time. */
struct ns_zydis {
    __typeof__(&ZydisGetVersion) get_version;
    __typeof__(&ZydisDecoderInit) decoder_init;
    __typeof__(&ZydisDecoderDecodeFull) decode;
    ZydisDecoder decoder;
};

enum ns_detour_refusal {
    NS_DETOUR_MOVED,
    NS_DETOUR_SHORT,     /* the function, or what runs through of it, is shorter than the jump */
    NS_DETOUR_UNDECODED, /* bytes that are no instruction, or a breakpoint */
    NS_DETOUR_CHANGED,   /* a debugger's breakpoint, or changed by something else */
    NS_DETOUR_NO_MEMORY,
    NS_DETOUR_RELATIVE, /* an instruction that counts from its address and has no long form */
    NS_DETOUR_FAR,      /* the new place is too far from what an instruction refers to */
    NS_DETOUR_ENTERED,  /* the function jumps back into the bytes that the jump would cover */
};

/*
 * code: the function's bytes; function: the address that they run at. to: where the moved code will
 * be written; it will run at the address `place`. Fills *entry with the address of the first byte
 * to patch (behind a leading endbr64), *moved_bytes with the bytes written. Writes nothing but
 * `to`.
 */
enum ns_detour_refusal ns_detour_move(const struct ns_zydis *zydis, const uint8_t *code,
                                      size_t bytes, uintptr_t function,
                                      uint8_t to[static NS_DETOUR_MOVED_BYTES_MAX], uintptr_t place,
                                      uintptr_t *entry, size_t *moved_bytes);

/* Writes a jmp rel32 that runs at `place`. False where the target is too far. */
bool ns_detour_jump(uint8_t at[static NS_DETOUR_JUMP_BYTES], uintptr_t place, uintptr_t target);

const char *ns_detour_refusal_text(enum ns_detour_refusal refusal);

#endif
