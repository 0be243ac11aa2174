//! What `states` measures: our states and the sketches of Apache DataSketches, behind one face.
//!
//! The sketches are as their crate makes them by default, and once larger, to about the size of our histogram.

use datasketches::hll::{HllSketch, HllType, HllUnion};
use datasketches::kll::{KllFloat, KllSketch};
use datasketches::req::{RankAccuracy, ReqFloat, ReqSketch};
use datasketches::tdigest::TDigestMut;
use limno_metrics::state::codec::Writer;
use limno_metrics::state::{Distinct, Histogram, MergeableState};

use crate::contenders::{MAX_BUCKETS, Numbers};

/// Whatever can go wrong in a bench.
pub type Failure = Box<dyn std::error::Error>;

/// log₂ of the registers of distinct counters, as ours have them.
const REGISTER_BITS: u8 = 12;

/// A summary of numbers of which none is null or NaN.
pub trait Summary: Sized {
    /// Adds values.
    ///
    /// # Errors
    /// When the summary refuses a value.
    fn observe(&mut self, values: &[f64]) -> Result<(), Failure>;

    /// One summary of all that `parts` saw.
    ///
    /// # Errors
    /// When two do not fit together.
    fn merged(parts: &[Self], empty: Self) -> Result<Self, Failure>;

    /// The form for storage.
    ///
    /// # Errors
    /// When a compressor fails.
    fn encode(&self) -> Result<Vec<u8>, Failure>;

    /// Bytes held on the heap, where the summary can tell.
    fn heap_size(&self) -> Option<usize>;
}

/// Our histogram.
#[must_use]
pub fn histogram() -> Histogram {
    Histogram::empty(MAX_BUCKETS)
}

/// Our distinct counter.
#[must_use]
pub fn distinct() -> Distinct {
    Distinct::empty(4096)
}

/// KLL; 200 is the default.
///
/// # Errors
/// When `k` is out of its range.
pub fn kll(k: u16) -> Result<KllSketch<KllFloat<f64>>, Failure> {
    Ok(KllSketch::new(k)?)
}

/// REQ, as accurate as it can be at high ranks; 12 is the default.
///
/// # Errors
/// When `k` is out of its range.
pub fn req(k: u16) -> Result<ReqSketch<ReqFloat<f64>>, Failure> {
    Ok(ReqSketch::new(k, RankAccuracy::HighRank)?)
}

/// A t-digest of this compression; 200 is the default.
///
/// # Errors
/// When the compression is out of its range.
pub fn tdigest(compression: u16) -> Result<TDigestMut, Failure> {
    Ok(TDigestMut::new(compression)?)
}

/// HyperLogLog with as many registers of eight bits as ours.
///
/// # Errors
/// Never: the number of registers is in its range.
pub fn hll() -> Result<HllSketch, Failure> {
    Ok(HllSketch::new(REGISTER_BITS, HllType::Hll8)?)
}

fn frame(state: &impl MergeableState) -> Result<Vec<u8>, Failure> {
    let mut out = Writer::default();
    state.encode(&mut out);
    Ok(out.finish())
}

/// Our states merge alike.
fn fold<S: MergeableState>(parts: &[S], mut into: S) -> Result<S, Failure> {
    for part in parts {
        into.merge(part)?;
    }
    Ok(into)
}

impl Summary for Histogram {
    fn observe(&mut self, values: &[f64]) -> Result<(), Failure> {
        self.observe_slice(values);
        Ok(())
    }

    fn merged(parts: &[Self], empty: Self) -> Result<Self, Failure> {
        fold(parts, empty)
    }

    fn encode(&self) -> Result<Vec<u8>, Failure> {
        frame(self)
    }

    fn heap_size(&self) -> Option<usize> {
        Some(MergeableState::heap_size(self))
    }
}

impl Summary for Distinct {
    fn observe(&mut self, values: &[f64]) -> Result<(), Failure> {
        self.observe_numbers(values);
        Ok(())
    }

    fn merged(parts: &[Self], empty: Self) -> Result<Self, Failure> {
        fold(parts, empty)
    }

    fn encode(&self) -> Result<Vec<u8>, Failure> {
        frame(self)
    }

    fn heap_size(&self) -> Option<usize> {
        Some(MergeableState::heap_size(self))
    }
}

impl Summary for Numbers {
    fn observe(&mut self, values: &[f64]) -> Result<(), Failure> {
        Self::observe(self, values, None);
        Ok(())
    }

    fn merged(parts: &[Self], mut empty: Self) -> Result<Self, Failure> {
        for part in parts {
            empty.merge(part)?;
        }
        Ok(empty)
    }

    fn encode(&self) -> Result<Vec<u8>, Failure> {
        Ok(Self::encode(self))
    }

    fn heap_size(&self) -> Option<usize> {
        Some(Self::heap_size(self))
    }
}

impl Summary for KllSketch<KllFloat<f64>> {
    fn observe(&mut self, values: &[f64]) -> Result<(), Failure> {
        for &value in values {
            self.update(KllFloat::<f64>::new(value)?);
        }
        Ok(())
    }

    fn merged(parts: &[Self], mut empty: Self) -> Result<Self, Failure> {
        for part in parts {
            empty.merge(part)?;
        }
        Ok(empty)
    }

    fn encode(&self) -> Result<Vec<u8>, Failure> {
        Ok(self.serialize())
    }

    fn heap_size(&self) -> Option<usize> {
        None
    }
}

impl Summary for ReqSketch<ReqFloat<f64>> {
    fn observe(&mut self, values: &[f64]) -> Result<(), Failure> {
        for &value in values {
            self.update(ReqFloat::<f64>::new(value)?);
        }
        Ok(())
    }

    fn merged(parts: &[Self], mut empty: Self) -> Result<Self, Failure> {
        for part in parts {
            empty.merge(part)?;
        }
        Ok(empty)
    }

    fn encode(&self) -> Result<Vec<u8>, Failure> {
        Ok(self.serialize())
    }

    fn heap_size(&self) -> Option<usize> {
        None
    }
}

impl Summary for TDigestMut {
    fn observe(&mut self, values: &[f64]) -> Result<(), Failure> {
        for &value in values {
            self.update(value);
        }
        Ok(())
    }

    fn merged(parts: &[Self], _empty: Self) -> Result<Self, Failure> {
        // Collecting compresses once; merging one by one would compress each time.
        Ok(parts.iter().cloned().collect())
    }

    fn encode(&self) -> Result<Vec<u8>, Failure> {
        // It compresses itself before it is written.
        Ok(self.clone().serialize())
    }

    fn heap_size(&self) -> Option<usize> {
        Some(self.estimated_size())
    }
}

impl Summary for HllSketch {
    fn observe(&mut self, values: &[f64]) -> Result<(), Failure> {
        for value in values {
            self.update(value.to_bits());
        }
        Ok(())
    }

    fn merged(parts: &[Self], empty: Self) -> Result<Self, Failure> {
        let mut union = HllUnion::new(empty.lg_config_k())?;
        for part in parts {
            union.update(part);
        }
        Ok(union.to_sketch(empty.target_type()))
    }

    fn encode(&self) -> Result<Vec<u8>, Failure> {
        Ok(self.serialize())
    }

    fn heap_size(&self) -> Option<usize> {
        Some(self.estimated_size())
    }
}
