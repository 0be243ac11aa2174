//! The place of each value in the dense part of a histogram.

use super::dispatch::dispatch;

/// Most values of a call.
pub(crate) const CELLS: usize = 256;
/// Places for zeros, taken in turn, so that a column of zeros does not wait for one counter.
const ZEROS: u32 = 8;
const MAGNITUDE: u64 = u64::MAX >> 1;

/// Consecutive cells of magnitudes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Span {
    /// The first cell: a magnitude's bits, shifted.
    pub(crate) base: u64,
    /// How many.
    pub(crate) len: u32,
}

/// Two runs of cells, of negative and of positive numbers. Each is followed by one place for what lies outside, and the
/// last places are for zeros.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Spans {
    /// A magnitude's cell is its bits without this many low ones.
    pub(crate) shift: u32,
    /// Bits of a magnitude that must be zero for it to have a place: all that are shifted out, where a place stands for
    /// one value.
    pub(crate) forbidden: u64,
    /// Cells of negative numbers.
    pub(crate) negative: Span,
    /// Cells of positive numbers.
    pub(crate) positive: Span,
}

impl Spans {
    /// The number of places.
    pub(crate) const fn places(&self) -> u32 {
        self.zeros() + ZEROS
    }

    /// The first place of zeros.
    pub(crate) const fn zeros(&self) -> u32 {
        self.first_positive() + self.positive.len + 1
    }

    /// The place of the first positive cell.
    pub(crate) const fn first_positive(&self) -> u32 {
        self.negative.len + 1
    }

    /// Whether a place is that of a cell, not one for zeros or what lies outside.
    pub(crate) const fn is_cell(&self, place: u32) -> bool {
        place < self.negative.len || (place > self.negative.len && place < self.zeros() - 1)
    }

    /// Whether there are no cells.
    pub(crate) const fn is_empty(&self) -> bool {
        self.negative.len == 0 && self.positive.len == 0
    }

    /// The place of one value that is not NaN.
    #[inline(always)]
    pub(crate) fn place(&self, value: f64) -> u32 {
        let bits = value.to_bits();
        let magnitude = bits & MAGNITUDE;
        let is_negative = bits.cast_signed() < 0;
        let span = if is_negative { self.negative } else { self.positive };
        let first = if is_negative { 0 } else { self.first_positive() };
        // Both are below 2⁶³; what lies before the span becomes greater than every length.
        let cell = (magnitude >> self.shift).wrapping_sub(span.base);
        let is_inside = cell < u64::from(span.len) && magnitude & self.forbidden == 0;
        #[expect(clippy::cast_possible_truncation, reason = "below a length of 32 bits")]
        let cell = if is_inside { cell as u32 } else { span.len };
        if magnitude == 0 { self.zeros() } else { first + cell }
    }
}

/// Writes the place of each of at most [`CELLS`] values, none of them NaN. `has_zeros` may be true if none is zero.
pub(crate) fn cells(tier: super::Tier, values: &[f64], spans: &Spans, has_zeros: bool, places: &mut [u32; CELLS]) {
    if spans.shift < 32 || spans.forbidden != 0 {
        any_cells(tier, values, spans, places);
    } else if has_zeros {
        half_cells_and_zeros(tier, values, spans, places);
    } else {
        half_cells(tier, values, spans, places);
    }
}

dispatch! {
    fn any_cells(values: &[f64], spans: &Spans, places: &mut [u32; CELLS]) = any
}

dispatch! {
    fn half_cells(values: &[f64], spans: &Spans, places: &mut [u32; CELLS]) = half
}

dispatch! {
    fn half_cells_and_zeros(values: &[f64], spans: &Spans, places: &mut [u32; CELLS]) = half_and_zeros
}

#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "upper halves, and positions in a short slice")]
fn any<const FMA: bool>(values: &[f64], spans: &Spans, places: &mut [u32; CELLS]) {
    // On a copy, which the writes cannot touch.
    let spans = *spans;
    let values = &values[..values.len().min(CELLS)];
    for index in 0..values.len() {
        let found = spans.place(values[index]);
        places[index] = if found == spans.zeros() { found + index as u32 % ZEROS } else { found };
    }
}

#[inline(always)]
fn half<const FMA: bool>(values: &[f64], spans: &Spans, places: &mut [u32; CELLS]) {
    half_body::<false>(values, spans, places);
}

#[inline(always)]
fn half_and_zeros<const FMA: bool>(values: &[f64], spans: &Spans, places: &mut [u32; CELLS]) {
    half_body::<true>(values, spans, places);
}

/// Of cells of at least 2³² keys the upper halves of the doubles tell all, in twice as many lanes.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "upper halves, and positions in a short slice")]
fn half_body<const HAS_ZEROS: bool>(values: &[f64], spans: &Spans, places: &mut [u32; CELLS]) {
    let shift = spans.shift - 32;
    let (negative, positive) = (spans.negative.base as u32, spans.positive.base as u32);
    let lengths = (spans.negative.len, spans.positive.len);
    let (first, zeros) = (spans.first_positive(), spans.zeros());
    let values = &values[..values.len().min(CELLS)];
    for index in 0..values.len() {
        let value = values[index];
        let upper = (value.to_bits() >> 32) as u32;
        let is_negative = upper.cast_signed() < 0;
        let base = if is_negative { negative } else { positive };
        let length = if is_negative { lengths.0 } else { lengths.1 };
        let first = if is_negative { 0 } else { first };
        // What lies before the span wraps around and is greater than every length.
        let cell = ((upper & 0x7fff_ffff) >> shift).wrapping_sub(base).min(length);
        let place = first + cell;
        places[index] = if HAS_ZEROS && value == 0.0 { zeros + index as u32 % ZEROS } else { place };
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Tier, naive};
    use super::*;

    #[test]
    fn every_tier_finds_the_same_places() {
        let cell = |value: f64, shift: u32| value.to_bits() >> shift;
        for (shift, is_exact) in [(20, false), (30, true), (32, false), (44, false), (44, true), (50, false)] {
            let spans = Spans {
                shift,
                forbidden: if is_exact { (1 << shift) - 1 } else { 0 },
                negative: Span { base: cell(1e-3, shift), len: 1000 },
                positive: Span { base: cell(0.2, shift), len: 500 },
            };
            for values in naive::families() {
                for chunk in values.chunks(CELLS) {
                    let chunk: Vec<f64> = chunk.iter().copied().filter(|value| !value.is_nan()).collect();
                    let has_zeros = chunk.contains(&0.0);
                    for tier in Tier::available() {
                        let mut places = [0; CELLS];
                        cells(tier, &chunk, &spans, has_zeros, &mut places);
                        for (&place, &value) in places.iter().zip(&chunk) {
                            let expected = spans.place(value);
                            if value == 0.0 {
                                assert!((spans.zeros()..spans.places()).contains(&place) && expected == spans.zeros());
                            } else {
                                assert_eq!(place, expected, "{value} {spans:?}");
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn places_by_hand() {
        let spans = Spans {
            shift: 52,
            forbidden: 0,
            negative: Span { base: 1023, len: 2 },
            positive: Span { base: 1022, len: 3 },
        };
        let place = |value: f64| spans.place(value);
        assert_eq!([-1.0, -1.9, -2.0, -3.9].map(place), [0, 0, 1, 1]);
        assert_eq!([0.5, 1.0, 2.0, 3.9].map(place), [3, 4, 5, 5]);
        assert_eq!([-0.5, -4.0, f64::NEG_INFINITY].map(place), [2; 3]);
        assert_eq!([0.25, 4.0, f64::INFINITY, 5e-324].map(place), [6; 4]);
        assert_eq!([0.0, -0.0].map(place), [7, 7]);
        assert_eq!((0..15).filter(|&place| spans.is_cell(place)).collect::<Vec<_>>(), [0, 1, 3, 4, 5]);
        assert_eq!(spans.places(), 15);
    }
}
