//! What is left of a benchmark: `report.json` for programs, `report.md` with plots for people, and both in the documentation.

mod docs;
mod json;
mod markdown;
mod svg;

use super::figure::{Figure, Part, Samples};
use super::machine::Machine;
use anyhow::{Context, Result};
use std::fmt::{self, Display};
use std::fs;
use std::path::Path;
use std::time::Duration;

/// A whole run.
#[derive(Debug)]
pub struct Report {
    /// Where it was measured.
    pub machine: Machine,
    /// The figures that were asked for, in order.
    pub figures: Vec<Outcome>,
    /// It was to take little time: an impression.
    pub quick: bool,
    /// How many rounds.
    pub rounds: u32,
    /// How long it took.
    pub took: Duration,
}

/// A figure, or why there is none.
#[derive(Debug)]
pub struct Outcome {
    /// `P1`, `P2`…
    pub id: &'static str,
    /// What it is, in some words.
    pub title: &'static str,
    /// The figure, or what went wrong.
    pub result: Result<Figure, String>,
}

impl Report {
    /// Whether every figure could be measured. That says nothing about goals.
    pub fn is_complete(&self) -> bool {
        self.figures.iter().all(|outcome| outcome.result.is_ok())
    }

    /// Writes `report.json`, `report.md` and the plots into `dir`. Plots of earlier runs are removed.
    ///
    /// # Errors
    /// The system's.
    pub fn write(&self, dir: &Path) -> Result<()> {
        let write = || {
            fs::create_dir_all(dir)?;
            fs::write(dir.join("report.json"), format!("{:#}\n", json::report(self)))?;
            fs::write(dir.join("report.md"), format!("# Benchmark\n\n{}", markdown::report(self, "")))?;
            self.write_plots(dir)
        };
        write().with_context(|| format!("cannot write the report into {}", dir.display()))
    }

    /// Puts the report into `docs`: the marked section of `performance.md`, and its plots below `performance/`.
    ///
    /// # Errors
    /// The system's; or the document has no such section.
    pub fn write_docs(&self, docs: &Path) -> Result<()> {
        let path = docs.join("performance.md");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let text = docs::with_section(&text, &markdown::report(self, "performance/"))?;
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        fs::create_dir_all(docs.join("performance"))?;
        self.write_plots(&docs.join("performance"))
    }

    fn write_plots(&self, dir: &Path) -> Result<()> {
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "svg") {
                fs::remove_file(path)?;
            }
        }
        for figure in self.figures.iter().filter_map(|outcome| outcome.result.as_ref().ok()) {
            fs::write(dir.join(format!("{}.svg", figure.id)), svg::plot(figure))?;
        }
        Ok(())
    }
}

/// What a screen shows of a figure as soon as it is measured.
impl Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let figure = match &self.result {
            Ok(figure) => figure,
            Err(error) => return write!(f, "{}  {}: not measured: {error}", self.id, self.title),
        };
        write!(f, "{}  {}", figure.id, figure.title)?;
        for part in &figure.parts {
            write!(f, "\n    {:<22} {:>10} {}", part.name, median(&part.ours), part.unit)?;
            for (name, values) in columns(part).into_iter().skip(1) {
                write!(f, ", {name} {}", median(values))?;
            }
            if let Some(ratio) = part.ratio() {
                write!(f, ", ratio {}", number(ratio))?;
            }
            write!(f, "; goal {}: {}", part.goal, verdict(part.met()))?;
        }
        Ok(())
    }
}

/// All values of a part, by who they are of.
fn columns(part: &Part) -> Vec<(&str, &Samples)> {
    let ours = [("wal-agent", &part.ours)];
    let theirs = part.theirs.as_ref().map(|theirs| ("pg_receivewal", theirs));
    let others = part.others.iter().map(|(name, values)| (name.as_str(), values));
    ours.into_iter().chain(theirs).chain(others).collect()
}

fn verdict(met: Option<bool>) -> &'static str {
    match met {
        Some(true) => "met",
        Some(false) => "not met",
        None => "–",
    }
}

fn median(values: &Samples) -> String {
    values.median().map_or("–".into(), number)
}

/// With as many digits as mean something.
fn number(value: f64) -> String {
    let digits = match value.abs() {
        value if value >= 100.0 => 0,
        value if value >= 10.0 => 1,
        value if value >= 1.0 => 2,
        _ => 3,
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests;
