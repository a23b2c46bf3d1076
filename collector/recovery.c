/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/recovery.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STATE_MAGIC UINT32_C(0x5453534e) /* "NSST" */
#define STATE_VERSION 2
#define STATE_VERSION_WITHOUT_MANDATES 1

int
ns_state_new(struct ns_state *state)
{
    *state =
        (struct ns_state){ns_ledger_new(), ns_calls_new(), ns_history_new(), ns_mandates_new(), 0};
    if (state->ledger == NULL || state->calls == NULL || state->history == NULL ||
        state->mandates == NULL) {
        ns_state_free(state);
        return -ENOMEM;
    }
    return 0;
}

void
ns_state_free(struct ns_state *state)
{
    ns_ledger_free(state->ledger);
    ns_calls_free(state->calls);
    ns_history_free(state->history);
    ns_mandates_free(state->mandates);
    *state = (struct ns_state){0};
}

int
ns_state_apply(struct ns_state *state, const struct ns_record *record,
               struct ns_ledger_effect *effect)
{
    if (record->event.kind == 0) {
        *effect = (struct ns_ledger_effect){.result = NS_LEDGER_DONE};
        return 0;
    }
    int error = ns_ledger_apply(state->ledger, &record->event, record->at_ns, effect);
    if (error != 0 || record->event.kind != NS_LEDGER_OWNER_GONE) {
        return error;
    }
    for (size_t i = 0; i < effect->lost_count; i++) {
        struct ns_open_call *call = ns_calls_find(state->calls, &effect->lost[i].call_id);
        if (call != NULL) {
            call->charged_nanousd = effect->lost[i].charged_nanousd;
        }
    }
    return 0;
}

/* --- what a record does to the tables ----------------------------------------------------------
 */

struct noted {
    struct ns_state *state;
    const struct ns_record *record;
    const struct ns_message *message;
    const void *payload;
    size_t payload_bytes;
};

static int
note_check(const struct noted *noted)
{
    if (noted->record->outcome.result != NS_LEDGER_DONE) {
        return 0; /* denied: nothing is open */
    }
    return ns_calls_open(noted->state->calls, &noted->message->as.check.call_id,
                         noted->record->outcome.hold_nanousd, noted->payload, noted->payload_bytes);
}

static int
note_progress(const struct noted *noted)
{
    struct ns_open_call *call =
        ns_calls_find(noted->state->calls, &noted->message->as.progress.call_id);
    if (call == NULL) {
        return 0;
    }
    if (noted->record->event.kind == NS_LEDGER_TOP_UP) {
        call->hold_nanousd = noted->record->outcome.hold_nanousd;
    }
    return ns_calls_progress(noted->state->calls, call, noted->payload, noted->payload_bytes);
}

static int
note_report(const struct noted *noted)
{
    const struct ns_report *report = &noted->message->as.report;
    ns_calls_close(noted->state->calls, &report->call_id);
    uint64_t output_tokens = ns_usage_output_tokens(&report->usage);
    if (report->outcome == NS_OUTCOME_OK && report->evidence == NS_EVIDENCE_REPORTED &&
        output_tokens > 0) {
        ns_history_add(noted->state->history, report->provider, report->requested_model,
                       report->operation, output_tokens, noted->state->sequence);
    }
    return 0;
}

static int
note_release(const struct noted *noted)
{
    ns_calls_close(noted->state->calls, &noted->message->as.release.call_id);
    return 0;
}

static int
note_lost(const struct noted *noted)
{
    ns_calls_close(noted->state->calls, &noted->message->as.check.call_id);
    return 0;
}

/* What cannot be put was not put then: only what was is written. */
static int
note_mandate(const struct noted *noted)
{
    const struct ns_record *record = noted->record;
    return record->message == NULL
               ? -EBADMSG
               : ns_mandates_put(noted->state->mandates, record->message, record->message_bytes);
}

static int
note_unmandate(const struct noted *noted)
{
    struct ns_bytes id = {noted->record->message, noted->record->message_bytes, false};
    if (noted->record->message == NULL || noted->record->message_bytes != 8) {
        return -EBADMSG;
    }
    ns_mandates_remove(noted->state->mandates, (int64_t)ns_bytes_u64(&id));
    return 0;
}

static const struct {
    enum ns_message_kind message; /* what the record carries; NONE: no message of the protocol */
    int (*note)(const struct noted *noted);
} notes[] = {
    [NS_RECORD_CHECK] = {NS_MESSAGE_CHECK, note_check},
    [NS_RECORD_PROGRESS] = {NS_MESSAGE_PROGRESS, note_progress},
    [NS_RECORD_REPORT] = {NS_MESSAGE_REPORT, note_report},
    [NS_RECORD_RELEASE] = {NS_MESSAGE_RELEASE, note_release},
    [NS_RECORD_LOST] = {NS_MESSAGE_CHECK, note_lost},
    [NS_RECORD_TICK] = {NS_MESSAGE_NONE, NULL},
    [NS_RECORD_MANDATE] = {NS_MESSAGE_NONE, note_mandate},
    [NS_RECORD_UNMANDATE] = {NS_MESSAGE_NONE, note_unmandate},
};

int
ns_state_note(struct ns_state *state, const struct ns_record *record,
              const struct ns_message *message, uint64_t sequence, const void *payload,
              size_t payload_bytes)
{
    state->sequence = sequence;
    if ((size_t)record->type >= sizeof notes / sizeof notes[0] ||
        notes[record->type].note == NULL) {
        return 0;
    }
    enum ns_message_kind kind = notes[record->type].message;
    struct ns_message decoded;
    if (message == NULL && kind != NS_MESSAGE_NONE) {
        const char *why;
        if (record->message == NULL ||
            ns_message_decode(record->message, record->message_bytes, &decoded, &why) != 0) {
            return -EBADMSG;
        }
        message = &decoded;
    }
    if (kind != NS_MESSAGE_NONE && message->kind != kind) {
        return -EBADMSG;
    }
    struct noted noted = {state, record, message, payload, payload_bytes};
    return notes[record->type].note(&noted);
}

/* --- snapshots -------------------------------------------------------------------------------- */

int
ns_state_save(const struct ns_state *state, uint8_t **bytes, size_t *count)
{
    uint8_t *ledger = NULL;
    size_t ledger_bytes = 0;
    int error = ns_ledger_save(state->ledger, &ledger, &ledger_bytes);
    if (error != 0) {
        return error;
    }
    struct ns_buffer buffer = {0};
    ns_buffer_add_u32(&buffer, STATE_MAGIC);
    ns_buffer_add_u32(&buffer, STATE_VERSION);
    ns_buffer_add_u64(&buffer, state->sequence);
    error = ns_calls_save(state->calls, &buffer);
    ns_history_save(state->history, &buffer);
    ns_mandates_save(state->mandates, &buffer);
    ns_buffer_add_u64(&buffer, ledger_bytes);
    ns_buffer_add(&buffer, ledger, ledger_bytes);
    free(ledger);
    if (error != 0 || buffer.failed) {
        ns_buffer_free(&buffer);
        return -ENOMEM;
    }
    *bytes = buffer.bytes;
    *count = buffer.count;
    return 0;
}

int
ns_state_load(const uint8_t *bytes, size_t count, struct ns_state *state)
{
    struct ns_bytes in = {bytes, count, false};
    *state = (struct ns_state){0};
    bool ours = ns_bytes_u32(&in) == STATE_MAGIC;
    uint32_t version = ns_bytes_u32(&in);
    bool known = ours && version >= STATE_VERSION_WITHOUT_MANDATES && version <= STATE_VERSION;
    state->sequence = ns_bytes_u64(&in);
    int error = known ? ns_calls_load(&in, &state->calls) : -EBADMSG;
    if (error == 0) {
        error = ns_history_load(&in, &state->history);
    }
    if (error == 0 && version == STATE_VERSION_WITHOUT_MANDATES) {
        state->mandates = ns_mandates_new();
        error = state->mandates == NULL ? -ENOMEM : 0;
    } else if (error == 0) {
        error = ns_mandates_load(&in, &state->mandates);
    }
    if (error == 0) {
        uint64_t ledger_bytes = ns_bytes_u64(&in);
        const uint8_t *ledger = ns_bytes_take(&in, ledger_bytes);
        error = ledger == NULL || in.left != 0
                    ? -EBADMSG
                    : ns_ledger_load(ledger, ledger_bytes, &state->ledger);
    }
    if (error != 0) {
        ns_state_free(state);
    }
    return error;
}

/* --- replay ----------------------------------------------------------------------------------- */

/* What the ledger says now must be what it said then. Returns what differs, or NULL. */
static const char *
compare(const struct ns_record *record, const struct ns_ledger_effect *effect)
{
    const struct ns_record_outcome *then = &record->outcome;
    if (record->event.kind == 0) {
        return NULL;
    }
    if (then->result != (uint8_t)effect->result) {
        return "result";
    }
    if ((record->type == NS_RECORD_CHECK || record->event.kind == NS_LEDGER_TOP_UP) &&
        then->hold_nanousd != effect->hold_nanousd) {
        return "hold";
    }
    /* A mandate's shadow would have denied, too: the ledger knows nothing of that. */
    if (record->type == NS_RECORD_CHECK && then->would_deny != effect->would_deny &&
        !(then->would_deny && then->rule.bytes > 0)) {
        return "verdict";
    }
    if ((record->type == NS_RECORD_REPORT || record->type == NS_RECORD_RELEASE) &&
        then->corrected != effect->corrected) {
        return "correction";
    }
    return NULL;
}

static int
replay_record(struct ns_state *state, const struct ns_journal_record *read,
              struct ns_ledger_event_room *room, char error[static NS_RECOVERY_ERROR_BYTES])
{
    struct ns_record record = {0};
    struct ns_ledger_effect effect;
    const char *what = "it cannot be read";
    int result = ns_record_decode(read->payload, read->payload_bytes, &record, room);
    record.sequence = read->sequence;
    record.at_ns = read->at_ns;
    record.type = (enum ns_record_type)read->type;
    if (result == 0) {
        what = "the ledger refuses it";
        result = ns_state_apply(state, &record, &effect);
    }
    if (result == 0 && compare(&record, &effect) != NULL) {
        what = compare(&record, &effect);
        result = -EBADMSG;
    }
    if (result == 0) {
        what = "its message cannot be read";
        result =
            ns_state_note(state, &record, NULL, read->sequence, read->payload, read->payload_bytes);
    }
    if (result != 0) {
        snprintf(error, NS_RECOVERY_ERROR_BYTES,
                 "journal record %llu does not replay (%s: %s); keep the state directory and start "
                 "with another, or restore a backup",
                 (unsigned long long)read->sequence, what, strerror(-result));
    }
    return result;
}

static int
load_snapshot(const struct ns_journal *journal, struct ns_state *state,
              char error[static NS_RECOVERY_ERROR_BYTES])
{
    uint8_t *bytes = NULL;
    size_t count = 0;
    uint64_t sequence = 0;
    unsigned damaged = 0;
    int result = ns_journal_snapshot_load(journal, &sequence, &bytes, &count, &damaged);
    if (result == -ENOENT) {
        return ns_state_new(state);
    }
    if (result == 0) {
        result = ns_state_load(bytes, count, state);
        free(bytes);
    }
    if (result != 0) {
        snprintf(error, NS_RECOVERY_ERROR_BYTES, "the snapshot of record %llu cannot be read: %s",
                 (unsigned long long)sequence, strerror(-result));
    } else if (damaged > 0) {
        snprintf(error, NS_RECOVERY_ERROR_BYTES, "%u damaged snapshots were passed over", damaged);
    }
    return result;
}

int
ns_state_recover(const struct ns_journal *journal, const char *directory, struct ns_state *state,
                 uint64_t *replayed, char error[static NS_RECOVERY_ERROR_BYTES])
{
    error[0] = '\0';
    *replayed = 0;
    int result = load_snapshot(journal, state, error);
    if (result != 0) {
        return result;
    }
    uint64_t last = ns_journal_last(journal);
    if (state->sequence >= last) {
        if (state->sequence > last) {
            snprintf(error, NS_RECOVERY_ERROR_BYTES,
                     "the journal ends at record %llu, before its snapshot of record %llu",
                     (unsigned long long)last, (unsigned long long)state->sequence);
            ns_state_free(state);
            return -ENOENT;
        }
        return 0;
    }
    struct ns_journal_reader *reader = NULL;
    struct ns_ledger_event_room *room = malloc(sizeof *room);
    char why[NS_JOURNAL_ERROR_BYTES] = "";
    result = room == NULL ? -ENOMEM
                          : ns_journal_reader_open(directory, state->sequence + 1, &reader, why);
    if (result != 0) {
        snprintf(error, NS_RECOVERY_ERROR_BYTES, "records from %llu on: %s",
                 (unsigned long long)state->sequence + 1, why[0] != '\0' ? why : strerror(-result));
    }
    while (result == 0 && state->sequence < last) {
        struct ns_journal_record read;
        int got = ns_journal_reader_next(reader, last, &read);
        if (got != 1) {
            result = got < 0 ? got : -ENOENT;
            const char *said = ns_journal_reader_error(reader);
            snprintf(error, NS_RECOVERY_ERROR_BYTES,
                     "record %llu of the journal cannot be read: %s",
                     (unsigned long long)state->sequence + 1,
                     said[0] != '\0' ? said : strerror(-result));
            break;
        }
        result = replay_record(state, &read, room, error);
        ++*replayed;
    }
    if (reader != NULL) {
        ns_journal_reader_close(reader);
    }
    free(room);
    if (result != 0) {
        ns_state_free(state);
    }
    return result;
}
