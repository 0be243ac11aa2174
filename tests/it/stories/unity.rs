//! A monitor whose tables are known by their names in a catalog alone.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use chrono::TimeDelta;
use futures::TryStreamExt;
use limno_engine::clock::SystemClock;
use limno_engine::config::Config;
use limno_engine::engine::Engine;
use limno_engine::progress::Progress;
use limno_sql::lake::{LakeOptions, SignIn, StoreOptions};
use limno_sql::secret::Secret;
use limno_sql::session::SessionOptions;
use object_store::azure::{MicrosoftAzure, MicrosoftAzureBuilder};
use object_store::{ObjectStore, ObjectStoreExt};
use serde_json::{Value, json};
use url::Url;

use super::numbers_of;
use crate::support_run::{Place, components, instant, numbers, table, texts, times};

const ROWS: i64 = 40;
const METRICS: [&str; 2] = ["m_profile_metrics", "m_drift_metrics"];
const OUTPUTS: [&str; 5] = ["m_profile_metrics", "m_drift_metrics", "m_ledger", "alerts", "refreshes"];

/// A log with a baseline and labels of their own, at locations that begin and end so.
fn monitor(before: &str, output: &str) -> String {
    format!(
        "[monitor.m]\ntable = \"{before}t\"\nbaseline = \"{before}baseline\"\noutput = \"{output}\"\n\
         [monitor.m.inference_log]\ntimestamp = \"at\"\ngranularities = [\"1 day\"]\nmodel_id = \"model\"\n\
         prediction = \"predicted\"\nproblem_type = \"regression\"\n\
         labels = {{ table = \"{before}labels\", on = [\"id\"], label = \"actual\" }}\n"
    )
}

fn ids(day: i64) -> ArrayRef {
    Arc::new((ROWS * (day - 1)..ROWS * day).collect::<Int64Array>())
}

fn rows(day: i64) -> RecordBatch {
    let start = instant("2024-01-01T01:00:00Z") + TimeDelta::days(day - 1);
    table([
        ("id", ids(day)),
        ("at", times((0..ROWS).map(|minute| start + TimeDelta::minutes(minute)))),
        ("model", texts((0..ROWS).map(|row| if row % 4 == 0 { "old" } else { "new" }))),
        ("predicted", numbers((0..ROWS).map(|row| (row * day) as f64))),
    ])
}

fn labels(day: i64) -> RecordBatch {
    table([("id", ids(day)), ("actual", numbers((0..ROWS).map(|row| (row * day + row % 3) as f64)))])
}

/// Three days of rows with labels of two, and a baseline.
fn write_sources(place: &Place) {
    for day in 1..=3 {
        place.delta("t", &rows(day));
    }
    place.delta("baseline", &rows(1));
    place.delta("labels", &labels(1));
    place.delta("labels", &labels(2));
}

/// A catalog of this name at the stand-in that `tests/run` starts.
struct Catalog<'a> {
    name: &'a str,
    tables: &'a str,
    log: &'a str,
}

impl Catalog<'_> {
    fn register(&self, schema: &str, table: &str, folder: &Path, more: &Value) {
        let name = format!("{}.{schema}.{table}", self.name);
        let mut answer = json!({
            "name": table, "table_type": "EXTERNAL", "data_source_format": "DELTA", "table_id": format!("id of {name}"),
            "storage_location": format!("file:{}", folder.display()), "columns": null,
        });
        answer.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        fs::write(Path::new(self.tables).join(format!("{name}.json")), answer.to_string()).unwrap();
    }

    /// Tables and operations that credentials were asked for.
    fn asked(&self) -> Vec<(String, String)> {
        let text = fs::read_to_string(self.log).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let of = |line: Value| {
            let table = line["table"].as_str()?.strip_prefix(&format!("{}.", self.name))?.to_owned();
            Some((table, line["operation"].as_str()?.to_owned()))
        };
        lines.filter_map(of).collect()
    }
}

/// What `CREATE TABLE … USING DELTA LOCATION …` leaves: one commit, with these columns.
fn create(folder: &Path, columns: &Value, partitions: &[&str]) {
    let log = folder.join("_delta_log");
    fs::create_dir_all(&log).unwrap();
    let schema = json!({ "type": "struct", "fields": columns }).to_string();
    let actions = [
        json!({ "commitInfo": { "timestamp": 1_700_000_000_000_i64, "operation": "CREATE TABLE" } }),
        json!({ "protocol": { "minReaderVersion": 1, "minWriterVersion": 2 } }),
        json!({ "metaData": {
            "id": "5f1b7c1e-0000-4000-8000-000000000000", "format": { "provider": "parquet", "options": {} },
            "schemaString": schema, "partitionColumns": partitions, "configuration": {}, "createdTime": 1 } }),
    ];
    let text: String = actions.iter().map(|action| format!("{action}\n")).collect();
    fs::write(log.join("00000000000000000000.json"), text).unwrap();
}

#[test]
fn a_monitor_by_names_of_a_catalog_comes_to_the_same_tables_as_on_disk() {
    let Some([host, tables, log, id, secret]) = components([
        "LIMNO_TEST_UNITY",
        "LIMNO_TEST_UNITY_TABLES",
        "LIMNO_TEST_UNITY_LOG",
        "LIMNO_TEST_UNITY_CLIENT_ID",
        "LIMNO_TEST_UNITY_CLIENT_SECRET",
    ]) else {
        return;
    };
    let on_disk = Place::new();
    write_sources(&on_disk);
    on_disk.configure(&monitor("~/", "~/out"));
    on_disk.refresh();

    let catalog = Catalog { name: "on_disk", tables: &tables, log: &log };
    let mut place = Place::new();
    write_sources(&place);
    for table in ["t", "baseline", "labels"] {
        catalog.register("prod", table, &place.path(table), &json!({}));
    }
    place.configure(&monitor("uc://on_disk.prod.", "uc://On_Disk.monitoring"));
    place.set("DATABRICKS_HOST", &host);
    place.set("DATABRICKS_CLIENT_ID", &id);
    place.set("DATABRICKS_CLIENT_SECRET", &secret);

    // What is to be created is said once, of all tables.
    let ran = place.limno(&["run"]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    for output in OUTPUTS {
        let statement = format!("CREATE TABLE on_disk.monitoring.{output} USING DELTA LOCATION '");
        assert_eq!(ran.err.matches(&statement).count(), 1, "{}", ran.err);
    }
    assert!(!ran.err.contains(&secret), "{}", ran.err);

    let columns = json!([{ "name": "day", "type": "date", "nullable": true, "metadata": {} }]);
    for output in OUTPUTS {
        let folder = place.path(&format!("out/{output}"));
        // Two of them with columns that are none of ours.
        match output {
            "m_profile_metrics" | "alerts" => create(&folder, &columns, &["day"]),
            _ => create(&folder, &json!([]), &[]),
        }
        catalog.register("monitoring", output, &folder, &json!({}));
    }
    place.refresh();
    for metrics in METRICS {
        let rows = numbers_of(&place, metrics);
        assert!(!rows.is_empty());
        assert_eq!(rows, numbers_of(&on_disk, metrics), "{metrics}");
    }
    assert_eq!(place.row("SELECT count(*) AS n FROM refreshes WHERE result <> 'failed'")["n"], json!(1));

    // A day and labels more.
    for place in [&place, &on_disk] {
        place.delta("t", &rows(4));
        place.delta("labels", &labels(3));
        place.refresh();
    }
    for metrics in METRICS {
        assert_eq!(numbers_of(&place, metrics), numbers_of(&on_disk, metrics), "{metrics}");
    }

    let asked = catalog.asked();
    for table in ["prod.t", "prod.baseline", "prod.labels"] {
        let of_table: Vec<_> = asked.iter().filter(|(name, _)| name == table).collect();
        assert!(!of_table.is_empty() && of_table.iter().all(|(_, operation)| operation == "READ"), "{asked:?}");
    }
    for output in OUTPUTS {
        assert!(asked.contains(&(format!("monitoring.{output}"), "READ_WRITE".to_owned())), "{asked:?}");
    }
}

/// Everything below a folder, to the same names in the store.
async fn upload(place: &Place, folder: &str, store: &MicrosoftAzure, below: &str) {
    for (file, _) in place.files(folder) {
        let name = file.strip_prefix(place.path("")).unwrap().to_str().unwrap().to_owned();
        store.put(&format!("{below}/{name}").into(), fs::read(file).unwrap().into()).await.unwrap();
    }
}

async fn download(place: &Place, folder: &str, store: &MicrosoftAzure, below: &str) {
    let all: Vec<_> = store.list(Some(&format!("{below}/{folder}").into())).try_collect().await.unwrap();
    for object in all {
        let file = place.path(object.location.as_ref().strip_prefix(&format!("{below}/")).unwrap());
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        let bytes = store.get(&object.location).await.unwrap().bytes().await.unwrap();
        fs::write(file, bytes).unwrap();
    }
}

#[test]
fn credentials_that_end_during_a_run_are_renewed() {
    let Some([host, tables, log, token, endpoint, account, key]) = components([
        "LIMNO_TEST_UNITY",
        "LIMNO_TEST_UNITY_TABLES",
        "LIMNO_TEST_UNITY_LOG",
        "LIMNO_TEST_UNITY_TOKEN",
        "LIMNO_TEST_AZURE_ENDPOINT",
        "LIMNO_TEST_AZURE_ACCOUNT",
        "LIMNO_TEST_AZURE_KEY",
    ]) else {
        return;
    };
    let on_disk = Place::new();
    write_sources(&on_disk);
    on_disk.configure(&monitor("~/", "~/out"));
    on_disk.refresh();

    let store = MicrosoftAzureBuilder::new()
        .with_account(&account)
        .with_access_key(&key)
        .with_container_name("lake")
        .with_endpoint(endpoint.clone())
        .with_allow_http(true)
        .build()
        .unwrap();
    let catalog = Catalog { name: "short", tables: &tables, log: &log };
    let below = format!("unity-{}", std::process::id());
    let registered = |schema: &str, folder: &str, table: &str| {
        let location = format!("abfss://lake@{account}.dfs.core.windows.net/{below}/{folder}");
        // They end many times while the tables are read.
        let more = json!({ "storage_location": location, "mock": { "life_ms": 60 } });
        catalog.register(schema, table, Path::new("/nowhere"), &more);
    };
    let place = Place::new();
    write_sources(&place);
    for output in OUTPUTS {
        create(&place.path(&format!("out/{output}")), &json!([]), &[]);
        registered("monitoring", &format!("out/{output}"), output);
    }
    for table in ["t", "baseline", "labels"] {
        registered("prod", table, table);
    }
    place.configure(&monitor("uc://short.prod.", "uc://short.monitoring"));
    let mut of_catalog = StoreOptions::new("catalog", "uc://");
    of_catalog.endpoint = Some(Url::parse(&host).unwrap());
    of_catalog.sign_in = SignIn::Token(Secret::new(token));
    let mut of_lake = StoreOptions::new("lake", format!("abfss://lake@{account}.dfs.core.windows.net/"));
    of_lake.endpoint = Some(Url::parse(&endpoint).unwrap());
    // Who could not sign in: only what the catalog hands out opens the store.
    of_lake.sign_in = SignIn::AccountKey(Secret::new("bm8ga2V5IG9mIHRoaXMgYWNjb3VudA=="));
    let lake = LakeOptions { stores: vec![of_catalog, of_lake], ..LakeOptions::default() };
    let options = SessionOptions { partitions: Some(2), lake, ..SessionOptions::default() };
    let config = Config::load(&place.path("limno.toml"), &BTreeMap::new()).unwrap();
    let engine = Engine::new(config, Arc::new(SystemClock), Progress::hidden(), &options).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(Box::pin(async {
        for folder in ["t", "baseline", "labels", "out"] {
            upload(&place, folder, &store, &below).await;
        }
        let bound = engine.bind(&engine.config().monitors[0]).await.unwrap();
        engine.run(&bound, false).await.unwrap();
        fs::remove_dir_all(place.path("out")).unwrap();
        download(&place, "out", &store, &below).await;
    }));
    // What lies in the store now, read from disk.
    place.configure(&monitor("~/", "~/out"));
    for metrics in METRICS {
        let rows = numbers_of(&place, metrics);
        assert!(!rows.is_empty());
        assert_eq!(rows, numbers_of(&on_disk, metrics), "{metrics}");
    }
    let asked = catalog.asked();
    for table in ["prod.t", "monitoring.m_ledger"] {
        let times = asked.iter().filter(|(name, _)| name == table).count();
        assert!(times > 1, "{table} {times}: {asked:?}");
    }
    assert!(!asked.iter().any(|(name, operation)| name.starts_with("prod.") && operation == "READ_WRITE"), "{asked:?}");
}

#[test]
fn a_catalog_says_who_may_not_write_and_who_is_not_known() {
    let Some([host, tables, log, token]) =
        components(["LIMNO_TEST_UNITY", "LIMNO_TEST_UNITY_TABLES", "LIMNO_TEST_UNITY_LOG", "LIMNO_TEST_UNITY_TOKEN"])
    else {
        return;
    };
    let catalog = Catalog { name: "denied", tables: &tables, log: &log };
    let mut place = Place::new();
    write_sources(&place);
    for table in ["t", "baseline", "labels"] {
        catalog.register("prod", table, &place.path(table), &json!({}));
    }
    for output in OUTPUTS {
        let denied = json!({ "mock": { "denied": ["READ_WRITE"] } });
        catalog.register("monitoring", output, &place.path(output), &denied);
    }
    place.configure(&monitor("uc://denied.prod.", "uc://denied.monitoring"));
    place.set("DATABRICKS_HOST", &host);
    place.set("DATABRICKS_TOKEN", &token);
    let ran = place.limno(&["run"]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.err.contains("GRANT SELECT, MODIFY ON TABLE denied.monitoring."), "{}", ran.err);
    assert!(ran.err.contains("EXTERNAL USE SCHEMA ON SCHEMA denied.monitoring"), "{}", ran.err);

    place.set("DATABRICKS_TOKEN", "dapi-of-somebody-else");
    place.set("RUST_LOG", "trace");
    let ran = place.limno(&["run"]);
    assert_ne!(ran.code, 0);
    let shown = "does not accept the token of the environment (DATABRICKS_TOKEN)";
    assert!(ran.err.contains(shown) && !ran.err.contains("dapi-of-somebody-else"), "{}", ran.err);
}
