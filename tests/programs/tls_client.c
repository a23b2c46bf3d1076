/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A TLS client that uses OpenSSL in each of the ways that programs do. Sends standard input, reads
 * so many HTTP/1.1 answers, writes them to standard output as they came.
 *
 * usage: tls_client [option…] HOST PORT
 *   --io blocking|nonblocking|memory   how the connection is driven
 *   --piece N        bytes of one SSL_write; 0: all
 *   --answers N      final answers to wait for (default 1)
 *   --partial        SSL_MODE_ENABLE_PARTIAL_WRITE
 *   --moving         SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER, and every retry from another address
 *   --ex             SSL_write_ex and SSL_read_ex
 *   --peek           SSL_peek before each SSL_read, which must agree
 *   --sndbuf N       SO_SNDBUF
 *   --close-after N  SSL_free after N bytes were written
 *   --goodbye        SSL_shutdown in the end, and a write after it, which must fail
 *   --leave          exits without closing the connection
 *   --customer ID    nullspend_set_customer, if the library is there
 *   --name SNI       another server name; "" for none
 *   --server-close   waits for the end of the connection, too
 *   --seccomp        once connected, the kernel refuses it files, sockets and random numbers
 *   --between COMMAND  runs a shell command after the first answer
 *
 * Exit: 0 done; 2 usage; 3 an error was left in OpenSSL's queue; 4 SSL_write returned what it must
 * not; 5 peek and read disagree; 6 the connection ended too early; 7 TLS failed; 8 SSL_pending did
 * not tell of what a read gave.
 */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct {
    const char *io, *host, *port, *customer, *name, *between;
    size_t piece, answers, close_after;
    int sndbuf;
    bool partial, moving, ex, peek, goodbye, leave, server_close, seccomp;
} options = {.io = "blocking", .answers = 1};

static int fd;
static SSL *ssl;
static BIO *from_network, *to_network; /* --io memory */

static void
fail(int code, const char *what)
{
    fprintf(stderr, "tls_client: %s (errno %d)\n", what, errno);
    ERR_print_errors_fp(stderr);
    exit(code);
}

static bool
is_io(const char *name)
{
    return strcmp(options.io, name) == 0;
}

static void
wait_for(short events)
{
    struct pollfd poller = {fd, events, 0};
    if (poll(&poller, 1, 20000) == 0) {
        fail(6, events == POLLIN ? "nothing to read for 20 s" : "cannot write for 20 s");
    }
}

/* --io memory: ciphertext to the socket. */
static void
pump_out(void)
{
    char bytes[16384];
    int count;
    while (is_io("memory") && (count = BIO_read(to_network, bytes, sizeof bytes)) > 0) {
        for (int at = 0; at < count;) {
            ssize_t sent = send(fd, bytes + at, (size_t)(count - at), MSG_NOSIGNAL);
            if (sent < 0 && errno == EAGAIN) {
                wait_for(POLLOUT);
            } else if (sent < 0) {
                return;
            } else {
                at += (int)sent;
            }
        }
    }
}

/* After a failed call: waits for what it wants. False at the end of the connection. */
static bool
wait_after(int result)
{
    int error = SSL_get_error(ssl, result);
    pump_out();
    if (error == SSL_ERROR_WANT_WRITE) {
        wait_for(POLLOUT);
        return true;
    }
    if (error == SSL_ERROR_WANT_READ) {
        wait_for(POLLIN);
        if (is_io("memory")) {
            char bytes[16384];
            ssize_t count = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
            if (count > 0) {
                BIO_write(from_network, bytes, (int)count);
            } else if (count == 0) {
                BIO_set_mem_eof_return(from_network, 0);
            }
        }
        return true;
    }
    if (error == SSL_ERROR_ZERO_RETURN || error == SSL_ERROR_SYSCALL) {
        ERR_clear_error();
        return false;
    }
    unsigned long code = ERR_peek_error();
    if (ERR_GET_REASON(code) == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
        ERR_clear_error();
        return false;
    }
    fail(7, "TLS failed");
    return false;
}

static void
connect_to_host(void)
{
    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *list;
    if (getaddrinfo(options.host, options.port, &hints, &list) != 0) {
        fail(7, "no such host");
    }
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (options.sndbuf > 0) {
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &options.sndbuf, sizeof options.sndbuf);
    }
    if (connect(fd, list->ai_addr, list->ai_addrlen) != 0) {
        fail(7, "cannot connect");
    }
    freeaddrinfo(list);
    if (!is_io("blocking")) {
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    }
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (context != NULL) {
        SSL_CTX_set_default_verify_paths(context);
        ssl = SSL_new(context);
        SSL_CTX_free(context);
    }
    if (ssl == NULL) {
        fail(7, "no memory for a connection");
    }
    const char *name = options.name != NULL ? options.name : options.host;
    if (name[0] != '\0') {
        SSL_set_tlsext_host_name(ssl, name);
    }
    if (is_io("memory")) {
        from_network = BIO_new(BIO_s_mem());
        to_network = BIO_new(BIO_s_mem());
        BIO_set_mem_eof_return(from_network, -1);
        SSL_set_bio(ssl, from_network, to_network);
    } else {
        SSL_set_fd(ssl, fd);
    }
    SSL_set_mode(ssl, (options.partial ? SSL_MODE_ENABLE_PARTIAL_WRITE : 0) |
                          (options.moving ? SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER : 0));
    int result;
    while ((result = SSL_connect(ssl)) != 1) {
        if (!wait_after(result)) {
            fail(7, "handshake failed");
        }
    }
    pump_out();
}

static int
write_once(const char *bytes, size_t count, size_t *written)
{
    *written = 0;
    int result;
    if (options.ex) {
        result = SSL_write_ex(ssl, bytes, count, written);
        if (result != 0 && result != 1) {
            fail(4, "SSL_write_ex returned neither 0 nor 1");
        }
    } else {
        result = SSL_write(ssl, bytes, (int)count);
        *written = result > 0 ? (size_t)result : 0;
        if (result == 0) {
            fail(4, "SSL_write returned 0");
        }
    }
    if (result > 0 &&
        (*written == 0 || *written > count || (*written < count && !options.partial))) {
        fail(4, "SSL_write took a part");
    }
    return result;
}

/* Writes all of it, as the options say. */
static void
write_piece(const char *bytes, size_t count)
{
    size_t done = 0;
    char *moved = NULL;
    while (done < count) {
        size_t written;
        const char *from = bytes + done;
        if (options.moving) {
            char *next = malloc(count - done); /* while the old one is there: another address */
            memcpy(next, bytes + done, count - done);
            free(moved);
            from = moved = next;
        }
        int result = write_once(from, count - done, &written);
        pump_out();
        if (result > 0) {
            done += written;
        } else if (!wait_after(result)) {
            fail(6, "the connection ended while writing");
        }
    }
    free(moved);
}

static int
read_once(char *bytes, size_t count, bool peek, size_t *got)
{
    if (options.ex) {
        return peek ? SSL_peek_ex(ssl, bytes, count, got) : SSL_read_ex(ssl, bytes, count, got);
    }
    int result = peek ? SSL_peek(ssl, bytes, (int)count) : SSL_read(ssl, bytes, (int)count);
    *got = result > 0 ? (size_t)result : 0;
    return result;
}

/* Reads once, after a peek where that is asked for. Returns bytes, 0 at the end. */
static size_t
read_some(char *bytes, size_t count)
{
    char seen[16384];
    size_t peeked = 0;
    for (;;) {
        size_t got = 0;
        int result = 1;
        if (options.peek) {
            result = read_once(seen, 7 < count ? 7 : count, true, &peeked);
            if (result > 0 && SSL_pending(ssl) < (int)peeked) {
                fail(8, "SSL_pending knows nothing of what was peeked");
            }
        }
        if (result > 0) {
            result = read_once(bytes, count, false, &got);
        }
        if (result > 0) {
            if (options.peek && (got < peeked || memcmp(seen, bytes, peeked) != 0)) {
                fail(5, "peek and read disagree");
            }
            if (ERR_peek_error() != 0) {
                fail(3, "an error was left in the queue");
            }
            return got;
        }
        if (!wait_after(result)) {
            return 0;
        }
    }
}

/* Bytes of the first complete final answer in text, interim ones before it included; 0: none. */
static size_t
answer_bytes(const char *text, size_t count)
{
    const char *end = memmem(text, count, "\r\n\r\n", 4);
    if (end == NULL) {
        return 0;
    }
    size_t head = (size_t)(end - text) + 4;
    if (count > 10 && text[9] == '1') {
        size_t rest = answer_bytes(text + head, count - head);
        return rest == 0 ? 0 : head + rest;
    }
    char copy[8192];
    size_t kept = head < sizeof copy - 1 ? head : sizeof copy - 1;
    memcpy(copy, text, kept);
    copy[kept] = '\0';
    const char *length = strcasestr(copy, "\r\ncontent-length:");
    if (length != NULL) {
        size_t body = strtoul(length + 17, NULL, 10);
        return count - head >= body ? head + body : 0;
    }
    const char *last = memmem(text + head - 2, count - head + 2, "\r\n0\r\n\r\n", 7);
    return last == NULL ? 0 : (size_t)(last - text) + 7;
}

static void
read_answers(void)
{
    static char text[8 << 20];
    size_t count = 0, begin = 0, seen = 0;
    while (seen < options.answers) {
        size_t got =
            read_some(text + count, sizeof text - count < 16384 ? sizeof text - count : 16384);
        if (got == 0) {
            fwrite(text, 1, count, stdout);
            fail(6, "the connection ended too early");
        }
        count += got;
        size_t answer;
        while ((answer = answer_bytes(text + begin, count - begin)) > 0) {
            begin += answer;
            seen++;
            if (seen == 1 && options.between != NULL && system(options.between) != 0) {
                fail(2, "the command failed");
            }
        }
    }
    while (options.server_close && read_some(text + count, 1) > 0) {
        count++;
    }
    fwrite(text, 1, count, stdout);
    fflush(stdout);
}

static void
refuse_system_calls(void)
{
    static struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 4, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_connect, 3, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getrandom, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
    };
    struct sock_fprog program = {sizeof filter / sizeof filter[0], filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
        fail(2, "no seccomp");
    }
}

static void
set_customer(void)
{
    int (*set)(const char *) = NULL;
    void *symbol = dlsym(RTLD_DEFAULT, "nullspend_set_customer");
    memcpy(&set, &symbol, sizeof set);
    if (set != NULL && set(options.customer) != 0) {
        fail(2, "nullspend_set_customer refused");
    }
}

static void
read_options(int count, char **words)
{
    int i = 1;
    for (; i < count && strncmp(words[i], "--", 2) == 0; i++) {
        const char *name = words[i] + 2;
        const char *value = i + 1 < count ? words[i + 1] : "";
        struct {
            const char *name;
            bool *flag;
        } flags[] = {{"partial", &options.partial},
                     {"moving", &options.moving},
                     {"ex", &options.ex},
                     {"peek", &options.peek},
                     {"goodbye", &options.goodbye},
                     {"leave", &options.leave},
                     {"server-close", &options.server_close},
                     {"seccomp", &options.seccomp}};
        struct {
            const char *name;
            const char **text;
        } texts[] = {{"io", &options.io},
                     {"customer", &options.customer},
                     {"name", &options.name},
                     {"between", &options.between}};
        struct {
            const char *name;
            size_t *number;
        } numbers[] = {{"piece", &options.piece},
                       {"answers", &options.answers},
                       {"close-after", &options.close_after}};
        for (size_t k = 0; k < sizeof flags / sizeof flags[0]; k++) {
            if (strcmp(name, flags[k].name) == 0) {
                *flags[k].flag = true;
            }
        }
        for (size_t k = 0; k < sizeof texts / sizeof texts[0]; k++) {
            if (strcmp(name, texts[k].name) == 0) {
                *texts[k].text = value;
                i++;
            }
        }
        for (size_t k = 0; k < sizeof numbers / sizeof numbers[0]; k++) {
            if (strcmp(name, numbers[k].name) == 0) {
                *numbers[k].number = strtoul(value, NULL, 10);
                i++;
            }
        }
        if (strcmp(name, "sndbuf") == 0) {
            options.sndbuf = (int)strtol(value, NULL, 10);
            i++;
        }
    }
    if (count - i != 2) {
        fprintf(stderr, "usage: tls_client [option...] HOST PORT\n");
        exit(2);
    }
    options.host = words[i];
    options.port = words[i + 1];
}

int
main(int count, char **words)
{
    read_options(count, words);
    static char request[40 << 20];
    size_t bytes = fread(request, 1, sizeof request, stdin);
    if (options.customer != NULL) {
        set_customer();
    }
    connect_to_host();
    if (options.seccomp) {
        refuse_system_calls();
    }
    size_t limit =
        options.close_after > 0 && options.close_after < bytes ? options.close_after : bytes;
    size_t piece = options.piece > 0 ? options.piece : limit;
    for (size_t at = 0; at < limit; at += piece) {
        write_piece(request + at, limit - at < piece ? limit - at : piece);
    }
    if (options.close_after == 0) {
        read_answers();
    }
    if (ERR_peek_error() != 0) {
        fail(3, "an error was left in the queue");
    }
    if (options.goodbye) {
        (void)SSL_shutdown(ssl);
        if (SSL_write(ssl, "x", 1) > 0) {
            fail(4, "a write after the end was taken");
        }
    }
    if (!options.leave) {
        SSL_free(ssl);
        close(fd);
    }
    return 0;
}
