"""Profile and drift of two Parquet files by hand-written SQL of DuckDB.

    duckdb_sql.py REFERENCE CURRENT

Counts, means and extrema of all columns come from one scan of each file. What needs the order of the values comes from
one sorted table per column: each distinct value with the cumulative counts of both files. Distinct values, quantiles,
the baseline's deciles, Kolmogorov–Smirnov and Wasserstein are aggregates of it, so a column is sorted once and not once
per statistic, and only one column is in memory at a time. Text and flags are counted by value.
"""

import os

import duckdb

import document

QUANTILES = [0.25, 0.5, 0.75]
DECILES = [tenth / 10 for tenth in range(1, 10)]
NUMBERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "FLOAT", "DOUBLE", "DECIMAL")
MOST_FREQUENT = 10


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


def literal(text):
    return "'" + text.replace("'", "''") + "'"


def profile(connection, path, columns):
    """One scan: rows and, of each column, the statistics that need no order."""
    parts = ["count(*)"]
    for name, is_number in columns.items():
        column = quoted(name)
        parts.append(f"count({column})")
        if is_number:
            parts.append(f"min({column}), max({column}), avg({column}), stddev_samp({column})")
    values = iter(connection.execute(f"SELECT {', '.join(parts)} FROM read_parquet({literal(path)})").fetchone())
    rows = next(values)
    found = {}
    for name, is_number in columns.items():
        found[name] = {"count": rows, "nulls": rows - next(values)}
        if is_number:
            found[name].update(zip(("min", "max", "mean", "stddev"), (next(values) for _ in range(4))))
    return found


def numbers(connection, name, reference, current, n, m):
    """Distinct, quantiles, KS, Wasserstein, and PSI and Jensen–Shannon over the baseline's deciles."""
    column = quoted(name)
    # Doubles hold the counts exactly; sums of BIGINT would be HUGEINT, which is slower.
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE sorted AS
        SELECT v, sum(a) AS a, sum(b) AS b
        FROM (SELECT {column} AS v, 1::DOUBLE AS a, 0::DOUBLE AS b FROM read_parquet({literal(reference)})
              UNION ALL
              SELECT {column}, 0, 1 FROM read_parquet({literal(current)}))
        WHERE v IS NOT NULL GROUP BY v ORDER BY v""")
    # A window without ORDER BY keeps the order of the table and streams: half the time of a window that sorts.
    connection.execute("""
        CREATE OR REPLACE TEMP TABLE ordered AS
        SELECT v, a, b, sum(a) OVER upto AS ca, sum(b) OVER upto AS cb, lead(v) OVER () AS next_v
        FROM sorted WINDOW upto AS (ROWS UNBOUNDED PRECEDING)""")
    quantiles = ", ".join(f"min(v) FILTER (cb >= ceil({q} * {m}))" for q in QUANTILES)
    deciles = ", ".join(f"min(v) FILTER (ca >= ceil({q} * {n}))" for q in DECILES)
    ks, wasserstein, distinct, reference_distinct, *rest = connection.execute(f"""
        SELECT max(abs(ca / {n} - cb / {m})), sum(abs(ca / {n} - cb / {m}) * (next_v - v)),
               count(*) FILTER (b > 0), count(*) FILTER (a > 0), {quantiles}, {deciles}
        FROM ordered""").fetchone()
    quantiles, edges = rest[:len(QUANTILES)], sorted(set(rest[len(QUANTILES):]))
    bins = []
    for total, cumulative in ((n, "ca"), (m, "cb")):
        at_edges = ", ".join(f"coalesce(max({cumulative}) FILTER (v <= {edge!r}), 0)" for edge in edges)
        sums = [0, *connection.execute(f"SELECT {at_edges} FROM ordered").fetchone(), total]
        bins.append([high - low for low, high in zip(sums, sums[1:])])
    psi, js = document.shares_differ(*bins)
    return {"distinct": distinct, "median": quantiles[1], "quantiles": quantiles, "ks": ks, "wasserstein": wasserstein,
            "psi": psi, "js": js}, {"distinct": reference_distinct}


def categories(connection, name, reference, current, n, m):
    """Distinct, most frequent, PSI, Jensen–Shannon, total variation and chi² over the values of both files."""
    column = quoted(name)
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE counted AS
        SELECT v, count(*) FILTER (NOT is_current) AS a, count(*) FILTER (is_current) AS b
        FROM (SELECT {column} AS v, false AS is_current FROM read_parquet({literal(reference)})
              UNION ALL
              SELECT {column}, true FROM read_parquet({literal(current)}))
        WHERE v IS NOT NULL GROUP BY v""")
    least = document.LEAST_SHARE
    psi, js, tv, chi_squared, distinct, reference_distinct = connection.execute(f"""
        WITH share AS (SELECT a, b, a / {n} AS p, b / {m} AS q,
                              greatest(a / {n}, {least}) AS pf, greatest(b / {m}, {least}) AS qf,
                              (a + b) * {n} / ({n} + {m}) AS ea, (a + b) * {m} / ({n} + {m}) AS eb
                       FROM counted)
        SELECT sum((qf - pf) * ln(qf / pf)),
               sqrt(greatest(0, sum(CASE WHEN p > 0 THEN p * log2(2 * p / (p + q)) ELSE 0 END
                                    + CASE WHEN q > 0 THEN q * log2(2 * q / (p + q)) ELSE 0 END) / 2)),
               sum(abs(p - q)) / 2, sum((a - ea) ^ 2 / ea + (b - eb) ^ 2 / eb),
               count(*) FILTER (b > 0), count(*) FILTER (a > 0)
        FROM share""").fetchone()
    frequent = connection.execute(f"SELECT v, b FROM counted ORDER BY b DESC, v LIMIT {MOST_FREQUENT}").fetchall()
    return {"distinct": distinct, "frequent": frequent, "psi": psi, "js": js, "tv": tv, "chi_squared": chi_squared}, {
        "distinct": reference_distinct}


def main():
    reference, current = document.paths()
    connection = duckdb.connect()
    connection.execute(f"SET temp_directory = {literal(os.environ.get('TMPDIR', '/tmp') + '/duckdb')}")
    # Files are opened once per column: their footers are kept.
    connection.execute("SET parquet_metadata_cache = true")
    described = connection.execute(f"DESCRIBE SELECT * FROM read_parquet({literal(current)})").fetchall()
    columns = {name: data_type.startswith(NUMBERS) for name, data_type, *_ in described}
    before, after = profile(connection, reference, columns), profile(connection, current, columns)
    for name, is_number in columns.items():
        n, m = (side["count"] - side["nulls"] for side in (before[name], after[name]))
        measure = numbers if is_number else categories
        drift, reference_only = measure(connection, name, reference, current, float(n), float(m))
        after[name].update(drift)
        before[name].update(reference_only)
        after[name]["reference"] = before[name]
    document.write("duckdb", duckdb.__version__, [
        "count, nulls, min, max, mean, stddev, exact distinct",
        "numbers: exact quartiles, exact KS and Wasserstein, PSI and JS over the baseline's deciles",
        "text: 10 most frequent, PSI, JS, TV, χ² statistic",
    ], after)


if __name__ == "__main__":
    main()
