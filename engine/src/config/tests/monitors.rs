//! Monitors: columns and their limits, windows, schedules, sizes; and which of them are selected.

use super::*;

#[test]
fn columns_have_limits_of_their_own() {
    let columns = "columns = { exact = [\"price\", \"qty_*\"], max_buckets = { amount = 65536, \"a*\" = 256 } }";
    for (precision, others) in [
        ("", Precision::Bounded { max_buckets: 4096 }),
        ("max_buckets = 64", Precision::Bounded { max_buckets: 64 }),
        ("precision = \"exact\"", Precision::Exact),
    ] {
        let config = parse(&monitor_with(&format!("{columns}\n{precision}"))).expect("right");
        let monitor = &config.monitors[0];
        for (column, expected) in [
            ("price", Precision::Exact),
            ("qty_sold", Precision::Exact),
            ("amount", Precision::Bounded { max_buckets: 65536 }),
            ("age", Precision::Bounded { max_buckets: 256 }),
            ("prices", others),
        ] {
            assert_eq!(monitor.columns.precision(column, monitor.precision), expected, "{column} with {precision:?}");
        }
        assert_eq!(monitor.columns.contradictions(&["price", "qty_sold", "amount", "age"], "limno.toml"), []);
    }
}

#[test]
fn a_limit_and_none_for_the_same_columns_contradict_each_other() {
    for (exact, limited, key, message) in [
        ("price", "price", "price", "`price` has no limit according to `price`"),
        ("qty_*", "qty_sold", "qty_sold", "`qty_sold` has no limit according to `qty_*`"),
        ("qty_sold", "qty_*", "\"qty_*\"", "`qty_sold` has no limit according to `qty_sold`"),
        ("qty_*", "q*", "\"q*\"", "`qty_*` has no limit according to `qty_*`"),
        ("*", "*_sold", "\"*_sold\"", "`*_sold` has no limit according to `*`"),
    ] {
        let columns = format!("exact = [\"other\", \"{exact}\"]\n[monitor.m.columns.max_buckets]\n\"{limited}\" = 64");
        assert_problems(
            &beside(&format!("[monitor.m.columns]\n{columns}")),
            &[
                &format!(
                    "limno.toml:11: monitor.m.columns.max_buckets.{key}: {message} of monitor.m.columns.exact[1] in line 9"
                ),
                "  hint: leave one of the two out",
            ],
        );
    }
}

#[test]
fn contradictions_are_told_once_for_each_pair_of_entries() {
    let contradictions = |columns: &str, names: &[&str]| {
        let config = parse(&monitor_with(&format!("columns = {{ {columns} }}"))).expect("right");
        Problems(config.monitors[0].columns.contradictions(names, "limno.toml")).to_string()
    };
    let names = ["id", "id_a_sold", "id_b_sold"];
    assert_eq!(
        contradictions("exact = [\"id_*\"], max_buckets = { \"*_sold\" = 64 }", &names),
        "limno.toml:4: monitor.m.columns.max_buckets.\"*_sold\": `id_a_sold` has no limit according to `id_*` of \
         monitor.m.columns.exact[0] in line 4\n  hint: leave one of the two out"
    );
    let two = "\"*_sold\" = 64, \"id_*\" = 64";
    assert_eq!(
        contradictions(&format!("max_buckets = {{ {two} }}"), &names),
        "limno.toml:4: monitor.m.columns.max_buckets.\"id_*\": a second limit of `id_a_sold` beside \
         monitor.m.columns.max_buckets.\"*_sold\" in line 4\n  hint: add its full name, which wins over patterns: \
         \"id_a_sold\" = N"
    );
    // Only columns that are there count, and a full name settles it.
    assert_eq!(contradictions(&format!("max_buckets = {{ {two} }}"), &["id", "id_a", "sold"]), "");
    assert_eq!(contradictions(&format!("max_buckets = {{ {two}, id_a_sold = 16 }}"), &names[..2]), "");
}

#[test]
fn schedules_and_time_zones_are_checked() {
    for (line, expected) in [
        ("schedule = \"61 0 * * * *\"", "schedule: `61 0 * * * *` is not a schedule: number out of bounds"),
        ("schedule = \"* * * * * * *\"", "schedule: a schedule has six fields, this one has 7"),
        ("schedule = \"0 0 * * * wat\"", "schedule: `0 0 * * * wat` is not a schedule: "),
        (
            "timezone = \"Europe/Roma\"",
            "timezone: `Europe/Roma` is not an IANA time zone\n  hint: did you mean `Europe/Rome`?",
        ),
        (
            "timezone = \"europe/rome\"",
            "timezone: `europe/rome` is not an IANA time zone\n  hint: did you mean `Europe/Rome`?",
        ),
        (
            "timezone = \"Middle Earth\"",
            "timezone: `Middle Earth` is not an IANA time zone\n  hint: the nearest valid name is `",
        ),
    ] {
        let shown = problems(&monitor_with(line));
        let expected = format!("limno.toml:4: monitor.m.{expected}");
        assert!(shown.starts_with(&expected), "{shown}\n{expected}");
    }
    assert!(parse(&monitor_with("schedule = \"@hourly\"")).is_ok());
    assert!(parse(&monitor_with("schedule = \"0 30 6 * * MON-FRI\"")).is_ok());
}

#[test]
fn granularities_and_kinds_are_checked() {
    let text = monitor_with("").replace("1 week", "1 fortnight");
    let shown = problems(&text);
    assert!(shown.starts_with("limno.toml:7: monitor.m.time_series.granularities[1]: "), "{shown}");
    assert!(shown.contains("fortnight") && shown.contains("\"2 weeks\""), "{shown}");
    assert_problems(
        &monitor_with("").replace("1 week", "1 day"),
        &["limno.toml:7: monitor.m.time_series.granularities[1]: `1 day` is given twice"],
    );
    assert_problems(
        &monitor_with("").replace("[\"1 day\", \"1 week\"]", "[]"),
        &["limno.toml:7: monitor.m.time_series.granularities: is empty, expected at least one granularity"],
    );
    assert_problems(
        &monitor_with("snapshot = {}"),
        &[
            "limno.toml:5: monitor.m.time_series: a second kind beside monitor.m.snapshot in line 4, expected exactly one",
        ],
    );
    assert_problems(
        &beside(
            "[monitor.i]\ntable=\"t\"\noutput=\"o\"\n[monitor.i.inference_log]\ntimestamp=\"t\"\ngranularities=[\"1 day\"]\nprediction=\"p\"\nproblem_type=\"regresion\"",
        ),
        &[
            "limno.toml:11: monitor.i.inference_log.model_id: is missing, expected the column that says which model",
            "limno.toml:15: monitor.i.inference_log.problem_type: `regresion` is none of regression, classification",
            "  hint: did you mean `regression`?",
        ],
    );
}

#[test]
fn windows_can_slide_begin_later_and_be_looked_back_on_only_so_far() {
    let text = monitor_with("offset = \"5h 30m\"\nlookback = \"90days\"").replace("1 week", "1 week every 24 hours");
    let config = parse(&text).expect("right");
    let monitor = &config.monitors[0];
    assert_eq!(monitor.offset_minutes, 330);
    assert_eq!(monitor.lookback, Some(Duration::from_secs(90 * 86_400)));
    let granularities: Vec<_> = monitor.kind.granularities().iter().map(|g| g.value.to_string()).collect();
    assert_eq!(granularities, ["1 day", "7 days every 1 day"]);
    let plain = parse(&monitor_with("")).expect("right");
    assert_eq!((plain.monitors[0].offset_minutes, plain.monitors[0].lookback), (0, None));
    for (line, refused) in [
        ("offset = \"1day\"", "monitor.m.offset: an offset is less than a day, in whole minutes"),
        ("offset = \"90s\"", "monitor.m.offset: an offset is less than a day, in whole minutes"),
        ("offset = 6", "monitor.m.offset: expected a duration, found an integer"),
        ("lookback = \"0s\"", "monitor.m.lookback: a lookback of zero would leave out every window"),
    ] {
        let problems = problems(&monitor_with(line));
        assert!(problems.contains(refused), "{problems}");
    }
    for (granularity, refused) in [
        ("7 days every 2 days", "the length of a window must be a multiple of its step"),
        ("1 month every 1 day", "the length of a window must be a multiple of its step"),
        ("1 day every 1 minute", "has 1440 steps, a window has 366 at most"),
        ("7 days every day", "`7 days every day` is not a granularity\n  hint: write \"7 days every 1 day\""),
        ("24 hours every 1 day", "`1 day` is given twice"),
    ] {
        let problems = problems(&monitor_with("").replace("1 week", granularity));
        assert!(problems.contains(refused), "{problems}");
    }
    let snapshot = "[monitor.m]\ntable = \"t\"\noutput = \"o\"\noffset = \"1h\"\nlookback = \"1day\"\nsnapshot = {}";
    assert_eq!(problems(snapshot).matches("a snapshot has no windows of time").count(), 2);
}

#[test]
fn monitors_are_selected_by_name() {
    let text = beside("[monitor.other]\ntable = \"t\"\noutput = \"o\"\nsnapshot = {}");
    let config = parse(&text).expect("right");
    let select = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let selected = config.select(&names)?;
        Ok::<_, UnknownMonitor>(selected.iter().map(|m| m.name.as_str()).collect::<Vec<_>>())
    };
    assert_eq!(select(&[]), Ok(vec!["m", "other"]));
    assert_eq!(select(&["other", "m", "other"]), Ok(vec!["m", "other"]));
    let error = select(&["m", "othr"]).expect_err("unknown");
    assert_eq!(error.to_string(), "there is no monitor `othr` in `limno.toml`\n  hint: did you mean `other`?");
    assert_eq!(error.hint.as_deref(), Some("did you mean `other`?"));
}

#[test]
fn sizes_and_retention_are_read_and_checked() {
    let text = |lines: &str| {
        format!(
            "[monitor.m]\ntable = \"t\"\noutput = \"o\"\n\
             time_series = {{ timestamp = \"t\", granularities = [\"1 day\"] }}\n{lines}\n"
        )
    };
    let parse = |lines: &str| Config::parse(&text(lines), "limno.toml", &ProcessEnv);
    let config =
        parse("memory = \"64 MiB\"\nretention = { states = \"90days\", rows = \"2years\", files = \"1day\" }").unwrap();
    let monitor = &config.monitors[0];
    assert_eq!(monitor.memory, 64 << 20);
    let days = |days: u64| Duration::from_secs(days * 86_400);
    assert_eq!(monitor.retention.states(), Some(days(90)));
    assert_eq!(monitor.retention.files, days(1));
    let default = &parse("").unwrap().monitors[0];
    assert_eq!((default.memory, default.retention), (2 << 30, Retention::default()));
    let rows_alone = &parse("retention = { rows = \"30days\" }").unwrap().monitors[0];
    assert_eq!(rows_alone.retention.states(), Some(days(30)), "states go with their rows");
    for (lines, message) in [
        ("memory = 5", "expected a size"),
        ("memory = \"much\"", "is not a size"),
        ("memory = \"1 MiB\"", "expected at least 16.0 MiB"),
        ("retention = { states = \"60days\", rows = \"30days\" }", "longer than the rows"),
        ("retention = { files = \"5m\" }", "may still be read"),
        ("retention = { state = \"5m\" }", "unknown key `state`"),
    ] {
        let problems = parse(lines).unwrap_err().to_string();
        assert!(problems.contains(message), "{lines}: {problems}");
    }
    let snapshot = "[monitor.m]\ntable = \"t\"\noutput = \"o\"\nsnapshot = {}\nretention = { rows = \"9days\" }\n";
    let problems = Config::parse(snapshot, "limno.toml", &ProcessEnv).unwrap_err().to_string();
    assert!(problems.contains("no windows that grow old"), "{problems}");
}
