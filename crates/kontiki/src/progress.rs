//! Progress of long work as a bar on standard error, where that is a terminal; nothing elsewhere.

use indicatif::{ProgressBar, ProgressStyle};

/// How far a piece of work is.
pub struct Progress(ProgressBar);

impl Progress {
    /// Work on so many bytes. Zero where that is not known.
    pub fn of_bytes(what: &'static str, total: u64) -> Progress {
        let bar = if total == 0 { ProgressBar::no_length() } else { ProgressBar::new(total) };
        let form = "{msg} {wide_bar} {bytes} of {total_bytes} ({bytes_per_sec}, {eta} left)";
        let style = ProgressStyle::with_template(form).expect("the form names fields that exist");
        bar.set_style(style);
        bar.set_message(what);
        Progress(bar)
    }

    /// Work in steps whose number is not known yet.
    pub fn of_steps(what: &'static str) -> Progress {
        let bar = ProgressBar::no_length();
        let style = ProgressStyle::with_template("{msg} {pos}").expect("the form names fields that exist");
        bar.set_style(style);
        bar.set_message(what);
        Progress(bar)
    }

    /// So many are done.
    pub fn reach(&self, position: u64) {
        self.0.set_position(position);
    }

    /// So many more are done.
    pub fn advance(&self, bytes: u64) {
        self.0.inc(bytes);
        if self.0.length().is_some_and(|length| length < self.0.position()) {
            self.0.set_length(self.0.position()); // the total was an estimate
        }
    }

    /// The total, now that it is known better.
    pub fn expect(&self, total: u64) {
        self.0.set_length(total);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
