"""What every peer prints: one JSON document about the current table and how it differs from the reference.

    {"peer": "…", "version": "…", "computed": ["…"],
     "columns": {"NAME": {"count": 1, "mean": 1.0, …, "ks": 0.1, "reference": {"count": 1, "mean": 1.0}}}}

`count` (rows), `nulls`, `mean`, `stddev`, `min`, `max`, `distinct`, `median` are of the current table, and under
`reference` of the other one. `ks`, `psi` and `wasserstein` compare the two. A peer gives those that it has.
"""

import json
import math
import sys

# What a share is raised to before it enters a logarithm.
LEAST_SHARE = 1e-4


def paths():
    """The two Parquet files of the command line: reference and current."""
    if len(sys.argv) != 3:
        sys.exit(f"usage: {sys.argv[0]} REFERENCE CURRENT")
    return sys.argv[1:]


def plain(value):
    """A value as JSON can hold it: no NaN, no infinity, no scalar of numpy."""
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def write(peer, version, computed, columns):
    """Prints the document. `computed` says in words what was computed, for the table of results."""
    document = {"peer": peer, "version": version, "computed": computed, "columns": plain(columns)}
    json.dump(document, sys.stdout, allow_nan=False)
    print()


def shares_differ(reference, current):
    """Population stability index and Jensen–Shannon distance (base 2) of two lists of counts over the same bins.

    A share below a ten-thousandth is raised to it in the index, as in `limno`; a bin that both lack says nothing.
    """
    n, m = sum(reference), sum(current)
    if not n or not m:
        return None, None
    index = divergence = 0.0
    for a, b in zip(reference, current):
        if a == b == 0:
            continue
        p, q = max(a / n, LEAST_SHARE), max(b / m, LEAST_SHARE)
        index += (q - p) * math.log(q / p)
        p, q = a / n, b / m
        middle = (p + q) / 2
        divergence += sum(share * math.log2(share / middle) / 2 for share in (p, q) if share)
    return index, math.sqrt(max(divergence, 0.0))
