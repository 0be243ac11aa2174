//! How the parts of a message are written as JSON: objects with names instead of tuples, and one
//! spelling for each enum.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::config::Condition;

type Window = (DateTime<Utc>, DateTime<Utc>);

/// A half-open stretch of time.
#[derive(Serialize, Deserialize)]
struct Span {
    start: DateTime<Utc>,
    end: DateTime<Utc>,
}

pub(super) mod text {
    //! As the value's own text: severities, drift types, time zones.
    use std::{fmt::Display, str::FromStr};

    use serde::de::Error;

    use super::{Deserialize, Deserializer, Serializer};

    pub(in crate::alert) fn serialize<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(in crate::alert) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

pub(super) mod condition {
    //! As in the configuration: `{"above": 0.2}`, `{"outside": [0, 1]}`.
    use super::{Condition, Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Wire {
        Above(f64),
        Below(f64),
        Outside(f64, f64),
        ChangeAbove(f64),
    }

    pub(in crate::alert) fn serialize<S: Serializer>(condition: &Condition, serializer: S) -> Result<S::Ok, S::Error> {
        match *condition {
            Condition::Above(limit) => Wire::Above(limit),
            Condition::Below(limit) => Wire::Below(limit),
            Condition::Outside(low, high) => Wire::Outside(low, high),
            Condition::ChangeAbove(limit) => Wire::ChangeAbove(limit),
        }
        .serialize(serializer)
    }

    pub(in crate::alert) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Condition, D::Error> {
        Ok(match Wire::deserialize(deserializer)? {
            Wire::Above(limit) => Condition::Above(limit),
            Wire::Below(limit) => Condition::Below(limit),
            Wire::Outside(low, high) => Condition::Outside(low, high),
            Wire::ChangeAbove(limit) => Condition::ChangeAbove(limit),
        })
    }
}

pub(super) mod window {
    //! As `{"start": …, "end": …}`.
    use super::{Deserialize, Deserializer, Serialize, Serializer, Span, Window};

    pub(in crate::alert) fn serialize<S: Serializer>(&(start, end): &Window, serializer: S) -> Result<S::Ok, S::Error> {
        Span { start, end }.serialize(serializer)
    }

    pub(in crate::alert) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Window, D::Error> {
        Span::deserialize(deserializer).map(|span| (span.start, span.end))
    }
}

pub(super) mod optional_window {
    //! As [`super::window`], or null.
    use super::{Deserialize, Deserializer, Serialize, Serializer, Span, Window};

    pub(in crate::alert) fn serialize<S: Serializer>(
        window: &Option<Window>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        window.map(|(start, end)| Span { start, end }).serialize(serializer)
    }

    pub(in crate::alert) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Window>, D::Error> {
        Ok(Option::<Span>::deserialize(deserializer)?.map(|span| (span.start, span.end)))
    }
}

pub(crate) mod number {
    //! As a number; infinities and NaN, which JSON lacks, as the words `inf`, `-inf`, `NaN`.
    use serde::de::Error;

    use super::{Deserialize, Deserializer, Serializer};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Wire {
        Number(f64),
        Word(String),
    }

    pub(crate) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        if value.is_finite() { serializer.serialize_f64(*value) } else { serializer.collect_str(value) }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        match Wire::deserialize(deserializer)? {
            Wire::Number(value) => Ok(value),
            Wire::Word(word) => word.parse().map_err(D::Error::custom),
        }
    }
}

/// Writes a list of tuples as a list of objects with the given names.
macro_rules! named_list {
    ($(#[$doc:meta])* $module:ident, ($($field:ident: $type:ty),+)) => {
        $(#[$doc])*
        pub(super) mod $module {
            use serde::{Deserialize, Deserializer, Serialize, Serializer};

            #[derive(Serialize, Deserialize)]
            struct Item { $($field: $type),+ }

            pub(crate) fn serialize<S: Serializer>(
                items: &[($($type,)+)],
                serializer: S,
            ) -> Result<S::Ok, S::Error> {
                serializer.collect_seq(items.iter().cloned().map(|($($field,)+)| Item { $($field),+ }))
            }

            pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
                deserializer: D,
            ) -> Result<Vec<($($type,)+)>, D::Error> {
                let items = Vec::<Item>::deserialize(deserializer)?;
                Ok(items.into_iter().map(|item| ($(item.$field,)+)).collect())
            }
        }
    };
}

named_list!(
    /// As `[{"name": …, "uri": …}]`.
    metric_tables,
    (name: String, uri: String)
);
named_list!(
    /// As `[{"statistic": …, "before": …, "now": …}]`.
    before_after,
    (statistic: String, before: Option<f64>, now: Option<f64>)
);

pub(super) mod slice {
    //! As `{"key": …, "value": …}`, or null.
    use super::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Wire {
        key: String,
        value: String,
    }

    pub(in crate::alert) fn serialize<S: Serializer>(
        slice: &Option<(String, String)>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        slice.clone().map(|(key, value)| Wire { key, value }).serialize(serializer)
    }

    pub(in crate::alert) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<(String, String)>, D::Error> {
        Ok(Option::<Wire>::deserialize(deserializer)?.map(|wire| (wire.key, wire.value)))
    }
}
