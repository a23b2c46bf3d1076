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
