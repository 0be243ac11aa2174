//! Polars data frames in, profiles and drifts as data frames out (feature `polars`).
//!
//! Values are copied into Arrow arrays of this crate's version; the states, and with them the numbers, are the same
//! as for Arrow input.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray};
use polars::prelude::{Column, DataFrame, DataType, IntoColumn, NamedFrom, PolarsError, Series, TimeUnit};

use crate::column::{ColumnKind, ColumnOptions, ColumnState};
use crate::drift::{self, ColumnDrift, DriftOptions};
use crate::profile::{ColumnProfile, FrozenColumn};
use crate::{Error, Result};

impl From<PolarsError> for Error {
    fn from(error: PolarsError) -> Self {
        Self::invalid_argument(format!("polars: {error}"))
    }
}

/// A series as an Arrow array: numbers as Float64 or Int64, times as microseconds, text and flags as they are.
///
/// # Errors
/// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) for types without statistics.
pub fn to_arrow(series: &Series) -> Result<ArrayRef> {
    let micros = DataType::Datetime(TimeUnit::Microseconds, None);
    Ok(match series.dtype() {
        DataType::Boolean => Arc::new(series.bool()?.iter().collect::<BooleanArray>()),
        DataType::String => Arc::new(series.str()?.iter().collect::<StringArray>()),
        data_type if data_type.is_integer() => {
            let integers = series.strict_cast(&DataType::Int64)?;
            Arc::new(integers.i64()?.iter().collect::<Int64Array>())
        }
        data_type if data_type.is_float() => {
            let doubles = series.cast(&DataType::Float64)?;
            Arc::new(doubles.f64()?.iter().collect::<Float64Array>())
        }
        DataType::Date | DataType::Datetime(..) => {
            let instants = series.cast(&micros)?.cast(&DataType::Int64)?;
            Arc::new(instants.i64()?.iter().collect::<TimestampMicrosecondArray>())
        }
        other => {
            return Err(Error::invalid_argument(format!(
                "column {:?} has type {other}, which has no statistics",
                series.name()
            )));
        }
    })
}

/// The state of a series, with the default limits.
///
/// # Errors
/// As [`to_arrow`].
pub fn state(series: &Series) -> Result<ColumnState> {
    let array = to_arrow(series)?;
    ColumnState::of(&array, &ColumnOptions::new(ColumnKind::of(array.data_type())))
}

fn frozen(column: &Column) -> Result<FrozenColumn> {
    Ok(state(column.as_materialized_series())?.freeze())
}

/// One row for each column of `frame`: the numbers of the profile metrics that are single numbers.
///
/// # Errors
/// As [`to_arrow`].
pub fn profile(frame: &DataFrame) -> Result<DataFrame> {
    let profiles = frame.columns().iter().map(|column| Ok(frozen(column)?.profile())).collect::<Result<Vec<_>>>()?;
    let double = |name: &str, of: &dyn Fn(&ColumnProfile) -> Option<f64>| {
        Series::new(name.into(), profiles.iter().map(of).collect::<Vec<_>>()).into_column()
    };
    let count = |name: &str, of: &dyn Fn(&ColumnProfile) -> Option<u64>| {
        let signed = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        Series::new(name.into(), profiles.iter().map(|p| of(p).map(signed)).collect::<Vec<_>>()).into_column()
    };
    let columns = vec![
        names(frame),
        count("count", &|profile| Some(profile.count)),
        count("num_nulls", &|profile| Some(profile.num_nulls)),
        count("num_nan", &|profile| profile.num_nan),
        count("num_zeros", &|profile| profile.num_zeros),
        count("distinct_count", &|profile| profile.distinct_count),
        double("avg", &|profile| profile.avg),
        double("stddev", &|profile| profile.stddev),
        double("min", &|profile| profile.min),
        double("median", &ColumnProfile::median),
        double("max", &|profile| profile.max),
        double("percent_null", &ColumnProfile::percent_null),
    ];
    Ok(DataFrame::new_infer_height(columns)?)
}

/// One row for each column of `current`: its distances from the column of the same name in `baseline`.
///
/// # Errors
/// When `baseline` lacks a column, or has one of another kind.
pub fn drift(baseline: &DataFrame, current: &DataFrame, options: &DriftOptions) -> Result<DataFrame> {
    let drifts = current
        .columns()
        .iter()
        .map(|column| drift::compare(&frozen(baseline.column(column.name())?)?, &frozen(column)?, options))
        .collect::<Result<Vec<ColumnDrift>>>()?;
    let double = |name: &str, of: &dyn Fn(&ColumnDrift) -> Option<f64>| {
        Series::new(name.into(), drifts.iter().map(of).collect::<Vec<_>>()).into_column()
    };
    let columns = vec![
        names(current),
        double("ks_statistic", &|drift| Some(drift.ks?.statistic)),
        double("ks_pvalue", &|drift| Some(drift.ks?.pvalue)),
        double("ks_error", &|drift| Some(drift.ks?.error)),
        double("wasserstein_distance", &|drift| Some(drift.wasserstein?.value)),
        double("population_stability_index", &|drift| drift.psi),
        double("jensen_shannon_distance", &|drift| drift.js),
        double("chi_squared_statistic", &|drift| Some(drift.chi_squared?.statistic)),
        double("chi_squared_pvalue", &|drift| Some(drift.chi_squared?.pvalue)),
        double("tv_distance", &|drift| drift.tv),
        double("l_infinity_distance", &|drift| drift.l_infinity),
        double("unseen_share", &|drift| drift.unseen_share),
    ];
    Ok(DataFrame::new_infer_height(columns)?)
}

fn names(frame: &DataFrame) -> Column {
    let names: Vec<String> = frame.columns().iter().map(|column| column.name().to_string()).collect();
    Series::new("column_name".into(), names).into_column()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(shift: f64) -> DataFrame {
        let numbers: Vec<Option<f64>> =
            (0..5000).map(|i| (i % 7 != 0).then(|| f64::from(i * i % 1013) * 0.37 + shift)).collect();
        let words: Vec<String> = (0..5000).map(|i| format!("level {}", i * i % 11)).collect();
        let columns = vec![
            Series::new("number".into(), numbers).into_column(),
            Series::new("word".into(), words).into_column(),
            Series::new("flag".into(), (0..5000).map(|i| i % 3 == 0).collect::<Vec<bool>>()).into_column(),
            Series::new("integer".into(), (0..5000i64).map(|i| i * 7 % 4001).collect::<Vec<_>>()).into_column(),
        ];
        DataFrame::new_infer_height(columns).unwrap()
    }

    /// Polars as the oracle: its own aggregates of the same columns.
    #[test]
    fn a_profile_agrees_with_polars() {
        let frame = frame(0.0);
        let profile = profile(&frame).unwrap();
        let cell =
            |column: &str, row: usize| profile.column(column).unwrap().get(row).unwrap().try_extract::<f64>().ok();
        for (row, column) in frame.columns().iter().enumerate() {
            let series = column.as_materialized_series();
            assert_eq!(cell("num_nulls", row), Some(f64::from(u32::try_from(series.null_count()).unwrap())));
            let distinct = series.drop_nulls().n_unique().unwrap();
            assert_eq!(cell("distinct_count", row), Some(f64::from(u32::try_from(distinct).unwrap())));
            if series.dtype().is_primitive_numeric() {
                let near = |ours: Option<f64>, theirs: Option<f64>| {
                    let (ours, theirs) = (ours.unwrap(), theirs.unwrap());
                    assert!(
                        (ours - theirs).abs() <= 1e-9 * theirs.abs().max(1.0),
                        "{}: {ours}, {theirs}",
                        series.name()
                    );
                };
                near(cell("avg", row), series.mean());
                near(cell("stddev", row), series.std(1));
                near(cell("min", row), series.min::<f64>().unwrap());
                near(cell("max", row), series.max::<f64>().unwrap());
            }
        }
    }

    #[test]
    fn a_drift_sees_what_moved_and_nothing_else() {
        let drift = drift(&frame(0.0), &frame(40.0), &DriftOptions::default()).unwrap();
        let psi = drift.column("population_stability_index").unwrap();
        let psi: Vec<f64> = (0..4).map(|row| psi.get(row).unwrap().try_extract::<f64>().unwrap()).collect();
        assert!(psi[0] > 0.05, "{psi:?}");
        assert!(psi[1..].iter().all(|&psi| psi == 0.0), "{psi:?}");
    }
}
