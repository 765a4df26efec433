//! Makes the part of a tree that is asked for, in one pass over resources: [`Gatherer`].

use fhirhose_fhir::content_hash::{ContentHash, ContentHasher, Ignoring};
use fhirhose_fhir::resource_type::ResourceType;

use super::tree::{Address, Ask, Buckets};
use crate::{Error, ErrorKind, Result};

/// A resource by name, with its content.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Its id.
    pub id: String,
    /// The hash of its content, without what servers set in `meta`.
    pub content: ContentHash,
}

/// What a pass is to bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listing {
    /// Counts and sums.
    Buckets,
    /// The resources themselves, by name.
    Entries,
}

/// What a pass has brought.
#[derive(Debug, Default)]
pub struct Gathered {
    /// The buckets, where they were asked for.
    pub buckets: Buckets,
    /// The resources, where they were asked for, in the order of the pass.
    pub entries: Vec<Entry>,
}

/// Takes the resources of one type, one after another.
#[derive(Debug)]
pub struct Gatherer {
    resource_type: ResourceType,
    ask: Ask,
    listing: Listing,
    hasher: ContentHasher,
    gathered: Gathered,
}

impl Gatherer {
    /// Begins a pass.
    pub fn new(resource_type: ResourceType, ask: Ask, listing: Listing) -> Self {
        Self {
            resource_type,
            ask,
            listing,
            hasher: ContentHasher::default(),
            gathered: Gathered::default(),
        }
    }

    /// Takes a resource, whose text is read only if it is asked for.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] for a text that is no JSON object.
    pub fn resource(&mut self, id: &str, text: &[u8]) -> Result<()> {
        let Some(prefix) = self.ask.bucket_of(Address::of(self.resource_type, id)) else {
            return Ok(());
        };
        let hashed = self.hasher.hash(text, Ignoring::SERVER_META);
        let content = hashed.map_err(|source| {
            Error::new(ErrorKind::Corrupt, "hashing the content of a resource").with_source(source)
        })?;
        self.add(prefix, id, content);
        Ok(())
    }

    /// Takes a resource whose content was hashed before.
    pub fn hashed(&mut self, id: &str, content: ContentHash) {
        if let Some(prefix) = self.ask.bucket_of(Address::of(self.resource_type, id)) {
            self.add(prefix, id, content);
        }
    }

    fn add(&mut self, prefix: super::tree::Prefix, id: &str, content: ContentHash) {
        match self.listing {
            Listing::Buckets => {
                let bucket = self.gathered.buckets.entry(prefix).or_default();
                bucket.add((self.resource_type, id), content);
            }
            Listing::Entries => self.gathered.entries.push(Entry {
                id: id.to_owned(),
                content,
            }),
        }
    }

    /// How many resources are listed by name so far.
    pub fn listed(&self) -> usize {
        self.gathered.entries.len()
    }

    /// Ends the pass.
    pub fn finish(self) -> Gathered {
        self.gathered
    }
}
