//! The habits of this repository, as tests. Each rule is a pure function over a file's path and text; what it finds is a
//! sentence.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{fs, io};

/// Files with more than [`LONG`] lines, and why they are not several.
const ALLOWED_LONG: &[(&str, &str)] = &[];

/// From here a file needs a reason.
const LONG: usize = 450;

/// From here no reason is good enough.
const TOO_LONG: usize = 800;

/// Relative path and text of each Rust file of the workspace.
type Files = BTreeMap<PathBuf, String>;

#[test]
fn every_module_says_what_it_is() {
    assert_none(workspace().iter().flat_map(|(path, text)| opening(path, text)));
}

#[test]
fn every_file_is_compiled() {
    let files = workspace();
    assert_none(unreachable(&files));
}

#[test]
fn no_test_is_skipped_or_panics_on_purpose() {
    assert_none(workspace().iter().flat_map(|(path, text)| forbidden_attributes(path, text)));
}

#[test]
fn no_test_sleeps_without_a_reason() {
    assert_none(workspace().iter().flat_map(|(path, text)| sleeps(path, text)));
}

#[test]
fn files_are_short() {
    let files = workspace();
    assert_none(files.iter().flat_map(|(path, text)| length(path, text, ALLOWED_LONG)));
    let gone = ALLOWED_LONG
        .iter()
        .filter(|(path, _)| files.get(Path::new(path)).is_none_or(|text| text.lines().count() <= LONG));
    assert_none(gone.map(|(path, _)| format!("{path}: no longer long, so no longer in the list")));
}

fn assert_none(problems: impl IntoIterator<Item = String>) {
    let problems: Vec<String> = problems.into_iter().collect();
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

fn workspace() -> Files {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace around this package");
    let mut files = Files::new();
    collect(root, Path::new(""), &mut files).expect("a readable workspace");
    assert!(files.len() > 20, "the workspace was not found at {}", root.display());
    files
}

fn collect(root: &Path, dir: &Path, files: &mut Files) -> io::Result<()> {
    for entry in fs::read_dir(root.join(dir))? {
        let entry = entry?;
        let (path, name) = (dir.join(entry.file_name()), entry.file_name());
        if entry.file_type()?.is_dir() {
            if name != "target" && !name.as_encoded_bytes().starts_with(b".") {
                collect(root, &path, files)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(entry.path())?;
            files.insert(path, text);
        }
    }
    Ok(())
}

fn opening(path: &Path, text: &str) -> Option<String> {
    let first = text.lines().next().unwrap_or_default();
    (!first.starts_with("//! ")).then(|| format!("{}: opens without a line of //!", path.display()))
}

fn forbidden_attributes(path: &Path, text: &str) -> Vec<String> {
    // Not written as they are meant, or this file would be the first to be found.
    let forbidden = [concat!("#[", "ignore"), concat!("should_", "panic")];
    let lines = (1..).zip(text.lines());
    let found = lines.filter(|(_, line)| forbidden.iter().any(|attribute| line.contains(attribute)));
    found.map(|(number, line)| format!("{}:{number}: {}", path.display(), line.trim())).collect()
}

/// Sleeps in test code: the whole tests package, files and directories called tests, and what follows `#[cfg(test)]`.
fn sleeps(path: &Path, text: &str) -> Vec<String> {
    let all =
        path.components().any(|part| part.as_os_str() == "tests") || path.file_stem().is_some_and(|s| s == "tests");
    let (mut test, mut problems, mut before) = (all, Vec::new(), "");
    for (number, line) in (1..).zip(text.lines()) {
        test |= line.trim_start().starts_with("#[cfg(test)]");
        let code = line.split("//").next().unwrap_or_default();
        let has_reason = [line, before].iter().any(|line| line.contains("// reason:"));
        if test && calls_sleep(code) && !has_reason {
            problems.push(format!("{}:{number}: sleeps without `// reason:`", path.display()));
        }
        before = line;
    }
    problems
}

fn calls_sleep(code: &str) -> bool {
    let call = concat!("sleep", "(");
    code.match_indices(call).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != '"')
    })
}

fn length(path: &Path, text: &str, allowed: &[(&str, &str)]) -> Option<String> {
    let lines = text.lines().count();
    let has_reason = allowed.iter().any(|(name, reason)| Path::new(name) == path && !reason.is_empty());
    (lines > TOO_LONG || lines > LONG && !has_reason).then(|| format!("{}: {lines} lines", path.display()))
}

/// Files that no crate root leads to.
fn unreachable(files: &Files) -> Vec<String> {
    let mut reached: BTreeSet<&PathBuf> = files.keys().filter(|path| is_root(path)).collect();
    let mut open: Vec<&PathBuf> = reached.iter().copied().collect();
    while let Some(path) = open.pop() {
        let children = modules(&files[path]).into_iter().flat_map(|module| {
            let dir = module_dir(path);
            [dir.join(format!("{module}.rs")), dir.join(module).join("mod.rs")]
        });
        for child in children {
            if let Some((child, _)) = files.get_key_value(&child)
                && reached.insert(child)
            {
                open.push(child);
            }
        }
    }
    let lost = files.keys().filter(|path| !reached.contains(path));
    lost.map(|path| format!("{}: no crate root leads here", path.display())).collect()
}

/// Whether cargo finds a target here by itself: `src/{lib,main}.rs`, `build.rs`, and files or `main.rs` below
/// `src/bin`, `tests`, `benches`, `examples` and `fuzz_targets`.
fn is_root(path: &Path) -> bool {
    let parts: Vec<&str> = path.iter().filter_map(|part| part.to_str()).collect();
    match parts.as_slice() {
        [_, "src", "lib.rs" | "main.rs"] | [_, "build.rs"] => true,
        [_, "src", "bin", rest @ ..] | [_, "tests" | "benches" | "examples" | "fuzz_targets", rest @ ..] => {
            matches!(rest, [_] | [_, "main.rs"])
        }
        _ => false,
    }
}

/// Where the modules lie that the file at `path` declares.
fn module_dir(path: &Path) -> PathBuf {
    let is_dirs_own = is_root(path) || path.ends_with("mod.rs");
    if is_dirs_own { path.parent().unwrap_or(Path::new("")).to_owned() } else { path.with_extension("") }
}

/// The `mod name;` of a file.
fn modules(text: &str) -> Vec<&str> {
    let declared = text.lines().filter_map(|line| {
        let declaration = line.trim().strip_suffix(';')?;
        let (visibility, name) = declaration.split_once("mod ")?;
        (visibility.is_empty() || visibility.starts_with("pub")).then_some(name)
    });
    declared.collect()
}

mod rules {
    //! Each rule finds what it is for, and nothing else.

    use super::*;

    fn path() -> &'static Path {
        Path::new("agent/src/wal.rs")
    }

    #[test]
    fn openings() {
        assert_eq!(opening(path(), "//! What it is.\n"), None);
        for text in ["", "// x\n", "use x;\n//! late\n", "//!\n"] {
            assert!(opening(path(), text).is_some(), "{text:?}");
        }
    }

    #[test]
    fn attributes() {
        assert!(forbidden_attributes(path(), "#[test]\nfn ignore() {}\n").is_empty());
        for text in [concat!("#[", "ignore]"), concat!("    #[", "ignore = \"slow\"]"), concat!("#[should_", "panic]")]
        {
            assert_eq!(forbidden_attributes(path(), text).len(), 1, "{text:?}");
        }
    }

    #[test]
    fn sleeping() {
        let check = |path: &str, text: &str, expected: usize| {
            let text = text.replace("NAP", concat!("sleep", "(1)"));
            assert_eq!(sleeps(Path::new(path), &text).len(), expected, "{path}: {text:?}");
        };
        check("agent/src/wal.rs", "tokio::time::NAP", 0);
        check("agent/src/wal.rs", "#[cfg(test)]\nmod tests {\n    NAP;\n}", 1);
        check("agent/src/wal/tests.rs", "thread::NAP;", 1);
        check("tests/src/wait.rs", "NAP", 1);
        check("tests/src/wait.rs", "// reason: time itself is tested\nNAP", 0);
        check("tests/src/wait.rs", "NAP // reason: time itself is tested", 0);
        check("tests/src/wait.rs", "// never NAP\nlet sql = \"SELECT pg_NAP\"; over_NAP", 0);
    }

    #[test]
    fn lengths() {
        let check = |lines: usize, allowed: &[(&str, &str)], expected: bool| {
            assert_eq!(length(path(), &"x\n".repeat(lines), allowed).is_some(), expected, "{lines} lines");
        };
        let reason = [("agent/src/wal.rs", "one table")];
        check(LONG, &[], false);
        check(LONG + 1, &[], true);
        check(LONG + 1, &reason, false);
        check(LONG + 1, &[("agent/src/wal.rs", "")], true);
        check(TOO_LONG + 1, &reason, true);
    }

    #[test]
    fn reachability() {
        let files = |list: &[(&str, &str)]| list.iter().map(|(path, text)| (path.into(), (*text).into())).collect();
        let found = unreachable(&files(&[
            ("agent/src/lib.rs", "pub mod wal;\npub(crate) mod net;\nmod inline {\n}\n// mod lost;"),
            ("agent/src/wal.rs", "mod lsn;\n#[cfg(test)]\nmod tests;"),
            ("agent/src/wal/lsn.rs", ""),
            ("agent/src/wal/tests.rs", ""),
            ("agent/src/net/mod.rs", "mod tcp;"),
            ("agent/src/net/tcp.rs", ""),
            ("agent/src/lost.rs", "mod child;"),
            ("agent/src/lost/child.rs", ""),
            ("tests/src/main.rs", "mod xtask;"),
            ("tests/src/xtask.rs", "mod wal;"),
            ("tests/tests/tidy.rs", ""),
            ("tests/tests/scenarios/main.rs", "mod a;"),
            ("tests/tests/scenarios/a.rs", ""),
            ("tests/tests/scenarios/b.rs", ""),
        ]));
        let expected = ["agent/src/lost/child.rs", "agent/src/lost.rs", "tests/tests/scenarios/b.rs"];
        assert_eq!(found, expected.map(|path| format!("{path}: no crate root leads here")));
    }
}
