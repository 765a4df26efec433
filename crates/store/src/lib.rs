//! Where resources and jobs are kept: run files, the catalog with its backends, outputs, and the
//! conformance suite that every backend runs.

mod error;
mod folder;
pub mod key;
mod outputs;
pub mod run;
mod sequence;

pub use error::{Error, ErrorKind, Result};
pub use folder::{DataFolder, Holder, OpenMode, RunFile, put_durable};
pub use outputs::{
    Deletion, Durability, Encoding, Hashing, OutputFile, OutputName, OutputReader, OutputSettings, OutputStore,
    OutputStream, OutputWriter, PlainFolder, Upload,
};
pub use sequence::Sequence;
