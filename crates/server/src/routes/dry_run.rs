//! `_dryRun=true` of a kick-off: what the export would come to, instead of the export. An extension of this server.

use fhirhose_bulk::export::{Estimate, ExportSpec, Rate, TypeEstimate, estimate};
use fhirhose_fhir::outcome::OperationOutcome;
use hyper::StatusCode;
use serde_json::{Value, json};

use crate::answer::{self, FHIR_JSON};
use crate::app::App;
use crate::call::Answer;

/// Answers 200 with a Parameters resource; no job is recorded.
pub(super) async fn answer(app: &App, mut spec: ExportSpec) -> Answer {
    spec.request.dry_run = false;
    let estimate = estimate(&app.store, &spec).await?;
    let told = [spec.request.ignored.clone(), spec.withheld()].concat();
    let parameters = parameters(&estimate, &told);
    let mut response = answer::text(StatusCode::OK, FHIR_JSON, parameters.to_string());
    answer::not_stored(response.headers_mut());
    Ok(response)
}

/// Numbers are decimals: an `integer` of R4 ends at two thousand million.
fn parameters(estimate: &Estimate, ignored: &[OperationOutcome]) -> Value {
    let mut parameter: Vec<Value> = estimate.types.iter().map(of_type).collect();
    let rate = match estimate.rate {
        Rate::Measured => "measured",
        Rate::Assumed => "assumed",
    };
    parameter.extend([
        json!({ "name": "resources", "valueDecimal": estimate.rows }),
        json!({ "name": "bytes", "valueDecimal": estimate.bytes }),
        json!({ "name": "exact", "valueBoolean": estimate.is_exact }),
        json!({ "name": "filtered", "valueBoolean": estimate.is_filtered }),
        json!({ "name": "seconds", "valueDecimal": estimate.seconds }),
        json!({ "name": "bytesPerSecond", "valueDecimal": estimate.bytes_per_second }),
        json!({ "name": "rate", "valueCode": rate }),
    ]);
    parameter.extend(ignored.iter().map(|outcome| {
        let resource = serde_json::to_value(outcome).expect("an outcome is strings and enums");
        json!({ "name": "outcome", "resource": resource })
    }));
    json!({ "resourceType": "Parameters", "parameter": parameter })
}

fn of_type(of: &TypeEstimate) -> Value {
    json!({ "name": "type", "part": [
        { "name": "type", "valueCode": of.resource_type.name() },
        { "name": "resources", "valueDecimal": of.rows },
        { "name": "bytes", "valueDecimal": of.bytes },
        { "name": "exact", "valueBoolean": of.is_exact },
    ] })
}
