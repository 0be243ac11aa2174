//! A column of numbers: where they lie, and their exact sums.
//!
//! While the histogram is exact it holds every value, so it answers the sums too, and nothing else is kept. When it
//! leaves level 0 the sums are opened with all the values so far, and from then on see every value themselves.
//!
//! Unit: the column's own. Error: that of the histogram; the sums have none.
//!
//! ```
//! use limno_metrics::state::{Counts, Numbers};
//!
//! let (mut numbers, mut counts) = (Numbers::empty(4096), Counts::default());
//! numbers.observe(&[1.0, 2.0, 6.0, f64::NAN], None, &mut counts);
//! assert_eq!((numbers.histogram().total(), counts.nan), (3, 1));
//! assert_eq!(numbers.sums().mean(), Some(3.0));
//! ```

use arrow::buffer::NullBuffer;

use super::codec::{Reader, Writer};
use super::histogram::{Departed, OBSERVED};
use super::{Counts, ExactSums, Histogram, MergeableState};
use crate::kernel::{Scan, Tier, scan};
use crate::{Error, Result};

/// The histogram of a column's values and their exact sums.
#[derive(Debug, Clone)]
pub struct Numbers {
    histogram: Histogram,
    /// Present once the histogram has left level 0.
    sums: Option<Box<ExactSums>>,
}

impl Numbers {
    /// Nothing seen yet. The histogram keeps at most `max_buckets` buckets.
    #[must_use]
    pub fn empty(max_buckets: u32) -> Self {
        Self { histogram: Histogram::empty(max_buckets).handing_over(), sums: None }
    }

    /// Adds the values that are not null, and to `counts` the rows and the special values among them.
    pub fn observe(&mut self, values: &[f64], validity: Option<&NullBuffer>, counts: &mut Counts) {
        counts.rows += values.len() as u64;
        counts.nulls += validity.map_or(0, |validity| validity.null_count() as u64);
        for_valid(values, validity, |run| self.observe_chunks(run, counts, |_, _| ()));
    }

    /// Adds non-null values and counts the special ones. After each part `then` gets its values without NaN, and what
    /// has departed from an exact histogram with this part.
    pub(crate) fn observe_chunks(
        &mut self,
        values: &[f64],
        counts: &mut Counts,
        mut then: impl FnMut(&[f64], Option<&Departed>),
    ) {
        for chunk in values.chunks(OBSERVED) {
            let scan = scan(Tier::best(), chunk);
            counts.zeros += scan.zeros;
            counts.nan += scan.nan;
            if scan.least == f64::NEG_INFINITY || scan.greatest == f64::INFINITY {
                counts.infinities += chunk.iter().filter(|value| value.is_infinite()).count() as u64;
            }
            if scan.nan == 0 {
                let departed = self.observe_scanned(chunk, &scan);
                then(chunk, departed.as_ref());
            } else {
                let numbers: Vec<f64> = chunk.iter().copied().filter(|value| !value.is_nan()).collect();
                let departed = self.observe_scanned(&numbers, &Scan { nan: 0, ..scan });
                then(&numbers, departed.as_ref());
            }
        }
    }

    fn observe_scanned(&mut self, values: &[f64], scan: &Scan) -> Option<Departed> {
        if let Some(sums) = &mut self.sums {
            if scan.least.to_bits() == scan.greatest.to_bits() && scan.least.is_finite() {
                sums.observe_times(scan.least, values.len() as u64);
            } else {
                sums.observe_scanned(values, scan);
            }
        }
        self.histogram.observe_scanned(values, scan);
        self.open()
    }

    /// Adds `times` values that are all `value`, and to `counts` what is special about them; what has departed with that,
    /// if anything.
    pub(crate) fn observe_times(&mut self, value: f64, times: u64, counts: &mut Counts) -> Option<Departed> {
        if value.is_nan() {
            counts.nan += times;
            return None;
        }
        counts.zeros += if value == 0.0 { times } else { 0 };
        if value.is_infinite() {
            counts.infinities += times;
        } else if let Some(sums) = &mut self.sums {
            sums.observe_times(value, times);
        }
        self.histogram.observe_times(value, times);
        self.open()
    }

    /// Opens the sums if the histogram has just left level 0.
    fn open(&mut self) -> Option<Departed> {
        let departed = self.histogram.take_departed()?;
        self.sums = Some(Box::new(departed.sums()));
        Some(departed)
    }

    /// Brings the histogram to its canonical level; what has departed with that, if anything.
    pub(crate) fn settle(&mut self) -> Option<Departed> {
        self.histogram.settle();
        self.open()
    }

    /// Keeps the histogram, which has been settled, in its canonical form.
    pub(crate) fn sort(&mut self) {
        self.histogram.sort();
    }

    /// The histogram.
    #[must_use]
    pub const fn histogram(&self) -> &Histogram {
        &self.histogram
    }

    /// Whether the histogram has left level 0 for good. An exact one may still turn out to be over its limit.
    pub(crate) const fn is_open(&self) -> bool {
        self.sums.is_some()
    }

    /// The sums of the finite values.
    #[must_use]
    pub fn sums(&self) -> ExactSums {
        match &self.sums {
            Some(sums) => (**sums).clone(),
            None => Departed::Buckets(self.histogram.present_buckets()).sums(),
        }
    }

    /// As [`MergeableState::merge`]; what has departed from our histogram with it, if anything: without the values of
    /// `other` if its histogram was open, else with them.
    pub(crate) fn merge_with(&mut self, other: &Self) -> Result<Option<Departed>> {
        Error::sum(self.histogram.total(), other.histogram.total())?;
        let mut departed = None;
        match (&mut self.sums, &other.sums) {
            (Some(ours), Some(theirs)) => ours.merge(theirs)?,
            (Some(ours), None) => ours.merge(&other.sums())?,
            (None, Some(theirs)) => {
                let ours = Departed::Buckets(self.histogram.present_buckets());
                let mut sums = ours.sums();
                sums.merge(theirs)?;
                self.histogram.merge(&other.histogram)?;
                // Whatever the merge let depart is ours alone.
                self.histogram.take_departed();
                self.sums = Some(Box::new(sums));
                return Ok(Some(ours));
            }
            (None, None) => {}
        }
        self.histogram.merge(&other.histogram)?;
        if self.sums.is_none() {
            departed = self.open();
        }
        Ok(departed)
    }
}

/// Calls `then` with all values that are not null, in runs.
pub(crate) fn for_valid(values: &[f64], validity: Option<&NullBuffer>, mut then: impl FnMut(&[f64])) {
    let Some(nulls) = validity.filter(|nulls| nulls.null_count() > 0) else {
        return then(values);
    };
    // Short runs are copied together, a part at a time that stays in the cache.
    let mut together = Vec::with_capacity(OBSERVED);
    for (from, to) in nulls.valid_slices() {
        let mut run = &values[from..to];
        while !run.is_empty() {
            let (head, tail) = run.split_at(run.len().min(OBSERVED - together.len()));
            together.extend_from_slice(head);
            run = tail;
            if together.len() == OBSERVED {
                then(&together);
                together.clear();
            }
        }
    }
    then(&together);
}

impl MergeableState for Numbers {
    fn merge(&mut self, other: &Self) -> Result<()> {
        self.merge_with(other).map(|_| ())
    }

    fn encode(&self, out: &mut Writer) {
        if !self.histogram.is_settled() {
            let mut settled = self.clone();
            settled.settle();
            return settled.encode(out);
        }
        self.histogram.encode(out);
        if let Some(sums) = &self.sums {
            sums.encode(out);
        }
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self> {
        let histogram = Histogram::decode(input)?.handing_over();
        let sums = if histogram.is_exact() { None } else { Some(Box::new(ExactSums::decode(input)?)) };
        if sums.as_ref().is_some_and(|sums| sums.count() > histogram.total()) {
            return Err(Error::invalid_data("a state sums more values than it counts"));
        }
        Ok(Self { histogram, sums })
    }

    fn heap_size(&self) -> usize {
        let sums = self.sums.as_ref().map_or(0, |sums| size_of::<ExactSums>() + sums.heap_size());
        self.histogram.heap_size() + sums
    }
}
