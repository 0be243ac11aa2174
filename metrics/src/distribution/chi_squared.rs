//! The χ² distribution.

use statrs::function::gamma::checked_gamma_ur;

use super::invert::tail_point;

/// P(X ≥ x) for X of a χ² distribution with `degrees` degrees of freedom: the regularised upper incomplete gamma
/// function Q(degrees/2, x/2).
#[must_use]
pub fn chi_squared_sf(x: f64, degrees: f64) -> f64 {
    if x <= 0.0 {
        return 1.0;
    }
    // Fails only for arguments that are not positive and finite; an infinite statistic has no tail left.
    checked_gamma_ur(degrees / 2.0, x / 2.0).unwrap_or(0.0)
}

/// The critical value of a χ² statistic with `degrees` degrees of freedom: the x with P(X ≥ x) = `alpha`.
///
/// Zero for an `alpha` of one or more or without degrees of freedom, infinite for an `alpha` of zero or less.
/// [`chi_squared_sf`] is inverted to 1e-11 of `alpha`, or to its own last digits from some 10,000 degrees on (1e-9 at a
/// million). The search starts below the bound of B. Laurent and P. Massart (*Adaptive estimation of a quadratic
/// functional by model selection*, Ann. Stat. 28 (2000), lemma 1): with L = −ln `alpha`, x is at most
/// degrees + 2√(degrees·L) + 2L.
#[must_use]
pub fn chi_squared_critical_value(alpha: f64, degrees: f64) -> f64 {
    if alpha.is_nan() || degrees.is_nan() {
        return f64::NAN;
    }
    if alpha >= 1.0 || degrees <= 0.0 {
        return 0.0;
    }
    if alpha <= 0.0 || degrees.is_infinite() {
        return f64::INFINITY;
    }
    let surprise = -alpha.ln();
    let bound = degrees + 2.0 * (degrees * surprise).sqrt() + 2.0 * surprise;
    tail_point(|x| chi_squared_sf(x, degrees), alpha, (f64::MIN_POSITIVE, bound), 0.9 * bound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_degrees_are_exponential() {
        for alpha in [0.99, 0.5, 0.05, 1e-300] {
            let (got, truth) = (chi_squared_critical_value(alpha, 2.0), -2.0 * alpha.ln());
            assert!((got / truth - 1.0).abs() < 1e-10, "{alpha}: {got}, not {truth}");
        }
    }

    #[test]
    fn many_degrees_are_nearly_normal() {
        for alpha in [0.999, 0.5, 0.05, 1e-6, 1e-100, 1e-300] {
            for degrees in [1e5, 1e6] {
                let tail = chi_squared_sf(chi_squared_critical_value(alpha, degrees), degrees);
                assert!((tail / alpha - 1.0).abs() < 1e-9, "{alpha}, {degrees}: {tail}");
            }
        }
    }

    #[test]
    fn ends() {
        assert!(chi_squared_critical_value(1.0, 3.0) <= 0.0 && chi_squared_critical_value(0.5, 0.0) <= 0.0);
        assert!(chi_squared_critical_value(0.0, 3.0).is_infinite());
        assert!(chi_squared_critical_value(f64::NAN, 3.0).is_nan());
    }
}
