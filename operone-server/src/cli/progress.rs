//! A bar that shows how far a command is, where a person looks on.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar of `length` steps on the standard error; hidden unless the standard output is a terminal and the answer is
/// for people.
pub(super) fn bar(length: usize, json: bool) -> ProgressBar {
    let shown = !json && std::io::stdout().is_terminal() && std::io::stderr().is_terminal();
    let target = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(Some(length as u64), target);
    match ProgressStyle::with_template("{bar:40} {pos}/{len} {msg} {eta}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// A bar of bytes on the standard error, shown under the same conditions.
pub(super) fn bytes() -> ProgressBar {
    let bar = bar(0, false);
    match ProgressStyle::with_template("{msg} {bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
