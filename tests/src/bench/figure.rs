//! What was measured: values round by round, what they are compared with, and whether that is good enough.
//!
//! Pure values. Ratios are always ours / theirs, round by round, so that what disturbs the machine for a while disturbs
//! both sides of a ratio; the goal says which direction is good.

use std::fmt::{self, Display};

/// A figure of the benchmark.
#[derive(Clone, Debug)]
pub struct Figure {
    /// `P1`, `P2`…
    pub id: &'static str,
    /// What it is, in some words.
    pub title: &'static str,
    /// The unit of the first part, which is the figure's own.
    pub unit: &'static str,
    /// What it consists of; the first part is the one that stands for the figure.
    pub parts: Vec<Part>,
    /// How it was measured and what was seen, a sentence each.
    pub notes: Vec<String>,
}

/// One comparison.
#[derive(Clone, Debug)]
pub struct Part {
    /// `plaintext`, `8 clients`…
    pub name: String,
    /// The unit of all values.
    pub unit: &'static str,
    /// The agent's; empty if it could not be measured here (a note says why).
    pub ours: Samples,
    /// pg_receivewal's.
    pub theirs: Option<Samples>,
    /// What else the agent is compared with: ceilings, costs of the disk.
    pub others: Vec<(String, Samples)>,
    /// What is asked of it.
    pub goal: Goal,
}

/// One value for each round.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Samples(Vec<f64>);

/// What is asked of a part.
#[derive(Clone, Debug, PartialEq)]
pub enum Goal {
    /// Nothing: it is shown because it explains something.
    Shown,
    /// ours / theirs is at least this.
    RatioAtLeast(f64),
    /// ours / theirs is at most this.
    RatioAtMost(f64),
    /// Ours is at most this.
    AtMost(f64),
    /// ours / the other of this name is at least this.
    RatioToAtLeast {
        /// A name from [`Part::others`].
        other: &'static str,
        /// The least share.
        least: f64,
    },
    /// ours / the other of this name is at most this.
    RatioToAtMost {
        /// A name from [`Part::others`].
        other: &'static str,
        /// The greatest multiple.
        most: f64,
    },
    /// Each of them.
    All(Vec<Goal>),
    /// One of them is enough.
    Any(Vec<Goal>),
}

impl Figure {
    /// Whether all parts are what was asked; `None` if one could not be measured and none failed.
    pub fn met(&self) -> Option<bool> {
        all(self.parts.iter().filter(|part| part.goal != Goal::Shown).map(Part::met))
    }
}

impl Part {
    /// The agent's values and what is asked of them.
    pub fn new(name: impl Into<String>, unit: &'static str, ours: Samples, goal: Goal) -> Self {
        Self { name: name.into(), unit, ours, theirs: None, others: Vec::new(), goal }
    }

    /// Adds pg_receivewal's values of the same rounds.
    #[must_use]
    pub fn theirs(mut self, theirs: Samples) -> Self {
        self.theirs = Some(theirs);
        self
    }

    /// Adds other values of the same rounds.
    #[must_use]
    pub fn other(mut self, name: &str, values: Samples) -> Self {
        self.others.push((name.into(), values));
        self
    }

    /// ours / theirs of each round.
    pub fn ratios(&self) -> Samples {
        self.theirs.as_ref().map(|theirs| self.ours.over(theirs)).unwrap_or_default()
    }

    /// The median of ours / theirs.
    pub fn ratio(&self) -> Option<f64> {
        self.ratios().median()
    }

    /// The median of ours / the other called `name`.
    pub fn ratio_to(&self, name: &str) -> Option<f64> {
        self.others.iter().find(|(other, _)| other == name).and_then(|(_, values)| self.ours.over(values).median())
    }

    /// Whether it is what was asked; `None` if it was not measured, or nothing is asked.
    pub fn met(&self) -> Option<bool> {
        self.fulfils(&self.goal)
    }

    fn fulfils(&self, goal: &Goal) -> Option<bool> {
        match goal {
            Goal::Shown => None,
            Goal::RatioAtLeast(least) => self.ratio().map(|ratio| ratio >= *least),
            Goal::RatioAtMost(most) => self.ratio().map(|ratio| ratio <= *most),
            Goal::AtMost(most) => self.ours.median().map(|ours| ours <= *most),
            Goal::RatioToAtLeast { other, least } => self.ratio_to(other).map(|ratio| ratio >= *least),
            Goal::RatioToAtMost { other, most } => self.ratio_to(other).map(|ratio| ratio <= *most),
            Goal::All(goals) => all(goals.iter().map(|goal| self.fulfils(goal))),
            Goal::Any(goals) => all(goals.iter().map(|goal| Some(!self.fulfils(goal)?))).map(|none| !none),
        }
    }

    /// Where ours has to be, in the unit of the values: a mark for each goal on a plot.
    pub fn marks(&self) -> Vec<f64> {
        self.marks_of(&self.goal)
    }

    fn marks_of(&self, goal: &Goal) -> Vec<f64> {
        let theirs = || self.theirs.as_ref().and_then(Samples::median);
        let of = |name: &str| self.others.iter().find(|(other, _)| other == name).and_then(|(_, v)| v.median());
        let mark = match goal {
            Goal::All(goals) | Goal::Any(goals) => return goals.iter().flat_map(|goal| self.marks_of(goal)).collect(),
            Goal::Shown => None,
            Goal::RatioAtLeast(factor) | Goal::RatioAtMost(factor) => theirs().map(|theirs| theirs * factor),
            Goal::AtMost(most) => Some(*most),
            Goal::RatioToAtLeast { other, least: factor } | Goal::RatioToAtMost { other, most: factor } => {
                of(other).map(|other| other * factor)
            }
        };
        mark.into_iter().collect()
    }
}

impl Samples {
    /// The value of each round, in order.
    pub fn new(values: impl IntoIterator<Item = f64>) -> Self {
        Self(values.into_iter().collect())
    }

    /// The value of each round, in order.
    pub fn values(&self) -> &[f64] {
        &self.0
    }

    /// The value in the middle, or the mean of the two there.
    pub fn median(&self) -> Option<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let upper = *sorted.get(middle)?;
        Some(if sorted.len().is_multiple_of(2) { f64::midpoint(sorted[middle - 1], upper) } else { upper })
    }

    /// The least value.
    pub fn min(&self) -> Option<f64> {
        self.0.iter().copied().min_by(f64::total_cmp)
    }

    /// The greatest value.
    pub fn max(&self) -> Option<f64> {
        self.0.iter().copied().max_by(f64::total_cmp)
    }

    /// The lesser of the two in each round.
    #[must_use]
    pub fn lesser(&self, other: &Self) -> Self {
        self.pairs(other, f64::min)
    }

    /// The quotient of each round.
    fn over(&self, other: &Self) -> Self {
        self.pairs(other, |ours, theirs| ours / theirs)
    }

    fn pairs(&self, other: &Self, of: impl Fn(f64, f64) -> f64) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(a, b)| of(*a, *b)).collect())
    }
}

impl Goal {
    /// Whether more is better; `None` where nothing is asked.
    pub fn more_is_better(&self) -> Option<bool> {
        match self {
            Self::Shown => None,
            Self::RatioAtLeast(_) | Self::RatioToAtLeast { .. } => Some(true),
            Self::RatioAtMost(_) | Self::AtMost(_) | Self::RatioToAtMost { .. } => Some(false),
            Self::All(goals) | Self::Any(goals) => goals.first().and_then(Self::more_is_better),
        }
    }
}

impl Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let join = |goals: &[Self], word: &str| goals.iter().map(ToString::to_string).collect::<Vec<_>>().join(word);
        match self {
            Self::Shown => f.write_str("none"),
            Self::RatioAtLeast(least) => write!(f, "ratio ≥ {least}"),
            Self::RatioAtMost(most) => write!(f, "ratio ≤ {most}"),
            Self::AtMost(most) => write!(f, "≤ {most}"),
            Self::RatioToAtLeast { other, least } => write!(f, "≥ {least} × {other}"),
            Self::RatioToAtMost { other, most } => write!(f, "≤ {most} × {other}"),
            Self::All(goals) => f.write_str(&join(goals, " and ")),
            Self::Any(goals) => f.write_str(&join(goals, " or ")),
        }
    }
}

/// False if one is, else unknown if one is, else true. Of nothing: unknown.
fn all(met: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let met: Vec<Option<bool>> = met.collect();
    match () {
        () if met.contains(&Some(false)) => Some(false),
        () if met.contains(&None) || met.is_empty() => None,
        () => Some(true),
    }
}

#[cfg(test)]
mod tests;
