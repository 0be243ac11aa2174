//! Covariance and correlation from exact sums.
//!
//! `cov(x, y) = (Σxy − Σx·Σy/n)/n` cancels nearly all digits where values are far from zero compared with how they spread,
//! as nanoseconds since the epoch are. So nothing is rounded to 53 bits before the end. A product of two doubles is the
//! sum of two doubles, the rounded one and its error, which a fused multiplication tells (T. Dekker, *A floating-point
//! technique for extending the available precision*, 1971); an integer of 64 bits is one too. The states add those up
//! exactly and answer each sum as two doubles again, and what is left to do is done with two doubles for a number, which
//! is some 104 bits.
//!
//! Only rows in which both are numbers count. Of infinite values, and where a product is beyond the doubles, there is no
//! answer.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array};
use arrow::datatypes::{DataType, Float64Type, Int64Type, UInt64Type};
use datafusion::common::{exec_datafusion_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// Relative to what cancelled, less than this is what rounding left over, so that a column of one value has no spread.
const NOISE: f64 = 1.0 / (1u128 << 101) as f64;

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Factor {
    X,
    Y,
}

/// What is added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Of {
    One(Factor),
    Product(Factor, Factor),
}

/// Which of the two doubles whose sum it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Digits {
    High,
    Low,
}

/// The values to add up, of columns of doubles or of integers of 64 bits.
pub(super) fn term(of: Of, digits: Digits, x: &Expr, y: &Expr) -> Expr {
    let name = match of {
        Of::One(factor) => format!("{factor:?}"),
        Of::Product(a, b) => format!("{a:?}{b:?}"),
    };
    let name = format!("limno_pair_{name}_{digits:?}").to_ascii_lowercase();
    let function = PairTerm { name, of, digits, signature: Signature::any(2, Volatility::Immutable) };
    ScalarUDF::new_from_impl(function).call(vec![x.clone(), y.clone()])
}

/// The covariance from the number of rows and, of x, y and xy each, the sums of high and of low digits, each with its rest.
pub(super) fn covariance(of_population: bool, sums: Vec<Expr>) -> Expr {
    let name = if of_population { "limno_covar_pop" } else { "limno_covar_samp" };
    let what = Answer::Covariance { of_population };
    let signature = Signature::any(sums.len(), Volatility::Immutable);
    ScalarUDF::new_from_impl(PairAnswer { name, what, signature }).call(sums)
}

/// The correlation from the covariance and both variances.
pub(super) fn correlation(covariance: Expr, of_x: Expr, of_y: Expr) -> Expr {
    let signature = Signature::any(3, Volatility::Immutable);
    let function = PairAnswer { name: "limno_corr", what: Answer::Correlation, signature };
    ScalarUDF::new_from_impl(function).call(vec![covariance, of_x, of_y])
}

/// A number as the sum of two doubles, of which the second is below the last digit of the first.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Twofold {
    high: f64,
    low: f64,
}

impl Twofold {
    const fn of(value: f64) -> Self {
        Self { high: value, low: 0.0 }
    }

    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "the rest is what is lost")]
    fn of_integer(value: i128) -> Self {
        let high = value as f64;
        Self { high, low: (value - high as i128) as f64 }
    }

    /// The exact sum of two doubles.
    fn sum_of(a: f64, b: f64) -> Self {
        let high = a + b;
        let of_b = high - a;
        Self { high, low: (a - (high - of_b)) + (b - of_b) }
    }

    fn plus(self, other: Self) -> Self {
        let Self { high, low } = Self::sum_of(self.high, other.high);
        Self::sum_of(high, low + (self.low + other.low))
    }

    fn minus(self, other: Self) -> Self {
        self.plus(Self { high: -other.high, low: -other.low })
    }

    fn times(self, other: Self) -> Self {
        let high = self.high * other.high;
        let error = self.high.mul_add(other.high, -high);
        Self { high, low: error + (self.high * other.low + self.low * other.high) }
    }

    fn over(self, count: f64) -> Self {
        let high = self.high / count;
        let rest = (-high).mul_add(count, self.high) + self.low;
        Self::sum_of(high, rest / count)
    }

    fn rounded(self) -> f64 {
        self.high + self.low
    }
}

/// `limno_pair_…(x, y)`: a part of a product or of a factor; null where one of the two is null or NaN.
#[derive(Debug, PartialEq, Eq, Hash)]
struct PairTerm {
    name: String,
    of: Of,
    digits: Digits,
    signature: Signature,
}

impl PairTerm {
    fn value(&self, x: Twofold, y: Twofold) -> f64 {
        let factor = |factor| match factor {
            Factor::X => x,
            Factor::Y => y,
        };
        let value = match self.of {
            Of::One(one) => factor(one),
            Of::Product(a, b) => factor(a).times(factor(b)),
        };
        match self.digits {
            Digits::High => value.high,
            Digits::Low => value.low,
        }
    }
}

/// The numbers of an array; none for null and NaN.
fn numbers(array: &ArrayRef) -> Result<Box<dyn Iterator<Item = Option<Twofold>> + '_>> {
    match array.data_type() {
        DataType::Float64 => {
            let values = array.as_primitive::<Float64Type>().iter();
            Ok(Box::new(values.map(|value| value.filter(|value| !value.is_nan()).map(Twofold::of))))
        }
        DataType::Int64 => {
            let values = array.as_primitive::<Int64Type>().iter();
            Ok(Box::new(values.map(|value| Some(Twofold::of_integer(value?.into())))))
        }
        DataType::UInt64 => {
            let values = array.as_primitive::<UInt64Type>().iter();
            Ok(Box::new(values.map(|value| Some(Twofold::of_integer(value?.into())))))
        }
        other => Err(exec_datafusion_err!("a pair of numbers is of doubles or integers, not of {other}")),
    }
}

impl ScalarUDFImpl for PairTerm {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        let is_number = |data_type| matches!(data_type, &DataType::Float64 | &DataType::Int64 | &DataType::UInt64);
        match arguments {
            [x, y] if is_number(x) && is_number(y) => Ok(DataType::Float64),
            _ => plan_err!("{} takes two numbers, not {arguments:?}", self.name),
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = arguments.number_rows;
        let arrays: Vec<ArrayRef> =
            arguments.args.into_iter().map(|argument| argument.into_array(rows)).collect::<Result<_>>()?;
        let [x, y] = arrays.as_slice() else {
            return Err(exec_datafusion_err!("{} got {} arguments", self.name, arrays.len()));
        };
        let terms = numbers(x)?.zip(numbers(y)?).map(|(x, y)| Some(self.value(x?, y?)));
        Ok(ColumnarValue::Array(Arc::new(terms.collect::<Float64Array>())))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Answer {
    Covariance { of_population: bool },
    Correlation,
}

/// The function from sums to a covariance, or from covariance and variances to a correlation; null where one is null.
#[derive(Debug, PartialEq, Eq, Hash)]
struct PairAnswer {
    name: &'static str,
    what: Answer,
    signature: Signature,
}

impl Answer {
    fn of(self, values: &[f64]) -> Option<f64> {
        match (self, values) {
            (Self::Covariance { of_population }, [count, sums @ ..]) => {
                let mut sums = sums.chunks_exact(4).map(|sum| match sum {
                    [high, high_rest, low, low_rest] => {
                        Some(Twofold { high: *high, low: *high_rest }.plus(Twofold { high: *low, low: *low_rest }))
                    }
                    _ => None,
                });
                let (x, y, product) = (sums.next()??, sums.next()??, sums.next()??);
                let divisor = if of_population { *count } else { *count - 1.0 };
                let of_means = x.over(*count).times(y);
                let left = product.minus(of_means).rounded();
                let is_noise = left.abs() <= product.high.abs().max(of_means.high.abs()) * NOISE;
                (divisor > 0.0).then(|| if is_noise { 0.0 } else { left / divisor })
            }
            (Self::Correlation, &[covariance, of_x, of_y]) => {
                let correlation = covariance / (of_x.sqrt() * of_y.sqrt());
                // Beyond 1 by the rounding of the roots only.
                correlation.is_finite().then(|| correlation.clamp(-1.0, 1.0))
            }
            _ => None,
        }
    }
}

impl ScalarUDFImpl for PairAnswer {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = arguments.number_rows;
        let arrays: Vec<ArrayRef> =
            arguments.args.into_iter().map(|argument| argument.into_array(rows)).collect::<Result<_>>()?;
        let columns = arrays
            .iter()
            .map(|array| array.as_primitive_opt::<Float64Type>())
            .collect::<Option<Vec<&Float64Array>>>()
            .ok_or_else(|| exec_datafusion_err!("{} takes doubles", self.name))?;
        let answers = (0..rows).map(|row| {
            let values = columns.iter().map(|column| column.is_valid(row).then(|| column.value(row)));
            self.what.of(&values.collect::<Option<Vec<f64>>>()?)
        });
        Ok(ColumnarValue::Array(Arc::new(answers.collect::<Float64Array>())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::cast_possible_truncation, reason = "both are whole")]
    fn integers_keep_all_their_digits() {
        for value in [0, 1, i128::from(i64::MAX), i128::from(i64::MIN), i128::from(u64::MAX), (1 << 53) + 1] {
            let Twofold { high, low } = Twofold::of_integer(value);
            assert_eq!(high as i128 + low as i128, value);
        }
    }

    #[test]
    fn what_has_no_spread_has_no_correlation() {
        assert_eq!(Answer::Correlation.of(&[0.0, 0.0, 1.0]), None);
        assert_eq!(Answer::Correlation.of(&[1.0, 1.0, 1.0 - 1e-16]), Some(1.0));
        // The root of a product would be beyond the doubles.
        assert_eq!(Answer::Correlation.of(&[1e200, 1e200, 1e200]), Some(1.0));
        let one_row = [1.0, 5.0, 0.0, 0.0, 0.0, 7.0, 0.0, 0.0, 0.0, 35.0, 0.0, 0.0, 0.0];
        assert_eq!(Answer::Covariance { of_population: true }.of(&one_row), Some(0.0));
        assert_eq!(Answer::Covariance { of_population: false }.of(&one_row), None);
    }
}
