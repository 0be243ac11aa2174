//! What may be written on the command line.

use std::fmt::{self, Display, Formatter};
use std::path::PathBuf;
use std::str::FromStr;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgMatches, Args as ClapArgs, FromArgMatches, Parser, Subcommand, ValueEnum};
use limno_metrics::schema::{DRIFT_METRICS, PROFILE_METRICS};

use super::output::Format;
use crate::config::{ColumnSelection, Located, Precision, quoted, unknown_metric};

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "limno",
    version,
    about = "Watches tables for drift: profiles, drift, alerts and retraining",
    after_help = "\
Exit codes:
  0  done
  1  failed while running
  2  bad usage or configuration
  3  a rule fired (run --fail-on-alert) or a limit was passed (compare --fail-on)"
)]
pub struct Args {
    /// The configuration
    #[arg(short, long, global = true, value_name = "FILE", default_value = "limno.toml")]
    pub config: PathBuf,
    /// The environment, whose limno.NAME.toml is laid over the configuration [env: LIMNO_ENV]
    #[arg(long, global = true, value_name = "NAME")]
    pub env: Option<String>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Args {
    /// The environment that was asked for on the command line or in `variable`, the value of `LIMNO_ENV`.
    #[must_use]
    pub fn environment(&self, variable: Option<String>) -> Option<String> {
        self.env.clone().or(variable.filter(|name| !name.is_empty()))
    }
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the whole loop on a small table with a known shift, without any configuration
    Demo(DemoArgs),
    /// Validate the configuration and reach every table, notifier and trigger, changing nothing; say who signs in where
    Check(CheckArgs),
    /// Refresh the metric tables once, evaluate the rules, send what is due
    Run(RunArgs),
    /// Drop the states, rows and files that the monitors' retention does not keep
    Vacuum(VacuumArgs),
    /// Print the drift between two tables or files; of a configuration, only [store] blocks count
    Compare(CompareArgs),
    /// Print the profile of one table or file; of a configuration, only [store] blocks count
    Profile(ProfileArgs),
    /// Query the metric tables of the configured monitors
    Sql(SqlArgs),
}

/// `limno demo`
#[derive(Debug, ClapArgs)]
pub struct DemoArgs {
    /// Where the tables and the mail are written
    #[arg(value_name = "DIR", default_value = "limno-demo")]
    pub dir: PathBuf,
}

/// `limno check`
#[derive(Debug, ClapArgs)]
pub struct CheckArgs {
    /// The monitors to check; all if none is named
    #[arg(value_name = "MONITOR")]
    pub monitors: Vec<String>,
    /// Also write a small object into each output, and delete it again
    #[arg(long)]
    pub write: bool,
}

/// `limno run`
#[derive(Debug, ClapArgs)]
pub struct RunArgs {
    /// The monitors to refresh; all if none is named
    #[arg(value_name = "MONITOR")]
    pub monitors: Vec<String>,
    /// Recompute every window from the table's data
    #[arg(long)]
    pub full_refresh: bool,
    /// Say what would be read, and read and write nothing
    #[arg(long, conflicts_with = "fail_on_alert")]
    pub plan: bool,
    /// Exit with code 3 when a rule fired
    #[arg(long)]
    pub fail_on_alert: bool,
    /// Say at the end where the time went, by stage and of all cores together
    #[arg(long, conflicts_with = "plan")]
    pub profile: bool,
}

/// `limno vacuum`
#[derive(Debug, ClapArgs)]
pub struct VacuumArgs {
    /// The monitors whose tables are looked at; all if none is named
    #[arg(value_name = "MONITOR")]
    pub monitors: Vec<String>,
    /// Say what would go, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `limno compare`
#[derive(Debug, ClapArgs)]
pub struct CompareArgs {
    /// The table or file to compare with
    #[arg(value_name = "REFERENCE")]
    pub reference: String,
    /// The table or file to look at
    #[arg(value_name = "CURRENT")]
    pub current: String,
    /// What is looked at and how finely.
    #[command(flatten)]
    pub look: LookArgs,
    /// Number of quantile bins of the population stability index
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(2..=1000))]
    pub bins: u16,
    /// Exit with code 3 when a metric of any column passes a limit, such as "population_stability_index > 0.2"
    #[arg(long, value_name = "LIMIT")]
    pub fail_on: Option<FailOn>,
    /// How to print the rows
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// `limno profile`
#[derive(Debug, ClapArgs)]
pub struct ProfileArgs {
    /// The table or file to look at
    #[arg(value_name = "TABLE")]
    pub table: String,
    /// What is looked at and how finely.
    #[command(flatten)]
    pub look: LookArgs,
    /// How to print the rows
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// `limno sql`
#[derive(Debug, ClapArgs)]
pub struct SqlArgs {
    /// One query
    #[arg(value_name = "QUERY")]
    pub query: String,
    /// How to print the rows
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// What `compare` and `profile` look at, and how finely.
#[derive(Debug, Clone, ClapArgs)]
pub struct LookArgs {
    /// The columns to look at, by name or pattern with *; all if none is named
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub columns: Vec<String>,
    /// The columns whose numbers are categories, by name or pattern with *
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub categorical: Vec<String>,
    /// How finely distributions are kept.
    #[command(flatten)]
    pub precision: PrecisionArgs,
}

impl LookArgs {
    /// The columns as a monitor would select them. Lines are 0; keys are the flags.
    pub fn selection(&self) -> ColumnSelection {
        let located = |names: &[String], flag: &str| -> Vec<Located<String>> {
            names
                .iter()
                .map(|name| Located { value: name.clone(), line: 0, key: flag.to_owned(), overlay: None })
                .collect()
        };
        ColumnSelection {
            include: (!self.columns.is_empty()).then(|| located(&self.columns, "--columns")),
            categorical: located(&self.categorical, "--categorical"),
            ..ColumnSelection::default()
        }
    }
}

/// How finely `compare` and `profile` keep distributions: `--precision` and `--max-buckets`, where they agree.
#[derive(Debug, Clone, Copy)]
pub struct PrecisionArgs(pub Precision);

#[derive(ClapArgs)]
struct PrecisionFlags {
    /// How finely distributions are kept
    #[arg(long, value_enum, default_value_t)]
    precision: PrecisionArg,
    /// Buckets of a bounded distribution, 16 to 1048576 [default: 4096]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(16..=1_048_576))]
    max_buckets: Option<u32>,
}

/// The values of `--precision`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum PrecisionArg {
    /// In a limited number of buckets, with certified bounds of the error
    #[default]
    Bounded,
    /// Every distinct value, whatever the memory
    Exact,
}

impl ClapArgs for PrecisionArgs {
    fn augment_args(command: clap::Command) -> clap::Command {
        PrecisionFlags::augment_args(command)
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        PrecisionFlags::augment_args_for_update(command)
    }
}

/// By hand, since clap's own conflicts are between arguments, and this one is between an argument and a value.
impl FromArgMatches for PrecisionArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let flags = PrecisionFlags::from_arg_matches(matches)?;
        match (flags.precision, flags.max_buckets) {
            (PrecisionArg::Bounded, None) => Ok(Self(Precision::default())),
            (PrecisionArg::Bounded, Some(max_buckets)) => Ok(Self(Precision::Bounded { max_buckets })),
            (PrecisionArg::Exact, None) => Ok(Self(Precision::Exact)),
            (PrecisionArg::Exact, Some(_)) => {
                let mut error = clap::Error::new(ErrorKind::ArgumentConflict);
                error.insert(ContextKind::InvalidArg, ContextValue::String("--max-buckets <N>".to_owned()));
                error.insert(ContextKind::PriorArg, ContextValue::String("--precision exact".to_owned()));
                Err(error)
            }
        }
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// A limit on a drift metric: `<metric> <op> <number>`, with `>`, `>=`, `<` or `<=` as the operator.
#[derive(Debug, Clone, PartialEq)]
pub struct FailOn {
    /// A numeric column of the drift table, dotted where it is a field of a struct.
    pub metric: String,
    /// How the metric is compared with the limit.
    pub comparison: Comparison,
    /// The limit; finite.
    pub limit: f64,
}

/// How a metric is compared with a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
}

impl FailOn {
    /// Whether `value` passes the limit. NaN never does.
    pub fn is_passed_by(&self, value: f64) -> bool {
        match self.comparison {
            Comparison::Greater => value > self.limit,
            Comparison::GreaterOrEqual => value >= self.limit,
            Comparison::Less => value < self.limit,
            Comparison::LessOrEqual => value <= self.limit,
        }
    }
}

impl Display for FailOn {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let operator = match self.comparison {
            Comparison::Greater => ">",
            Comparison::GreaterOrEqual => ">=",
            Comparison::Less => "<",
            Comparison::LessOrEqual => "<=",
        };
        write!(f, "{} {operator} {}", self.metric, self.limit)
    }
}

/// Why a text is no [`FailOn`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FailOnError {
    /// There is no operator, or nothing on one side of it.
    #[error("expected `<metric> <op> <number>` with >, >=, < or <=, such as `population_stability_index > 0.2`")]
    Shape,
    /// The right side is no finite number.
    #[error("{} is not a finite number", quoted(.0))]
    Limit(String),
    /// The left side is no numeric drift metric.
    #[error("there is no numeric drift metric {}{}", quoted(.metric), .hint.as_ref().map(|hint| format!(", {hint}")).unwrap_or_default())]
    Metric {
        /// The left side.
        metric: String,
        /// Which one may have been meant.
        hint: Option<String>,
    },
}

impl FromStr for FailOn {
    type Err = FailOnError;

    fn from_str(text: &str) -> Result<Self, FailOnError> {
        let at = text.find(['<', '>']).ok_or(FailOnError::Shape)?;
        let (metric, rest) = text.split_at(at);
        // The longer operators first, since each begins with a shorter one.
        let operators = [
            (">=", Comparison::GreaterOrEqual),
            ("<=", Comparison::LessOrEqual),
            (">", Comparison::Greater),
            ("<", Comparison::Less),
        ];
        let (limit, comparison) = operators
            .into_iter()
            .find_map(|(operator, comparison)| Some((rest.strip_prefix(operator)?, comparison)))
            .ok_or(FailOnError::Shape)?;
        let (metric, limit) = (metric.trim(), limit.trim());
        if metric.is_empty() || limit.is_empty() {
            return Err(FailOnError::Shape);
        }
        if let Some(hint) = unknown_metric(metric, &[DRIFT_METRICS]) {
            let hint =
                if PROFILE_METRICS.contains(&metric) { Some("it is a metric of profiles".to_owned()) } else { hint };
            return Err(FailOnError::Metric { metric: metric.to_owned(), hint });
        }
        let number = limit.parse().ok().filter(|limit: &f64| limit.is_finite());
        Ok(Self {
            metric: metric.to_owned(),
            comparison,
            limit: number.ok_or_else(|| FailOnError::Limit(limit.to_owned()))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Args, clap::Error> {
        Args::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_definitions_are_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn the_configuration_may_be_named_anywhere() {
        for line in ["limno -c a.toml run", "limno run --config a.toml x"] {
            let args = parse(line).expect("right");
            assert_eq!(args.config, PathBuf::from("a.toml"));
        }
        let args = parse("limno check").expect("right");
        assert_eq!(args.config, PathBuf::from("limno.toml"));
    }

    #[test]
    fn the_environment_is_named_by_an_option_or_else_a_variable() {
        let args = parse("limno run --env dev").expect("right");
        assert_eq!(args.environment(Some("prod".to_owned())).as_deref(), Some("dev"));
        let args = parse("limno run").expect("right");
        assert_eq!(args.environment(Some("prod".to_owned())).as_deref(), Some("prod"));
        assert_eq!(args.environment(Some(String::new())), None);
    }

    #[test]
    fn run_takes_monitors_and_flags() {
        let args = parse("limno run a b --full-refresh --fail-on-alert").expect("right");
        let Command::Run(run) = args.command else {
            panic!("run");
        };
        assert_eq!(run.monitors, ["a", "b"]);
        assert!(run.full_refresh && run.fail_on_alert);
    }

    #[test]
    fn compare_takes_everything() {
        let args = Args::try_parse_from([
            "limno",
            "compare",
            "a.parquet",
            "b.parquet",
            "--format",
            "json",
            "--columns",
            "x,y",
            "--columns",
            "z*",
            "--categorical",
            "y",
            "--precision",
            "exact",
            "--bins",
            "20",
            "--fail-on",
            "ks_test.statistic >= 0.1",
        ])
        .expect("right");
        let Command::Compare(compare) = args.command else {
            panic!("compare");
        };
        assert_eq!((compare.format, compare.bins), (Format::Json, 20));
        assert_eq!(compare.look.precision.0, Precision::Exact);
        let selection = compare.look.selection();
        assert!(selection.is_included("x") && selection.is_included("zz"));
        assert!(!selection.is_included("a") && selection.is_categorical("y"));
        let limit = compare.fail_on.expect("a limit");
        assert_eq!(limit.to_string(), "ks_test.statistic >= 0.1");
    }

    #[test]
    fn defaults_look_at_all_columns_in_a_table() {
        let args = parse("limno profile t").expect("right");
        let Command::Profile(profile) = args.command else {
            panic!("profile");
        };
        assert_eq!(profile.format, Format::Table);
        assert!(profile.look.selection().is_included("anything"));
        assert_eq!(profile.look.precision.0, Precision::Bounded { max_buckets: 4096 });
    }

    #[test]
    fn buckets_are_set_beside_a_bounded_precision_only() {
        let precision = |flags: &str| {
            let args = parse(&format!("limno profile t {flags}"))?;
            let Command::Profile(profile) = args.command else {
                panic!("profile");
            };
            Ok::<_, clap::Error>(profile.look.precision.0)
        };
        for flags in ["--max-buckets 64", "--max-buckets 64 --precision bounded"] {
            assert_eq!(precision(flags).ok(), Some(Precision::Bounded { max_buckets: 64 }), "{flags}");
        }
        let error = precision("--precision exact --max-buckets 64").expect_err("a conflict");
        assert_eq!(error.kind(), ErrorKind::ArgumentConflict);
        let shown = error.to_string();
        let said = "error: the argument '--max-buckets <N>' cannot be used with '--precision exact'\n";
        assert!(shown.starts_with(said), "{shown}");
        for flags in ["--max-buckets 15", "--max-buckets 1048577", "--max-buckets many"] {
            assert!(precision(flags).is_err(), "{flags}");
        }
    }

    #[test]
    fn bad_usage_is_refused() {
        for line in [
            "limno",
            "limno compare a",
            "limno compare a b --bins 1",
            "limno compare a b --format xml",
            "limno compare a b --fail-on psi>0.2",
            "limno sql",
            "limno start",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn limits_are_parsed_and_judged() {
        for (text, metric, limit, passes, holds) in [
            ("population_stability_index > 0.2", "population_stability_index", 0.2, 0.21, 0.2),
            ("ks_test.pvalue<=1e-3", "ks_test.pvalue", 1e-3, 1e-3, 2e-3),
            (" js_distance >= .5 ", "js_distance", 0.5, 0.5, 0.4),
            ("avg_delta < -2", "avg_delta", -2.0, -3.0, -2.0),
        ] {
            let parsed: FailOn = text.parse().expect(text);
            assert_eq!(parsed.metric, metric);
            assert_eq!(parsed.limit.to_bits(), f64::to_bits(limit));
            assert!(parsed.is_passed_by(passes) && !parsed.is_passed_by(holds));
            assert!(!parsed.is_passed_by(f64::NAN));
            assert_eq!(parsed.to_string().parse(), Ok(parsed));
        }
    }

    #[test]
    fn bad_limits_name_the_nearest_metric() {
        for (text, message) in [
            ("psi > 0.2", "there is no numeric drift metric `psi`, did you mean `population_stability_index`?"),
            (
                "ks_test > 0.2",
                "there is no numeric drift metric `ks_test`, name one of its fields: `ks_test.statistic`, `ks_test.pvalue`",
            ),
            ("avg > 1", "there is no numeric drift metric `avg`, it is a metric of profiles"),
            ("js_distance > high", "`high` is not a finite number"),
            ("js_distance > inf", "`inf` is not a finite number"),
            ("js_distance => 1", "there is no numeric drift metric `js_distance =`, did you mean `js_distance`?"),
            (
                "js_distance >",
                "expected `<metric> <op> <number>` with >, >=, < or <=, such as `population_stability_index > 0.2`",
            ),
            (
                "js_distance = 1",
                "expected `<metric> <op> <number>` with >, >=, < or <=, such as `population_stability_index > 0.2`",
            ),
        ] {
            let error = text.parse::<FailOn>().expect_err(text);
            assert_eq!(error.to_string(), message);
        }
    }
}
