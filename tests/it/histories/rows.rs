//! Rows of the table under change: small, with equal values, nulls, odd numbers and instants on the edges of windows.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Date32Array, Float32Array, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use chrono::DateTime;
use limno_fixtures::SplitMix64;

const MINUTE: i64 = 60_000_000;
pub(crate) const DAY: i64 = 24 * 60 * MINUTE;

/// How the column `at` is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Face {
    /// As a timestamp.
    Instant,
    /// As a timestamp without a zone, whose minimum and maximum in the log have none either.
    Wall,
    /// As text: with `Z`, with an offset, without a zone, a mere day, nonsense. Its order is not that of time.
    Text,
}

impl Face {
    fn data_type(self) -> DataType {
        match self {
            Self::Instant => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Wall => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::Text => DataType::Utf8,
        }
    }
}

/// One row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    pub(crate) id: i64,
    /// In microseconds.
    pub(crate) at: Option<i64>,
    /// In days.
    pub(crate) day: Option<i32>,
    pub(crate) flat: Option<i32>,
    pub(crate) wide: Option<f64>,
    pub(crate) opt: Option<i64>,
    pub(crate) score: Option<f32>,
    pub(crate) kind: Option<&'static str>,
    pub(crate) model: Option<&'static str>,
}

/// Makes rows; each has an id of its own.
#[derive(Debug, Clone)]
pub(crate) struct RowMaker {
    pub(crate) rng: SplitMix64,
    pub(crate) face: Face,
    pub(crate) next_id: i64,
    /// Whether there are NaN and infinities.
    pub(crate) is_odd: bool,
    /// Whether times are whole days, so that files can be kept apart by them.
    pub(crate) is_coarse: bool,
    /// Whether some texts are empty. As the value of a partition an empty text is written as one by some operations
    /// of delta-rs and as a null by others, compaction among them.
    pub(crate) has_empty: bool,
}

/// Values that need quoting in SQL, in URIs and in the names of folders; the last one not for every table.
const KINDS: [Option<&str>; 7] = [Some("a"), Some("b"), Some("c c"), Some("ü/%"), Some("it's=7"), None, Some("")];
const MODELS: [Option<&str>; 4] = [Some("m1"), Some("m2"), Some("m 3"), None];

impl RowMaker {
    /// Rows within some days, half open, of which a few have no time.
    pub(crate) fn rows(&mut self, count: u64, days: std::ops::Range<i64>) -> Vec<Row> {
        (0..count).map(|_| self.row(&days)).collect()
    }

    /// Rows without a time: a file of them has no least and greatest one.
    pub(crate) fn timeless(&mut self, count: u64) -> Vec<Row> {
        let rows = self.rows(count, 0..1);
        rows.into_iter().map(|row| Row { at: None, day: None, ..row }).collect()
    }

    /// One of the kinds, each as likely.
    pub(crate) fn kind(&self, rng: &mut SplitMix64) -> Option<&'static str> {
        KINDS[rng.index(KINDS.len() - usize::from(!self.has_empty))]
    }

    fn row(&mut self, days: &std::ops::Range<i64>) -> Row {
        let rng = &mut self.rng;
        let span = u64::try_from((days.end - days.start).max(1)).unwrap();
        let half_hours = i64::try_from(rng.below(span * 48)).unwrap();
        // Half hours are where windows begin, in all time zones that the monitors have.
        let within = match rng.below(8) {
            0 => 0,
            1 => 30 * MINUTE - 1,
            _ => i64::try_from(rng.below(30 * 60_000_000)).unwrap(),
        };
        let at = (!rng.chance(0.03)).then_some(days.start * DAY + half_hours * 30 * MINUTE + within);
        let at = if self.is_coarse { at.map(|at| at.div_euclid(DAY) * DAY) } else { at };
        let late = at.is_some_and(|at| at.rem_euclid(7 * DAY) > 4 * DAY);
        let wide = match rng.below(if self.is_odd { 40 } else { 1000 }) {
            0 if self.is_odd => f64::NAN,
            1 if self.is_odd => f64::INFINITY,
            2 if self.is_odd => f64::NEG_INFINITY,
            3 => -0.0,
            4 => 0.0,
            5 => 5e-324,
            _ => rng.normal() * 10.0 + if late { 3.0 } else { 0.0 },
        };
        let id = self.next_id;
        self.next_id += 1;
        let opt = |rng: &mut SplitMix64, rare: f64| !rng.chance(rare);
        Row {
            id,
            at,
            day: at.map(|at| i32::try_from(at.div_euclid(DAY)).unwrap()),
            flat: opt(rng, 0.02).then(|| i32::try_from(rng.below(if late { 3 } else { 5 })).unwrap()),
            wide: opt(rng, 0.05).then_some(wide),
            opt: opt(rng, 0.4).then(|| i64::try_from(rng.below(1000)).unwrap() - 500),
            #[expect(clippy::cast_possible_truncation, reason = "any float will do")]
            score: opt(rng, 0.1).then_some(rng.uniform() as f32),
            kind: KINDS[rng.weighted(&[8.0, 5.0, 3.0, 1.5, 1.0, 1.0, if self.has_empty { 0.3 } else { 0.0 }])],
            model: MODELS[rng.weighted(&[6.0, if late { 6.0 } else { 2.0 }, 1.0, 0.4])],
        }
    }

    /// The rows in the columns of the table.
    pub(crate) fn batch(&mut self, rows: &[Row]) -> RecordBatch {
        let times = rows.iter().map(|row| row.at);
        let at: ArrayRef = match self.face {
            Face::Instant => Arc::new(TimestampMicrosecondArray::from_iter(times).with_timezone("UTC")),
            Face::Wall => Arc::new(TimestampMicrosecondArray::from_iter(times)),
            Face::Text => Arc::new(times.map(|at| self.written(at)).collect::<StringArray>()),
        };
        let texts = |of: fn(&Row) -> Option<&'static str>| -> ArrayRef {
            Arc::new(rows.iter().map(of).collect::<StringArray>())
        };
        let columns: Vec<ArrayRef> = vec![
            Arc::new(rows.iter().map(|row| row.id).collect::<Int64Array>()),
            texts(|row| row.kind),
            Arc::new(rows.iter().map(|row| row.wide).collect::<Float64Array>()),
            at,
            Arc::new(rows.iter().map(|row| row.day).collect::<Date32Array>()),
            Arc::new(rows.iter().map(|row| row.flat).collect::<Int32Array>()),
            Arc::new(rows.iter().map(|row| row.opt).collect::<Int64Array>()),
            texts(|row| row.model),
            Arc::new(rows.iter().map(|row| row.score).collect::<Float32Array>()),
        ];
        RecordBatch::try_new(schema(self.face), columns).unwrap()
    }

    fn written(&mut self, at: Option<i64>) -> Option<String> {
        let Some(at) = at else { return self.rng.chance(0.5).then(|| "soon".to_owned()) };
        let form = |at: i64, form: &str| DateTime::from_timestamp_micros(at).unwrap().format(form).to_string();
        Some(match self.rng.below(8) {
            // One partition for each text is enough.
            _ if self.is_coarse => form(at, "%Y-%m-%d"),
            0 => form(at + 330 * MINUTE, "%Y-%m-%dT%H:%M:%S%.6f+05:30"),
            1 => form(at - 480 * MINUTE, "%Y-%m-%dT%H:%M:%S%.6f-08:00"),
            2 => form(at, "%Y-%m-%d %H:%M:%S%.6f"),
            3 => form(at, "%Y-%m-%d"),
            4 if self.rng.chance(0.1) => form(at, "%Y-13-%dT%H:%M"),
            _ => form(at, "%Y-%m-%dT%H:%M:%S%.6fZ"),
        })
    }
}

/// The columns that the table always has. The time is not the first of them, so that a table whose log has statistics
/// of the first columns only has none of it.
pub(crate) fn schema(face: Face) -> SchemaRef {
    let field = |name: &str, data_type| Field::new(name, data_type, true);
    Arc::new(Schema::new(vec![
        field("id", DataType::Int64),
        field("kind", DataType::Utf8),
        field("wide", DataType::Float64),
        field("at", face.data_type()),
        field("day", DataType::Date32),
        field("flat", DataType::Int32),
        field("opt", DataType::Int64),
        field("model", DataType::Utf8),
        field("score", DataType::Float32),
    ]))
}

/// The batch with a column more, whose values come from the ids.
pub(crate) fn with_extra(batch: &RecordBatch, data_type: &DataType) -> RecordBatch {
    let ids = batch.column_by_name("id").unwrap();
    let values = if *data_type == DataType::Boolean {
        arrow::compute::is_null(batch.column_by_name("opt").unwrap()).map(|flags| Arc::new(flags) as ArrayRef)
    } else {
        cast(ids, data_type)
    };
    let mut fields = batch.schema().fields().to_vec();
    fields.push(Arc::new(Field::new("extra", data_type.clone(), true)));
    let mut columns = batch.columns().to_vec();
    columns.push(values.unwrap());
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

/// All rows in one batch.
pub(crate) fn joined(batches: &[RecordBatch]) -> RecordBatch {
    concat_batches(&batches[0].schema(), batches).unwrap()
}
