//! Trees of hashes over the resources of one type: what two sides compare before they look at a resource.
//!
//! A resource lies at an [`Address`], the first eight bytes of the SHA-256 of `Type/id`. A [`Prefix`] of an address, written as
//! hexadecimal digits, names a bucket: all resources whose addresses begin so. What a [`Bucket`] holds is its count and the sum, modulo
//! 2^256, of one hash for each resource over its name and its content. The order of resources does not matter, and the buckets of parts
//! of a type add up to those of the whole, so that a tree is made in one pass over any order, or in several.
//!
//! The sum tells two honest sides apart. It does not withstand one who makes up resources to hide a difference.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use fhirhose_fhir::content_hash::ContentHash;
use fhirhose_fhir::resource_type::ResourceType;
use sha2::{Digest, Sha256};

/// The digits of an address.
const DIGITS: u8 = 16;

/// The most digits below a prefix that one [`Ask`] tells apart: 256 buckets.
pub const DEPTH_MAX: u8 = 2;

/// The most prefixes of one [`Ask`].
pub const PREFIXES_MAX: usize = 256;

/// Where a resource lies in the tree of its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address(u64);

impl Address {
    /// Finds where a resource lies.
    pub fn of(resource_type: ResourceType, id: &str) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(resource_type.name());
        hasher.update(b"/");
        hasher.update(id);
        let hash = hasher.finalize();
        let first: [u8; 8] = std::array::from_fn(|at| hash[at]);
        Self(u64::from_be_bytes(first))
    }

    /// The bucket with so many digits that it lies in.
    pub fn prefix(self, digits: u8) -> Prefix {
        let digits = digits.min(DIGITS);
        let bits = match digits {
            0 => 0,
            digits => self.0 & (u64::MAX << (4 * u32::from(DIGITS - digits))),
        };
        Prefix { bits, digits }
    }
}

/// The beginning of addresses: 0 to 16 hexadecimal digits in lower case.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix {
    bits: u64,
    digits: u8,
}

impl Prefix {
    /// The bucket of all resources.
    pub const ROOT: Self = Self { bits: 0, digits: 0 };

    /// How many digits it has.
    pub fn digits(self) -> u8 {
        self.digits
    }

    /// Whether there are buckets below.
    pub fn is_leaf(self) -> bool {
        self.digits == DIGITS
    }

    /// Whether an address lies in it.
    pub fn holds(self, address: Address) -> bool {
        address.prefix(self.digits) == self
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{:016x}", self.bits);
        f.write_str(&text[..usize::from(self.digits)])
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Prefix({self})")
    }
}

/// A text that is no prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a prefix has 0 to 16 digits of 0-9 and a-f")]
pub struct NoPrefix;

impl FromStr for Prefix {
    type Err = NoPrefix;

    fn from_str(text: &str) -> Result<Self, NoPrefix> {
        let digits = u8::try_from(text.len()).map_err(|_| NoPrefix)?;
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if digits > DIGITS || !text.bytes().all(is_digit) {
            return Err(NoPrefix);
        }
        let whole = format!("{text:0<16}");
        let bits = u64::from_str_radix(&whole, 16).map_err(|_| NoPrefix)?;
        Ok(Self { bits, digits })
    }
}

/// What lies below a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Bucket {
    /// Resources.
    pub count: u64,
    /// The sum of their hashes, the most significant part first.
    sum: [u64; 4],
}

impl Bucket {
    /// Adds a resource.
    pub fn add(&mut self, (resource_type, id): (ResourceType, &str), content: ContentHash) {
        let mut hasher = Sha256::new();
        hasher.update(resource_type.name());
        hasher.update(b"/");
        hasher.update(id);
        hasher.update(b"\n");
        hasher.update(content.0);
        let hash: [u8; 32] = hasher.finalize().into();
        self.count += 1;
        self.add_sum(words(&hash));
    }

    /// Adds what another part of the same bucket holds.
    pub fn absorb(&mut self, part: Self) {
        self.count = self.count.saturating_add(part.count);
        self.add_sum(part.sum);
    }

    /// The sum as 64 hexadecimal digits.
    pub fn sum_text(&self) -> String {
        self.sum.iter().map(|word| format!("{word:016x}")).collect()
    }

    /// Reads a bucket as it is sent.
    pub fn read(count: &str, sum: &str) -> Option<Self> {
        let sum: ContentHash = sum.parse().ok()?;
        Some(Self {
            count: count.parse().ok()?,
            sum: words(&sum.0),
        })
    }

    fn add_sum(&mut self, other: [u64; 4]) {
        let mut carry = false;
        for at in (0..4).rev() {
            let (sum, over) = self.sum[at].overflowing_add(other[at]);
            let (sum, over_again) = sum.overflowing_add(u64::from(carry));
            self.sum[at] = sum;
            carry = over || over_again;
        }
    }
}

fn words(bytes: &[u8; 32]) -> [u64; 4] {
    std::array::from_fn(|at| {
        let eight: [u8; 8] = std::array::from_fn(|byte| bytes[8 * at + byte]);
        u64::from_be_bytes(eight)
    })
}

/// Which part of a type's tree is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// Sorted; none lies within another.
    prefixes: Vec<Prefix>,
    depth: u8,
}

/// An [`Ask`] that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// More than [`PREFIXES_MAX`].
    #[error("more than {PREFIXES_MAX} prefixes")]
    TooMany,
    /// One prefix lies within another.
    #[error("a prefix lies within another")]
    Nested,
    /// More than [`DEPTH_MAX`], or more digits than an address has.
    #[error("the depth is more than {DEPTH_MAX}, or leads below the 16th digit")]
    TooDeep,
}

impl Ask {
    /// Asks for what lies below `prefixes`, told apart by `depth` more digits; no prefixes mean the whole type.
    ///
    /// # Errors
    /// [`AskError`].
    pub fn new(mut prefixes: Vec<Prefix>, depth: u8) -> Result<Self, AskError> {
        if prefixes.is_empty() {
            prefixes.push(Prefix::ROOT);
        }
        if prefixes.len() > PREFIXES_MAX {
            return Err(AskError::TooMany);
        }
        let longest = prefixes.iter().map(|prefix| prefix.digits).max().unwrap_or(0);
        if depth > DEPTH_MAX || longest + depth > DIGITS {
            return Err(AskError::TooDeep);
        }
        prefixes.sort_unstable();
        // One that lies within another has its bits, or sorts right behind one that has.
        let within = |pair: &[Prefix]| pair[0].holds(Address(pair[1].bits));
        match prefixes.windows(2).any(within) {
            true => Err(AskError::Nested),
            false => Ok(Self { prefixes, depth }),
        }
    }

    /// The prefixes, sorted.
    pub fn prefixes(&self) -> &[Prefix] {
        &self.prefixes
    }

    /// The digits below them.
    pub fn depth(&self) -> u8 {
        self.depth
    }

    /// The bucket that an address is counted in; none where nobody asks for it.
    pub fn bucket_of(&self, address: Address) -> Option<Prefix> {
        let behind = self.prefixes.partition_point(|prefix| prefix.bits <= address.0);
        let prefix = self.prefixes.get(behind.checked_sub(1)?)?;
        prefix
            .holds(address)
            .then(|| address.prefix(prefix.digits + self.depth))
    }
}

/// Buckets by prefix; those without resources are left out.
pub type Buckets = BTreeMap<Prefix, Bucket>;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bucket(ids: &[u32]) -> Bucket {
        let mut bucket = Bucket::default();
        for id in ids {
            let content = ContentHash(Sha256::digest(id.to_be_bytes()).into());
            bucket.add((ResourceType::PATIENT, &id.to_string()), content);
        }
        bucket
    }

    #[test]
    fn addresses_and_sums_are_those_that_other_servers_have() {
        let address = Address::of(ResourceType::PATIENT, "1");
        assert_eq!(address.prefix(16).to_string(), "2b9a94ee8825269b");
        let sum = "868a797d6ffb65f6e08123ab0032d160db1f7a1da348310df6fe25ca755dd60c";
        assert_eq!(bucket(&[1, 2]).sum_text(), sum);
        assert_eq!(bucket(&[2, 1]).count, 2);
    }

    #[test]
    fn prefixes_are_read_as_they_are_written_and_nothing_else_is_one() {
        for text in ["", "0", "a3", "ffffffffffffffff", "0000000000000001"] {
            assert_eq!(
                text.parse::<Prefix>().map(|prefix| prefix.to_string()),
                Ok(text.to_owned())
            );
        }
        for text in ["A", "g", "+1", "0x", "00000000000000000", "ä", " "] {
            assert_eq!(text.parse::<Prefix>(), Err(NoPrefix), "{text}");
        }
    }

    #[test]
    fn an_ask_has_few_prefixes_none_within_another_and_is_not_deep() {
        let ask = |prefixes: &[&str], depth| {
            let prefixes = prefixes.iter().map(|text| text.parse().expect("a prefix"));
            Ask::new(prefixes.collect(), depth)
        };
        assert_eq!(ask(&["a", "a3"], 0), Err(AskError::Nested));
        assert_eq!(ask(&["0", "00"], 0), Err(AskError::Nested));
        assert_eq!(ask(&["", "f"], 0), Err(AskError::Nested));
        assert_eq!(ask(&["a", "a"], 0), Err(AskError::Nested));
        assert_eq!(ask(&[""], 3), Err(AskError::TooDeep));
        assert_eq!(ask(&["00000000000000f"], 2), Err(AskError::TooDeep));
        let many: Vec<Prefix> = (0..257)
            .map(|at| format!("{at:04x}").parse().expect("a prefix"))
            .collect();
        assert_eq!(Ask::new(many, 0), Err(AskError::TooMany));
        let narrow = ask(&["b1", "a"], 1).expect("an ask");
        assert_eq!(
            narrow
                .bucket_of(Address(0xa3 << 56))
                .map(|prefix| prefix.to_string()),
            Some("a3".to_owned())
        );
        assert_eq!(
            narrow
                .bucket_of(Address(0xb1c << 52))
                .map(|prefix| prefix.to_string()),
            Some("b1c".to_owned())
        );
        assert_eq!(narrow.bucket_of(Address(0xb2 << 56)), None);
        assert_eq!(narrow.bucket_of(Address(0)), None);
    }

    proptest! {
        #[test]
        fn a_bucket_is_the_sum_of_its_parts_in_any_order(ids in proptest::collection::hash_set(0u32..1000, 0..40), cut in 0usize..40) {
            let ids: Vec<u32> = ids.into_iter().collect();
            let (first, second) = ids.split_at(cut.min(ids.len()));
            let mut sum = bucket(second);
            sum.absorb(bucket(first));
            prop_assert_eq!(sum, bucket(&ids));
            prop_assert_eq!(Bucket::read(&sum.count.to_string(), &sum.sum_text()), Some(sum));
            if let Some((_, fewer)) = ids.split_first() {
                prop_assert_ne!(bucket(fewer), sum);
            }
        }

        #[test]
        fn every_address_lies_in_one_bucket_of_the_whole(id in "[a-z0-9]{1,20}", depth in 0u8..=2) {
            let address = Address::of(ResourceType::PATIENT, &id);
            let ask = Ask::new(Vec::new(), depth).expect("an ask");
            let bucket = ask.bucket_of(address).expect("the root holds all");
            prop_assert!(bucket.holds(address) && bucket.digits() == depth);
        }
    }
}
