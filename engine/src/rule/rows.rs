//! Rows of a metric table as rules see them.

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit};

use crate::{Error, Result};

/// A metric table's rows with the columns that identify them.
#[derive(Debug, Clone)]
pub struct Rows {
    batch: RecordBatch,
    starts: Vec<Option<i64>>,
    ends: Vec<Option<i64>>,
    granularity: StringArray,
    slice_key: StringArray,
    slice_value: StringArray,
    column: StringArray,
    model: Option<StringArray>,
    kind: StringArray,
}

/// Which rows of the monitored table a metric row is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Observation {
    /// The window in microseconds; `None` for rows over the baseline.
    pub window: Option<(i64, i64)>,
    /// Length of the window; `None` for snapshots.
    pub granularity: Option<String>,
    /// Slice key and value.
    pub slice: Option<(String, Option<String>)>,
    /// Model id, or `*`.
    pub model: Option<String>,
    /// The column.
    pub column: String,
}

impl Rows {
    /// Wraps a batch; `kind` is its `log_type` or `drift_type`, `model` the user's name of the model column.
    ///
    /// # Errors
    /// When the batch is not of a metric table.
    pub fn new(batch: RecordBatch, kind: &str, model: Option<&str>) -> Result<Self> {
        let (starts, ends) = window_ends(&batch, "window")?;
        Ok(Self {
            starts,
            ends,
            granularity: text(&batch, "granularity")?,
            slice_key: text(&batch, "slice_key")?,
            slice_value: text(&batch, "slice_value")?,
            column: text(&batch, "column_name")?,
            model: model.map(|model| text(&batch, model)).transpose()?,
            kind: text(&batch, kind)?,
            batch,
        })
    }

    /// The number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.batch.num_rows()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The log type or drift type of a row.
    #[must_use]
    pub fn kind(&self, row: usize) -> &str {
        self.kind.value(row)
    }

    /// What a row is about.
    #[must_use]
    pub fn observation(&self, row: usize) -> Observation {
        let of = |values: &StringArray| values.is_valid(row).then(|| values.value(row).to_owned());
        Observation {
            window: self.starts[row].zip(self.ends[row]),
            granularity: of(&self.granularity),
            slice: of(&self.slice_key).map(|key| (key, of(&self.slice_value))),
            model: self.model.as_ref().and_then(of),
            column: self.column.value(row).to_owned(),
        }
    }

    /// A numeric column, dotted for fields of structs.
    ///
    /// # Errors
    /// When it is not there or not numeric.
    pub fn numbers(&self, metric: &str) -> Result<Float64Array> {
        let mut path = metric.split('.');
        let mut values: Option<ArrayRef> = path.next().and_then(|name| self.batch.column_by_name(name)).cloned();
        for field in path {
            values = values.and_then(|values| values.as_struct_opt()?.column_by_name(field).cloned());
        }
        let values = values.ok_or_else(|| missing(metric))?;
        Ok(cast(&values, &DataType::Float64)?.as_primitive().clone())
    }

    /// The window of comparison of a drift row.
    ///
    /// # Errors
    /// When the batch is not of a drift table.
    pub fn comparison_windows(&self) -> Result<Vec<Option<(i64, i64)>>> {
        let (starts, ends) = window_ends(&self.batch, "window_cmp")?;
        Ok(starts.into_iter().zip(ends).map(|(start, end)| start.zip(end)).collect())
    }

    /// A text column.
    ///
    /// # Errors
    /// When it is not there.
    pub fn texts(&self, name: &str) -> Result<StringArray> {
        text(&self.batch, name)
    }

    /// A column as it is.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&ArrayRef> {
        self.batch.column_by_name(name)
    }
}

fn missing(name: &str) -> Error {
    Error::Usage {
        message: format!(
            "the metric table has no column {name}; it was written by another version: run with --full-refresh"
        ),
    }
}

fn text(batch: &RecordBatch, name: &str) -> Result<StringArray> {
    let values = batch.column_by_name(name).ok_or_else(|| missing(name))?;
    Ok(cast(values, &DataType::Utf8)?.as_string::<i32>().clone())
}

type Ends = (Vec<Option<i64>>, Vec<Option<i64>>);

fn window_ends(batch: &RecordBatch, name: &str) -> Result<Ends> {
    let windows =
        batch.column_by_name(name).and_then(|windows| windows.as_struct_opt()).ok_or_else(|| missing(name))?;
    let ends = |field: &str| -> Result<Vec<Option<i64>>> {
        let values = windows.column_by_name(field).ok_or_else(|| missing(name))?;
        let micros = cast(values, &DataType::Timestamp(TimeUnit::Microsecond, None))?;
        let micros = cast(&micros, &DataType::Int64)?;
        let micros = micros.as_primitive::<arrow::datatypes::Int64Type>();
        Ok((0..micros.len())
            .map(|row| (windows.is_valid(row) && micros.is_valid(row)).then(|| micros.value(row)))
            .collect())
    };
    Ok((ends("start")?, ends("end")?))
}
