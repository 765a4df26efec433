//! Names to addresses, checked: what a connection is made to is what was checked, so a second answer of the DNS changes nothing.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use futures::future::BoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::address::AddressKind;
use super::refusal::Refusal;
use super::{FetchPolicy, is_local_name};

/// Turns a host's name into its addresses.
pub trait Resolver: Send + Sync {
    /// Gives all addresses of a name, in the order in which they are to be tried.
    ///
    /// # Errors
    /// Whatever the name service says.
    fn resolve(&self, host: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>>;
}

/// Asks the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

impl Resolver for SystemResolver {
    fn resolve(&self, host: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let host = host.to_owned();
        Box::pin(async move {
            let found = tokio::net::lookup_host((host, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }
}

/// Gives the HTTP library addresses that the policy allows, or none.
pub(crate) struct CheckedResolver {
    pub(crate) policy: Arc<FetchPolicy>,
    pub(crate) resolver: Arc<dyn Resolver>,
}

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = Arc::clone(&self.policy);
        let resolving = self.resolver.resolve(name.as_str());
        Box::pin(async move {
            let found = resolving.await?;
            // One address that is not allowed spoils all: no name of good intent has both kinds.
            for address in &found {
                let local = AddressKind::of(*address) == AddressKind::Loopback;
                if !policy.allows_address(*address) || (is_local_name(name.as_str()) && !local) {
                    tracing::warn!(host = name.as_str(), %address, "refusing to fetch: the host's address is not allowed");
                    return Err(Refusal::Address.into());
                }
            }
            Ok(Box::new(found.into_iter().map(|address| SocketAddr::new(address, 0))) as Addrs)
        })
    }
}
