-- SPDX-License-Identifier: Apache-2.0
-- Mandates: which calls an entity may make at all, whatever money there is.

create function nullspend.words_are_valid(words text[]) returns boolean
language sql immutable parallel safe as $$
    select coalesce(bool_and(word is not null and octet_length(word) between 1 and 192
                             and word !~ '[\x01-\x1f\x7f-\x9f]'), true)
    from unnest(words) as word
$$;
comment on function nullspend.words_are_valid(text[]) is
    'True for words of 1 to 192 bytes without control characters.';

create function nullspend.words(list text) returns text[]
language sql immutable strict parallel safe as $$
    select array_agg(btrim(word) order by place)
    from string_to_table(list, ',') with ordinality as w (word, place)
    where btrim(word) <> ''
$$;
comment on function nullspend.words(text) is
    'The words of a list with commas between: ''a, b'' is {a,b}.';

create table nullspend.mandates (
    id bigint generated always as identity primary key,
    entity text not null unique,
    policy text not null default 'hard',
    allow_models text[] not null default '{}',
    deny_models text[] not null default '{}',
    allow_providers text[] not null default '{}',
    deny_providers text[] not null default '{}',
    allow_hosts text[] not null default '{}',
    deny_hosts text[] not null default '{}',
    allow_operations text[] not null default '{}',
    deny_operations text[] not null default '{}',
    allow_tiers text[] not null default '{}',
    deny_tiers text[] not null default '{}',
    allow_tools text[] not null default '{}',
    deny_tools text[] not null default '{}',
    output_tokens_max bigint,
    require text[] not null default '{}',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint "entity is org, customer:ID (or its like) or tag:K=V"
        check (nullspend.entity_is_valid(entity)),
    constraint "policy is hard or shadow" check (policy in ('hard', 'shadow')),
    constraint "output_tokens_max is above 0" check (output_tokens_max > 0),
    constraint "words of a mandate have 1 to 192 bytes, no control characters"
        check (nullspend.words_are_valid(
            allow_models || deny_models || allow_providers || deny_providers || allow_hosts || deny_hosts
            || allow_operations || deny_operations || allow_tiers || deny_tiers || allow_tools || deny_tools)),
    constraint "require is customer, agent, feature, session, key, team, tag:K"
        check (nullspend.words_are_valid(require)
               and ('{' || array_to_string(require, '}{', '?') || '}')
                   ~ '^({}|({(customer|agent|feature|session|key|team|tag:[^=*{}]+)})+)$'),
    constraint "the words of a mandate are too long together (18000 bytes)"
        check (octet_length(array_to_string(
            allow_models || deny_models || allow_providers || deny_providers || allow_hosts || deny_hosts
            || allow_operations || deny_operations || allow_tiers || deny_tiers || allow_tools || deny_tools
            || require, '   ')) <= 18000)
);
comment on table nullspend.mandates is
    'Which calls an entity may make at all: a call must keep to the mandates of all its entities. Insert, update and delete with plain SQL: in force within a second. '
    'In a pattern * stands for any characters; case is of no matter. An empty list says nothing.';
comment on column nullspend.mandates.id is 'Number of the mandate.';
comment on column nullspend.mandates.entity is
    'Whose calls: org, customer:ID, agent:ID, feature:ID, session:ID, key:ID, team:ID or tag:K=V. '
    'customer:* and its like hold for every such entity that has no mandate of its own.';
comment on column nullspend.mandates.policy is 'hard denies, shadow only records.';
comment on column nullspend.mandates.allow_models is
    'Patterns of requested models: a call must fit one of them.';
comment on column nullspend.mandates.deny_models is
    'Patterns of requested models: a call that fits one is denied, allowed or not.';
comment on column nullspend.mandates.allow_providers is
    'Patterns of providers: a call must fit one of them.';
comment on column nullspend.mandates.deny_providers is
    'Patterns of providers: a call that fits one is denied, allowed or not.';
comment on column nullspend.mandates.allow_hosts is
    'Patterns of hosts: a call must fit one of them.';
comment on column nullspend.mandates.deny_hosts is
    'Patterns of hosts: a call that fits one is denied, allowed or not.';
comment on column nullspend.mandates.allow_operations is
    'Patterns of operations (chat, embeddings, …): a call must fit one of them.';
comment on column nullspend.mandates.deny_operations is
    'Patterns of operations (chat, embeddings, …): a call that fits one is denied, allowed or not.';
comment on column nullspend.mandates.allow_tiers is
    'Patterns of service tiers as requested; a request without one asks for default: a call must fit one of them.';
comment on column nullspend.mandates.deny_tiers is
    'Patterns of service tiers as requested; a request without one asks for default: a call that fits one is denied, allowed or not.';
comment on column nullspend.mandates.allow_tools is
    'Patterns of tools'' types (web_search, code_interpreter, mcp, …; function for those of the program): each tool of a call must fit one of them.';
comment on column nullspend.mandates.deny_tools is
    'Patterns of tools'' types: a call with one that fits is denied, allowed or not.';
comment on column nullspend.mandates.output_tokens_max is
    'To how many tokens a request must limit its answer, at most; null: it need not.';
comment on column nullspend.mandates.require is
    'What a call must name: customer, agent, feature, session, key, team, or tag:K for a tag of that key.';
comment on column nullspend.mandates.created_at is 'When the mandate was made.';
comment on column nullspend.mandates.updated_at is 'When it was last changed.';

create function nullspend.mandate_fill() returns trigger
language plpgsql as $$
begin
    new.created_at := case when tg_op = 'INSERT' then now() else old.created_at end;
    new.updated_at := now();
    return new;
end
$$;
comment on function nullspend.mandate_fill() is 'Trigger of mandates: keeps its times.';
create trigger mandate_fill before insert or update on nullspend.mandates
    for each row execute function nullspend.mandate_fill();
create trigger mandates_changed after insert or update or delete or truncate on nullspend.mandates
    for each statement execute function nullspend.budgets_changed();
comment on function nullspend.budgets_changed() is
    'Trigger of budgets and mandates: counts the revision and tells the collector.';
comment on table nullspend.budgets_revision is
    'One row: grows with every change of budgets or mandates, and NOTIFY nullspend_budgets tells of it.';
comment on column nullspend.budgets_revision.revision is
    'How often they changed. A change is in force when collector_state.enforced_revision has reached it.';

create function nullspend.mandate_words(mandate nullspend.mandates) returns table (list text, word text)
language sql stable as $$
    select l.list, w.word
    from (values
        ('allow_models', mandate.allow_models),
        ('deny_models', mandate.deny_models),
        ('allow_providers', mandate.allow_providers),
        ('deny_providers', mandate.deny_providers),
        ('allow_hosts', mandate.allow_hosts),
        ('deny_hosts', mandate.deny_hosts),
        ('allow_operations', mandate.allow_operations),
        ('deny_operations', mandate.deny_operations),
        ('allow_tiers', mandate.allow_tiers),
        ('deny_tiers', mandate.deny_tiers),
        ('allow_tools', mandate.allow_tools),
        ('deny_tools', mandate.deny_tools),
        ('require', mandate.require)
    ) as l (list, words), unnest(l.words) as w (word)
$$;
comment on function nullspend.mandate_words(nullspend.mandates) is
    'The words of all lists of a mandate, a row each.';

alter table nullspend.denied_calls add column rule text;
comment on column nullspend.denied_calls.rule is
    'Reasons mandate and customer_required: what the call did not keep to.';

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
       nullspend.usd(overdraft_nanousd) as overdraft_usd, rule
from nullspend.denied_calls;
comment on column nullspend.denials.rule is
    'Reasons mandate and customer_required: what the call did not keep to.';
