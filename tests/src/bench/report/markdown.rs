//! The report for people: the machine, a table of medians with their spread, and each figure's plot and notes.

use super::{Outcome, Report, columns, number, verdict};
use crate::bench::figure::{Figure, Part, Samples};
use serde_json::Value;

/// The whole report, without a heading of its own. Plots are linked at `plots`.
pub(super) fn report(report: &Report, plots: &str) -> String {
    let mut text = String::new();
    if report.quick {
        text += "**A quick run: little WAL, few rounds. An impression, no measurement.**\n\n";
    }
    let minutes = report.took.as_secs().div_ceil(60);
    text +=
        &format!("{} in {minutes} min; each value is the median, with the least and the greatest.\n\n", rounds(report));
    text += "| figure | | wal-agent | pg_receivewal | others | ratio | goal | |\n|---|---|---|---|---|---|---|---|\n";
    for outcome in &report.figures {
        text += &rows(outcome);
    }
    text += "\nRatio: wal-agent / pg_receivewal, the median of the rounds' ratios. Others: the same value of what the \
             figure names, and the agent's share of it.\n\n## Machine\n\n| | |\n|---|---|\n";
    for (name, value) in &report.machine.0 {
        let value = match value {
            Value::String(value) => value.clone(),
            value => value.to_string(),
        };
        text += &format!("| {} | {} |\n", name.replace('_', " "), cell(&value));
    }
    for outcome in &report.figures {
        if let Ok(figure) = &outcome.result {
            text += &section(figure, plots);
        }
    }
    text
}

fn rounds(report: &Report) -> String {
    if report.rounds == 1 { "1 round".into() } else { format!("{} rounds", report.rounds) }
}

fn rows(outcome: &Outcome) -> String {
    let figure = match &outcome.result {
        Ok(figure) => figure,
        Err(error) => {
            let reason = error.lines().next().unwrap_or_default();
            return format!("| {} | {} | not measured: {} | | | | | |\n", outcome.id, outcome.title, cell(reason));
        }
    };
    let row = |(number, part): (usize, &Part)| {
        let name = if number == 0 { format!("**{}** {}", figure.id, figure.title) } else { String::new() };
        let others: Vec<String> = part.others.iter().map(|(name, values)| other(part, name, values)).collect();
        format!(
            "| {name} | {}, {} | {} | {} | {} | {} | {} | {} |\n",
            cell(&part.name),
            part.unit,
            spread(&part.ours),
            part.theirs.as_ref().map_or(String::new(), spread),
            others.join("<br>"),
            part.ratio().map_or(String::new(), |ratio| format!("**{}**", number_of_ratio(ratio))),
            part.goal,
            verdict(part.met()),
        )
    };
    figure.parts.iter().enumerate().map(row).collect()
}

fn other(part: &Part, name: &str, values: &Samples) -> String {
    let share = part.ratio_to(name).map_or(String::new(), |share| format!(" (× {})", number_of_ratio(share)));
    format!("{}: {}{share}", cell(name), spread(values))
}

fn section(figure: &Figure, plots: &str) -> String {
    let mut text = format!("\n## {}: {}\n\n![{}]({plots}{}.svg)\n\n", figure.id, figure.title, figure.title, figure.id);
    for note in &figure.notes {
        text += &format!("- {note}\n");
    }
    text += "\n<details><summary>All rounds</summary>\n\n| | unit | values |\n|---|---|---|\n";
    for part in &figure.parts {
        for (name, values) in columns(part) {
            let values: Vec<String> = values.values().iter().map(|value| number(*value)).collect();
            text += &format!("| {}: {} | {} | {} |\n", cell(&part.name), cell(name), part.unit, values.join(", "));
        }
    }
    text + "\n</details>\n"
}

fn spread(values: &Samples) -> String {
    match (values.median(), values.min(), values.max()) {
        (Some(median), Some(min), Some(max)) if min < max => {
            format!("{} ({} – {})", number(median), number(min), number(max))
        }
        (Some(median), ..) => number(median),
        _ => "–".into(),
    }
}

fn number_of_ratio(ratio: f64) -> String {
    format!("{ratio:.2}")
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
