//! The table of search parameters as Rust source.

use super::{Component, Row, Tables, elements::capitalized};

const HEAD: &str = "\
//! Search parameters of R4 4.0.1. Written by `cargo xtask tables`; do not edit.

use super::search::{
    Kind, SearchRow, UnsupportedRow, component, composite, date, number, quantity, reference, string, token,
    unsupported, uri,
};

";

/// Writes the whole file.
pub(super) fn render(tables: &Tables) -> String {
    let mut source = HEAD.to_owned();
    source
        .push_str("/// Those of all types.\n#[rustfmt::skip]\npub(crate) static COMMON: &[SearchRow] = &[\n");
    push_rows(&mut source, "    ", &tables.common);
    source.push_str(
        "];\n\n/// Those of each type, in the order of `TYPES`, each type's by code.\n#[rustfmt::skip]\n",
    );
    source.push_str("pub(crate) static BY_TYPE: &[&[SearchRow]] = &[\n");
    for (name, rows) in &tables.by_type {
        source.push_str(&format!("    // {name}\n    &[\n"));
        push_rows(&mut source, "        ", rows);
        source.push_str("    ],\n");
    }
    source.push_str(
        "];\n\n/// Those that are not supported: type (`*` for all), code, reason.\n#[rustfmt::skip]\n",
    );
    source.push_str("pub(crate) static UNSUPPORTED: &[UnsupportedRow] = &[\n");
    for (name, code, reason) in &tables.unsupported {
        source.push_str(&format!("    unsupported({name:?}, {code:?}, {reason:?}),\n"));
    }
    source.push_str("];\n");
    source
}

fn push_rows(source: &mut String, indent: &str, rows: &[Row]) {
    for row in rows {
        let Row {
            code,
            kind,
            definition,
            paths,
            documentation,
            ..
        } = row;
        let extra = match kind.as_str() {
            "reference" => format!(", {:?}", row.targets),
            "composite" => format!(", &[{}]", components(&row.components)),
            _ => String::new(),
        };
        source.push_str(&format!(
            "{indent}{kind}({code:?}, {definition:?}, {paths:?}, {documentation:?}{extra}),\n"
        ));
    }
}

fn components(components: &[Component]) -> String {
    let each: Vec<String> = components
        .iter()
        .map(|each| format!("component(Kind::{}, {:?})", capitalized(&each.kind), each.paths))
        .collect();
    each.join(", ")
}
