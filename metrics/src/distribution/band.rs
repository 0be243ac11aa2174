//! P(D < d) of Kolmogorov's statistic, exactly.
//!
//! Given n events of a Poisson process N of rate one in [0, n], D < d says that |N(t) − t| < nd throughout (E. Khmaladze
//! and E. Shinjikashvili 2001; A. Moscovich and B. Nadler, *Fast calculation of boundary crossing probabilities for
//! Poisson processes*, Stat. Probab. Lett. 123 (2017)). One unit of time is one multiplication by the matrix of
//! J. Durbin (1973; G. Marsaglia, W. Tsang, J. Wang, *Evaluating Kolmogorov's distribution*, J. Stat. Softw. 8(18)
//! (2003)), whose rows are the Poisson probabilities e⁻¹/s!, less at the band's two edges. They fall so fast that twenty
//! of them are all, and a vector is carried along instead of a power of the matrix: n·nd·20 operations, and no number
//! but a probability.

use super::smirnov::stirling_error;

/// Events in a unit of time that can matter: 1/20! is 4e-19.
const TAPS: usize = 20;
/// Numbers of the vector that are computed side by side.
const LANES: usize = 8;
/// Zeros below the vector, so that the lowest numbers are computed as all others.
const BELOW: usize = TAPS - 2;
/// A band that is left this surely half-way is left for certain, as far as a double can tell.
const LOST: f64 = 1e-30;

/// P(D < d) for 1 < nd; the absolute error is that of rounding, below 1e-12 for n up to some thousands: 1e-16 a step.
#[expect(clippy::cast_precision_loss, reason = "small sizes")]
pub(super) fn within_band(d: f64, n: u64) -> f64 {
    let size = n as f64;
    let mut walk = Walk::new(size * d);
    // The matrix is its own mirror image, so the second half of the way is the first one, read backwards.
    for _ in 0..n / 2 {
        walk.step();
        if walk.law().iter().sum::<f64>() < LOST {
            return 0.0;
        }
    }
    let first_half: Vec<f64> = walk.law().to_vec();
    if n % 2 == 1 {
        walk.step();
    }
    let met: f64 = first_half.iter().rev().zip(walk.law()).map(|(there, back)| there * back).sum();
    // Given that there are n events by the time n: over the Poisson probability e⁻ⁿnⁿ/n!.
    met * (std::f64::consts::TAU * size).sqrt() * stirling_error(size).exp()
}

/// Probabilities of where the process is inside its band, after some whole units of time.
struct Walk {
    /// e⁻¹/s!.
    inner: [f64; TAPS],
    /// The same for a step over an edge of the band that lies inside a unit: e⁻¹(1 − hˢ)/s!.
    edge: [f64; TAPS],
    /// The same for a step from one edge to the other.
    corner: f64,
    width: usize,
    now: Vec<f64>,
    next: Vec<f64>,
}

impl Walk {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "small")]
    fn new(reach: f64) -> Self {
        let above = reach.floor() as usize + 1;
        let width = 2 * above - 1;
        let h = above as f64 - reach;
        let (mut inner, mut edge, mut corner) = ([0.0; TAPS], [0.0; TAPS], 0.0);
        let (mut probability, mut power) = ((-1f64).exp(), 1.0);
        for (s, (whole, part)) in inner.iter_mut().zip(&mut edge).enumerate() {
            if s > 0 {
                probability /= s as f64;
                power *= h;
            }
            (*whole, *part) = (probability, probability * (1.0 - power));
            if s == width {
                let both = (2.0 * h - 1.0).max(0.0).powi(width as i32);
                corner = probability * (1.0 - 2.0 * power + both);
            }
        }
        let room = BELOW + width.next_multiple_of(LANES) + 1;
        let mut now = vec![0.0; room];
        now[BELOW + above - 1] = 1.0;
        Self { inner, edge, corner, width, now, next: vec![0.0; room] }
    }

    fn law(&self) -> &[f64] {
        &self.now[BELOW..BELOW + self.width]
    }

    /// One unit of time: the vector times the matrix.
    fn step(&mut self) {
        let (lowest, highest) = (BELOW, BELOW + self.width - 1);
        // What comes from the lowest place comes over an edge, and is added below.
        let from_edge = std::mem::take(&mut self.now[lowest]);
        for (block, out) in self.next[lowest..].chunks_exact_mut(LANES).enumerate() {
            let window = &self.now[block * LANES..][..TAPS + LANES - 1];
            let mut sums = [0.0; LANES];
            for (s, weight) in self.inner.iter().rev().enumerate() {
                for (sum, value) in sums.iter_mut().zip(&window[s..]) {
                    *sum += weight * value;
                }
            }
            out.copy_from_slice(&sums);
        }
        for (out, weight) in self.next[lowest..highest].iter_mut().zip(&self.edge[1..]) {
            *out += weight * from_edge;
        }
        let into_edge: f64 =
            self.now[lowest..=highest].iter().rev().zip(&self.edge[1..]).map(|(value, weight)| value * weight).sum();
        self.next[highest] = into_edge + self.corner * from_edge;
        self.next[highest + 1..].fill(0.0);
        std::mem::swap(&mut self.now, &mut self.next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_marsaglia_tsang_and_wang() {
        // The paper's own: n = 10, d = 0.274.
        let p = within_band(0.274, 10);
        assert!((p - 0.628_479_615_456_504_3).abs() < 1e-14, "{p}");
    }

    #[test]
    fn two_observations_by_hand() {
        // 2·(2d − ½)² up to d = ½, then 1 − 2(1 − d)².
        for d in [0.5000001, 0.6, 0.75, 0.9] {
            let truth = 1.0 - 2.0 * (1.0 - d) * (1.0 - d);
            assert!((within_band(d, 2) - truth).abs() < 1e-14, "d {d}");
        }
    }

    #[test]
    fn a_band_that_nobody_keeps_to() {
        assert!(within_band(1.5 / 3000.0, 3000) <= 0.0);
    }
}
