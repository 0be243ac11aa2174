//! What a model's decisions are for one group of rows beside all others.
//!
//! For each class c against the rest, with ŷ the prediction and y the label:
//!
//! | number | compares |
//! |---|---|
//! | statistical parity | P(ŷ = c) |
//! | predictive parity | P(y = c \| ŷ = c): precision |
//! | predictive equality | P(ŷ = c \| y ≠ c): false positive rate |
//! | equal opportunity | P(ŷ = c \| y = c): true positive rate |
//!
//! Source: S. Verma, J. Rubin, *Fairness definitions explained*, FairWare 2018, definitions 3.1.1, 3.2.1, 3.2.2 and
//! 3.2.3. A difference of 0 and a ratio of 1 mean that both groups are treated alike. Rates are over evaluated rows, each
//! a ratio of exact counts. A class of which a side has no such rate is left out there, as is a ratio to a rate of 0.

use std::collections::BTreeMap;

use super::classification::share;
use super::confusion::OneVsAll;
use super::{QualityState, Values};

/// A rate of the protected group beside that of the others, for each class in byte order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Parity {
    /// Protected − others, in \[−1, 1\].
    pub difference: Vec<(String, f64)>,
    /// Protected / others; without classes for which the others' rate is 0.
    pub ratio: Vec<(String, f64)>,
}

/// Four comparisons of a protected group with the others.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fairness {
    /// Of the share of rows predicted to be of the class.
    pub statistical_parity: Parity,
    /// Of precision.
    pub predictive_parity: Parity,
    /// Of the false positive rate.
    pub predictive_equality: Parity,
    /// Of recall, the true positive rate.
    pub equal_opportunity: Parity,
}

/// Compares the protected group with the others; `None` unless both are states of classes with evaluated rows, and not of
/// more than [`MAX_CLASSES`](super::MAX_CLASSES) classes.
#[must_use]
pub fn fairness(protected: &QualityState, others: &QualityState) -> Option<Fairness> {
    let (ours, theirs) = (Side::of(protected)?, Side::of(others)?);
    let names: BTreeMap<&str, ()> =
        ours.classes.keys().chain(theirs.classes.keys()).map(|name| (&**name, ())).collect();
    let parity = |rate: fn(&OneVsAll, u64) -> Option<f64>| {
        let mut parity = Parity::default();
        for &name in names.keys() {
            let Some((ours, theirs)) = ours.rate(name, rate).zip(theirs.rate(name, rate)) else { continue };
            parity.difference.push((name.to_owned(), ours - theirs));
            if theirs > 0.0 {
                parity.ratio.push((name.to_owned(), ours / theirs));
            }
        }
        parity
    };
    Some(Fairness {
        statistical_parity: parity(|class, rows| share(class.predicted, rows)),
        predictive_parity: parity(|class, _| share(class.hits, class.predicted)),
        predictive_equality: parity(|class, rows| share(class.predicted - class.hits, rows - class.labeled)),
        equal_opportunity: parity(|class, _| share(class.hits, class.labeled)),
    })
}

/// The classes of one group, and its rows.
struct Side {
    classes: BTreeMap<String, OneVsAll>,
    rows: u64,
}

impl Side {
    fn of(state: &QualityState) -> Option<Self> {
        let Values::Classification(values) = &state.values else { return None };
        let table = values.table().filter(|_| state.evaluated > 0)?;
        let counts = table.one_vs_all();
        Some(Self { classes: table.classes.into_iter().zip(counts).collect(), rows: state.evaluated })
    }

    fn rate(&self, class: &str, rate: fn(&OneVsAll, u64) -> Option<f64>) -> Option<f64> {
        rate(&self.classes.get(class).copied().unwrap_or_default(), self.rows)
    }
}
