-- Why a configuration was applied.

alter table config_version add column note text collate "C" not null default '';
