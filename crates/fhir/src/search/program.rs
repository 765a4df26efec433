//! Clauses made ready: one walk over a resource that asks every clause.

use super::{
    path::{Path, Tree},
    predicate::Predicate,
    value::{Value, means},
};

/// The clauses that a query can have, which is the number of bits of what a walk finds.
pub(super) const CLAUSES_MAX: usize = 64;

/// Clauses with the tree of their paths.
#[derive(Clone, Debug, Default)]
pub(super) struct Program {
    tree: Tree,
    predicates: Vec<Predicate>,
    /// The clauses that must find nothing, as bits.
    negated: u64,
}

/// One walk.
struct Walk<'b> {
    resource: Value<'b>,
    /// The clauses that found something, as bits.
    hits: u64,
}

impl Program {
    /// Adds a clause and gives its bit. There are at most [`CLAUSES_MAX`].
    pub(super) fn add(&mut self, predicate: Predicate, paths: &[Path], negated: bool) -> u64 {
        let clause = self.predicates.len();
        for path in paths {
            self.tree.add(path, clause);
        }
        self.predicates.push(predicate);
        let bit = 1 << clause;
        self.negated |= if negated { bit } else { 0 };
        bit
    }

    /// How many clauses there are.
    pub(super) fn clauses(&self) -> usize {
        self.predicates.len()
    }

    /// Whether all clauses hold of a resource, where some are known to have found something.
    pub(super) fn holds(&self, resource: Value<'_>, known: u64) -> bool {
        let hits = if self.is_decided(known) {
            known
        } else {
            self.hits(resource, resource, known)
        };
        hits ^ self.negated == self.all()
    }

    /// The clauses that find something at a value; the walk ends where no more can change the answer.
    pub(super) fn hits(&self, at: Value<'_>, resource: Value<'_>, known: u64) -> u64 {
        let mut walk = Walk {
            resource,
            hits: known,
        };
        self.visit(&mut walk, 0, at);
        walk.hits
    }

    fn all(&self) -> u64 {
        match self.predicates.len() {
            0 => 0,
            clauses => u64::MAX >> (CLAUSES_MAX - clauses),
        }
    }

    /// Whether the answer can change no more: one clause found what must not be, or all found what must be.
    fn is_decided(&self, hits: u64) -> bool {
        hits & self.negated != 0 || hits == self.all()
    }

    /// Looks at a value at a node of the tree; tells whether the walk is at its end.
    fn visit(&self, walk: &mut Walk<'_>, node: usize, value: Value<'_>) -> bool {
        if !value.is_array() {
            return self.visit_one(walk, node, value);
        }
        // FHIR has no array within an array, so nothing is looked for there.
        value
            .elements()
            .filter(|element| !element.is_array())
            .any(|element| self.visit_one(walk, node, element))
    }

    fn visit_one(&self, walk: &mut Walk<'_>, node: usize, value: Value<'_>) -> bool {
        let node = &self.tree.nodes[node];
        if value.is_null() {
            return false;
        }
        if let Some(filter) = node.filter
            && !value
                .member(filter.member)
                .is_some_and(|value| value.is_text(filter.text))
        {
            return false;
        }
        for test in &node.tests {
            let bit = 1 << test.clause;
            let open = walk.hits & bit == 0;
            if open && self.predicates[test.clause].holds(test.leaf, value, walk.resource) {
                walk.hits |= bit;
                if self.is_decided(walk.hits) {
                    return true;
                }
            }
        }
        if node.edges.is_empty() {
            return false;
        }
        let mut names_left = node.names;
        for (name, member) in value.members() {
            let mut met = false;
            for edge in &node.edges {
                if means(name, edge.member) {
                    met = true;
                    if self.visit(walk, edge.node, member) {
                        return true;
                    }
                }
            }
            // No object has a name twice.
            names_left -= usize::from(met);
            if names_left == 0 {
                break;
            }
        }
        false
    }
}
