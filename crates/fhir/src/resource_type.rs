//! Resource types: the name of a concrete R4 type as one byte.
//!
//! [`ResourceType::parse_bytes`] runs for each line and each reference, so it is a perfect hash, laid out by the
//! compiler from the definitions' table. Abstract types (`Resource`, `DomainResource`) and profiles are not types here.

use std::{fmt, num::NonZeroU8};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::tables::{TYPES, TypeRow};

/// A concrete resource type of R4 4.0.1, ordered by name.
///
/// Display and serde give the name, e.g. `Patient`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceType(NonZeroU8);

impl ResourceType {
    /// `AuditEvent`
    pub const AUDIT_EVENT: Self = Self::named("AuditEvent");
    /// `Binary`
    pub const BINARY: Self = Self::named("Binary");
    /// `Bundle`
    pub const BUNDLE: Self = Self::named("Bundle");
    /// `Device`
    pub const DEVICE: Self = Self::named("Device");
    /// `Group`
    pub const GROUP: Self = Self::named("Group");
    /// `Location`
    pub const LOCATION: Self = Self::named("Location");
    /// `Medication`
    pub const MEDICATION: Self = Self::named("Medication");
    /// `Observation`
    pub const OBSERVATION: Self = Self::named("Observation");
    /// `OperationOutcome`
    pub const OPERATION_OUTCOME: Self = Self::named("OperationOutcome");
    /// `Organization`
    pub const ORGANIZATION: Self = Self::named("Organization");
    /// `Parameters`
    pub const PARAMETERS: Self = Self::named("Parameters");
    /// `Patient`
    pub const PATIENT: Self = Self::named("Patient");
    /// `Practitioner`
    pub const PRACTITIONER: Self = Self::named("Practitioner");
    /// `PractitionerRole`
    pub const PRACTITIONER_ROLE: Self = Self::named("PractitionerRole");
    /// `Provenance`
    pub const PROVENANCE: Self = Self::named("Provenance");

    /// Finds the type with exactly this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::parse_bytes(name.as_bytes())
    }

    /// Finds the type with exactly this name; the bytes need not be UTF-8.
    #[inline]
    pub fn parse_bytes(name: &[u8]) -> Option<Self> {
        let ends = Ends::of(name)?;
        let found = Self(NonZeroU8::new(SLOTS[ends.slot(SEED)])?);
        if ENDS[usize::from(found.code())] != ends {
            return None;
        }
        (name.len() <= ENDS_BYTES || found.name().as_bytes() == name).then_some(found)
    }

    /// The type's name, e.g. `Patient`.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// The type's number, from 1 on in the order of names. It stands in files and keys on disk and never changes.
    pub const fn code(self) -> u8 {
        self.0.get()
    }

    /// Finds the type with this number.
    pub fn from_code(code: u8) -> Option<Self> {
        NonZeroU8::new(code)
            .filter(|code| usize::from(code.get()) <= TYPES.len())
            .map(Self)
    }

    /// All types, by name.
    pub fn all() -> impl Iterator<Item = Self> {
        (1..=u8::MAX).map_while(Self::from_code)
    }

    /// Says whether resources of this type can be in a patient's compartment: those that R4 names, and `Device`.
    ///
    /// Spec: R4 CompartmentDefinition/patient; G-08.
    pub fn in_patient_compartment(self) -> bool {
        !self.row().patient_paths.is_empty()
    }

    /// What the definitions say about the type.
    pub(crate) fn row(self) -> &'static TypeRow {
        &TYPES[usize::from(self.0.get()) - 1]
    }

    const fn named(name: &str) -> Self {
        let mut at = 0;
        while at < TYPES.len() {
            if equal(TYPES[at].name.as_bytes(), name.as_bytes()) {
                return Self(NonZeroU8::new(at as u8 + 1).expect("one more than a position"));
            }
            at += 1;
        }
        panic!("no such resource type");
    }
}

impl fmt::Display for ResourceType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

impl fmt::Debug for ResourceType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl Serialize for ResourceType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for ResourceType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;
        impl de::Visitor<'_> for Name {
            type Value = ResourceType;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("the name of an R4 resource type")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<ResourceType, E> {
                ResourceType::parse(name).ok_or_else(|| E::custom("not the name of an R4 resource type"))
            }
        }
        deserializer.deserialize_str(Name)
    }
}

/// The shortest names (`Flag`, `Goal`, `List` …) have four bytes.
const NAME_BYTES_MIN: usize = 4;
/// Up to this length, both ends of a name together are the whole name.
const ENDS_BYTES: usize = 16;
const SLOT_BITS: u32 = 11;

/// The start, the end and the length of a name: enough to tell all types apart, and quick to compare.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Ends {
    first: u64,
    last: u64,
    length: usize,
}

impl Ends {
    #[inline]
    const fn of(name: &[u8]) -> Option<Self> {
        let length = name.len();
        if let (Some(first), Some(last)) = (name.first_chunk(), name.last_chunk()) {
            return Some(Self {
                first: u64::from_le_bytes(*first),
                last: u64::from_le_bytes(*last),
                length,
            });
        }
        if let (Some(first), Some(last)) = (
            name.first_chunk::<NAME_BYTES_MIN>(),
            name.last_chunk::<NAME_BYTES_MIN>(),
        ) {
            let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
            return Some(Self {
                first: first as u64,
                last: last as u64,
                length,
            });
        }
        None
    }

    #[inline]
    const fn slot(self, seed: u64) -> usize {
        let mixed = self.first ^ self.last.rotate_left(29) ^ self.length as u64;
        (mixed.wrapping_mul(seed) >> (u64::BITS - SLOT_BITS)) as usize
    }
}

/// The ends of all names by code; none has those of code 0.
static ENDS: [Ends; TYPES.len() + 1] = {
    let mut ends = [Ends {
        first: 0,
        last: 0,
        length: 0,
    }; TYPES.len() + 1];
    let mut at = 0;
    while at < TYPES.len() {
        ends[at + 1] = Ends::of(TYPES[at].name.as_bytes()).expect("no name is that short");
        at += 1;
    }
    ends
};

/// The first multiplier that gives each name a slot of its own.
const SEED: u64 = {
    // Any odd start will do; this one is 2^64 divided by the golden ratio.
    let mut seed: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut tries = 0;
    while lay_out(seed).is_none() {
        seed = seed.wrapping_mul(0xd134_2543_de82_ef95) | 1;
        tries += 1;
        assert!(
            tries < 5_000,
            "two type names have the same length, start and end"
        );
    }
    seed
};

/// By slot: the code of the one type whose name hashes to it, or 0.
static SLOTS: [u8; 1 << SLOT_BITS] = lay_out(SEED).expect("the seed was chosen so");

const fn lay_out(seed: u64) -> Option<[u8; 1 << SLOT_BITS]> {
    assert!(TYPES.len() < u8::MAX as usize);
    let mut slots = [0; 1 << SLOT_BITS];
    let mut code = 1;
    while code <= TYPES.len() {
        let slot = ENDS[code].slot(seed);
        if slots[slot] != 0 {
            return None;
        }
        slots[slot] = code as u8;
        code += 1;
    }
    Some(slots)
}

const fn equal(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut at = 0;
    while at < a.len() {
        if a[at] != b[at] {
            return false;
        }
        at += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::ResourceType;

    #[test]
    fn each_name_parses_to_its_type() {
        for resource_type in ResourceType::all() {
            assert_eq!(ResourceType::parse(resource_type.name()), Some(resource_type));
            assert_eq!(ResourceType::from_code(resource_type.code()), Some(resource_type));
        }
        assert_eq!(ResourceType::all().count(), 146);
    }

    #[test]
    fn near_names_are_refused() {
        let odd = [
            "",
            "P",
            "Pat",
            "patient",
            "PATIENT",
            "Patient ",
            "Patients",
            "Resource",
            "DomainResource",
            "\0\0\0\0",
        ];
        for name in odd {
            assert_eq!(ResourceType::parse(name), None, "{name:?}");
        }
        for resource_type in ResourceType::all() {
            let name = resource_type.name();
            for at in 0..name.len() {
                let mut bytes = name.as_bytes().to_vec();
                bytes[at] = b'_';
                assert_eq!(ResourceType::parse_bytes(&bytes), None);
                bytes.remove(at);
                assert_eq!(ResourceType::parse_bytes(&bytes), None);
            }
        }
        assert_eq!(ResourceType::parse_bytes(b"Pat\xffent"), None);
    }

    /// Codes are part of the formats on disk: this test may gain lines, but none may change.
    #[test]
    fn codes_are_pinned() {
        let pinned = [
            (1, "Account"),
            (12, "Bundle"),
            (31, "Coverage"),
            (35, "Device"),
            (44, "Encounter"),
            (53, "ExplanationOfBenefit"),
            (58, "Group"),
            (79, "MedicationRequest"),
            (96, "Observation"),
            (98, "OperationDefinition"),
            (99, "OperationOutcome"),
            (102, "Parameters"),
            (103, "Patient"),
            (111, "Provenance"),
            (145, "VerificationResult"),
            (146, "VisionPrescription"),
        ];
        for (code, name) in pinned {
            assert_eq!(ResourceType::from_code(code).map(ResourceType::name), Some(name));
        }
        assert_eq!(ResourceType::from_code(0), None);
        assert_eq!(ResourceType::from_code(147), None);
    }

    #[test]
    fn constants_have_the_names_they_say() {
        let constants = [
            (ResourceType::BUNDLE, "Bundle"),
            (ResourceType::DEVICE, "Device"),
            (ResourceType::GROUP, "Group"),
            (ResourceType::OBSERVATION, "Observation"),
            (ResourceType::OPERATION_OUTCOME, "OperationOutcome"),
            (ResourceType::PARAMETERS, "Parameters"),
            (ResourceType::PATIENT, "Patient"),
            (ResourceType::PROVENANCE, "Provenance"),
        ];
        for (constant, name) in constants {
            assert_eq!(constant.name(), name);
            assert_eq!(constant.to_string(), name);
            assert_eq!(format!("{constant:?}"), name);
        }
    }

    /// G-08
    #[test]
    fn the_patient_compartment_has_67_types() {
        let inside = ResourceType::all().filter(|each| each.in_patient_compartment());
        assert_eq!(inside.count(), 67);
        assert!(ResourceType::DEVICE.in_patient_compartment());
        assert!(!ResourceType::OPERATION_OUTCOME.in_patient_compartment());
    }

    #[test]
    fn serde_uses_names() {
        let text = serde_json::to_string(&ResourceType::PATIENT).expect("serializes");
        assert_eq!(text, "\"Patient\"");
        assert_eq!(
            serde_json::from_str::<ResourceType>(&text).expect("a type"),
            ResourceType::PATIENT
        );
        assert!(serde_json::from_str::<ResourceType>("\"Patients\"").is_err());
    }
}
