//! Paths of search parameters as the table writes them, and the tree that many of them make.
//!
//! A path is `member.member:Type`; a member may carry a filter, `telecom[system=phone]`. [`Tree`] joins the paths of all clauses of
//! a query, so that one walk over a resource serves them all.

use crate::resource_type::ResourceType;

/// What lies at the end of a path, and so how a value is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaf {
    Id,
    /// A code whose value set implies these systems, parted by commas; none if they are not known.
    Code(&'static str),
    Text,
    Boolean,
    Coding,
    CodeableConcept,
    Identifier,
    ContactPoint,
    HumanName,
    Address,
    Uri,
    Canonical,
    Date,
    Period,
    Timing,
    Quantity,
    Money,
    Range,
    Decimal,
    /// A reference, to any type or to one only.
    Reference(Option<ResourceType>),
    /// Whatever it is, that it is there counts.
    Exists,
    /// An object from which the parts of a composite hang.
    Itself,
}

/// A path, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path {
    /// Whether a part of a composite begins at the resource, not at the composite's own element.
    pub(super) from_resource: bool,
    pub(super) steps: Vec<Step>,
    pub(super) leaf: Leaf,
}

/// One member on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) member: &'static str,
    pub(super) filter: Option<Filter>,
}

/// What an object must have to be followed: a member with this text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Filter {
    pub(super) member: &'static str,
    pub(super) text: &'static str,
}

/// Reads what the table says; `None` if it is not written as it should be, which a test rules out for all rows.
pub(super) fn parse(paths: &'static str) -> Option<Vec<Path>> {
    paths.split('|').map(parse_one).collect()
}

fn parse_one(path: &'static str) -> Option<Path> {
    let (steps, leaf) = path.split_once(':')?;
    let leaf = leaf_of(leaf)?;
    let (from_resource, steps) = match steps.strip_prefix('%') {
        Some(rest) => (true, rest),
        None => (false, steps),
    };
    let steps = steps.split('.').filter(|step| !step.is_empty()).map(step_of);
    Some(Path {
        from_resource,
        steps: steps.collect::<Option<_>>()?,
        leaf,
    })
}

fn step_of(text: &'static str) -> Option<Step> {
    let Some((member, filter)) = text.split_once('[') else {
        return Some(Step {
            member: text,
            filter: None,
        });
    };
    let (name, text) = filter.strip_suffix(']')?.split_once('=')?;
    Some(Step {
        member,
        filter: Some(Filter { member: name, text }),
    })
}

fn leaf_of(text: &'static str) -> Option<Leaf> {
    if let Some((name, argument)) = text.split_once('(') {
        let argument = argument.strip_suffix(')')?;
        return match name {
            "code" => Some(Leaf::Code(argument)),
            "Reference" => Some(Leaf::Reference(Some(ResourceType::parse(argument)?))),
            _ => None,
        };
    }
    Some(match text {
        "id" => Leaf::Id,
        "code" => Leaf::Code(""),
        "string" => Leaf::Text,
        "boolean" => Leaf::Boolean,
        "Coding" => Leaf::Coding,
        "CodeableConcept" => Leaf::CodeableConcept,
        "Identifier" => Leaf::Identifier,
        "ContactPoint" => Leaf::ContactPoint,
        "HumanName" => Leaf::HumanName,
        "Address" => Leaf::Address,
        "uri" | "url" => Leaf::Uri,
        "canonical" => Leaf::Canonical,
        "date" | "dateTime" | "instant" => Leaf::Date,
        "Period" => Leaf::Period,
        "Timing" => Leaf::Timing,
        "Quantity" => Leaf::Quantity,
        "Money" => Leaf::Money,
        "Range" => Leaf::Range,
        "decimal" => Leaf::Decimal,
        "Reference" => Leaf::Reference(None),
        "exists" => Leaf::Exists,
        "self" => Leaf::Itself,
        _ => return None,
    })
}

/// Many paths as one tree; node 0 is where they begin.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    pub(super) nodes: Vec<Node>,
}

/// A place on the way.
#[derive(Clone, Debug, Default)]
pub(super) struct Node {
    pub(super) filter: Option<Filter>,
    pub(super) edges: Vec<Edge>,
    /// How many different members the edges lead to; with filters, several may lead to one.
    pub(super) names: usize,
    /// Which clauses look at the values here, and as what.
    pub(super) tests: Vec<Test>,
}

/// The way to a member.
#[derive(Clone, Copy, Debug)]
pub(super) struct Edge {
    pub(super) member: &'static str,
    pub(super) node: usize,
}

/// A clause, by its position, that looks at a value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Test {
    pub(super) clause: usize,
    pub(super) leaf: Leaf,
}

impl Default for Tree {
    fn default() -> Self {
        Self {
            nodes: vec![Node::default()],
        }
    }
}

impl Tree {
    /// Adds a path at whose end a clause looks.
    pub(super) fn add(&mut self, path: &Path, clause: usize) {
        let mut at = 0;
        for step in &path.steps {
            at = self.child(at, *step);
        }
        let leaf = path.leaf;
        self.nodes[at].tests.push(Test { clause, leaf });
    }

    fn child(&mut self, at: usize, step: Step) -> usize {
        let known = self.nodes[at]
            .edges
            .iter()
            .find(|edge| edge.member == step.member && self.nodes[edge.node].filter == step.filter);
        if let Some(edge) = known {
            return edge.node;
        }
        let known_name = self.nodes[at].edges.iter().any(|edge| edge.member == step.member);
        self.nodes[at].names += usize::from(!known_name);
        let node = self.nodes.len();
        self.nodes.push(Node {
            filter: step.filter,
            ..Node::default()
        });
        self.nodes[at].edges.push(Edge {
            member: step.member,
            node,
        });
        node
    }
}

#[cfg(test)]
mod tests {
    use super::{Leaf, parse};
    use crate::{
        resource_type::ResourceType,
        tables::{
            parameters::{BY_TYPE, COMMON, UNSUPPORTED},
            search::Kind,
        },
    };

    /// T-10: every parameter of R4 can be used, or stands in the list of those that cannot, with its reason.
    #[test]
    fn every_parameter_of_the_definitions_is_compiled_or_left_out_by_name() {
        assert_eq!(BY_TYPE.len(), ResourceType::all().count());
        let mut rows = 0;
        for row in BY_TYPE.iter().copied().flatten().chain(COMMON) {
            rows += 1;
            let paths = parse(row.paths).unwrap_or_else(|| panic!("{} {}", row.definition, row.paths));
            assert!(!paths.is_empty(), "{}", row.definition);
            assert_eq!(row.components.is_empty(), row.kind != Kind::Composite);
            for component in row.components {
                assert!(
                    parse(component.paths).is_some(),
                    "{} {}",
                    row.definition,
                    component.paths
                );
                assert_ne!(component.kind, Kind::Composite);
            }
            let from_here = paths.iter().all(|path| !path.from_resource);
            assert!(from_here && (row.kind == Kind::Composite) == (paths[0].leaf == Leaf::Itself));
        }
        // 1,377 definitions for 1,708 types and parameters; Group's name is added.
        assert_eq!(rows + UNSUPPORTED.len(), 1_708 + 1);
        assert!(UNSUPPORTED.iter().all(|row| !row.reason.is_empty()));
    }

    #[test]
    fn each_type_has_each_name_once_and_in_order() {
        for rows in BY_TYPE {
            assert!(rows.is_sorted_by(|a, b| a.code < b.code));
            assert!(
                rows.iter()
                    .all(|row| COMMON.iter().all(|common| common.code != row.code))
            );
        }
    }
}
