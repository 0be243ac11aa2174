"""Profile and drift of two Parquet files by NannyML.

    nannyml_drift.py REFERENCE CURRENT

UnivariateDriftCalculator with all its continuous and categorical methods, the calculators of summary statistics and of
missing values. Each table is one chunk, so that the numbers are of the whole table; NannyML's default is ten.
"""

import logging
import warnings

import nannyml
import pandas

import document

CONTINUOUS = ["kolmogorov_smirnov", "jensen_shannon", "wasserstein", "hellinger"]
CATEGORICAL = ["chi2", "jensen_shannon", "l_infinity", "hellinger"]


def calculated(calculator, reference, current):
    """The values of one calculator over the current table, by column."""
    calculator.fit(reference)
    frame = calculator.calculate(current).filter(period="analysis").to_df()
    return {column[:-1]: frame[column].iloc[0] for column in frame.columns if column[-1] == "value"}


def main():
    # One chunk is fewer than NannyML would have for its thresholds, which nobody looks at here.
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    reference, current = (pandas.read_parquet(path) for path in document.paths())
    numbers = [name for name in current if current[name].dtype.kind in "iuf"]
    texts = [name for name in current if name not in numbers]
    columns = {name: {"count": len(current), "reference": {"count": len(reference)}} for name in current}

    drift = nannyml.UnivariateDriftCalculator(
        column_names=numbers + texts, treat_as_categorical=texts, chunk_number=1,
        continuous_methods=CONTINUOUS, categorical_methods=CATEGORICAL)
    for (name, method), value in calculated(drift, reference, current).items():
        columns[name][{"kolmogorov_smirnov": "ks"}.get(method, method)] = value
    for key, calculator in (("mean", nannyml.SummaryStatsAvgCalculator),
                            ("median", nannyml.SummaryStatsMedianCalculator),
                            ("stddev", nannyml.SummaryStatsStdCalculator)):
        found = calculated(calculator(column_names=numbers, chunk_number=1), reference, current)
        for (name, *_), value in found.items():
            columns[name][key] = value
    missing = nannyml.MissingValuesCalculator(column_names=list(columns), normalize=False, chunk_number=1)
    for (name, *_), value in calculated(missing, reference, current).items():
        columns[name]["nulls"] = value
    document.write("nannyml", nannyml.__version__, [
        "count, nulls, mean, median, stddev",
        "numbers: KS, Wasserstein, JS, Hellinger; text: χ² with p, JS, L∞, Hellinger",
        "from 10,000 rows on KS and Wasserstein are of bins",
    ], columns)


if __name__ == "__main__":
    main()
