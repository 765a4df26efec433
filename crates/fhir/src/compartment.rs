//! The Patient compartment: which element paths of a type put a resource into a patient's compartment.
//!
//! The definitions' table gives each type its paths; [`Paths`] is one small tree over the paths of all types, so that
//! a pass over a line can follow it before it knows the type. Requirement: K-08, G-08.

use std::sync::LazyLock;

use crate::{
    json::{Key, Place, fingerprint},
    resource_type::ResourceType,
    tables::TYPES,
};

/// A path that is not one of the type's compartment paths.
pub(crate) const NO_RANK: u8 = u8::MAX;

/// A place in a resource that no compartment path goes through.
pub(crate) const NOWHERE: Place = Place(0);

/// The resource itself: where all paths begin.
pub(crate) const ROOT: Place = Place(1);

/// The element paths of all types as one tree; a [`Place`] is a node of it.
#[derive(Debug)]
pub(crate) struct Paths {
    /// Children by node; node 0 is [`NOWHERE`], node 1 is [`ROOT`].
    children: Vec<Vec<Child>>,
    /// The rank of each node's path in a type's list, by type position and node; [`NO_RANK`] if it is not in it.
    ranks: Vec<Vec<u8>>,
}

#[derive(Debug)]
struct Child {
    fingerprint: u64,
    name: &'static str,
    place: Place,
}

static PATHS: LazyLock<Paths> = LazyLock::new(Paths::of_all_types);

impl Paths {
    /// The tree, built once from the table.
    pub(crate) fn shared() -> &'static Self {
        &PATHS
    }

    /// How many places the tree has; places from here on are free for other use.
    pub(crate) fn places(&self) -> usize {
        self.children.len()
    }

    /// The place of the member `key` of an object at `place`.
    #[inline]
    pub(crate) fn child(&self, place: Place, key: Key, text: &str) -> Place {
        let children = self
            .children
            .get(usize::from(place.0))
            .map_or(&[][..], Vec::as_slice);
        let found = children
            .iter()
            .find(|child| key.is(text, child.fingerprint, child.name));
        found.map_or(NOWHERE, |child| child.place)
    }

    /// The position of a place's path in the type's list of compartment paths, or [`NO_RANK`].
    #[inline]
    pub(crate) fn rank(&self, resource_type: ResourceType, place: Place) -> u8 {
        let ranks = self.ranks.get(usize::from(resource_type.code()) - 1);
        ranks
            .and_then(|ranks| ranks.get(usize::from(place.0)))
            .copied()
            .unwrap_or(NO_RANK)
    }

    fn of_all_types() -> Self {
        let mut paths = Self {
            children: vec![Vec::new(), Vec::new()],
            ranks: Vec::new(),
        };
        for row in TYPES {
            let places: Vec<Place> = row.patient_paths.iter().map(|path| paths.insert(path)).collect();
            let mut ranks = vec![NO_RANK; paths.places()];
            for (rank, place) in places.iter().enumerate() {
                ranks[usize::from(place.0)] = u8::try_from(rank).expect("a type has few compartment paths");
            }
            paths.ranks.push(ranks);
        }
        paths
    }

    fn insert(&mut self, path: &'static str) -> Place {
        path.split('.')
            .fold(ROOT, |place, name| self.insert_child(place, name))
    }

    fn insert_child(&mut self, place: Place, name: &'static str) -> Place {
        let siblings = &self.children[usize::from(place.0)];
        if let Some(child) = siblings.iter().find(|child| child.name == name) {
            return child.place;
        }
        let new = Place(u8::try_from(self.places()).expect("R4 has about sixty compartment paths"));
        let child = Child {
            fingerprint: fingerprint(name.as_bytes()),
            name,
            place: new,
        };
        self.children[usize::from(place.0)].push(child);
        self.children.push(Vec::new());
        new
    }
}
