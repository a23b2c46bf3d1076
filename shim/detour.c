/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a function is detoured, and why nothing can go wrong half-way:
 *
 * 1. Only while this thread is alone in its process, with signals held off: nobody executes the
 *    bytes that change.
 * 2. Trampolines (each function's first instructions, moved, and a jump back) are written into new
 *    memory near the program, which becomes executable only when it is not writable any more.
 * 3. The hooks' table of real functions is turned to the trampolines: right already, for they do
 *    what the functions do.
 * 4. Each page of the program that holds a beginning is copied (without the breakpoints of probes,
 *    which are no such thing in a copy: detour_text.h), changed in the copy, made
 *    executable there, and moved over the original by one mremap each: no page is ever writable and
 *    executable, and where the kernel forbids new executable memory (MemoryDenyWriteExecute,
 *    SELinux), that shows before anything has changed.
 *
 * A fault at any step leaves the program as it was, ungoverned, counted and told in the log.
 */
#include "shim/detour.h"

#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shim/counters.h"
#include "shim/elf_symbols.h"
#include "shim/hello.h"
#include "shim/hooks.h"
#include "shim/log.h"
#include "shim/openssl.h"
#include "shim/process.h"
#include "shim/resolve.h"

static bool is_on;

enum ns_source
ns_process_source(void)
{
    return ns_detour_is_on() ? NS_SOURCE_DETOUR : NS_SOURCE_PRELOAD;
}

bool
ns_detour_is_on(void)
{
    return __atomic_load_n(&is_on, __ATOMIC_RELAXED);
}

static void
refuse(const char *why, const char *what)
{
    ns_count(NS_COUNTER_DETOURS_REFUSED);
    struct ns_line line;
    ns_line_begin(&line, "the program's own OpenSSL is not governed: ");
    ns_line_text(&line, what);
    ns_line_text(&line, what[0] != '\0' ? " " : "");
    ns_line_text(&line, why);
    ns_line_end(&line);
}

static int
open_program(struct dl_phdr_info *info, size_t bytes, void *data)
{
    (void)bytes;
    struct ns_elf *elf = data;
    if (!ns_elf_open(elf, info)) {
        elf->dynamic = NULL;
    }
    return 1; /* the first is the program */
}

#if defined(__x86_64__)
#include "shim/detour_move.h"
#include "shim/detour_text.h"

#define PAGE_BYTES 4096
#define FUNCTIONS_MAX 32
#define PAGES_MAX (2 * FUNCTIONS_MAX)

/* One function's part of the new memory: its moved beginning, then a jump to its hook. */
#define PART_BYTES 128
#define HOOK_JUMP_AT NS_DETOUR_MOVED_BYTES_MAX
#define NEAR_BYTES (FUNCTIONS_MAX * PART_BYTES)

/* Where new memory is looked for: below the program, then above it where no heap grows into it. */
#define NEAR_STEP_BYTES ((uintptr_t)1 << 16)
#define NEAR_STEPS_MAX 4096
#define NEAR_ABOVE_BYTES ((uintptr_t)1 << 30)

struct function {
    const struct ns_hook *hook;
    uintptr_t entry; /* the first byte to change */
    uint8_t jump[NS_DETOUR_JUMP_BYTES];
};

struct plan {
    struct ns_detour_text text;
    struct function functions[FUNCTIONS_MAX];
    size_t function_count;
    uintptr_t pages[PAGES_MAX]; /* of the program, to be replaced */
    size_t page_count;
    uint8_t *near;    /* NEAR_BYTES */
    uint8_t *copies;  /* page_count pages, in the order of pages */
    bool is_referred; /* near: to be left where it is */
};

/* --- Zydis
 * ---------------------------------------------------------------------------------------- */

#define ZYDIS_MAJOR ZYDIS_VERSION_MAJOR(ZYDIS_VERSION)
#define ZYDIS_MINOR ZYDIS_VERSION_MINOR(ZYDIS_VERSION)

static void
append_number(char *text, unsigned number)
{
    text += strlen(text);
    if (number >= 10) {
        *text++ = (char)('0' + number / 10 % 10);
    }
    *text++ = (char)('0' + number % 10);
    *text = '\0';
}

/* By the name of the version that this was compiled with: structures differ between minors. */
static void *
open_zydis(struct ns_zydis *zydis)
{
    char name[] = "libZydis.so.\0\0\0\0\0\0";
    append_number(name, ZYDIS_MAJOR);
    name[strlen(name)] = '.';
    append_number(name, ZYDIS_MINOR);
    void *library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        refuse("cannot be loaded: install it (Debian: libzydis4.0), then start the program anew",
               name);
        return NULL;
    }
    void *get_version = dlsym(library, "ZydisGetVersion");
    void *decoder_init = dlsym(library, "ZydisDecoderInit");
    void *decode = dlsym(library, "ZydisDecoderDecodeFull");
    memcpy(&zydis->get_version, &get_version, sizeof get_version);
    memcpy(&zydis->decoder_init, &decoder_init, sizeof decoder_init);
    memcpy(&zydis->decode, &decode, sizeof decode);
    if (get_version == NULL || decoder_init == NULL || decode == NULL ||
        zydis->get_version() >> 32 != ZYDIS_VERSION >> 32 ||
        !ZYAN_SUCCESS(zydis->decoder_init(&zydis->decoder, ZYDIS_MACHINE_MODE_LONG_64,
                                          ZYDIS_STACK_WIDTH_64))) {
        refuse("is of another version than this library was built with", name);
        dlclose(library);
        return NULL;
    }
    return library;
}

/* --- memory
 * --------------------------------------------------------------------------------------- */

static uint8_t *
try_near(uintptr_t hint)
{
    void *got = mmap((void *)hint, NEAR_BYTES, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (got == MAP_FAILED) {
        return NULL;
    }
    if ((uintptr_t)got != hint) { /* a kernel before 4.17 takes it for a wish */
        munmap(got, NEAR_BYTES);
        return NULL;
    }
    return got;
}

/* Memory from which a jmp rel32 reaches all of the program. */
static uint8_t *
map_near(const struct ns_elf *program)
{
    uintptr_t below = program->begin & ~(NEAR_STEP_BYTES - 1);
    uintptr_t above = (program->end + NEAR_ABOVE_BYTES) & ~(NEAR_STEP_BYTES - 1);
    uint8_t *near = NULL;
    for (uintptr_t step = 1; step <= NEAR_STEPS_MAX && near == NULL; step++) {
        if (below > step * NEAR_STEP_BYTES) {
            near = try_near(below - step * NEAR_STEP_BYTES);
        }
    }
    for (uintptr_t step = 0; step < NEAR_STEPS_MAX && near == NULL; step++) {
        near = try_near(above + step * NEAR_STEP_BYTES);
    }
    return near;
}

/* --- the plan
 * ------------------------------------------------------------------------------------- */

static void
plan_page(struct plan *plan, uintptr_t address)
{
    uintptr_t page = address & ~(uintptr_t)(PAGE_BYTES - 1);
    for (size_t i = 0; i < plan->page_count; i++) {
        if (plan->pages[i] == page) {
            return;
        }
    }
    plan->pages[plan->page_count++] = page;
}

/* jmp *0(%rip), and the address behind it. */
static void
write_hook_jump(uint8_t *at, void (*hook)(void))
{
    static const uint8_t jump[] = {0xff, 0x25, 0, 0, 0, 0};
    memcpy(at, jump, sizeof jump);
    memcpy(at + sizeof jump, &hook, sizeof hook);
}

/* Moves the beginning of a function to its part of the new memory. */
static enum ns_detour_refusal
move_function(const struct plan *plan, const struct ns_zydis *zydis, const uint8_t *function,
              size_t bytes, uint8_t *part, uintptr_t *entry)
{
    size_t moved_bytes = 0;
    if (bytes == 0) {
        return NS_DETOUR_SHORT;
    }
    uint8_t *code = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (code == MAP_FAILED) {
        return NS_DETOUR_NO_MEMORY;
    }
    enum ns_detour_refusal refusal =
        ns_detour_text_copy(&plan->text, (uintptr_t)function, bytes, code)
            ? ns_detour_move(zydis, code, bytes, (uintptr_t)function, part, (uintptr_t)part, entry,
                             &moved_bytes)
            : NS_DETOUR_CHANGED;
    munmap(code, bytes);
    return refusal;
}

/* Moves the beginnings of all functions that are hooks. False: one of them cannot be, and why was
 * told. */
static bool
plan_functions(struct plan *plan, const struct ns_elf *program, const struct ns_zydis *zydis)
{
    for (size_t i = 0; i < ns_hook_count; i++) {
        size_t bytes = 0;
        const uint8_t *start = ns_elf_function_sized(program, ns_hooks[i].name, &bytes);
        if (start == NULL) {
            continue; /* of a later version, or left out */
        }
        struct function *function = &plan->functions[plan->function_count];
        uint8_t *part = plan->near + plan->function_count * PART_BYTES;
        enum ns_detour_refusal refusal =
            move_function(plan, zydis, start, bytes, part, &function->entry);
        write_hook_jump(part + HOOK_JUMP_AT, ns_hooks[i].hook);
        if (refusal == NS_DETOUR_MOVED &&
            !ns_detour_jump(function->jump, function->entry, (uintptr_t)part + HOOK_JUMP_AT)) {
            refusal = NS_DETOUR_FAR;
        }
        if (refusal != NS_DETOUR_MOVED) {
            refuse(ns_detour_refusal_text(refusal), ns_hooks[i].name);
            return false;
        }
        function->hook = &ns_hooks[i];
        plan->function_count++;
        plan_page(plan, function->entry);
        plan_page(plan, function->entry + NS_DETOUR_JUMP_BYTES - 1);
    }
    return true;
}

/* Changes the bytes of a function in the copies of its pages. */
static void
change_copies(const struct plan *plan, const struct function *function)
{
    for (size_t byte = 0; byte < NS_DETOUR_JUMP_BYTES; byte++) {
        uintptr_t address = function->entry + byte;
        for (size_t i = 0; i < plan->page_count; i++) {
            if (address - plan->pages[i] < PAGE_BYTES) {
                plan->copies[i * PAGE_BYTES + (address - plan->pages[i])] = function->jump[byte];
            }
        }
    }
}

/* Copies of the pages, executable: with the jumps, or as they are. NULL where they cannot be made.
 */
static uint8_t *
copy_pages(struct plan *plan, bool with_jumps)
{
    size_t bytes = plan->page_count * PAGE_BYTES;
    uint8_t *copies = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (copies == MAP_FAILED) {
        return NULL;
    }
    plan->copies = copies;
    bool sound = true;
    for (size_t i = 0; sound && i < plan->page_count; i++) {
        sound =
            ns_detour_text_copy(&plan->text, plan->pages[i], PAGE_BYTES, copies + i * PAGE_BYTES);
    }
    for (size_t i = 0; with_jumps && i < plan->function_count; i++) {
        change_copies(plan, &plan->functions[i]);
    }
    if (!sound || mprotect(copies, bytes, PROT_READ | PROT_EXEC) != 0) {
        munmap(copies, bytes);
        return NULL;
    }
    return copies;
}

/* Moves copies over the pages. The kernel looks whether it may before it takes away what lies there
 * (mremap_to in mm/mremap.c). Returns how many pages were moved. */
static size_t
move_pages(const struct plan *plan, uint8_t *copies, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (mremap(copies + i * PAGE_BYTES, PAGE_BYTES, PAGE_BYTES, MREMAP_MAYMOVE | MREMAP_FIXED,
                   (void *)plan->pages[i]) == MAP_FAILED) {
            return i;
        }
    }
    return count;
}

/* The real functions are the moved ones from here on. */
static void
turn_table(const struct plan *plan, struct ns_openssl *copy)
{
    for (size_t i = 0; i < plan->function_count; i++) {
        const void *moved = plan->near + i * PART_BYTES;
        memcpy((char *)copy + plan->functions[i].hook->place, &moved, sizeof moved);
    }
}

static bool
carry_out(struct plan *plan, struct ns_openssl *copy)
{
    if (mprotect(plan->near, NEAR_BYTES, PROT_READ | PROT_EXEC) != 0) {
        refuse("new code is forbidden here (MemoryDenyWriteExecute, SELinux)", "");
        return false;
    }
    /* The way back is made before the way there, so that it is sure to be there. */
    uint8_t *back = copy_pages(plan, false);
    uint8_t *forth = back == NULL ? NULL : copy_pages(plan, true);
    size_t bytes = plan->page_count * PAGE_BYTES;
    size_t moved = 0;
    if (forth != NULL) {
        turn_table(plan, copy);
        plan->is_referred = true;
        moved = move_pages(plan, forth, plan->page_count);
        if (moved < plan->page_count) {
            move_pages(plan, back, moved);
        }
    }
    bool done = forth != NULL && moved == plan->page_count;
    if (!done) {
        refuse("its code cannot be replaced", "");
    }
    if (back != NULL) {
        munmap(back, bytes);
    }
    if (forth != NULL && !done) {
        munmap(forth, bytes);
    }
    return done;
}

/* A directory's links are itself, its name above, and those below it: one for each thread. */
static bool
is_alone(void)
{
    struct stat tasks;
    return stat("/proc/self/task", &tasks) == 0 && tasks.st_nlink == 3;
}

static bool
detour(const struct ns_elf *program, const void *function, struct ns_openssl *copy)
{
    struct ns_zydis zydis;
    void *library = open_zydis(&zydis);
    if (library == NULL) {
        return false;
    }
    struct plan plan = {.near = map_near(program)};
    bool done = false;
    if (plan.near == NULL) {
        refuse("there is no free memory near it", "");
    } else if (!ns_detour_text_open(&plan.text, program, (uintptr_t)function)) {
        refuse("its file cannot be read", "");
    } else if (plan_functions(&plan, program, &zydis)) {
        sigset_t all;
        sigset_t saved;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &saved);
        if (is_alone()) {
            done = carry_out(&plan, copy);
        } else {
            refuse("other threads run already: preload the library", "");
        }
        pthread_sigmask(SIG_SETMASK, &saved, NULL);
    }
    if (plan.text.file != NULL) {
        ns_detour_text_close(&plan.text);
    }
    if (plan.near != NULL && !plan.is_referred) {
        munmap(plan.near, NEAR_BYTES);
    }
    dlclose(library);
    return done;
}
#else
static bool
detour(const struct ns_elf *program, const void *function, struct ns_openssl *copy)
{
    (void)program;
    (void)function;
    (void)copy;
    refuse("this processor's instructions are not known here", "");
    return false;
}
#endif

/* Costs any other program a look into its symbol table. */
__attribute__((constructor)) static void
install(void)
{
    int saved = errno;
    struct ns_elf program = {0};
    dl_iterate_phdr(open_program, &program);
    /* Where the library is part of the program, as in its tests, what that shows are the hooks. */
    bool other = program.dynamic != NULL && !ns_elf_is_ours(&program);
    const void *function = other ? ns_elf_function(&program, "SSL_write") : NULL;
    if (function != NULL && ns_process_ready()) {
        struct ns_openssl *copy = ns_resolve_at(function);
        if (copy == NULL || copy->library != NS_LIBRARY_OPENSSL) {
            refuse("it is no OpenSSL from 1.1 to 4", "");
        } else if (detour(&program, function, copy)) {
            __atomic_store_n(&is_on, true, __ATOMIC_RELAXED);
            ns_count(NS_COUNTER_DETOURS_INSTALLED);
        }
    }
    errno = saved;
}
