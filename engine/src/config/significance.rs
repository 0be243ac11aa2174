//! The key `significance` of a rule: which test tells whether what a metric says may be chance.
//!
//! On large tables every p-value is 0, on small ones every distance is large. A rule with a threshold and a
//! significance asks for both: a difference that is large and that samples of these sizes from one distribution would
//! hardly show.

use limno_metrics::schema::DRIFT_METRICS;

use super::problem::quoted;
use super::raw::Value;

const KOLMOGOROV_SMIRNOV: &[&str] = &["ks_test.pvalue"];
const CRAMER_VON_MISES: &[&str] = &["cramer_von_mises_test.pvalue"];
const STABILITY: &[&str] = &["psi_pvalue"];
/// Distances over categories; over the bins of numbers there is no χ² test, but that of the index.
const CHI_SQUARED: &[&str] = &["chi_squared_test.pvalue", "psi_pvalue"];

/// The p-values that belong to a metric, the first of which a row has counts; none if no test belongs to it.
pub(super) fn p_values_of(metric: &str) -> &'static [&'static str] {
    match metric {
        "ks_test.statistic"
        | "wasserstein_distance"
        | "wasserstein_lower"
        | "wasserstein_upper"
        | "wasserstein_normalized" => KOLMOGOROV_SMIRNOV,
        "cramer_von_mises_test.statistic" => CRAMER_VON_MISES,
        "population_stability_index" => STABILITY,
        "chi_squared_test.statistic"
        | "cramers_v"
        | "tv_distance"
        | "l_infinity_distance"
        | "js_distance"
        | "jensen_shannon_distance"
        | "hellinger_distance"
        | "kl_divergence" => CHI_SQUARED,
        _ => &[],
    }
}

/// Reads the key, for a rule on `metric`; unknown where the metric itself could not be read.
pub(super) fn read_significance(value: &Value<'_>, metric: Option<&str>) -> Option<f64> {
    let alpha = value.number()?;
    if alpha <= 0.0 || alpha >= 1.0 {
        value.report(
            format!("{alpha} is not between 0 and 1"),
            Some("write the greatest p-value of a breach, such as significance = 0.01".to_owned()),
        );
        return None;
    }
    let Some(metric) = metric.filter(|metric| p_values_of(metric).is_empty()) else { return Some(alpha) };
    if metric.ends_with("pvalue") {
        value.report(
            format!("metric {} is a p-value itself", quoted(metric)),
            Some(format!("write below = {alpha} without significance")),
        );
    } else {
        let tested: Vec<&str> = DRIFT_METRICS.iter().copied().filter(|name| !p_values_of(name).is_empty()).collect();
        value.report(
            format!("no test belongs to metric {}", quoted(metric)),
            Some(format!("remove significance, or use one of {}", tested.join(", "))),
        );
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p_values_are_metrics_and_have_no_test_themselves() {
        for p_value in DRIFT_METRICS.iter().flat_map(|metric| p_values_of(metric)) {
            assert!(DRIFT_METRICS.contains(p_value) && p_values_of(p_value).is_empty(), "{p_value}");
        }
    }
}
