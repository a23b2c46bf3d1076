-- SPDX-License-Identifier: Apache-2.0
-- Events of other things than budgets.

alter table nullspend.events
    drop constraint events_kind_check,
    add constraint "kind is words of small letters" check (kind ~ '^[a-z]+(_[a-z]+)*$'),
    alter column entity drop not null,
    alter column budget_id drop not null,
    alter column period drop not null,
    alter column period_start drop not null,
    alter column period_end drop not null,
    alter column limit_usd drop not null,
    alter column spent_usd drop not null,
    add column what text not null default '',
    add column details jsonb not null default '{}';
comment on table nullspend.events is
    'What happened that people want to hear of, once each. NOTIFY nullspend_events tells of new rows.';
comment on column nullspend.events.what is 'In words, where the other columns do not tell it.';
comment on column nullspend.events.details is 'What belongs to this kind alone.';

alter table nullspend.events add column once text;
comment on column nullspend.events.once is
    'What this event tells only once: no two have the same. Null: it is told each time.';
create unique index events_once on nullspend.events (once);
create index events_by_budget on nullspend.events (budget_id, entity, period_end);

-- Denials: of a budget once a period, of all else once an hour.
create function nullspend.calls_denied() returns trigger
language plpgsql as $$
begin
    insert into nullspend.events (kind, entity, budget_id, period, period_start, period_end, limit_usd,
                                  spent_usd, what, details, once)
    select case d.reason when 'budget_exceeded' then 'exceeded'
                         when 'loop' then 'loop'
                         when 'session_cap' then 'session_cap'
                         else 'denied' end,
           d.entity, b.id, b.period, b.period_start, b.period_end, nullspend.usd(d.limit_nanousd),
           nullspend.usd(d.spent_nanousd),
           case when d.enforced then 'denied: ' else 'would be denied: ' end
               || coalesce(d.rule, d.reason) || ', ' || coalesce(d.process, 'a program')
               || ' asked ' || d.provider || ' for ' || coalesce(d.requested_model, d.operation),
           jsonb_build_object(
               'reason', d.reason, 'rule', d.rule, 'denial_id', d.denial_id, 'enforced', d.enforced,
               'needed_usd', nullspend.usd(d.needed_nanousd),
               'held_usd', nullspend.usd(d.held_nanousd), 'provider', d.provider,
               'model', d.requested_model, 'customer', d.customer, 'agent', d.agent,
               'feature', d.feature, 'session', d.session, 'process', d.process, 'pid', d.pid,
               'hostname', d.hostname),
           concat_ws(' ', 'denied', d.reason, d.enforced, d.entity,
                     case when d.reason <> 'loop' then d.rule end, b.id,
                     coalesce(b.period_start,
                              date_trunc('hour', d.denied_at at time zone 'UTC') at time zone 'UTC'))
    from added d
    left join lateral (
        -- Which budget it was: the row names its entity and its limit.
        select id, period,
               coalesce(nullspend.period_start(period, d.denied_at), '-infinity') as period_start,
               coalesce(nullspend.period_end(period, d.denied_at), 'infinity') as period_end
        from nullspend.budgets
        where d.reason = 'budget_exceeded' and limit_nanousd = d.limit_nanousd
          and (entity = d.entity or (nullspend.entity_is_pattern(entity)
                                     and starts_with(d.entity, rtrim(entity, '*'))))
        order by length(entity) desc, id
        limit 1) as b on true
    where d.reason <> 'velocity' -- whose pause is an event
    order by d.denied_at
    on conflict do nothing;
    return null;
end
$$;
comment on function nullspend.calls_denied() is 'Trigger of denied_calls: writes events.';
create trigger calls_denied after insert on nullspend.denied_calls
    referencing new table as added for each statement execute function nullspend.calls_denied();

-- A period that begins behind one of which people heard.
create function nullspend.periods_begun() returns trigger
language plpgsql set timezone = 'UTC' as $$
begin
    insert into nullspend.events (kind, entity, budget_id, period, period_start, period_end, limit_usd,
                                  spent_usd, what, details, once)
    select 'reset', c.entity, b.id, b.period, c.period_start, c.period_end, b.limit_usd,
           nullspend.usd(c.spent_nanousd), 'a new ' || b.period || ' has begun',
           -- On-call services close the incident of that name.
           jsonb_build_object('resolves', e.kind, 'condition',
                              concat_ws('/', e.kind, e.entity, e.budget_id, e.period, e.period_start)),
           concat_ws(' ', 'reset', b.id, c.entity, c.period_start)
    from added c
    join nullspend.budgets b on b.id = c.budget_id
    join lateral (select * from nullspend.events
                  where budget_id = c.budget_id and entity = c.entity and period_end = c.period_start
                    and kind in ('threshold', 'exceeded', 'velocity')
                  order by kind = 'exceeded' desc, happened_at desc
                  limit 1) as e on true
    on conflict do nothing;
    return null;
end
$$;
comment on function nullspend.periods_begun() is 'Trigger of budget_counters: writes events.';
create trigger periods_begun after insert on nullspend.budget_counters
    referencing new table as added for each statement execute function nullspend.periods_begun();

-- Calls whose price is not known, or whose provider has no name here: once a day.
create function nullspend.call_unknown() returns trigger
language plpgsql as $$
begin
    insert into nullspend.events (kind, what, details, once)
    select kind, what,
           jsonb_build_object('provider', new.provider, 'model', new.model, 'host', new.host,
                              'call_id', new.call_id, 'process', new.process),
           concat_ws(' ', kind, new.provider, case when kind = 'unpriced' then new.model end,
                     (new.started_at at time zone 'UTC')::date)
    from (values
        (new.evidence = 'unpriced', 'unpriced',
         'no price is known for ' || coalesce(new.model, 'a model that is not named') || ' of '
             || new.provider),
        (new.provider like '%.%', 'unknown_provider',
         'calls go to ' || new.provider || ', which is no provider that is known')) as t (so, kind, what)
    where so
    on conflict do nothing;
    return null;
end
$$;
comment on function nullspend.call_unknown() is 'Trigger of calls: writes events.';
create trigger call_unknown after insert on nullspend.calls
    for each row when (new.evidence = 'unpriced' or new.provider like '%.%')
    execute function nullspend.call_unknown();

-- Processes that nothing governs: once a day each program, machine and host.
create function nullspend.process_dark() returns trigger
language plpgsql as $$
begin
    insert into nullspend.events (kind, what, details, once)
    values ('dark',
            new.process || ' on ' || new.hostname || ' talks to '
                || coalesce(nullif(new.host, ''), 'a provider') || ' and nothing governs it: '
                || new.explanation,
            jsonb_build_object('process', new.process, 'pid', new.pid, 'hostname', new.hostname,
                               'host', new.host, 'provider', new.provider, 'reason', new.reason,
                               'next_step', new.next_step),
            concat_ws(' ', 'dark', new.hostname, new.process, new.host,
                      (new.last_seen at time zone 'UTC')::date))
    on conflict do nothing;
    return null;
end
$$;
comment on function nullspend.process_dark() is 'Trigger of coverage_rows: writes events.';
create trigger process_dark after insert or update on nullspend.coverage_rows
    for each row when (new.governed_by = 'dark') execute function nullspend.process_dark();

-- Calls that came late, for Postgres, the collector or the way to them was away: once an hour.
create function nullspend.call_late() returns trigger
language plpgsql as $$
begin
    if current_setting('nullspend.late_told', true) = 'yes' then
        return null; -- of this transaction another call was
    end if;
    perform set_config('nullspend.late_told', 'yes', true);
    insert into nullspend.events (kind, what, details, once)
    values ('lag',
            'a call that ended at ' || to_char(new.ended_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS')
                || ' UTC reached Postgres only now',
            jsonb_build_object('call_id', new.call_id, 'ended_at', new.ended_at,
                               'late_s', floor(extract(epoch from now() - new.ended_at))),
            concat_ws(' ', 'lag', date_trunc('hour', now() at time zone 'UTC')))
    on conflict do nothing;
    return null;
end
$$;
comment on function nullspend.call_late() is 'Trigger of calls: writes events.';
create trigger call_late after insert on nullspend.calls
    for each row when (new.ended_at < now() - interval '5 minutes')
    execute function nullspend.call_late();
