//! What the user sees while figures are measured: one line that moves if there is a terminal, else a line for each run.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::fmt::{self, Display};
use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How often the moving line moves.
const FRAME: Duration = Duration::from_millis(200);

/// Where it is shown.
pub struct Progress {
    out: Mutex<Box<dyn Write + Send>>,
    bar: Option<ProgressBar>,
    start: Instant,
}

impl Progress {
    /// The terminal that stdout is.
    pub fn terminal() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stdout()).with_style(
            ProgressStyle::with_template("{spinner} {elapsed_precise}  {wide_msg}").expect("a template of our own"),
        );
        Self { bar: Some(bar), ..Self::lines(std::io::stdout()) }
    }

    /// Plain lines to `out`.
    pub fn lines(out: impl Write + Send + 'static) -> Self {
        Self { out: Mutex::new(Box::new(out)), bar: None, start: Instant::now() }
    }

    /// Says what begins now.
    pub fn doing(&self, what: impl Display) {
        if self.bar.is_some() {
            self.moving(what);
        } else {
            let seconds = self.start.elapsed().as_secs();
            self.write(format_args!("{:>3}:{:02}  {what}", seconds / 60, seconds % 60));
        }
    }

    /// Says how far it is, where something can move.
    pub fn moving(&self, what: impl Display) {
        if let Some(bar) = &self.bar {
            // Begun late: what was said before is not to be overwritten.
            bar.enable_steady_tick(FRAME);
            bar.set_message(what.to_string());
        }
    }

    /// Says what is to stay.
    pub fn say(&self, line: impl Display) {
        match &self.bar {
            Some(bar) => bar.suspend(|| self.write(line)),
            None => self.write(line),
        }
    }

    /// Takes the moving line away.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn write(&self, line: impl Display) {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever closed the pipe has read enough: the exit code says the rest.
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Progress").field("bar", &self.bar).finish_non_exhaustive()
    }
}
