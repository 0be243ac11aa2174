//! Spark's patterns of dates and times, as `yyyy-MM-dd HH:mm:ss`, in the form that DataFusion takes: `%Y-%m-%d %H:%M:%S`.

use datafusion::common::plan_err;
use datafusion::error::Result;

/// Letters in a row and what they stand for; the longest first.
const FIELDS: &[(&str, &str)] = &[
    ("yyyy", "%Y"),
    ("SSSSSS", "%6f"),
    ("MMMM", "%B"),
    ("EEEE", "%A"),
    ("SSS", "%3f"),
    ("MMM", "%b"),
    ("EEE", "%a"),
    ("DDD", "%j"),
    ("yy", "%y"),
    ("MM", "%m"),
    ("dd", "%d"),
    ("HH", "%H"),
    ("hh", "%I"),
    ("mm", "%M"),
    ("ss", "%S"),
    ("M", "%-m"),
    ("d", "%-d"),
    ("H", "%-H"),
    ("E", "%a"),
    ("a", "%p"),
    ("y", "%Y"),
];

/// The pattern with `%` fields.
///
/// # Errors
/// For letters that have none.
pub(super) fn translate(pattern: &str) -> Result<String> {
    let mut translated = String::new();
    let mut rest = pattern;
    while let Some(first) = rest.chars().next() {
        if let Some(quoted) = rest.strip_prefix('\'') {
            let Some((text, after)) = quoted.split_once('\'') else {
                return plan_err!("the quote in the pattern {pattern:?} does not end");
            };
            translated.push_str(&if text.is_empty() { "'".to_owned() } else { text.replace('%', "%%") });
            rest = after;
        } else if first.is_ascii_alphabetic() {
            let run = rest.len() - rest.trim_start_matches(first).len();
            let Some((_, field)) = FIELDS.iter().find(|(letters, _)| *letters == &rest[..run]) else {
                return plan_err!("{:?} in the pattern {pattern:?} is not known", &rest[..run]);
            };
            translated.push_str(field);
            rest = &rest[run..];
        } else {
            translated.push_str(if first == '%' { "%%" } else { &rest[..first.len_utf8()] });
            rest = &rest[first.len_utf8()..];
        }
    }
    Ok(translated)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_told_apart_by_their_length() {
        for (spark, ours) in [
            ("yyyy-MM-dd", "%Y-%m-%d"),
            ("yyyy-MM-dd'T'HH:mm:ss.SSS", "%Y-%m-%dT%H:%M:%S.%3f"),
            ("d. MMMM yy", "%-d. %B %y"),
            ("''E'' 100%", "'%a' 100%%"),
            ("", ""),
        ] {
            assert_eq!(translate(spark).unwrap(), ours);
        }
        for (spark, refused) in [("YYYY", "\"YYYY\""), ("yyyyy", "\"yyyyy\""), ("HH 'h", "does not end")] {
            let error = translate(spark).unwrap_err().to_string();
            assert!(error.contains(refused), "{error}");
        }
    }
}
