-- For those who look for words in the record: bytes with the letters A to Z made small, under the name that SQLite has for
-- it. Byte for byte, so that whatever stands in an entry can be looked into, and no setting of the database matters.

create function lower(whole bytea) returns bytea
    language sql immutable parallel safe as $$select decode(lower(encode(whole, 'escape') collate "C"), 'escape')$$;
