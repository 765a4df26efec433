//! The ids of one chunk: which resources it holds, and which it refers to, each once.
//!
//! [`Targets`] is a hash table over (type, id) that keeps all its text in one buffer: a chunk has some hundred thousand
//! lookups and must not allocate for each.

use fhirhose_fhir::resource_type::ResourceType;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Resources that are held or referred to, by type and id.
#[derive(Debug, Default)]
pub(super) struct Targets {
    /// Entry number + 1 by hash; 0 is empty. The length is a power of two.
    slots: Vec<u32>,
    entries: Vec<Target>,
    texts: String,
}

/// One resource that is held or referred to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target {
    hash: u64,
    id_at: u32,
    id_len: u8,
    pub(super) resource_type: ResourceType,
    /// The number of the newest row of this resource, if the chunk holds one.
    pub(super) row: Option<u32>,
    /// How many references there are to it.
    pub(super) references: u32,
    /// The first line that refers to it.
    pub(super) first_line: u64,
}

const SLOTS_MIN: usize = 1 << 12;

impl Targets {
    pub(super) fn clear(&mut self) {
        self.slots.fill(0);
        self.entries.clear();
        self.texts.clear();
    }

    /// The entry of a resource, made if there is none.
    pub(super) fn entry(&mut self, resource_type: ResourceType, id: &str) -> &mut Target {
        // At most two thirds full.
        if (self.entries.len() + 1) * 3 > self.slots.len() * 2 {
            self.grow();
        }
        let hash = xxh3_64_with_seed(id.as_bytes(), u64::from(resource_type.code()));
        let mask = self.slots.len() - 1;
        let mut slot = hash as usize & mask;
        let number = loop {
            match self.slots[slot] {
                0 => break self.insert(slot, hash, resource_type, id),
                taken if self.is(taken - 1, hash, resource_type, id) => break taken - 1,
                _ => slot = (slot + 1) & mask,
            }
        };
        &mut self.entries[number as usize]
    }

    pub(super) fn entries(&self) -> &[Target] {
        &self.entries
    }

    pub(super) fn id(&self, target: &Target) -> &str {
        &self.texts[target.id_at as usize..][..usize::from(target.id_len)]
    }

    fn is(&self, number: u32, hash: u64, resource_type: ResourceType, id: &str) -> bool {
        let target = &self.entries[number as usize];
        target.hash == hash && target.resource_type == resource_type && self.id(target) == id
    }

    fn insert(&mut self, slot: usize, hash: u64, resource_type: ResourceType, id: &str) -> u32 {
        let number = u32::try_from(self.entries.len()).expect("a chunk is too short for 2^32 ids");
        let target = Target {
            hash,
            id_at: u32::try_from(self.texts.len()).expect("a chunk is too short for 4 GiB of ids"),
            id_len: u8::try_from(id.len()).expect("an id has at most 64 characters"),
            resource_type,
            row: None,
            references: 0,
            first_line: 0,
        };
        self.texts.push_str(id);
        self.entries.push(target);
        self.slots[slot] = number + 1;
        number
    }

    fn grow(&mut self) {
        let length = (self.slots.len() * 2).max(SLOTS_MIN);
        self.slots.clear();
        self.slots.resize(length, 0);
        for (number, target) in (1..).zip(&self.entries) {
            let mut slot = target.hash as usize & (length - 1);
            while self.slots[slot] != 0 {
                slot = (slot + 1) & (length - 1);
            }
            self.slots[slot] = number;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_has_one_entry_however_many_there_are() {
        let mut targets = Targets::default();
        for round in 0..2 {
            for number in 0..20_000 {
                let entry = targets.entry(ResourceType::PATIENT, &format!("p{number}"));
                assert_eq!(entry.references, round);
                entry.references += 1;
            }
        }
        assert_eq!(targets.entries().len(), 20_000);
        assert_eq!(
            targets.entry(ResourceType::GROUP, "p1").references,
            0,
            "another type is another resource"
        );
        targets.clear();
        assert_eq!(targets.entry(ResourceType::PATIENT, "p1").references, 0);
    }
}
