//! A JSON text that is pulled value by value.
//!
//! Of what JSON leaves open, or Python does beyond it:
//!
//! | text | read as |
//! |---|---|
//! | `NaN`, `Infinity`, `-Infinity` | these doubles, as Python writes them and MLflow takes them |
//! | a lone surrogate (`"\ud800"`), a control character in a string, a comma at the end | no JSON: the whole text is refused |
//! | more than 200 levels | the whole text is refused |
//! | a key that comes twice | refused where it is read; keys that are not read may repeat |

use jiter::{Jiter, JiterError, Peek};

/// How many characters of a text at fault are shown.
const EXCERPT: usize = 200;

/// Why a text as a whole does not unpack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault(pub(super) String);

impl From<JiterError> for Fault {
    fn from(error: JiterError) -> Self {
        Self(format!("no valid JSON: {} at byte {}", error.error_type, error.index))
    }
}

pub(super) struct Json<'t> {
    text: &'t str,
    jiter: Jiter<'t>,
}

impl<'t> Json<'t> {
    /// Begins at the start of `text`. `tape` is memory from an earlier text.
    pub(super) fn new(text: &'t str, tape: Vec<u8>) -> Self {
        Self { text, jiter: Jiter::with_tape(text.as_bytes(), tape).with_allow_inf_nan() }
    }

    pub(super) fn into_tape(self) -> Vec<u8> {
        self.jiter.into_tape()
    }

    pub(super) fn peek(&mut self) -> Result<Peek, Fault> {
        Ok(self.jiter.peek()?)
    }

    /// Enters an array; `None` if it is empty.
    pub(super) fn array(&mut self) -> Result<Option<Peek>, Fault> {
        Ok(self.jiter.known_array()?)
    }

    /// The next item of an array.
    pub(super) fn item(&mut self) -> Result<Option<Peek>, Fault> {
        Ok(self.jiter.array_step()?)
    }

    /// Enters an object: its first key.
    pub(super) fn object(&mut self) -> Result<Option<&str>, Fault> {
        Ok(self.jiter.known_object()?)
    }

    /// The next key of an object.
    pub(super) fn key(&mut self) -> Result<Option<&str>, Fault> {
        Ok(self.jiter.next_key()?)
    }

    pub(super) fn null(&mut self) -> Result<(), Fault> {
        Ok(self.jiter.known_null()?)
    }

    pub(super) fn boolean(&mut self, peek: Peek) -> Result<bool, Fault> {
        Ok(self.jiter.known_bool(peek)?)
    }

    pub(super) fn string(&mut self) -> Result<&str, Fault> {
        Ok(self.jiter.known_str()?)
    }

    pub(super) fn double(&mut self, peek: Peek) -> Result<f64, Fault> {
        Ok(self.jiter.known_float(peek)?)
    }

    /// A whole number of 64 bits; `None`, and nothing read, if the number is none.
    pub(super) fn whole(&mut self, peek: Peek) -> Option<i64> {
        let jiter::NumberInt::Int(value) = self.jiter.known_int(peek).ok()?;
        Some(value)
    }

    /// Reads over a value and yields its text.
    pub(super) fn skip(&mut self, peek: Peek) -> Result<&'t str, Fault> {
        let start = self.jiter.current_index();
        self.jiter.known_skip(peek)?;
        Ok(self.text.get(start..self.jiter.current_index()).unwrap_or_default())
    }

    /// Where the value that was peeked at begins.
    pub(super) fn position(&self) -> usize {
        self.jiter.current_index()
    }

    /// What was read since `start`.
    pub(super) fn since(&self, start: usize) -> &'t str {
        self.text.get(start..self.jiter.current_index()).unwrap_or_default()
    }

    /// Nothing but white space may follow.
    pub(super) fn finish(&mut self) -> Result<(), Fault> {
        Ok(self.jiter.finish()?)
    }
}

/// The first characters of a text at fault.
pub(super) fn excerpt(text: &str) -> &str {
    text.char_indices().nth(EXCERPT).and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}

/// What a value is, in words.
pub(super) const fn describe(peek: Peek) -> &'static str {
    match peek {
        Peek::Null => "null",
        Peek::True | Peek::False => "a boolean",
        Peek::String => "text",
        Peek::Array => "a list",
        Peek::Object => "an object",
        _ => "a number",
    }
}

/// Writes a JSON text without the white space between its parts.
pub(super) fn compact(text: &str, out: &mut Vec<u8>) {
    let (mut in_string, mut is_escaped) = (false, false);
    for &byte in text.as_bytes() {
        if in_string {
            in_string = is_escaped || byte != b'"';
            is_escaped = !is_escaped && byte == b'\\';
        } else if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
            continue;
        } else {
            in_string = byte == b'"';
        }
        out.push(byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_goes_but_not_within_strings() {
        for (text, expected) in [
            (
                "{ \"a b\" : [1 , 2.50],\n\"c\": \"x \\\" y\\\\\" , \"d\":\tnull}",
                r#"{"a b":[1,2.50],"c":"x \" y\\","d":null}"#,
            ),
            (" 7 ", "7"),
            ("[]", "[]"),
        ] {
            let mut out = Vec::new();
            compact(text, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn excerpts_are_cut_between_characters() {
        assert_eq!(excerpt("short"), "short");
        let long = "ä".repeat(300);
        assert_eq!(excerpt(&long).chars().count(), 200);
    }
}
