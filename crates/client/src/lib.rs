//! A Data Consumer's client: fetches what lies behind a URL, kicks off exports, polls them, downloads and proves their files.
//!
//! [`Http`] is the connection with its limits; [`Http::fetch`] gives the bytes as they were sent, from any offset, and
//! [`Http::fetch_small`] a whole document. What may be fetched at all says [`FetchPolicy`]. [`Operator`] looks after the
//! jobs and clients of a fhirhose server. [`DataProvider`] is a FHIR server as its client sees it, and
//! [`Pull`](pull::Pull) gets an export from it into a folder, whatever happens meanwhile; [`receipt`] proves the folder later.
//! [`TokenSource`] gets the tokens of SMART Backend Services.
//!
//! ```no_run
//! # async fn example() -> fhirhose_client::Result<()> {
//! use fhirhose_client::pull::{Pull, PullSettings, Quiet};
//! use fhirhose_client::{DataProvider, ExportParameters, Http, HttpSettings};
//! use fhirhose_fhir::export_request::ExportLevel;
//!
//! let http = Http::new(&HttpSettings::for_provider())?;
//! let pull = Pull {
//!     provider: DataProvider::new(&http, "http://127.0.0.1:8080/fhir")?,
//!     parameters: ExportParameters::new(ExportLevel::AllPatients),
//!     folder: "pulled".into(),
//!     settings: PullSettings::default(),
//! };
//! let report = pull.run(&Quiet).await?;
//! assert!(report.is_whole());
//! # Ok(()) }
//! ```

mod answer;
mod batch;
mod body;
mod clock;
mod decode;
mod delivery;
pub mod doctor;
mod durable;
mod error;
mod guard;
mod http;
mod import_order;
mod kick_off;
mod metadata;
mod operation;
mod operator;
mod provider;
pub mod pull;
mod quirks;
pub mod receipt;
mod retry_after;
mod small;
mod smart;
#[cfg(feature = "testing")]
pub mod testing;

pub use answer::Answer;
pub use batch::{BatchAnswer, BatchEntry, BatchMethod, BatchSettings, Batches};
pub use clock::{Clock, SystemClock};
pub use decode::{Coding, DecodeLimits, Decoder, RestartPoint};
pub use delivery::{Bucket, BucketSettings, Delivered, DeliveredPull, Destination};
pub use error::{Error, ErrorKind, Result};
pub use guard::{Addresses, FetchPolicy, HostPattern, PlainHttp, Resolver, SystemResolver};
pub use http::{ByteStream, Fetched, Http, HttpSettings, roots_from_pem};
pub use import_order::ImportOrder;
pub use kick_off::{ExportParameters, KickOffMethod};
pub use metadata::Metadata;
pub use operator::{ClientAction, JobAction, Operator};
pub use provider::{
    Accepted, Begun, DataProvider, FileRequest, ManifestPage, OpenedFile, PageNews, Pages, Patience, Pause,
    Status, TokenGiver, Waiting,
};
pub use quirks::{Difference, ListForm, QuirkLevel, QuirkProfile, Quirks, Signs};
pub use small::{Freshness, SmallBody};
pub use smart::{SmartConfiguration, SmartSettings, Token, TokenSource};
