//! Plots, drawn by hand: for each part of a figure its bars, a dot for each round, and a mark where the goal is.

use super::{columns, number};
use crate::bench::figure::{Figure, Part, Samples};
use std::fmt::Write;

const WIDTH: f64 = 760.0;
/// Where bars begin, and how long the longest is.
const LEFT: f64 = 170.0;
const LONGEST: f64 = 470.0;
/// Heights: of the title, of a part's heading, of a bar with what is below it, of the space behind a part.
const TITLE: f64 = 44.0;
const HEADING: f64 = 24.0;
const BAR: f64 = 18.0;
const STEP: f64 = 26.0;
const GAP: f64 = 16.0;

const OURS: &str = "#2563eb";
const THEIRS: &str = "#9aa4b2";
const OTHERS: &str = "#dbe3ee";
const INK: &str = "#1f2937";
const FAINT: &str = "#6b7280";
const GOAL: &str = "#d97706";

/// The figure as a picture.
pub(super) fn plot(figure: &Figure) -> String {
    let whole = TITLE + figure.parts.iter().map(height).sum::<f64>();
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{whole}\" viewBox=\"0 0 {WIDTH} {whole}\" \
         font-family=\"system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif\" font-size=\"13\" role=\"img\">\n\
         <title>{title}</title>\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"#ffffff\"/>\n\
         <text x=\"16\" y=\"28\" font-size=\"16\" font-weight=\"600\" fill=\"{INK}\">{}: {title}</text>\n",
        figure.id,
        title = escape(figure.title),
    );
    let mut top = TITLE;
    for part in &figure.parts {
        draw(&mut svg, part, top);
        top += height(part);
    }
    svg + "</svg>\n"
}

fn height(part: &Part) -> f64 {
    HEADING + STEP * columns(part).len() as f64 + GAP
}

fn draw(svg: &mut String, part: &Part, top: f64) {
    let direction = match part.goal.more_is_better() {
        Some(true) => ", more is better",
        Some(false) => ", less is better",
        None => "",
    };
    let heading = format!("{}: {}{direction}", part.name, part.unit);
    text(svg, 16.0, top + 14.0, FAINT, "start", &heading);

    let (columns, marks) = (columns(part), part.marks());
    let values = columns.iter().filter_map(|(_, values)| values.max()).chain(marks.iter().copied());
    let greatest = values.fold(f64::MIN_POSITIVE, f64::max);
    let x = |value: f64| LEFT + value / greatest * LONGEST;
    let (first, end) = (top + HEADING, top + HEADING + STEP * columns.len() as f64 - (STEP - BAR));
    for (number, (name, values)) in columns.iter().enumerate() {
        let color = match number {
            0 => OURS,
            1 if part.theirs.is_some() => THEIRS,
            _ => OTHERS,
        };
        bar(svg, first + STEP * number as f64, name, values, color, &x);
    }
    for mark in marks {
        let x = x(mark);
        push(
            svg,
            format_args!(
                "<line x1=\"{x:.1}\" y1=\"{:.1}\" x2=\"{x:.1}\" y2=\"{:.1}\" stroke=\"{GOAL}\" stroke-width=\"1.5\" \
                 stroke-dasharray=\"4 3\"><title>goal: {}</title></line>",
                first - 4.0,
                end + 4.0,
                number(mark)
            ),
        );
    }
    let goal = part.goal.to_string();
    if goal != "none" {
        text(svg, WIDTH - 16.0, top + 14.0, GOAL, "end", &format!("goal: {goal}"));
    }
}

fn bar(svg: &mut String, top: f64, name: &str, values: &Samples, color: &str, x: &impl Fn(f64) -> f64) {
    let middle = top + BAR / 2.0;
    text(svg, LEFT - 10.0, middle + 4.5, INK, "end", name);
    let Some((median, max)) = values.median().zip(values.max()) else {
        text(svg, LEFT + 6.0, middle + 4.5, FAINT, "start", "not measured");
        return;
    };
    push(
        svg,
        format_args!(
            "<rect x=\"{LEFT}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{BAR}\" rx=\"2\" fill=\"{color}\"/>",
            x(median) - LEFT
        ),
    );
    for value in values.values() {
        push(
            svg,
            format_args!(
                "<circle cx=\"{:.1}\" cy=\"{middle:.1}\" r=\"3\" fill=\"#ffffff\" stroke=\"{INK}\"/>",
                x(*value)
            ),
        );
    }
    text(svg, x(max) + 10.0, middle + 4.5, INK, "start", &number(median));
}

fn text(svg: &mut String, x: f64, y: f64, color: &str, anchor: &str, words: &str) {
    let words = escape(words);
    // With a rim, so that it can be read on a mark.
    push(
        svg,
        format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" fill=\"{color}\" text-anchor=\"{anchor}\" stroke=\"#ffffff\" \
             stroke-width=\"3\" paint-order=\"stroke\">{words}</text>"
        ),
    );
}

fn push(svg: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = writeln!(svg, "{line}");
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
