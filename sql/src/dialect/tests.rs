//! Queries as people write them for Databricks' metric tables, over small tables of the same shape.

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::prelude::SessionContext;

use crate::catalog;
use crate::session::{self, SessionOptions};

/// Five days of two models. Quantiles are 0 to 1000, plus the day.
const PROFILES: &str = r#"
CREATE VIEW flights_profile_metrics AS
SELECT
  named_struct('start', arrow_cast(day, 'Timestamp(Microsecond, Some("UTC"))'),
               'end', arrow_cast(day + INTERVAL '1 day', 'Timestamp(Microsecond, Some("UTC"))')) AS window,
  'INPUT' AS log_type, '1 day' AS granularity, slice_key, slice_value, column_name, model AS "Model_Version",
  count, num_nulls, avg,
  CASE WHEN column_name = 'delay' THEN range(0, 1001) END AS quantiles,
  CASE WHEN column_name = 'carrier' THEN
    make_array(named_struct('item', 'UA', 'count', 7), named_struct('item', 'AA', 'count', 3)) END AS frequent_items,
  CASE WHEN column_name = ':table' THEN named_struct('macro', avg / 1000, 'weighted', 'NaN'::double,
    'one_vs_all', MAP {'0': 0.9, '1': avg / 1000}) END AS f1_score,
  CASE WHEN column_name = ':table' THEN
    make_array(named_struct('prediction', 'a', 'label', 'b', 'count', count)) END AS confusion_matrix,
  CASE WHEN column_name = ':table' THEN avg END AS root_mean_squared_error
FROM (VALUES
  (TIMESTAMP '2024-01-01', NULL, NULL, ':table', '*', 10, 0, 50.0),
  (TIMESTAMP '2024-01-01', NULL, NULL, ':table', '1', 10, 0, 50.0),
  (TIMESTAMP '2024-01-02', NULL, NULL, ':table', '1', 11, 0, 150.0),
  (TIMESTAMP '2024-01-03', NULL, NULL, ':table', '1', 12, 0, 160.0),
  (TIMESTAMP '2024-01-04', NULL, NULL, ':table', '1', 13, 0, 70.0),
  (TIMESTAMP '2024-01-05', NULL, NULL, ':table', '2', 14, 0, 180.0),
  (TIMESTAMP '2024-01-05', NULL, NULL, 'delay', '*', 14, 7, 1.5),
  (TIMESTAMP '2024-01-05', NULL, NULL, 'carrier', '*', 10, 0, CAST(NULL AS DOUBLE)),
  (TIMESTAMP '2024-01-05', 'origin', 'JFK', 'delay', '*', 6, 1, 2.5),
  (TIMESTAMP '2199-01-01', NULL, NULL, 'delay', '*', 1, 0, 9.0)
) AS t(day, slice_key, slice_value, column_name, model, count, num_nulls, avg)"#;

const DRIFTS: &str = r#"
CREATE VIEW flights_drift_metrics AS
SELECT named_struct('start', day, 'end', day + INTERVAL '1 day') AS window, '1 day' AS granularity, drift_type,
  column_name, named_struct('statistic', ks, 'pvalue', p) AS ks_test, js AS js_distance
FROM (VALUES
  (TIMESTAMP '2024-01-01', 'BASELINE', 'delay', 0.3, 0.001, NULL),
  (TIMESTAMP '2024-01-01', 'CONSECUTIVE', 'delay', 0.1, 0.2, NULL),
  (TIMESTAMP '2024-01-02', 'BASELINE', 'delay', 0.5, 0.0, NULL),
  (TIMESTAMP '2024-01-02', 'BASELINE', 'carrier', NULL, NULL, 0.25)
) AS t(day, drift_type, column_name, ks, p, js)"#;

async fn context() -> SessionContext {
    let context = session::context(&SessionOptions { partitions: Some(1), ..SessionOptions::default() }).unwrap();
    for view in [PROFILES, DRIFTS] {
        context.sql(view).await.unwrap().collect().await.unwrap();
    }
    context
}

/// The rows as `a|b`, a null as nothing.
fn lines(batches: &[RecordBatch]) -> Vec<String> {
    let options = FormatOptions::default();
    let mut lines = Vec::new();
    for batch in batches {
        let cells: Vec<_> =
            batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
        for row in 0..batch.num_rows() {
            lines.push(cells.iter().map(|cell| cell.value(row).to_string()).collect::<Vec<_>>().join("|"));
        }
    }
    lines
}

async fn run(context: &SessionContext, sql: &str) -> Result<Vec<String>, String> {
    let frame = catalog::query(context, sql).await.map_err(|error| error.to_string())?;
    frame.collect().await.map(|batches| lines(&batches)).map_err(|error| error.to_string())
}

#[track_caller]
fn check(context: &SessionContext, runtime: &tokio::runtime::Runtime, cases: &[(&str, &[&str])]) {
    let mut wrong = Vec::new();
    for (sql, expected) in cases {
        match runtime.block_on(run(context, sql)) {
            Ok(lines) if lines == *expected => {}
            other => wrong.push(format!("{sql}\n  wanted {expected:?}\n  found  {other:?}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn queries_on_quality_run_as_they_are() {
    let runtime = runtime();
    let context = runtime.block_on(context());
    check(
        &context,
        &runtime,
        &[
            // The check of violations in the last windows, as templates for MLOps have it.
            (
                r#"SELECT CASE WHEN COUNT(*) > 2 THEN 1 ELSE 0 END AS query_result
                   FROM (
                     SELECT root_mean_squared_error FROM main.ml.flights_profile_metrics
                     where column_name = ":table" and slice_key IS NULL and model_version != "*" and log_type = "INPUT"
                     ORDER BY window DESC LIMIT 5
                   )
                   WHERE root_mean_squared_error > 100"#,
                &["1"],
            ),
            // The same over ranked windows.
            (
                r#"WITH ranked AS (
                     SELECT *, ROW_NUMBER() OVER (PARTITION BY Model_Version ORDER BY window.start DESC) AS Rank
                     FROM `main`.`ml`.`flights_profile_metrics`
                     WHERE column_name = ":table" AND Model_Version <> "*" AND window.end <= current_timestamp()
                   )
                   SELECT Model_Version, count_if(root_mean_squared_error > 100) AS violations, count(*)
                   FROM ranked WHERE rank <= 3 GROUP BY model_version ORDER BY violations"#,
                &["2|1|1", "1|2|3"],
            ),
            (
                "SELECT window.start, f1_score.macro, f1_score.one_vs_all[\"1\"], f1_score.one_vs_all['0'] \
                 FROM flights_profile_metrics WHERE column_name = ':table' AND NOT isnan(f1_score.macro) \
                 AND isnan(f1_score.weighted) AND f1_score.one_vs_all[\"1\"] >= 0.16 ORDER BY 1",
                &["2024-01-03T00:00:00Z|0.16|0.16|0.9", "2024-01-05T00:00:00Z|0.18|0.18|0.9"],
            ),
            (
                "SELECT element_at(f1_score.one_vs_all, '1'), element_at(f1_score.one_vs_all, '7') \
                 FROM flights_profile_metrics WHERE column_name = ':table' AND Model_Version = '2'",
                &["0.18|"],
            ),
            (
                "SELECT cell.prediction, cell.label, cell.count FROM flights_profile_metrics \
                 LATERAL VIEW explode(confusion_matrix) AS cell WHERE Model_Version = '2'",
                &["a|b|14"],
            ),
            (
                "SELECT confusion_matrix[0].label, size(confusion_matrix), get(confusion_matrix, 1).label \
                 FROM flights_profile_metrics WHERE column_name = ':table' AND model_version = '2'",
                &["b|1|"],
            ),
        ],
    );
}

#[test]
fn queries_on_columns_run_as_they_are() {
    let runtime = runtime();
    let context = runtime.block_on(context());
    let delay = "FROM flights_profile_metrics WHERE column_name = 'delay' AND window.start = '2024-01-05'";
    let of = |what: &str| format!("SELECT {what} {delay} AND slice_key IS NULL");
    let elements = of("quantiles[500], quantiles[0], quantiles[1000], quantiles[1001], quantiles[-1], quantiles[1:2]");
    let medians = of(
        "element_at(quantiles, 501), element_at(quantiles, -1), element_at(quantiles, CAST((size(quantiles)+1)/2 AS INT)), \
         quantiles[int(size(quantiles) / 2)], get(quantiles, 1), quantiles[count], p.quantiles[2]",
    )
    .replace("flights_profile_metrics", "flights_profile_metrics AS p");
    let ratios = of("num_nulls / count, 3 / 2, 3 / 0, try_divide(num_nulls, 0), try_divide(1, 4), count_if(true)")
        .replace(", count_if(true)", "");
    let slices = format!("SELECT Slice_Key, slice_value, Avg {delay} AND slice_key = \"origin\"");
    check(
        &context,
        &runtime,
        &[
            (&elements, &["500|0|1000|||[0, 1]"]),
            (&medians, &["500|1000|500|500|1|14|2"]),
            (&ratios, &["0.5|1.5|||0.25"]),
            (&slices, &["origin|JFK|2.5"]),
            (
                "SELECT ELEMENT_AT(frequent_items, 1).item, frequent_items[1].count, frequent_items[0].Item \
                 FROM flights_profile_metrics WHERE column_name = 'carrier'",
                &["UA|3|UA"],
            ),
            (
                "SELECT f.column_name, t.item.item AS value, item.count * 100 / f.count AS share \
                 FROM flights_profile_metrics f LATERAL VIEW explode(frequent_items) t AS item ORDER BY share DESC",
                &["carrier|UA|70.0", "carrier|AA|30.0"],
            ),
            (
                "SELECT e.item FROM (SELECT explode(frequent_items) AS e FROM flights_profile_metrics) ORDER BY 1",
                &["AA", "UA"],
            ),
            // Nulls are the least.
            (
                "SELECT column_name, avg FROM flights_profile_metrics WHERE window.start = '2024-01-05' \
                 AND slice_key IS NULL ORDER BY avg DESC LIMIT 2",
                &[":table|180.0", "delay|1.5"],
            ),
            (
                "SELECT column_name FROM flights_profile_metrics WHERE column_name <> ':table' ORDER BY avg LIMIT 1",
                &["carrier"],
            ),
            (
                "SELECT count(*) FROM flights_profile_metrics \
                 WHERE window.start >= current_timestamp() - INTERVAL 7 DAYS AND granularity = \"1 day\"",
                &["1"],
            ),
            (
                "SELECT count(DISTINCT window) FROM flights_profile_metrics \
                 WHERE window.start > date_sub(to_date('2024-01-05'), 2) AND window.end < date_add(current_date(), 1)",
                &["2"],
            ),
        ],
    );
}

#[test]
fn queries_on_drift_run_as_they_are() {
    let runtime = runtime();
    let context = runtime.block_on(context());
    check(
        &context,
        &runtime,
        &[
            (
                "SELECT date_format(d.window.start, 'yyyy-MM-dd') AS day, d.column_name, ks_test.statistic, ks_test.pvalue \
                 FROM ml.flights_drift_metrics AS d \
                 WHERE drift_type = \"BASELINE\" AND KS_TEST.Statistic > 0.2 AND ks_test.pvalue < 0.05 ORDER BY day",
                &["2024-01-01|delay|0.3|0.001", "2024-01-02|delay|0.5|0.0"],
            ),
            (
                "SELECT main.ml.flights_drift_metrics.column_name, max_by(window.start, ks_test.statistic), \
                 first(js_distance, true), percentile(ks_test.statistic, 0.5), collect_set(drift_type) \
                 FROM main.ml.flights_drift_metrics GROUP BY column_name ORDER BY 1 DESC",
                &[
                    "delay|2024-01-02T00:00:00||0.3|[BASELINE, CONSECUTIVE]",
                    "carrier|2024-01-02T00:00:00|0.25||[BASELINE]",
                ],
            ),
            // Names that the query gives are names, in whatever quotes.
            (
                "SELECT drift_type AS `Kind`, count(*) AS \"How Many\" FROM flights_drift_metrics \
                 GROUP BY kind HAVING \"How Many\" > 1 ORDER BY `kind`",
                &["BASELINE|3"],
            ),
            (
                "SELECT if(ks_test.statistic IS NULL, \"none\", \"some\") AS has, year(window.start), \
                 datediff(window.end, window.start), dateadd(DAY, -1, window.start), unix_timestamp(window.start) \
                 FROM flights_drift_metrics WHERE isnotnull(js_distance)",
                &["none|2024|1|2024-01-01T00:00:00|1704153600"],
            ),
            (
                "SELECT p.column_name, p.avg, d.ks_test.statistic FROM main.ml.flights_profile_metrics p \
                 JOIN main.ml.flights_drift_metrics d ON p.column_name = d.column_name AND p.avg < 2 \
                 WHERE d.drift_type = 'CONSECUTIVE'",
                &["delay|1.5|0.1"],
            ),
        ],
    );
}

#[test]
fn what_is_not_known_is_refused_by_name() {
    let runtime = runtime();
    let context = runtime.block_on(context());
    for (sql, refused) in [
        ("SELECT no_such(avg) FROM flights_profile_metrics", "no_such"),
        ("SELECT avgg FROM flights_profile_metrics", "avgg"),
        ("SELECT * FROM main.ml.other_profile_metrics", "other_profile_metrics"),
        ("SELECT date_format(window.start, 'YYYY') FROM flights_profile_metrics", "\"YYYY\" in the pattern"),
        ("SELECT date_format(window.start, slice_key) FROM flights_profile_metrics", "a pattern that is written out"),
        ("SELECT quantiles[0.5] FROM flights_profile_metrics", "whole number"),
        ("SELECT element_at(quantiles, size(quantiles) / 2) FROM flights_profile_metrics", "CAST(… AS INT)"),
        ("SELECT dateadd(EON, 1, window.start) FROM flights_profile_metrics", "does not take the unit EON"),
        ("SELECT 1 FROM flights_profile_metrics LATERAL VIEW OUTER explode(quantiles) q AS x", "without OUTER"),
        ("SELECT 1 FROM flights_profile_metrics LATERAL VIEW posexplode(quantiles) q AS i, x", "takes explode(array)"),
        ("DROP VIEW flights_profile_metrics", "DDL not supported"),
        ("CREATE TABLE a AS SELECT * FROM main.ml.flights_profile_metrics", "DDL not supported"),
        ("INSERT INTO flights_profile_metrics SELECT * FROM flights_profile_metrics", "DML not supported"),
        ("SELECT 1; SELECT 2", "only supports a single SQL statement"),
    ] {
        let error = runtime.block_on(run(&context, sql)).expect_err(sql);
        assert!(error.contains(refused), "{sql}: {error}");
    }
}

#[test]
fn queries_over_the_information_schema_stay_as_they_are() {
    let runtime = runtime();
    let context = runtime.block_on(context());
    check(
        &context,
        &runtime,
        &[(
            "SELECT \"table_name\" FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1",
            &["flights_drift_metrics", "flights_profile_metrics"],
        )],
    );
}

#[test]
fn what_dashboards_ask_runs_as_it_is() {
    let runtime = runtime();
    let context = runtime.block_on(context());
    check(
        &context,
        &runtime,
        &[
            (
                "SELECT DATE_TRUNC(\"DAY\", window.start) AS day, CAST(window.start AS DATE), window.end::date, \
                 ROUND(avg, 1) FROM flights_profile_metrics WHERE column_name IN (\"delay\") AND slice_value LIKE \"J%\"",
                &["2024-01-05T00:00:00Z|2024-01-05|2024-01-06|2.5"],
            ),
            (
                "SELECT column_name, LAG(count) OVER (PARTITION BY column_name ORDER BY window.start) AS before, \
                 SUM(count) OVER (ORDER BY window.start ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS two \
                 FROM flights_profile_metrics WHERE Model_Version = \"1\" AND column_name = \":table\" \
                 QUALIFY ROW_NUMBER() OVER (ORDER BY window.start DESC) = 1",
                &[":table|12|25"],
            ),
            (
                "SELECT CASE column_name WHEN \"delay\" THEN \"late\" ELSE column_name END AS what, \
                 COUNT(*) FILTER (WHERE slice_key IS NULL), percentile_approx(avg, 0.5) \
                 FROM flights_profile_metrics WHERE column_name = 'delay' GROUP BY ALL",
                &["late|2|2.5"],
            ),
            (
                "SELECT * EXCEPT (window, ks_test) FROM flights_drift_metrics WHERE js_distance > 0.2 \
                 AND window.start BETWEEN to_timestamp('2024-01-01') AND to_timestamp('01/02/2024', 'dd/MM/yyyy')",
                &["1 day|BASELINE|carrier|0.25"],
            ),
            (
                "SELECT array_contains(map_keys(f1_score.one_vs_all), \"1\"), map_contains_key(f1_score.one_vs_all, \"2\"), \
                 nvl(slice_key, \"all\"), coalesce(slice_value, \"\") = \"\", f1_score.one_vs_all['1'] <=> NULL \
                 FROM flights_profile_metrics WHERE f1_score IS NOT NULL AND Model_Version = '2'",
                &["true|false|all|true|false"],
            ),
            (
                "SELECT avg AS delay, \"count(*)\" FROM (SELECT avg, count(*) FROM flights_profile_metrics \
                 WHERE column_name = \"delay\" AND slice_key = \"origin\" GROUP BY avg)",
                &["2.5|1"],
            ),
            (
                "WITH latest AS (SELECT MAX(window.start) AS Newest FROM ml.flights_profile_metrics \
                   WHERE window.end <= now()) \
                 SELECT COUNT(*) FROM ml.flights_profile_metrics p, latest l \
                 WHERE p.Window.Start = l.newest AND p.window.start > l.Newest - INTERVAL 1 DAY",
                &["4"],
            ),
            (
                "SELECT f.column_name, e.count FROM flights_profile_metrics f LATERAL VIEW explode(f.frequent_items) t AS e \
                 LATERAL VIEW explode(array(1, 2)) n AS twice WHERE n.twice = 2 AND t.e.item = \"AA\"",
                &["carrier|3"],
            ),
            (
                "SELECT COUNT(DISTINCT column_name), any_value(granularity), std(avg) IS NULL, collect_list(drift) \
                 FROM (SELECT column_name, granularity, avg, slice_value AS drift FROM flights_profile_metrics \
                 WHERE column_name = 'carrier' UNION ALL SELECT \"x\", \"1 day\", NULL, \"y\")",
                &["2|1 day|true|[y]"],
            ),
        ],
    );
}
