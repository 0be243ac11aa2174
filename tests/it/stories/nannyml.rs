//! Three models whose drift begins at a known moment, with labels that come later, against scikit-learn's numbers of each
//! window: <https://github.com/NannyML/nannyml>, whose synthetic data `tests/run` fetches.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::File;
use std::io::Seek as _;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::csv::ReaderBuilder;
use arrow::csv::reader::Format;
use arrow::datatypes::{DataType, TimeUnit};
use serde_json::{Value, json};

use super::incremental::same_as_full;
use crate::support::golden;
use crate::support_run::{Place, components};

/// One model: its data, and what others say of them.
struct Model {
    name: &'static str,
    golden: Value,
    reference: RecordBatch,
    analysis: RecordBatch,
    labels: RecordBatch,
    /// Columns that are not profiled, as TOML.
    excluded: &'static str,
}

impl Model {
    fn load(name: &'static str, folder: &str) -> Self {
        let document = std::fs::read_to_string(golden("nannyml.json")).unwrap();
        let mut document: Value = serde_json::from_str(&document).unwrap();
        let golden = document["datasets"][name].take();
        let file = |at: usize| Path::new(folder).join(golden["files"][at].as_str().unwrap());
        let (reference, analysis) = (of_one_model(&read_csv(&file(0))), of_one_model(&read_csv(&file(1))));
        let labels = read_csv(&file(2));
        Self { name, reference, analysis, labels, golden, excluded: "\"id\"" }
    }

    fn text(&self, key: &str) -> &str {
        self.golden[key].as_str().unwrap()
    }

    /// The monitor, with the rules that see the drift where it begins. `of_labels` are lines about labels and scores;
    /// without any, rules about them cannot be.
    fn configure(&self, place: &Place, of_labels: &str) {
        place.parquet("reference.parquet", &self.reference);
        let mut text = format!(
            r#"
[monitor.m]
table    = "~/t"
output   = "~/out"
baseline = "~/reference.parquet"
columns  = {{ exclude = [{}] }}
[monitor.m.inference_log]
timestamp     = "timestamp"
granularities = ["{}"]
model_id      = "model"
prediction    = "{}"
problem_type  = "{}"
{of_labels}
"#,
            self.excluded,
            self.text("granularity"),
            self.text("prediction"),
            self.text("problem_type"),
        );
        for rule in self.rules().filter(|rule| !of_labels.is_empty() || rule["columns"] != json!([":table"])) {
            let metric = rule["metric"].as_str().unwrap();
            let side = if rule["above"].is_null() { "below" } else { "above" };
            write!(
                text,
                "[[monitor.m.rule]]\nname = \"{metric}\"\nmetric = \"{metric}\"\n{side} = {}\ncolumns = {}\n",
                rule[side], rule["columns"]
            )
            .unwrap();
        }
        place.configure(&text);
    }

    fn rules(&self) -> impl Iterator<Item = &Value> {
        self.golden["rules"].as_array().unwrap().iter()
    }

    /// Every rule is first broken in the first drifted window, by the columns that moved, and then as often as it should.
    fn check_alerts(&self, place: &Place, is_checked: impl Fn(&Value) -> bool) {
        let rows = place.sql(
            "SELECT DISTINCT rule, window.start AS start, column_name FROM alerts WHERE kind = 'breach' ORDER BY 1, 2, 3",
        );
        let mut breaches: BTreeMap<&str, BTreeMap<&str, Vec<&str>>> = BTreeMap::new();
        for row in &rows {
            let text = |key: &str| row[key].as_str().unwrap();
            let windows = breaches.entry(text("rule")).or_default();
            windows.entry(text("start")).or_default().push(text("column_name"));
        }
        let checked: Vec<&Value> = self.rules().filter(|rule| is_checked(rule)).collect();
        let names: BTreeSet<&str> = checked.iter().map(|rule| rule["metric"].as_str().unwrap()).collect();
        assert_eq!(breaches.keys().copied().collect::<BTreeSet<_>>(), names, "{}", self.name);
        for rule in checked {
            let windows = &breaches[rule["metric"].as_str().unwrap()];
            let (first, columns) = windows.first_key_value().unwrap();
            assert_eq!(
                (json!(first), json!(columns)),
                (rule["first_breach"].clone(), rule["first_columns"].clone()),
                "{rule}"
            );
            assert_eq!(json!(windows.len()), rule["breached_from_then_on"], "{rule}");
        }
    }

    /// The quality of each window and of the reference is scikit-learn's.
    fn check_quality(&self, place: &Place) {
        let rows = place.sql(
            "SELECT * FROM m_profile_metrics WHERE column_name = ':table' AND model = '*' AND slice_key IS NULL \
             ORDER BY log_type, window.start",
        );
        let windows = self.golden["windows"].as_array().unwrap();
        let expected = [&self.golden["reference"]].into_iter().chain(windows);
        assert_eq!(rows.len(), windows.len() + 1);
        for (row, expected) in rows.iter().zip(expected) {
            let at = format!("{} {}", self.name, expected["start"]);
            assert_eq!((&row["window"]["start"], &row["count"]), (&expected["start"], &expected["count"]), "{at}");
            assert_eq!(row["evaluated_count"], expected["count"], "{at}");
            for (metric, number) in expected["quality"].as_object().unwrap() {
                match metric.as_str() {
                    // Each class alone is in no table.
                    "brier_score_one_vs_all" => {}
                    "confusion_matrix" => assert_eq!(cells(&row[metric]), cells(number), "{at}"),
                    "roc_auc_score" => {
                        let mut number = number.clone();
                        // The probability of one class ranks that class alone; by symmetry the other's area is the same.
                        let classes = number["one_vs_all"].as_object_mut().unwrap();
                        if classes.len() == 2 {
                            classes.remove("0").unwrap();
                        }
                        check(&row[metric], &number, &row["roc_auc_error"], &format!("{at} {metric}"));
                    }
                    "median_absolute_error" => {
                        check(&row[metric], number, &row["median_absolute_error_bound"], &format!("{at} {metric}"));
                    }
                    _ => check(&row[metric], number, &Value::Null, &format!("{at} {metric}")),
                }
            }
        }
    }
}

/// Numbers of equal shape that differ by no more than 1e-9 of themselves and a certified error.
#[track_caller]
fn check(ours: &Value, theirs: &Value, error: &Value, at: &str) {
    if let Some(members) = theirs.as_object() {
        for (name, theirs) in members {
            check(&ours[name], theirs, &error[name], &format!("{at} {name}"));
        }
        return;
    }
    let (Some(a), Some(b)) = (ours.as_f64(), theirs.as_f64()) else { panic!("{at}: {ours}, expected {theirs}") };
    let bound = error.as_f64().unwrap_or_default();
    assert!((a - b).abs() <= bound + 1e-9 * b.abs(), "{at}: {a}, expected {b} within {bound}");
}

/// The cells of a confusion matrix that are not empty, in order.
fn cells(matrix: &Value) -> Vec<String> {
    let cells = matrix.as_array().unwrap().iter().filter(|cell| cell["count"] != 0);
    let mut cells: Vec<String> =
        cells.map(|cell| format!("{} {} {}", cell["prediction"], cell["label"], cell["count"])).collect();
    cells.sort();
    cells
}

fn read_csv(path: &Path) -> RecordBatch {
    let mut file = File::open(path).unwrap();
    let (schema, rows) = Format::default().with_header(true).infer_schema(&mut file, None).unwrap();
    file.rewind().unwrap();
    let reader = ReaderBuilder::new(Arc::new(schema)).with_header(true).with_batch_size(rows + 1).build(file).unwrap();
    let batches: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
    let [batch] = batches.try_into().unwrap();
    batch
}

/// Times as Delta has them, in UTC, and a column that says which model it was.
fn of_one_model(rows: &RecordBatch) -> RecordBatch {
    let times = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let model: ArrayRef = Arc::new(StringArray::from(vec!["1"; rows.num_rows()]));
    let schema = rows.schema();
    let columns = schema.fields().iter().zip(rows.columns()).map(|(field, values)| {
        let values = if field.name() == "timestamp" { cast(values, &times).unwrap() } else { Arc::clone(values) };
        (field.name().as_str(), values, true)
    });
    RecordBatch::try_from_iter_with_nullable(columns.chain([("model", model, true)])).unwrap()
}

fn write_csv(path: &Path, rows: &RecordBatch) {
    arrow::csv::Writer::new(File::create(path).unwrap()).write(rows).unwrap();
}

fn is_about_columns(rule: &Value) -> bool {
    rule["columns"] != json!([":table"])
}

#[test]
fn two_classes_whose_labels_come_weeks_later() {
    let Some([folder]) = components(["LIMNO_TEST_NANNYML"]) else { return };
    // A label that has not come is a null, and many nulls are drift: here only the quality is about labels.
    let model = Model { excluded: "\"id\", \"repaid\"", ..Model::load("car_loan", &folder) };
    let place = Place::new();
    place.delta("t", &model.analysis);
    // The first fourteen weeks or so are told.
    place.delta("labels", &model.labels.slice(0, 16_000));
    model.configure(
        &place,
        "labels = { table = \"~/labels\", on = [\"id\"], label = \"repaid\" }\nprediction_proba = \"y_pred_proba\"\n",
    );
    place.refresh();
    let told = place.row(
        "SELECT count(*) AS windows, sum(labeled_count) AS labels, max(accuracy_score) AS best, \
           count(accuracy_score) AS with_accuracy \
         FROM m_profile_metrics WHERE column_name = ':table' AND model = '*' AND log_type = 'INPUT'",
    );
    assert_eq!((&told["windows"], &told["labels"]), (&json!(44), &json!(16_000)));
    assert_eq!(told["with_accuracy"], 15, "{told}");
    model.check_alerts(&place, is_about_columns);

    place.delta("labels", &model.labels.slice(16_000, 34_000));
    let report = place.refresh();
    assert_eq!((&report["mode"], &report["windows"]), (&json!("incremental"), &json!(30)), "{report}");
    // Three rules about quality, twenty weeks each, of which the newest may still be told.
    assert_eq!((&report["new_breaches"], &report["historical_breaches"]), (&json!(3), &json!(57)), "{report}");
    model.check_quality(&place);
    model.check_alerts(&place, |_| true);
    same_as_full(&place);
}

#[test]
fn numbers_whose_second_half_comes_with_its_labels() {
    let Some([folder]) = components(["LIMNO_TEST_NANNYML"]) else { return };
    let model = Model::load("car_price", &folder);
    let place = Place::new();
    let begins = model.golden["drift_begins"]["row"].as_u64().unwrap().try_into().unwrap();
    let rest = model.analysis.num_rows() - begins;
    place.delta("t", &model.analysis.slice(0, begins));
    write_csv(&place.path("labels.csv"), &model.labels.slice(0, begins));
    model.configure(&place, "labels = { table = \"~/labels.csv\", on = [\"id\"], label = \"y_true\" }");
    let report = place.refresh();
    assert_eq!((&report["new_breaches"], &report["historical_breaches"]), (&json!(0), &json!(0)), "{report}");

    place.delta("t", &model.analysis.slice(begins, rest));
    write_csv(&place.path("labels.csv"), &model.labels);
    place.refresh();
    model.check_quality(&place);
    model.check_alerts(&place, |_| true);
    same_as_full(&place);
}

#[test]
fn three_classes_whose_labels_are_configured_later() {
    let Some([folder]) = components(["LIMNO_TEST_NANNYML"]) else { return };
    let model = Model::load("card", &folder);
    let place = Place::new();
    place.delta("t", &model.analysis);
    model.configure(&place, "");
    place.refresh();
    model.check_alerts(&place, is_about_columns);

    write_csv(&place.path("labels.csv"), &model.labels);
    let classes = ["prepaid_card", "highstreet_card", "upmarket_card"];
    let columns = classes.map(|class| format!("{class} = \"y_pred_proba_{class}\"")).join(", ");
    model.configure(
        &place,
        &format!(
            "labels = {{ table = \"~/labels.csv\", on = [\"id\"], label = \"y_true\" }}\nprediction_proba = {{ {columns} }}\n"
        ),
    );
    place.refresh();
    model.check_quality(&place);
    model.check_alerts(&place, |_| true);
    same_as_full(&place);
}
