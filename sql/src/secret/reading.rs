//! Ways to read a text: what a URL, a JSON document, a debug output or a web page say in other characters than they mean.
//!
//! A secret that holds `/` stands in a URL as `%2F` or `%2f` or as it is, as its writer likes; in JSON perhaps as `\/`,
//! in HTML as `&#x2f;`. Instead of guessing all spellings, the text is read as its reader would, and what is found in
//! the reading is found in the text.

use std::ops::Range;

/// What stands for another character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Escape {
    /// `%2F`, of URLs.
    Percent,
    /// `\n`, `\"`, `\u002f`, `\u{2f}`, `\x2f`: of JSON and of Rust.
    Backslash,
    /// `&amp;`, `&#47;`, `&#x2f;`: of HTML and XML.
    Entity,
}

/// A text as it is read, and where each byte of it came from.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    bytes: Vec<u8>,
    /// For each byte, and for the end, the byte of the text where it began.
    from: Vec<usize>,
}

impl Reading {
    /// All readings of a text that are not the text itself; escapes may be escaped `depth` times.
    pub(super) fn all_of(text: &str, depth: usize) -> Vec<Self> {
        let mut readings = Vec::new();
        let mut latest: Vec<Self> =
            Escape::ALL.into_iter().filter_map(|escape| escape.undo(text.as_bytes(), |at| at)).collect();
        for _ in 1..depth {
            let again = |reading: &Self| {
                let undo = |escape: Escape| escape.undo(&reading.bytes, |at| reading.from[at]);
                Escape::ALL.into_iter().filter_map(undo).collect::<Vec<_>>()
            };
            let next = latest.iter().flat_map(again).collect();
            readings.append(&mut latest);
            latest = next;
        }
        readings.append(&mut latest);
        readings
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes of the text that some bytes of the reading came from.
    pub(super) fn origin(&self, range: Range<usize>) -> Range<usize> {
        self.from[range.start]..self.from[range.end]
    }
}

/// What an escape stands for, and how many bytes it takes.
type Undone = (Plain, usize);

enum Plain {
    Byte(u8),
    Char(char),
}

impl Escape {
    const ALL: [Self; 3] = [Self::Percent, Self::Backslash, Self::Entity];

    const fn marker(self) -> u8 {
        match self {
            Self::Percent => b'%',
            Self::Backslash => b'\\',
            Self::Entity => b'&',
        }
    }

    /// The text without these escapes; nothing if there is none.
    fn undo(self, text: &[u8], origin: impl Fn(usize) -> usize) -> Option<Reading> {
        let first = text.iter().position(|byte| *byte == self.marker())?;
        let (mut bytes, mut from) = (Vec::with_capacity(text.len()), Vec::with_capacity(text.len() + 1));
        bytes.extend_from_slice(&text[..first]);
        from.extend((0..first).map(&origin));
        let (mut at, mut is_other) = (first, false);
        while at < text.len() {
            match (text[at] == self.marker()).then(|| self.at(&text[at..])).flatten() {
                Some((plain, length)) => {
                    let mut buffer = [0; 4];
                    let plain = match plain {
                        Plain::Byte(byte) => {
                            buffer[0] = byte;
                            &buffer[..1]
                        }
                        Plain::Char(char) => char.encode_utf8(&mut buffer).as_bytes(),
                    };
                    bytes.extend_from_slice(plain);
                    from.extend(plain.iter().map(|_| origin(at)));
                    at += length;
                    is_other = true;
                }
                None => {
                    bytes.push(text[at]);
                    from.push(origin(at));
                    at += 1;
                }
            }
        }
        from.push(origin(text.len()));
        is_other.then_some(Reading { bytes, from })
    }

    /// What begins here, at a marker.
    fn at(self, text: &[u8]) -> Option<Undone> {
        match self {
            Self::Percent => Some((Plain::Byte(byte_of(text.get(1..3)?)?), 3)),
            Self::Backslash => after_backslash(text),
            Self::Entity => entity(text),
        }
    }
}

fn byte_of(digits: &[u8]) -> Option<u8> {
    u8::try_from(number(digits, 16)?).ok()
}

/// A number that consists of digits alone.
fn number(digits: &[u8], radix: u32) -> Option<u32> {
    let is_plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_alphanumeric);
    u32::from_str_radix(std::str::from_utf8(digits).ok().filter(|_| is_plain)?, radix).ok()
}

fn after_backslash(text: &[u8]) -> Option<Undone> {
    let plain = match text.get(1)? {
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'0' => '\0',
        same @ (b'\\' | b'/' | b'"' | b'\'') => char::from(*same),
        b'x' => return Some((Plain::Byte(byte_of(text.get(2..4)?)?), 4)),
        b'u' if text.get(2) == Some(&b'{') => {
            let length = text.iter().take(12).position(|byte| *byte == b'}')?;
            return Some((Plain::Char(char::from_u32(number(&text[3..length], 16)?)?), length + 1));
        }
        b'u' => return utf16(text),
        _ => return None,
    };
    Some((Plain::Char(plain), 2))
}

/// One or two of the `\uXXXX` of JSON.
fn utf16(text: &[u8]) -> Option<Undone> {
    let unit = |at: usize| {
        let digits = text.get(at..at + 6)?.strip_prefix(b"\\u")?;
        u16::try_from(number(digits, 16)?).ok()
    };
    let first = unit(0)?;
    if let Some(char) = char::from_u32(first.into()) {
        return Some((Plain::Char(char), 6));
    }
    let char = char::decode_utf16([first, unit(6)?]).next()?.ok()?;
    Some((Plain::Char(char), 12))
}

fn entity(text: &[u8]) -> Option<Undone> {
    let length = text.iter().take(12).position(|byte| *byte == b';')?;
    let plain = match &text[1..length] {
        b"amp" => '&',
        b"lt" => '<',
        b"gt" => '>',
        b"quot" => '"',
        b"apos" => '\'',
        [b'#', b'x' | b'X', digits @ ..] => char::from_u32(number(digits, 16)?)?,
        [b'#', digits @ ..] => char::from_u32(number(digits, 10)?)?,
        _ => return None,
    };
    Some((Plain::Char(plain), length + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readings(text: &str) -> Vec<String> {
        let all = Reading::all_of(text, 2);
        all.iter().map(|reading| String::from_utf8(reading.bytes.clone()).unwrap()).collect()
    }

    #[test]
    fn a_text_is_read_as_its_reader_reads_it() {
        for (text, read) in [
            ("a%2Fb%2fc", "a/b/c"),
            ("%C3%A9", "é"),
            (r#"\"a\\b\/c\n\u002f\u{e9}\x2f\u00e9"#, "\"a\\b/c\n/é/é"),
            (r"\ud83d\ude00", "😀"),
            ("&amp;&lt;&#47;&#x2F;&quot;", "&<//\""),
        ] {
            assert_eq!(readings(text)[0], read, "{text}");
        }
    }

    #[test]
    fn what_is_escaped_twice_is_read_twice() {
        assert_eq!(readings("%252F"), ["%2F", "/"]);
        assert_eq!(readings(r"\\\/"), [r"\/", "/"]);
        assert_eq!(readings("&amp;#x2f;"), ["&#x2f;", "/"]);
        assert!(readings("%5Cu002f").contains(&"/".to_owned()));
    }

    #[test]
    fn what_is_no_escape_stays_and_costs_nothing() {
        for text in ["", "plain", "100 %", "%zz%4", "\\", r"\q \u12 \u{zz \ud83d", "a & b &x; &#; &#xd800;"] {
            assert!(Reading::all_of(text, 2).is_empty(), "{text}");
        }
    }

    #[test]
    fn every_byte_knows_where_it_came_from() {
        let readings = Reading::all_of("é%2Fx%252Fé", 2);
        assert_eq!(readings[0].bytes(), "é/x%2Fé".as_bytes());
        assert_eq!(readings[0].origin(2..3), 2..5);
        assert_eq!(readings[0].origin(3..4), 5..6);
        assert_eq!(readings[1].bytes(), "é/x/é".as_bytes());
        assert_eq!(readings[1].origin(4..5), 6..11);
        assert_eq!(readings[1].origin(5..7), 11..13);
    }
}
