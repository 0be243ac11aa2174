//! The series of W. Pelz and I. Good, *Approximating the lower tail-areas of the Kolmogorov–Smirnov one-sample
//! statistic*, J. R. Stat. Soc. B 38 (1976).

/// P(√n·D < z) by the first four terms of its expansion in 1/√n.
pub(super) fn pelz_good(z: f64, n: f64) -> f64 {
    use std::f64::consts::PI;
    let pi2 = PI * PI;
    let (z2, root) = (z * z, (PI / 2.0).sqrt());
    let z4 = z2 * z2;
    let z6 = z4 * z2;
    let (mut k0, mut k1, mut k2, mut k3) = (0.0, 0.0, 0.0, 0.0);
    // Odd halves: k + ½ for k = 0, 1, …; the sums over all integers are twice these.
    for k in 0..64 {
        let half = f64::from(k) + 0.5;
        let a = pi2 * half * half;
        let weight = (-a / (2.0 * z2)).exp();
        if weight == 0.0 {
            break;
        }
        k0 += weight;
        k1 += 2.0 * (a - z2) * weight;
        k2 += 2.0 * ((6.0 * z6 + 2.0 * z4) + (2.0 * z4 - 5.0 * z2) * a + (1.0 - 2.0 * z2) * a * a) * weight;
        k3 += 2.0
            * (a * a * a * (5.0 - 30.0 * z2) + a * a * (-60.0 * z2 + 212.0 * z4) + a * (135.0 * z4 - 96.0 * z6)
                - (30.0 * z6 + 90.0 * z4 * z4))
            * weight;
    }
    let (mut k2_whole, mut k3_whole) = (0.0, 0.0);
    for k in 1..64 {
        let a = pi2 * f64::from(k) * f64::from(k);
        let weight = (-a / (2.0 * z2)).exp();
        if weight == 0.0 {
            break;
        }
        k2_whole += 2.0 * a * weight;
        k3_whole += 2.0 * (3.0 * a * z2 - a * a) * weight;
    }
    let first = 2.0 * root * 2.0 * k0 / (2.0 * z);
    let second = root * k1 / (6.0 * z4);
    let third = root * k2 / (72.0 * z6 * z) - root * k2_whole / (36.0 * z2 * z);
    let fourth = root * k3 / (6480.0 * z6 * z4) + root * k3_whole / (216.0 * z6);
    first + second / n.sqrt() + third / n + fourth / (n * n.sqrt())
}
