/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program that opens an OpenSSL, makes calls with it, and closes it again, as often as it likes:
 *
 *     reload STEP…
 *         open PATH     another library, on top of those that are open
 *         call          a connection of its own and a call on it, with the libssl opened last
 *         leak          the same, and the connection is left where it is
 *         begin         the same, but the answer is not waited for
 *         cleanup       OPENSSL_cleanup, without which some builds of OpenSSL must not be closed
 *         close         all libraries; says whether they went or stayed
 *         hold          keeps the place where the last libssl was from whatever comes next
 *         where         says whether the last libssl lies where the one before it did
 *
 * Client and provider are joined by memory, without certificates. Prints a word a step that says
 * something. Exit status 0; 2 where a step could not be done.
 */
#include <dlfcn.h>
#include <link.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "tests/programs/calls.h"

#define LIBRARIES_MAX 4

/* F(name, return type, parameters): what is taken out of the libraries. */
#define FUNCTIONS(F)                                                                               \
    F(TLS_method, const SSL_METHOD *, (void))                                                      \
    F(SSL_CTX_new, SSL_CTX *, (const SSL_METHOD *))                                                \
    F(SSL_CTX_free, void, (SSL_CTX *))                                                             \
    F(SSL_CTX_ctrl, long, (SSL_CTX *, int, long, void *))                                          \
    F(SSL_CTX_set_cipher_list, int, (SSL_CTX *, const char *))                                     \
    F(SSL_new, SSL *, (SSL_CTX *))                                                                 \
    F(SSL_ctrl, long, (SSL *, int, long, void *))                                                  \
    F(SSL_set_bio, void, (SSL *, BIO *, BIO *))                                                    \
    F(SSL_set_connect_state, void, (SSL *))                                                        \
    F(SSL_set_accept_state, void, (SSL *))                                                         \
    F(SSL_write, int, (SSL *, const void *, int))                                                  \
    F(SSL_read, int, (SSL *, void *, int))                                                         \
    F(SSL_get_error, int, (const SSL *, int))                                                      \
    F(SSL_free, void, (SSL *))                                                                     \
    F(BIO_new_bio_pair, int, (BIO **, size_t, BIO **, size_t))                                     \
    F(BIO_new_ssl, BIO *, (SSL_CTX *, int))                                                        \
    F(BIO_free, int, (BIO *))                                                                      \
    F(ERR_clear_error, void, (void))

struct library {
#define F(name, type, parameters) type(*name) parameters;
    FUNCTIONS(F)
#undef F
};

static struct library api;
static void *handles[LIBRARIES_MAX];
static unsigned count;
static uintptr_t begin, end; /* of the last libssl */
static uintptr_t begin_before;

static void
must(bool done, const char *what)
{
    if (!done) {
        const char *why = dlerror();
        fprintf(stderr, "reload: %s: %s\n", what, why != NULL ? why : "failed");
        exit(2);
    }
}

/* --- libraries ----------------------------------------------------------------------------------
 */

struct place {
    uintptr_t address;
    uintptr_t begin;
    uintptr_t end;
};

static int
find_place(struct dl_phdr_info *info, size_t bytes, void *data)
{
    (void)bytes;
    struct place *place = data;
    uintptr_t from = UINTPTR_MAX, to = 0;
    for (ElfW(Half) i = 0; i < info->dlpi_phnum; i++) {
        if (info->dlpi_phdr[i].p_type == PT_LOAD) {
            uintptr_t at = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
            from = at < from ? at : from;
            to = at + info->dlpi_phdr[i].p_memsz > to ? at + info->dlpi_phdr[i].p_memsz : to;
        }
    }
    if (place->address < from || place->address >= to) {
        return 0;
    }
    place->begin = from;
    place->end = to;
    return 1;
}

static void
open_library(const char *path)
{
    must(count < LIBRARIES_MAX, "too many libraries");
    handles[count] = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    must(handles[count] != NULL, path);
    void *handle = handles[count++];
    void *error = dlsym(handle, "SSL_get_error"); /* as no preload object has it */
    if (error == NULL) {
        dlerror();
        return; /* a libcrypto */
    }
#define F(name, type, parameters)                                                                  \
    {                                                                                              \
        void *function = dlsym(handle, #name);                                                     \
        must(function != NULL, #name);                                                             \
        memcpy(&api.name, &function, sizeof function);                                             \
    }
    FUNCTIONS(F)
#undef F
    struct place place = {.address = (uintptr_t)error};
    dl_iterate_phdr(find_place, &place);
    begin_before = begin;
    begin = place.begin;
    end = place.end;
}

/* Is something mapped there still? */
static bool
is_mapped(uintptr_t address)
{
    char line[512];
    bool found = false;
    FILE *maps = fopen("/proc/self/maps", "re");
    must(maps != NULL, "maps");
    while (!found && fgets(line, sizeof line, maps) != NULL) {
        char *rest;
        uintptr_t from = strtoul(line, &rest, 16);
        uintptr_t to = strtoul(rest + 1, NULL, 16);
        found = address >= from && address < to;
    }
    fclose(maps);
    return found;
}

static void
clean_up(void)
{
    for (unsigned i = 0; i < count; i++) {
        void *function = dlsym(handles[i], "OPENSSL_cleanup");
        if (function != NULL) {
            void (*cleanup)(void);
            memcpy(&cleanup, &function, sizeof function);
            cleanup();
            return;
        }
    }
}

static void
close_libraries(void)
{
    while (count > 0) {
        must(dlclose(handles[--count]) == 0, "dlclose");
    }
    puts(is_mapped(begin) ? "stayed" : "went");
}

static void
hold_place(void)
{
    void *held = mmap((void *)begin, end - begin, PROT_NONE, /* NOLINT: the place itself */
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    must(held != MAP_FAILED, "hold");
}

/* --- calls --------------------------------------------------------------------------------------
 */

struct ends {
    SSL_CTX *context;
    SSL *client;
    SSL *server;
};

static struct ends
open_ends(void)
{
    struct ends ends = {.context = api.SSL_CTX_new(api.TLS_method())};
    must(ends.context != NULL, "context");
    api.SSL_CTX_ctrl(ends.context, SSL_CTRL_SET_MAX_PROTO_VERSION, TLS1_2_VERSION, NULL);
    must(api.SSL_CTX_set_cipher_list(ends.context, "AECDH:@SECLEVEL=0") == 1, "ciphers");
    BIO *near, *far;
    must(api.BIO_new_bio_pair(&near, 65536, &far, 65536) == 1, "pair");
    ends.client = api.SSL_new(ends.context);
    ends.server = api.SSL_new(ends.context);
    must(ends.client != NULL && ends.server != NULL, "ends");
    char host[] = "api.openai.com";
    api.SSL_ctrl(ends.client, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, host);
    api.SSL_set_bio(ends.client, near, near);
    api.SSL_set_bio(ends.server, far, far);
    api.SSL_set_connect_state(ends.client);
    api.SSL_set_accept_state(ends.server);
    return ends;
}

/* The provider's turn: one answer to each request, which comes in one piece here. */
static void
serve(const struct ends *ends)
{
    static char text[65536];
    int got = api.SSL_read(ends->server, text, sizeof text);
    if (got > 0) {
        bool post = strncmp(text, "POST ", 5) == 0;
        const char *answer = post ? TLS_PAIR_ANSWER : TLS_PAIR_NOTHING;
        must(api.SSL_write(ends->server, answer, (int)strlen(answer)) > 0, "answer");
    }
    api.ERR_clear_error();
}

static bool
waits(const struct ends *ends, int result)
{
    int error = api.SSL_get_error(ends->client, result);
    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
}

static const char *
call(const struct ends *ends, bool to_the_end)
{
    char text[8192];
    bool written = false;
    for (int turn = 0; turn < CALL_TURNS_MAX; turn++) {
        int result = written ? api.SSL_read(ends->client, text, sizeof text - 1)
                             : api.SSL_write(ends->client, CALL_TEXT, (int)sizeof CALL_TEXT - 1);
        if (result <= 0 && !waits(ends, result)) {
            return "failed";
        }
        if (result > 0 && written) {
            text[result] = '\0';
            return strcmp(text, TLS_PAIR_ANSWER) == 0                  ? "answered"
                   : strstr(text, "X-NullSpend-Denied: 1\r\n") != NULL ? "denied"
                                                                       : "failed";
        }
        written = written || result > 0;
        if (written && !to_the_end) {
            return "begun";
        }
        serve(ends);
    }
    return "failed";
}

static void
make_one(bool to_the_end, bool leak)
{
    struct ends ends = open_ends();
    BIO *bio = api.BIO_new_ssl(ends.context, 1); /* of a method that is made once for a libssl */
    must(bio != NULL && api.BIO_free(bio) == 1, "SSL BIO");
    puts(call(&ends, to_the_end));
    if (!leak) {
        api.SSL_free(ends.client);
        api.SSL_free(ends.server);
        api.SSL_CTX_free(ends.context);
    }
}

int
main(int words_count, char **words)
{
    for (int i = 1; i < words_count; i++) {
        const char *step = words[i];
        if (strcmp(step, "open") == 0 && i + 1 < words_count) {
            open_library(words[++i]);
        } else if (strcmp(step, "call") == 0) {
            make_one(true, false);
        } else if (strcmp(step, "leak") == 0) {
            make_one(true, true);
        } else if (strcmp(step, "begin") == 0) {
            make_one(false, true);
        } else if (strcmp(step, "cleanup") == 0) {
            clean_up();
        } else if (strcmp(step, "close") == 0) {
            close_libraries();
        } else if (strcmp(step, "hold") == 0) {
            hold_place();
        } else if (strcmp(step, "where") == 0) {
            puts(begin == begin_before ? "same" : "moved");
        } else {
            fprintf(stderr, "reload: no step %s\n", step);
            return 2;
        }
        fflush(stdout);
    }
    return 0;
}
