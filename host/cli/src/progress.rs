//! A bar that says how far a long piece of work has come, on a terminal only.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar on standard error, which goes away when it is dropped.
pub struct Bar(ProgressBar);

impl Bar {
    /// A bar for work that is called `what`.
    pub fn new(what: &'static str) -> Self {
        let bar = ProgressBar::no_length();
        let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {eta}");
        // The template is a good one; the plain style would do as well.
        if let Ok(style) = style {
            bar.set_style(style);
        }
        bar.set_message(what);
        Bar(bar)
    }

    pub fn set(&self, done: u64, all: u64) {
        self.0.set_length(all);
        self.0.set_position(done);
    }

    /// The same, for things that are counted in memory.
    pub fn step(&self, step: entail::Step) {
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        self.set(count(step.done), count(step.all));
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
