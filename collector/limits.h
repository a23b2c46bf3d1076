/* SPDX-License-Identifier: Apache-2.0 */
/* Every bound of the daemon and its reason, in one place. */
#ifndef NS_COLLECTOR_LIMITS_H
#define NS_COLLECTOR_LIMITS_H

/* Connections that said hello: one a thread of a governed process; 64 Ki threads a host is more
 * than any that we know of. */
#define NS_PEERS_MAX 65536
/* Processes: each costs a descriptor (pidfd) and about 1 KiB. */
#define NS_PROCESSES_MAX 32768
/* Addresses to listen on. */
#define NS_LISTEN_MAX 8
/* API keys of remote processes in one file. */
#define NS_API_KEYS_MAX 1024
#define NS_API_KEY_BYTES_MAX 256

/* Messages taken from one socket before the journal is written and verdicts go out: enough to
 * amortise the write, few enough that the first of them does not wait for the last. */
#define NS_GATE_BATCH 256
/* Encoded replies of one batch; a verdict is 1.5 KiB at most. */
#define NS_GATE_REPLY_BYTES (512 << 10)
/* Acknowledgements that are sent before the next message is taken: who asks does not wait for more.
 */
#define NS_GATE_ACKS_A_TURN 16
/* Acknowledgements that wait for the disk: a second of full load, several times over. */
#define NS_GATE_ACKS_MAX (1 << 20)
/* From the beginning of a sync to that of the next, while few acknowledgements wait for it; and
 * after one of so many records. Nobody waits for one but a program that ends; a sync for each
 * report would keep disk and processors from the checks that come meanwhile. */
#define NS_SYNC_GAP_NS INT64_C(10000000)
#define NS_SYNC_BUSY_RECORDS 16
#define NS_SYNC_BUSY_GAP_NS INT64_C(25000000)
/* So many are a sync's worth at once. */
#define NS_SYNC_ACKS 512
/* `sync` questions open at once, and how long one waits. */
#define NS_GATE_SYNCS_MAX 64
#define NS_GATE_SYNC_WAIT_NS INT64_C(5000000000)
/* Between a process's death and the loss of its holds, where one of its connections is still open:
 * what it said last may be on its way (or a child holds the socket). */
#define NS_PROCESS_GRACE_NS INT64_C(500000000)
/* The same for a process of another host whose last connection closed: it may connect again. */
#define NS_REMOTE_GRACE_NS INT64_C(10000000000)
/* The same for owners found in the journal at start whose connections are not there yet. */
#define NS_RESTART_GRACE_NS INT64_C(60000000000)
/* An idle ledger still turns its periods this often. */
#define NS_IDLE_TICK_NS INT64_C(60000000000)

/* A snapshot after so many records: replay does about a million a second. */
#define NS_SNAPSHOT_RECORDS 500000

/* Histories of what calls use, one a provider, model and operation: 4096 × 88 bytes. */
#define NS_HISTORY_KEYS_MAX 4096

/* Processes that talk to providers, by server: some 800 bytes each. The least lately seen leaves
 * for a new one; Postgres keeps it. */
#define NS_COVERAGE_ROWS_MAX 4096

/* HTTP: clients at once, bytes of a request's head, and how long a client may take over all. */
#define NS_HTTP_CLIENTS_MAX 32
#define NS_HTTP_REQUEST_BYTES 4096
#define NS_HTTP_CLIENT_NS INT64_C(10000000000)

/* At SIGTERM, for Postgres to take what is durable. */
#define NS_STOP_STORE_NS INT64_C(8000000000)

/* A price file: the built-in one has 400 KiB. */
#define NS_PRICES_BYTES_MAX (16 << 20)

#endif
