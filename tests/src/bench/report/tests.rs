//! The shape of what is written.

use super::*;
use crate::bench::figure::Goal;
use serde_json::{Value, json};

fn report() -> Report {
    let samples = |values: &[f64]| Samples::new(values.iter().copied());
    let goal = Goal::All(vec![Goal::RatioAtLeast(2.0), Goal::RatioToAtLeast { other: "disk", least: 0.9 }]);
    let rates = Part::new("plain | text", "MB/s", samples(&[300.0, 100.0, 290.0]), goal)
        .theirs(samples(&[100.0, 50.0, 100.0]))
        .other("disk", samples(&[300.0, 100.0, 300.0]));
    let calls = Part::new("calls <3", "calls", Samples::default(), Goal::AtMost(2.0));
    let figure =
        Figure { id: "P1", title: "Catch-up", unit: "MB/s", parts: vec![rates, calls], notes: vec!["Seen.".into()] };
    let failed = Outcome { id: "P2", title: "over TLS", result: Err("no server\nlog".into()) };
    Report {
        machine: Machine(vec![("cores", 2.into()), ("file_system", "ext4".into())]),
        figures: vec![Outcome { id: "P1", title: "catch-up", result: Ok(figure) }, failed],
        quick: true,
        rounds: 3,
        took: Duration::from_secs(61),
    }
}

#[test]
fn programs_find_a_key_for_each_figure() {
    let json = json::report(&report());
    assert_eq!(json["machine"], json!({"cores": 2, "file_system": "ext4", "quick": true, "seconds": 61}));
    let p1 = &json["P1"];
    let fields = ["ours", "theirs", "ratio", "goal", "met", "unit"].map(|field| p1[field].clone());
    let goal = "plain | text: ratio ≥ 2 and ≥ 0.9 × disk; calls <3: ≤ 2";
    let expected = [json!(290.0), json!(100.0), json!(2.9), json!(goal), Value::Null, json!("MB/s")];
    assert_eq!(fields, expected, "not met and not failed: one of its parts was not measured");
    assert_eq!(p1["rounds"][1], json!({"ours": 100.0, "theirs": 50.0, "others": {"disk": 100.0}, "ratio": 2.0}));
    assert_eq!(p1["rounds"].as_array().map(Vec::len), Some(3));
    assert_eq!((&p1["parts"][0]["met"], &p1["parts"][1]["ours"]), (&json!(true), &Value::Null));
    assert_eq!(p1["parts"][0]["spread"], json!({"ours": [100.0, 300.0], "theirs": [50.0, 100.0]}));
    assert_eq!((&json["P2"]["met"], &json["P2"]["error"]), (&Value::Null, &json!("no server\nlog")));
}

#[test]
fn people_find_a_table_and_plots() {
    let text = markdown::report(&report(), "plots/");
    let check = |expected: &str| assert!(text.contains(expected), "{expected:?} is not in:\n{text}");
    check("**A quick run");
    check("3 rounds in 2 min");
    check(
        "| **P1** Catch-up | plain \\| text, MB/s | 290 (100 – 300) | 100 (50.0 – 100) | disk: 300 (100 – 300) (× 1.00) | \
         **2.90** | ratio ≥ 2 and ≥ 0.9 × disk | met |\n|  | calls <3, calls | – |  |  |  | ≤ 2 | – |\n",
    );
    check("| P2 | over TLS | not measured: no server | | | | | |\n");
    check("| file system | ext4 |");
    check("![Catch-up](plots/P1.svg)\n\n- Seen.\n");
}

#[test]
fn plots_are_pictures() {
    let outcome = report().figures.remove(0);
    let svg = svg::plot(&outcome.result.unwrap());
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"), "{svg}");
    assert_eq!((svg.matches("<rect").count(), svg.matches("<circle").count()), (1 + 3, 9), "{svg}");
    assert!(svg.contains("calls &lt;3") && svg.contains("not measured") && svg.contains("goal: 270"), "{svg}");
}

#[test]
fn what_people_wrote_around_the_report_stays() {
    let document = "# Performance\n\nWords.\n\n<!-- report: begin (cargo xtask bench --save-docs writes what follows) -->\n\
                    old\n<!-- report: end -->\n\n## What was tried\n";
    let text = docs::with_section(document, "new\n\n## Machine\n").unwrap();
    assert!(text.starts_with("# Performance\n\nWords.\n\n<!-- report: begin"), "{text}");
    assert!(text.ends_with("-->\n\nnew\n\n### Machine\n\n<!-- report: end -->\n\n## What was tried\n"), "{text}");
    assert!(!text.contains("old"), "{text}");
    assert!(docs::with_section("# Performance\n", "new").is_err());
}

#[test]
fn numbers_have_the_digits_that_mean_something() {
    let check = |value, expected| assert_eq!(number(value), expected);
    check(1234.4, "1234");
    check(123.4, "123");
    check(12.34, "12.3");
    check(1.234, "1.23");
    check(0.1234, "0.123");
}
