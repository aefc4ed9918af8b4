//! The report for programs: a key for each figure, and `machine`.

use super::{Outcome, Report};
use crate::bench::figure::{Figure, Goal, Part, Samples};
use serde_json::{Map, Value, json};

/// An object with a key for each figure: the values of its first part, whether all its parts are met, and the parts.
pub(super) fn report(report: &Report) -> Value {
    let mut machine: Map<String, Value> =
        report.machine.0.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    machine.insert("quick".into(), report.quick.into());
    machine.insert("seconds".into(), report.took.as_secs().into());
    let mut keys = Map::from_iter([("machine".to_owned(), Value::Object(machine))]);
    for Outcome { id, title, result } in &report.figures {
        let value = match result {
            Ok(measured) => figure(measured),
            Err(error) => json!({
                "title": title, "ours": null, "theirs": null, "ratio": null, "goal": null, "met": null, "unit": null,
                "rounds": [], "parts": [], "error": error,
            }),
        };
        keys.insert((*id).to_owned(), value);
    }
    Value::Object(keys)
}

fn figure(figure: &Figure) -> Value {
    let mut fields = figure.parts.first().map(part).unwrap_or_default();
    fields.remove("name");
    // What is met or not is all of this.
    let asked: Vec<&Part> = figure.parts.iter().filter(|part| part.goal != Goal::Shown).collect();
    if asked.len() > 1 {
        let goals: Vec<String> = asked.iter().map(|part| format!("{}: {}", part.name, part.goal)).collect();
        fields.insert("goal".into(), goals.join("; ").into());
    }
    fields.insert("title".into(), figure.title.into());
    fields.insert("unit".into(), figure.unit.into());
    fields.insert("met".into(), figure.met().into());
    fields.insert("notes".into(), figure.notes.clone().into());
    fields.insert("parts".into(), figure.parts.iter().map(part).map(Value::Object).collect());
    Value::Object(fields)
}

fn part(part: &Part) -> Map<String, Value> {
    let theirs = part.theirs.as_ref();
    let others = |value: &dyn Fn(&str, &Samples) -> Value| {
        Value::Object(part.others.iter().map(|(name, values)| (name.clone(), value(name, values))).collect())
    };
    let rounds = (0..part.ours.values().len()).map(|round| {
        json!({
            "ours": at(&part.ours, round),
            "theirs": theirs.and_then(|theirs| at(theirs, round)),
            "others": others(&|_, values| at(values, round).into()),
            "ratio": at(&part.ratios(), round),
        })
    });
    let fields = [
        ("name", part.name.as_str().into()),
        ("unit", part.unit.into()),
        ("ours", part.ours.median().into()),
        ("theirs", theirs.and_then(Samples::median).into()),
        ("ratio", part.ratio().into()),
        ("goal", part.goal.to_string().into()),
        ("met", part.met().into()),
        ("spread", json!({ "ours": spread(&part.ours), "theirs": theirs.and_then(spread) })),
        ("others", others(&|name, values| json!({ "median": values.median(), "ratio": part.ratio_to(name) }))),
        ("rounds", rounds.collect()),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn at(values: &Samples, round: usize) -> Option<f64> {
    values.values().get(round).copied()
}

fn spread(values: &Samples) -> Option<[f64; 2]> {
    values.min().zip(values.max()).map(Into::into)
}
