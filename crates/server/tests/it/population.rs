//! Real resources through HTTP: what goes in comes out, byte for byte but `meta`.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::fixture::{Server, sample};

const TYPES: [&str; 7] = [
    "Patient",
    "Group",
    "CarePlan",
    "Condition",
    "Immunization",
    "Device",
    "Practitioner",
];

/// The lines of a type in the sample, by id.
fn lines(resource_type: &str) -> BTreeMap<String, String> {
    let bytes = std::fs::read(sample(resource_type)).expect("the sample is there");
    let text = String::from_utf8(zstd::decode_all(&bytes[..]).expect("zstd")).expect("text");
    let by_id = |line: &str| {
        let value: Value = serde_json::from_str(line).expect("JSON");
        (value["id"].as_str().expect("an id").to_owned(), line.to_owned())
    };
    text.lines().map(by_id).collect()
}

/// Cuts `meta` out of a line, which in the sample comes in one piece without nested objects that hold braces in strings.
fn without_meta(line: &str) -> String {
    let Some(at) = line.find(r#","meta":{"#) else {
        return line.to_owned();
    };
    let mut depth = 0;
    let end = line[at..].char_indices().find(|(_, character)| {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => return false,
        }
        depth == 0
    });
    let (length, _) = end.expect("meta ends");
    format!("{}{}", &line[..at], &line[at + length + 1..])
}

#[tokio::test]
async fn a_sample_population_goes_in_and_comes_out() {
    let server = Server::start_with(|settings| {
        settings.import_root = sample("Patient").parent().map(Into::into);
        settings.export_file_bytes_max = 100_000;
    })
    .await;
    let urls: Vec<String> = TYPES
        .iter()
        .map(|name| {
            format!(
                "file://{}",
                sample(name).canonicalize().expect("the sample").display()
            )
        })
        .collect();
    let inputs: Vec<(Option<&str>, &str)> = TYPES
        .iter()
        .map(|name| Some(*name))
        .zip(urls.iter().map(String::as_str))
        .collect();
    let report = server.import(&inputs).await;
    assert_eq!(report["error"], serde_json::json!([]));
    let (_, manifest) = server.export("$export").await;
    let mut came_out: BTreeMap<&str, BTreeMap<String, String>> = BTreeMap::new();
    for file in manifest["output"].as_array().unwrap() {
        let name = TYPES
            .iter()
            .find(|name| file["type"] == **name)
            .expect("a type of the sample");
        let answer = server.get(file["url"].as_str().unwrap()).await;
        for (line, value) in answer.text().lines().zip(answer.lines()) {
            let id = value["id"].as_str().unwrap().to_owned();
            assert!(
                came_out
                    .entry(name)
                    .or_default()
                    .insert(id, line.to_owned())
                    .is_none()
            );
        }
    }
    assert!(
        manifest["output"].as_array().unwrap().len() > TYPES.len(),
        "files are split by size"
    );
    for name in TYPES {
        let (went_in, came_out) = (lines(name), &came_out[name]);
        assert_eq!(went_in.len(), came_out.len(), "{name}");
        for (id, line) in &went_in {
            assert_eq!(without_meta(line), without_meta(&came_out[id]), "{name}");
        }
    }
    let group = lines("Group").into_keys().next().expect("a Group");
    let members = server
        .exported(&format!(
            "Group/{group}/$export?_type=Patient,Condition,Practitioner"
        ))
        .await;
    let expected = lines("Patient").into_keys().map(|id| format!("Patient/{id}"));
    let expected = expected.chain(lines("Condition").into_keys().map(|id| format!("Condition/{id}")));
    assert_eq!(members, expected.collect());
}
