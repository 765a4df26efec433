//! Progress of long work: a bar on a terminal, nothing elsewhere.

use fhirhose_jobs::Progress;
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::Duration;

/// A bar on stderr that a job or a generator moves; it shows nothing when stderr is not a terminal.
pub(crate) struct Bar {
    bar: ProgressBar,
}

impl Bar {
    /// A bar for work that is measured in bytes.
    pub(crate) fn bytes(what: &'static str) -> Self {
        Self::new(
            what,
            "{prefix:>10} [{bar:32}] {bytes}/{total_bytes} {bytes_per_sec} {eta} {wide_msg}",
        )
    }

    /// A bar for work that is measured in pieces.
    pub(crate) fn pieces(what: &'static str) -> Self {
        Self::new(
            what,
            "{prefix:>10} [{bar:32}] {human_pos}/{human_len} {eta} {wide_msg}",
        )
    }

    fn new(what: &'static str, template: &str) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(8));
        let style =
            ProgressStyle::with_template(template).expect("the template is a literal that is tested by use");
        bar.set_style(style.progress_chars("=> "));
        bar.set_prefix(what);
        bar.enable_steady_tick(Duration::from_millis(250));
        Self { bar }
    }

    /// Shows how far the work is.
    pub(crate) fn show(&self, progress: &Progress) {
        if progress.total > 0 {
            self.bar.set_length(progress.total);
        }
        self.bar.set_position(progress.done);
        self.bar.set_message(progress.note.clone());
    }

    /// Clears the bar.
    pub(crate) fn clear(self) {
        self.bar.finish_and_clear();
    }
}

/// 1,234,567
pub(crate) fn count(number: u64) -> String {
    HumanCount(number).to_string()
}

/// 1.23 MiB
pub(crate) fn bytes(number: u64) -> String {
    HumanBytes(number).to_string()
}
