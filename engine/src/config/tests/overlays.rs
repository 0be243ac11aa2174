//! Overlays and their `[environment]`: what is laid over what, and where an environment writes.

use limno_sql::lake::SignIn;

use super::*;

const BASE: &str = r#"[monitor.m]
table = "/prod/t"
output = "/prod/monitoring"
grace = "1h"
[monitor.m.time_series]
timestamp = "ts"
granularities = ["1 day"]
[[monitor.m.rule]]
name = "first"
metric = "avg"
above = 1
notify = ["hook"]
[[monitor.m.rule]]
name = "second"
metric = "avg"
above = 2

[monitor.other]
table = "/prod/other"
output = "/prod/elsewhere"
snapshot = {}

[notifier.hook]
kind = "webhook"
url = { env = "HOOK" }

[trigger.retrain]
kind = "command"
command = ["retrain"]

[store.lake]
url = "s3://b"
access_key_id = "AKIA1"
secret_access_key = { env = "DATABRICKS_TOKEN" }
"#;

fn laid(overlay: &str) -> Result<Config, Problems> {
    laid_over(BASE, overlay)
}

fn laid_over(base: &str, overlay: &str) -> Result<Config, Problems> {
    let text = ConfigText { text: overlay, file: "limno.dev.toml" };
    let overlay = Overlay { environment: "dev", text };
    Config::parse_laid(ConfigText { text: base, file: "limno.toml" }, Some(overlay), &env())
}

fn right(overlay: &str) -> Config {
    laid(overlay).unwrap_or_else(|problems| panic!("{problems}"))
}

#[track_caller]
fn assert_laid_problems(overlay: &str, expected: &[&str]) {
    assert_eq!(laid(overlay).expect_err("must be refused").to_string(), expected.join("\n"));
}

#[test]
fn tables_are_joined_key_by_key_and_all_else_is_replaced() {
    let config = right(
        "[monitor.m]\ngrace = \"2h\"\nslices = [\"a\"]\n[[monitor.m.rule]]\nname = \"third\"\nmetric = \"avg\"\nbelow = 3\n\
         [monitor.new]\ntable = \"/prod/t\"\noutput = \"/dev/new\"\nsnapshot = {}\n",
    );
    let names: Vec<&str> = config.monitors.iter().map(|monitor| monitor.name.as_str()).collect();
    assert_eq!(names, ["m", "other", "new"]);
    let monitor = &config.monitors[0];
    assert_eq!((monitor.table.value.as_str(), monitor.table.overlay.as_deref()), ("/prod/t", None));
    assert_eq!(monitor.grace, Duration::from_secs(7200));
    let slice = &monitor.slices[0];
    assert_eq!((slice.line, slice.overlay.as_deref()), (3, Some("limno.dev.toml")));
    let rules: Vec<&str> = monitor.rules.iter().map(|rule| rule.name.as_str()).collect();
    assert_eq!(rules, ["third"], "a list is replaced as a whole");
    assert_eq!(config.environment.as_deref(), Some("dev"));
    // Without [environment] all is as in production.
    assert!(config.deliver && config.writable.is_none());
}

#[test]
fn a_way_to_sign_in_takes_the_place_of_another_with_all_its_keys() {
    let config = right("[store.lake]\nprofile = \"dev\"\n");
    assert_eq!(config.stores[0].sign_in, SignIn::Profile("dev".to_owned()));
    // A reference to a secret comes from one place.
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("secret");
    std::fs::write(&file, "secret-of-a-file\n").expect("a file");
    let config = right(&format!("[store.lake]\nsecret_access_key = {{ file = {file:?} }}\n"));
    let SignIn::AccessKey { id, secret, .. } = &config.stores[0].sign_in else { panic!("a key") };
    assert_eq!((id.as_str(), secret.expose()), ("AKIA1", "secret-of-a-file"));
    assert_laid_problems(
        "[store.lake]\nprofile = \"dev\"\nanonymous = true\n",
        &[
            "limno.dev.toml:2: store.lake.profile: a second way to sign in beside `anonymous` in line 3 of limno.dev.toml",
            "  hint: keep one of the two",
        ],
    );
    assert_laid_problems(
        "[store.mine]\nurl = \"s3://b/\"\nanonymous = true\n",
        &[
            "limno.dev.toml:1: store.mine: has the url of [store.lake]",
            "  hint: to say something else of it here, name the block [store.lake] too",
        ],
    );
}

#[test]
fn an_environment_writes_to_its_output_alone_and_tells_nobody() {
    let config = right("[environment]\noutput = \"/dev/monitoring\"\n");
    for monitor in &config.monitors {
        assert_eq!(monitor.output.value, "/dev/monitoring", "{}", monitor.name);
        assert_eq!(monitor.output.overlay.as_deref(), Some("limno.dev.toml"));
    }
    assert_eq!(config.monitors[0].table.value, "/prod/t", "it reads what production reads");
    assert_eq!(config.writable, Some(vec!["/dev/monitoring".to_owned()]));
    assert!(!config.deliver && config.notifiers.is_empty() && config.triggers.is_empty());
    assert_eq!(config.monitors[0].rules[0].notify[0].value, "hook", "the rules stay as they are");

    let config = right("[environment]\noutput = \"/dev/a\"\nwrites = [\"/dev/more\", \"/dev/a\"]\ndeliver = true\n");
    assert_eq!(config.writable, Some(vec!["/dev/a".to_owned(), "/dev/more".to_owned()]));
    assert!(config.deliver && config.notifiers.contains_key("hook") && config.triggers.contains_key("retrain"));
}

#[test]
fn who_is_not_told_needs_no_secrets_but_who_reads_does() {
    let base = BASE.replace("HOOK", "NOT_SET_IN_DEV");
    let config =
        laid_over(&base, "[environment]\noutput = \"/dev/a\"\n").unwrap_or_else(|problems| panic!("{problems}"));
    assert!(config.notifiers.is_empty());
    let shown = laid_over(&base, "[environment]\noutput = \"/dev/a\"\ndeliver = true\n").expect_err("must be refused");
    assert!(
        shown.to_string().contains("limno.toml:25: notifier.hook.url.env: environment variable `NOT_SET_IN_DEV`"),
        "{shown}"
    );
    let base = BASE.replace("DATABRICKS_TOKEN", "NOT_SET_IN_DEV");
    let shown = laid_over(&base, "[environment]\noutput = \"/dev/a\"\n").expect_err("must be refused").to_string();
    assert!(shown.starts_with("limno.toml:34: store.lake.secret_access_key.env: environment variable"), "{shown}");
}

#[test]
fn a_monitor_may_have_an_output_of_its_own_in_an_environment() {
    let config = right("[environment]\noutput = \"/dev/a\"\n[monitor.other]\noutput = \"/dev/b\"\n");
    let outputs: Vec<&str> = config.monitors.iter().map(|monitor| monitor.output.value.as_str()).collect();
    assert_eq!(outputs, ["/dev/a", "/dev/b"]);
    assert_eq!(config.writable, Some(vec!["/dev/a".to_owned(), "/dev/b".to_owned()]));
}

#[test]
fn an_environment_that_says_not_where_it_writes_is_refused() {
    let expected = |line: usize, name: &str| {
        format!(
            "limno.toml:{line}: monitor.{name}.output: is not written in this environment\n  hint: say in the overlay where \
             metric tables go: [environment] output = \"…\""
        )
    };
    assert_laid_problems("[environment]\ndeliver = true\n", &[&expected(3, "m"), &expected(20, "other")]);
}

#[test]
fn places_of_production_are_refused() {
    for (overlay, what) in [
        ("[environment]\noutput = \"/prod/monitoring\"\n", "`/prod/monitoring` is an output"),
        ("[environment]\noutput = \"/prod\"\n", "`/prod/monitoring` is an output"),
        ("[environment]\noutput = \"/prod/monitoring/\"\n", "`/prod/monitoring` is an output"),
        // Within it others would take it for theirs, and delete what they do not know.
        ("[environment]\noutput = \"/prod/monitoring/dev\"\n", "`/prod/monitoring` is an output"),
        ("[environment]\noutput = \"/prod/t/dev\"\n", "`/prod/t` is a table"),
        ("[environment]\noutput = \"/dev\"\nwrites = [\"/prod/monitoring\"]\n", "`/prod/monitoring` is an output"),
        ("[environment]\noutput = \"/dev\"\nwrites = [\"/prod/other\"]\n", "`/prod/other` is a table"),
        (
            "[environment]\noutput = \"/dev\"\n[monitor.other]\noutput = \"/prod/elsewhere\"\n",
            "`/prod/elsewhere` is an output",
        ),
    ] {
        let shown = laid(overlay).expect_err(overlay).to_string();
        let refused =
            format!("{what} of limno.toml, which this environment must not change\n  hint: name another place");
        assert!(shown.contains(&refused), "{overlay} {shown}");
        assert!(shown.starts_with("limno.dev.toml:"), "{shown}");
    }
    let with_labels = r#"[monitor.m]
table = "/logs/t"
baseline = "/baselines/b.parquet"
output = "/prod"
[monitor.m.inference_log]
timestamp = "ts"
granularities = ["1 day"]
model_id = "m"
prediction = "p"
problem_type = "regression"
labels = { table = "/labels/l", on = ["id"], label = "y" }
"#;
    for (place, what) in [("/labels", "`/labels/l` is a table of labels"), ("/baselines", "is a baseline")] {
        let overlay = format!("[environment]\noutput = \"{place}\"\n");
        let shown = laid_over(with_labels, &overlay).expect_err(place).to_string();
        assert!(shown.contains(what), "{shown}");
    }
    // A name that only begins alike is another place.
    assert_eq!(
        right("[environment]\noutput = \"/prod/monitoring-dev\"\n").writable.map(|places| places.len()),
        Some(1)
    );
}

#[test]
fn an_environment_stands_in_an_overlay_only() {
    let text = format!("[environment]\noutput = \"/dev\"\n{BASE}");
    assert_problems(
        &text,
        &[
            "limno.toml:1: environment: stands in an overlay only",
            "  hint: move it to limno.NAME.toml, and run limno --env NAME",
        ],
    );
    assert_laid_problems(
        "[environment]\noutput = \"https://example.com/x\"\nwrite = []\n",
        &[
            "limno.dev.toml:2: environment.output: nothing is written to a web server",
            "  hint: write abfss://, s3://, gs://, uc:// or a path",
            "limno.dev.toml:3: environment.write: unknown key `write`",
            "  hint: did you mean `writes`?",
        ],
    );
}

#[test]
fn problems_of_both_files_come_at_once_each_with_its_file() {
    let base = BASE.replace("grace", "grase");
    let shown =
        laid_over(&base, "[environment]\noutput = \"/dev\"\n[monitor.m]\nslices = 1\n").expect_err("must be refused");
    assert_eq!(
        shown.to_string(),
        "limno.toml:4: monitor.m.grase: unknown key `grase`\n  hint: did you mean `grace`?\n\
         limno.dev.toml:4: monitor.m.slices: expected an array of strings, found an integer"
    );
    let shown = laid("[environment\n").expect_err("no TOML").to_string();
    assert!(shown.starts_with("limno.dev.toml:1: "), "{shown}");
}

#[test]
fn overlays_lie_beside_the_configuration_and_are_found_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("limno.toml");
    std::fs::write(&path, BASE).expect("a file");
    std::fs::write(folder.path().join("limno.dev.toml"), "[environment]\noutput = \"/dev\"\n").expect("a file");
    let config = Config::load_laid(&path, Some("dev"), &env()).expect("right");
    assert_eq!((config.environment.as_deref(), config.monitors[0].output.value.as_str()), (Some("dev"), "/dev"));
    assert!(Config::load_laid(&path, None, &env()).expect("right").environment.is_none());
    let error = Config::load_laid(&path, Some("dv"), &env()).expect_err("not there").to_string();
    assert!(error.starts_with("environment dv has no overlay: cannot read `"), "{error}");
    assert!(error.ends_with("\n  hint: did you mean `dev`?"), "{error}");
    for name in ["", "../dev", "a.b", "dev/x"] {
        let error = Config::load_laid(&path, Some(name), &env()).expect_err("no name");
        assert!(matches!(error, LoadError::Environment { .. }), "{name}: {error}");
    }
}

#[test]
fn blocks_of_stores_are_read_without_the_rest() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("limno.toml");
    std::fs::write(&path, "[monitor.m]\nnonsense = 1\n[store.lake]\nurl = \"s3://b\"\n").expect("a file");
    std::fs::write(folder.path().join("limno.dev.toml"), "[store.lake]\nanonymous = true\n").expect("a file");
    let stores = Config::load_stores(&path, None, &env()).expect("right");
    assert_eq!((stores.len(), &stores[0].sign_in), (1, &SignIn::Environment));
    let stores = Config::load_stores(&path, Some("dev"), &env()).expect("right");
    assert_eq!(stores[0].sign_in, SignIn::Anonymous);
}
