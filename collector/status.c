/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/status.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "collector/notifier.h"
#include "protocol/zmtp.h"

#define NANO INT64_C(1000000000)

static struct ns_store_state
store_state(const struct ns_gate *gate)
{
    struct ns_store_state state = {0};
    if (gate->store != NULL) {
        ns_store_state(gate->store, &state);
    }
    return state;
}

static const char *
last_error(const struct ns_gate *gate, const struct ns_store_state *state)
{
    if (gate->store == NULL) {
        return gate->cluster_error != NULL ? gate->cluster_error : "starting";
    }
    return state->last_error;
}

/* --- JSON --------------------------------------------------------------------------------------
 */

static void
seconds(struct ns_buffer *buffer, int64_t ns)
{
    ns_buffer_print(buffer, "%" PRId64 ".%03" PRId64, ns / NANO, ns % NANO / 1000000);
}

/* ,"name":{reason:count,…}, those that are not zero. */
static void
unseen(const struct ns_gate *gate, struct ns_buffer *buffer, enum ns_unseen_how how,
       const char *name)
{
    ns_buffer_print(buffer, ",\"%s\":{", name);
    bool some = false;
    for (int i = 0; i < NS_UNSEEN_COUNT; i++) {
        if (ns_unseen_how(i) == how && gate->unseen[i] > 0) {
            ns_buffer_print(buffer, "%s\"%s\":%" PRIu64, some ? "," : "", ns_unseen_name(i),
                            gate->unseen[i]);
            some = true;
        }
    }
    ns_buffer_print(buffer, "}");
}

void
ns_status_json(const struct ns_gate *gate, struct ns_buffer *buffer)
{
    struct ns_store_state state = store_state(gate);
    const struct ns_gate_counters *counters = &gate->counters;
    ns_buffer_print(buffer, "{\"version\":");
    ns_buffer_json(buffer, NS_VERSION);
    ns_buffer_print(buffer, ",\"uptime_s\":%" PRId64,
                    (ns_monotonic_ns() - gate->started_at_ns) / NANO);
    ns_buffer_print(buffer, ",\"pid\":%ld", (long)getpid());
    ns_buffer_print(buffer, ",\"processes\":%zu", ns_peers_process_count(gate->peers));
    ns_buffer_print(buffer, ",\"connections\":%zu", ns_peers_count(gate->peers));
    ns_buffer_print(buffer, ",\"open_holds\":%zu", ns_ledger_open_holds(gate->state.ledger));
    ns_buffer_print(buffer, ",\"budgets\":%zu", ns_ledger_budget_count(gate->state.ledger));
    ns_buffer_print(buffer, ",\"mandates\":%zu", ns_mandates_count(gate->state.mandates));
    ns_buffer_print(buffer, ",\"calls\":%" PRIu64, counters->reports + counters->lost);
    ns_buffer_print(buffer, ",\"denials\":%" PRIu64, counters->denied);
    unseen(gate, buffer, NS_UNSEEN_PASSED, "passed");
    unseen(gate, buffer, NS_UNSEEN_DENIED, "denied_unjudged");
    ns_buffer_print(buffer, ",\"prices\":");
    ns_buffer_json(buffer, ns_prices_version(gate->prices));
    ns_buffer_print(
        buffer, ",\"postgres\":{\"connected\":%s,\"lag_s\":", state.connected ? "true" : "false");
    seconds(buffer, state.lag_ns);
    ns_buffer_print(buffer, ",\"position\":%" PRIu64 ",\"rows\":%" PRIu64 ",\"last_error\":",
                    state.position, state.rows);
    ns_buffer_json(buffer, last_error(gate, &state));
    struct ns_notifier_figures told = ns_notifier_figures(gate->notifier);
    ns_buffer_print(buffer,
                    "},\"deliveries\":{\"pending\":%" PRIu64 ",\"oldest_pending_s\":%" PRIu64
                    ",\"sent\":%" PRIu64 ",\"failed\":%" PRIu64 ",\"dead\":%" PRIu64
                    ",\"last_error\":",
                    told.pending, told.oldest_pending_s, told.sent, told.failed, told.dead);
    ns_buffer_json(buffer, told.last_error);
    ns_buffer_print(buffer,
                    "},\"journal\":{\"last\":%" PRIu64 ",\"durable\":%" PRIu64 ",\"bytes\":%" PRIu64
                    "},\"database_url\":",
                    ns_journal_last(gate->journal), ns_journal_durable(gate->journal),
                    ns_journal_bytes(gate->journal));
    ns_buffer_json(buffer, gate->database_url);
    ns_buffer_print(buffer, ",\"state_dir\":");
    ns_buffer_json(buffer, gate->options->state_directory);
    ns_buffer_print(buffer, ",\"listen\":[");
    for (int i = 0; i < gate->options->listen_count; i++) {
        ns_buffer_print(buffer, i > 0 ? "," : "%s", "");
        ns_buffer_json(buffer, gate->options->listen[i]);
    }
    ns_buffer_print(buffer, "],\"private_cluster\":%s}", gate->private_cluster ? "true" : "false");
}

static void
time_json(struct ns_buffer *buffer, int64_t at_ns)
{
    if (at_ns == INT64_MAX || at_ns <= 0) {
        ns_buffer_print(buffer, "null");
        return;
    }
    time_t at_s = (time_t)(at_ns / NANO);
    struct tm parts;
    char text[32];
    gmtime_r(&at_s, &parts);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
    ns_buffer_json(buffer, text);
}

struct listing {
    struct ns_buffer *buffer;
    bool some;
};

static void
list_budget(void *context, const struct ns_ledger_numbers *numbers, const struct ns_budget *budget)
{
    struct listing *listing = context;
    struct ns_buffer *buffer = listing->buffer;
    if (budget->grant_of != 0) {
        return;
    }
    ns_buffer_print(buffer, "%s{\"entity\":", listing->some ? "," : "");
    listing->some = true;
    ns_buffer_json(buffer, numbers->entity);
    ns_buffer_print(buffer, ",\"period\":\"%s\",\"period_start\":", ns_period_name(budget->period));
    time_json(buffer, numbers->period_start_ns);
    ns_buffer_print(buffer, ",\"period_end\":");
    time_json(buffer, numbers->period_end_ns);
    ns_buffer_print(buffer, ",\"policy\":\"%s\",\"limit_usd\":", ns_policy_name(budget->policy));
    ns_buffer_usd(buffer, numbers->limit_nanousd);
    ns_buffer_print(buffer, ",\"finalize_reserve_usd\":");
    ns_buffer_usd(buffer, numbers->finalize_nanousd);
    if (numbers->overdraft_nanousd > 0) {
        ns_buffer_print(buffer, ",\"overdraft_usd\":");
        ns_buffer_usd(buffer, numbers->overdraft_nanousd);
    }
    if (numbers->velocity_nanousd > 0) {
        ns_buffer_print(buffer, ",\"velocity_usd\":");
        ns_buffer_usd(buffer, numbers->velocity_nanousd);
        ns_buffer_print(
            buffer, ",\"velocity_window_s\":%u,\"window_spent_usd\":", numbers->velocity_window_s);
        ns_buffer_usd(buffer, numbers->rate_nanousd);
        ns_buffer_print(buffer, ",\"paused_until\":");
        time_json(buffer, numbers->paused_until_ns);
    }
    ns_buffer_print(buffer, ",\"spent_usd\":");
    ns_buffer_usd(buffer, numbers->spent_nanousd);
    ns_buffer_print(buffer, ",\"held_usd\":");
    ns_buffer_usd(buffer, numbers->held_nanousd);
    ns_buffer_print(buffer, ",\"remaining_usd\":");
    int64_t used = numbers->spent_nanousd + numbers->held_nanousd;
    ns_buffer_usd(buffer, used < numbers->limit_nanousd ? numbers->limit_nanousd - used : 0);
    ns_buffer_print(buffer, ",\"overshoot_usd\":");
    ns_buffer_usd(buffer, numbers->overshoot_nanousd);
    ns_buffer_print(buffer, "}");
}

void
ns_status_budgets_json(const struct ns_gate *gate, struct ns_buffer *buffer)
{
    struct listing listing = {buffer, false};
    ns_buffer_print(buffer, "[");
    ns_ledger_visit(gate->state.ledger, ns_realtime_ns(), list_budget, &listing);
    ns_buffer_print(buffer, "]");
}

/* --- Prometheus --------------------------------------------------------------------------------
 */

static void
metric(struct ns_buffer *buffer, const char *name, const char *type, const char *help,
       uint64_t value)
{
    ns_buffer_print(buffer,
                    "# HELP nullspend_%s %s\n# TYPE nullspend_%s %s\nnullspend_%s %" PRIu64 "\n",
                    name, help, name, type, name, value);
}

static void
metric_usd(struct ns_buffer *buffer, const char *name, const char *help, int64_t nanousd)
{
    ns_buffer_print(buffer, "# HELP nullspend_%s %s\n# TYPE nullspend_%s counter\nnullspend_%s ",
                    name, help, name, name);
    ns_buffer_usd(buffer, nanousd);
    ns_buffer_print(buffer, "\n");
}

static void
metric_unseen(const struct ns_gate *gate, struct ns_buffer *buffer, enum ns_unseen_how how,
              const char *name, const char *help)
{
    ns_buffer_print(buffer, "# HELP nullspend_%s %s\n# TYPE nullspend_%s counter\n", name, help,
                    name);
    for (int i = 0; i < NS_UNSEEN_COUNT; i++) {
        if (ns_unseen_how(i) == how) {
            ns_buffer_print(buffer, "nullspend_%s{reason=\"%s\"} %" PRIu64 "\n", name,
                            ns_unseen_name(i), gate->unseen[i]);
        }
    }
}

static void
gauges(const struct ns_gate *gate, struct ns_buffer *buffer)
{
    struct ns_store_state state = store_state(gate);
    const struct {
        const char *name, *help;
        uint64_t value;
    } rows[] = {
        {"uptime_seconds", "Since the start of the collector.",
         (uint64_t)((ns_monotonic_ns() - gate->started_at_ns) / NANO)},
        {"processes", "Governed processes known.", ns_peers_process_count(gate->peers)},
        {"connections", "Connections that said hello.", ns_peers_count(gate->peers)},
        {"open_holds", "Calls with money reserved.", ns_ledger_open_holds(gate->state.ledger)},
        {"open_calls", "Calls allowed and not reported yet.", ns_calls_count(gate->state.calls)},
        {"budgets", "Budgets in force.", ns_ledger_budget_count(gate->state.ledger)},
        {"mandates", "Mandates in force.", ns_mandates_count(gate->state.mandates)},
        {"acks_waiting", "Acknowledgements that wait for the disk.", gate->ack_count},
        {"journal_records", "Sequence of the last record.", ns_journal_last(gate->journal)},
        {"journal_durable_records", "Sequence of the last record on disk.",
         ns_journal_durable(gate->journal)},
        {"journal_bytes", "Journal and snapshots on disk.", ns_journal_bytes(gate->journal)},
        {"postgres_connected", "1 while the follower is connected.", state.connected ? 1 : 0},
        {"postgres_position", "Last journal record that Postgres has.", state.position},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        metric(buffer, rows[i].name, "gauge", rows[i].help, rows[i].value);
    }
    ns_buffer_print(buffer, "# HELP nullspend_postgres_lag_seconds Age of the oldest record that "
                            "Postgres lacks.\n# TYPE nullspend_postgres_lag_seconds gauge\n"
                            "nullspend_postgres_lag_seconds ");
    seconds(buffer, state.lag_ns);
    ns_buffer_print(buffer, "\n");
    metric(buffer, "postgres_rows_total", "counter", "Calls and denials written to Postgres.",
           state.rows);
    metric(buffer, "postgres_errors_total", "counter", "Failed batches and connections.",
           state.errors);
}

static void
metric_deliveries(const struct ns_gate *gate, struct ns_buffer *buffer)
{
    struct ns_notifier_figures told = ns_notifier_figures(gate->notifier);
    metric(buffer, "deliveries_pending", "gauge", "Events that somebody is still to be told.",
           told.pending);
    metric(buffer, "deliveries_oldest_pending_seconds", "gauge", "Age of the oldest of them.",
           told.oldest_pending_s);
    metric(buffer, "deliveries_dead", "gauge", "Deliveries that were given up.", told.dead);
    metric(buffer, "deliveries_sent_total", "counter", "Deliveries that a receiver took.",
           told.sent);
    metric(buffer, "deliveries_failed_total", "counter", "Attempts that failed.", told.failed);
}

static void
metric_coverage(const struct ns_gate *gate, struct ns_buffer *buffer)
{
    struct ns_coverage_sums sums;
    ns_coverage_sum(&gate->coverage, &sums);
    ns_buffer_print(buffer,
                    "# HELP nullspend_coverage_bytes_total Bytes between processes and providers, "
                    "by what governs them.\n# TYPE nullspend_coverage_bytes_total counter\n");
    for (int i = 0; i < NS_GOVERNOR_COUNT; i++) {
        ns_buffer_print(buffer, "nullspend_coverage_bytes_total{governed_by=\"%s\"} %" PRIu64 "\n",
                        ns_governor_name(i), sums.bytes[i]);
    }
    ns_buffer_print(buffer, "# HELP nullspend_coverage_processes Processes by server, by what "
                            "governs them.\n# TYPE nullspend_coverage_processes gauge\n");
    uint64_t known = 0;
    for (int i = 0; i < NS_GOVERNOR_COUNT; i++) {
        ns_buffer_print(buffer, "nullspend_coverage_processes{governed_by=\"%s\"} %" PRIu64 "\n",
                        ns_governor_name(i), sums.rows[i]);
        known += i == NS_GOVERNOR_UNKNOWN ? 0 : sums.now[i];
    }
    metric(buffer, "coverage_evicted_total", "counter",
           "Processes that left the table for newer ones.", sums.evicted);
    if (known > 0) { /* else there is no share */
        uint64_t millionths =
            (uint64_t)((unsigned __int128)(known - sums.now[NS_GOVERNOR_DARK]) * 1000000 / known);
        ns_buffer_print(buffer,
                        "# HELP nullspend_coverage_ratio Share of the bytes to and from providers "
                        "that are governed, over the processes known now.\n"
                        "# TYPE nullspend_coverage_ratio gauge\n"
                        "nullspend_coverage_ratio %" PRIu64 ".%06" PRIu64 "\n",
                        millionths / 1000000, millionths % 1000000);
    }
}

void
ns_status_metrics(const struct ns_gate *gate, struct ns_buffer *buffer)
{
    const struct ns_gate_counters *counters = &gate->counters;
    ns_buffer_print(buffer,
                    "# HELP nullspend_info Versions.\n# TYPE nullspend_info gauge\n"
                    "nullspend_info{version=\"%s\",prices=\"%s\"} 1\n",
                    NS_VERSION, ns_prices_version(gate->prices));
    gauges(gate, buffer);
#define X(name, help) metric(buffer, #name "_total", "counter", help, counters->name);
    NS_GATE_COUNTERS(X)
#undef X
    ns_buffer_print(buffer, "# HELP nullspend_denials_total Checks denied, by reason.\n"
                            "# TYPE nullspend_denials_total counter\n");
    for (int reason = 1; reason < NS_REASON_COUNT; reason++) {
        ns_buffer_print(buffer, "nullspend_denials_total{reason=\"%s\"} %" PRIu64 "\n",
                        ns_reason_name(reason), counters->denied_by[reason]);
    }
    metric_unseen(gate, buffer, NS_UNSEEN_PASSED, "passed_unseen_total",
                  "What passed unseen, by reason: connections, calls, bytes.");
    metric_unseen(gate, buffer, NS_UNSEEN_DENIED, "denied_unjudged_total",
                  "Requests denied because they could not be judged, by reason.");
    metric_coverage(gate, buffer);
    metric_deliveries(gate, buffer);
    metric_usd(buffer, "cost_usd_total", "Cost of the calls recorded.", counters->cost_nanousd);
    metric_usd(buffer, "overshoot_usd_total", "Cost above what had been held.",
               counters->overshoot_nanousd);
    metric(buffer, "identity_mismatches_total", "counter",
           "Hellos that named another pid or start time than the kernel.",
           ns_peers_mismatches(gate->peers));
    metric(buffer, "prices_refused_total", "counter", "Price files that were broken.",
           ns_prices_refused(gate->prices));
}

bool
ns_status_health(const struct ns_gate *gate, struct ns_buffer *buffer)
{
    bool ok = gate->failure == 0 && !gate->stopping;
    ns_buffer_print(buffer, "%s\n",
                    ok               ? "ok"
                    : gate->stopping ? "stopping"
                                     : "the journal cannot be written");
    return ok;
}
