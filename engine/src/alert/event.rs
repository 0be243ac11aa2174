//! Rows of the table `alerts`: what was found, what was to be sent, what was sent.
//!
//! The table is a log. A breach is one row, found once; every message and every call is a row when it is put into the
//! outbox and another when its fate is known. What is pending is what has no later row.

use std::sync::{Arc, LazyLock};

use arrow::array::{
    ArrayRef, AsArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray, StructArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimestampMicrosecondType};
use chrono::{DateTime, Utc};
use limno_metrics::schema::{timestamp, window_fields};
use limno_sql::secret::redact;

use super::{AlertMessage, Breach};
use crate::trigger::TriggerRequest;
use crate::{Error, Result};

/// What a row is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A rule was broken.
    Breach,
    /// A message to a notifier.
    Notification,
    /// A call of a trigger.
    Trigger,
}

/// How it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// A breach in the newest complete window.
    New,
    /// A breach in an older window: recorded, never told.
    Historical,
    /// In the outbox.
    Pending,
    /// Delivered.
    Delivered,
    /// Tried in vain; it stays in the outbox.
    Failed,
    /// Not sent and never will be: the trigger is cooling down, or the environment sends nothing.
    Suppressed,
    /// Given up: no run could ever deliver it.
    Abandoned,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Breach => "breach",
            Self::Notification => "notification",
            Self::Trigger => "trigger",
        }
    }
}

impl Status {
    const fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Historical => "historical",
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::Suppressed => "suppressed",
            Self::Abandoned => "abandoned",
        }
    }
}

/// One row to write.
#[derive(Debug, Clone)]
pub struct Event {
    /// The monitor.
    pub monitor: String,
    /// The breach's, the message's or the call's id.
    pub alert_id: String,
    /// What the row is about.
    pub kind: Kind,
    /// How it stands.
    pub status: Status,
    /// When the row was written, in microseconds.
    pub recorded_at: i64,
    /// The notifier or trigger.
    pub target: Option<String>,
    /// What is to be sent, as JSON; holds no secret.
    pub payload: Option<String>,
    /// The answer, or why there was none.
    pub detail: Option<String>,
    /// The breach.
    pub breach: Option<Breach>,
}

impl Event {
    /// A breach as it was found.
    #[must_use]
    pub fn breach(monitor: &str, breach: Breach, is_newest: bool, now: DateTime<Utc>) -> Self {
        let status = if is_newest { Status::New } else { Status::Historical };
        let alert_id = breach.alert_id.clone();
        Self { breach: Some(breach), ..Self::new(monitor, &alert_id, Kind::Breach, status, now) }
    }

    /// A row without details.
    #[must_use]
    pub fn new(monitor: &str, alert_id: &str, kind: Kind, status: Status, now: DateTime<Utc>) -> Self {
        Self {
            monitor: monitor.to_owned(),
            alert_id: alert_id.to_owned(),
            kind,
            status,
            recorded_at: now.timestamp_micros(),
            target: None,
            payload: None,
            detail: None,
            breach: None,
        }
    }
}

/// The schema of the table.
pub static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let string = |name: &str| Field::new(name, DataType::Utf8, true);
    let double = |name: &str| Field::new(name, DataType::Float64, true);
    let bigint = |name: &str| Field::new(name, DataType::Int64, true);
    Arc::new(Schema::new(vec![
        string("monitor"),
        string("alert_id"),
        string("kind"),
        string("status"),
        Field::new("recorded_at", timestamp(), true),
        string("rule"),
        string("severity"),
        string("metric"),
        string("condition"),
        string("drift_type"),
        string("column_name"),
        string("slice_key"),
        string("slice_value"),
        string("model_id"),
        string("granularity"),
        Field::new("window", DataType::Struct(window_fields()), true),
        double("value"),
        double("error"),
        Field::new("breached", DataType::Int32, true),
        Field::new("looked_at", DataType::Int32, true),
        bigint("count"),
        bigint("count_cmp"),
        string("target"),
        string("detail"),
        string("payload"),
    ]))
});

/// The rows as a batch of [`SCHEMA`].
///
/// # Errors
/// When the batch does not fit the schema, which would be a defect.
pub fn to_batch(events: &[Event]) -> Result<RecordBatch> {
    let columns = SCHEMA.fields().iter().map(|field| column(field.name(), events)).collect();
    Ok(RecordBatch::try_new(Arc::clone(&SCHEMA), columns)?)
}

fn column(name: &str, events: &[Event]) -> ArrayRef {
    let string = |of: &dyn Fn(&Event) -> Option<String>| -> ArrayRef {
        Arc::new(events.iter().map(of).collect::<StringArray>())
    };
    let told = |of: &dyn Fn(&Breach) -> Option<String>| string(&|event| event.breach.as_ref().and_then(of));
    let double = |of: &dyn Fn(&Breach) -> Option<f64>| -> ArrayRef {
        Arc::new(events.iter().map(|event| event.breach.as_ref().and_then(of)).collect::<Float64Array>())
    };
    let bigint = |of: &dyn Fn(&Breach) -> Option<i64>| -> ArrayRef {
        Arc::new(events.iter().map(|event| event.breach.as_ref().and_then(of)).collect::<Int64Array>())
    };
    let int = |of: &dyn Fn(&Breach) -> u32| -> ArrayRef {
        let value = |event: &Event| event.breach.as_ref().and_then(|breach| i32::try_from(of(breach)).ok());
        Arc::new(events.iter().map(value).collect::<Int32Array>())
    };
    match name {
        "monitor" => string(&|event| Some(event.monitor.clone())),
        "alert_id" => string(&|event| Some(event.alert_id.clone())),
        "kind" => string(&|event| Some(event.kind.name().to_owned())),
        "status" => string(&|event| Some(event.status.name().to_owned())),
        "recorded_at" => {
            let times = events.iter().map(|event| Some(event.recorded_at));
            Arc::new(times.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
        }
        "rule" => told(&|breach| Some(breach.rule.clone())),
        "severity" => told(&|breach| Some(breach.severity.to_string())),
        "metric" => told(&|breach| Some(breach.metric.clone())),
        "condition" => told(&|breach| Some(breach.condition.to_string())),
        "drift_type" => told(&|breach| Some(breach.against.to_string())),
        "column_name" => told(&|breach| Some(breach.column.clone())),
        "slice_key" => told(&|breach| breach.slice.as_ref().map(|slice| slice.0.clone())),
        "slice_value" => told(&|breach| breach.slice.as_ref().map(|slice| slice.1.clone())),
        "model_id" => told(&|breach| breach.model_id.clone()),
        "granularity" => told(&|breach| Some(breach.granularity.clone())),
        "window" => windows(events),
        "value" => double(&|breach| Some(breach.value)),
        "error" => double(&|breach| breach.error),
        "breached" => int(&|breach| breach.breached),
        "looked_at" => int(&|breach| breach.looked_at),
        "count" => bigint(&|breach| Some(breach.count)),
        "count_cmp" => bigint(&|breach| breach.count_before),
        "target" => string(&|event| event.target.clone()),
        "detail" => string(&|event| event.detail.as_deref().map(|detail| redact(detail).into_owned())),
        _ => string(&|event| event.payload.clone()),
    }
}

fn windows(events: &[Event]) -> ArrayRef {
    let ends = |pick: fn(&Breach) -> DateTime<Utc>| -> ArrayRef {
        let times = events.iter().map(|event| event.breach.as_ref().map(|breach| pick(breach).timestamp_micros()));
        Arc::new(times.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
    };
    let present = events.iter().map(|event| event.breach.is_some()).collect();
    Arc::new(StructArray::new(
        window_fields(),
        vec![ends(|breach| breach.window.0), ends(|breach| breach.window.1)],
        Some(present),
    ))
}

/// What the log says of one monitor.
#[derive(Debug, Clone, Default)]
pub struct Log {
    /// Ids of all breaches found so far.
    pub breaches: std::collections::HashSet<String>,
    /// Messages and calls whose fate is not yet known, in the order of their putting in.
    pub pending: Vec<Pending>,
    /// When each trigger was last called with success, in microseconds.
    pub last_calls: std::collections::HashMap<String, i64>,
    /// Ids of all calls that were ever put into the outbox or suppressed.
    pub calls: std::collections::HashSet<String>,
}

/// One thing to send.
#[derive(Debug, Clone)]
pub struct Pending {
    /// Its id.
    pub alert_id: String,
    /// The notifier or trigger.
    pub target: String,
    /// What.
    pub what: Outgoing,
}

/// What is to be sent.
#[derive(Debug, Clone)]
pub enum Outgoing {
    /// A message.
    Message(Box<AlertMessage>),
    /// A call.
    Call(Box<TriggerRequest>),
    /// Something that another version wrote and this one cannot read.
    Unreadable {
        /// Whether it was a call.
        is_call: bool,
        /// What is wrong with it.
        why: String,
    },
}

impl Pending {
    /// Whether it is a call of a trigger, not a message.
    #[must_use]
    pub const fn is_call(&self) -> bool {
        matches!(self.what, Outgoing::Call(_) | Outgoing::Unreadable { is_call: true, .. })
    }
}

impl Log {
    /// Reads the rows of `monitor`.
    ///
    /// # Errors
    /// When the table is not of this shape.
    pub fn read(batch: &RecordBatch, monitor: &str) -> Result<Self> {
        let text = |name: &str| -> Result<StringArray> {
            let values = batch.column_by_name(name).ok_or_else(|| unreadable(name))?;
            Ok(arrow::compute::cast(values, &DataType::Utf8)?.as_string::<i32>().clone())
        };
        let (monitors, ids, kinds, statuses) = (text("monitor")?, text("alert_id")?, text("kind")?, text("status")?);
        let (targets, payloads) = (text("target")?, text("payload")?);
        let times = batch.column_by_name("recorded_at").ok_or_else(|| unreadable("recorded_at"))?;
        let times = arrow::compute::cast(times, &timestamp())?;
        let times = times.as_primitive::<TimestampMicrosecondType>();
        let mut log = Self::default();
        let mut settled = std::collections::HashSet::new();
        let mut queued = Vec::new();
        for row in 0..batch.num_rows() {
            if kinds.value(row) == "trigger" && statuses.value(row) == "delivered" {
                // A trigger cools down whichever monitor called it.
                let last = log.last_calls.entry(targets.value(row).to_owned()).or_insert(i64::MIN);
                *last = times.value(row).max(*last);
            }
            if monitors.value(row) != monitor {
                continue;
            }
            let (id, target) = (ids.value(row).to_owned(), targets.value(row).to_owned());
            match (kinds.value(row), statuses.value(row)) {
                ("breach", _) => {
                    log.breaches.insert(id);
                }
                (kind, status @ ("pending" | "suppressed" | "delivered" | "abandoned")) => {
                    if kind == "trigger" {
                        log.calls.insert(id.clone());
                    }
                    match status {
                        "pending" => queued.push((times.value(row), id, target, kind.to_owned(), payloads.value(row))),
                        _ => {
                            settled.insert((id, target));
                        }
                    }
                }
                _ => {}
            }
        }
        queued.sort();
        for (_, alert_id, target, kind, payload) in queued {
            if settled.contains(&(alert_id.clone(), target.clone())) {
                continue;
            }
            let read = if kind == "trigger" {
                serde_json::from_str(payload).map(|call| Outgoing::Call(Box::new(call)))
            } else {
                serde_json::from_str(payload).map(|message| Outgoing::Message(Box::new(message)))
            };
            let is_call = kind == "trigger";
            let what = read.unwrap_or_else(|error| Outgoing::Unreadable { is_call, why: error.to_string() });
            log.pending.push(Pending { alert_id, target, what });
        }
        Ok(log)
    }
}

fn unreadable(name: &str) -> Error {
    Error::Usage { message: format!("the table of alerts has no column {name}: it was not written by limno") }
}
