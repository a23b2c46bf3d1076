/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The notifier's process: one thread, a connection to Postgres, and the attempts under way in a
 * curl multi handle. It waits for whatever comes first: the collector's end, an event, an answer,
 * the time of what is due.
 */
#include "collector/notifier.h"

#include <curl/curl.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "collector/buffer.h"
#include "collector/notifier_rows.h"
#include "collector/notifier_send.h"
#include "collector/service.h"
#include "protocol/zmtp.h"

#define COLLECTOR_FD STDIN_FILENO
#define URL_BYTES 4096
#define SECOND_NS INT64_C(1000000000)
/* Between attempts to reach Postgres: doubles from the first to the second. */
#define LINK_PAUSE_NS_MIN (SECOND_NS / 20)
#define LINK_PAUSE_NS_MAX (5 * SECOND_NS)
/* While something is pending it is looked for this often; else notifications tell of it, and this
 * is for those that were lost. */
#define LOOK_NS SECOND_NS
#define LOOK_IDLE_NS (30 * SECOND_NS)
/* Below everything else of the machine: a mail can wait. */
#define NICENESS 10

/* A delivery that was taken and whose outcome Postgres does not have yet. */
struct slot {
    struct ns_delivery delivery;  /* delivery_id 0: free */
    struct ns_transfer *transfer; /* NULL: it ended, result holds */
    struct ns_delivery_result result;
};

struct notifier {
    char url[URL_BYTES];
    struct ns_link link;
    CURLM *multi;
    struct slot slot[NS_DELIVERIES_MAX];
    struct ns_notifier_figures figures, told;
    int64_t link_at_ns, link_pause_ns; /* the next attempt to connect */
    bool link_failed;                  /* what last_error says */
    int64_t look_at_ns;
    int64_t tell_at_ns;
};

static void
keep_error(struct notifier *notifier, const char *text)
{
    ns_text_copy(ns_text_of(text), notifier->figures.last_error,
                 sizeof notifier->figures.last_error);
}

/* --- Postgres ----------------------------------------------------------------------------------
 */

static void
lose_link(struct notifier *notifier, int64_t now_ns)
{
    keep_error(notifier, notifier->link.error);
    notifier->link_failed = true;
    ns_link_close(&notifier->link);
    notifier->link_at_ns = now_ns + notifier->link_pause_ns;
    notifier->link_pause_ns *= 2;
    if (notifier->link_pause_ns > LINK_PAUSE_NS_MAX) {
        notifier->link_pause_ns = LINK_PAUSE_NS_MAX;
    }
}

/* The schema may not be there yet: the store makes it. */
static bool
has_schema(struct ns_link *link)
{
    PGresult *found = ns_link_query(
        link, "select 1 where to_regclass('nullspend.deliveries') is not null", 0, NULL);
    bool has = found != NULL && PQntuples(found) == 1;
    PQclear(found);
    if (!has && link->error[0] == '\0') {
        snprintf(link->error, sizeof link->error, "the schema is not there yet");
    }
    return has;
}

static void
open_link(struct notifier *notifier, int64_t now_ns)
{
    struct ns_link *link = &notifier->link;
    link->error[0] = '\0';
    if (ns_link_open(link, notifier->url, "nullspendd notifier") < 0 ||
        ns_link_run(link, "set timezone = 'UTC'; listen nullspend_events") < 0 ||
        !has_schema(link)) {
        lose_link(notifier, now_ns);
        return;
    }
    notifier->look_at_ns = 0;
}

/* Takes in what Postgres says by itself. */
static void
hear(struct notifier *notifier, int64_t now_ns)
{
    if (ns_link_wait(&notifier->link, -1, 0) == -EIO) {
        lose_link(notifier, now_ns);
        return;
    }
    for (PGnotify *news; (news = PQnotifies(notifier->link.connection)) != NULL;) {
        notifier->look_at_ns = 0;
        PQfreemem(news);
    }
}

/* --- deliveries --------------------------------------------------------------------------------
 */

static void
begin(struct notifier *notifier, struct slot *slot)
{
    slot->transfer = ns_transfer_start(notifier->multi, &slot->delivery, &slot->result);
}

/* An attempt ended: counted and said once, whatever Postgres does. */
static void
count_end(struct notifier *notifier, const struct slot *slot)
{
    const struct ns_delivery *delivery = &slot->delivery;
    const struct ns_delivery_result *result = &slot->result;
    if (result->fate == NS_FATE_SENT) {
        notifier->figures.sent++;
        return;
    }
    notifier->figures.failed++;
    notifier->link_failed = false;
    char text[512];
    snprintf(text, sizeof text, "%s: %s", delivery->endpoint, result->error);
    keep_error(notifier, text);
    if (result->fate == NS_FATE_DEAD) {
        ns_log("event %s for endpoint %s is given up after %d attempts: %s", delivery->event_id,
               delivery->endpoint, delivery->attempts, result->error);
    }
}

static struct slot *
slot_of(struct notifier *notifier, const struct ns_transfer *transfer)
{
    for (int i = 0; i < NS_DELIVERIES_MAX; i++) {
        if (notifier->slot[i].transfer == transfer) {
            return &notifier->slot[i];
        }
    }
    return NULL;
}

static void
take_ends(struct notifier *notifier)
{
    int running, left;
    curl_multi_perform(notifier->multi, &running);
    for (CURLMsg *message; (message = curl_multi_info_read(notifier->multi, &left)) != NULL;) {
        struct ns_transfer *transfer = ns_transfer_of(message->easy_handle);
        struct slot *slot = slot_of(notifier, transfer);
        if (message->msg == CURLMSG_DONE && slot != NULL) {
            ns_transfer_end(notifier->multi, transfer, message->data.result, &slot->result);
            slot->transfer = NULL;
            count_end(notifier, slot);
        }
    }
}

/* Writes outcomes that Postgres does not have. Returns 0 or -EIO. */
static int
settle(struct notifier *notifier)
{
    for (int i = 0; i < NS_DELIVERIES_MAX; i++) {
        struct slot *slot = &notifier->slot[i];
        if (slot->delivery.delivery_id == 0 || slot->transfer != NULL) {
            continue;
        }
        if (ns_delivery_settle(&notifier->link, &slot->delivery, &slot->result) < 0) {
            return -EIO;
        }
        ns_delivery_free(&slot->delivery);
        notifier->look_at_ns = 0; /* its endpoint may have more */
    }
    return 0;
}

/* The endpoints of what is under way, as an array of Postgres. Returns how many slots are free. */
static int
list_busy(const struct notifier *notifier, char *busy, size_t room)
{
    int free_slots = 0;
    size_t at = (size_t)snprintf(busy, room, "{");
    for (int i = 0; i < NS_DELIVERIES_MAX; i++) {
        const struct ns_delivery *delivery = &notifier->slot[i].delivery;
        if (delivery->delivery_id == 0) {
            free_slots++;
        } else {
            at += (size_t)snprintf(busy + at, room - at, "%s%lld", at > 1 ? "," : "",
                                   (long long)delivery->endpoint_id);
        }
    }
    snprintf(busy + at, room - at, "}");
    return free_slots;
}

/* Takes what is due into free slots, and begins it. Returns 0 or -EIO. */
static int
take(struct notifier *notifier, int64_t now_ns)
{
    char busy[NS_DELIVERIES_MAX * 21 + 3];
    struct ns_delivery deliveries[NS_DELIVERIES_MAX];
    int room = list_busy(notifier, busy, sizeof busy);
    int taken = room == 0 ? 0 : ns_deliveries_take(&notifier->link, busy, deliveries, room);
    bool ended = false;
    for (int i = 0, at = 0; i < taken; at++) {
        struct slot *slot = &notifier->slot[at];
        if (slot->delivery.delivery_id == 0) {
            *slot = (struct slot){.delivery = deliveries[i++]};
            begin(notifier, slot);
            if (slot->transfer == NULL) {
                count_end(notifier, slot);
                ended = true;
            }
        }
    }
    if (taken < 0 || ns_deliveries_count(&notifier->link, &notifier->figures) < 0) {
        return -EIO;
    }
    if (notifier->link_failed || (notifier->figures.pending == 0 && notifier->figures.dead == 0)) {
        notifier->figures.last_error[0] = '\0';
    }
    notifier->link_failed = false;
    notifier->link_pause_ns = LINK_PAUSE_NS_MIN;
    notifier->look_at_ns = ended                           ? 0
                           : notifier->figures.pending > 0 ? now_ns + LOOK_NS
                                                           : now_ns + LOOK_IDLE_NS;
    return 0;
}

/* --- the loop ----------------------------------------------------------------------------------
 */

static void
tell(struct notifier *notifier, int64_t now_ns)
{
    if (now_ns < notifier->tell_at_ns ||
        memcmp(&notifier->figures, &notifier->told, sizeof notifier->told) == 0) {
        return;
    }
    notifier->tell_at_ns = now_ns + SECOND_NS / 4;
    /* A collector that does not read takes the next ones. */
    if (send(COLLECTOR_FD, &notifier->figures, sizeof notifier->figures,
             MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)sizeof notifier->figures) {
        memcpy(&notifier->told, &notifier->figures, sizeof notifier->told);
    }
}

static void
turn(struct notifier *notifier, int64_t now_ns)
{
    take_ends(notifier);
    if (!ns_link_is_up(&notifier->link)) {
        if (now_ns >= notifier->link_at_ns) {
            open_link(notifier, now_ns);
        }
    } else {
        hear(notifier, now_ns);
    }
    if (ns_link_is_up(&notifier->link) &&
        (settle(notifier) < 0 || (now_ns >= notifier->look_at_ns && take(notifier, now_ns) < 0))) {
        lose_link(notifier, now_ns);
    }
    tell(notifier, now_ns);
}

/* Waits for whatever comes first. Returns false when the collector is gone. */
static bool
wait_for_news(struct notifier *notifier)
{
    struct curl_waitfd fds[2] = {{.fd = COLLECTOR_FD, .events = CURL_WAIT_POLLIN}};
    unsigned count = 1;
    int64_t now_ns = ns_monotonic_ns();
    int64_t until_ns = notifier->look_at_ns;
    if (ns_link_is_up(&notifier->link)) {
        fds[count++] = (struct curl_waitfd){.fd = PQsocket(notifier->link.connection),
                                            .events = CURL_WAIT_POLLIN};
    } else {
        until_ns = notifier->link_at_ns;
    }
    if (until_ns > now_ns + SECOND_NS &&
        memcmp(&notifier->figures, &notifier->told, sizeof notifier->told) != 0) {
        until_ns = now_ns + SECOND_NS;
    }
    int64_t ms = until_ns <= now_ns ? 0 : (until_ns - now_ns) / 1000000 + 1;
    curl_multi_poll(notifier->multi, fds, count, (int)(ms < 30000 ? ms : 30000), NULL);
    struct pollfd collector = {COLLECTOR_FD, POLLIN, 0};
    return poll(&collector, 1, 0) == 0; /* it says nothing but its end */
}

/* The collector's first and only word. Returns 0 or a negative errno. */
static int
read_url(struct notifier *notifier)
{
    ssize_t bytes = recv(COLLECTOR_FD, notifier->url, sizeof notifier->url - 1, 0);
    if (bytes <= 0) {
        return bytes == 0 ? -EPIPE : -errno;
    }
    notifier->url[bytes] = '\0';
    return 0;
}

static void
finish(struct notifier *notifier)
{
    for (int i = 0; i < NS_DELIVERIES_MAX; i++) {
        struct slot *slot = &notifier->slot[i];
        if (slot->transfer != NULL) {
            ns_transfer_end(notifier->multi, slot->transfer, CURLE_OK, NULL);
        }
        ns_delivery_free(&slot->delivery);
    }
    ns_link_close(&notifier->link);
    curl_multi_cleanup(notifier->multi);
    curl_global_cleanup();
}

int
ns_notifier_main(void)
{
    static struct notifier notifier = {.link_pause_ns = LINK_PAUSE_NS_MIN,
                                       .link.abandon_fd = COLLECTOR_FD};
    /* Who ends the collector's group of processes ends this one by it, outcomes written. */
    const int ignored[] = {SIGPIPE, SIGINT, SIGTERM, SIGHUP};
    for (size_t i = 0; i < sizeof ignored / sizeof ignored[0]; i++) {
        signal(ignored[i], SIG_IGN);
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* it may also be gone by now: then its socket says so */
    int error = read_url(&notifier);
    if (error != 0) {
        fputs("nullspendd: " NS_NOTIFIER_ARGUMENT " is for the collector's own use\n", stderr);
        return 2;
    }
    setpriority(PRIO_PROCESS, 0, NICENESS);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    notifier.multi = curl_multi_init();
    if (notifier.multi == NULL) {
        ns_log("the notifier: no memory");
        return 1;
    }
    do {
        turn(&notifier, ns_monotonic_ns());
    } while (wait_for_news(&notifier));
    finish(&notifier);
    return 0;
}
