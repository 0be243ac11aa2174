//! Upper tails of the distributions behind the p-values, and the critical values that they give.

mod band;
mod chi_squared;
mod cramer_von_mises;
mod invert;
mod kolmogorov;
mod pelz_good;
mod smirnov;

pub use chi_squared::{chi_squared_critical_value, chi_squared_sf};
pub use cramer_von_mises::cramer_von_mises_sf;
pub use kolmogorov::{kolmogorov_critical_value, kolmogorov_sf};
