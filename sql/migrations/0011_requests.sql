-- SPDX-License-Identifier: Apache-2.0
-- Who changed what: a log that only grows, in which each entry carries the hash of the one before it.

create table nullspend.audit (
    number bigint primary key,
    happened_at timestamptz not null,
    actor text not null,
    action text not null,
    entity text,
    details jsonb not null default '{}',
    previous bytea not null,
    hash bytea not null
);
create index audit_by_time on nullspend.audit (happened_at);
comment on table nullspend.audit is
    'Every change of budgets and mandates, once each, written by triggers. Entries are never changed: each has the hash of the one before it, and `nullspend audit verify` walks the chain.';
comment on column nullspend.audit.number is 'Number of the entry, from 1 on without a gap.';
comment on column nullspend.audit.happened_at is 'When it was written.';
comment on column nullspend.audit.actor is
    'Who: the user of the machine that the command line names (setting nullspend.actor), then the program and the user of the database.';
comment on column nullspend.audit.action is 'What was done: budget_created, budget_changed, budget_removed, mandate_created, …';
comment on column nullspend.audit.entity is 'To what entity; null where it is none''s alone.';
comment on column nullspend.audit.details is
    'The row that was created or removed; of a change each column that changed with what it was and is.';
comment on column nullspend.audit.previous is 'The hash of the entry before; of the first 32 zero bytes.';
comment on column nullspend.audit.hash is
    'sha256 of previous and of the JSON array [number, happened_at in UTC, actor, action, entity, details], as jsonb writes it.';

create function nullspend.audit_actor() returns text
language sql stable as $$
    select coalesce(nullif(current_setting('nullspend.actor', true), '') || ' by ', '')
           || coalesce(nullif(current_setting('application_name'), ''), 'a program') || ' as ' || session_user
$$;
comment on function nullspend.audit_actor() is 'Who writes, for audit.actor.';

create function nullspend.audit_chain() returns trigger
language plpgsql as $$
declare
    head nullspend.audit;
begin
    -- One writer at a time, until it commits: the entry that is read is the one before this.
    perform pg_advisory_xact_lock(hashtextextended('nullspend.audit', 0));
    select * into head from nullspend.audit order by number desc limit 1;
    new.number := coalesce(head.number, 0) + 1;
    new.previous := coalesce(head.hash, decode(repeat('00', 32), 'hex'));
    new.happened_at := clock_timestamp();
    new.actor := nullspend.audit_actor();
    new.hash := sha256(new.previous || convert_to(jsonb_build_array(
        new.number, to_char(new.happened_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        new.actor, new.action, new.entity, new.details)::text, 'UTF8'));
    return new;
end
$$;
comment on function nullspend.audit_chain() is
    'Trigger of audit: puts a new entry behind the last one.';
create trigger audit_chain before insert on nullspend.audit
    for each row execute function nullspend.audit_chain();

create function nullspend.audit_refuse() returns trigger
language plpgsql as $$
begin
    raise exception 'entries of nullspend.audit are never changed or removed'
        using errcode = 'insufficient_privilege';
end
$$;
comment on function nullspend.audit_refuse() is 'Trigger of audit: it only grows.';
create trigger audit_refuse before update or delete or truncate on nullspend.audit
    for each statement execute function nullspend.audit_refuse();

create function nullspend.audit_row() returns trigger
language plpgsql as $$
declare
    what text := tg_argv[0];
    was jsonb := case when tg_op <> 'INSERT' then to_jsonb(old) - 'updated_at' end;
    is_now jsonb := case when tg_op <> 'DELETE' then to_jsonb(new) - 'updated_at' end;
    details jsonb;
begin
    if tg_op = 'UPDATE' then
        select jsonb_object_agg(n.key, jsonb_build_object('was', was -> n.key, 'is', n.value))
        into details
        from jsonb_each(is_now) n
        where n.value is distinct from was -> n.key;
        if details is null then
            return null;
        end if;
        details := details || jsonb_build_object('id', was -> 'id');
    else
        details := coalesce(is_now, was);
    end if;
    insert into nullspend.audit (action, entity, details)
    values (what || case tg_op when 'INSERT' then '_created' when 'DELETE' then '_removed' else '_changed' end,
            coalesce(is_now, was) ->> 'entity', details);
    return null;
end
$$;
comment on function nullspend.audit_row() is
    'Trigger of tables that people write: an entry of audit for each row that changed.';

create function nullspend.audit_truncated() returns trigger
language plpgsql as $$
begin
    insert into nullspend.audit (action) values (tg_argv[0] || 's_truncated');
    return null;
end
$$;
comment on function nullspend.audit_truncated() is
    'Trigger of the same: an entry of audit where all rows went at once.';

create trigger audit_row after insert or update or delete on nullspend.budgets
    for each row execute function nullspend.audit_row('budget');
create trigger audit_truncated after truncate on nullspend.budgets
    for each statement execute function nullspend.audit_truncated('budget');
create trigger audit_row after insert or update or delete on nullspend.mandates
    for each row execute function nullspend.audit_row('mandate');
create trigger audit_truncated after truncate on nullspend.mandates
    for each statement execute function nullspend.audit_truncated('mandate');

-- --- requests and grants ------------------------------------------------------------------------

create table nullspend.requests (
    id bigint generated always as identity primary key,
    budget_id bigint not null,
    entity text not null,
    period text not null,
    amount_usd numeric not null,
    models text[] not null default '{}',
    for_s bigint not null default 3600,
    reason text not null,
    state text not null default 'pending',
    asked_at timestamptz not null default now(),
    asked_by text not null default nullspend.audit_actor(),
    expires_at timestamptz not null default now() + interval '1 hour',
    decided_at timestamptz,
    decided_by text,
    answer text,
    grant_id bigint,
    constraint "amount_usd is above 0, with at most 9 decimal places"
        check (amount_usd > 0 and amount_usd <= 9223372036.854775807 and scale(trim_scale(amount_usd)) <= 9),
    constraint "models are patterns without commas, 200 bytes in all"
        check (nullspend.words_are_valid(models) and octet_length(array_to_string(models, ',', '?')) <= 200
               and array_to_string(models, '') !~ ','),
    constraint "for_s is 1 second to 7 days" check (for_s between 1 and 604800),
    constraint "reason is 1 to 2000 characters" check (char_length(btrim(reason)) between 1 and 2000),
    constraint "answer is at most 2000 characters" check (char_length(answer) <= 2000),
    constraint "state is pending, approved, rejected or expired"
        check (state in ('pending', 'approved', 'rejected', 'expired')),
    constraint "a request expires within 7 days"
        check (expires_at > asked_at and expires_at <= asked_at + interval '7 days')
);
create index requests_pending on nullspend.requests (expires_at) where state = 'pending';
comment on table nullspend.requests is
    'Programs ask for more money, and people decide: nullspend.ask, nullspend.approve, nullspend.reject.';
comment on column nullspend.requests.id is 'Number of the request.';
comment on column nullspend.requests.budget_id is 'Of which budget: nullspend.budgets.id.';
comment on column nullspend.requests.entity is 'For which entity; of a budget on customer:* one of the customers.';
comment on column nullspend.requests.period is 'The budget''s period.';
comment on column nullspend.requests.amount_usd is 'How much more is asked for.';
comment on column nullspend.requests.models is 'Patterns of the models that it is for; empty: any.';
comment on column nullspend.requests.for_s is 'For how many seconds, from the decision on.';
comment on column nullspend.requests.reason is 'What it is for.';
comment on column nullspend.requests.state is 'pending, approved, rejected, or expired: nobody decided in time.';
comment on column nullspend.requests.asked_at is 'When it was made.';
comment on column nullspend.requests.asked_by is 'Who made it, as in audit.actor.';
comment on column nullspend.requests.expires_at is 'Until when it can be decided.';
comment on column nullspend.requests.decided_at is 'When it was approved or rejected, or was seen to have expired.';
comment on column nullspend.requests.decided_by is 'Who decided, as in audit.actor.';
comment on column nullspend.requests.answer is 'What was said to a rejection.';
comment on column nullspend.requests.grant_id is 'State approved: the grant that was made.';

create table nullspend.grant_rows (
    -- From the numbers of budgets: the collector knows both by them.
    id bigint primary key default nextval(pg_get_serial_sequence('nullspend.budgets', 'id')),
    budget_id bigint not null,
    entity text not null,
    amount_nanousd bigint not null,
    models text[] not null default '{}',
    spend_first boolean not null default false,
    granted_at timestamptz not null default now(),
    granted_by text not null default nullspend.audit_actor(),
    until timestamptz not null,
    revoked_at timestamptz,
    revoked_by text,
    constraint "entity is one that a budget counts"
        check (nullspend.entity_is_valid(entity) and not nullspend.entity_is_pattern(entity)),
    constraint "amount_nanousd is above 0" check (amount_nanousd > 0),
    constraint "models are patterns without commas, 200 bytes in all"
        check (nullspend.words_are_valid(models) and octet_length(array_to_string(models, ',', '?')) <= 200
               and array_to_string(models, '') !~ ','),
    constraint "until is later than granted_at" check (until > granted_at)
);
create index grant_rows_by_budget on nullspend.grant_rows (budget_id, entity);
comment on table nullspend.grant_rows is
    'More money for a budget, for a while. Insert, update and delete with plain SQL: in force within a second. The view grants shows what is left of each.';
comment on column nullspend.grant_rows.id is 'Number of the grant; no budget has the same.';
comment on column nullspend.grant_rows.budget_id is 'For which budget: nullspend.budgets.id.';
comment on column nullspend.grant_rows.entity is 'For which entity; of a budget on customer:* one of the customers.';
comment on column nullspend.grant_rows.amount_nanousd is 'How much, in nano-dollars.';
comment on column nullspend.grant_rows.models is
    'Patterns of requested models whose calls may use it: * stands for any characters, case is of no matter. Empty: all.';
comment on column nullspend.grant_rows.spend_first is
    'Whether it is spent before the budget''s own money, or only what that has not.';
comment on column nullspend.grant_rows.granted_at is 'When it was made.';
comment on column nullspend.grant_rows.granted_by is 'Who made it, as in audit.actor.';
comment on column nullspend.grant_rows.until is 'No call may take of it from then on.';
comment on column nullspend.grant_rows.revoked_at is 'When it was revoked.';
comment on column nullspend.grant_rows.revoked_by is 'Who revoked it, as in audit.actor.';

create trigger grants_changed after insert or update or delete or truncate on nullspend.grant_rows
    for each statement execute function nullspend.budgets_changed();
create trigger grant_counters_forget after delete on nullspend.grant_rows
    referencing old table as gone for each statement execute function nullspend.budget_counters_forget();
create trigger audit_row after insert or update or delete on nullspend.grant_rows
    for each row execute function nullspend.audit_row('grant');
create trigger audit_truncated after truncate on nullspend.grant_rows
    for each statement execute function nullspend.audit_truncated('grant');
create trigger audit_row after insert or update or delete on nullspend.requests
    for each row execute function nullspend.audit_row('request');
create trigger audit_truncated after truncate on nullspend.requests
    for each statement execute function nullspend.audit_truncated('request');
comment on table nullspend.audit is
    'Every change of budgets, mandates, requests and grants, once each, written by triggers. Entries are never changed: each has the hash of the one before it, and `nullspend audit verify` walks the chain.';
comment on function nullspend.budgets_changed() is
    'Trigger of budgets, mandates and grants: counts the revision and tells the collector.';
comment on table nullspend.budgets_revision is
    'One row: grows with every change of budgets, mandates or grants, and NOTIFY nullspend_budgets tells of it.';

create function nullspend.budget_asked_forget() returns trigger
language plpgsql as $$
begin
    -- A statement that finds no grant would raise the revision nevertheless.
    if exists (select from nullspend.grant_rows g where not exists
                   (select from nullspend.budgets b where b.id = g.budget_id)) then
        delete from nullspend.grant_rows g
        where not exists (select from nullspend.budgets b where b.id = g.budget_id);
    end if;
    delete from nullspend.requests r where not exists (select from nullspend.budgets b where b.id = r.budget_id);
    return null;
end
$$;
comment on function nullspend.budget_asked_forget() is
    'Trigger of budgets: a removed budget takes its requests and grants along.';
create trigger budget_asked_forget after delete or truncate on nullspend.budgets
    for each statement execute function nullspend.budget_asked_forget();

create view nullspend.grants as
select g.id as grant_id, g.entity, b.period, nullspend.usd(g.amount_nanousd) as amount_usd,
       nullspend.usd(coalesce(c.spent_nanousd, 0)) as spent_usd,
       nullspend.usd(coalesce(c.held_nanousd, 0)) as held_usd,
       nullspend.usd(greatest(g.amount_nanousd - coalesce(c.spent_nanousd, 0) - coalesce(c.held_nanousd, 0), 0))
           as left_usd,
       to_jsonb(g.models) as models, g.spend_first, g.granted_at, g.granted_by, g.until,
       case when g.revoked_at is not null then 'revoked' when g.until <= now() then 'over'
            when coalesce(c.spent_nanousd, 0) >= g.amount_nanousd then 'used up' else 'open' end as state,
       g.revoked_at, g.revoked_by, g.budget_id,
       case when g.entity like 'customer:%' then substr(g.entity, 10) end as customer
from nullspend.grant_rows g
join nullspend.budgets b on b.id = g.budget_id
left join nullspend.budget_counters c on c.budget_id = g.id;
comment on view nullspend.grants is 'More money for a budget, for a while, and what is left of it.';
comment on column nullspend.grants.grant_id is 'Number of the grant.';
comment on column nullspend.grants.entity is 'For which entity.';
comment on column nullspend.grants.period is 'The budget''s period.';
comment on column nullspend.grants.amount_usd is 'How much.';
comment on column nullspend.grants.spent_usd is 'Spent of it.';
comment on column nullspend.grants.held_usd is 'Held of it by running calls.';
comment on column nullspend.grants.left_usd is 'What is neither spent nor held.';
comment on column nullspend.grants.models is 'Patterns of the models whose calls may use it; empty: all.';
comment on column nullspend.grants.spend_first is 'Whether it is spent before the budget''s own money.';
comment on column nullspend.grants.granted_at is 'When it was made.';
comment on column nullspend.grants.granted_by is 'Who made it.';
comment on column nullspend.grants.until is 'No call may take of it from then on.';
comment on column nullspend.grants.state is 'open, used up, over (its time), or revoked.';
comment on column nullspend.grants.revoked_at is 'When it was revoked.';
comment on column nullspend.grants.revoked_by is 'Who revoked it.';
comment on column nullspend.grants.budget_id is 'The budget: nullspend.budgets.id.';
comment on column nullspend.grants.customer is 'Of customer:ID, the ID.';

create or replace view nullspend.budget_status as
with counted as (
    -- A budget's own line, and for customer:* and its like one for each customer seen this period.
    select b.id, b.entity, true as own from nullspend.budgets b
    union
    select c.budget_id, c.entity, false
    from nullspend.budget_counters c
    join nullspend.budgets b on b.id = c.budget_id and c.entity <> b.entity
    where nullspend.entity_is_pattern(b.entity)
      and c.period_start <= now() and c.period_end > now()
)
select n.entity, b.period,
       nullspend.period_start(b.period) as period_start,
       nullspend.period_end(b.period) as period_end,
       b.policy,
       b.limit_usd,
       case when n.own and nullspend.entity_is_pattern(b.entity) then null
            else nullspend.usd(coalesce(c.spent_nanousd, 0)) end as spent_usd,
       case when n.own and nullspend.entity_is_pattern(b.entity) then null
            else nullspend.usd(coalesce(c.held_nanousd, 0)) end as held_usd,
       case when n.own and nullspend.entity_is_pattern(b.entity) then null
            else greatest(b.limit_usd - nullspend.usd(coalesce(c.spent_nanousd, 0))
                          - nullspend.usd(coalesce(c.held_nanousd, 0)), 0) end as remaining_usd,
       case when n.own and nullspend.entity_is_pattern(b.entity) then null
            else nullspend.usd(coalesce(c.overshoot_nanousd, 0)) end as overshoot_usd,
       b.id as budget_id, b.reserve, b.on_unreachable, b.deny_status,
       b.finalize_reserve_usd, nullspend.overdraft_usd(b) as overdraft_usd, b.overdraft_percent,
       b.velocity_usd, b.velocity_window_s, b.velocity_cooldown_s,
       case when c.paused_until > now() then c.paused_until end as paused_until,
       to_jsonb(b.thresholds) as thresholds,
       g.granted_usd, g.granted_left_usd
from counted n
join nullspend.budgets b on b.id = n.id
left join nullspend.budget_counters c
    on c.budget_id = n.id and c.entity = n.entity
   and c.period_start <= now() and c.period_end > now()
left join lateral (
    select sum(open.amount_usd) as granted_usd, sum(open.left_usd) as granted_left_usd
    from nullspend.grants open
    where open.budget_id = n.id and open.entity = n.entity and open.state in ('open', 'used up')
) g on true
order by n.entity, b.period;
comment on column nullspend.budget_status.granted_usd is
    'What grants add that are in force; null without one.';
comment on column nullspend.budget_status.granted_left_usd is 'What of them is neither spent nor held.';

alter table nullspend.denied_calls add column granted_nanousd bigint;
comment on column nullspend.denied_calls.granted_nanousd is
    'What was left of a grant that the call might have used, in nano-dollars; null: there was none.';
create or replace view nullspend.denials as
select denial_id, denied_at, reason, entity,
       nullspend.usd(limit_nanousd) as limit_usd,
       nullspend.usd(spent_nanousd) as spent_usd,
       nullspend.usd(held_nanousd) as held_usd,
       nullspend.usd(needed_nanousd) as needed_usd,
       http_status, call_id, started_at, source, provider, family, operation,
       requested_model as model, requested_model, customer, agent, feature, session, tags, trace_id,
       key_hint, host, pid, process, streamed, hostname, uid, enforced,
       nullspend.usd(finalize_reserve_nanousd) as finalize_reserve_usd,
       nullspend.usd(overdraft_nanousd) as overdraft_usd, rule,
       nullspend.usd(granted_nanousd) as granted_left_usd
from nullspend.denied_calls;
comment on column nullspend.denials.granted_left_usd is
    'What was left of a grant that the call might have used; null: there was none.';

create function nullspend.request_told() returns trigger
language plpgsql as $$
begin
    if tg_op = 'UPDATE' and new.state is not distinct from old.state then
        return null;
    end if;
    insert into nullspend.events (kind, entity, budget_id, period, what, details)
    values ('approval_' || case new.state when 'pending' then 'requested' when 'approved' then 'granted'
                           else new.state end,
            new.entity, new.budget_id, new.period,
            'request ' || new.id || case new.state
                when 'pending' then ': $' || trim_scale(new.amount_usd) || ' more, for ' || new.reason
                when 'approved' then ' approved by ' || new.decided_by
                when 'rejected' then ' rejected by ' || new.decided_by || coalesce(': ' || new.answer, '')
                else ': nobody decided in time' end,
            jsonb_strip_nulls(jsonb_build_object(
                'request_id', new.id, 'amount_usd', new.amount_usd, 'models', new.models,
                'reason', new.reason, 'asked_by', new.asked_by, 'decided_by', new.decided_by,
                'answer', new.answer, 'grant_id', new.grant_id)));
    return null;
end
$$;
comment on function nullspend.request_told() is 'Trigger of requests: writes events.';
create trigger request_told after insert or update on nullspend.requests
    for each row execute function nullspend.request_told();

create function nullspend.grant_told() returns trigger
language plpgsql as $$
begin
    insert into nullspend.events (kind, entity, budget_id, what, details)
    values ('grant_revoked', new.entity, new.budget_id, 'grant ' || new.id || ' revoked by ' || new.revoked_by,
            jsonb_build_object('grant_id', new.id, 'amount_usd', nullspend.usd(new.amount_nanousd),
                               'revoked_by', new.revoked_by));
    return null;
end
$$;
comment on function nullspend.grant_told() is 'Trigger of grants: writes an event of one that is revoked.';
create trigger grant_told after update on nullspend.grant_rows
    for each row when (new.revoked_at is not null and old.revoked_at is null)
    execute function nullspend.grant_told();

create function nullspend.expire_requests() returns void
language sql as $$
    update nullspend.requests set state = 'expired', decided_at = expires_at
    where state = 'pending' and expires_at <= now()
$$;
comment on function nullspend.expire_requests() is
    'Notes which requests nobody decided in time; the commands that show or decide them call it.';

create function nullspend.ask(entity text, amount_usd numeric, reason text, period text default null,
                              models text[] default '{}', for_s bigint default 3600,
                              expires_s bigint default 3600) returns bigint
language plpgsql as $$
#variable_conflict use_column
declare
    budgets nullspend.budgets[];
    made bigint;
begin
    if nullspend.entity_is_pattern($1) then
        raise exception '% stands for many: ask for one of them', $1 using errcode = 'check_violation';
    elsif $7 not between 1 and 604800 then
        raise exception 'a request expires within 7 days' using errcode = 'check_violation';
    end if;
    -- Of each period the one that counts this entity: its own, else that of its kind.
    select array_agg(one order by (one).period) into budgets
    from (select distinct on (b.period) b as one
          from nullspend.budgets b
          where ($4 is null or b.period = $4)
            and (b.entity = $1
                 or nullspend.entity_is_pattern(b.entity) and starts_with($1, rtrim(b.entity, '*')))
          order by b.period, nullspend.entity_is_pattern(b.entity), octet_length(b.entity) desc) as found;
    if budgets is null then
        raise exception 'no budget for %', $1 || coalesce(' with the period ' || $4, '')
            using errcode = 'no_data_found';
    elsif cardinality(budgets) > 1 then
        raise exception '% has several budgets: name one by its period (%)', $1,
            (select string_agg(b.period, ', ') from unnest(budgets) b) using errcode = 'check_violation';
    end if;
    insert into nullspend.requests (budget_id, entity, period, amount_usd, reason, models, for_s, expires_at)
    values (budgets[1].id, $1, budgets[1].period, $2, $3, coalesce($5, '{}'), $6,
            now() + $7 * interval '1 second')
    returning id into made;
    return made;
end
$$;
comment on function nullspend.ask(text, numeric, text, text, text[], bigint, bigint) is
    'Asks for so much more for the budget of an entity. Returns the request''s number.';

create function nullspend.request_open(request bigint) returns nullspend.requests
language plpgsql as $$
declare
    found_one nullspend.requests;
begin
    select * into found_one from nullspend.requests where id = request for update;
    if found_one.id is null then
        raise exception 'no request %', request using errcode = 'no_data_found';
    elsif found_one.state <> 'pending' then
        raise exception 'request % is % already', request, found_one.state using errcode = 'check_violation';
    elsif found_one.expires_at <= now() then
        raise exception 'request % has expired', request using errcode = 'check_violation';
    end if;
    return found_one;
end
$$;
comment on function nullspend.request_open(bigint) is 'The request, locked, if it can be decided.';

create function nullspend.models_are_within(models text[], wider text[]) returns boolean
language sql immutable parallel safe as $$
    select cardinality(wider) = 0
        or cardinality(models) > 0
           and (select bool_and(exists (
                    select from unnest(wider) as w (word)
                    where lower(m.word) like replace(replace(replace(replace(
                        lower(w.word), '\', '\\'), '%', '\%'), '_', '\_'), '*', '%')))
                from unnest(models) as m (word))
$$;
comment on function nullspend.models_are_within(text[], text[]) is
    'Whether whatever fits one of the patterns fits one of the wider ones, too: no list is all models.';

create function nullspend.approve(request bigint, amount_usd numeric default null, for_s bigint default null,
                                  models text[] default null, spend_first boolean default false) returns bigint
language plpgsql as $$
#variable_conflict use_column
declare
    asked nullspend.requests := nullspend.request_open($1);
    made bigint;
begin
    if $2 > asked.amount_usd then
        raise exception 'request % asks for $%, which is less than $%', $1, trim_scale(asked.amount_usd), $2
            using errcode = 'check_violation';
    elsif $3 > asked.for_s then
        raise exception 'request % asks for % seconds, which is less than %', $1, asked.for_s, $3
            using errcode = 'check_violation';
    elsif not nullspend.models_are_within(coalesce($4, asked.models), asked.models) then
        raise exception 'request % asks for the models %, which are fewer', $1, array_to_string(asked.models, ',')
            using errcode = 'check_violation';
    elsif $2 <= 0 or scale(trim_scale($2)) > 9 then
        raise exception '$% is not above 0 with at most 9 decimal places', $2 using errcode = 'check_violation';
    end if;
    insert into nullspend.grant_rows (budget_id, entity, amount_nanousd, models, spend_first, until)
    values (asked.budget_id, asked.entity, (coalesce($2, asked.amount_usd) * 1000000000)::bigint,
            coalesce($4, asked.models), $5, now() + coalesce($3, asked.for_s) * interval '1 second')
    returning id into made;
    update nullspend.requests
    set state = 'approved', decided_at = now(), decided_by = nullspend.audit_actor(), grant_id = made
    where id = $1;
    return made;
end
$$;
comment on function nullspend.approve(bigint, numeric, bigint, text[], boolean) is
    'Approves a request: all of it, or less, for less long, for fewer models. Returns the grant''s number.';

create function nullspend.reject(request bigint, answer text default null) returns void
language plpgsql as $$
#variable_conflict use_column
begin
    perform nullspend.request_open($1);
    update nullspend.requests
    set state = 'rejected', decided_at = now(), decided_by = nullspend.audit_actor(), answer = $2
    where id = $1;
end
$$;
comment on function nullspend.reject(bigint, text) is 'Rejects a request.';

create function nullspend.revoke_grant(number bigint) returns void
language plpgsql as $$
declare
    found_one nullspend.grant_rows;
begin
    select * into found_one from nullspend.grant_rows where id = number for update;
    if found_one.id is null then
        raise exception 'no grant %', number using errcode = 'no_data_found';
    elsif found_one.revoked_at is not null then
        raise exception 'grant % is revoked already', number using errcode = 'check_violation';
    end if;
    update nullspend.grant_rows set revoked_at = now(), revoked_by = nullspend.audit_actor() where id = number;
end
$$;
comment on function nullspend.revoke_grant(bigint) is
    'Revokes a grant: no call may take of it from now on; what running calls have of it, they keep.';
