"""Profile and drift of two Parquet files by hand: Polars reads and sorts, numpy does the rest.

    polars_numpy.py REFERENCE CURRENT

Counts, means and extrema of all columns come from one lazy, streaming query per file. Each numeric column is then
sorted once per side; distinct values, quantiles, the baseline's deciles, Kolmogorov–Smirnov and Wasserstein are read
off the sorted values, as scipy's own functions do it. Columns are loaded in groups, so that memory does not grow with
all of them.
"""

import numpy
import polars
import scipy.special

import document

QUANTILES = [0.25, 0.5, 0.75]
DECILES = [tenth / 10 for tenth in range(1, 10)]
MOST_FREQUENT = 10
# Values of one side that are loaded together.
LOADED_VALUES = 64_000_000


def profile(path, schema):
    """One streaming query: rows and, of each column, the statistics that need no order."""
    parts = [polars.len().alias("rows")]
    for name, data_type in schema.items():
        column = polars.col(name)
        parts.append(column.null_count().alias(f"{name}\0nulls"))
        if data_type.is_numeric():
            parts += [column.min().alias(f"{name}\0min"), column.max().alias(f"{name}\0max"),
                      column.mean().alias(f"{name}\0mean"), column.std().alias(f"{name}\0stddev")]
    row = polars.scan_parquet(path).select(parts).collect(engine="streaming").row(0, named=True)
    found = {name: {"count": row["rows"]} for name in schema}
    for key, value in row.items():
        name, separator, statistic = key.rpartition("\0")
        if separator:
            found[name][statistic] = value
    return found


def quantiles(ordered, shares):
    """Lower empirical quantiles of sorted values."""
    return [ordered[max(int(numpy.ceil(share * len(ordered))) - 1, 0)] for share in shares]


def distinct(ordered):
    return int(numpy.count_nonzero(ordered[1:] != ordered[:-1])) + 1


def numbers(reference, current):
    """Distinct, quantiles, KS with its p-value, Wasserstein, and PSI and Jensen–Shannon over the baseline's deciles."""
    a, b = (side.drop_nulls().sort().to_numpy() for side in (reference, current))
    if not len(a) or not len(b):
        return {}, {}
    both = numpy.concatenate([a, b])
    # Two sorted runs: a stable sort merges them.
    both.sort(kind="stable")
    difference = numpy.searchsorted(a, both, side="right") / len(a)
    difference -= numpy.searchsorted(b, both, side="right") / len(b)
    numpy.abs(difference, out=difference)
    ks = difference.max()
    wasserstein = numpy.dot(difference[:-1], numpy.diff(both))
    edges = numpy.unique(quantiles(a, DECILES))
    bins = [numpy.diff([0, *numpy.searchsorted(side, edges, side="right"), len(side)]).tolist() for side in (a, b)]
    psi, js = document.shares_differ(*bins)
    middle = quantiles(b, QUANTILES)
    pvalue = scipy.special.kolmogorov(ks * numpy.sqrt(len(a) * len(b) / (len(a) + len(b))))
    return {"distinct": distinct(b), "median": middle[1], "quantiles": middle, "ks": ks, "ks_pvalue": pvalue,
            "wasserstein": wasserstein, "psi": psi, "js": js}, {"distinct": distinct(a)}


def categories(reference, current):
    """Distinct, most frequent, PSI, Jensen–Shannon, total variation, and chi² with p over the values of both."""
    counted = [side.drop_nulls().alias("value").value_counts() for side in (reference, current)]
    both = counted[0].join(counted[1], on="value", how="full", coalesce=True).fill_null(0)
    a, b = both["count"].to_numpy().astype(float), both["count_right"].to_numpy().astype(float)
    n, m = a.sum(), b.sum()
    psi, js = document.shares_differ(a.tolist(), b.tolist())
    expected = [(a + b) * side / (n + m) for side in (n, m)]
    chi_squared = sum(((side - e) ** 2 / e).sum() for side, e in zip((a, b), expected))
    frequent = counted[1].sort(["count", "value"], descending=[True, False]).head(MOST_FREQUENT).rows()
    return {"distinct": counted[1].height, "frequent": frequent, "psi": psi, "js": js,
            "tv": numpy.abs(a / n - b / m).sum() / 2, "chi_squared": chi_squared,
            "chi_squared_pvalue": scipy.special.chdtrc(max(len(a) - 1, 1), chi_squared)}, {
        "distinct": counted[0].height}


def main():
    paths = document.paths()
    schema = polars.read_parquet_schema(paths[1])
    before, after = (profile(path, schema) for path in paths)
    names = list(schema)
    rows = max(side[names[0]]["count"] for side in (before, after))
    group = max(LOADED_VALUES // max(rows, 1), 1)
    for start in range(0, len(names), group):
        some = names[start:start + group]
        sides = [polars.read_parquet(path, columns=some) for path in paths]
        for name in some:
            measure = numbers if schema[name].is_numeric() else categories
            drift, reference_only = measure(*(side[name] for side in sides))
            after[name].update(drift)
            before[name].update(reference_only)
            after[name]["reference"] = before[name]
    document.write("polars", f"{polars.__version__}, numpy {numpy.__version__}", [
        "count, nulls, min, max, mean, stddev, exact distinct",
        "numbers: exact quartiles, exact KS with p, exact Wasserstein, PSI and JS over the baseline's deciles",
        "text: 10 most frequent, PSI, JS, TV, χ² with p",
    ], after)


if __name__ == "__main__":
    main()
