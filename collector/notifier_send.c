/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/notifier_send.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "collector/buffer.h"
#include "collector/notifier_address.h"
#include "collector/notifier_mail.h"
#include "collector/notifier_rows.h"

struct ns_transfer {
    CURL *easy;
    const struct ns_delivery *delivery;
    struct curl_slist *headers, *recipients;
    struct ns_buffer message; /* a mail */
    size_t message_at;
    size_t answer_bytes;
    char answer[120]; /* how it begins */
    size_t answer_count;
    unsigned refused; /* addresses to which no connection was made */
    unsigned opened;  /* to which one was tried */
    char refused_address[NS_ADDRESS_TEXT_BYTES];
    char curl_error[CURL_ERROR_SIZE];
};

/* --- what curl asks ----------------------------------------------------------------------------
 */

/* Every connection begins here, with the address that the name stands for now: names that point
 * elsewhere a moment later get nowhere. */
static curl_socket_t
open_socket(void *context, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct ns_transfer *transfer = context;
    (void)purpose;
    if (!transfer->delivery->allow_private && !ns_address_is_public(&address->addr)) {
        transfer->refused++;
        ns_address_format(&address->addr, transfer->refused_address);
        return CURL_SOCKET_BAD;
    }
    transfer->opened++;
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* Counts what comes, head and body; keeps how the body begins. */
static size_t
count(struct ns_transfer *transfer, size_t bytes)
{
    transfer->answer_bytes += bytes;
    return transfer->answer_bytes <= NS_SEND_ANSWER_BYTES_MAX ? bytes : 0; /* 0 ends it */
}

static size_t
take_head(char *bytes, size_t size, size_t number, void *context)
{
    (void)bytes;
    return count(context, size * number);
}

static size_t
take_body(char *bytes, size_t size, size_t number, void *context)
{
    struct ns_transfer *transfer = context;
    for (size_t i = 0; i < size * number && transfer->answer_count < sizeof transfer->answer - 1;
         i++) {
        transfer->answer[transfer->answer_count++] = bytes[i];
    }
    return count(transfer, size * number);
}

static size_t
give_mail(char *room, size_t size, size_t number, void *context)
{
    struct ns_transfer *transfer = context;
    size_t left = transfer->message.count - transfer->message_at;
    size_t bytes = left < size * number ? left : size * number;
    if (bytes > 0) {
        memcpy(room, transfer->message.bytes + transfer->message_at, bytes);
        transfer->message_at += bytes;
    }
    return bytes;
}

/* --- what is sent ------------------------------------------------------------------------------
 */

static int
add_header(struct ns_transfer *transfer, const char *name, const char *value)
{
    struct ns_buffer line = {0};
    ns_buffer_print(&line, "%s: %s", name, value);
    ns_buffer_add(&line, "", 1);
    struct curl_slist *more =
        line.failed ? NULL : curl_slist_append(transfer->headers, (const char *)line.bytes);
    ns_buffer_free(&line);
    if (more == NULL) {
        return -ENOMEM;
    }
    transfer->headers = more;
    return 0;
}

/* The headers of a webhook that tell whose it is, and of what. */
static int
add_signature(struct ns_transfer *transfer)
{
    const struct ns_delivery *delivery = transfer->delivery;
    char signature[NS_SIGNATURE_BYTES];
    const char *const secrets[NS_SIGN_SECRETS_MAX] = {delivery->secret[0], delivery->secret[1]};
    int error = ns_sign(time(NULL), secrets, delivery->body, strlen(delivery->body), signature);
    error = error != 0 ? error : add_header(transfer, "X-NullSpend-Signature", signature);
    return error != 0 ? error : add_header(transfer, "X-NullSpend-Webhook-Id", delivery->event_id);
}

static int
prepare_http(struct ns_transfer *transfer)
{
    const struct ns_delivery *delivery = transfer->delivery;
    CURL *easy = transfer->easy;
    int error = add_header(transfer, "Content-Type", "application/json");
    error = error != 0 ? error : add_header(transfer, "Expect", "");
    if (error == 0 && delivery->kind == NS_ENDPOINT_WEBHOOK) {
        error = add_signature(transfer);
    }
    if (error != 0) {
        return error;
    }
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, delivery->allow_private ? "https,http" : "https");
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "NullSpend-Webhooks/1.0");
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, transfer->headers);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, (long)strlen(delivery->body));
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, delivery->body);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_head);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer);
    return 0;
}

/* "a@b, c@d" as a list. */
static int
add_recipients(struct ns_transfer *transfer)
{
    for (const char *at = transfer->delivery->recipients; *at != '\0';) {
        size_t bytes = strcspn(at, ",");
        char *one = strndup(at, bytes);
        struct curl_slist *more = one == NULL ? NULL : curl_slist_append(transfer->recipients, one);
        free(one);
        if (more == NULL) {
            return -ENOMEM;
        }
        transfer->recipients = more;
        at += bytes + strspn(at + bytes, ", ");
    }
    return 0;
}

static int
prepare_mail(struct ns_transfer *transfer)
{
    const struct ns_delivery *delivery = transfer->delivery;
    CURL *easy = transfer->easy;
    const struct ns_mail mail = {.from = delivery->sender,
                                 .to = delivery->recipients,
                                 .subject = delivery->subject,
                                 .text = delivery->body,
                                 .id = delivery->event_id,
                                 .date = time(NULL)};
    int error = ns_mail_format(&mail, &transfer->message);
    error = error != 0 ? error : add_recipients(transfer);
    if (error != 0) {
        return error;
    }
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
    /* STARTTLS where the address may be private, and the server without: a relay of one's own. */
    curl_easy_setopt(easy, CURLOPT_USE_SSL,
                     (long)(delivery->allow_private ? CURLUSESSL_TRY : CURLUSESSL_ALL));
    if (delivery->secret[0] != NULL) {
        curl_easy_setopt(easy, CURLOPT_PASSWORD, delivery->secret[0]);
    }
    curl_easy_setopt(easy, CURLOPT_MAIL_FROM, delivery->sender);
    curl_easy_setopt(easy, CURLOPT_MAIL_RCPT, transfer->recipients);
    curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(easy, CURLOPT_READFUNCTION, give_mail);
    curl_easy_setopt(easy, CURLOPT_READDATA, transfer);
    return 0;
}

/* What every attempt has in common: its own connection, to nobody's proxy, within limits. */
static int
prepare(struct ns_transfer *transfer)
{
    const struct ns_delivery *delivery = transfer->delivery;
    CURL *easy = transfer->easy;
    const char *authorities = getenv("SSL_CERT_FILE");
    CURLcode taken = curl_easy_setopt(easy, CURLOPT_URL, delivery->url);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->curl_error);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    /* A look-up that outlasts its attempt is left to itself; else everybody would wait for it. */
    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)NS_SEND_MS);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)NS_SEND_CONNECT_MS);
    /* A connection that one endpoint may have is not another's. */
    curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
    curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
    if (authorities != NULL && authorities[0] != '\0') {
        curl_easy_setopt(easy, CURLOPT_CAINFO, authorities);
    }
    int error =
        delivery->kind == NS_ENDPOINT_MAIL ? prepare_mail(transfer) : prepare_http(transfer);
    return taken != CURLE_OK ? -ENOMEM : error;
}

/* --- an attempt --------------------------------------------------------------------------------
 */

static void
free_transfer(struct ns_transfer *transfer)
{
    if (transfer->easy != NULL) {
        curl_easy_cleanup(transfer->easy);
    }
    curl_slist_free_all(transfer->headers);
    curl_slist_free_all(transfer->recipients);
    ns_buffer_free(&transfer->message);
    free(transfer);
}

static const char *
fault_of(int error)
{
    return error == -EINVAL ? "it has no secret that is valid, or an address that is none"
                            : "no memory";
}

/* What an attempt came to, as a result. */
static void
decide(const struct ns_delivery *delivery, const struct ns_attempt *attempt, int64_t retry_after_s,
       struct ns_delivery_result *result)
{
    uint32_t random = 0;
    ssize_t got = getrandom(&random, sizeof random, GRND_NONBLOCK);
    (void)got; /* without, receivers are met a little more at once */
    result->fate = ns_fate_of(attempt);
    result->status = attempt->status;
    result->delay_ms =
        result->fate == NS_FATE_RETRY ? ns_delay_ms(delivery->attempts, retry_after_s, random) : 0;
    if (result->fate == NS_FATE_SENT) {
        result->error[0] = '\0';
    }
    for (char *c = result->error; *c != '\0'; c++) {
        *c = *c < ' ' || *c > '~' ? '?' : *c; /* a receiver's words are not to break ours */
    }
}

static struct ns_attempt
attempt_of(const struct ns_delivery *delivery)
{
    return (struct ns_attempt){.mail = delivery->kind == NS_ENDPOINT_MAIL,
                               .test = delivery->test,
                               .attempts = delivery->attempts};
}

struct ns_transfer *
ns_transfer_start(CURLM *multi, const struct ns_delivery *delivery,
                  struct ns_delivery_result *result)
{
    struct ns_transfer *transfer = calloc(1, sizeof *transfer);
    int error = -ENOMEM;
    if (transfer != NULL) {
        transfer->delivery = delivery;
        transfer->easy = curl_easy_init();
        error = transfer->easy != NULL ? prepare(transfer) : -ENOMEM;
        if (error == 0 && curl_multi_add_handle(multi, transfer->easy) == CURLM_OK) {
            return transfer;
        }
        free_transfer(transfer);
    }
    struct ns_attempt attempt = attempt_of(delivery);
    attempt.refused = error == -EINVAL;
    snprintf(result->error, sizeof result->error, "not sent: %s", fault_of(error));
    decide(delivery, &attempt, 0, result);
    return NULL;
}

struct ns_transfer *
ns_transfer_of(CURL *easy)
{
    struct ns_transfer *transfer = NULL;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &transfer);
    return transfer;
}

const struct ns_delivery *
ns_transfer_delivery(const struct ns_transfer *transfer)
{
    return transfer->delivery;
}

/* Why it failed, in words. */
static void
explain(const struct ns_transfer *transfer, const struct ns_attempt *attempt, CURLcode code,
        char *error, size_t room)
{
    if (transfer->refused > 0 && transfer->opened == 0) {
        snprintf(error, room, "not sent: the address %s is not public (--allow-private allows it)",
                 transfer->refused_address);
    } else if (code == CURLE_UNSUPPORTED_PROTOCOL || code == CURLE_URL_MALFORMAT) {
        snprintf(error, room,
                 "not sent: the URL is none of https:// (--allow-private allows http)");
    } else if (attempt->status != 0 && !attempt->mail) {
        snprintf(error, room, "HTTP %d%s%s%s", attempt->status,
                 attempt->status >= 300 && attempt->status < 400 ? ": redirects are not followed"
                                                                 : "",
                 transfer->answer_count > 0 ? ": " : "", transfer->answer);
    } else {
        snprintf(error, room, "%s",
                 transfer->curl_error[0] != '\0' ? transfer->curl_error : curl_easy_strerror(code));
    }
}

void
ns_transfer_end(CURLM *multi, struct ns_transfer *transfer, CURLcode code,
                struct ns_delivery_result *result)
{
    long status = 0;
    curl_off_t retry_after_s = 0;
    curl_multi_remove_handle(multi, transfer->easy);
    if (result != NULL) {
        struct ns_attempt attempt = attempt_of(transfer->delivery);
        curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
        curl_easy_getinfo(transfer->easy, CURLINFO_RETRY_AFTER, &retry_after_s);
        attempt.complete = code == CURLE_OK;
        attempt.refused =
            code != CURLE_OK && ((transfer->refused > 0 && transfer->opened == 0) ||
                                 code == CURLE_UNSUPPORTED_PROTOCOL || code == CURLE_URL_MALFORMAT);
        attempt.status = (int)status;
        explain(transfer, &attempt, code, result->error, sizeof result->error);
        decide(transfer->delivery, &attempt, retry_after_s, result);
    }
    free_transfer(transfer);
}
