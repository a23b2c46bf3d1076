/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A TLS client that does everything by BIOs: writes standard input into a chain, reads so many
 * bytes of answer heads and bodies as lines, and writes them to standard output.
 *
 * usage: bio_client WAY HOST PORT ANSWERS
 *   connect   BIO_new_ssl_connect, BIO_write and BIO_read
 *   buffer    BIO_new_buffer_ssl_connect, BIO_puts and BIO_gets
 *   pushed    a buffering BIO upon a BIO_new_ssl upon a connect BIO, as s_client has it
 *   method    BIO_new(BIO_f_ssl()) with an SSL of its own, BIO_write_ex and BIO_read_ex
 *   waiting   as connect, non-blocking
 *   again     as method, twice, the second connection in the memory of the first
 *
 * Exit: 0 done; 2 usage; 3 TLS failed; 4 an error was left in the queue.
 */
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *way;
static char target[300];
static const char *host;
static char input[16 << 20];
static size_t input_bytes;

static bool
is(const char *name)
{
    return strcmp(way, name) == 0;
}

static void
fail(const char *what)
{
    fprintf(stderr, "bio_client: %s\n", what);
    ERR_print_errors_fp(stderr);
    exit(3);
}

static void
wait_for(BIO *bio)
{
    int fd = -1;
    if (!BIO_should_retry(bio) || BIO_get_fd(bio, &fd) < 0) {
        fail("no retry");
    }
    struct pollfd poller = {fd, BIO_should_read(bio) ? POLLIN : POLLOUT, 0};
    if (poll(&poller, 1, 20000) <= 0) {
        fail("nothing for 20 s");
    }
}

static BIO *
open_chain(SSL_CTX *context)
{
    BIO *chain;
    if (is("connect") || is("waiting")) {
        chain = BIO_new_ssl_connect(context);
    } else if (is("buffer")) {
        chain = BIO_new_buffer_ssl_connect(context);
    } else if (is("pushed")) {
        chain = BIO_push(BIO_new(BIO_f_buffer()),
                         BIO_push(BIO_new_ssl(context, 1), BIO_new(BIO_s_connect())));
    } else {
        SSL *own = SSL_new(context);
        SSL_set_connect_state(own);
        chain = BIO_new(BIO_f_ssl());
        BIO_set_ssl(chain, own, BIO_CLOSE);
        chain = BIO_push(chain, BIO_new(BIO_s_connect()));
    }
    SSL *ssl = NULL;
    BIO_get_ssl(chain, &ssl);
    if (ssl == NULL) {
        fail("no SSL in the chain");
    }
    SSL_set_tlsext_host_name(ssl, host);
    BIO_set_conn_hostname(chain, target);
    BIO_set_nbio(chain, is("waiting"));
    while (BIO_do_handshake(chain) <= 0) {
        wait_for(chain);
    }
    return chain;
}

static void
write_all(BIO *chain)
{
    size_t done = 0;
    while (done < input_bytes) {
        size_t count = 0;
        if (is("method") || is("again")) {
            if (BIO_write_ex(chain, input + done, input_bytes - done, &count) != 1) {
                wait_for(chain);
            }
        } else {
            int result = is("buffer") ? BIO_puts(chain, input + done)
                                      : BIO_write(chain, input + done, (int)(input_bytes - done));
            if (result <= 0) {
                wait_for(chain);
                continue;
            }
            count = (size_t)result;
        }
        done += count;
    }
    while (BIO_flush(chain) <= 0) {
        wait_for(chain);
    }
}

/* Of the last answer's body; 0 in a head. */
static size_t
missing(const char *text)
{
    for (const char *head = text, *end; (end = strstr(head, "\r\n\r\n")) != NULL;) {
        const char *length = strcasestr(head, "\r\ncontent-length:");
        size_t body = length == NULL ? 0 : strtoul(length + 17, NULL, 10);
        size_t there = strlen(end + 4);
        if (there < body) {
            return body - there;
        }
        head = end + 4 + body;
    }
    return 0;
}

static size_t
read_some(BIO *chain, const char *text, char *bytes, int count)
{
    /* A buffering BIO waits for as much as it is asked for. */
    bool buffered = is("buffer") || is("pushed");
    bool lines = buffered && missing(text) == 0;
    if (buffered && !lines) {
        count = (int)missing(text);
    }
    for (;;) {
        if (is("method") || is("again")) {
            size_t got = 0;
            if (BIO_read_ex(chain, bytes, (size_t)count, &got) == 1) {
                return got;
            }
        } else {
            int got = lines ? BIO_gets(chain, bytes, count) : BIO_read(chain, bytes, count);
            if (got > 0) {
                return (size_t)got;
            }
        }
        if (!BIO_should_retry(chain)) {
            fail("the connection ended too early");
        }
        if (is("waiting")) {
            wait_for(chain);
        }
    }
}

/* Whole answers in text: heads with a Content-Length. */
static unsigned
count_answers(const char *text)
{
    unsigned count = 0;
    const char *head = text;
    const char *end;
    while ((end = strstr(head, "\r\n\r\n")) != NULL) {
        const char *length = strcasestr(head, "\r\ncontent-length:");
        size_t body = length == NULL ? 0 : strtoul(length + 17, NULL, 10);
        if (strlen(end + 4) < body) {
            break;
        }
        head = end + 4 + body;
        count++;
    }
    return count;
}

static void
talk(SSL_CTX *context, unsigned answers)
{
    static char text[1 << 20];
    size_t bytes = 0;
    BIO *chain = open_chain(context);
    write_all(chain);
    text[0] = '\0';
    while (count_answers(text) < answers) {
        bytes += read_some(chain, text, text + bytes, 4096);
        text[bytes] = '\0';
    }
    fputs(text, stdout);
    if (ERR_peek_error() != 0) {
        ERR_print_errors_fp(stderr);
        exit(4);
    }
    BIO_free_all(chain);
}

int
main(int count, char **words)
{
    if (count != 5) {
        return 2;
    }
    way = words[1];
    host = words[2];
    snprintf(target, sizeof target, "%s:%s", host, words[3]);
    input_bytes = fread(input, 1, sizeof input - 1, stdin);
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_default_verify_paths(context);
    unsigned answers = (unsigned)strtoul(words[4], NULL, 10);
    talk(context, answers);
    if (is("again")) {
        talk(context, answers);
    }
    SSL_CTX_free(context);
    return 0;
}
