//! The report inside a document that people write, too.

use anyhow::{Context, Result};

const BEGIN: &str = "<!-- report: begin (cargo xtask bench --save-docs writes what follows) -->";
const END: &str = "<!-- report: end -->";

/// `text` with `section` between the two marks, and everything around them as it was.
///
/// # Errors
/// A mark is missing.
pub(super) fn with_section(text: &str, section: &str) -> Result<String> {
    let missing = |mark| format!("performance.md has no line {mark:?}");
    let (before, rest) = text.split_once(BEGIN).with_context(|| missing(BEGIN))?;
    let (_, after) = rest.split_once(END).with_context(|| missing(END))?;
    // The document's own headings are above these.
    let section = section.replace("\n## ", "\n### ");
    Ok(format!("{before}{BEGIN}\n\n{}\n\n{END}{after}", section.trim()))
}
