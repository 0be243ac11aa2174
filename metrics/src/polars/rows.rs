//! Profiles and drifts as data frames: the columns of the metric tables, without those of windows, slices and models.

use polars::prelude::{
    Column, DataFrame, DataType, Float64Type, IntoColumn, IntoSeries, ListBuilderTrait, ListPrimitiveChunkedBuilder,
    NamedFrom, PlSmallStr, Series,
};

use crate::Result;
use crate::column::ColumnKind;
use crate::drift::ColumnDrift;
use crate::profile::{ColumnProfile, QUANTILES};

/// One column of a frame.
#[derive(Debug)]
pub(super) struct ProfileRow {
    pub(super) column: PlSmallStr,
    pub(super) data_type: String,
    pub(super) profile: Result<ColumnProfile>,
}

/// One column of either frame.
#[derive(Debug)]
pub(super) struct DriftRow {
    pub(super) column: PlSmallStr,
    pub(super) data_type: String,
    /// `None`, as the profiles, where the columns were not looked at.
    pub(super) kind: Option<ColumnKind>,
    pub(super) baseline: Option<ColumnProfile>,
    pub(super) current: Option<ColumnProfile>,
    pub(super) drift: ColumnDrift,
}

pub(super) fn profile_frame(rows: &[ProfileRow]) -> Result<DataFrame> {
    let present = || rows.iter().map(|row| row.profile.as_ref().ok());
    let double = |name: &str, of: fn(&ColumnProfile) -> Option<f64>| {
        column(name, present().map(|profile| of(profile?)).collect::<Vec<Option<f64>>>())
    };
    let count = |name: &str, of: fn(&ColumnProfile) -> Option<u64>| {
        column(name, present().map(|profile| of(profile?).map(signed)).collect::<Vec<Option<i64>>>())
    };
    let columns = vec![
        column("column_name", rows.iter().map(|row| row.column.as_str()).collect::<Vec<&str>>()),
        count("count", |profile| Some(profile.count)),
        column("data_type", rows.iter().map(|row| row.data_type.as_str()).collect::<Vec<&str>>()),
        count("num_nulls", |profile| Some(profile.num_nulls)),
        double("avg", |profile| profile.avg),
        lists("quantiles", present().map(|profile| profile?.quantiles.as_deref())),
        double("min", |profile| profile.min),
        double("max", |profile| profile.max),
        double("stddev", |profile| profile.stddev),
        count("num_zeros", |profile| profile.num_zeros),
        count("num_nan", |profile| profile.num_nan),
        double("min_length", |profile| profile.min_length),
        double("max_length", |profile| profile.max_length),
        double("avg_length", |profile| profile.avg_length),
        double("median", ColumnProfile::median),
        count("distinct_count", |profile| profile.distinct_count),
        double("percent_nan", ColumnProfile::percent_nan),
        double("percent_null", ColumnProfile::percent_null),
        double("percent_zeros", ColumnProfile::percent_zeros),
        double("percent_distinct", ColumnProfile::percent_distinct),
        count("num_infinite", |profile| profile.num_infinite),
        column("distinct_is_exact", present().map(|profile| profile?.distinct_is_exact).collect::<Vec<Option<bool>>>()),
        column("level", present().map(|profile| profile?.level.map(i32::from)).collect::<Vec<Option<i32>>>()),
        double("quantile_error", |profile| profile.quantile_error),
        double("skewness", |profile| Some(profile.skewness?.value)),
        double("skewness_error", |profile| Some(profile.skewness?.error())),
        column("reason", rows.iter().map(ProfileRow::reason).collect::<Vec<Option<String>>>()),
    ];
    Ok(DataFrame::new(rows.len(), columns)?)
}

impl ProfileRow {
    fn reason(&self) -> Option<String> {
        match &self.profile {
            Ok(profile) => profile.reason.clone(),
            Err(error) => Some(error.to_string()),
        }
    }
}

pub(super) fn drift_frame(rows: &[DriftRow]) -> Result<DataFrame> {
    let double =
        |name: &str, of: fn(&DriftRow) -> Option<f64>| column(name, rows.iter().map(of).collect::<Vec<Option<f64>>>());
    let count =
        |name: &str, of: fn(&DriftRow) -> Option<i64>| column(name, rows.iter().map(of).collect::<Vec<Option<i64>>>());
    let columns = vec![
        column("column_name", rows.iter().map(|row| row.column.as_str()).collect::<Vec<&str>>()),
        column("data_type", rows.iter().map(|row| row.data_type.as_str()).collect::<Vec<&str>>()),
        count("count_delta", |row| Some(signed(row.current.as_ref()?.count) - signed(row.baseline.as_ref()?.count))),
        double("avg_delta", |row| row.difference(|profile| profile.avg)),
        double("percent_null_delta", |row| row.difference(ColumnProfile::percent_null)),
        double("percent_zeros_delta", |row| row.difference(ColumnProfile::percent_zeros)),
        double("percent_distinct_delta", |row| row.difference(ColumnProfile::percent_distinct)),
        double("js_distance", |row| row.drift.js.filter(|_| row.kind == Some(ColumnKind::Categorical))),
        double("ks_test_statistic", |row| Some(row.drift.ks?.statistic)),
        double("ks_test_pvalue", |row| Some(row.drift.ks?.pvalue)),
        double("wasserstein_distance", |row| Some(row.drift.wasserstein?.value)),
        double("population_stability_index", |row| row.drift.psi),
        double("chi_squared_test_statistic", |row| Some(row.drift.chi_squared?.statistic)),
        double("chi_squared_test_pvalue", |row| Some(row.drift.chi_squared?.pvalue)),
        double("tv_distance", |row| row.drift.tv),
        double("l_infinity_distance", |row| row.drift.l_infinity),
        count("count", |row| Some(signed(row.current.as_ref()?.count))),
        count("count_cmp", |row| Some(signed(row.baseline.as_ref()?.count))),
        double("jensen_shannon_distance", |row| row.drift.js),
        double("ks_error", |row| Some(row.drift.ks?.error)),
        double("ks_critical_value", |row| row.drift.ks_critical_value),
        double("wasserstein_lower", |row| Some(row.drift.wasserstein?.lower)),
        // What nothing bounds from above has no number, as in the metric table.
        double("wasserstein_upper", |row| Some(row.drift.wasserstein?.upper).filter(|upper| upper.is_finite())),
        double("wasserstein_normalized", |row| row.drift.wasserstein_normalized),
        double("cramer_von_mises_test_statistic", |row| Some(row.drift.cramer_von_mises?.statistic.value)),
        double("cramer_von_mises_test_pvalue", |row| Some(row.drift.cramer_von_mises?.pvalue)),
        double("cramer_von_mises_lower", |row| Some(row.drift.cramer_von_mises?.statistic.lower)),
        double("cramer_von_mises_upper", |row| Some(row.drift.cramer_von_mises?.statistic.upper)),
        double("psi_pvalue", |row| row.drift.psi_pvalue),
        double("psi_critical_value", |row| row.drift.psi_critical_value),
        double("hellinger_distance", |row| row.drift.hellinger),
        double("kl_divergence", |row| row.drift.kullback_leibler),
        double("cramers_v", |row| row.drift.cramers_v),
        double("unseen_share", |row| row.drift.unseen_share),
        column("level", rows.iter().map(|row| row.drift.level.map(i32::from)).collect::<Vec<Option<i32>>>()),
        column("is_approximate", rows.iter().map(|row| row.drift.is_approximate).collect::<Vec<Option<bool>>>()),
        column("reason", rows.iter().map(|row| row.drift.reason.as_deref()).collect::<Vec<Option<&str>>>()),
    ];
    Ok(DataFrame::new(rows.len(), columns)?)
}

impl DriftRow {
    fn difference(&self, of: fn(&ColumnProfile) -> Option<f64>) -> Option<f64> {
        Some(of(self.current.as_ref()?)? - of(self.baseline.as_ref()?)?)
    }
}

fn column<T, Phantom: ?Sized>(name: &str, values: T) -> Column
where
    Series: NamedFrom<T, Phantom>,
{
    Series::new(name.into(), values).into_column()
}

fn lists<'a>(name: &str, values: impl ExactSizeIterator<Item = Option<&'a [f64]>>) -> Column {
    let rows = values.len();
    let capacity = rows * QUANTILES as usize;
    let mut builder = ListPrimitiveChunkedBuilder::<Float64Type>::new(name.into(), rows, capacity, DataType::Float64);
    for value in values {
        builder.append_opt_slice(value);
    }
    builder.finish().into_series().into_column()
}

/// Counts are below 2⁶³ on any machine.
fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
