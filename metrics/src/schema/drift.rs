//! `<monitor>_drift_metrics`: one row for each pair of windows, model, slice and column.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::{Shape, bin_fields, list_of, non_null_delta_fields, test_fields, timestamp, window_fields};

/// The numeric columns that a rule may name.
pub const DRIFT_METRICS: &[&str] = &[
    "count_delta",
    "avg_delta",
    "percent_null_delta",
    "percent_zeros_delta",
    "percent_distinct_delta",
    "js_distance",
    "ks_test.statistic",
    "ks_test.pvalue",
    "wasserstein_distance",
    "population_stability_index",
    "chi_squared_test.statistic",
    "chi_squared_test.pvalue",
    "tv_distance",
    "l_infinity_distance",
    "jensen_shannon_distance",
    "ks_error",
    "ks_critical_value",
    "wasserstein_lower",
    "wasserstein_upper",
    "wasserstein_normalized",
    "cramer_von_mises_test.statistic",
    "cramer_von_mises_test.pvalue",
    "cramer_von_mises_lower",
    "cramer_von_mises_upper",
    "psi_pvalue",
    "psi_critical_value",
    "hellinger_distance",
    "kl_divergence",
    "cramers_v",
    "unseen_share",
];

/// The schema of a monitor's table.
#[must_use]
pub fn drift_schema(shape: &Shape) -> SchemaRef {
    let double = |name: &str| Field::new(name, DataType::Float64, true);
    let bigint = |name: &str| Field::new(name, DataType::Int64, true);
    let string = |name: &str| Field::new(name, DataType::Utf8, true);
    let test = |name: &str| Field::new(name, DataType::Struct(test_fields()), true);
    let mut fields = vec![
        Field::new("window", DataType::Struct(window_fields()), true),
        Field::new("window_cmp", DataType::Struct(window_fields()), true),
        string("drift_type"),
        string("granularity"),
        bigint("monitor_version"),
        string("slice_key"),
        string("slice_value"),
        string("column_name"),
        string("data_type"),
        bigint("count_delta"),
        double("avg_delta"),
        double("percent_null_delta"),
        double("percent_zeros_delta"),
        double("percent_distinct_delta"),
        Field::new("non_null_columns_delta", DataType::Struct(non_null_delta_fields()), true),
        double("js_distance"),
        test("ks_test"),
        double("wasserstein_distance"),
        double("population_stability_index"),
        test("chi_squared_test"),
        double("tv_distance"),
        double("l_infinity_distance"),
    ];
    fields.extend(shape.model_id.as_deref().map(string));
    fields.extend([
        // Ours.
        bigint("count"),
        bigint("count_cmp"),
        double("jensen_shannon_distance"),
        double("ks_error"),
        double("ks_critical_value"),
        double("wasserstein_lower"),
        double("wasserstein_upper"),
        double("wasserstein_normalized"),
        test("cramer_von_mises_test"),
        double("cramer_von_mises_lower"),
        double("cramer_von_mises_upper"),
        double("psi_pvalue"),
        double("psi_critical_value"),
        double("hellinger_distance"),
        double("kl_divergence"),
        double("cramers_v"),
        double("unseen_share"),
        Field::new("psi_bins", list_of(DataType::Struct(bin_fields())), true),
        Field::new("level", DataType::Int32, true),
        Field::new("is_approximate", DataType::Boolean, true),
        string("model_id_cmp"),
        Field::new("window_complete", DataType::Boolean, true),
        string("reason"),
        Field::new("refreshed_at", timestamp(), true),
    ]);
    fields.extend(shape.drift.iter().map(|field| field.as_ref().clone()));
    Arc::new(Schema::new(fields))
}
