/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/resolve.h"

#include <errno.h>
#include <string.h>

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

/* Copies found so far. Only ever appended to, under the lock; the count is published last, so
 * readers need none. A copy that was unloaded stays listed: no SSL* of it is left to choose it. */
static struct ns_openssl copies[NS_LIBSSL_MAX];
static uint32_t copy_count;
static unsigned long long adds_seen; /* the loader's count of objects at the last look */
static uint32_t looking;

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
read_adds(struct dl_phdr_info *info, size_t bytes, void *data)
{
    (void)bytes;
    *(unsigned long long *)data = info->dlpi_adds;
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

/* What lies where this one does now was unloaded: it must not be chosen any more. */
static void
retire_overlapped(const struct ns_elf *elf)
{
    for (uint32_t i = 0; i < copy_count; i++) {
        if (copies[i].begin < elf->end && elf->begin < copies[i].end) {
            __atomic_store_n(&copies[i].end, 0, __ATOMIC_RELEASE);
        }
    }
}

static bool
is_listed(const struct ns_elf *elf)
{
    void *function = ns_elf_function(elf, "SSL_get_error"); /* no hook: where the table says */
    for (uint32_t i = 0; i < copy_count; i++) {
        void *known;
        memcpy(&known, &copies[i].SSL_get_error, sizeof known);
        if (copies[i].base == elf->base && copies[i].end == elf->end && known == function) {
            return true;
        }
    }
    return false;
}

static void
list(struct search *search, const char *name)
{
    struct ns_openssl *copy = &copies[copy_count];
    open_crypto(search);
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
        const struct ns_elf *elf = functions[i].in_crypto ? &search->crypto : &search->found;
        void *function = ns_elf_function(elf, functions[i].name);
        memcpy((char *)copy + functions[i].place, &function, sizeof function);
    }
    copy->base = search->found.base;
    copy->begin = search->found.begin;
    copy->end = search->found.end;
    copy->name = name;
    copy->soname = search->found.soname;
    copy->library = identify(copy);
    bool complete = copy->SSL_write != NULL && copy->SSL_read != NULL && copy->SSL_peek != NULL &&
                    copy->SSL_pending != NULL && copy->SSL_free != NULL &&
                    copy->SSL_clear != NULL && copy->SSL_shutdown != NULL;
    if (complete) {
        retire_overlapped(&search->found);
        __atomic_store_n(&copy_count, copy_count + 1, __ATOMIC_RELEASE);
    }
}

static int
find_libssl(struct dl_phdr_info *info, size_t bytes, void *data)
{
    (void)bytes;
    struct search *search = data;
    struct ns_elf elf;
    if (copy_count == NS_LIBSSL_MAX || !ns_elf_open(&elf, info) || ns_elf_is_ours(&elf) ||
        is_listed(&elf) || ns_elf_function(&elf, "SSL_write") == NULL) {
        return 0;
    }
    search->found = elf;
    list(search, info->dlpi_name);
    return 0;
}

/* Looks for copies that were loaded since the last look. */
static void
look(void)
{
    unsigned long long adds = 0;
    dl_iterate_phdr(read_adds, &adds);
    if (adds == __atomic_load_n(&adds_seen, __ATOMIC_ACQUIRE)) {
        return;
    }
    /* Who comes while another thread looks waits for it: the copy that is being found may be the
     * very one that is asked for. A child of fork finds nobody looking. */
    while (__atomic_exchange_n(&looking, 1, __ATOMIC_ACQUIRE) != 0) {
        sched_yield();
    }
    struct search search = {0};
    dl_iterate_phdr(find_libssl, &search);
    __atomic_store_n(&adds_seen, adds, __ATOMIC_RELEASE);
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
            if (words[w] >= copies[i].begin && words[w] < copies[i].end) {
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
        if (address >= copies[i].begin && address < copies[i].end) {
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
            if (copies[i].end != 0 && copies[i].soname != NULL &&
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

const struct ns_openssl *
ns_resolve(const SSL *ssl, const void *caller)
{
    uint32_t count = look_and_count();
    if (count <= 1) {
        return count == 0 ? NULL : &copies[0];
    }
    const struct ns_openssl *chosen = ssl == NULL ? NULL : choose_by_method(ssl, count);
    if (chosen == NULL) {
        chosen = holding((uintptr_t)caller, count); /* libssl calls itself */
    }
    if (chosen == NULL) {
        struct search search = {.caller = caller};
        dl_iterate_phdr(find_caller, &search);
        chosen = search.chosen != NULL ? search.chosen : &copies[0];
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
