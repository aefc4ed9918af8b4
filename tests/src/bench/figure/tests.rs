//! Ratios and goals.

use super::*;

fn samples(values: &[f64]) -> Samples {
    Samples::new(values.iter().copied())
}

#[test]
fn the_median_is_the_middle_of_the_rounds() {
    let check = |values: &[f64], expected| {
        let samples = samples(values);
        assert_eq!((samples.min(), samples.median(), samples.max()), expected, "{values:?}");
    };
    check(&[], (None, None, None));
    check(&[3.0], (Some(3.0), Some(3.0), Some(3.0)));
    check(&[9.0, 1.0, 2.0], (Some(1.0), Some(2.0), Some(9.0)));
    check(&[9.0, 1.0, 2.0, 4.0], (Some(1.0), Some(3.0), Some(9.0)));
}

#[test]
fn a_ratio_is_of_the_same_round() {
    // The machine was slow in the second round, for both: the medians' own ratio would be another.
    let part = Part::new("", "MB/s", samples(&[400.0, 100.0, 390.0]), Goal::Shown);
    let part = part.theirs(samples(&[200.0, 50.0, 130.0]));
    assert_eq!(part.ratios(), samples(&[2.0, 2.0, 3.0]));
    assert_eq!(part.ratio(), Some(2.0));
    assert_eq!(part.ratio_to("nobody"), None);
}

#[test]
fn goals_are_met_or_not_or_unknown() {
    let check = |goal: Goal, ours: &[f64], expected: Option<bool>| {
        let part = Part::new("", "MB/s", samples(ours), goal.clone());
        let part = part.theirs(samples(&[100.0, 100.0])).other("ceiling", samples(&[250.0, 250.0]));
        assert_eq!(part.met(), expected, "{goal} of {ours:?}");
    };
    let to_ceiling = || Goal::RatioToAtLeast { other: "ceiling", least: 0.9 };
    check(Goal::Shown, &[1.0, 1.0], None);
    check(Goal::RatioAtLeast(2.0), &[200.0, 200.0], Some(true));
    check(Goal::RatioAtLeast(2.0), &[200.0, 199.0], Some(false));
    check(Goal::RatioAtMost(0.6), &[60.0, 60.0], Some(true));
    check(Goal::RatioAtMost(0.6), &[60.0, 61.0], Some(false));
    check(Goal::AtMost(12.0), &[12.0], Some(true));
    check(Goal::AtMost(12.0), &[12.1], Some(false));
    check(Goal::AtMost(12.0), &[], None);
    check(to_ceiling(), &[225.0], Some(true));
    check(to_ceiling(), &[224.0], Some(false));
    check(Goal::RatioToAtMost { other: "ceiling", most: 2.0 }, &[500.0], Some(true));
    check(Goal::RatioToAtMost { other: "ceiling", most: 2.0 }, &[501.0], Some(false));
    check(Goal::RatioToAtMost { other: "unmeasured", most: 2.0 }, &[501.0], None);
    check(Goal::All(vec![Goal::RatioAtLeast(2.0), to_ceiling()]), &[224.0], Some(false));
    check(Goal::All(vec![Goal::RatioAtLeast(2.0), to_ceiling()]), &[225.0], Some(true));
    check(Goal::Any(vec![Goal::RatioAtLeast(3.0), to_ceiling()]), &[225.0], Some(true));
    check(Goal::Any(vec![Goal::RatioAtLeast(3.0), to_ceiling()]), &[224.0], Some(false));
    check(Goal::Any(vec![Goal::RatioAtLeast(3.0), to_ceiling()]), &[], None);
}

#[test]
fn a_figure_is_met_if_all_its_parts_are() {
    let part = |ours: &[f64], goal| Part::new("", "MB", samples(ours), goal);
    let (met, failed) = (part(&[1.0], Goal::AtMost(2.0)), part(&[3.0], Goal::AtMost(2.0)));
    let (unknown, shown) = (part(&[], Goal::AtMost(2.0)), part(&[1.0], Goal::Shown));
    let check = |parts: &[&Part], expected| {
        let parts = parts.iter().copied().cloned().collect();
        let figure = Figure { id: "P0", title: "", unit: "MB", parts, notes: Vec::new() };
        assert_eq!(figure.met(), expected);
    };
    check(&[&met, &shown], Some(true));
    check(&[&met, &unknown], None);
    check(&[&unknown, &failed], Some(false));
    check(&[&shown], None);
}

#[test]
fn goals_mark_a_place_and_a_direction() {
    let goal = Goal::All(vec![Goal::RatioAtLeast(2.0), Goal::RatioToAtLeast { other: "disk", least: 0.9 }]);
    let part = Part::new("", "MB/s", samples(&[1.0]), goal.clone());
    let part = part.theirs(samples(&[100.0])).other("disk", samples(&[300.0]));
    assert_eq!(part.marks(), [200.0, 270.0]);
    assert_eq!(goal.to_string(), "ratio ≥ 2 and ≥ 0.9 × disk");
    assert_eq!(goal.more_is_better(), Some(true));
    assert_eq!(Goal::AtMost(12.0).more_is_better(), Some(false));
}
