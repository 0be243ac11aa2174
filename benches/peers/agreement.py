"""Where a peer's numbers differ from those of `limno compare`.

    agreement.py LIMNO PEER

LIMNO is the output of `limno compare --format json`, PEER a document of a peer. Prints two lines: `yes`, or which
statistics differ; and the statistics that agree in all columns, and of the others how far they are off at most.
README.md says within what they agree.

A program of its own, so that the memory that these documents take is not counted to a contender that is started later.
"""

import json
import sys
from dataclasses import dataclass

# The peers' names of what `limno` has in a profile, in the order in which they are told.
PROFILE = {"count": "count", "nulls": "num_nulls", "min": "min", "max": "max", "mean": "avg", "stddev": "stddev",
           "distinct": "distinct_count", "median": "median"}
# Whose differences are told as they are, and whose in standard deviations; others are told in parts of ours.
ABSOLUTE = ("ks", "psi")
IN_DEVIATIONS = ("min", "max", "mean", "median")
# Naive sums of doubles differ in their last digits.
ROUNDING = 1e-9


@dataclass
class Told:
    values: int = 0
    different: int = 0
    off: float = 0.0


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: agreement.py LIMNO PEER")
    with open(sys.argv[1]) as ours, open(sys.argv[2]) as theirs:
        rows = {row["column_name"]: row for row in json.load(ours)}
        columns = json.load(theirs)["columns"]
    found, missing = {}, len(rows.keys() - columns.keys())
    for name, column in columns.items():
        for statistic, off, is_near in compared(rows.get(name), column):
            told = found.setdefault(statistic, Told())
            told.values += 1
            if not is_near:
                told.different += 1
                told.off = max(told.off, off)
    differ = [statistic for statistic, told in found.items() if told.different]
    agree = [statistic for statistic in found if statistic not in differ]
    parts = [f"{', '.join(agree) or 'nothing'} as limno's"]
    for statistic in differ:
        told = found[statistic]
        off = f"{100 * told.off:.2g} %"
        if statistic in ABSOLUTE or statistic in IN_DEVIATIONS:
            off = f"{told.off:.2g}" + (" sd" if statistic in IN_DEVIATIONS else "")
        parts.append(f"{statistic} off by up to {off} in {told.different} of {told.values} values")
    if missing:
        differ.append("columns")
        parts.append(f"{missing} columns are missing")
    print(f"not {', '.join(differ)}" if differ else "yes" if agree else "nothing to compare")
    print("; ".join(parts))


def compared(row, column):
    """Of each statistic that both have: its name, how far it is off, and whether that is near enough."""
    if row is None:
        return
    for side, theirs in (("current", column), ("reference", column.get("reference") or {})):
        for statistic, name in PROFILE.items():
            ours, value = row[side].get(name), theirs.get(statistic)
            if ours is not None and value is not None:
                difference = abs(value - ours)
                unit = row[side].get("stddev") if statistic in IN_DEVIATIONS else abs(ours)
                yield statistic, difference / (unit or 1), difference <= allowed(statistic, ours, row[side])
    ks, value = row["ks_test"], column.get("ks")
    if ks and value is not None:
        low, high = ks["statistic"] - ROUNDING, ks["statistic"] + row["ks_error"] + ROUNDING
        yield "ks", max(low - value, value - high, 0), low <= value <= high
    low, high, value = row["wasserstein_lower"], row["wasserstein_upper"], column.get("wasserstein")
    if low is not None and high is not None and value is not None:
        slack = ROUNDING * high
        yield "wasserstein", max(low - value, value - high) / high if high else value, \
            low - slack <= value <= high + slack
    ours, value = row["population_stability_index"], column.get("psi")
    if ours is not None and value is not None:
        # The edges of bins are quantiles, so they differ as much as those may.
        yield "psi", abs(value - ours), abs(value - ours) <= 0.001 + 0.1 * ours


def allowed(statistic, ours, profile):
    """How far a value of a profile may be from ours."""
    if statistic in ("mean", "stddev"):
        return ROUNDING * max(abs(ours), profile.get("stddev") or 0)
    if statistic == "distinct" and not profile.get("distinct_is_exact", True):
        return 0.05 * ours
    if statistic == "median":
        # Medians are defined as the lower, the upper or the mean of the two middle values.
        quantiles = profile.get("quantiles") or [0] * 1001
        return (profile.get("quantile_error") or 0) * abs(ours) + 0.01 * (quantiles[750] - quantiles[250])
    return 0


if __name__ == "__main__":
    main()
