//! The references that a resource has in the elements of a reference parameter, for `_include` and `_revinclude`.

use super::{
    parameters::rows,
    path::{self, Leaf, Path, Step},
    value::Value,
};
use crate::{
    reference::{Reference, Target},
    resource_type::ResourceType,
    tables::search::{Kind, SearchRow},
};

/// A search parameter of kind reference, ready to be read from resources of its type.
#[derive(Debug, Clone)]
pub struct ReferenceParameter {
    row: &'static SearchRow,
    paths: Vec<Path>,
}

impl ReferenceParameter {
    /// Finds the reference parameter of a type by its name; `None` if there is none, or it means canonical URLs only.
    pub fn find(resource_type: ResourceType, code: &str) -> Option<Self> {
        let row = rows(resource_type).find(|row| row.code == code && row.kind == Kind::Reference)?;
        let mut paths = path::parse(row.paths)?;
        paths.retain(|path| matches!(path.leaf, Leaf::Reference(_)));
        (!paths.is_empty()).then_some(Self { row, paths })
    }

    /// Whether its references may mean resources of this type.
    pub fn may_mean(&self, resource_type: ResourceType) -> bool {
        self.row.targets.is_empty()
            || self
                .row
                .targets
                .split(' ')
                .any(|name| name == resource_type.name())
    }

    /// Hands over the literal references of a resource in the order of their paths; the same one may come twice.
    pub fn for_each(&self, body: &[u8], mut take: impl FnMut(Reference<'_>)) {
        let resource = Value::whole(body);
        for path in &self.paths {
            let Leaf::Reference(only) = path.leaf else {
                continue;
            };
            visit(&path.steps, resource, &mut |value| {
                let Some(text) = value.member("reference").and_then(Value::string) else {
                    return;
                };
                if let Target::Resource(reference) = Target::parse(&text)
                    && only.is_none_or(|only| only == reference.resource_type)
                {
                    take(reference);
                }
            });
        }
    }
}

fn visit(steps: &[Step], value: Value<'_>, take: &mut dyn FnMut(Value<'_>)) {
    let Some((step, rest)) = steps.split_first() else {
        return take(value);
    };
    let Some(member) = value.member(step.member) else {
        return;
    };
    for element in member.elements() {
        let kept = step.filter.is_none_or(|filter| {
            element
                .member(filter.member)
                .is_some_and(|value| value.is_text(filter.text))
        });
        if kept {
            visit(rest, element, take);
        }
    }
}
