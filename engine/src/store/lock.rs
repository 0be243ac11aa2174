//! An advisory lock: who holds it works, who waits saves work. Nothing is wrong without it.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use backon::{ConstantBuilder, Retryable};
use limno_sql::lake::{Access, Lake};

/// How long to wait for another process.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often to look.
const STEP: Duration = Duration::from_millis(50);

/// A lock on a file, held until it is dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct Lock {
    _file: Option<File>,
    is_contended: bool,
    has_waited: bool,
}

impl Lock {
    /// Waits a while for the lock on the file at `uri`. Where it cannot be had (the place is no disk, is not writable,
    /// knows no locks, or another process hangs), the work goes on without it.
    pub async fn acquire(lake: &Lake, uri: &str) -> Self {
        let none = Self { _file: None, is_contended: false, has_waited: false };
        let Ok(place) = lake.locate(uri, Access::Write).await else { return none };
        let Some(file) = place.on_disk().and_then(|path| open(&path)) else { return none };
        match file.try_lock() {
            Ok(()) => return Self { _file: Some(file), ..none },
            Err(std::fs::TryLockError::Error(_)) => return none,
            Err(std::fs::TryLockError::WouldBlock) => {}
        }
        let steps = PATIENCE.as_millis() / STEP.as_millis();
        let patience =
            ConstantBuilder::default().with_delay(STEP).with_max_times(usize::try_from(steps).unwrap_or(usize::MAX));
        let locked = (|| async { file.try_lock() })
            .retry(patience)
            .when(|error| matches!(error, std::fs::TryLockError::WouldBlock))
            .await;
        let is_contended = matches!(locked, Err(std::fs::TryLockError::WouldBlock));
        Self { _file: locked.is_ok().then_some(file), is_contended, has_waited: true }
    }

    /// Whether another process held the lock when it was asked for.
    #[must_use]
    pub const fn has_waited(&self) -> bool {
        self.has_waited
    }

    /// Whether another process holds the lock, and held it all the while.
    #[must_use]
    pub const fn is_contended(&self) -> bool {
        self.is_contended
    }
}

fn open(path: &Path) -> Option<File> {
    std::fs::create_dir_all(path.parent()?).ok()?;
    File::options().create(true).truncate(false).write(true).open(path).ok()
}
