-- SPDX-License-Identifier: Apache-2.0
-- Every call that was seen, every call that was denied, and how far the journal has come.

create schema nullspend;
comment on schema nullspend is
    'NullSpend: what programs spend on language models, within which budgets, at which margins. '
    'Start with: select * from nullspend.margins;';

create table nullspend.migrations (
    version integer primary key,
    name text not null,
    applied_at timestamptz not null default now()
);
comment on table nullspend.migrations is 'Versions of this schema that were applied, in order.';
comment on column nullspend.migrations.version is 'Number at the start of the migration''s file name.';
comment on column nullspend.migrations.name is 'File name of the migration.';
comment on column nullspend.migrations.applied_at is 'When it was applied.';

-- One row a call. Partitioned by UTC day of its start; days are attached by
-- nullspend.make_call_partitions, and what fits none is kept in calls_default.
create table nullspend.calls (
    call_id uuid not null,
    started_at timestamptz not null,
    ended_at timestamptz,
    duration_ms bigint,
    source text not null,
    provider text not null,
    family text not null,
    operation text not null,
    model text,
    requested_model text,
    service_tier text,
    customer text,
    agent text,
    feature text,
    session text,
    tags jsonb not null default '{}',
    trace_id text,
    key_hint text,
    host text,
    pid integer,
    process text,
    streamed boolean not null,
    http_status integer,
    outcome text not null,
    evidence text not null,
    input_tokens bigint,
    cached_input_tokens bigint,
    cache_write_tokens bigint,
    output_tokens bigint,
    reasoning_tokens bigint,
    usage jsonb not null default '{}',
    hold_nanousd bigint,
    cost_nanousd bigint,
    cost_usd numeric generated always as (round(cost_nanousd * 0.000000001, 9)) stored,
    price_version text,
    catalogue_nanousd bigint,
    checked boolean not null default true,
    response_id text,
    hostname text,
    uid bigint,
    primary key (call_id, started_at)
) partition by range (started_at);

create index calls_started_at on nullspend.calls (started_at);
create index calls_customer on nullspend.calls (customer, started_at);

comment on table nullspend.calls is
    'Every call to a language model that was let through, with what it used and cost. Written by the collector.';
comment on column nullspend.calls.call_id is 'Id of the call: a version 7 UUID, so it sorts by time.';
comment on column nullspend.calls.started_at is 'When the request was complete enough to be judged.';
comment on column nullspend.calls.ended_at is 'When the answer ended; of a lost call, when its process was found gone.';
comment on column nullspend.calls.duration_ms is 'From started_at to ended_at, in milliseconds.';
comment on column nullspend.calls.source is 'Through what the call was seen: preload, detour, ebpf, proxy, sdk or mcp.';
comment on column nullspend.calls.provider is 'Who served it: openai, anthropic, gemini, … or the host name.';
comment on column nullspend.calls.family is 'Wire dialect of the provider''s API.';
comment on column nullspend.calls.operation is 'Kind of call: chat, responses, messages, generate_content, embeddings, …';
comment on column nullspend.calls.model is 'Model that answered, as the provider names it; where the answer named none, the one asked for.';
comment on column nullspend.calls.requested_model is 'Model that the request asked for.';
comment on column nullspend.calls.service_tier is 'Service tier that was billed, where the provider tells it.';
comment on column nullspend.calls.customer is 'For which customer of yours the call was made; null: not said.';
comment on column nullspend.calls.agent is 'Which agent made it; null: not said.';
comment on column nullspend.calls.feature is 'For which feature of your product; null: not said.';
comment on column nullspend.calls.session is 'In which session (conversation, job, run); null: not said.';
comment on column nullspend.calls.tags is 'Further tags, an object of strings.';
comment on column nullspend.calls.trace_id is 'Trace id of the request''s traceparent header.';
comment on column nullspend.calls.key_hint is 'Last four characters of the provider''s API key; the key itself is never stored.';
comment on column nullspend.calls.host is 'Host name that the request went to.';
comment on column nullspend.calls.pid is 'Process id of the program.';
comment on column nullspend.calls.process is 'Name of the program''s executable.';
comment on column nullspend.calls.streamed is 'True where the answer was a stream.';
comment on column nullspend.calls.http_status is 'HTTP status of the answer; null: no answer came.';
comment on column nullspend.calls.outcome is 'ok, error, cancelled (the program closed early) or lost (the program died).';
comment on column nullspend.calls.evidence is
    'How well the cost is known: reported or partial (by the provider), counted (from the bytes that passed), '
    'estimated (from sizes), unpriced (not known).';
comment on column nullspend.calls.input_tokens is 'All uncached input tokens; null: usage not known.';
comment on column nullspend.calls.cached_input_tokens is 'All input tokens read from a cache.';
comment on column nullspend.calls.cache_write_tokens is 'All input tokens written to a cache.';
comment on column nullspend.calls.output_tokens is 'All output tokens, reasoning included.';
comment on column nullspend.calls.reasoning_tokens is 'Output tokens spent on reasoning; part of output_tokens.';
comment on column nullspend.calls.usage is
    'Every class and unit that was billed, disjoint: keys are the meters of the price catalogue.';
comment on column nullspend.calls.hold_nanousd is 'Reserved on its budgets before the call left, in nano-dollars.';
comment on column nullspend.calls.cost_nanousd is 'Cost in nano-dollars (1 USD = 1,000,000,000); null: not known.';
comment on column nullspend.calls.cost_usd is 'Cost in dollars; null: not known.';
comment on column nullspend.calls.price_version is 'Version of the price catalogue that priced it.';
comment on column nullspend.calls.catalogue_nanousd is
    'Cost by the catalogue, in nano-dollars; differs from cost_nanousd where the provider billed another amount itself.';
comment on column nullspend.calls.checked is 'False: let through without a verdict, since the collector could not be asked.';
comment on column nullspend.calls.response_id is 'Id of the answer, as the provider gave it.';
comment on column nullspend.calls.hostname is 'Machine that the program ran on.';
comment on column nullspend.calls.uid is 'User id of the program on its machine; null: not known.';

create table nullspend.calls_default partition of nullspend.calls default;
comment on table nullspend.calls_default is
    'Calls of days that have no partition (clocks far off); nothing is refused.';
do $$
declare
    of_calls record;
begin
    -- Partitions of days take these along by themselves.
    for of_calls in select attname, col_description(attrelid, attnum) as text from pg_attribute
                    where attrelid = 'nullspend.calls'::regclass and attnum > 0 loop
        execute format('comment on column nullspend.calls_default.%I is %L', of_calls.attname, of_calls.text);
    end loop;
end
$$;

create function nullspend.make_call_partitions(days date[]) returns integer
language plpgsql as $$
declare
    day date;
    partition text;
    day_start timestamptz;
    day_end timestamptz;
    column_name text;
    made integer := 0;
begin
    -- One at a time, so that two callers do not make the same day.
    perform pg_advisory_xact_lock(hashtextextended('nullspend.make_call_partitions', 0));
    foreach day in array days loop
        partition := 'calls_' || to_char(day, 'YYYYMMDD');
        if to_regclass(format('nullspend.%I', partition)) is not null then
            continue;
        end if;
        day_start := day::timestamp at time zone 'UTC';
        day_end := (day + 1)::timestamp at time zone 'UTC';
        execute format('create table nullspend.%I (like nullspend.calls including all)', partition);
        execute format('comment on table nullspend.%I is %L', partition,
                       'Calls that started on ' || day || ' (UTC).');
        -- Rows that came before their day had a partition move into it.
        lock table nullspend.calls_default in access exclusive mode;
        if exists (select from nullspend.calls_default
                   where started_at >= day_start and started_at < day_end) then
            select string_agg(quote_ident(attname), ', ' order by attnum) into column_name
            from pg_attribute
            where attrelid = 'nullspend.calls'::regclass and attnum > 0
              and not attisdropped and attgenerated = '';
            execute format(
                'with moved as (delete from nullspend.calls_default
                                where started_at >= %1$L and started_at < %2$L returning *)
                 insert into nullspend.%3$I (%4$s) select %4$s from moved',
                day_start, day_end, partition, column_name);
        end if;
        execute format('alter table nullspend.calls attach partition nullspend.%I
                        for values from (%L) to (%L)', partition, day_start, day_end);
        made := made + 1;
    end loop;
    return made;
end
$$;
comment on function nullspend.make_call_partitions(date[]) is
    'Makes the partitions of calls for these UTC days, moving rows that wait in calls_default. '
    'Returns how many were new. The collector calls it ahead of time and before it writes.';

create table nullspend.denied_calls (
    denial_id uuid primary key,
    denied_at timestamptz not null,
    reason text not null,
    entity text,
    limit_nanousd bigint,
    spent_nanousd bigint,
    held_nanousd bigint,
    needed_nanousd bigint,
    http_status integer,
    call_id uuid not null,
    started_at timestamptz not null,
    source text not null,
    provider text not null,
    family text not null,
    operation text not null,
    requested_model text,
    customer text,
    agent text,
    feature text,
    session text,
    tags jsonb not null default '{}',
    trace_id text,
    key_hint text,
    host text,
    pid integer,
    process text,
    streamed boolean not null,
    hostname text,
    uid bigint,
    enforced boolean not null
);
create index denied_calls_denied_at on nullspend.denied_calls (denied_at);
create index denied_calls_call_id on nullspend.denied_calls (call_id);
create index denied_calls_customer on nullspend.denied_calls (customer, denied_at);
comment on table nullspend.denied_calls is
    'What the view denials shows, in nano-dollars. Written by the collector.';
comment on column nullspend.denied_calls.denial_id is 'Id of the denial, as in X-NullSpend-Denial-Id.';
comment on column nullspend.denied_calls.denied_at is 'When it was decided.';
comment on column nullspend.denied_calls.reason is 'Why, as in X-NullSpend-Reason: budget_exceeded, velocity, loop, …';
comment on column nullspend.denied_calls.entity is 'Entity whose budget denied; null: no budget did.';
comment on column nullspend.denied_calls.limit_nanousd is 'Limit of that budget at that moment, in nano-dollars.';
comment on column nullspend.denied_calls.spent_nanousd is 'Spent of it at that moment, in nano-dollars.';
comment on column nullspend.denied_calls.held_nanousd is 'Held of it by running calls at that moment, in nano-dollars.';
comment on column nullspend.denied_calls.needed_nanousd is 'What the call would have held, in nano-dollars.';
comment on column nullspend.denied_calls.http_status is 'HTTP status asked for by the budget; null: the provider family''s usual one.';
comment on column nullspend.denied_calls.call_id is 'Id that the call would have had.';
comment on column nullspend.denied_calls.started_at is 'When the request was complete enough to be judged.';
comment on column nullspend.denied_calls.source is 'Through what the call was seen.';
comment on column nullspend.denied_calls.provider is 'Provider that it was meant for.';
comment on column nullspend.denied_calls.family is 'Wire dialect of the provider''s API.';
comment on column nullspend.denied_calls.operation is 'Kind of call.';
comment on column nullspend.denied_calls.requested_model is 'Model that the request asked for.';
comment on column nullspend.denied_calls.customer is 'For which customer; null: not said.';
comment on column nullspend.denied_calls.agent is 'Which agent; null: not said.';
comment on column nullspend.denied_calls.feature is 'For which feature; null: not said.';
comment on column nullspend.denied_calls.session is 'In which session; null: not said.';
comment on column nullspend.denied_calls.tags is 'Further tags, an object of strings.';
comment on column nullspend.denied_calls.trace_id is 'Trace id of the request''s traceparent header.';
comment on column nullspend.denied_calls.key_hint is 'Last four characters of the provider''s API key.';
comment on column nullspend.denied_calls.host is 'Host name that the request was meant for.';
comment on column nullspend.denied_calls.pid is 'Process id of the program.';
comment on column nullspend.denied_calls.process is 'Name of the program''s executable.';
comment on column nullspend.denied_calls.streamed is 'True where a stream was asked for.';
comment on column nullspend.denied_calls.hostname is 'Machine that the program ran on.';
comment on column nullspend.denied_calls.uid is 'User id of the program on its machine; null: not known.';
comment on column nullspend.denied_calls.enforced is
    'False: only recorded (soft, warn and shadow budgets, shadow mode); the call went through.';

create function nullspend.usd(nanousd bigint) returns numeric
language sql immutable strict parallel safe as $$ select round(nanousd * 0.000000001, 9) $$;
comment on function nullspend.usd(bigint) is 'Nano-dollars as dollars, exactly.';

create view nullspend.denials as
select denial_id, denied_at, reason, entity,
       nullspend.usd(limit_nanousd) as limit_usd,
       nullspend.usd(spent_nanousd) as spent_usd,
       nullspend.usd(held_nanousd) as held_usd,
       nullspend.usd(needed_nanousd) as needed_usd,
       http_status, call_id, started_at, source, provider, family, operation,
       requested_model as model, requested_model, customer, agent, feature, session, tags, trace_id,
       key_hint, host, pid, process, streamed, hostname, uid, enforced
from nullspend.denied_calls;
comment on view nullspend.denials is
    'Every call that was denied (or, where enforced is false, would have been), with the numbers of the budget at that moment.';
comment on column nullspend.denials.denial_id is 'Id of the denial, as in X-NullSpend-Denial-Id.';
comment on column nullspend.denials.denied_at is 'When it was decided.';
comment on column nullspend.denials.reason is 'Why, as in X-NullSpend-Reason: budget_exceeded, velocity, loop, …';
comment on column nullspend.denials.entity is 'Entity whose budget denied; null: no budget did.';
comment on column nullspend.denials.limit_usd is 'Limit of that budget at that moment.';
comment on column nullspend.denials.spent_usd is 'Spent of it at that moment.';
comment on column nullspend.denials.held_usd is 'Held of it by running calls at that moment.';
comment on column nullspend.denials.needed_usd is
    'What the call would have held: it would have passed with limit - spent - held at least this.';
comment on column nullspend.denials.http_status is 'HTTP status asked for by the budget; null: the provider family''s usual one.';
comment on column nullspend.denials.call_id is 'Id that the call would have had.';
comment on column nullspend.denials.started_at is 'When the request was complete enough to be judged.';
comment on column nullspend.denials.source is 'Through what the call was seen.';
comment on column nullspend.denials.provider is 'Provider that it was meant for.';
comment on column nullspend.denials.family is 'Wire dialect of the provider''s API.';
comment on column nullspend.denials.operation is 'Kind of call.';
comment on column nullspend.denials.model is 'Model that the request asked for.';
comment on column nullspend.denials.requested_model is 'Model that the request asked for.';
comment on column nullspend.denials.customer is 'For which customer; null: not said.';
comment on column nullspend.denials.agent is 'Which agent; null: not said.';
comment on column nullspend.denials.feature is 'For which feature; null: not said.';
comment on column nullspend.denials.session is 'In which session; null: not said.';
comment on column nullspend.denials.tags is 'Further tags, an object of strings.';
comment on column nullspend.denials.trace_id is 'Trace id of the request''s traceparent header.';
comment on column nullspend.denials.key_hint is 'Last four characters of the provider''s API key.';
comment on column nullspend.denials.host is 'Host name that the request was meant for.';
comment on column nullspend.denials.pid is 'Process id of the program.';
comment on column nullspend.denials.process is 'Name of the program''s executable.';
comment on column nullspend.denials.streamed is 'True where a stream was asked for.';
comment on column nullspend.denials.hostname is 'Machine that the program ran on.';
comment on column nullspend.denials.uid is 'User id of the program on its machine; null: not known.';
comment on column nullspend.denials.enforced is
    'False: only recorded (soft, warn and shadow budgets, shadow mode); the call went through.';

create table nullspend.refused_records (
    journal_id uuid not null,
    sequence bigint not null,
    refused_at timestamptz not null default now(),
    record_type integer not null,
    why text not null,
    payload bytea not null,
    primary key (journal_id, sequence)
);
comment on table nullspend.refused_records is
    'Journal records that could not become a row. Always empty unless something is broken; kept so that nothing is lost.';
comment on column nullspend.refused_records.journal_id is 'Journal that the record is from.';
comment on column nullspend.refused_records.sequence is 'Number of the record in its journal.';
comment on column nullspend.refused_records.refused_at is 'When it was put aside.';
comment on column nullspend.refused_records.record_type is 'Type of the record.';
comment on column nullspend.refused_records.why is 'What was wrong with it.';
comment on column nullspend.refused_records.payload is 'The record''s bytes.';

create table nullspend.collector_state (
    singleton boolean primary key default true check (singleton),
    instance uuid,
    journal_position bigint not null default 0,
    enforced_revision bigint not null default 0,
    collector_version text,
    updated_at timestamptz not null default now()
);
comment on table nullspend.collector_state is
    'One row: how far the collector has come. Position and rows are written in one transaction.';
comment on column nullspend.collector_state.singleton is 'Always true: there is one row.';
comment on column nullspend.collector_state.instance is 'Id of the journal that journal_position counts in.';
comment on column nullspend.collector_state.journal_position is 'Last record of the journal whose rows are here.';
comment on column nullspend.collector_state.enforced_revision is
    'Revision of the budgets that is in force; NOTIFY nullspend_enforced tells of each change.';
comment on column nullspend.collector_state.collector_version is 'Version of the collector that wrote last.';
comment on column nullspend.collector_state.updated_at is 'When the row was last written.';
insert into nullspend.collector_state default values;
