"""Profile and drift of two Parquet files by Evidently's presets, with their defaults.

    evidently_report.py REFERENCE CURRENT

A report of DataSummaryPreset and DataDriftPreset over all columns. Above 1,000 rows Evidently chooses a Wasserstein
distance over the standard deviation for numbers, and Jensen–Shannon over categories.
"""

import re

import evidently
import pandas
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset, DataSummaryPreset

import document

KNOWN = {"MinValue": "min", "MaxValue": "max", "MeanValue": "mean", "StdValue": "stddev"}


def main():
    reference, current = (pandas.read_parquet(path) for path in document.paths())
    numbers = [name for name in current if current[name].dtype.kind in "iuf"]
    texts = [name for name in current if name not in numbers]
    definition = DataDefinition(numerical_columns=numbers, categorical_columns=texts)
    before, after = (Dataset.from_pandas(table, data_definition=definition) for table in (reference, current))
    report = Report([DataSummaryPreset(), DataDriftPreset()]).run(after, before)
    columns = {name: {"reference": {}} for name in current}
    rows = None
    for metric in report.dict()["metrics"]:
        kind = metric["metric_name"].split("(")[0]
        value, settings = metric["value"], metric["config"]
        column = columns.get(settings.get("column"))
        if kind == "RowCount":
            rows = int(value)
        if column is None:
            continue
        if kind in KNOWN:
            column[KNOWN[kind]] = value
        elif kind == "QuantileValue" and settings["quantile"] == 0.5:
            column["median"] = value
        elif kind == "MissingValueCount":
            column["nulls"] = int(value["count"])
        elif kind == "UniqueValueCount":
            column["distinct"] = sum(1 for count in value["counts"].values() if count)
        elif kind == "ValueDrift":
            column[re.sub(r"\W+", "_", settings["method"].lower()).strip("_")] = value
    for column in columns.values():
        column["count"] = rows
    document.write("evidently", evidently.__version__, [
        "count, nulls, min, max, mean, stddev, quartiles; counts of text",
        "numbers: Wasserstein over stddev; text: JS",
        "duplicated and constant rows and columns, histograms for its charts",
    ], columns)


if __name__ == "__main__":
    main()
