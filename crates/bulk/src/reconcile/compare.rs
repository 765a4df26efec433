//! Finds what differs between two sides, descending both trees only where they differ: [`compare_type`].

use std::collections::{BTreeMap, BTreeSet};

use fhirhose_fhir::content_hash::ContentHash;
use fhirhose_fhir::resource_type::ResourceType;
use serde::Serialize;

use super::gather::{Entry, Gathered, Listing};
use super::side::ReconcileSide;
use super::tree::{Ask, Bucket, DEPTH_MAX, PREFIXES_MAX, Prefix};
use crate::sync::both::Pair;
use crate::{Error, ErrorKind, Result};

/// A bucket with no more resources than this is listed by name instead of being divided.
const LISTED_MAX: u64 = 64;

/// Resources that are listed in one request of each side, about: what memory has to hold.
const LISTED_AT_ONCE_MAX: u64 = 50_000;

/// How a resource differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Difference {
    /// The first side does not have it.
    MissingInA,
    /// The second side does not have it.
    MissingInB,
    /// Both have it, with different contents.
    Different,
}

/// The contents of resources that differ, by id; `None` where a side has none.
pub type Found = BTreeMap<String, Pair<Option<ContentHash>>>;

impl Difference {
    /// How contents differ.
    pub fn of(contents: &Pair<Option<ContentHash>>) -> Self {
        match (contents.source, contents.target) {
            (None, _) => Self::MissingInA,
            (_, None) => Self::MissingInB,
            _ => Self::Different,
        }
    }
}

/// What a type has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TypeReport {
    /// Resources of the first side.
    pub in_a: u64,
    /// Resources of the second side.
    pub in_b: u64,
    /// Resources that only the second side has.
    pub missing_in_a: u64,
    /// Resources that only the first side has.
    pub missing_in_b: u64,
    /// Resources that differ in content.
    pub different: u64,
}

impl TypeReport {
    /// Whether both sides hold the same.
    pub fn is_equal(&self) -> bool {
        self.missing_in_a + self.missing_in_b + self.different == 0
    }
}

/// Hears of what differs, some ids at a time.
#[async_trait::async_trait]
pub trait Differences: Send {
    /// Hears of resources of one type.
    async fn hear(&mut self, resource_type: ResourceType, found: &Found) -> Result<()>;
}

/// Compares one type.
///
/// Memory: the ids of about fifty thousand resources of each side, whatever the size of the type. Network, where both sides have trees:
/// some kilobytes, and some for each difference.
///
/// # Errors
/// What a side gives.
pub async fn compare_type(
    sides: Pair<&dyn ReconcileSide>,
    resource_type: ResourceType,
    hears: &mut dyn Differences,
) -> Result<TypeReport> {
    let root = ask(vec![Prefix::ROOT], 0)?;
    let buckets = gather(sides, resource_type, &root, Listing::Buckets).await?;
    let bucket = |side: &Gathered| side.buckets.get(&Prefix::ROOT).copied().unwrap_or_default();
    let (a, b) = (bucket(&buckets.source), bucket(&buckets.target));
    let mut report = TypeReport {
        in_a: a.count,
        in_b: b.count,
        ..TypeReport::default()
    };
    if a == b {
        return Ok(report);
    }
    // The deepest last, so that what is left to do stays small.
    let mut open = vec![Open {
        prefix: Prefix::ROOT,
        count: a.count.max(b.count),
        is_spread: false,
    }];
    while !open.is_empty() {
        let (listed, divided) = next(&mut open);
        if !listed.is_empty() {
            let some = ask(listed, 0)?;
            let found = gather(sides, resource_type, &some, Listing::Entries).await?;
            let found = differing(found);
            report.add(&found);
            hears.hear(resource_type, &found).await?;
        }
        for (prefixes, depth) in divided {
            let count = prefixes.len();
            let some = ask(prefixes, depth)?;
            let found = gather(sides, resource_type, &some, Listing::Buckets).await?;
            let below = below(&found);
            // Where most of what was asked for differs, going deeper would only read it all again.
            let is_spread = below.len() > count * 16_usize.pow(depth.into()) / 2;
            open.extend(below.into_iter().map(|(prefix, count)| Open {
                prefix,
                count,
                is_spread,
            }));
        }
    }
    Ok(report)
}

/// A bucket that differs.
struct Open {
    prefix: Prefix,
    /// Its resources, of the side that has more.
    count: u64,
    /// Whether most buckets beside it differ too.
    is_spread: bool,
}

impl Open {
    /// Whether it is listed by name rather than divided.
    fn is_listed(&self) -> bool {
        let is_small = self.is_spread && self.count <= LISTED_AT_ONCE_MAX;
        is_small || self.count <= LISTED_MAX || self.prefix.is_leaf()
    }

    /// How many digits deeper it is divided: sixteen parts are enough for few, or all that is left.
    fn depth(&self) -> usize {
        match self.prefix.digits() == 15 || self.count <= 16 * LISTED_MAX {
            true => 1,
            false => usize::from(DEPTH_MAX),
        }
    }
}

impl TypeReport {
    fn add(&mut self, found: &Found) {
        for contents in found.values() {
            *match Difference::of(contents) {
                Difference::MissingInA => &mut self.missing_in_a,
                Difference::MissingInB => &mut self.missing_in_b,
                Difference::Different => &mut self.different,
            } += 1;
        }
    }
}

/// Takes what one request of each kind can ask for: buckets to be listed, and buckets to be divided, by how far.
fn next(open: &mut Vec<Open>) -> (Vec<Prefix>, Vec<(Vec<Prefix>, u8)>) {
    let (mut listed, mut listed_count) = (Vec::new(), 0);
    let mut divided: [Vec<Prefix>; DEPTH_MAX as usize] = Default::default();
    while let Some(bucket) = open.pop() {
        let room = &mut divided[bucket.depth() - 1];
        match bucket.is_listed() {
            true if listed.len() < PREFIXES_MAX && listed_count < LISTED_AT_ONCE_MAX => {
                listed_count += bucket.count;
                listed.push(bucket.prefix);
            }
            false if room.len() < PREFIXES_MAX => room.push(bucket.prefix),
            _ => {
                open.push(bucket);
                break;
            }
        }
    }
    let divided = divided
        .into_iter()
        .zip(1..)
        .filter(|(prefixes, _)| !prefixes.is_empty());
    (listed, divided.collect())
}

fn ask(prefixes: Vec<Prefix>, depth: u8) -> Result<Ask> {
    Ask::new(prefixes, depth)
        .map_err(|source| Error::new(ErrorKind::Invalid, "asking for a part of a tree").with_source(source))
}

async fn gather(
    sides: Pair<&dyn ReconcileSide>,
    resource_type: ResourceType,
    ask: &Ask,
    listing: Listing,
) -> Result<Pair<Gathered>> {
    let (source, target) = tokio::join!(
        sides.source.gather(resource_type, ask, listing),
        sides.target.gather(resource_type, ask, listing),
    );
    Ok(Pair {
        source: source?,
        target: target?,
    })
}

/// The buckets that differ, with the greater count.
fn below(found: &Pair<Gathered>) -> Vec<(Prefix, u64)> {
    let prefixes: BTreeSet<Prefix> = [&found.source, &found.target]
        .into_iter()
        .flat_map(|side| side.buckets.keys().copied())
        .collect();
    let of = |side: &Gathered, prefix: &Prefix| -> Bucket {
        side.buckets.get(prefix).copied().unwrap_or_default()
    };
    let differ = prefixes.into_iter().filter_map(|prefix| {
        let (a, b) = (of(&found.source, &prefix), of(&found.target, &prefix));
        (a != b).then(|| (prefix, a.count.max(b.count)))
    });
    differ.collect()
}

fn differing(found: Pair<Gathered>) -> Found {
    let mut contents = Found::new();
    for Entry { id, content } in found.source.entries {
        contents.entry(id).or_default().source = Some(content);
    }
    for Entry { id, content } in found.target.entries {
        contents.entry(id).or_default().target = Some(content);
    }
    contents.retain(|_, contents| contents.source != contents.target);
    contents
}
