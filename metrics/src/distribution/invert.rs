//! The point where a tail has a given size.

/// After so many rounds the bracket has no double left inside, whatever the tail.
const ROUNDS: u32 = 200;
/// A tail this near to the wanted one, as a share of it, is found.
const NEAR: f64 = 1e-11;

/// The x between `low` and `high`, both positive, where `tail`, which falls, is `alpha`, in (0, 1).
///
/// Secants of the tail's log-odds over ln x, both ends of which are nearly straight for the laws of this module; halved
/// brackets where a secant leads astray. `guess` may be anything.
pub(super) fn tail_point(tail: impl Fn(f64) -> f64, alpha: f64, (low, high): (f64, f64), guess: f64) -> f64 {
    let wanted = log_odds(alpha);
    let (mut low, mut high) = (low.ln(), high.ln());
    let inside = |next: f64, low: f64, high: f64| {
        if next > low && next < high { next } else { f64::midpoint(low, high) }
    };
    let mut point = inside(guess.ln(), low, high);
    let mut before: Option<(f64, f64)> = None;
    for _ in 0..ROUNDS {
        let miss = log_odds(tail(point.exp())) - wanted;
        if miss.abs() <= NEAR {
            break;
        }
        if miss > 0.0 {
            low = point;
        } else {
            high = point;
        }
        let next = match before {
            // Where the tail is zero or one there is no secant.
            _ if miss.is_infinite() => f64::NAN,
            Some((other, other_miss)) => point - miss * (point - other) / (miss - other_miss),
            None => point + 1e-3f64.copysign(miss),
        };
        before = miss.is_finite().then_some((point, miss));
        point = inside(next, low, high);
        if high - low <= f64::EPSILON * (1.0 + point.abs()) {
            break;
        }
    }
    point.exp()
}

fn log_odds(probability: f64) -> f64 {
    probability.ln() - (-probability).ln_1p()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exponential_tail() {
        for alpha in [0.999_999, 0.5, 1e-3, 1e-100] {
            for guess in [1e-9, 1.0, 1e3, f64::NAN] {
                let point = tail_point(|x: f64| (-x).exp(), alpha, (1e-12, 1e4), guess);
                assert!((point / -f64::ln(alpha) - 1.0).abs() < 1e-9, "{alpha} from {guess}: {point}");
            }
        }
    }

    #[test]
    fn a_tail_with_noise() {
        // Flat to its last ten digits: no secant, and none so near as is asked for.
        let noisy = |x: f64| ((-x).exp() * 1e10).round() / 1e10;
        let point = tail_point(noisy, 0.123_456_789_05, (1e-12, 1e4), 1.0);
        assert!((point + f64::ln(0.123_456_789_05)).abs() < 1e-9, "{point}");
    }

    #[test]
    fn a_tail_with_a_step() {
        let point = tail_point(|x: f64| if x < 2.0 { 0.7 } else { 0.1 }, 0.3, (1.0, 4.0), 3.0);
        assert!((point - 2.0).abs() < 1e-12, "{point}");
    }
}
