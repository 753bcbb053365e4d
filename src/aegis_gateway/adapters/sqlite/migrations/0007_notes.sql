-- Why a configuration was applied.

alter table config_version add column note text not null default '';
