/* SPDX-License-Identifier: Apache-2.0 */
/* The hooks in this very program, between it and the libssl that it is linked with. */
#include "tests/unit/tls_pair.h"

#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "shim/counters.h"

#define BODY "{\"model\":\"gpt-4o\",\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}]}"
#define HEAD                                                                                       \
    "POST /v1/chat/completions HTTP/1.1\r\nHost: api.openai.com\r\nAuthorization: Bearer "         \
    "sk-1234\r\nX-NullSpend-Customer: acme\r\nContent-Length: 65\r\n"
_Static_assert(sizeof BODY - 1 == 65, "as the head says");

static SSL_CTX *client_context;
static SSL_CTX *server_context;

/* Turns of both ends without which nothing moves any more. */
#define TURNS_MAX 1000

/* What the program has in the end of a request. */
enum outcome { ANSWERED, DENIED, FAILED, STUCK, GARBLED };

static const char *const outcome_names[] = {"answered", "denied", "failed", "stuck", "garbled"};

/* Writes all. False: the connection has failed, or nothing moves. */
static bool
write_all(struct tls_pair *pair, const char *text, size_t bytes, bool *stuck)
{
    for (int turn = 0; turn < TURNS_MAX; turn++) {
        int result = SSL_write(pair->client, text, (int)bytes);
        if (result > 0) {
            return true;
        }
        if (!tls_pair_waits(pair, result)) {
            return false;
        }
        tls_pair_serve(pair);
    }
    *stuck = true;
    return false;
}

/* Reads one answer, interim ones passed over. */
static enum outcome
read_answer(struct tls_pair *pair, bool peeks)
{
    char text[16384];
    size_t bytes = 0;
    for (int turn = 0; turn < TURNS_MAX; turn++) {
        char piece[512];
        int result = SSL_read(pair->client, text + bytes, (int)(sizeof text - 1 - bytes));
        if (result <= 0 && !tls_pair_waits(pair, result)) {
            return FAILED;
        }
        if (result <= 0) {
            tls_pair_serve(pair);
            if (peeks) {
                (void)SSL_peek(pair->client, piece, sizeof piece);
                ERR_clear_error();
            }
            continue;
        }
        bytes += (size_t)result;
        text[bytes] = '\0';
        char *final = strncmp(text, "HTTP/1.1 100 ", 13) == 0 ? strstr(text, "\r\n\r\n") : NULL;
        final = final != NULL ? final + 4 : text;
        const char *body = strstr(final, "\r\n\r\n");
        const char *length = strcasestr(final, "\r\ncontent-length: ");
        if (*final == '\0' || body == NULL) {
            continue;
        }
        size_t wanted = length == NULL ? 0 : (size_t)strtoul(length + 18, NULL, 10);
        if (strlen(body + 4) < wanted) {
            continue;
        }
        if (strcmp(final, TLS_PAIR_ANSWER) == 0) {
            return ANSWERED;
        }
        return strstr(final, "\r\nX-NullSpend-Denied: 1\r\n") != NULL && body[4] == '{' &&
                       strlen(body + 4) == wanted
                   ? DENIED
                   : GARBLED;
    }
    return STUCK;
}

struct manner {
    const char *name;
    const char *extra; /* further lines of the head */
    bool peeks;
    size_t buffer_bytes; /* between the two ends */
};

static const struct manner manners[] = {
    {"plain", "", false, 65536},
    {"peeking", "", true, 65536},
    {"expecting", "Expect: 100-continue\r\n", false, 65536},
    {"narrow", "", false, 256},
};

static enum outcome
call(struct tls_pair *pair, const struct manner *manner)
{
    char head[1024];
    bool stuck = false;
    int bytes = snprintf(head, sizeof head, "%s%s\r\n", HEAD, manner->extra);
    if (!write_all(pair, head, (size_t)bytes, &stuck)) {
        return stuck ? STUCK : FAILED;
    }
    if (manner->extra[0] != '\0') {
        char interim[64];
        (void)SSL_read(pair->client, interim, sizeof interim); /* the 100, if it comes */
        ERR_clear_error();
    }
    if (!write_all(pair, BODY, sizeof BODY - 1, &stuck)) {
        return stuck ? STUCK : FAILED;
    }
    return read_answer(pair, manner->peeks);
}

/* Runs a child in which the library begins anew, under this policy for when nobody can be asked. */
static void
under(const char *policy, void (*run)(bool denies))
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        ns_test_failures = 0;
        setenv("NULLSPEND_ON_UNREACHABLE", policy, 1);
        run(strcmp(policy, "deny") == 0);
        fflush(stdout);
        _exit(ns_test_failures != 0);
    }
    int status = -1;
    REQUIRE(waitpid(pid, &status, 0) == pid);
    CHECK_INT(status, 0);
}

static void
set_up(void)
{
    setenv("NULLSPEND_COLLECTOR", "ipc:///nonexistent/c", 1);
    setenv("NULLSPEND_SPOOL_DIR", "/proc/nowhere", 1);
    client_context = client_context != NULL ? client_context : SSL_CTX_new(TLS_client_method());
    server_context = server_context != NULL ? server_context : tls_pair_server_context();
}

/* --- as it should be ------------------------------------------------------------------------ */

static void
call_thrice(bool denies)
{
    for (size_t m = 0; m < sizeof manners / sizeof manners[0]; m++) {
        struct tls_pair pair;
        tls_pair_open(&pair, client_context, server_context, manners[m].buffer_bytes);
        for (int i = 0; i < 3; i++) {
            enum outcome outcome = call(&pair, &manners[m]);
            if (outcome != (denies ? DENIED : ANSWERED)) {
                NS_FAIL("%s: %s", manners[m].name, outcome_names[outcome]);
            }
        }
        CHECK_INT(pair.posts, denies ? 0 : 3);
        CHECK_INT(pair.options, denies ? 3 : 0);
        tls_pair_close(&pair);
    }
}

TEST(calls_between_two_ends_in_memory_are_allowed_or_denied)
{
    set_up();
    under("allow", call_thrice);
    under("deny", call_thrice);
}

/* --- what is not understood ---------------------------------------------------------------------
 */

static const char *const odd_answers[] = {
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nyes\r\n0\r\n\r\n",
    "HTTP/1.1 405 No\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbad",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n",
    "SSH-2.0-nothing of HTTP\r\n\r\n",
};

static void
odd_substitutes(bool denies)
{
    (void)denies;
    for (size_t i = 0; i < sizeof odd_answers / sizeof odd_answers[0]; i++) {
        struct tls_pair pair;
        tls_pair_open(&pair, client_context, server_context, 65536);
        pair.to_options = odd_answers[i];
        enum outcome outcome = call(&pair, &manners[0]);
        if (outcome != DENIED) {
            NS_FAIL("answer %zu to the substitute: %s", i, outcome_names[outcome]);
        }
        outcome = call(&pair, &manners[0]);
        if (outcome != (i < 3 ? DENIED : FAILED)) {
            NS_FAIL("call behind answer %zu to the substitute: %s", i, outcome_names[outcome]);
        }
        tls_pair_close(&pair);
    }
}

TEST(whatever_the_server_says_to_the_substitute_the_program_reads_the_denial)
{
    set_up();
    under("deny", odd_substitutes);
}

static void
odd_answer_to_an_expecting_call(bool denies)
{
    (void)denies;
    struct tls_pair pair;
    char text[64] = "";
    bool stuck = false;
    int got;
    tls_pair_open(&pair, client_context, server_context, 65536);
    pair.to_post = "SSH-2.0-nothing of HTTP\r\n";
    CHECK(write_all(&pair, HEAD "Expect: 100-continue\r\n\r\n",
                    sizeof HEAD "Expect: 100-continue\r\n\r\n" - 1, &stuck));
    CHECK_INT(SSL_read(pair.client, text, sizeof text), 25);
    CHECK(write_all(&pair, BODY, sizeof BODY - 1, &stuck));
    tls_pair_serve(&pair);
    memset(text, 0, sizeof text);
    got = SSL_read(pair.client, text, sizeof text - 1);
    CHECK_INT(got, (int)strlen(pair.to_post));
    CHECK_STR(text, pair.to_post);
    tls_pair_close(&pair);
}

TEST(an_answer_that_is_no_http_reaches_a_program_that_had_our_100)
{
    set_up();
    under("allow", odd_answer_to_an_expecting_call);
}

/* Beyond the bound a call is judged by what was seen: its rest follows, and is found malformed. */
static void
malformed_rest(bool denies)
{
    (void)denies;
    static const char head[] =
        "POST /v1/chat/completions HTTP/1.1\r\nHost: api.openai.com\r\nTransfer-Encoding: "
        "chunked\r\n\r\n1000000\r\n";
    static const char rest[] = "\r\nnonsense\r\nCANARY\r\n\r\n";
    struct tls_pair pair;
    bool stuck = false;
    tls_pair_open(&pair, client_context, server_context, 65536);
    char *body = calloc(1, 1 << 24);
    memset(body, 'x', 1 << 24);
    CHECK(write_all(&pair, head, sizeof head - 1, &stuck));
    CHECK(write_all(&pair, body, 1 << 24, &stuck));
    (void)write_all(&pair, rest, sizeof rest - 1, &stuck);
    (void)write_all(&pair, rest, sizeof rest - 1, &stuck);
    tls_pair_serve(&pair);
    CHECK(!stuck);
    CHECK_INT(pair.posts, 0);
    CHECK_INT(pair.options, 1);
    CHECK_INT(pair.request_bytes, 0);
    free(body);
    tls_pair_close(&pair);
}

TEST(the_rest_of_a_denied_request_stays_whatever_it_is)
{
    set_up();
    under("deny", malformed_rest);
}

static void
longer_than_the_bound(bool denies)
{
    (void)denies;
    static const char head[] = "POST /v1/chat/completions HTTP/1.1\r\nHost: "
                               "api.openai.com\r\nContent-Length: 16777217\r\n\r\n";
    struct tls_pair pair;
    bool stuck = false;
    tls_pair_open(&pair, client_context, server_context, 1 << 25);
    char *body = calloc(1, (1 << 24) + 1);
    memset(body, 'x', (1 << 24) + 1);
    memset(ns_counters, 0, sizeof ns_counters);
    CHECK(write_all(&pair, head, sizeof head - 1, &stuck));
    CHECK(write_all(&pair, body, (1 << 24) - 1, &stuck));
    CHECK_INT(ns_counters[NS_COUNTER_CALLS_ALLOWED], 0);
    CHECK(write_all(&pair, body, 1, &stuck));
    CHECK_INT(ns_counters[NS_COUNTER_CALLS_ALLOWED], 1);
    CHECK_INT(ns_counters[NS_COUNTER_CALLS_PARTLY_SEEN], 1);
    CHECK_INT(ns_counters[NS_COUNTER_CALLS_UNASKED], 1);
    CHECK(!stuck);
    free(body);
    tls_pair_close(&pair);
}

TEST(a_call_that_is_judged_by_its_beginning_is_counted)
{
    set_up();
    under("allow", longer_than_the_bound);
}

/* --- what cannot be judged ----------------------------------------------------------------------
 */

#define LONG_LINE_BYTES 70000

static const char *const unjudged[] = {
    "POST /v1/chat/completions HTTP/1.1\r\nno colon\r\n\r\nCANARY",
    "POST /v1/chat/completions HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nCANARY\r\n",
    "POST /v1/chat/completions HTTP/1.1\r\nX-Long: ", /* LONG_LINE_BYTES more */
};
static const enum ns_counter unjudged_passed[] = {NS_COUNTER_MALFORMED, NS_COUNTER_MALFORMED,
                                                  NS_COUNTER_TOO_LARGE};
static const enum ns_counter unjudged_denied[] = {
    NS_COUNTER_DENIED_MALFORMED, NS_COUNTER_DENIED_MALFORMED, NS_COUNTER_DENIED_TOO_LARGE};

/* A call before, the request that cannot be judged, and a call behind it. */
static void
unjudged_among_calls(bool denies)
{
    static char text[1024 + LONG_LINE_BYTES];
    for (size_t i = 0; i < sizeof unjudged / sizeof unjudged[0]; i++) {
        struct tls_pair pair;
        bool stuck = false;
        tls_pair_open(&pair, client_context, server_context, 131072);
        CHECK_INT(call(&pair, &manners[0]), denies ? DENIED : ANSWERED);
        int options = pair.options;
        size_t bytes = strlen(unjudged[i]);
        memset(text, 'v', sizeof text);
        memcpy(text, unjudged[i], bytes);
        bytes += i == 2 ? LONG_LINE_BYTES : 0;
        memset(ns_counters, 0, sizeof ns_counters);
        CHECK(write_all(&pair, text, bytes, &stuck));
        CHECK(write_all(&pair, BODY, sizeof BODY - 1, &stuck));
        CHECK_INT(ns_counters[unjudged_passed[i]], !denies);
        CHECK_INT(ns_counters[unjudged_denied[i]], denies);
        if (denies) {
            CHECK_INT(read_answer(&pair, false), DENIED);
            CHECK_INT(pair.options, options + 1);
            CHECK_INT(pair.posts, 0);
            CHECK_INT(pair.request_bytes, 0);
            /* Where it ends is not known, so the connection does. */
            int got = SSL_read(pair.client, text, sizeof text);
            CHECK_INT(SSL_get_error(pair.client, got), SSL_ERROR_ZERO_RETURN);
            CHECK(SSL_write(pair.client, HEAD, sizeof HEAD - 1) <= 0);
            ERR_clear_error();
            tls_pair_serve(&pair);
            CHECK_INT(pair.request_bytes, 0);
        } else {
            static char arrived[sizeof text];
            size_t count = 0;
            int got;
            while (count < bytes && (got = SSL_read(pair.server, arrived + count,
                                                    (int)(sizeof arrived - count))) > 0) {
                count += (size_t)got;
            }
            CHECK(count >= bytes && memcmp(arrived, text, bytes) == 0);
        }
        tls_pair_close(&pair);
    }
}

TEST(a_request_that_cannot_be_judged_follows_the_policy)
{
    set_up();
    under("allow", unjudged_among_calls);
    under("deny", unjudged_among_calls);
}

/* --- without memory ------------------------------------------------------------------------- */

#ifdef NS_DEBUG
/* The n-th allocation fails. Returns whether there were so many. */
static bool
call_with_failure(const struct manner *manner, size_t n, bool denies)
{
    struct tls_pair pair;
    tls_pair_open(&pair, client_context, server_context, manner->buffer_bytes);
    ns_mem_fail_at(n);
    for (int i = 0; i < 2; i++) {
        int posts = pair.posts;
        enum outcome outcome = call(&pair, manner);
        bool right =
            outcome == FAILED || (outcome == ANSWERED && !denies) || (denies && outcome == DENIED);
        if (!right || (outcome == DENIED && pair.posts != posts)) {
            NS_FAIL("%s, policy %s, allocation %zu, call %d: %s", manner->name,
                    denies ? "deny" : "allow", n, i, outcome_names[outcome]);
        }
        if (outcome == FAILED) {
            break;
        }
    }
    size_t asked = ns_mem_fail_at(0);
    tls_pair_close(&pair);
    ERR_clear_error();
    return asked >= n;
}

static void
call_with_each_failure(bool denies)
{
    for (size_t m = 0; m < sizeof manners / sizeof manners[0]; m++) {
        size_t n = 1;
        while (n < 1000 && call_with_failure(&manners[m], n, denies)) {
            n++;
        }
        if (n < 5 || n == 1000) {
            NS_FAIL("%s: %zu allocations", manners[m].name, n);
        }
    }
}

/* The handshake is over, so that nothing gives the connection a second chance. */
static void
without_memory_for_a_connection(bool denies)
{
    struct tls_pair pair;
    tls_pair_open(&pair, client_context, server_context, 65536);
    for (int turn = 0; turn < TURNS_MAX && SSL_do_handshake(pair.client) != 1; turn++) {
        tls_pair_serve(&pair);
    }
    memset(ns_counters, 0, sizeof ns_counters);
    ns_mem_fail_at(1);
    enum outcome outcome = call(&pair, &manners[0]);
    ns_mem_fail_at(0);
    CHECK_INT(outcome, denies ? FAILED : ANSWERED);
    CHECK_INT(pair.posts, !denies);
    CHECK_INT(ns_counters[NS_COUNTER_NO_MEMORY], !denies);
    CHECK_INT(ns_counters[NS_COUNTER_DENIED_NO_MEMORY], denies);
    CHECK(!denies || ERR_peek_error() != 0);
    ERR_clear_error();
    tls_pair_close(&pair);
}

TEST(a_connection_that_there_is_no_memory_for_follows_the_policy)
{
    set_up();
    under("allow", without_memory_for_a_connection);
    under("deny", without_memory_for_a_connection);
}

TEST(whichever_allocation_fails_the_program_has_an_answer_or_an_error)
{
    set_up();
    under("allow", call_with_each_failure);
    under("deny", call_with_each_failure);
}
#endif
