//! A server that has trees itself, by `$digest`: [`ServerSide`].

use async_trait::async_trait;
use fhirhose_client::{BatchEntry, BatchSettings, Batches, DataProvider};
use fhirhose_fhir::resource_type::ResourceType;
use serde::Deserialize;

use super::gather::{Entry, Gathered, Listing};
use super::side::ReconcileSide;
use super::tree::{Ask, Bucket};
use crate::sync::both::texts_of;
use crate::{Error, ErrorKind, Result};

/// The most pages of one request that are followed.
const PAGES_MAX: usize = 1_000_000;

/// A server with `$digest`.
pub struct ServerSide {
    batches: Batches,
}

#[derive(Deserialize)]
struct Parameters {
    #[serde(rename = "resourceType")]
    resource_type: String,
    #[serde(default)]
    parameter: Vec<Parameter>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Parameter {
    name: String,
    value_string: Option<String>,
    value_url: Option<String>,
}

impl ServerSide {
    /// Asks a server whether it has trees, by one of the type `probe`; `None` if not.
    ///
    /// # Errors
    /// What asking gives.
    pub async fn new(provider: DataProvider, probe: ResourceType) -> Result<Option<Self>> {
        let query = [("_type", probe.name().to_owned()), ("prefix", "00".to_owned())];
        let answer = provider.operation("$digest", &query).await.map_err(asking)?;
        let has_trees = answer.is_some_and(|body| {
            let read = serde_json::from_slice::<Parameters>(&body);
            read.is_ok_and(|parameters| parameters.resource_type == "Parameters")
        });
        let batches = Batches::new(provider, BatchSettings::default());
        Ok(has_trees.then_some(Self { batches }))
    }
}

fn asking(source: fhirhose_client::Error) -> Error {
    Error::of_client("asking a server for what it holds", source)
}

fn odd(what: &str) -> Error {
    Error::new(ErrorKind::Invalid, format!("the server's tree of hashes {what}"))
}

#[async_trait]
impl ReconcileSide for ServerSide {
    fn name(&self) -> String {
        self.batches.provider().base().to_string()
    }

    fn is_fetched_whole(&self) -> bool {
        false
    }

    async fn types(&self) -> Result<Option<Vec<ResourceType>>> {
        Ok(None)
    }

    async fn gather(&self, resource_type: ResourceType, ask: &Ask, listing: Listing) -> Result<Gathered> {
        let provider = self.batches.provider();
        let prefixes: Vec<String> = ask.prefixes().iter().map(ToString::to_string).collect();
        let query = [
            ("_type", resource_type.name().to_owned()),
            ("prefix", prefixes.join(",")),
            ("depth", ask.depth().to_string()),
            ("entries", (listing == Listing::Entries).to_string()),
        ];
        let mut body = provider.operation("$digest", &query).await.map_err(asking)?;
        let mut gathered = Gathered::default();
        for _ in 0..PAGES_MAX {
            let text = body.ok_or_else(|| odd("is refused now"))?;
            let page: Parameters = serde_json::from_slice(&text).map_err(|_| odd("cannot be read"))?;
            let Some(next) = take(page, &mut gathered)? else {
                return Ok(gathered);
            };
            body = provider.operation_link(&next).await.map_err(asking)?;
        }
        Err(odd("does not end"))
    }

    async fn texts(&self, resource_type: ResourceType, ids: &[String]) -> Result<Vec<Option<Vec<u8>>>> {
        let entries: Vec<BatchEntry> = ids
            .iter()
            .map(|id| BatchEntry::read(format!("{resource_type}/{id}")))
            .collect();
        let answers = self.batches.send(&entries).await.map_err(asking)?;
        texts_of(answers, self.batches.provider())
    }
}

/// Adds a page; gives the link to the next.
fn take(page: Parameters, gathered: &mut Gathered) -> Result<Option<String>> {
    let mut next = None;
    for parameter in page.parameter {
        match (
            parameter.name.as_str(),
            parameter.value_string,
            parameter.value_url,
        ) {
            ("bucket", Some(text), _) => {
                let parts: Vec<&str> = text.split(':').collect();
                let [prefix, count, sum] = parts.as_slice() else {
                    return Err(odd("has a bucket that cannot be read"));
                };
                let bucket =
                    Bucket::read(count, sum).ok_or_else(|| odd("has a bucket that cannot be read"))?;
                let prefix = prefix
                    .parse()
                    .map_err(|_| odd("has a bucket that cannot be read"))?;
                gathered.buckets.entry(prefix).or_default().absorb(bucket);
            }
            ("entry", Some(text), _) => {
                let wrong = || odd("has an entry that cannot be read");
                let (id, content) = text.split_once(':').ok_or_else(wrong)?;
                gathered.entries.push(Entry {
                    id: id.to_owned(),
                    content: content.parse().map_err(|_| wrong())?,
                });
            }
            ("next", _, Some(url)) => next = Some(url),
            _ => {}
        }
    }
    Ok(next)
}
