//! Small helpers of the suites: bodies, imports, what a snapshot shows, seeded choices.

use crate::catalog::{
    Commit, Committed, Expect, HotAction, HotBody, HotWrite, JobWrite, KeyRange, NewRow, Origin, RowBatch,
    RunWrite, Write,
};
use crate::run::{Row, RowCommit, RunBuilder};
use crate::{Result, ScanRequest, Selection, Sequence, Store};
use fhirhose_fhir::meta::{Splice, SpliceForm};
use fhirhose_fhir::resource_type::ResourceType;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// What a snapshot shows: type, owner and id → version and stored text.
pub type Shown = BTreeMap<(String, Option<String>, String), (Sequence, String)>;

/// A seeded source of choices (SplitMix64); the seed is printed by whoever fails.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    /// Starts at a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// One resource of a workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// Its type.
    pub resource_type: ResourceType,
    /// The patient that owns it.
    pub owner: Option<String>,
    /// Its id.
    pub id: String,
    /// A number that is its content.
    pub value: u64,
}

impl Workload {
    /// Draws a resource out of a small world, so that ids repeat.
    pub fn draw(rng: &mut Rng) -> Self {
        let patient = format!("p{}", rng.below(5));
        let value = rng.below(1_000);
        match rng.below(3) {
            0 => Self {
                resource_type: ResourceType::PATIENT,
                owner: Some(patient.clone()),
                id: patient,
                value,
            },
            1 => Self {
                resource_type: organization(),
                owner: None,
                id: format!("o{}", rng.below(5)),
                value,
            },
            _ => {
                let id = format!("00000000-0000-4000-8000-0000000000{:02x}", rng.below(40));
                Self {
                    resource_type: ResourceType::OBSERVATION,
                    owner: Some(patient),
                    id,
                    value,
                }
            }
        }
    }

    /// Its stored text.
    pub fn body(&self) -> String {
        format!(
            r#"{{"resourceType":"{}","id":"{}","value":{}}}"#,
            self.resource_type.name(),
            self.id,
            self.value
        )
    }

    /// Where the id begins in the text.
    pub fn id_at(&self) -> u32 {
        let prefix = r#"{"resourceType":"","id":""#.len() + self.resource_type.name().len();
        u32::try_from(prefix).expect("short")
    }

    /// Where version and time go.
    pub fn splice(&self) -> Splice {
        let id_len = u32::try_from(self.id.len()).expect("short");
        Splice {
            at: self.id_at() + id_len + 1,
            form: SpliceForm::NoMeta,
        }
    }

    /// The key that the store sorts it by.
    pub fn key(&self) -> Vec<u8> {
        let mut key = Vec::new();
        crate::key::encode(self.resource_type, self.owner.as_deref(), &self.id, &mut key);
        key
    }

    /// The hash of its text.
    pub fn hash(&self) -> u64 {
        xxhash_rust::xxh3::xxh3_64(self.body().as_bytes())
    }

    /// It as an interactive write.
    pub fn put(&self, expect: Expect) -> HotWrite {
        let body = HotBody {
            owner: self.owner.clone(),
            others: Vec::new(),
            body: self.body().into_bytes(),
            splice: self.splice(),
            id_at: self.id_at(),
            hash: self.hash(),
            subsetted: false,
        };
        HotWrite {
            resource_type: self.resource_type,
            id: self.id.clone(),
            expect,
            action: HotAction::Put(body),
        }
    }

    /// Its deletion as an interactive write.
    pub fn delete(&self) -> HotWrite {
        let action = HotAction::Delete { others: Vec::new() };
        HotWrite {
            resource_type: self.resource_type,
            id: self.id.clone(),
            expect: Expect::Any,
            action,
        }
    }
}

/// Commits resources as one run; of several with the same id the last wins.
///
/// # Errors
/// What the store gives.
pub async fn import(store: &Store, place: &str, resources: &[Workload]) -> Result<Committed> {
    import_under(store, place, resources, None).await
}

/// As [`import`], with a checkpoint.
///
/// # Errors
/// What the store gives.
pub async fn import_under(
    store: &Store,
    place: &str,
    resources: &[Workload],
    job: Option<JobWrite>,
) -> Result<Committed> {
    let newest: BTreeMap<(u8, String), &Workload> = resources
        .iter()
        .map(|each| ((each.resource_type.code(), each.id.clone()), each))
        .collect();
    let mut sorted: Vec<&Workload> = newest.into_values().collect();
    sorted.sort_by_key(|each| each.key());
    let mut builder = RunBuilder::new(store.settings().run)?;
    let mut rows = RowBatch::default();
    for each in sorted {
        let body = each.body();
        builder.push(Row {
            resource_type: each.resource_type,
            owner: each.owner.as_deref(),
            id_at: each.id_at(),
            id_len: u8::try_from(each.id.len()).expect("short"),
            body: body.as_bytes(),
            splice: each.splice(),
            commit: RowCommit::Own,
        })?;
        rows.push(NewRow {
            resource_type: each.resource_type,
            owner: each.owner.as_deref(),
            id: &each.id,
            others: &[],
            hash: each.hash(),
            subsetted: false,
            first_hash: None,
        });
    }
    rows.seal();
    let (bytes, summary) = builder.finish()?;
    store.put_run(place, bytes).await?;
    let write = Write::Run(RunWrite {
        place: place.to_owned(),
        summary,
        rows,
    });
    let committed = store
        .catalog()
        .commit(Commit {
            write,
            job,
            origin: Origin::default(),
        })
        .await?;
    if !committed.run_kept {
        store.remove_run(place).await?;
    }
    Ok(committed)
}

/// Everything that a snapshot shows, of the types that a workload draws.
///
/// # Errors
/// What the store gives.
///
/// # Panics
/// If a scan shows one resource twice, or out of order.
pub async fn shown(store: &Store, snapshot: Sequence, after: Sequence) -> Result<Shown> {
    let mut all = Shown::new();
    for resource_type in [ResourceType::OBSERVATION, organization(), ResourceType::PATIENT] {
        let range = KeyRange::of_type(resource_type);
        let scan = store
            .scan(ScanRequest {
                range,
                snapshot,
                after,
                selection: Selection::All,
            })
            .await?;
        let read = tokio::task::spawn_blocking(move || {
            let (mut rows, mut last) = (Vec::new(), Vec::new());
            scan.for_each(&mut |row| {
                let (owner, _) = crate::key::split_owner(row.owner_key).expect("an owner");
                let mut key = row.owner_key.to_vec();
                crate::key::push_id(row.id, &mut key);
                assert!(key > last, "the scan shows its rows in rising order, each once");
                last = key;
                let text = String::from_utf8(row.body.to_vec()).expect("text");
                rows.push((owner, row.id.to_owned(), row.sequence, text));
                Ok(ControlFlow::Continue(()))
            })?;
            Ok::<_, crate::Error>(rows)
        });
        for (owner, id, sequence, text) in read.await.expect("the scan does not panic")? {
            all.insert((resource_type.name().to_owned(), owner, id), (sequence, text));
        }
    }
    Ok(all)
}

fn organization() -> ResourceType {
    ResourceType::parse("Organization").expect("a type of R4")
}
