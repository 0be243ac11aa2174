//! Tails and critical values of the distributions behind the p-values, against tables of many-digit arithmetic.
#![cfg(test)]

use limno_metrics::distribution::{
    chi_squared_critical_value, chi_squared_sf, cramer_von_mises_sf, kolmogorov_critical_value, kolmogorov_sf,
};
use serde_json::Value;

fn table(name: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(limno_fixtures::paths::golden_dir().join(name)).unwrap();
    let document: Value = serde_json::from_str(&text).unwrap();
    document["table"].as_array().unwrap().clone()
}

fn assert_close(of: &str, ours: f64, truth: f64, relative: f64) {
    let error = (ours - truth).abs() / truth;
    assert!(error <= relative, "{of}: {ours:e}, not {truth:e}; off by {error:e}");
}

/// What the documentation of the methods promises for a tail of this size.
fn kolmogorov_error(size: f64, d: f64) -> f64 {
    let square = size * d * d;
    // What leaves the band on both sides is counted twice.
    let twice = if d < 0.5 { 1.2 * (-6.0 * square).exp() } else { 0.0 };
    match square {
        _ if size <= 1500.0 && square < 4.0 => 1e-9,
        _ if size > 1500.0 && square < 3.2 => 4e-7 * (1500.0 / size).powi(2) + 1e-10,
        _ => twice + 1e-10,
    }
}

/// Down to 1e-300, wherever arithmetic of more digits has an answer; scipy in the middle of the largest samples.
#[test]
fn kolmogorov() {
    let rows = table("kstwo.json");
    assert!(rows.len() > 1000);
    for row in &rows {
        let (d, k) = (row["d"].as_f64().unwrap(), row["k"].as_u64().unwrap());
        let (of, ours) = (format!("k {k}, d {d}"), kolmogorov_sf(d, k));
        #[expect(clippy::cast_precision_loss, reason = "small")]
        let doubt = kolmogorov_error(k as f64, d);
        if let Some(exact) = row["sf_exact"].as_f64() {
            assert!(k > 100_000 || doubt < 1e-6);
            assert_close(&of, ours, exact, doubt);
        } else {
            // scipy's own error there is a few millionths.
            assert_close(&of, ours, row["sf"].as_f64().unwrap(), 5e-6);
        }
    }
}

#[test]
fn chi_squared() {
    let rows = table("chi2.json");
    assert!(rows.len() > 200);
    for row in &rows {
        let (x, degrees) = (row["x"].as_f64().unwrap(), row["dof"].as_f64().unwrap());
        let truth = row["sf_exact"].as_f64().unwrap();
        assert_close(&format!("{degrees} degrees, {x}"), chi_squared_sf(x, degrees), truth, 1e-10);
    }
}

#[test]
fn cramer_von_mises() {
    let rows = table("cvm.json");
    assert!(rows.len() > 20);
    for row in &rows {
        let x = row["x"].as_f64().unwrap();
        assert_close(&format!("W² {x}"), cramer_von_mises_sf(x), row["sf_exact"].as_f64().unwrap(), 1e-13);
    }
}

#[test]
fn critical_values() {
    let rows = table("critical.json");
    assert!(rows.len() > 200);
    for row in &rows {
        let (n, alpha) = (row["n"].as_u64().unwrap(), row["alpha"].as_f64().unwrap());
        let truth = row["point"].as_f64().unwrap();
        if row["law"] == "kolmogorov" {
            // Where the tail is nearly flat, the series' last digits move its point.
            let doubt = if alpha > 0.5 { 3e-7 } else { 2e-8 };
            assert_close(&format!("k {n}, tail {alpha}"), kolmogorov_critical_value(alpha, n), truth, doubt);
        } else {
            #[expect(clippy::cast_precision_loss, reason = "small")]
            let degrees = n as f64;
            assert_close(
                &format!("{n} degrees, tail {alpha}"),
                chi_squared_critical_value(alpha, degrees),
                truth,
                1e-10,
            );
        }
    }
}

#[test]
fn ends() {
    assert!(kolmogorov_sf(0.0, 5) >= 1.0 && kolmogorov_sf(-1.0, 5) >= 1.0 && kolmogorov_sf(0.3, 0) >= 1.0);
    assert!(kolmogorov_sf(1.0, 5) <= 0.0 && kolmogorov_sf(2.0, 5) <= 0.0);
    assert!(kolmogorov_sf(0.5, u64::MAX) <= 0.0);
    assert!(chi_squared_sf(0.0, 3.0) >= 1.0 && chi_squared_sf(f64::INFINITY, 3.0) <= 0.0);
}

/// Another program's numbers, made before the table was.
#[test]
fn by_the_matrix_of_marsaglia_tsang_and_wang() {
    for (k, d, truth) in SMALL {
        assert_close(&format!("k {k}, d {d}"), kolmogorov_sf(d, k), truth, 1e-9);
    }
}

/// (k, d, tail) by the matrix of Marsaglia, Tsang and Wang in 600 bits.
const SMALL: [(u64, f64, f64); 33] = [
    (141, 0.046_126_6, 0.911_392_680_426_602_6),
    (141, 0.065_232_8, 0.563_498_209_516_769_1),
    (141, 0.084_215_2, 0.255_355_621_265_075_55),
    (141, 0.099_644_8, 0.113_564_806_764_229_32),
    (141, 0.112_987, 0.050_436_984_006_293_86),
    (141, 0.122_039, 0.027_437_670_481_040_746),
    (141, 0.124_627, 0.022_855_795_129_528_04),
    (141, 0.127_719, 0.018_280_938_224_267_358),
    (141, 0.135_793, 0.009_941_083_046_856_853),
    (141, 0.145_865, 0.004_410_380_343_829_817),
    (141, 0.16843, 0.000_576_570_391_286_062_1),
    (200, 0.038_729_8, 0.913_560_628_045_064_3),
    (200, 0.054_772_3, 0.566_986_245_520_960_1),
    (200, 0.070_710_7, 0.257_652_858_784_032_05),
    (200, 0.083_666, 0.114_847_620_433_611_34),
    (200, 0.094_868_3, 0.051_125_669_814_012_23),
    (200, 0.10247, 0.027_860_185_405_296_427),
    (200, 0.104_642, 0.023_222_834_710_126_587),
    (200, 0.107_238, 0.018_587_929_283_919_443),
    (200, 0.114_018, 0.010_127_692_140_143_03),
    (200, 0.122_474, 0.004_506_511_601_008_250_5),
    (200, 0.141_421, 0.000_594_028_376_901_132_7),
    (300, 0.031_622_8, 0.915_653_501_678_756_7),
    (300, 0.044_721_4, 0.570_378_679_737_052_4),
    (300, 0.057_735, 0.259_878_491_750_020_1),
    (300, 0.068_313, 0.116_081_320_385_603_79),
    (300, 0.077_459_7, 0.051_781_127_050_040_995),
    (300, 0.083_666, 0.028_263_936_004_015_67),
    (300, 0.08544, 0.023_569_657_635_811_47),
    (300, 0.087_559_5, 0.018_877_357_029_959_893),
    (300, 0.093_094_9, 0.010_303_731_587_433_768),
    (300, 0.1, 0.004_595_673_609_376_104),
    (300, 0.11547, 0.000_610_017_261_717_786_7),
];
