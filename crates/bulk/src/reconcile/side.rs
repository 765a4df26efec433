//! What is compared: [`ReconcileSide`], and the kinds of it.

use async_trait::async_trait;
use fhirhose_fhir::resource_type::ResourceType;

use super::gather::{Gathered, Listing};
use super::tree::Ask;
use crate::Result;

/// Something that holds resources.
#[async_trait]
pub trait ReconcileSide: Send + Sync {
    /// What it is called in messages.
    fn name(&self) -> String;

    /// Whether all of it had to be fetched before anything could be compared.
    fn is_fetched_whole(&self) -> bool;

    /// The types of which it may hold something; `None`: it may be any.
    async fn types(&self) -> Result<Option<Vec<ResourceType>>>;

    /// Gives a part of the tree of a type.
    async fn gather(&self, resource_type: ResourceType, ask: &Ask, listing: Listing) -> Result<Gathered>;

    /// Gives the texts of resources, in the order of their ids; `None` for those that are not there.
    async fn texts(&self, resource_type: ResourceType, ids: &[String]) -> Result<Vec<Option<Vec<u8>>>>;
}
