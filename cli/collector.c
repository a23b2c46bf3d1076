/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/collector.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "protocol/protocol.h"
#include "protocol/zmtp.h"

#define PING_TIMEOUT_MS 2000
#define QUERY_ID 1

static int
send_query(struct ns_zmtp *zmtp, const char *what, const char *argument, int64_t deadline_ns)
{
    uint8_t bytes[2048];
    struct ns_message message = {.kind = NS_MESSAGE_QUERY};
    message.as.query.id = QUERY_ID;
    message.as.query.what = ns_text_of(what);
    message.as.query.argument = ns_text_of(argument);
    int count = ns_message_encode(&message, bytes, sizeof bytes);
    return count < 0 ? count : ns_zmtp_send(zmtp, bytes, (size_t)count, deadline_ns);
}

/* Takes the ANSWER out of a message. */
static int
read_answer(const uint8_t *bytes, size_t count, char **json)
{
    struct ns_message *message = malloc(sizeof *message);
    const char *why;
    int error = message == NULL ? -ENOMEM : ns_message_decode(bytes, count, message, &why);
    if (error == 0 && (message->kind != NS_MESSAGE_ANSWER || message->as.answer.id != QUERY_ID)) {
        error = -EBADMSG;
    }
    if (error == 0) {
        *json = strndup(message->as.answer.json.text, message->as.answer.json.bytes);
        error = *json == NULL ? -ENOMEM : message->as.answer.failed ? -EREMOTEIO : 0;
    }
    free(message);
    return error;
}

int
ns_collector_ask(const char *endpoint, const char *what, const char *argument, int64_t timeout_ms,
                 char **json)
{
    struct ns_zmtp zmtp = NS_ZMTP_CLOSED;
    int64_t deadline_ns = ns_monotonic_ns() + timeout_ms * 1000000;
    *json = NULL;
    uint8_t *bytes = malloc(NS_ANSWER_BYTES_MAX);
    if (bytes == NULL) {
        return -ENOMEM;
    }
    int result = ns_zmtp_connect(&zmtp, endpoint, deadline_ns);
    if (result == 0) {
        result = send_query(&zmtp, what, argument, deadline_ns);
    }
    if (result == 0) {
        result = ns_zmtp_receive(&zmtp, bytes, NS_ANSWER_BYTES_MAX, deadline_ns);
    }
    if (result >= 0) {
        result = read_answer(bytes, (size_t)result, json);
    }
    ns_zmtp_close(&zmtp);
    free(bytes);
    return result;
}

static int
ping(const char *endpoint)
{
    char *json;
    int error = ns_collector_ask(endpoint, "ping", NULL, PING_TIMEOUT_MS, &json);
    free(json);
    return error == -EREMOTEIO ? 0 : error;
}

int
ns_collector_find(char endpoint[static NS_PLACE_BYTES])
{
    int error = ns_discover_endpoint(endpoint);
    if (error == 0) {
        error = ns_discover_check_socket_directory(endpoint);
    }
    if (error == 0) {
        error = ping(endpoint);
    }
    const char *given = getenv("NULLSPEND_COLLECTOR");
    if (error != 0 && (given == NULL || given[0] == '\0') && geteuid() != 0 &&
        ping(ns_machine_endpoint) == 0) {
        memcpy(endpoint, ns_machine_endpoint, strlen(ns_machine_endpoint) + 1);
        return 0;
    }
    return error;
}

bool
ns_collector_require(char endpoint[static NS_PLACE_BYTES])
{
    int error = ns_collector_find(endpoint);
    if (error == -ENAMETOOLONG) {
        ns_complain(NS_EXIT_NO_COLLECTOR, NS_ENDPOINT_TOO_LONG);
    } else if (error == -EACCES) {
        ns_complain(NS_EXIT_NO_COLLECTOR,
                    "you may not ask the collector at %s: its group may, or start one of your own",
                    endpoint);
    } else if (error != 0) {
        ns_complain(NS_EXIT_NO_COLLECTOR,
                    "no collector answers at %s (%s). Start one with 'nullspend start'.", endpoint,
                    strerror(-error));
    }
    return error == 0;
}
