/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/answer.h"

#include <string.h>

#include "wire/text.h"

static const char done_mark[] = "[DONE]";

/* --- the head ------------------------------------------------------------------------------ */

/* Days since 1970-01-01 of a date of the Gregorian calendar (Hinnant, days_from_civil). */
static int64_t
days_of(int64_t year, int64_t month, int64_t day)
{
    year -= month <= 2;
    int64_t era = year / 400;
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year -
           719468;
}

/* "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110, 5.6.7); 0 where it is another form. */
static int64_t
parse_date(struct ns_http1_text text)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    static const struct {
        uint8_t offset, bytes, max;
    } fields[] = {{5, 2, 31}, {12, 4, 0}, {17, 2, 23}, {20, 2, 59}, {23, 2, 60}};
    uint64_t values[5];
    if (text.text == NULL || text.bytes != 29 || memcmp(text.text + 25, " GMT", 4) != 0) {
        return 0;
    }
    for (size_t i = 0; i < 5; i++) {
        uint64_t max = fields[i].max ? fields[i].max : 9999;
        if (ns_wire_text_number(text.text + fields[i].offset, fields[i].bytes, max, &values[i]) !=
            0) {
            return 0;
        }
    }
    for (int64_t month = 0; month < 12; month++) {
        if (memcmp(text.text + 8, months + month * 3, 3) == 0 && values[1] >= 1970) {
            return days_of((int64_t)values[1], month + 1, (int64_t)values[0]) * 86400 +
                   (int64_t)(values[2] * 3600 + values[3] * 60 + values[4]);
        }
    }
    return 0;
}

void
ns_answer_begin(struct ns_answer *answer, const struct ns_http1 *parser,
                const struct ns_family *family, uint8_t quirks, struct ns_wire_call *call)
{
    struct ns_wire_response *response = &call->response;
    struct ns_http1_text coding = ns_http1_find(parser, "content-encoding");
    response->status = ns_http1_status(parser);
    response->error = response->status >= 400;
    response->date_unix_s = parse_date(ns_http1_find(parser, "date"));
    memset(&answer->reading, 0, sizeof(answer->reading));
    answer->reading.call = call;
    answer->reading.quirks = quirks;
    if (family->response_head != NULL && !response->error) {
        family->response_head(&answer->reading, parser);
    }
    answer->family = family;
    answer->framing = NS_ANSWER_UNKNOWN;
    answer->document_complete = false;
    answer->stream_over = false;
    answer->unsettled = true;
    answer->plain = coding.text == NULL || coding.bytes == 0 ||
                    ns_wire_text_is_nocase(coding.text, coding.bytes, "identity");
    ns_sse_init(&answer->sse);
    answer->messages = (struct ns_event_stream){0};
    ns_repeat_spoil(&answer->repeat);
    ns_facts_init(&answer->facts, &family->response);
    if (answer->json == NULL) {
        answer->json = ns_json_new();
    } else {
        ns_json_reset(answer->json);
    }
    if (answer->json == NULL || ns_coding_new(coding.text, coding.bytes, &answer->coding) != 0) {
        answer->coding = NULL;
        answer->framing = NS_ANSWER_UNREADABLE;
        response->unreadable = true;
    }
}

/* --- JSON ---------------------------------------------------------------------------------- */

static void
listen_fact(void *context, int fact, const struct ns_json_input *value)
{
    struct ns_answer *answer = context;
    const struct ns_family *family = answer->family;
    bool text = fact == family->text_fact && value->event == NS_JSON_STRING;
    answer->heard = fact;
    answer->unsettled |= !text;
    if (family->repeats == NULL || (!text && !family->repeats(fact, value))) {
        ns_repeat_spoil(&answer->repeat);
    }
    family->response_fact(&answer->reading, fact, value);
}

/* A string or number that ends before `end`, behind what comes between values from `begin` on: the
 * event may come again with another. */
static void
note_value(struct ns_answer *answer, const struct ns_json_input *input, const uint8_t *begin,
           const uint8_t *end)
{
    bool string = input->event == NS_JSON_STRING;
    if (answer->repeat.reading == NULL || (!string && input->event != NS_JSON_NUMBER)) {
        return;
    }
    bool text = string && answer->heard != 0 && answer->heard == answer->family->text_fact;
    if (answer->heard == 0 || text) {
        while (memchr(" \t\r\n:,", *begin, 6) != NULL) {
            begin++;
        }
        ns_repeat_value(&answer->repeat, begin, end, text);
    }
}

/* Returns false where it is not JSON. */
static bool
read_json(struct ns_answer *answer, const uint8_t *bytes, size_t count)
{
    struct ns_wire_response *response = &answer->reading.call->response;
    for (size_t i = 0;;) {
        struct ns_json_input input;
        const uint8_t *begin = bytes + i;
        i += ns_json_feed(answer->json, begin, count - i, &input);
        answer->heard = 0;
        switch (input.event) {
        case NS_JSON_MORE:
            return true;
        case NS_JSON_ERROR:
            response->unreadable = true;
            return false;
        case NS_JSON_DOCUMENT_END:
            answer->document_complete = true;
            response->events += answer->framing == NS_ANSWER_JSON;
            ns_facts_init(&answer->facts, &answer->family->response);
            break;
        default:
            answer->document_complete = false;
            ns_facts_event(&answer->facts, &input, listen_fact, answer);
            note_value(answer, &input, begin, bytes + i);
            break;
        }
    }
}

/* --- server-sent events -------------------------------------------------------------------- */

static void
feed_event(struct ns_answer *answer, const uint8_t *bytes, size_t count)
{
    if (!answer->event_bad && count > 0) {
        if (answer->event_fed) { /* not all in one piece */
            ns_repeat_spoil(&answer->repeat);
        }
        answer->event_fed = true;
        answer->event_bad = !read_json(answer, bytes, count);
    }
}

/* The data of an event, which is JSON or "[DONE]". */
static void
event_data(struct ns_answer *answer, const uint8_t *bytes, size_t count)
{
    size_t i = 0;
    while (!answer->event_fed && i < count && answer->done_matched < sizeof(done_mark) - 1 &&
           bytes[i] == (uint8_t)done_mark[answer->done_matched]) {
        answer->done_matched++;
        i++;
    }
    if (i == count) {
        return;
    }
    if (!answer->event_fed) { /* it was not that after all */
        feed_event(answer, (const uint8_t *)done_mark, answer->done_matched);
        answer->done_matched = 0;
    }
    feed_event(answer, bytes + i, count - i);
}

static void
event_end(struct ns_answer *answer)
{
    struct ns_wire_response *response = &answer->reading.call->response;
    if (answer->done_matched == sizeof(done_mark) - 1) {
        answer->reading.finished = true;
        answer->reading.last_event = true;
    }
    answer->stream_over = answer->reading.last_event;
    if (answer->event_fed) {
        response->events++;
        response->unreadable |= !answer->document_complete;
    }
    ns_json_reset(answer->json);
    ns_facts_init(&answer->facts, &answer->family->response);
    answer->done_matched = 0;
    answer->event_fed = false;
    answer->event_bad = false;
    answer->document_complete = false;
}

/* Is the next event the last one again but for its text? Then nothing else of it is read. Returns
 * its bytes. */
static size_t
repeated_event(struct ns_answer *answer, const uint8_t *bytes, size_t count)
{
    struct ns_json_input text = {.event = NS_JSON_STRING, .text = "", .cut = true};
    size_t used = ns_repeat_match(&answer->repeat, bytes, count, &text.text_bytes_total);
    if (used > 0) {
        answer->family->response_fact(&answer->reading, answer->family->text_fact, &text);
        answer->reading.call->response.events++;
        answer->stream_over = answer->reading.last_event;
    }
    return used;
}

static void
read_events(struct ns_answer *answer, const uint8_t *bytes, size_t count)
{
    for (size_t i = 0;;) {
        struct ns_sse_input input;
        if (ns_sse_fresh(&answer->sse) && i < count) {
            size_t used = repeated_event(answer, bytes + i, count - i);
            i += used;
            if (used > 0) {
                continue;
            }
            ns_repeat_begin(&answer->repeat, bytes + i);
        }
        i += ns_sse_feed(&answer->sse, bytes + i, count - i, &input);
        if (input.event == NS_SSE_MORE) {
            if (answer->repeat.reading != NULL) { /* the event goes on elsewhere */
                ns_repeat_spoil(&answer->repeat);
            }
            return;
        }
        if (input.event == NS_SSE_DATA) {
            event_data(answer, input.data, input.data_bytes);
        } else {
            if (!answer->event_fed || answer->event_bad || !answer->document_complete) {
                ns_repeat_spoil(&answer->repeat);
            }
            event_end(answer);
            ns_repeat_end(&answer->repeat, bytes + i);
        }
    }
}

/* --- AWS event streams ---------------------------------------------------------------------- */

/* A piece of a message that wraps the model's own document. */
static void
feed_wrapped(struct ns_answer *answer, const uint8_t *payload, size_t count)
{
    uint8_t bytes[NS_EVENT_BYTES_ROOM];
    while (count > 0 && !answer->event_bad) {
        size_t made;
        size_t used =
            ns_event_bytes_feed(&answer->wrapped, payload, count, bytes, sizeof(bytes), &made);
        feed_event(answer, bytes, made);
        answer->event_bad |= answer->wrapped.base64.bad;
        answer->reading.call->response.unreadable |= answer->wrapped.base64.bad;
        payload += used;
        count -= used;
    }
}

/* Bytes up to the next thing that the stream says. Returns how many; *end: a message's end. */
static size_t
read_message(struct ns_answer *answer, const uint8_t *bytes, size_t count, bool *end)
{
    struct ns_event_stream *stream = &answer->messages;
    struct ns_event_stream_input input;
    size_t used = ns_event_stream_feed(stream, bytes, count, &input);
    *end = input.event == NS_EVENT_STREAM_END;
    switch (input.event) {
    case NS_EVENT_STREAM_BEGIN:
        answer->wrapped = (struct ns_event_bytes){0};
        answer->reading.call->response.error |= stream->exception;
        answer->reading.last_event |= stream->exception;
        break;
    case NS_EVENT_STREAM_PAYLOAD:
        if (strcmp(stream->type, "chunk") == 0) {
            feed_wrapped(answer, input.payload, input.payload_bytes);
        } else {
            feed_event(answer, input.payload, input.payload_bytes);
        }
        break;
    case NS_EVENT_STREAM_END:
        event_end(answer);
        break;
    case NS_EVENT_STREAM_ERROR:
        answer->reading.call->response.unreadable = true;
        answer->framing = NS_ANSWER_UNREADABLE;
        return count;
    case NS_EVENT_STREAM_MORE:
        break;
    }
    return used;
}

static void
read_messages(struct ns_answer *answer, const uint8_t *bytes, size_t count)
{
    bool end;
    for (size_t i = 0; i < count;) {
        i += read_message(answer, bytes + i, count - i, &end);
    }
}

/* --- the body ------------------------------------------------------------------------------ */

/* The first byte tells more than Content-Type: errors come as application/octet-stream, and JSON
 * comes where a stream was asked for. */
static size_t
find_framing(struct ns_answer *answer, const uint8_t *bytes, size_t count)
{
    size_t i = 0;
    while (i < count && memchr(" \t\r\n", bytes[i], 4) != NULL) {
        i++;
    }
    if (i < count) {
        bool json = bytes[i] == '{' || bytes[i] == '[';
        bool messages = bytes[i] < 2; /* of a length below 32 MiB */
        answer->framing = json ? NS_ANSWER_JSON : messages ? NS_ANSWER_MESSAGES : NS_ANSWER_EVENTS;
        answer->event_fed = false;
        answer->event_bad = false;
        answer->done_matched = 0;
    }
    return i;
}

static void
read_decoded(struct ns_answer *answer, const uint8_t *bytes, size_t count)
{
    answer->reading.call->response.body_bytes += count;
    if (answer->framing == NS_ANSWER_UNKNOWN) {
        size_t blank = find_framing(answer, bytes, count);
        bytes += blank;
        count -= blank;
    }
    if (answer->framing == NS_ANSWER_JSON && !read_json(answer, bytes, count)) {
        answer->framing = NS_ANSWER_UNREADABLE;
    } else if (answer->framing == NS_ANSWER_EVENTS) {
        read_events(answer, bytes, count);
    } else if (answer->framing == NS_ANSWER_MESSAGES) {
        read_messages(answer, bytes, count);
    }
}

void
ns_answer_body(struct ns_answer *answer, const uint8_t *bytes, size_t count)
{
    if (answer->plain && answer->coding != NULL) { /* most streams: nothing to decode */
        if (count > 0) {
            read_decoded(answer, bytes, count);
        }
        return;
    }
    for (size_t i = 0; answer->coding != NULL;) {
        size_t consumed;
        const uint8_t *output;
        size_t output_bytes;
        enum ns_coding_status status =
            ns_coding_feed(answer->coding, bytes + i, count - i, &consumed, &output, &output_bytes);
        i += consumed;
        if (status == NS_CODING_OUTPUT) {
            read_decoded(answer, output, output_bytes);
            continue;
        }
        if (status != NS_CODING_END && status != NS_CODING_MORE) {
            answer->reading.call->response.unreadable = true;
            ns_coding_free(answer->coding);
            answer->coding = NULL;
        }
        return;
    }
}

/* Has all been generated? Then cutting saves nothing. */
static bool
is_generated(const struct ns_answer *answer)
{
    return answer->stream_over ||
           (answer->reading.finished && answer->reading.call->request.choices <= 1);
}

/* Is a body being read as it stands, without content coding? */
static bool
is_plain(const struct ns_answer *answer)
{
    return answer->family != NULL && answer->plain && answer->coding != NULL;
}

/* --- one event at a time ------------------------------------------------------------------- */

static size_t
read_event(struct ns_answer *answer, const uint8_t *bytes, size_t count, bool *boundary)
{
    size_t i = 0;
    ns_repeat_spoil(&answer->repeat);
    while (i < count && !*boundary) {
        struct ns_sse_input input;
        i += ns_sse_feed(&answer->sse, bytes + i, count - i, &input);
        if (input.event == NS_SSE_DATA) {
            event_data(answer, input.data, input.data_bytes);
        } else if (input.event == NS_SSE_END) {
            event_end(answer);
            *boundary = true;
        }
    }
    if (*boundary && bytes[i - 1] == '\r' && i < count && bytes[i] == '\n') {
        struct ns_sse_input input; /* of the same line end */
        i += ns_sse_feed(&answer->sse, bytes + i, 1, &input);
    }
    return i;
}

/* An element of the array that a stream is: an object within it. */
static size_t
read_element(struct ns_answer *answer, const uint8_t *bytes, size_t count, bool *boundary)
{
    size_t i = 0;
    while (i < count && !*boundary) {
        struct ns_json_input input;
        i += ns_json_feed(answer->json, bytes + i, count - i, &input);
        if (input.event == NS_JSON_MORE) {
            break;
        }
        if (input.event == NS_JSON_ERROR) {
            answer->reading.call->response.unreadable = true;
            answer->framing = NS_ANSWER_UNREADABLE;
            return count;
        }
        if (input.event == NS_JSON_DOCUMENT_END) {
            answer->document_complete = true;
            answer->reading.call->response.events++;
            ns_facts_init(&answer->facts, &answer->family->response);
            continue;
        }
        answer->document_complete = false;
        ns_facts_event(&answer->facts, &input, listen_fact, answer);
        *boundary = input.event == NS_JSON_OBJECT_END && input.depth == 2;
    }
    return i;
}

size_t
ns_answer_event(struct ns_answer *answer, const uint8_t *bytes, size_t count, bool *boundary)
{
    bool now;
    *boundary = false;
    if (answer->framing == NS_ANSWER_UNKNOWN && ns_answer_may_cut(answer, &now)) {
        size_t blank = find_framing(answer, bytes, count);
        answer->reading.call->response.body_bytes += blank;
        if (blank > 0) {
            return blank;
        }
    }
    if (!ns_answer_may_cut(answer, &now)) {
        ns_answer_body(answer, bytes, count);
        return count;
    }
    size_t used = 0;
    if (answer->framing == NS_ANSWER_EVENTS) {
        used = read_event(answer, bytes, count, boundary);
    } else if (answer->framing == NS_ANSWER_MESSAGES) {
        used = read_message(answer, bytes, count, boundary);
    } else {
        used = read_element(answer, bytes, count, boundary);
    }
    answer->reading.call->response.body_bytes += used;
    *boundary &= !is_generated(answer);
    return used;
}

bool
ns_answer_may_cut(const struct ns_answer *answer, bool *now)
{
    *now = false;
    if (!is_plain(answer)) {
        return false;
    }
    switch (answer->framing) {
    case NS_ANSWER_EVENTS:
        *now = ns_sse_fresh(&answer->sse) && !is_generated(answer);
        return true;
    case NS_ANSWER_MESSAGES:
        *now = ns_event_stream_between(&answer->messages) && !is_generated(answer);
        return true;
    case NS_ANSWER_JSON:
        return answer->reading.call->request.array;
    default:
        return answer->framing == NS_ANSWER_UNKNOWN;
    }
}

bool
ns_answer_repeats(const struct ns_answer *answer)
{
    return is_plain(answer) && answer->framing == NS_ANSWER_EVENTS && !answer->stream_over &&
           ns_sse_fresh(&answer->sse) && ns_repeat_is_known(&answer->repeat);
}

const struct ns_wire_call *
ns_answer_current(struct ns_answer *answer)
{
    struct ns_reading *reading = &answer->reading;
    if (answer->family == NULL) {
        return NULL;
    }
    /* Parts are settled when they are all there. */
    if (answer->unsettled && reading->call->part_count == 0) {
        answer->unsettled = false;
        answer->family->settle(reading);
    }
    return reading->call;
}

/* --- the end ------------------------------------------------------------------------------- */

/* Has the family seen the end of its message? */
static bool
message_complete(const struct ns_answer *answer)
{
    const struct ns_wire_response *response = &answer->reading.call->response;
    switch (answer->framing) {
    case NS_ANSWER_JSON:
        return answer->document_complete && !answer->reading.goes_on;
    case NS_ANSWER_EVENTS:
    case NS_ANSWER_MESSAGES:
        /* An error ends a stream too, but usage that came before it is not final. */
        return answer->reading.finished || response->events == 0 ||
               (response->error && !response->has_usage);
    default: /* nothing at all is complete where it is an error or no content */
        return response->body_bytes == 0 && !response->unreadable;
    }
}

void
ns_answer_end(struct ns_answer *answer, bool complete)
{
    if (answer->family == NULL) {
        return;
    }
    struct ns_wire_response *response = &answer->reading.call->response;
    /* Clients leave a stream at its last event; the chunk that ends it as HTTP is nobody's then. */
    complete |= answer->stream_over;
    if (answer->framing == NS_ANSWER_EVENTS && (answer->event_fed || answer->done_matched > 0)) {
        event_end(answer); /* the last event's blank line may be missing */
    }
    answer->family->settle(&answer->reading);
    response->complete = complete && message_complete(answer);
    ns_coding_free(answer->coding);
    answer->coding = NULL;
    answer->family = NULL;
}

void
ns_answer_free(struct ns_answer *answer)
{
    ns_coding_free(answer->coding);
    ns_json_free(answer->json);
}
