/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/resolve.h"

#include <errno.h>
#include <string.h>

#include "shim/connections.h"
#include "shim/elf_symbols.h"
#include "shim/lock.h"

static const struct {
    const char *name;
    size_t place;
    bool in_crypto;
} functions[] = {
#define F(name, type, parameters) {#name, offsetof(struct ns_openssl, name), false},
    NS_SSL_FUNCTIONS(F)
#undef F
#define F(name, type, parameters) {#name, offsetof(struct ns_openssl, name), true},
        NS_CRYPTO_FUNCTIONS(F)
#undef F
};

/* Copies found so far, changed by who looks. The end of one is published last, so readers need no
 * lock: a place whose end is 0 is vacant, and has no address in it. What was unloaded makes its
 * place vacant, and what stood for its SSL* is forgotten before the place is given again. */
static struct ns_openssl copies[NS_LIBSSL_MAX];
static uint32_t copy_count; /* places that were ever given */
static uint32_t serials;
static uint32_t looking;

struct loads {
    unsigned long long adds; /* the loader's counts of objects that came and went */
    unsigned long long subs;
};

static struct loads loads_seen; /* at the last look */

struct search {
    struct ns_elf found; /* libssl under way */
    struct ns_elf crypto;
    const char *crypto_soname;
    bool crypto_found;
    uintptr_t address; /* of code, wanted: whose it is */
    const void *caller;
    const struct ns_openssl *chosen;
};

static int
read_loads(struct dl_phdr_info *info, size_t bytes, void *data)
{
    (void)bytes;
    *(struct loads *)data = (struct loads){info->dlpi_adds, info->dlpi_subs};
    return 1;
}

static int
find_crypto(struct dl_phdr_info *info, size_t bytes, void *data)
{
    (void)bytes;
    struct search *search = data;
    struct ns_elf elf;
    if (!ns_elf_open(&elf, info) || ns_elf_is_ours(&elf)) {
        return 0;
    }
    bool wanted = search->address != 0
                      ? ns_elf_holds(&elf, search->address)
                      : elf.soname != NULL && strcmp(elf.soname, search->crypto_soname) == 0;
    if (wanted && ns_elf_function(&elf, "ERR_clear_error") != NULL) {
        search->crypto = elf;
        search->crypto_found = true;
    }
    return wanted;
}

/* Where an import of libssl that only a libcrypto has leads to, there it is. */
static bool
follow_import(const char *name, uintptr_t address, void *data)
{
    struct search *search = data;
    bool inside = ns_elf_holds(&search->found, address);
    if (inside || (strncmp(name, "ERR_", 4) != 0 && strncmp(name, "EVP_", 4) != 0)) {
        return false;
    }
    search->address = address;
    dl_iterate_phdr(find_crypto, search);
    return search->crypto_found;
}

/* The libcrypto that this libssl was bound to (two of one name may be there), or else the one of
 * the name that it needs; where it needs none, it carries its own. */
static void
open_crypto(struct search *search)
{
    search->crypto = search->found;
    search->crypto_found = false;
    if (ns_elf_imports(&search->found, follow_import, search)) {
        return;
    }
    search->address = 0;
    for (unsigned n = 0; (search->crypto_soname = ns_elf_needed(&search->found, n)) != NULL; n++) {
        if (strncmp(search->crypto_soname, "libcrypto", 9) == 0) {
            dl_iterate_phdr(find_crypto, search);
            return;
        }
    }
}

/* By what the library says of itself: OpenSSL's other children answer too, each with its name. A
 * program may be linked with only those functions that it uses; then it is one from 3.0 on where it
 * makes its errors as only those do. */
static enum ns_library
identify(const struct ns_openssl *copy)
{
    const char *text = copy->OpenSSL_version == NULL ? NULL : copy->OpenSSL_version(0);
    if (text == NULL) {
        bool is_3 = copy->ERR_new != NULL && copy->ERR_set_debug != NULL &&
                    copy->ERR_set_error != NULL && copy->SSL_write_ex != NULL;
        return is_3 ? NS_LIBRARY_OPENSSL : NS_LIBRARY_OTHER;
    }
    if (strncmp(text, "LibreSSL", 8) == 0) {
        return NS_LIBRARY_LIBRESSL;
    }
    /* "OpenSSL 1.1.1 (compatible; BoringSSL)", or AWS-LC, which came from it */
    if (strstr(text, "BoringSSL") != NULL || strstr(text, "AWS-LC") != NULL) {
        return NS_LIBRARY_BORINGSSL;
    }
    static const char *const known[] = {"OpenSSL 1.1.", "OpenSSL 3.", "OpenSSL 4."};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strncmp(text, known[i], strlen(known[i])) == 0 && strstr(text, "compatible") == NULL) {
            return NS_LIBRARY_OPENSSL;
        }
    }
    return NS_LIBRARY_OTHER;
}

static uintptr_t
end_of(const struct ns_openssl *copy)
{
    return __atomic_load_n(&copy->end, __ATOMIC_ACQUIRE);
}

/* Is this the copy's libssl? By a function that is no hook: where the table says. */
static bool
is_libssl_of(const struct ns_openssl *copy, const struct ns_elf *elf)
{
    if (copy->base != elf->base || end_of(copy) != elf->end) {
        return false;
    }
    void *function = ns_elf_function(elf, "SSL_get_error");
    return memcmp(&function, &copy->SSL_get_error, sizeof function) == 0;
}

static bool
is_listed(const struct ns_elf *elf)
{
    for (uint32_t i = 0; i < copy_count; i++) {
        if (is_libssl_of(&copies[i], elf)) {
            return true;
        }
    }
    return false;
}

/* --- what was unloaded --------------------------------------------------------------------------
 */

/* Bits for places in copies. */
struct presence {
    uint32_t libssl;
    uint32_t libcrypto;
};
_Static_assert(NS_LIBSSL_MAX <= 32, "a bit for each");

static int
find_present(struct dl_phdr_info *info, size_t bytes, void *data)
{
    (void)bytes;
    struct presence *presence = data;
    struct ns_elf elf;
    if (!ns_elf_open(&elf, info)) {
        return 0;
    }
    for (uint32_t i = 0; i < copy_count; i++) {
        uintptr_t mark;
        memcpy(&mark, &copies[i].ERR_set_mark, sizeof mark);
        if (is_libssl_of(&copies[i], &elf)) {
            presence->libssl |= UINT32_C(1) << i;
        }
        if (mark == 0 || (ns_elf_holds(&elf, mark) &&
                          mark == (uintptr_t)ns_elf_function(&elf, "ERR_set_mark"))) {
            presence->libcrypto |= UINT32_C(1) << i;
        }
    }
    return 0;
}

/* Nothing of it may be called any more. A program may have leaked SSL*, at whose addresses it, or
 * who else uses the memory, has others later. */
static void
retire(struct ns_openssl *copy)
{
    __atomic_store_n(&copy->end, 0, __ATOMIC_RELEASE);
    ns_connections_forget(copy);
}

static void
retire_unloaded(void)
{
    struct presence presence = {0};
    dl_iterate_phdr(find_present, &presence);
    for (uint32_t i = 0; i < copy_count; i++) {
        if (end_of(&copies[i]) != 0 && (presence.libssl & presence.libcrypto & 1U << i) == 0) {
            retire(&copies[i]);
        }
    }
}

/* What lay where this one does now went while it came. */
static void
retire_overlapped(const struct ns_elf *elf)
{
    for (uint32_t i = 0; i < copy_count; i++) {
        if (copies[i].begin < elf->end && elf->begin < end_of(&copies[i])) {
            retire(&copies[i]);
        }
    }
}

/* --- what was loaded ----------------------------------------------------------------------------
 */

static struct ns_openssl *
vacant_place(void)
{
    for (uint32_t i = 0; i < copy_count; i++) {
        if (end_of(&copies[i]) == 0) {
            return &copies[i];
        }
    }
    return copy_count < NS_LIBSSL_MAX ? &copies[copy_count] : NULL;
}

static void
list(struct search *search, const char *name)
{
    struct ns_openssl *copy = vacant_place();
    if (copy == NULL) {
        return;
    }
    open_crypto(search);
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
        const struct ns_elf *elf = functions[i].in_crypto ? &search->crypto : &search->found;
        void *function = ns_elf_function(elf, functions[i].name);
        memcpy((char *)copy + functions[i].place, &function, sizeof function);
    }
    copy->base = search->found.base;
    copy->begin = search->found.begin;
    copy->name = name;
    copy->soname = search->found.soname;
    copy->refusal_told = 0;
    copy->serial = ++serials;
    copy->library = identify(copy);
    bool complete = copy->SSL_write != NULL && copy->SSL_read != NULL && copy->SSL_peek != NULL &&
                    copy->SSL_pending != NULL && copy->SSL_free != NULL &&
                    copy->SSL_clear != NULL && copy->SSL_shutdown != NULL;
    if (complete) {
        retire_overlapped(&search->found);
        __atomic_store_n(&copy->end, search->found.end, __ATOMIC_RELEASE);
        if (copy == &copies[copy_count]) {
            __atomic_store_n(&copy_count, copy_count + 1, __ATOMIC_RELEASE);
        }
    }
}

static int
find_libssl(struct dl_phdr_info *info, size_t bytes, void *data)
{
    (void)bytes;
    struct search *search = data;
    struct ns_elf elf;
    if (!ns_elf_open(&elf, info) || ns_elf_is_ours(&elf) || is_listed(&elf) ||
        ns_elf_function(&elf, "SSL_write") == NULL) {
        return 0;
    }
    search->found = elf;
    list(search, info->dlpi_name);
    return 0;
}

/* Looks for what was loaded and unloaded since the last look. */
static void
look(void)
{
    struct loads loads = {0};
    dl_iterate_phdr(read_loads, &loads);
    if (loads.adds == __atomic_load_n(&loads_seen.adds, __ATOMIC_ACQUIRE) &&
        loads.subs == __atomic_load_n(&loads_seen.subs, __ATOMIC_ACQUIRE)) {
        return;
    }
    /* Who comes while another thread looks waits for it: the copy that is being found may be the
     * very one that is asked for. A child of fork finds nobody looking. */
    while (__atomic_exchange_n(&looking, 1, __ATOMIC_ACQUIRE) != 0) {
        sched_yield();
    }
    if (loads.subs != loads_seen.subs) {
        retire_unloaded();
    }
    struct search search = {0};
    dl_iterate_phdr(find_libssl, &search);
    __atomic_store_n(&loads_seen.subs, loads.subs, __ATOMIC_RELEASE);
    __atomic_store_n(&loads_seen.adds, loads.adds, __ATOMIC_RELEASE);
    __atomic_store_n(&looking, 0, __ATOMIC_RELEASE);
}

void
ns_resolve_before_load(void)
{
    /* A child of fork may find somebody looking who is not there: it must not wait. */
    if (__atomic_load_n(&copy_count, __ATOMIC_ACQUIRE) == 0 ||
        __atomic_exchange_n(&looking, 1, __ATOMIC_ACQUIRE) != 0) {
        return;
    }
    struct loads loads = {0};
    dl_iterate_phdr(read_loads, &loads);
    if (loads.subs != loads_seen.subs) {
        retire_unloaded();
        __atomic_store_n(&loads_seen.subs, loads.subs, __ATOMIC_RELEASE);
    }
    __atomic_store_n(&looking, 0, __ATOMIC_RELEASE);
}

/* struct ssl_st begins with small integers and pointers, one of the first words being its
 * SSL_METHOD (word 1 up to 3.1, word 3 from 3.2 on), which is data of the library. So does struct
 * ssl_ctx_st (word 0 or 1). */
static const struct ns_openssl *
choose_by_method(const SSL *ssl, uint32_t count)
{
    uintptr_t words[4];
    memcpy(words, (const void *)ssl, sizeof words);
    for (size_t w = 0; w < sizeof words / sizeof words[0]; w++) {
        for (uint32_t i = 0; i < count; i++) {
            if (words[w] >= copies[i].begin && words[w] < end_of(&copies[i])) {
                return &copies[i];
            }
        }
    }
    return NULL;
}

static const struct ns_openssl *
holding(uintptr_t address, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (address >= copies[i].begin && address < end_of(&copies[i])) {
            return &copies[i];
        }
    }
    return NULL;
}

static bool
follow_caller(const char *name, uintptr_t address, void *data)
{
    (void)name;
    struct search *search = data;
    search->chosen = ns_elf_holds(&search->found, address) ? NULL : holding(address, copy_count);
    return search->chosen != NULL;
}

/* The caller's other imports tell which copy it was bound to; before its first call of one of them,
 * the name of the libssl that it needs does. */
static int
find_caller(struct dl_phdr_info *info, size_t bytes, void *data)
{
    (void)bytes;
    struct search *search = data;
    if (!ns_elf_open(&search->found, info) ||
        !ns_elf_holds(&search->found, (uintptr_t)search->caller)) {
        return 0;
    }
    const char *needed;
    if (ns_elf_imports(&search->found, follow_caller, search)) {
        return 1;
    }
    for (unsigned n = 0; (needed = ns_elf_needed(&search->found, n)) != NULL; n++) {
        for (uint32_t i = 0; i < copy_count; i++) {
            if (end_of(&copies[i]) != 0 && copies[i].soname != NULL &&
                strcmp(copies[i].soname, needed) == 0) {
                search->chosen = &copies[i];
                return 1;
            }
        }
    }
    return 1;
}

static uint32_t
look_and_count(void)
{
    int saved = errno;
    look();
    errno = saved;
    return __atomic_load_n(&copy_count, __ATOMIC_ACQUIRE);
}

static const struct ns_openssl *
first_of(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (end_of(&copies[i]) != 0) {
            return &copies[i];
        }
    }
    return NULL;
}

const struct ns_openssl *
ns_resolve(const SSL *ssl, const void *caller)
{
    uint32_t count = look_and_count();
    if (count <= 1) {
        return first_of(count);
    }
    const struct ns_openssl *chosen = ssl == NULL ? NULL : choose_by_method(ssl, count);
    if (chosen == NULL) {
        chosen = holding((uintptr_t)caller, count); /* libssl calls itself */
    }
    if (chosen == NULL) {
        struct search search = {.caller = caller};
        dl_iterate_phdr(find_caller, &search);
        chosen = search.chosen != NULL ? search.chosen : first_of(count);
    }
    return chosen;
}

struct ns_openssl *
ns_resolve_at(const void *address)
{
    const struct ns_openssl *copy = holding((uintptr_t)address, look_and_count());
    return copy == NULL ? NULL : &copies[copy - copies];
}

size_t
ns_resolve_index(const struct ns_openssl *copy)
{
    return (size_t)(copy - copies);
}

void
ns_resolve_after_fork(void)
{
    looking = 0;
}
