-- Each line of a bill says whence its price is.

alter table charge_line add column price_source text not null default 'configuration';
