"""Reads a lake the way any reader does: DuckDB and plain globs."""

import duckdb

TABLES = ("certificates", "entries", "findings", "rejected")

# What makes a row of each table unique.
KEYS = {
    "certificates": ("id_kind", "id"),
    "entries": ("log", "log_index", "id_kind", "id"),
    "findings": ("id",),
    "rejected": ("feed", "segment", "offset"),
}

# What of a rejected message depends on how the input was cut into files.
PLACE = ("segment", "line", "offset")


def connect():
    connection = duckdb.connect()
    connection.execute("SET threads = 2")
    connection.execute("SET enable_progress_bar = false")
    return connection


def glob(lake, table):
    return f"{lake}/{table}/*/*.parquet"


def files(lake, table):
    return sorted(lake.glob(f"{table}/*/*.parquet"))


def scan(lake, table):
    """A FROM item. The path is one of ours and holds no quote."""
    return (f"read_parquet('{glob(lake, table)}', hive_partitioning = true, hive_types = {{'date': DATE}}, "
            "union_by_name = true)")


def query(lake, table, sql, parameters=()):
    """Rows of `sql` over `FROM {t}`; none when the table has no file."""
    if not files(lake, table):
        return []
    return connect().execute(sql.format(t=scan(lake, table)), parameters).fetchall()


def count(lake, table):
    rows = query(lake, table, "SELECT count(*) FROM {t}")
    return rows[0][0] if rows else 0


def dicts(lake, table, where="true"):
    """Rows as dictionaries by column."""
    if not files(lake, table):
        return []
    result = connect().execute(f"SELECT * FROM {scan(lake, table)} WHERE {where}")
    columns = [column[0] for column in result.description]
    return [dict(zip(columns, row)) for row in result.fetchall()]


def columns(lake, table, without=()):
    rows = query(lake, table, "SELECT column_name FROM (DESCRIBE SELECT * FROM {t})")
    return sorted(name for (name,) in rows if name not in without)


def contents(lake, table, without=()):
    """Number of rows and a digest over all of them, ordered, all columns but `without`."""
    names = columns(lake, table, without)
    if not names:
        return (0, "")
    selected = ", ".join(f'"{name}"' for name in names)
    return query(lake, table, f"""
        SELECT count(*), md5(string_agg(h::VARCHAR, ',' ORDER BY h))
        FROM (SELECT hash(r) AS h FROM (SELECT {selected} FROM {{t}}) AS r)""")[0]


def difference(left, right, without_rejected=()):
    """The first table in which two lakes differ, in words; None when all four are alike."""
    for table in TABLES:
        without = without_rejected if table == "rejected" else ()
        ours, theirs = contents(left, table, without), contents(right, table, without)
        if ours == theirs:
            continue
        if ours[0] != theirs[0]:
            return f"{table}: {ours[0]} rows against {theirs[0]}"
        names = columns(left, table, without)
        if names != columns(right, table, without):
            return f"{table}: other columns"
        selected = ", ".join(f'"{name}"' for name in names)
        connection = connect()
        for name in names:
            wrong = connection.execute(f"""
                SELECT count(*) FROM (SELECT "{name}" FROM {scan(left, table)} EXCEPT ALL
                                      SELECT "{name}" FROM {scan(right, table)})""").fetchone()[0]
            if wrong:
                return f"{table}: {wrong} values of {name} differ"
        wrong = connection.execute(f"""
            SELECT count(*) FROM (SELECT {selected} FROM {scan(left, table)} EXCEPT ALL
                                  SELECT {selected} FROM {scan(right, table)})""").fetchone()[0]
        return f"{table}: {wrong} rows combine the same values differently"
    return None


def duplicates(lake, table):
    key = ", ".join(f'"{name}"' for name in KEYS[table])
    rows = query(lake, table, f"SELECT count(*) - count(DISTINCT row({key})) FROM {{t}}")
    return rows[0][0] if rows else 0
