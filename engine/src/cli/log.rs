//! Where logs go: to standard error, without any secret.

use std::io::{self, IsTerminal, Write};

use limno_sql::secret::redact;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Sets up logs for those who ask: `RUST_LOG=limno_engine=info`. At any level, of any library, secrets are struck out.
pub(super) fn init() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("off"));
    // In files, colours stand between the name of a field and its value, where neither people nor searches expect them.
    let is_coloured = io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(is_coloured).with_writer(Redacting(io::stderr)).init();
}

/// Makes writers that strike out secrets on their way to those of another maker.
struct Redacting<M>(M);

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for Redacting<M> {
    type Writer = RedactingWriter<M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        RedactingWriter { inner: self.0.make_writer(), text: Vec::new() }
    }
}

/// Keeps what is written until it is dropped, as one event is: a secret could lie across two writes.
struct RedactingWriter<W: Write> {
    inner: W,
    text: Vec<u8>,
}

impl<W: Write> Write for RedactingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<W: Write> Drop for RedactingWriter<W> {
    fn drop(&mut self) {
        let text = String::from_utf8_lossy(&self.text);
        // Nobody could be told that a log cannot be written.
        drop(self.inner.write_all(redact(&text).as_bytes()));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use limno_sql::secret::Secret;

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_secret_that_lies_across_writes_is_struck_out() {
        let _secret = Secret::new("across-two-writes");
        let kept = Kept::default();
        let maker = kept.clone();
        let redacting = Redacting(move || maker.clone());
        let mut writer = redacting.make_writer();
        for part in ["key across-", "two-writes is", " wrong\n"] {
            writer.write_all(part.as_bytes()).unwrap();
        }
        drop(writer);
        assert_eq!(String::from_utf8(kept.0.lock().unwrap().clone()).unwrap(), "key *** is wrong\n");
    }
}
