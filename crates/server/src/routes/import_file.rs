//! `$import-file/{job}/{file}`: the files of an import's report: OperationOutcomes, refused lines, dangling references.

use fhirhose_bulk::import::{IMPORT, ImportResult};
use fhirhose_store::OutputName;

use super::status;
use crate::call::{Answer, Call};
use crate::download::{BYTES, FHIR_NDJSON, gone, serve};

/// Answers with a file of the report; refused lines are sent as bytes, for they may be anything.
pub(super) async fn file(call: Call) -> Answer {
    let job = status::job(&call, IMPORT).await?;
    let result = job.result.as_deref().ok_or_else(gone)?;
    let result = ImportResult::parse(result)?;
    let asked = call.argument("file");
    let file = result.files().find(|file| file.name == asked).ok_or_else(gone)?;
    let is_refused_lines = result.inputs.iter().any(|input| {
        input
            .rejects
            .as_ref()
            .is_some_and(|rejects| rejects.name == asked)
    });
    let content_type = if is_refused_lines { BYTES } else { FHIR_NDJSON };
    let name = OutputName::new(&job.id.to_string(), &file.name)?;
    serve(&call, &name, content_type).await
}
