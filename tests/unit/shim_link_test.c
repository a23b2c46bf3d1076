/* SPDX-License-Identifier: Apache-2.0 */
/* Links to a collector whose messages come in halves. */
#include <errno.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "shim/gate.h"
#include "shim/process.h"
#include "tests/unit/zmtp_support.h"

static struct {
    int listening, fd;
    char directory[32];
    bool welcomed;
} collector;

/* Messages of less than 256 bytes. Returns the bytes of the frame, 0 where it is none. */
static size_t
encode_frame(const struct ns_message *message, uint8_t frame[256])
{
    int bytes = ns_message_encode(message, frame + 2, 254);
    frame[0] = 0;
    frame[1] = (uint8_t)bytes;
    return bytes < 0 ? 0 : 2 + (size_t)bytes;
}

static size_t
encode_verdict(const struct ns_uuid *call_id, uint8_t frame[256])
{
    struct ns_message message = {.kind = NS_MESSAGE_VERDICT};
    message.as.verdict.call_id = *call_id;
    message.as.verdict.decision = NS_DECISION_ALLOW;
    return encode_frame(&message, frame);
}

static bool
say(const void *bytes, size_t count)
{
    return count > 0 && write(collector.fd, bytes, count) == (ssize_t)count;
}

static void *
welcome(void *unused)
{
    (void)unused;
    uint8_t frame[256];
    struct ns_message message = {.kind = NS_MESSAGE_WELCOME};
    message.as.welcome.protocol = NS_PROTOCOL_VERSION;
    message.as.welcome.collector = ns_text_of("test");
    collector.fd = accept(collector.listening, NULL, NULL);
    collector.welcomed =
        say(ZMTP_ROUTER, sizeof ZMTP_ROUTER - 1) && say(frame, encode_frame(&message, frame));
    return NULL;
}

static bool
listen_somewhere(void)
{
    char endpoint[64];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(collector.directory, "/tmp/nslinkXXXXXX", 18);
    if (mkdtemp(collector.directory) == NULL) {
        return false;
    }
    snprintf(address.sun_path, sizeof address.sun_path, "%s/c", collector.directory);
    snprintf(endpoint, sizeof endpoint, "ipc://%s/c", collector.directory);
    setenv("NULLSPEND_COLLECTOR", endpoint, 1);
    setenv("NULLSPEND_DEADLINE_MS", "60000", 1);
    collector.listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return bind(collector.listening, (struct sockaddr *)&address, sizeof address) == 0 &&
           listen(collector.listening, 1) == 0 && ns_process_ready();
}

TEST(half_an_answer_that_nobody_waits_for_does_not_spoil_the_next_question)
{
    pthread_t thread;
    struct ns_gate_question question = {0};
    struct ns_gate_verdict verdict;
    struct ns_message check = {.kind = NS_MESSAGE_CHECK};
    struct ns_uuid first = ns_uuid_new(), second = ns_uuid_new();
    uint8_t frame[256];
    REQUIRE(listen_somewhere());
    REQUIRE(pthread_create(&thread, NULL, welcome, NULL) == 0);
    check.as.check.call_id = first;
    CHECK(ns_gate_ask(&check, &question));
    pthread_join(thread, NULL);
    REQUIRE(collector.welcomed);

    size_t bytes = encode_verdict(&first, frame), half = bytes / 2;
    REQUIRE(say(frame, half));
    CHECK_INT(ns_gate_answer(&question, &first, false, &verdict), -EAGAIN);
    ns_gate_unask(&question);

    check.as.check.call_id = second;
    CHECK(ns_gate_ask(&check, &question));
    REQUIRE(say(frame + half, bytes - half));
    REQUIRE(say(frame, encode_verdict(&second, frame)));
    CHECK_INT(ns_gate_answer(&question, &second, true, &verdict), 0);
    CHECK_INT(verdict.decision, NS_DECISION_ALLOW);

    close(collector.fd);
    close(collector.listening);
    char path[64];
    snprintf(path, sizeof path, "%s/c", collector.directory);
    remove(path);
    remove(collector.directory);
}
