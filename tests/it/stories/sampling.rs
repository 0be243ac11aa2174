//! Logs of which only a share was kept: a row counts as often as the inverse of the share says.

use crate::support_run::{Place, instant, numbers, table, texts, times};

fn monitor(name: &str, file: &str, more: &str) -> String {
    format!(
        r#"
[monitor.{name}]
table    = "~/{file}"
output   = "~/out"
slices   = ["x > 2"]
[monitor.{name}.inference_log]
timestamp     = "at"
granularities = ["1 day"]
model_id      = "model"
prediction    = "prediction"
label         = "label"
problem_type  = "regression"
{more}
"#
    )
}

#[test]
fn a_row_of_a_sampled_log_counts_as_often_as_its_share_says() {
    let place = Place::new();
    // Values, shares, and how often each row counts: a share that is none counts once.
    let rows =
        [(1.0, 0.5, 2), (3.0, 1.0, 1), (5.0, 0.1, 10), (2.5, 0.3, 3), (4.0, f64::NAN, 1), (6.0, 7.0, 1), (7.0, 0.0, 1)];
    let log = |rows: &[(f64, f64)]| {
        let at = times(rows.iter().map(|_| instant("2024-05-01T12:00:00Z")));
        table([
            ("at", at),
            ("model", texts(rows.iter().map(|_| "m").collect::<Vec<_>>())),
            ("x", numbers(rows.iter().map(|(x, _)| *x).collect::<Vec<_>>())),
            ("prediction", numbers(rows.iter().map(|(x, _)| x * 2.0).collect::<Vec<_>>())),
            ("label", numbers(rows.iter().map(|(x, _)| x * 2.5).collect::<Vec<_>>())),
            ("share", numbers(rows.iter().map(|(_, share)| *share).collect::<Vec<_>>())),
        ])
    };
    let sampled: Vec<(f64, f64)> = rows.iter().map(|&(x, share, _)| (x, share)).collect();
    let all: Vec<(f64, f64)> =
        rows.iter().flat_map(|&(x, share, times)| std::iter::repeat_n((x, share), times)).collect();
    place.parquet("sampled.parquet", &log(&sampled));
    place.parquet("all.parquet", &log(&all));
    let text =
        monitor("sampled", "sampled.parquet", "sampling_fraction = \"share\"") + &monitor("whole", "all.parquet", "");
    place.configure(&text);
    place.limno(&["run"]).fine();
    let rows_of = |name: &str| {
        place.sql(&format!(
            "SELECT slice_key, slice_value, model, column_name, count, num_nulls, num_nan, avg, stddev, quantiles, distinct_count, \
             labeled_count, mean_squared_error, r2_score, median_absolute_error FROM {name}_profile_metrics \
             ORDER BY slice_key, slice_value, model, column_name"
        ))
    };
    let (sampled, whole) = (rows_of("sampled"), rows_of("whole"));
    assert_eq!(sampled, whole);
    assert_eq!(whole.iter().map(|row| row["count"].as_i64().unwrap()).max(), Some(19));
    // What was read is what stands in the table.
    let read = place.sql("SELECT rows FROM refreshes ORDER BY rows");
    assert_eq!(read.iter().map(|row| row["rows"].as_i64().unwrap()).collect::<Vec<_>>(), [7, 19]);
}

#[test]
fn p_values_do_not_go_with_shares() {
    let place = Place::new();
    let at = times([instant("2024-05-01T12:00:00Z")]);
    let one = || numbers([1.0]);
    let columns = [
        ("at", at),
        ("model", texts(["m"])),
        ("prediction", one()),
        ("label", one()),
        ("share", texts(["a"])),
        ("x", one()),
    ];
    place.parquet("t.parquet", &table(columns));
    let rule = "sampling_fraction = \"share\"\n[[monitor.m.rule]]\nname = \"r\"\nmetric = \"ks_test.statistic\"\n\
                above = 0.1\nsignificance = 0.01";
    place.configure(&monitor("m", "t.parquet", rule));
    place.limno(&["run"]).fails(
        2,
        &[
            "column \"share\" has type string, but a share is a number",
            "p-values, which do not know that rows count more than once",
        ],
    );
}
