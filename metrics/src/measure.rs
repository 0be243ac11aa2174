//! Whatever is kept of a group of rows: one type for all that a ledger stores, and one way to read it back.
//!
//! A measure is a state over one or more columns. Its first byte says of which kind it is, so that stored measures can
//! be merged by those who do not know what they are of.

use crate::state::codec::{self, Reader, Writer};
use crate::state::{ItemSample, MergeableState};
use crate::{ColumnState, Error, QualityState, Result};

/// The first byte of a sample; columns have the numbers below 16, model quality those from there on.
const SAMPLE: u8 = 32;

/// A state of any kind.
#[derive(Debug, Clone)]
pub enum MeasureState {
    /// Of one column.
    Column(ColumnState),
    /// Of predictions beside their labels.
    Quality(Box<QualityState>),
    /// Of items.
    Sample(ItemSample),
}

impl MeasureState {
    /// The encoding: bit for bit the same for the same multiset of rows, however it was cut up.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Column(state) => state.encode(),
            Self::Quality(state) => state.encode(),
            Self::Sample(sample) => {
                let mut out = Writer::default();
                out.byte(SAMPLE);
                sample.encode(&mut out);
                out.finish()
            }
        }
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// [`InvalidData`](crate::ErrorKind::InvalidData) on any other bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let payload = codec::open(bytes)?;
        match payload.first() {
            Some(&SAMPLE) => {
                let mut input = Reader::new(&payload[1..]);
                let sample = ItemSample::decode(&mut input)?;
                input.end()?;
                Ok(Self::Sample(sample))
            }
            _ if QualityState::is_payload(&payload) => Ok(Self::Quality(Box::new(QualityState::decode(bytes)?))),
            _ => ColumnState::of_payload(&payload).map(Self::Column),
        }
    }

    /// Adds the rows that `other` summarises. A merge that fails changes nothing.
    ///
    /// # Errors
    /// [`Incompatible`](crate::ErrorKind::Incompatible) when the two are of different kinds.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        match (self, other) {
            (Self::Column(ours), Self::Column(theirs)) => ours.merge(theirs),
            (Self::Quality(ours), Self::Quality(theirs)) => ours.merge(theirs),
            (Self::Sample(ours), Self::Sample(theirs)) => ours.merge(theirs),
            _ => Err(Error::incompatible("states of different kinds cannot be merged")),
        }
    }

    /// The state of the same rows, each `times` times: the multiset is another one, so all laws hold.
    ///
    /// # Errors
    /// [`InvalidData`](crate::ErrorKind::InvalidData) when there are more rows than 64 bits count.
    pub fn repeated(&self, times: u64, none: Self) -> Result<Self> {
        let (mut sum, mut double, mut left) = (none, self.clone(), times);
        while left > 0 {
            if left & 1 == 1 {
                sum.merge(&double)?;
            }
            left >>= 1;
            if left > 0 {
                let same = double.clone();
                double.merge(&same)?;
            }
        }
        Ok(sum)
    }

    /// Bytes held on the heap: what its allocations have asked for.
    #[must_use]
    pub fn heap_size(&self) -> usize {
        match self {
            Self::Column(state) => state.heap_size(),
            Self::Quality(state) => size_of::<QualityState>() + state.heap_size(),
            Self::Sample(sample) => sample.heap_size(),
        }
    }

    /// The state of a column; `None` if it is of another kind.
    #[must_use]
    pub fn into_column(self) -> Option<ColumnState> {
        match self {
            Self::Column(state) => Some(state),
            Self::Quality(_) | Self::Sample(_) => None,
        }
    }
}

impl From<QualityState> for MeasureState {
    fn from(state: QualityState) -> Self {
        Self::Quality(Box::new(state))
    }
}

impl From<ColumnState> for MeasureState {
    fn from(state: ColumnState) -> Self {
        Self::Column(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_counts_seven_times_is_seven_rows() {
        use crate::column::{ColumnKind, ColumnOptions};
        let values = [1.5, -2.0, f64::NAN, 1e300];
        let options = ColumnOptions { max_buckets: 16, ..ColumnOptions::new(ColumnKind::Numeric) };
        let of = |values: &[f64]| {
            let mut state = ColumnState::empty(&options);
            state.observe_numbers(values, None).unwrap();
            MeasureState::from(state)
        };
        let none = || MeasureState::from(ColumnState::empty(&options));
        let seven = of(&values).repeated(7, none()).unwrap();
        assert_eq!(seven.encode(), of(&values.repeat(7)).encode());
        assert_eq!(of(&values).repeated(0, none()).unwrap().encode(), none().encode());
        assert_eq!(of(&values).repeated(1, none()).unwrap().encode(), of(&values).encode());
    }

    #[test]
    fn states_come_back_as_the_kind_that_they_were() {
        let mut sample = ItemSample::empty(4);
        sample.observe(b"x", 3);
        let numbers = arrow::array::Float64Array::from(vec![1.0, 2.0]);
        let mut quality = QualityState::empty(&crate::quality::QualityOptions::Regression);
        quality.observe(&numbers, &numbers, &[]).unwrap();
        for state in
            [MeasureState::from(ColumnState::of_numbers(&[1.0, 2.0])), quality.into(), MeasureState::Sample(sample)]
        {
            let mut again = MeasureState::decode(&state.encode()).unwrap();
            assert_eq!(again.encode(), state.encode());
            again.merge(&state).unwrap();
            assert_ne!(again.encode(), state.encode());
        }
        let mut column = MeasureState::from(ColumnState::of_numbers(&[1.0]));
        assert!(column.merge(&MeasureState::Sample(ItemSample::empty(1))).is_err());
    }
}
