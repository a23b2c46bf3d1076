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
