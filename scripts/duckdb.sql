-- Views over a lake, for DuckDB 1.5 and later. They read files and write nothing.
--
-- DuckDB shell, lake in ./lake, or elsewhere:
--     duckdb -init scripts/duckdb.sql
--     duckdb -cmd "SET VARIABLE lake = '/srv/lake'" -cmd ".read scripts/duckdb.sql"
-- (The shell reads -init before it runs -cmd, so the two do not go together.)
-- Python:
--     con.execute("SET VARIABLE lake = '/srv/lake'")
--     con.execute(open("scripts/duckdb.sql").read())
-- One query, printed as a table:
--     scripts/query /srv/lake "SELECT count(*) FROM certificates"
--
-- `lake` is a folder, or the URL of a bucket and prefix as in --lake: DuckDB reads s3:// after `LOAD httpfs`.
--
--     certificates, entries, findings, rejected   the tables, with `date`, the UTC day of `seen` (NULL: unknown)
--     coverage            stretches of logs that are all in the lake, with `date`, the UTC day of `head_at`
--     proven              the verified ones among them, merged
--     gaps                times in which a feed was not heard, with `date`, the UTC day of `gap_to`
--     certificates_best   certificates, without rows that were only claimed and whose DER has arrived since
--     names               one row per DNS name
--     issuances           one row per issuance: precertificate and final certificate side by side
--
-- New files show at the next query. A table without any file is an empty table with the columns listed here; its
-- first file, and a column that is new to the lake, show when this script is read again.
-- Filters on sha256, apex_rev, seen and date skip files and row groups of the tables and of `certificates_best`;
-- `names` and `issuances` group all certificates first.

SET VARIABLE lake = rtrim(coalesce(getvariable('lake'), './lake'), '/');

-- One table as a query text; `columns` is its text while it has no file, which read_parquet refuses to read.
-- The type of `date` is given, not guessed: with a folder of unknown days alone it would be text.
CREATE OR REPLACE TEMP MACRO ct_table(files, columns) AS CASE
    WHEN (SELECT count(*) FROM glob(files)) = 0 THEN 'SELECT ' || columns || ', NULL::DATE AS date WHERE false'
    ELSE 'SELECT * FROM read_parquet(''' || replace(files, '''', '''''')
        || ''', hive_partitioning = true, hive_types = {''date'': DATE}, union_by_name = true)'
END;

SET VARIABLE ct_certificates = ct_table(getvariable('lake') || '/certificates/*/*.parquet', '
    NULL::VARCHAR AS id_kind, NULL::VARCHAR AS id, NULL::VARCHAR AS sha256, NULL::VARCHAR AS sha1,
    NULL::VARCHAR AS tbs_sha256, NULL::VARCHAR AS spki_sha256, NULL::VARCHAR AS kind, NULL::VARCHAR AS serial,
    NULL::VARCHAR AS issuer_dn, NULL::VARCHAR AS issuer_cn, NULL::VARCHAR AS issuer_org,
    NULL::VARCHAR AS subject_dn, NULL::VARCHAR AS subject_cn, NULL::TIMESTAMP AS not_before,
    NULL::TIMESTAMP AS not_after, NULL::VARCHAR[] AS names, NULL::VARCHAR[] AS registered_domains,
    NULL::VARCHAR AS apex_rev, NULL::VARCHAR[] AS ips, NULL::VARCHAR AS key_algorithm, NULL::BIGINT AS key_bits,
    NULL::VARCHAR AS signature_algorithm, NULL::BOOLEAN AS is_ca, NULL::BIGINT AS sct_count,
    NULL::VARCHAR AS parse, NULL::VARCHAR AS parse_error, NULL::BIGINT AS der_bytes, NULL::TIMESTAMP AS seen,
    NULL::VARCHAR AS log, NULL::BIGINT AS log_index, NULL::VARCHAR AS feed');

SET VARIABLE ct_entries = ct_table(getvariable('lake') || '/entries/*/*.parquet', '
    NULL::VARCHAR AS log, NULL::BIGINT AS log_index, NULL::VARCHAR AS kind, NULL::VARCHAR AS id_kind,
    NULL::VARCHAR AS id, NULL::VARCHAR AS sha256, NULL::TIMESTAMP AS submitted, NULL::TIMESTAMP AS seen,
    NULL::VARCHAR AS feed, NULL::BOOLEAN AS verified');

SET VARIABLE ct_findings = ct_table(getvariable('lake') || '/findings/*/*.parquet', '
    NULL::VARCHAR AS id, NULL::VARCHAR AS module, NULL::VARCHAR AS "check", NULL::VARCHAR AS severity,
    NULL::DOUBLE AS score, NULL::VARCHAR AS name, NULL::VARCHAR AS sha256, NULL::VARCHAR AS tbs_sha256,
    NULL::TIMESTAMP AS seen, NULL::VARCHAR AS detail, NULL::BOOLEAN AS once');

SET VARIABLE ct_rejected = ct_table(getvariable('lake') || '/rejected/*/*.parquet', '
    NULL::VARCHAR AS feed, NULL::VARCHAR AS segment, NULL::BIGINT AS line, NULL::BIGINT AS "offset",
    NULL::VARCHAR AS reason, NULL::VARCHAR AS detail, NULL::TIMESTAMP AS seen, NULL::BLOB AS raw');

SET VARIABLE ct_gaps = ct_table(getvariable('lake') || '/gaps/*/*.parquet', '
    NULL::VARCHAR AS feed, NULL::TIMESTAMP AS gap_from, NULL::TIMESTAMP AS gap_to, NULL::VARCHAR AS reason,
    NULL::VARCHAR AS detail');

SET VARIABLE ct_coverage = ct_table(getvariable('lake') || '/coverage/*/*.parquet', '
    NULL::VARCHAR AS log, NULL::BIGINT AS first, NULL::BIGINT AS last, NULL::BIGINT AS tree_size, NULL::VARCHAR AS root,
    NULL::TIMESTAMP AS head_at, NULL::BOOLEAN AS verified, NULL::VARCHAR AS feed');

CREATE OR REPLACE TEMP VIEW certificates AS FROM query(getvariable('ct_certificates'));
CREATE OR REPLACE TEMP VIEW coverage AS FROM query(getvariable('ct_coverage'));
CREATE OR REPLACE TEMP VIEW gaps AS FROM query(getvariable('ct_gaps'));

-- Stretches of logs whose entries are proven to lie in a signed tree, overlaps and neighbours merged.
CREATE OR REPLACE TEMP VIEW proven AS
SELECT log, min(first) AS first, max(last) AS last
FROM (
    SELECT log, first, last, count(*) FILTER (WHERE before IS NULL OR first > before + 1)
        OVER (PARTITION BY log ORDER BY first, last) AS island
    FROM (
        SELECT log, first, last, max(last) OVER (
            PARTITION BY log ORDER BY first, last ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
        FROM coverage WHERE verified))
GROUP BY log, island;

-- An entry is published before its tree head is reached: what proved it since stands in `coverage`. Where a feed says
-- that another certificate stands at an index, only what was read from the log itself is proven.
SET VARIABLE ct_entries_proven = CASE
    WHEN (SELECT count(*) FROM glob(getvariable('lake') || '/coverage/*/*.parquet')) = 0 THEN getvariable('ct_entries')
    ELSE 'SELECT entry.* EXCLUDE (alone)
            REPLACE (CASE WHEN proven.last >= entry.log_index AND alone THEN true ELSE entry.verified END AS verified)
        FROM (SELECT *, feed = ''logs'' OR count(*) OVER (PARTITION BY log, log_index) = 1 AS alone
            FROM (' || getvariable('ct_entries') || ')) AS entry
        ASOF LEFT JOIN proven ON entry.log = proven.log AND entry.log_index >= proven.first'
END;
CREATE OR REPLACE TEMP VIEW entries AS FROM query(getvariable('ct_entries_proven'));
CREATE OR REPLACE TEMP VIEW findings AS FROM query(getvariable('ct_findings'));
CREATE OR REPLACE TEMP VIEW rejected AS FROM query(getvariable('ct_rejected'));

-- A feed without DER makes a row from its claim; the row with the DER comes beside it, not instead of it.
CREATE OR REPLACE TEMP VIEW certificates_best AS
SELECT * FROM certificates WHERE id_kind NOT IN ('sha256', 'sha1')
UNION ALL BY NAME
SELECT claim.* FROM certificates AS claim
ANTI JOIN (SELECT id FROM certificates WHERE id_kind = 'der') AS proof ON claim.id = proof.id
WHERE claim.id_kind = 'sha256'
UNION ALL BY NAME
SELECT claim.* FROM certificates AS claim
ANTI JOIN (SELECT sha1 FROM certificates WHERE id_kind = 'der') AS proof ON claim.id = proof.sha1
WHERE claim.id_kind = 'sha1';

-- A name's registered domain is the longest of its certificate's that the name is, or ends with after a dot.
CREATE OR REPLACE TEMP VIEW names AS
SELECT
    name,
    max(right(name, list_max(list_transform(
        list_filter(registered_domains, lambda domain: name = domain OR ends_with(name, '.' || domain)),
        lambda domain: length(domain))))) AS registered_domain,
    starts_with(name, '*.') AS wildcard,
    min(seen) AS first_seen,
    max(seen) AS last_seen,
    count(*) AS certificates
FROM (SELECT unnest(names) AS name, registered_domains, seen FROM certificates_best)
GROUP BY name;

-- RFC 6962 section 3.1: a precertificate and its final certificate differ by the poison extension and the SCT list.
CREATE OR REPLACE TEMP VIEW issuances AS
SELECT
    tbs_sha256,
    arg_min(sha256, (seen, sha256)) FILTER (WHERE kind = 'precert') AS precert_sha256,
    min(seen) FILTER (WHERE kind = 'precert') AS precert_first_seen,
    arg_min(sha256, (seen, sha256)) FILTER (WHERE kind = 'final') AS final_sha256,
    min(seen) FILTER (WHERE kind = 'final') AS final_first_seen,
    arg_min(names, (seen, sha256)) AS names
FROM certificates_best
WHERE tbs_sha256 IS NOT NULL
GROUP BY tbs_sha256;
