//! The shape of the rows in `parameters.rs`: one search parameter of one type.

/// How the values of a parameter are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Number,
    Date,
    String,
    Token,
    Reference,
    Composite,
    Quantity,
    Uri,
}

/// One search parameter of one type.
#[derive(Debug)]
pub(crate) struct SearchRow {
    /// The name in a query.
    pub(crate) code: &'static str,
    pub(crate) kind: Kind,
    /// The id of HL7's definition: the last part of its URL.
    pub(crate) definition: &'static str,
    /// Where the values lie: `member.member:Type`, alternatives parted by `|`. What can stand there is written in `search::path`.
    pub(crate) paths: &'static str,
    /// What the definition says of this type.
    pub(crate) documentation: &'static str,
    /// The types that a reference may mean, parted by spaces; empty for any.
    pub(crate) targets: &'static str,
    /// The parts of a composite.
    pub(crate) components: &'static [Component],
}

/// One part of a composite: its paths begin at the composite's own, or at the resource where they begin with `%`.
#[derive(Debug)]
pub(crate) struct Component {
    pub(crate) kind: Kind,
    pub(crate) paths: &'static str,
}

/// A parameter that the definitions have and that cannot be used here.
#[derive(Debug)]
pub(crate) struct UnsupportedRow {
    /// The type's name, `*` for all.
    pub(crate) resource_type: &'static str,
    pub(crate) code: &'static str,
    pub(crate) reason: &'static str,
}

type Text = &'static str;

const fn row(kind: Kind, code: Text, definition: Text, paths: Text, documentation: Text) -> SearchRow {
    SearchRow {
        code,
        kind,
        definition,
        paths,
        documentation,
        targets: "",
        components: &[],
    }
}

pub(super) const fn number(code: Text, definition: Text, paths: Text, documentation: Text) -> SearchRow {
    row(Kind::Number, code, definition, paths, documentation)
}

pub(super) const fn date(code: Text, definition: Text, paths: Text, documentation: Text) -> SearchRow {
    row(Kind::Date, code, definition, paths, documentation)
}

pub(super) const fn string(code: Text, definition: Text, paths: Text, documentation: Text) -> SearchRow {
    row(Kind::String, code, definition, paths, documentation)
}

pub(super) const fn token(code: Text, definition: Text, paths: Text, documentation: Text) -> SearchRow {
    row(Kind::Token, code, definition, paths, documentation)
}

pub(super) const fn quantity(code: Text, definition: Text, paths: Text, documentation: Text) -> SearchRow {
    row(Kind::Quantity, code, definition, paths, documentation)
}

pub(super) const fn uri(code: Text, definition: Text, paths: Text, documentation: Text) -> SearchRow {
    row(Kind::Uri, code, definition, paths, documentation)
}

pub(super) const fn reference(
    code: Text,
    definition: Text,
    paths: Text,
    documentation: Text,
    targets: Text,
) -> SearchRow {
    SearchRow {
        targets,
        ..row(Kind::Reference, code, definition, paths, documentation)
    }
}

pub(super) const fn composite(
    code: Text,
    definition: Text,
    paths: Text,
    documentation: Text,
    components: &'static [Component],
) -> SearchRow {
    SearchRow {
        components,
        ..row(Kind::Composite, code, definition, paths, documentation)
    }
}

pub(super) const fn component(kind: Kind, paths: Text) -> Component {
    Component { kind, paths }
}

pub(super) const fn unsupported(resource_type: Text, code: Text, reason: Text) -> UnsupportedRow {
    UnsupportedRow {
        resource_type,
        code,
        reason,
    }
}
