//! Rows of `<monitor>_drift_metrics` as an Arrow batch.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Float64Builder, Int32Array, Int64Array, ListBuilder, RecordBatch,
    StringBuilder, StructArray, StructBuilder,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, SchemaRef};
use limno_metrics::column::ColumnKind;
use limno_metrics::drift::{ColumnDrift, Test};
use limno_metrics::profile::ColumnProfile;
use limno_metrics::schema::{bin_fields, non_null_delta_fields, test_fields};
use limno_sql::window::Window;

use super::profile_rows::{ProfileRow, signed, strings, timestamps, windows};
use crate::Result;

/// One row: the current values of a column against those of a comparison.
#[derive(Debug, Clone)]
pub struct DriftRow {
    /// The window.
    pub window: Option<Window>,
    /// The window that it is compared with; `None` for the baseline.
    pub window_cmp: Option<Window>,
    /// `CONSECUTIVE` or `BASELINE`.
    pub drift_type: &'static str,
    /// Length of the window.
    pub granularity: Option<String>,
    /// Version of the monitor's configuration.
    pub monitor_version: i64,
    /// Slice key and value.
    pub slice: Option<(String, Option<String>)>,
    /// Model id, or `*` for all.
    pub model: Option<String>,
    /// Whose rows of the comparison were used: the same model's, or `*` where the baseline has none of them.
    pub model_cmp: Option<String>,
    /// The column, or `:table`.
    pub column: String,
    /// Spark's name of its type; `None` for `:table`.
    pub data_type: Option<String>,
    /// The column's kind; `None` for `:table`.
    pub kind: Option<ColumnKind>,
    /// The current numbers.
    pub current: ColumnProfile,
    /// The comparison's numbers.
    pub comparison: ColumnProfile,
    /// The distances.
    pub drift: ColumnDrift,
    /// Both sides as rows of the profile table, where metrics compare them.
    pub sides: Option<Box<(ProfileRow, ProfileRow)>>,
    /// Columns that gained or lost all their values; only for `:table`.
    pub non_null_delta: Option<(i32, i32)>,
    /// Whether the window had ended, grace included, when the row was written.
    pub window_complete: Option<bool>,
}

/// The rows under `schema`, which [`drift_schema`](limno_metrics::schema::drift_schema) made.
///
/// # Errors
/// When the schema names a column that rows do not have, which would be a defect.
pub fn drift_batch(schema: &SchemaRef, rows: &[DriftRow], refreshed_at: i64) -> Result<RecordBatch> {
    let columns = schema.fields().iter().map(|field| drift_column(field, rows, refreshed_at)).collect::<Vec<_>>();
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

fn drift_column(field: &Field, rows: &[DriftRow], refreshed_at: i64) -> ArrayRef {
    let double =
        |of: &dyn Fn(&DriftRow) -> Option<f64>| -> ArrayRef { Arc::new(rows.iter().map(of).collect::<Float64Array>()) };
    let bigint = |of: &dyn Fn(&DriftRow) -> i64| -> ArrayRef {
        Arc::new(rows.iter().map(|row| Some(of(row))).collect::<Int64Array>())
    };
    match field.name().as_str() {
        "window" => windows(rows.iter().map(|row| row.window)),
        "window_cmp" => windows(rows.iter().map(|row| row.window_cmp)),
        "drift_type" => strings(rows.iter().map(|row| Some(row.drift_type))),
        "granularity" => strings(rows.iter().map(|row| row.granularity.as_deref())),
        "monitor_version" => bigint(&|row| row.monitor_version),
        "slice_key" => strings(rows.iter().map(|row| row.slice.as_ref().map(|slice| slice.0.as_str()))),
        "slice_value" => strings(rows.iter().map(|row| row.slice.as_ref().and_then(|slice| slice.1.as_deref()))),
        "column_name" => strings(rows.iter().map(|row| Some(row.column.as_str()))),
        "data_type" => strings(rows.iter().map(|row| row.data_type.as_deref())),
        "count_delta" => bigint(&|row| signed(row.current.count) - signed(row.comparison.count)),
        "avg_delta" => double(&|row| difference(row, |profile| profile.avg)),
        "percent_null_delta" => double(&|row| {
            row.data_type.as_ref()?;
            difference(row, ColumnProfile::percent_null)
        }),
        "percent_zeros_delta" => double(&|row| difference(row, ColumnProfile::percent_zeros)),
        "percent_distinct_delta" => double(&|row| difference(row, ColumnProfile::percent_distinct)),
        "non_null_columns_delta" => non_null_deltas(rows),
        "js_distance" => double(&|row| row.drift.js.filter(|_| row.kind == Some(ColumnKind::Categorical))),
        "ks_test" => {
            tests(rows.iter().map(|row| row.drift.ks.map(|ks| Test { statistic: ks.statistic, pvalue: ks.pvalue })))
        }
        "wasserstein_distance" => double(&|row| Some(row.drift.wasserstein?.value)),
        "population_stability_index" => double(&|row| row.drift.psi),
        "chi_squared_test" => tests(rows.iter().map(|row| row.drift.chi_squared)),
        "tv_distance" => double(&|row| row.drift.tv),
        "l_infinity_distance" => double(&|row| row.drift.l_infinity),
        "count" => bigint(&|row| signed(row.current.count)),
        "count_cmp" => bigint(&|row| signed(row.comparison.count)),
        "jensen_shannon_distance" => double(&|row| row.drift.js),
        "ks_error" => double(&|row| row.drift.ks.map(|ks| ks.error)),
        "ks_critical_value" => double(&|row| row.drift.ks_critical_value),
        "wasserstein_lower" => double(&|row| Some(row.drift.wasserstein?.lower)),
        // What nothing bounds from above has no number.
        "wasserstein_upper" => double(&|row| Some(row.drift.wasserstein?.upper).filter(|upper| upper.is_finite())),
        "wasserstein_normalized" => double(&|row| row.drift.wasserstein_normalized),
        "cramer_von_mises_test" => tests(rows.iter().map(|row| {
            row.drift.cramer_von_mises.map(|test| Test { statistic: test.statistic.value, pvalue: test.pvalue })
        })),
        "cramer_von_mises_lower" => double(&|row| Some(row.drift.cramer_von_mises?.statistic.lower)),
        "cramer_von_mises_upper" => double(&|row| Some(row.drift.cramer_von_mises?.statistic.upper)),
        "psi_pvalue" => double(&|row| row.drift.psi_pvalue),
        "psi_critical_value" => double(&|row| row.drift.psi_critical_value),
        "hellinger_distance" => double(&|row| row.drift.hellinger),
        "kl_divergence" => double(&|row| row.drift.kullback_leibler),
        "cramers_v" => double(&|row| row.drift.cramers_v),
        "unseen_share" => double(&|row| row.drift.unseen_share),
        "psi_bins" => psi_bins(rows),
        "level" => Arc::new(rows.iter().map(|row| row.drift.level.map(i32::from)).collect::<Int32Array>()),
        "is_approximate" => Arc::new(rows.iter().map(|row| row.drift.is_approximate).collect::<BooleanArray>()),
        "model_id_cmp" => strings(rows.iter().map(|row| row.model_cmp.as_deref())),
        "window_complete" => Arc::new(rows.iter().map(|row| row.window_complete).collect::<BooleanArray>()),
        "reason" => strings(rows.iter().map(|row| row.drift.reason.as_deref())),
        "refreshed_at" => timestamps(rows.iter().map(|_| Some(refreshed_at))),
        // The only name left is the user's, of the model column.
        _ => strings(rows.iter().map(|row| row.model.as_deref())),
    }
}

fn difference(row: &DriftRow, of: impl Fn(&ColumnProfile) -> Option<f64>) -> Option<f64> {
    Some(of(&row.current)? - of(&row.comparison)?)
}

fn tests(values: impl Iterator<Item = Option<Test>> + Clone) -> ArrayRef {
    let statistics = values.clone().map(|test| test.map(|test| test.statistic)).collect::<Float64Array>();
    let pvalues = values.clone().map(|test| test.map(|test| test.pvalue)).collect::<Float64Array>();
    let present: NullBuffer = values.map(|test| test.is_some()).collect();
    Arc::new(StructArray::new(test_fields(), vec![Arc::new(statistics), Arc::new(pvalues)], Some(present)))
}

fn non_null_deltas(rows: &[DriftRow]) -> ArrayRef {
    let added = rows.iter().map(|row| row.non_null_delta.map(|delta| delta.0)).collect::<Int32Array>();
    let missing = rows.iter().map(|row| row.non_null_delta.map(|delta| delta.1)).collect::<Int32Array>();
    let present: NullBuffer = rows.iter().map(|row| row.non_null_delta.is_some()).collect();
    Arc::new(StructArray::new(non_null_delta_fields(), vec![Arc::new(added), Arc::new(missing)], Some(present)))
}

fn psi_bins(rows: &[DriftRow]) -> ArrayRef {
    let fields = bin_fields();
    let element = Field::new("element", DataType::Struct(fields.clone()), true);
    let mut builder = ListBuilder::new(StructBuilder::from_fields(fields, 0)).with_field(element);
    for row in rows {
        for bin in &row.drift.psi_bins {
            let fields = builder.values();
            if let Some(label) = fields.field_builder::<StringBuilder>(0) {
                label.append_value(&bin.label);
            }
            for (index, number) in [(1, bin.baseline), (2, bin.current), (3, bin.contribution)] {
                if let Some(cell) = fields.field_builder::<Float64Builder>(index) {
                    cell.append_value(number);
                }
            }
            fields.append(true);
        }
        builder.append(row.drift.psi.is_some());
    }
    Arc::new(builder.finish())
}
