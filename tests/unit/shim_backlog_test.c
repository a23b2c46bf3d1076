/* SPDX-License-Identifier: Apache-2.0 */
/* What of a stream is looked at later, and when: through the hooks of this very program. */
#include "tests/unit/tls_pair.h"

#undef ERR_put_error /* a macro over what the library looks up by name */

#include "base/clock.h"
#include "shim/connections.h"
#include "shim/engine.h"

#define EVENT(word) "data: {\"choices\":[{\"delta\":{\"content\":\"" word "\"}}]}\n\n"
#define CHUNK "33\r\n" EVENT("hello") "\r\n"
_Static_assert(sizeof EVENT("hello") - 1 == 0x33, "as the chunk says");
#define WORD_BYTES 5
#define REQUEST                                                                                    \
    "POST /v1/chat/completions HTTP/1.1\r\nHost: api.openai.com\r\nContent-Length: 32\r\n\r\n"     \
    "{\"model\":\"gpt-4o\",\"stream\":true}"
#define HEAD "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

static SSL_CTX *client_context, *server_context;
static struct tls_pair pair;

static void
say(const char *text)
{
    CHECK_INT(SSL_write(pair.server, text, (int)strlen(text)), (int)strlen(text));
}

static void
expect(const char *text)
{
    char got[512];
    int bytes = SSL_read(pair.client, got, sizeof got);
    CHECK_INT(bytes, (int)strlen(text));
    CHECK(bytes > 0 && memcmp(got, text, (size_t)bytes) == 0);
}

static void
ask(void)
{
    for (int i = 0; i < 10 && SSL_write(pair.client, REQUEST, sizeof REQUEST - 1) <= 0; i++) {
        tls_pair_serve(&pair);
    }
    tls_pair_serve(&pair);
}

static struct ns_engine *
engine(void)
{
    return ns_connection_find(pair.client)->engine;
}

/* Of the answer that is being read, as far as it was looked at. */
static uint64_t
text_bytes(void)
{
    const struct ns_wire_call *call = ns_wire_current(engine()->wire);
    return call != NULL ? call->response.text_bytes : 0;
}

/* A stream after so many words, each read by itself. */
static void
begin_stream(int words)
{
    setenv("NULLSPEND_ON_UNREACHABLE", "allow", 1);
    setenv("NULLSPEND_COLLECTOR", "ipc:///nowhere/collector", 1);
    setenv("NULLSPEND_SPOOL_DIR", "/proc/nowhere", 1);
    if (client_context == NULL) {
        client_context = SSL_CTX_new(TLS_client_method());
        server_context = tls_pair_server_context();
    }
    tls_pair_open(&pair, client_context, server_context, 65536);
    pair.to_post = HEAD;
    ask();
    expect(HEAD);
    for (int i = 0; i < words; i++) {
        say(CHUNK);
        expect(CHUNK);
    }
}

TEST(events_like_those_before_them_are_looked_at_together)
{
    begin_stream(20);
    CHECK(engine()->backlog.room > 0);
    CHECK(text_bytes() < 5 * WORD_BYTES);
    ns_backlog_catch_up(engine());
    CHECK_INT(text_bytes(), 20 * WORD_BYTES);
    /* No more are kept than there is room for. */
    for (int i = 0; i < 800; i++) {
        say(CHUNK);
        expect(CHUNK);
        CHECK(text_bytes() + NS_BACKLOG_BYTES / 51 * WORD_BYTES >= (uint64_t)(20 + i) * WORD_BYTES);
    }
    tls_pair_close(&pair);
}

TEST(a_read_of_anything_else_is_looked_at_at_once_and_what_was_kept_before_it)
{
    static const struct {
        const char *text;
        bool ends;
    } rows[] = {
        {"33\r\ndata: {\"choi", false}, /* a part of a chunk */
        {CHUNK "4\r\n", false},         /* more than a chunk */
        {"33 \r\n" EVENT("hello") "\r\n", false},
        {"33\n" EVENT("hello") "\n", false},
        {CHUNK "0\r\n\r\n", true},
        {"0\r\nX: y\r\n\r\n", true},
        {"0\n\n", true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        begin_stream(20);
        CHECK(text_bytes() < 20 * WORD_BYTES);
        say(rows[i].text);
        expect(rows[i].text);
        CHECK_INT(engine()->answers, rows[i].ends);
        CHECK(rows[i].ends || text_bytes() >= 20 * WORD_BYTES);
        tls_pair_close(&pair);
    }
}

TEST(a_write_comes_after_all_that_was_read)
{
    begin_stream(20);
    CHECK(text_bytes() < 20 * WORD_BYTES);
    pair.to_post = "";
    ask(); /* a request behind the one that is being answered */
    CHECK_INT(text_bytes(), 20 * WORD_BYTES);
    say(CHUNK);
    expect(CHUNK);
    CHECK_INT(engine()->backlog.room, 0); /* two are under way: nothing is kept */
    CHECK_INT(text_bytes(), 21 * WORD_BYTES);
    tls_pair_close(&pair);
}

static int
later(clockid_t clock, struct timespec *now)
{
    int result = clock_gettime(clock, now);
    now->tv_sec++;
    return result;
}

TEST(what_has_waited_is_looked_at_with_the_next_read)
{
    begin_stream(21);
    CHECK(text_bytes() < 21 * WORD_BYTES);
    ns_clock_use(later);
    say(CHUNK);
    expect(CHUNK);
    ns_clock_use(NULL);
    CHECK_INT(text_bytes(), 22 * WORD_BYTES);
    tls_pair_close(&pair);
}
