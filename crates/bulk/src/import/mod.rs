//! Import: NDJSON from files and URLs into the store, as a job that survives crashes.
//!
//! [`submit_import`] records a job for an [`ImportSpec`], [`ImportHandler`] runs it, and an [`ImportResult`] says what became
//! of every line. A reading thread cuts the inputs into chunks at line ends; workers check, sort and compress each into a
//! run file; the job's task commits them in the order of the inputs, each in one transaction with the checkpoint that
//! records it. So a later line wins over an earlier one whatever the threads do, and an import that was stopped anywhere
//! goes on after its last commit with nothing lost or doubled.
//!
//! What is not a valid line of a valid resource is refused and reported, never fatal; resources are not validated against
//! profiles. Which URLs and folders may be read at all is for the caller to say, when it makes the specification.

mod commit;
mod environment;
mod finish;
mod handler;
mod http;
mod links;
mod pipeline;
mod prepare;
mod reader;
mod references;
mod refused;
mod result;
mod rows;
mod settings;
mod source;
mod spec;
mod state;
mod targets;

pub use handler::{IMPORT, ImportHandler, submit_import};
pub use http::HttpFetch;
pub use prepare::AUDIT_ID_START;
pub use result::{Dangling, ImportResult, InputResult, ReportLinks, TypeTaken};
pub use settings::ImportSettings;
pub use source::{Fetch, Fetched};
pub use spec::{ImportSpec, InputSpec, Location};
