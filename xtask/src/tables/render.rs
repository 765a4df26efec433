//! The table as Rust source, in a layout of its own: rustfmt would give each element a line.

use super::{RootElement, TypeRow};

const WIDTH: usize = 110;
const INDENT: &str = "            ";
const HEAD: &str = "\
//! R4 4.0.1 by resource type. Written by `cargo xtask tables`; do not edit.

use super::{TypeRow, mandatory, mandatory_choice, optional, optional_choice};

/// All concrete resource types, alphabetically.
#[rustfmt::skip]
pub(crate) static TYPES: &[TypeRow] = &[
";

/// Writes the whole file.
pub(super) fn render(rows: &[TypeRow]) -> String {
    let mut source = HEAD.to_owned();
    for row in rows {
        source.push_str("    TypeRow {\n");
        source.push_str(&format!(
            "        name: \"{}\",\n        elements: &[\n",
            row.name
        ));
        for line in wrap(&row.elements) {
            source.push_str(&format!("{line}\n"));
        }
        let paths: Vec<String> = row
            .patient_paths
            .iter()
            .map(|path| format!("\"{path}\""))
            .collect();
        source.push_str(&format!(
            "        ],\n        patient_paths: &[{}],\n    }},\n",
            paths.join(", ")
        ));
    }
    source.push_str("];\n");
    source
}

fn wrap(elements: &[RootElement]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for element in elements.iter().map(call) {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + element.len() <= WIDTH => {
                line.push(' ');
                line.push_str(&element);
            }
            _ => lines.push(format!("{INDENT}{element}")),
        }
    }
    lines
}

fn call(element: &RootElement) -> String {
    let function = match (element.mandatory, element.choice) {
        (false, false) => "optional",
        (true, false) => "mandatory",
        (false, true) => "optional_choice",
        (true, true) => "mandatory_choice",
    };
    format!("{function}(\"{}\"),", element.name)
}
