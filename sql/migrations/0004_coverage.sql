-- SPDX-License-Identifier: Apache-2.0
-- Which processes talk to providers, and what governs each, or why nothing does.

create table nullspend.coverage_rows (
    hostname text not null,
    pid bigint not null,
    start_ticks numeric(20) not null,
    host text not null,
    uid bigint,
    process text not null,
    executable text not null,
    provider text not null,
    governed_by text not null,
    reason text not null,
    explanation text not null,
    next_step text not null,
    since_ns bigint not null,
    connections numeric(20) not null,
    bytes_sent numeric(20) not null,
    bytes_received numeric(20) not null,
    earlier_connections numeric(20) not null default 0,
    earlier_bytes_sent numeric(20) not null default 0,
    earlier_bytes_received numeric(20) not null default 0,
    first_seen timestamptz not null,
    last_seen timestamptz not null,
    primary key (hostname, pid, start_ticks, host)
);
create index coverage_rows_last_seen on nullspend.coverage_rows (last_seen);
comment on table nullspend.coverage_rows is
    'One row a process and server, as the collector has it; read the view coverage. Rows leave 30 days after they were seen last.';
comment on column nullspend.coverage_rows.hostname is 'The machine.';
comment on column nullspend.coverage_rows.pid is 'Process id there.';
comment on column nullspend.coverage_rows.start_ticks is 'When the process began, in clock ticks since boot: tells it from a later one of the same pid.';
comment on column nullspend.coverage_rows.host is 'The server''s name; empty where it cannot be told.';
comment on column nullspend.coverage_rows.uid is 'User id of the process.';
comment on column nullspend.coverage_rows.process is 'Name of the program.';
comment on column nullspend.coverage_rows.executable is 'Path of the program, as the process has it.';
comment on column nullspend.coverage_rows.provider is 'Whose server it is.';
comment on column nullspend.coverage_rows.governed_by is 'preload, detour, ebpf, dark or unknown.';
comment on column nullspend.coverage_rows.reason is 'Why it is dark or unknown, as one word.';
comment on column nullspend.coverage_rows.explanation is 'The same as a sentence.';
comment on column nullspend.coverage_rows.next_step is 'What people can do about it.';
comment on column nullspend.coverage_rows.since_ns is 'When the agent began that counts (nanoseconds since 1970); 0: no agent did.';
comment on column nullspend.coverage_rows.connections is 'Connections since then.';
comment on column nullspend.coverage_rows.bytes_sent is 'Bytes that the process wrote to their sockets since then: ciphertext and handshakes.';
comment on column nullspend.coverage_rows.bytes_received is 'Bytes that it read from them.';
comment on column nullspend.coverage_rows.earlier_connections is 'Connections that agents saw before.';
comment on column nullspend.coverage_rows.earlier_bytes_sent is 'Bytes that agents saw before.';
comment on column nullspend.coverage_rows.earlier_bytes_received is 'Likewise.';
comment on column nullspend.coverage_rows.first_seen is 'When it was seen first.';
comment on column nullspend.coverage_rows.last_seen is 'When it was seen last.';

create function nullspend.coverage_put(told jsonb) returns void
language sql as $$
    delete from nullspend.coverage_rows where last_seen < now() - interval '30 days';
    insert into nullspend.coverage_rows as old
        (hostname, pid, start_ticks, host, uid, process, executable, provider, governed_by, reason,
         explanation, next_step, since_ns, connections, bytes_sent, bytes_received, first_seen,
         last_seen)
    select hostname, pid, start_ticks, host, uid, process, executable, provider, governed_by, reason,
           explanation, next_step, since_ns, connections, bytes_sent, bytes_received,
           to_timestamp(first_seen_ns / 1000000000.0), to_timestamp(last_seen_ns / 1000000000.0)
    from jsonb_to_recordset(told) as t(
        hostname text, pid bigint, start_ticks numeric, host text, uid bigint, process text,
        executable text, provider text, governed_by text, reason text, explanation text,
        next_step text, since_ns bigint, connections numeric, bytes_sent numeric,
        bytes_received numeric, first_seen_ns bigint, last_seen_ns bigint)
    on conflict (hostname, pid, start_ticks, host) do update set
        uid = coalesce(excluded.uid, old.uid),
        process = excluded.process,
        executable = excluded.executable,
        provider = excluded.provider,
        governed_by = excluded.governed_by,
        reason = excluded.reason,
        explanation = excluded.explanation,
        next_step = excluded.next_step,
        -- Another agent counts from its own start; what came before stays.
        earlier_connections = old.earlier_connections
            + case when excluded.since_ns > old.since_ns then old.connections else 0 end,
        earlier_bytes_sent = old.earlier_bytes_sent
            + case when excluded.since_ns > old.since_ns then old.bytes_sent else 0 end,
        earlier_bytes_received = old.earlier_bytes_received
            + case when excluded.since_ns > old.since_ns then old.bytes_received else 0 end,
        connections = case when excluded.since_ns >= old.since_ns then excluded.connections
                           else old.connections end,
        bytes_sent = case when excluded.since_ns >= old.since_ns then excluded.bytes_sent
                          else old.bytes_sent end,
        bytes_received = case when excluded.since_ns >= old.since_ns then excluded.bytes_received
                              else old.bytes_received end,
        since_ns = greatest(excluded.since_ns, old.since_ns),
        first_seen = least(excluded.first_seen, old.first_seen),
        last_seen = greatest(excluded.last_seen, old.last_seen)
$$;
comment on function nullspend.coverage_put(jsonb) is
    'Takes rows of the collector: the same rows any number of times come to the same.';

create view nullspend.coverage as
select process, pid, hostname, uid, nullif(executable, '') as executable,
       nullif(provider, '') as provider, nullif(host, '') as host, governed_by,
       nullif(reason, '') as reason, nullif(explanation, '') as explanation,
       nullif(next_step, '') as next_step,
       earlier_connections + connections as connections,
       earlier_bytes_sent + bytes_sent as bytes_sent,
       earlier_bytes_received + bytes_received as bytes_received,
       first_seen, last_seen
from nullspend.coverage_rows;
comment on view nullspend.coverage is
    'Processes that talk to providers: governed by preload, detour or ebpf, or dark, with the reason and the next step. '
    'Dark ones are found, and bytes counted, while nullspend-bpf runs. Example: select * from nullspend.coverage where governed_by = ''dark'';';
comment on column nullspend.coverage.process is 'Name of the program.';
comment on column nullspend.coverage.pid is 'Process id on its machine.';
comment on column nullspend.coverage.hostname is 'The machine.';
comment on column nullspend.coverage.uid is 'User id of the process.';
comment on column nullspend.coverage.executable is 'Path of the program, as the process has it.';
comment on column nullspend.coverage.provider is 'Whose server it talks to; null: not known.';
comment on column nullspend.coverage.host is 'The server''s name; null where it cannot be told.';
comment on column nullspend.coverage.governed_by is 'preload, detour, ebpf, dark (nothing does), or unknown (which server it is cannot be told).';
comment on column nullspend.coverage.reason is 'Why it is dark or unknown, as one word.';
comment on column nullspend.coverage.explanation is 'The same as a sentence.';
comment on column nullspend.coverage.next_step is 'What people can do about it.';
comment on column nullspend.coverage.connections is 'Connections that the agent saw.';
comment on column nullspend.coverage.bytes_sent is 'Bytes that the process wrote to their sockets: ciphertext and handshakes.';
comment on column nullspend.coverage.bytes_received is 'Bytes that it read from them.';
comment on column nullspend.coverage.first_seen is 'When it was seen first.';
comment on column nullspend.coverage.last_seen is 'When it was seen last.';
