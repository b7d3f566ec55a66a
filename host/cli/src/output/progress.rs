//! Progress bars.

use indicatif::{ProgressBar, ProgressStyle};

/// A progress bar on standard error, if that is a terminal. It is removed when it is
/// dropped.
pub struct Bar(ProgressBar);

impl Bar {
    /// A bar with a label.
    pub fn new(label: &'static str) -> Self {
        let bar = ProgressBar::no_length();
        // If the template were invalid, the default style would do.
        if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {eta}") {
            bar.set_style(style);
        }
        bar.set_message(label);
        Bar(bar)
    }

    /// Shows that `done` of `total` steps are done.
    pub fn set(&self, done: u64, total: u64) {
        self.0.set_length(total);
        self.0.set_position(done);
    }

    /// Shows a step of the library.
    pub fn step(&self, step: entail::Step) {
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        self.set(number(step.done), number(step.all));
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
