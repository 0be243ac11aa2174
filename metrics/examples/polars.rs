//! From two data frames to a frame of drifts: `cargo run -p limno-metrics --features polars --example polars`.
#![expect(clippy::print_stdout, reason = "the output of an example")]

use limno_metrics::polars::{FrameOptions, drift};
use polars::prelude::{IntoLazy, col, df, lit};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let minutes: Vec<f64> = (0..10_000u32).map(|i| f64::from(i * i % 1013) / 10.0).collect();
    let carriers: Vec<&str> = (0..10_000).map(|i| ["UA", "B6", "EV"][i * i % 1013 % 3]).collect();
    let january = df!("delay" => minutes, "carrier" => carriers)?;
    let july = january.clone().lazy().filter(col("carrier").neq(lit("B6"))).with_column(col("delay") + lit(4.0));

    let drifts = drift(&january, july, &FrameOptions::default())?;
    let shown =
        ["column_name", "ks_test_statistic", "wasserstein_distance", "population_stability_index", "psi_pvalue"];
    println!("{}", drifts.select(shown)?);
    Ok(())
}
