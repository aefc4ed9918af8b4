//! What the user sees: numbered steps of one line each; bars while they go on if there is a terminal, else plain lines.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::fmt::{self, Display};
use std::io::Write;
use std::time::Duration;
use tokio::time::Instant;

/// How often a bar moves.
const FRAME: Duration = Duration::from_millis(100);

/// How often progress is a line where there is no terminal.
const LINE: Duration = Duration::from_secs(5);

/// Positions of a bar.
const FULL: u64 = 1000;

/// Where the story is shown.
pub struct Screen {
    out: Box<dyn Write + Send>,
    terminal: bool,
    number: usize,
    title: &'static str,
}

/// A step under way. Without [`Step::done`] it failed, and leaves no line.
#[derive(Debug)]
pub(super) struct Step<'a> {
    screen: &'a mut Screen,
    /// What moves on a terminal, once there is something to say.
    bar: Option<ProgressBar>,
    last_line: Instant,
}

impl Screen {
    /// The terminal that stdout is.
    pub fn terminal() -> Self {
        Self { out: Box::new(std::io::stdout()), terminal: true, number: 0, title: "" }
    }

    /// Plain lines to `out`.
    pub fn lines(out: impl Write + Send + 'static) -> Self {
        Self { out: Box::new(out), terminal: false, number: 0, title: "" }
    }

    /// A line of its own.
    pub fn say(&mut self, line: impl Display) {
        // Whoever closed the pipe has read enough: the exit code says the rest.
        let _ = writeln!(self.out, "{line}").and_then(|()| self.out.flush());
    }

    /// Begins the next step.
    pub(super) fn step(&mut self, title: &'static str) -> Step<'_> {
        self.number += 1;
        self.title = title;
        Step { screen: self, bar: None, last_line: Instant::now() }
    }

    /// The step that was begun last.
    pub(super) fn current(&self) -> String {
        format!("step {}, {:?},", self.number, self.title)
    }

    fn head(&self) -> String {
        format!("{:>3}  {:<16}", self.number, self.title)
    }
}

impl Step<'_> {
    /// Says what takes a while: only where something can move meanwhile.
    pub(super) fn note(&mut self, text: &'static str) {
        if let Some(bar) = self.bar() {
            bar.set_message(text);
        }
    }

    /// Says what may take minutes: a line of its own where nothing can move.
    pub(super) fn warn_slow(&mut self, text: &'static str) {
        self.note(text);
        if !self.screen.terminal {
            self.screen.say(format_args!("{:>22}{text}", ""));
        }
    }

    /// Shows how far it is, from 0 to 1.
    pub(super) fn progress(&mut self, done: f64, figures: impl Display) {
        if let Some(bar) = self.bar() {
            bar.set_style(style("{prefix} {bar:10} {wide_msg}"));
            bar.set_position((done * FULL as f64) as u64);
            bar.set_message(figures.to_string());
        } else if self.last_line.elapsed() >= LINE {
            self.last_line = Instant::now();
            self.screen.say(format_args!("{:>22}{figures}", ""));
        }
    }

    /// Replaces what moved by the step's one line.
    pub(super) fn done(self, what: impl Display) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let head = self.screen.head();
        self.screen.say(format_args!("{head} {what}"));
    }

    fn bar(&mut self) -> Option<&ProgressBar> {
        self.screen.terminal.then(|| {
            self.bar.get_or_insert_with(|| {
                let bar = ProgressBar::with_draw_target(Some(FULL), ProgressDrawTarget::stdout());
                let bar = bar.with_style(style("{prefix} {spinner} {wide_msg}")).with_prefix(self.screen.head());
                bar.enable_steady_tick(FRAME);
                bar
            }) as &ProgressBar
        })
    }
}

impl fmt::Debug for Screen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Screen").field("terminal", &self.terminal).field("number", &self.number).finish_non_exhaustive()
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .expect("a template of our own")
        .progress_chars("━━─")
        .tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ ")
}
