"""Profile of two Parquet files by scouter-ml's DataProfiler; `scouter_drift.py` has its drift.

    scouter_profile.py REFERENCE CURRENT

scouter-ml 0.25.0 recurses once per equal value when it looks for quantiles: a column with tens of thousands of zeros
overflows the stack and ends the process. That is then what the table of results says.
"""

import importlib.metadata

import polars
from scouter.profile import DataProfiler

import document


def known(feature, rows):
    found = {"count": rows}
    if feature.numeric_stats is not None:
        numbers = feature.numeric_stats
        found.update({"mean": numbers.mean, "stddev": numbers.stddev, "min": numbers.min, "max": numbers.max,
                      "median": numbers.quantiles.q50, "distinct": numbers.distinct.count})
    elif feature.string_stats is not None:
        found["distinct"] = feature.string_stats.distinct.count
    return found


def main():
    reference, current = (polars.read_parquet(path) for path in document.paths())
    profiler = DataProfiler()
    before, after = (profiler.create_data_profile(table).features for table in (reference, current))
    columns = {}
    for name in current.columns:
        columns[name] = known(after[name], current.height)
        columns[name]["reference"] = known(before[name], reference.height)
    document.write("scouter-ml", importlib.metadata.version("scouter-ml"), [
        "count, min, max, mean, stddev, quartiles, distinct, histogram; lengths and counts of text",
        "no drift",
    ], columns)


if __name__ == "__main__":
    main()
