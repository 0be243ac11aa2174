//! Upper tails of the distributions behind the p-values.

mod kolmogorov;

pub use kolmogorov::kolmogorov_sf;

use statrs::function::gamma::checked_gamma_ur;

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
