/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store alone, for tests: writes journals of made-up records, and follows one into Postgres,
 * told what to do on stdin. The records of a journal depend on their numbers alone.
 *
 *     follow write DIRECTORY FROM COUNT   appends the records of calls FROM … FROM+COUNT-1
 *     follow run URL DIRECTORY            reads lines: durable N · enforced N · stop MS ·
 *                                         counter BUDGET ENTITY PERIOD SPENT HELD · state
 *                                         says lines: position N · budgets REVISION E=LIMIT… ·
 *                                         connected · away · state …
 *     follow entity TEXT                  exit status 0 where a budget can be on it
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <time.h>
#include <unistd.h>

#include "collector/store.h"
#include "tests/records.h"

static int64_t
now_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* --- write ---------------------------------------------------------------------------------- */

static int
append(struct ns_journal *journal, const struct made *made, size_t bytes)
{
    struct iovec part = {(void *)(uintptr_t)made->payload, bytes};
    int64_t at =
        ns_journal_append(journal, (uint8_t)made->record.type, made->record.at_ns, &part, 1);
    return at < 0 ? (int)at : 0;
}

/*
 * What call n leaves, told apart by n mod 20: 0 denied; 1 would have been denied, and a report;
 * 2 lost; 3 lost, then reported after all; 4 reported twice, the second time as a duplicate; 5
 * lost, then released after all; else reported. A call starts n seconds before 2026-11-20, so that
 * days are many.
 */
static int
append_call(struct ns_journal *journal, struct made *made, uint64_t n)
{
    int64_t at_ns = INT64_C(1795132800000000000) - (int64_t)n * 1000000000;
    size_t bytes;
    int result = 0;
    unsigned kind = (unsigned)(n % 20);
    if (kind <= 1) {
        bytes = made_denial(made, n, at_ns, kind == 1);
        result = append(journal, made, bytes);
    }
    if (result == 0 && (kind == 2 || kind == 3 || kind == 5)) {
        bytes = made_lost(made, n, at_ns);
        result = append(journal, made, bytes);
    }
    if (result == 0 && kind == 5) {
        bytes = made_release(made, n, at_ns);
        result = append(journal, made, bytes);
    }
    if (result == 0 && kind != 0 && kind != 2 && kind != 5) {
        made_report(made, n, at_ns);
        made->record.outcome.corrected = kind == 3;
        bytes = made_encode(made);
        result = append(journal, made, bytes);
    }
    if (result == 0 && kind == 4) {
        made->record.outcome.result = NS_LEDGER_DUPLICATE;
        made->record.outcome.cost_nanousd = 0;
        bytes = made_encode(made);
        result = append(journal, made, bytes);
    }
    return result;
}

static int
write_records(const char *directory, uint64_t from, uint64_t count)
{
    struct ns_journal *journal;
    char error[NS_JOURNAL_ERROR_BYTES];
    struct made *made = malloc(sizeof *made);
    int result = ns_journal_open(directory, &journal, error);
    if (result < 0 || made == NULL) {
        fprintf(stderr, "follow: %s\n", error);
        free(made);
        return 1;
    }
    for (uint64_t n = from; n < from + count && result == 0; n++) {
        result = append_call(journal, made, n);
    }
    if (result == 0) {
        result = ns_journal_write(journal);
    }
    if (result == 0) {
        ns_journal_sync(journal);
    }
    printf("%" PRIu64 "\n", ns_journal_last(journal));
    ns_journal_close(journal);
    free(made);
    return result == 0 ? 0 : 1;
}

/* --- run ------------------------------------------------------------------------------------ */

static void
say_state(struct ns_store *store)
{
    struct ns_store_state state;
    ns_store_state(store, &state);
    printf("state connected=%d position=%" PRIu64 " lagging=%d rows=%" PRIu64 " errors=%d "
           "counters=%d error=%s\n",
           state.connected, state.position, state.lag_ns > 0, state.rows, state.errors > 0,
           ns_store_counters_written(store), state.last_error);
}

static void
say_events(struct ns_store *store)
{
    static uint64_t position;
    static bool connected;
    struct ns_store_state state;
    ns_store_drain(store);
    ns_store_state(store, &state);
    if (state.connected != connected) {
        connected = state.connected;
        printf(connected ? "connected\n" : "away\n");
    }
    if (state.position != position) {
        position = state.position;
        printf("position %" PRIu64 "\n", position);
    }
    struct ns_store_settings *settings = ns_store_take_settings(store);
    if (settings != NULL) {
        printf("budgets %" PRId64, settings->revision);
        for (size_t i = 0; i < settings->count; i++) {
            const struct ns_budget *b = &settings->budget[i];
            printf(" %s/%s/%s/%s/%s/%u=%" PRId64, b->entity, ns_period_name(b->period),
                   ns_policy_name(b->policy), ns_reserve_name(b->reserve),
                   ns_unreachable_name(b->on_unreachable), b->deny_status, b->limit_nanousd);
        }
        printf("\n");
        ns_store_settings_free(settings);
    }
}

static void
take_counter(struct ns_store *store, const char *line)
{
    struct ns_ledger_numbers numbers = {0};
    char period[16];
    if (sscanf(line, "counter %" SCNd64 " %340s %15s %" SCNd64 " %" SCNd64, &numbers.budget_id,
               numbers.entity, period, &numbers.spent_nanousd, &numbers.held_nanousd) != 5) {
        printf("what? %s", line);
        return;
    }
    numbers.period = (uint8_t)ns_period_find(period, strlen(period));
    ns_period_bounds((enum ns_period)numbers.period, now_ns(CLOCK_REALTIME),
                     &numbers.period_start_ns, &numbers.period_end_ns);
    ns_store_counters(store, &numbers, 1);
}

/* One line of stdin. Returns 1 after `stop`. */
static int
obey(struct ns_store *store, const char *line)
{
    int64_t number = 0;
    const char *space = strchr(line, ' ');
    if (space != NULL) {
        number = strtoll(space, NULL, 10);
    }
    if (strncmp(line, "durable ", 8) == 0) {
        ns_store_durable(store, (uint64_t)number);
    } else if (strncmp(line, "enforced ", 9) == 0) {
        ns_store_enforced(store, number);
    } else if (strncmp(line, "counter ", 8) == 0) {
        take_counter(store, line);
    } else if (strncmp(line, "stop ", 5) == 0) {
        ns_store_stop(store, now_ns(CLOCK_MONOTONIC) + number * 1000000);
        printf("stopped\n");
        return 1;
    } else {
        say_state(store);
    }
    return 0;
}

static int
run(const char *url, const char *directory)
{
    struct ns_store_options options = {url, directory, "test"};
    struct ns_store *store;
    char line[1024];
    size_t used = 0;
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (ns_store_start(&options, &store) < 0) {
        return 1;
    }
    for (;;) {
        struct pollfd polled[] = {{ns_store_event_fd(store), POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
        poll(polled, 2, -1);
        if (polled[0].revents != 0) {
            say_events(store);
        }
        if (polled[1].revents == 0) {
            continue;
        }
        ssize_t n = read(STDIN_FILENO, line + used, sizeof line - used - 1);
        if (n <= 0) {
            ns_store_stop(store, 0);
            return 0;
        }
        used += (size_t)n;
        line[used] = '\0';
        for (char *end; (end = strchr(line, '\n')) != NULL;) {
            *end = '\0';
            if (obey(store, line) != 0) {
                return 0;
            }
            used -= (size_t)(end + 1 - line);
            memmove(line, end + 1, used + 1);
        }
    }
}

int
main(int argc, char **argv)
{
    if (argc == 5 && strcmp(argv[1], "write") == 0) {
        return write_records(argv[2], strtoull(argv[3], NULL, 10), strtoull(argv[4], NULL, 10));
    }
    if (argc == 4 && strcmp(argv[1], "run") == 0) {
        return run(argv[2], argv[3]);
    }
    if (argc == 3 && strcmp(argv[1], "entity") == 0) {
        const char *why;
        return ns_entity_check(argv[2], strlen(argv[2]), &why) == 0 ? 0 : 1;
    }
    fprintf(stderr, "usage: follow write DIRECTORY FROM COUNT | follow run URL DIRECTORY | "
                    "follow entity TEXT\n");
    return 2;
}
