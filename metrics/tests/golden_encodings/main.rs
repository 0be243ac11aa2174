//! Encoded states that were committed: what this build reads and writes, to the bit.
//!
//! Each folder holds the files of one encoding version. Those of this build's version decode to the states of
//! `states.rs`, and these encode to the files; those of an older one are refused with its name.
//! `just golden-encodings` writes the folder of this version; older ones stay as they are.
#![cfg(test)]

mod states;

use std::path::{Path, PathBuf};
use std::sync::Once;

use limno_metrics::column::ColumnState;
use limno_metrics::quality::QualityState;
use limno_metrics::state::codec::{self, VERSION};
use limno_metrics::{ErrorKind, Result};

/// Set to write the files instead of comparing with them.
const WRITE: &str = "LIMNO_WRITE_GOLDEN_ENCODINGS";
/// All files of a version together.
const MOST_BYTES: usize = 64 << 10;

/// What a file holds, by the first byte of its payload.
enum State {
    Column(ColumnState),
    Quality(QualityState),
}

impl State {
    fn decode(bytes: &[u8]) -> Result<Self> {
        if codec::open(bytes).is_ok_and(|payload| QualityState::is_payload(&payload)) {
            return QualityState::decode(bytes).map(Self::Quality);
        }
        ColumnState::decode(bytes).map(Self::Column)
    }

    fn encode(&self) -> Vec<u8> {
        match self {
            Self::Column(state) => state.encode(),
            Self::Quality(state) => state.encode(),
        }
    }

    /// Its kind and all its numbers.
    fn answers(self) -> String {
        match self {
            Self::Column(state) => format!("{} {:?}", state.kind(), state.freeze().profile()),
            Self::Quality(state) => format!("{:?} {:?}", state.options(), state.quality()),
        }
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden_encodings")
}

/// Files by name.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<(String, Vec<u8>)> = entries
        .map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), std::fs::read(&path).unwrap()))
        .collect();
    files.sort_unstable();
    files
}

/// What the files hold, in the same order.
fn states() -> Vec<(&'static str, State)> {
    let columns = states::all().into_iter().map(|(name, state)| (name, State::Column(state)));
    let models = states::models().into_iter().map(|(name, state)| (name, State::Quality(state)));
    let mut states: Vec<(&'static str, State)> = columns.chain(models).collect();
    states.sort_unstable_by_key(|&(name, _)| name);
    states
}

fn golden() -> Vec<(String, Vec<u8>)> {
    let folder = folder().join(format!("v{VERSION}"));
    // Once, and before any test reads: they run side by side.
    static WRITTEN: Once = Once::new();
    WRITTEN.call_once(|| {
        if std::env::var_os(WRITE).is_some() {
            std::fs::create_dir_all(&folder).unwrap();
            for (name, state) in states() {
                std::fs::write(folder.join(name).with_extension("state"), state.encode()).unwrap();
            }
        }
    });
    files(&folder)
}

/// The promise, whatever zstd is linked: a file of this version is read, and is the state that it was made from.
///
/// If this fails, the layout has changed: raise `VERSION` and write a new folder.
#[test]
fn files_decode_to_the_states_that_they_were_made_from() {
    let golden = golden();
    let states = states();
    let names: Vec<&str> = golden.iter().map(|(name, _)| &name[..]).collect();
    assert_eq!(names, states.iter().map(|&(name, _)| name).collect::<Vec<_>>());
    for ((name, file), (_, built)) in golden.iter().zip(states) {
        let decoded = State::decode(file).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(decoded.encode() == built.encode(), "{name}: decodes to another state");
        assert_eq!(decoded.answers(), built.answers(), "{name}");
    }
    let total: usize = golden.iter().map(|(_, file)| file.len()).sum();
    assert!(total < MOST_BYTES, "{total} bytes");
}

/// The bytes themselves. They hold as long as the compressor is the same: `Cargo.lock` pins zstd, whose output its
/// makers promise for one version only.
///
/// If only this fails, and zstd was raised, write the files anew; the version stays, for old files are still read.
#[test]
fn states_encode_to_the_bytes_of_the_files() {
    for ((name, file), (_, state)) in golden().iter().zip(states()) {
        let bytes = state.encode();
        let at = bytes.iter().zip(file).position(|(ours, theirs)| ours != theirs);
        assert!(bytes == *file, "{name}: differs at {at:?}, lengths {} and {}", bytes.len(), file.len());
    }
}

/// No build guesses at what another version wrote, also an older one.
#[test]
fn other_versions_are_refused_by_name() {
    let assert_refused = |file: &[u8], version: u8, name: &str| {
        for error in [ColumnState::decode(file).unwrap_err(), QualityState::decode(file).unwrap_err()] {
            assert_eq!(error.kind(), ErrorKind::InvalidData, "{name}");
            assert!(error.to_string().contains(&format!("encoding version {version},")), "{name}: {error}");
        }
    };
    for (name, file) in golden() {
        for version in (0..=u8::MAX).filter(|&version| version != VERSION) {
            let mut other = file.clone();
            other[2] = version;
            assert_refused(&other, version, &name);
        }
    }
    for version in (0..=u8::MAX).filter(|&version| version != VERSION) {
        let folder = folder().join(format!("v{version}"));
        if folder.is_dir() {
            files(&folder).iter().for_each(|(name, file)| assert_refused(file, version, name));
        }
    }
}

/// Neither sort of state takes the other's bytes for its own.
#[test]
fn columns_and_models_are_told_apart() {
    for (name, file) in golden() {
        let is_column = ColumnState::decode(&file).is_ok();
        assert_ne!(is_column, QualityState::decode(&file).is_ok(), "{name}");
        assert_eq!(is_column, !QualityState::is_payload(&codec::open(&file).unwrap()), "{name}");
    }
}
