"""Drift of two Parquet files by scouter-ml.

    scouter_drift.py REFERENCE CURRENT

A PSI and an SPC profile of the reference, and the drift of the current table by each. `scouter_profile.py` has the
rest of the package: it is a contender of its own, because it cannot read every column.
"""

import importlib.metadata

import polars
from scouter.drift import Drifter, PsiDriftConfig, SpcDriftConfig

import document


def main():
    reference, current = (polars.read_parquet(path) for path in document.paths())
    texts = [name for name, data_type in current.schema.items() if not data_type.is_numeric()]
    drifter = Drifter()
    psi = drifter.create_drift_profile(
        reference, PsiDriftConfig(space="bench", name="bench", categorical_features=texts))
    indices = drifter.compute_drift(current, psi).features
    # SPC gives a series per column, of samples of 25 rows; of its numbers only the reference's mean has its like here.
    spc = drifter.create_drift_profile(reference, SpcDriftConfig(space="bench", name="bench"))
    drifter.compute_drift(current, spc)
    columns = {}
    for name in current.columns:
        columns[name] = {"psi": indices[name], "reference": {}}
        if name not in texts:
            columns[name]["reference"]["mean"] = spc.features[name].center
    document.write("scouter-ml", importlib.metadata.version("scouter-ml"), [
        "PSI over the baseline's deciles and over text; SPC limits and alarms of samples of 25",
    ], columns)


if __name__ == "__main__":
    main()
