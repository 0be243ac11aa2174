//! Keys that are unknown or missing, values of wrong types, names.

use super::*;

#[test]
fn unknown_keys_are_named_with_the_nearest_valid_one() {
    assert_problems(
        "monitors = 1\n",
        &["limno.toml:1: monitors: unknown key `monitors`", "  hint: did you mean `monitor`?"],
    );
    assert_problems(
        &monitor_with("zzz = 1").replace("timestamp", "timestmp"),
        &[
            "limno.toml:4: monitor.m.zzz: unknown key `zzz`",
            "  hint: valid names: table, output, baseline, columns, slices, max_slices, min_slice_size, timezone, schedule, week_start, offset, grace, lookback, memory, retention, precision, max_buckets, bins, snapshot, time_series, inference_log, metric, rule",
            "limno.toml:6: monitor.m.time_series.timestmp: unknown key `timestmp`",
            "  hint: did you mean `timestamp`?",
        ],
    );
    assert_problems(
        &rule_with("above = 1\ncolums = [\"a\"]"),
        &["limno.toml:12: monitor.m.rule[0].colums: unknown key `colums`", "  hint: did you mean `columns`?"],
    );
    assert_problems(
        &monitor_with("columns = { exlude = [\"a\"] }"),
        &["limno.toml:4: monitor.m.columns.exlude: unknown key `exlude`", "  hint: did you mean `exclude`?"],
    );
    assert_problems(
        &monitor_with("columns = { max_bucket = { a = 64 } }"),
        &[
            "limno.toml:4: monitor.m.columns.max_bucket: unknown key `max_bucket`",
            "  hint: did you mean `max_buckets`?",
        ],
    );
    assert_problems(
        &monitor_with("").replace("time_series]", "timeseries]"),
        &["limno.toml:5: monitor.m.timeseries: unknown key `timeseries`", "  hint: did you mean `time_series`?"],
    );
    assert_problems(
        &monitor_with("snapshot = { every = 1 }")
            .replace("[monitor.m.time_series]\n", "[notifier.n]\nkind=\"webhook\"\nurl=\"https://a.b\"\n"),
        &[
            "limno.toml:4: monitor.m.snapshot.every: unknown key `every`",
            "limno.toml:8: notifier.n.timestamp: unknown key `timestamp`",
            "  hint: valid names: kind, url, headers, ca_file, timeout",
            "limno.toml:9: notifier.n.granularities: unknown key `granularities`",
            "  hint: valid names: kind, url, headers, ca_file, timeout",
        ],
    );
}

#[test]
fn missing_keys_say_what_is_expected() {
    assert_problems("", &["limno.toml:1: monitor: is missing, expected a table [monitor.NAME]"]);
    assert_problems(
        "\n[monitor.m]\n",
        &[
            "limno.toml:2: monitor.m: has none of snapshot, time_series, inference_log, expected exactly one",
            "  hint: add a table [monitor.m.time_series]",
            "limno.toml:2: monitor.m.table: is missing, expected the table to watch: a URI or a path",
            "limno.toml:2: monitor.m.output: is missing, expected the folder of the metric tables: a URI or a path",
        ],
    );
    assert_problems(
        &beside("[notifier.n]\nfoo = 1"),
        &["limno.toml:8: notifier.n.kind: is missing, expected \"email\" or \"webhook\""],
    );
}

#[test]
fn wrong_types_are_named_with_what_was_expected() {
    for (line, expected) in [
        (
            "slices = \"origin\"",
            "slices: expected an array of strings, found a string\n  hint: write slices = [\"origin\"]",
        ),
        ("slices = [1]", "slices[0]: expected a string, found an integer"),
        ("slices = [\" \"]", "slices[0]: is empty"),
        ("slices = [\"a\", \"a\"]", "slices[1]: `a` is given twice, first as monitor.m.slices[0]"),
        ("baseline = 1.5", "baseline: expected a string, found a float"),
        ("columns = [\"a\"]", "columns: expected a table, found an array"),
        ("columns = { include = [] }", "columns.include: is empty, so no column would be looked at"),
        (
            "columns = { exact = \"a\" }",
            "columns.exact: expected an array of strings, found a string\n  hint: write exact = [\"a\"]",
        ),
        (
            "columns = { exact = [\"a\", \"a\"] }",
            "columns.exact[1]: `a` is given twice, first as monitor.m.columns.exact[0]",
        ),
        (
            "columns = { max_buckets = 64 }",
            "columns.max_buckets: expected a table, found an integer\n  hint: write max_buckets = { \"COLUMN\" = 64 }, or without `columns` for all of them",
        ),
        (
            "columns = { max_buckets = { \"id_*\" = 15 } }",
            "columns.max_buckets.\"id_*\": expected an integer from 16 to 1048576, found 15",
        ),
        (
            "columns = { max_buckets = { a = 1048577 } }",
            "columns.max_buckets.a: expected an integer from 16 to 1048576, found 1048577",
        ),
        (
            "columns = { max_buckets = { a = \"64\" } }",
            "columns.max_buckets.a: expected an integer from 16 to 1048576, found a string",
        ),
        ("columns = { max_buckets = { \" \" = 64 } }", "columns.max_buckets.\" \": names no column"),
        ("max_slices = 0", "max_slices: expected an integer from 1 to 1000000, found 0"),
        (
            "max_slices = 99999999999999999999",
            "max_slices: expected an integer from 1 to 1000000, found 99999999999999999999",
        ),
        (
            "grace = 2",
            "grace: expected a duration, found an integer\n  hint: write a duration such as \"30s\", \"15m\", \"2h\" or \"1day\"",
        ),
        (
            "grace = \"2 moons\"",
            "grace: `2 moons` is not a duration\n  hint: write a duration such as \"30s\", \"15m\", \"2h\" or \"1day\"",
        ),
        ("precision = \"exakt\"", "precision: `exakt` is none of bounded, exact\n  hint: did you mean `exact`?"),
        ("max_buckets = 8", "max_buckets: expected an integer from 16 to 1048576, found 8"),
        ("bins = 1", "bins: expected an integer from 2 to 1000, found 1"),
        ("bins = []", "bins: expected 1 to 999 edges, found 0"),
        ("bins = [1, 1]", "bins[1]: edges must increase, but 1 follows 1"),
        ("bins = [1, nan]", "bins[1]: expected a finite decimal number"),
        (
            "week_start = \"mondy\"",
            "week_start: `mondy` is none of monday, tuesday, wednesday, thursday, friday, saturday, sunday\n  hint: did you mean `monday`?",
        ),
        ("rule = 1", "rule: expected an array of tables, found an integer\n  hint: write [[monitor.m.rule]]"),
    ] {
        assert_problems(&monitor_with(line), &[&format!("limno.toml:4: monitor.m.{expected}")]);
    }
    assert_problems(
        &monitor_with("precision = \"exact\"\nmax_buckets = 64"),
        &["limno.toml:5: monitor.m.max_buckets: has no meaning with precision = \"exact\""],
    );
    assert_problems(
        "monitor = 3",
        &["limno.toml:1: monitor: expected tables with names, found an integer\n  hint: write [monitor.NAME]"],
    );
}

#[test]
fn names_are_checked() {
    assert_problems(
        &monitor_with("").replace("monitor.m", "monitor.\"my table\""),
        &[
            "limno.toml:1: monitor.\"my table\": the name of a monitor has letters, digits and underscores only, for it names tables",
            "  hint: write [monitor.my_table]",
        ],
    );
    assert_problems(
        &beside("[monitor.M]\ntable=\"t\"\noutput=\"o\"\nsnapshot={}"),
        &[
            "limno.toml:8: monitor.M: differs from monitor `m` in letter case only",
            "  hint: choose another name: both would name the same tables",
        ],
    );
    assert_problems(
        &rule_with("above = 1\n[[monitor.m.rule]]\nname = \"r\"\nmetric = \"avg\"\nbelow = 1"),
        &["limno.toml:13: monitor.m.rule[1].name: `r` is already the name of the rule in line 9"],
    );
    let shown = problems(&beside("[notifier.a]\n[notifier.a]"));
    assert!(shown.starts_with("limno.toml:9: duplicate key `a`"), "{shown}");
}
