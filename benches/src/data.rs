//! Seeded columns of the shapes that matter to a state.

use arrow::array::Float64Array;
use arrow::buffer::NullBuffer;
use limno_fixtures::SplitMix64;

/// Different prices in [`Distribution::Prices`].
const PRICES: usize = 2000;
/// Part of the rows of the shifted side that are the greater of two draws. The support stays as it is, so that the
/// shift is one for every distribution, also for one of few values: D is about a quarter of this.
const SHIFT: f64 = 0.05;

/// The distribution of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distribution {
    /// Uniform in `[0, 1)`.
    Uniform,
    /// Standard normal.
    Normal,
    /// Log-normal with σ = 1.
    LogNormal,
    /// Prices in cents, of which a few are frequent and most are rare.
    Prices,
    /// Six of ten are zero, the others log-normal.
    Zeros,
    /// Seconds since the epoch, with fractions, over a year.
    EpochTime,
    /// Normal, three of ten null.
    Nulls,
    /// Integers below a million.
    Integers,
}

/// Which of two samples to draw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The distribution itself.
    Baseline,
    /// Other values, slightly greater.
    Shifted,
}

impl Distribution {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Uniform,
        Self::Normal,
        Self::LogNormal,
        Self::Prices,
        Self::Zeros,
        Self::EpochTime,
        Self::Nulls,
        Self::Integers,
    ];

    /// The name in tables and on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Normal => "normal",
            Self::LogNormal => "log-normal",
            Self::Prices => "prices",
            Self::Zeros => "60 % zeros",
            Self::EpochTime => "epoch time",
            Self::Nulls => "30 % nulls",
            Self::Integers => "integers",
        }
    }

    /// A column of it, the same in every run. Fewer rows are the first of more.
    #[must_use]
    pub fn column(self, side: Side, rows: usize) -> Float64Array {
        let root = SplitMix64::new(if side == Side::Baseline { 1 } else { 2 }).stream(self.name());
        let (mut values, mut shifts) = (root.stream("values"), root.stream("shifts"));
        let prices = if self == Self::Prices { price_list() } else { PriceList::default() };
        let column: Vec<f64> = (0..rows)
            .map(|_| {
                let value = self.draw(&mut values, &prices);
                if side == Side::Shifted && shifts.chance(SHIFT) {
                    value.max(self.draw(&mut values, &prices))
                } else {
                    value
                }
            })
            .collect();
        if self != Self::Nulls {
            return column.into();
        }
        let mut nulls = root.stream("nulls");
        let valid: Vec<bool> = (0..rows).map(|_| !nulls.chance(0.3)).collect();
        // A zero under a null, as decoders leave it.
        let column: Vec<f64> =
            column.iter().zip(&valid).map(|(&value, &valid)| if valid { value } else { 0.0 }).collect();
        Float64Array::new(column.into(), Some(NullBuffer::from(valid)))
    }

    #[expect(clippy::cast_precision_loss, reason = "integers below a million")]
    fn draw(self, rng: &mut SplitMix64, prices: &PriceList) -> f64 {
        match self {
            Self::Uniform => rng.uniform(),
            Self::Normal | Self::Nulls => rng.normal(),
            Self::LogNormal => rng.normal().exp(),
            Self::Prices => prices.draw(rng),
            Self::Zeros => {
                if rng.chance(0.6) {
                    0.0
                } else {
                    rng.normal().exp()
                }
            }
            Self::EpochTime => 1_700_000_000.0 + 31_536_000.0 * rng.uniform(),
            Self::Integers => rng.below(1_000_000) as f64,
        }
    }
}

/// Prices with the sums of the weights up to each.
#[derive(Default)]
struct PriceList {
    prices: Vec<f64>,
    weights: Vec<f64>,
}

impl PriceList {
    fn draw(&self, rng: &mut SplitMix64) -> f64 {
        let at = rng.uniform() * self.weights.last().copied().unwrap_or(0.0);
        let index = self.weights.partition_point(|&weight| weight <= at);
        self.prices.get(index).copied().unwrap_or(0.0)
    }
}

/// Different prices in cents, in no order; the weight of the k-th is 1/k.
#[expect(clippy::cast_precision_loss, reason = "a few thousand")]
fn price_list() -> PriceList {
    let mut rng = SplitMix64::new(3).stream("prices");
    let mut list = PriceList::default();
    let mut sum = 0.0;
    while list.prices.len() < PRICES {
        let price = (20.0 * rng.normal().exp() * 100.0).round() / 100.0;
        if !list.prices.contains(&price) {
            list.prices.push(price);
            sum += 1.0 / list.prices.len() as f64;
            list.weights.push(sum);
        }
    }
    list
}

/// The values that are not null.
#[must_use]
pub fn present(column: &Float64Array) -> Vec<f64> {
    column.iter().flatten().collect()
}
