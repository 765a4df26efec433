//! What an export needs of a Provenance: what it is about, and when it was recorded.

use std::borrow::Cow;

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::instant::Instant;
use crate::reference::{Reference, Target};

/// Targets and instant of one Provenance.
#[derive(Debug)]
pub struct ProvenanceFacts<'a> {
    /// `recorded`; `None` if it is absent or no instant, which sorts before all others.
    pub recorded: Option<Instant>,
    targets: Vec<WireTarget<'a>>,
}

impl<'a> ProvenanceFacts<'a> {
    /// Reads them from a Provenance's JSON.
    ///
    /// # Errors
    /// [`ErrorKind::Json`](crate::error::ErrorKind::Json) if it is not JSON, or `target` and `recorded` have another JSON type than FHIR gives
    /// them.
    pub fn read(provenance: &'a [u8]) -> Result<Self> {
        let wire: WireProvenance<'a> =
            serde_json::from_slice(provenance).map_err(|source| Error::json("the Provenance", &source))?;
        let recorded = wire.recorded.as_deref();
        Ok(Self {
            recorded: recorded.and_then(|text| Instant::parse(text).ok()),
            targets: wire.target,
        })
    }

    /// The resources that it is about, as its literal references name them.
    pub fn targets(&self) -> impl Iterator<Item = Reference<'_>> {
        let texts = self
            .targets
            .iter()
            .filter_map(|target| target.reference.as_deref());
        texts.filter_map(|text| match Target::parse(text) {
            Target::Resource(reference) => Some(reference),
            Target::Unresolvable | Target::Other => None,
        })
    }
}

#[derive(Deserialize)]
struct WireProvenance<'a> {
    #[serde(default, borrow)]
    recorded: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    target: Vec<WireTarget<'a>>,
}

#[derive(Debug, Deserialize)]
struct WireTarget<'a> {
    #[serde(borrow)]
    reference: Option<Cow<'a, str>>,
}
