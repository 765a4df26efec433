//! Where resources and jobs are kept: run files, the catalog with its backends, outputs, and the
//! conformance suite that every backend runs.

pub mod catalog;
mod check;
mod compact;
mod error;
mod folder;
pub mod key;
mod maintenance;
mod outline;
mod outputs;
mod read;
pub mod run;
mod scan;
mod sequence;
mod store;
pub mod testing;

pub use check::CheckReport;
pub use compact::{Chore, Others};
pub use error::{Error, ErrorKind, Result};
pub use folder::{DataFolder, Holder, OpenMode, RunFile, put_durable};
pub use maintenance::{MAINTENANCE, Maintenance};
pub use outline::Outline;
pub use outputs::{
    Deletion, Durability, Encoding, Hashing, OutputFile, OutputKeys, OutputName, OutputReader,
    OutputSettings, OutputStore, OutputStream, OutputWriter, PlainFolder, Upload,
};
pub use read::{Event, Found, Happened, Resource};
pub use scan::{CohortRows, Scan, ScanRequest, Selection, StoredRow};
pub use sequence::Sequence;
pub use store::{Store, StoreParts, StoreSettings};
