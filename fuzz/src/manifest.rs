//! The manifest of any server: any bytes give one or an error, what it names can be used, and it survives being written by us.

use fhirhose_fhir::{
    export_request::Wire,
    manifest::{Manifest, ManifestFile},
};

/// Checks the laws for one body.
pub fn check(body: &[u8]) {
    let received = Manifest::receive(body);
    let parsed = Manifest::parse(body);
    let Ok(received) = received else {
        assert!(parsed.is_err(), "the client's reader takes more, not less");
        return;
    };
    let manifest = received.manifest;
    assert_eq!(
        parsed.is_ok(),
        received.instant.is_some(),
        "only the time differs"
    );
    let lists = [&manifest.output, &manifest.deleted, &manifest.error];
    lists.into_iter().flatten().for_each(check_file);
    assert!(manifest.next.as_ref().is_none_or(|next| !next.is_empty()));
    let Ok(parsed) = parsed else { return };
    assert_eq!(parsed, manifest, "both readers say the same");
    for wire in [Wire::Stu3, Wire::Stu4] {
        let again = Manifest::parse(parsed.to_json(wire).as_bytes()).expect("what we write can be read");
        assert_eq!(again, kept(&parsed, wire), "{wire:?}");
    }
}

fn check_file(file: &ManifestFile) {
    assert!(!file.url.is_empty());
    // It becomes a part of a file's name.
    let is_name = |name: &str| {
        !name.is_empty() && name.len() <= 64 && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    assert!(file.resource_type.as_deref().is_none_or(is_name));
    let is_digest = |digest: &str| {
        digest.len() == 64
            && digest
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    assert!(file.sha256.as_deref().is_none_or(is_digest));
}

/// What a version of the standard can say of it.
fn kept(manifest: &Manifest, wire: Wire) -> Manifest {
    let mut kept = manifest.clone();
    match wire {
        Wire::Stu3 => {
            for file in [&mut kept.output, &mut kept.deleted, &mut kept.error]
                .into_iter()
                .flatten()
            {
                file.severities.clear();
            }
        }
        Wire::Stu4 => {
            kept.request.clear();
            for file in &mut kept.deleted {
                file.resource_type = Some("Bundle".to_owned());
            }
            for file in &mut kept.error {
                file.resource_type = Some("OperationOutcome".to_owned());
            }
        }
    }
    kept
}
