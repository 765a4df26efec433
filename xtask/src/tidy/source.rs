//! Rules for one source file: its length, its functions' lengths, its module doc, words that mark unfinished work.

use std::path::Path;

use super::mask::{is_word, mask};

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;
/// Files in these folders may be long: tests (`testing` holds those that a crate ships) list cases, tables are data.
const LONG_FOLDERS: [&str; 3] = ["tests", "testing", "tables"];
/// Spelled in halves, or this file would break its own rule.
const UNFINISHED: [&str; 2] = [concat!("TO", "DO"), concat!("FIX", "ME")];

/// Tells each rule that the file breaks, by line.
pub(super) fn problems(path: &Path, text: &str) -> Vec<String> {
    let place = path.display();
    let mut problems = Vec::new();
    let lines = text.lines().count();
    if lines > FILE_LINES_MAX && !may_be_long(path) {
        problems.push(format!("{place}: {lines} lines, {FILE_LINES_MAX} are the limit"));
    }
    if !has_module_doc(text) {
        problems.push(format!("{place}:1: no module doc (`//!`)"));
    }
    for (at, line) in text.lines().enumerate() {
        if UNFINISHED.iter().any(|word| has_word(line, word)) {
            problems.push(format!("{place}:{}: unfinished work", at + 1));
        }
    }
    for function in functions(text) {
        if function.lines > FUNCTION_LINES_MAX {
            problems.push(format!(
                "{place}:{}: fn {} has {} lines, {FUNCTION_LINES_MAX} are the limit",
                function.line, function.name, function.lines
            ));
        }
    }
    problems
}

fn may_be_long(path: &Path) -> bool {
    path.components()
        .any(|part| LONG_FOLDERS.iter().any(|folder| part.as_os_str() == *folder))
}

/// Inner attributes may come before the module doc.
fn has_module_doc(text: &str) -> bool {
    let first = text
        .lines()
        .find(|line| !line.trim().is_empty() && !line.starts_with("#!"));
    first.is_some_and(|line| line.strip_prefix("//!").is_some_and(|doc| !doc.trim().is_empty()))
}

fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let bytes = line.as_bytes();
        let before = at.checked_sub(1).and_then(|before| bytes.get(before));
        let after = bytes.get(at + word.len());
        ![before, after].into_iter().flatten().any(|byte| is_word(*byte))
    })
}

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
struct Function {
    name: String,
    /// The line of its `fn`, from 1 on.
    line: usize,
    /// From its `fn` to its closing brace.
    lines: usize,
}

fn functions(text: &str) -> Vec<Function> {
    let code = mask(text);
    let mut functions = Vec::new();
    for at in 0..code.len() {
        let Some(name) = function_name(&code, at) else {
            continue;
        };
        let Some(end) = body_end(&code, at) else { continue };
        functions.push(Function {
            name: String::from_utf8_lossy(name).into_owned(),
            line: 1 + line_breaks(&code[..at]),
            lines: 1 + line_breaks(&code[at..end]),
        });
    }
    functions
}

/// The name that follows an `fn` at this offset. A type such as `fn(u8)` has none.
fn function_name(code: &[u8], at: usize) -> Option<&[u8]> {
    if at > 0 && is_word(code[at - 1]) {
        return None;
    }
    let rest = code[at..].strip_prefix(b"fn")?;
    let name = rest.trim_ascii_start();
    let length = name.iter().take_while(|byte| is_word(**byte)).count();
    (name.len() < rest.len() && length > 0).then(|| &name[..length])
}

/// The offset behind the closing brace of the function that starts here; `None` for one without a body.
fn body_end(code: &[u8], start: usize) -> Option<usize> {
    let (mut brackets, mut braces) = (0, 0);
    for (at, byte) in code.iter().enumerate().skip(start) {
        match byte {
            b'(' | b'[' => brackets += 1,
            b')' | b']' => brackets -= 1,
            b'{' => braces += 1,
            b'}' => {
                braces -= 1;
                if braces == 0 && brackets == 0 {
                    return Some(at + 1);
                }
            }
            b';' if braces == 0 && brackets == 0 => return None,
            _ => {}
        }
    }
    None
}

fn line_breaks(code: &[u8]) -> usize {
    code.iter().filter(|byte| **byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{FILE_LINES_MAX, FUNCTION_LINES_MAX, functions, problems};

    fn check(path: &str, text: &str, expected: &[&str]) {
        assert_eq!(problems(Path::new(path), text), expected, "{path}");
    }

    fn function(lines: usize) -> String {
        format!(
            "//! Doc.\nfn long(a: [u8; 2]) {{\n{}}}\n",
            "    // '\n".repeat(lines - 2)
        )
    }

    #[test]
    fn long_files_are_a_problem_outside_tests_and_tables() {
        let text = format!("//! Doc.\n{}", "\n".repeat(FILE_LINES_MAX));
        check("src/a.rs", &text, &["src/a.rs: 601 lines, 600 are the limit"]);
        check("tests/it/a.rs", &text, &[]);
        check("src/tables/a.rs", &text, &[]);
        check("src/a.rs", text.strip_suffix('\n').expect("a last line"), &[]);
    }

    #[test]
    fn long_functions_are_a_problem_everywhere() {
        let expected = ["tests/a.rs:2: fn long has 71 lines, 70 are the limit"];
        check("tests/a.rs", &function(FUNCTION_LINES_MAX + 1), &expected);
        check("tests/a.rs", &function(FUNCTION_LINES_MAX), &[]);
    }

    #[test]
    fn functions_are_found_where_they_are() {
        let text = "trait A {\n fn none(&self, x: [u8; 2]) -> fn(u8);\n fn\n two() { \"}\"; }\n}\nfn three() {\n\n}\n";
        let found: Vec<_> = functions(text)
            .into_iter()
            .map(|each| (each.name, each.line, each.lines))
            .collect();
        assert_eq!(found, [("two".to_owned(), 3, 2), ("three".to_owned(), 6, 3)]);
    }

    #[test]
    fn each_file_has_a_module_doc() {
        check("a.rs", "#![no_main]\n\n//! Doc.\n", &[]);
        check("a.rs", "use b;\n//! Doc.\n", &["a.rs:1: no module doc (`//!`)"]);
        check("a.rs", "//!\nuse b;\n", &["a.rs:1: no module doc (`//!`)"]);
        check("a.rs", "", &["a.rs:1: no module doc (`//!`)"]);
    }

    #[test]
    fn unfinished_work_is_a_problem() {
        check(
            "a.rs",
            &format!("//! {}: more\n", concat!("TO", "DO")),
            &["a.rs:1: unfinished work"],
        );
        check("a.rs", &format!("//! {}S are fine\n", concat!("TO", "DO")), &[]);
    }
}
