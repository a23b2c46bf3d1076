/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dlsym for programs that take libssl's functions one by one out of a handle, as .NET does: such a
 * question passes every preload object by, so its answer is put right.
 *
 * Only that answer: an ordinary handle, a name that is a hook's, and a function that lies in a
 * libssl. Everything else goes to libc by a jump, with its stack and registers as they came: libc
 * takes the meaning of RTLD_NEXT, and the caller's namespace, from the address it will return to.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "shim/hooks.h"
#include "shim/process.h"
#include "shim/resolve.h"

/* A sanitizer's runtime takes its own functions from here before it has any memory to check with.
 */
#define UNINSTRUMENTED __attribute__((no_sanitize("address", "thread", "undefined")))

typedef void *(*finder)(void *handle, const char *name);

/* Read by the code below, which needs no more of it than a symbol. */
__attribute__((visibility("hidden"))) finder ns_dlsym_next;
__attribute__((visibility("hidden"), used)) void *ns_dlsym_answer(void *handle, const char *name);

/* libc has one in any process that has a dlsym to call: this is for none of them. */
static void *
find_nothing(void *handle, const char *name)
{
    (void)handle;
    (void)name;
    return NULL;
}

/* The next one behind ours: libc's, or that of another preload object. By dlvsym, which nobody
 * replaces: a sanitizer's runtime asks for its first symbols here before its own dl_iterate_phdr
 * works. */
UNINSTRUMENTED static finder
find_finder(void)
{
    finder found = __atomic_load_n(&ns_dlsym_next, __ATOMIC_ACQUIRE);
    for (size_t i = 0; found == NULL; i++) {
        static const char *const versions[] = {"GLIBC_2.34", "GLIBC_2.17", "GLIBC_2.2.5"};
        found = find_nothing;
        if (i < sizeof versions / sizeof versions[0]) {
            void *function = dlvsym(RTLD_NEXT, "dlsym", versions[i]);
            memcpy(&found, &function, sizeof found);
        }
    }
    __atomic_store_n(&ns_dlsym_next, found, __ATOMIC_RELEASE);
    return found;
}

static const struct ns_hook *
hook_named(const char *name)
{
    if (strncmp(name, "SSL_", 4) != 0 && strncmp(name, "BIO_", 4) != 0) {
        return NULL;
    }
    if (strcmp(name, "BIO_f_ssl") == 0) {
        return NULL; /* it has no argument to tell whose it is */
    }
    for (size_t i = 0; i < ns_hook_count; i++) {
        if (strcmp(ns_hooks[i].name, name) == 0) {
            return &ns_hooks[i];
        }
    }
    return NULL;
}

/* The hook in place of a function of libssl; NULL for all others. */
static void *
hook_for(finder next, void *handle, const char *name)
{
    const struct ns_hook *hook = hook_named(name);
    void *function = hook == NULL ? NULL : next(handle, name);
    const struct ns_openssl *api = function == NULL ? NULL : ns_resolve_at(function);
    void *original = NULL;
    if (api != NULL) {
        memcpy(&original, (const char *)api + hook->place, sizeof original);
    }
    if (original == NULL || original != function || api->library != NS_LIBRARY_OPENSSL ||
        !ns_process_ready()) {
        return NULL;
    }
    void *answer;
    memcpy(&answer, &hook->hook, sizeof answer);
    return answer;
}

/* The hook, where it is the answer; NULL: libc shall answer. */
UNINSTRUMENTED void *
ns_dlsym_answer(void *handle, const char *name)
{
    finder next = find_finder();
    bool ordinary = handle != RTLD_NEXT && handle != RTLD_DEFAULT && name != NULL;
    return ordinary ? hook_for(next, handle, name) : NULL;
}

#if defined(__x86_64__)
__asm__(".text\n"
        ".globl dlsym\n"
        ".type dlsym, @function\n"
        "dlsym:\n"
        "    .cfi_startproc\n"
        "    endbr64\n"
        "    pushq %rdi\n"
        "    .cfi_adjust_cfa_offset 8\n"
        "    pushq %rsi\n"
        "    .cfi_adjust_cfa_offset 8\n"
        "    subq $8, %rsp\n"
        "    .cfi_adjust_cfa_offset 8\n"
        "    call ns_dlsym_answer\n"
        "    addq $8, %rsp\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    popq %rsi\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    popq %rdi\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    testq %rax, %rax\n"
        "    jne 1f\n"
        "    jmp *ns_dlsym_next(%rip)\n"
        "1:  ret\n"
        "    .cfi_endproc\n"
        ".size dlsym, .-dlsym\n");
#elif defined(__aarch64__)
__asm__(".text\n"
        ".globl dlsym\n"
        ".type dlsym, %function\n"
        "dlsym:\n"
        "    .cfi_startproc\n"
        "    stp x29, x30, [sp, #-32]!\n"
        "    .cfi_adjust_cfa_offset 32\n"
        "    stp x0, x1, [sp, #16]\n"
        "    bl ns_dlsym_answer\n"
        "    mov x9, x0\n"
        "    ldp x0, x1, [sp, #16]\n"
        "    ldp x29, x30, [sp], #32\n"
        "    .cfi_adjust_cfa_offset -32\n"
        "    cbnz x9, 1f\n"
        "    adrp x16, ns_dlsym_next\n"
        "    ldr x16, [x16, #:lo12:ns_dlsym_next]\n"
        "    br x16\n"
        "1:  mov x0, x9\n"
        "    ret\n"
        "    .cfi_endproc\n"
        ".size dlsym, .-dlsym\n");
#else
#error "no dlsym for this processor"
#endif
