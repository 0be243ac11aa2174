//! What a refresh says while it runs: a spinner on a terminal, structured events elsewhere.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Tells a person how far a run is.
#[derive(Debug, Clone)]
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Draws on the terminal behind standard error, if there is one.
    #[must_use]
    pub fn on_terminal() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
            bar.set_style(style);
        }
        Self { bar }
    }

    /// Says nothing on a terminal.
    #[must_use]
    pub fn hidden() -> Self {
        Self { bar: ProgressBar::hidden() }
    }

    /// The next stage, and what it works on.
    pub fn stage(&self, stage: &'static str, what: &str) {
        tracing::info!(stage, what);
        self.bar.set_message(format!("{stage} {what}"));
        self.bar.tick();
    }

    /// Clears the line.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
