"""Profile and drift of two Parquet files by whylogs.

    whylogs_profile.py REFERENCE CURRENT

A profile of each table (sketches: KLL, HyperLogLog, frequent items) and the drift scores of its visualiser with their
defaults: Kolmogorov–Smirnov of KLL sketches for numbers, chi² of frequent items for text.
"""

import logging
import math

import pandas
import whylogs
from whylogs.viz.drift.column_drift_algorithms import calculate_drift_scores

import document

KNOWN = {"counts/n": "count", "counts/null": "nulls", "distribution/mean": "mean", "distribution/stddev": "stddev",
         "distribution/min": "min", "distribution/max": "max", "distribution/median": "median",
         "cardinality/est": "distinct"}


def known(summary, name, is_number):
    found = {key: summary.at[name, label] for label, key in KNOWN.items()
             if label in summary and (is_number or not label.startswith("distribution"))}
    return {key: value for key, value in found.items() if not (isinstance(value, float) and math.isnan(value))}


def main():
    logging.disable(logging.WARNING)
    reference, current = (pandas.read_parquet(path) for path in document.paths())
    before, after = (whylogs.log(table).view() for table in (reference, current))
    scores = calculate_drift_scores(target_view=after, reference_view=before, with_thresholds=True)
    summaries = before.to_pandas(), after.to_pandas()
    columns = {}
    for name in current:
        is_number = current[name].dtype.kind in "iuf"
        columns[name] = known(summaries[1], name, is_number)
        columns[name]["reference"] = known(summaries[0], name, is_number)
        score = scores.get(name) or {}
        if is_number and score.get("algorithm") == "ks":
            columns[name]["ks"], columns[name]["ks_pvalue"] = score["statistic"], score["pvalue"]
        elif score.get("algorithm") == "chi-square":
            columns[name]["chi_squared"] = score["statistic"]
    document.write("whylogs", whylogs.__version__, [
        "count, nulls, min, max, mean, stddev; quantiles, distinct and frequent items of sketches",
        "numbers: KS with p of sketches; text: χ² with p of frequent items",
    ], columns)


if __name__ == "__main__":
    main()
