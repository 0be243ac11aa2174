"""Profile and drift of two Parquet files by popmon.

    popmon_metrics.py REFERENCE CURRENT

popmon follows histograms over time, so each table is one day: the reference is an external one. All numbers are of the
histograms, with the bins that histogrammar chooses on the reference.
"""

import contextlib
import logging
import math
import sys
import warnings

import pandas
import popmon
from popmon import Settings, make_histograms, stability_metrics

import document

DAY = pandas.Timedelta("1d")
FIRST = pandas.Timestamp("2024-01-01")
AT = "at of the bench"
KNOWN = {"count": "count", "nan": "nulls", "mean": "mean", "std": "stddev", "min": "min", "max": "max", "p50": "median"}


def main():
    logging.disable(logging.INFO)
    warnings.filterwarnings("ignore")
    # popmon writes progress bars; standard output is for the document.
    with contextlib.redirect_stdout(sys.stderr):
        columns = compared(*(pandas.read_parquet(path) for path in document.paths()))
    document.write("popmon", popmon.__version__, [
        "of histograms: count, nulls, min, max, mean, stddev, 7 quantiles, most probable value",
        "of histograms: KS with p, χ² with p, JS, PSI of counts, largest difference",
        "z-scores against the reference, traffic lights",
    ], columns)


def compared(reference, current):
    names = list(current)
    numbers = {name for name in names if current[name].dtype.kind in "iuf"}
    reference[AT], current[AT] = FIRST, FIRST + DAY
    specs = {AT: {"bin_width": DAY.value, "bin_offset": FIRST.value}}
    before, features, specs, axis, types = make_histograms(
        reference, features=[f"{AT}:{name}" for name in names], bin_specs=specs, time_axis=AT, ret_specs=True)
    after = make_histograms(current, features=features, bin_specs=specs, time_axis=axis, var_dtype=types)
    settings = Settings(time_axis=AT, reference_type="external", features=features, bin_specs=specs)
    found = stability_metrics(after, settings=settings, reference=before)
    columns = {}
    for name in names:
        columns[name] = known(found["profiles"][name].iloc[0], name in numbers)
        columns[name]["reference"] = known(found["ref_profiles"][name].iloc[0], name in numbers)
        # popmon's index is of counts and not of shares, and grows with the rows: it is no `psi`.
        drift = found["comparisons"][name].iloc[0]
        n, m = columns[name]["reference"]["count"], columns[name]["count"]
        columns[name].update({"psi_of_counts": drift["ref_psi"], "chi_squared": drift["ref_chi2"]})
        if name in numbers:
            # popmon gives D·√(nm/(n + m)).
            columns[name]["ks"] = drift["ref_ks"] / math.sqrt(n * m / (n + m))
    return columns


def known(row, is_number):
    labels = KNOWN if is_number else ("count", "nan")
    return {KNOWN[label]: row[label] for label in labels if label in row}


if __name__ == "__main__":
    main()
