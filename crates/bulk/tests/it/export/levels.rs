//! What goes in comes out at each level, exactly, on real data (K-01 to K-04, K-08, K-13, G-09).

use std::collections::{BTreeMap, BTreeSet};

use fhirhose_bulk::export::FileKind;
use fhirhose_fhir::export_request::ExportLevel;

use super::expected::{Known, synthea, synthea_folder};
use super::fixture::{World, group, patient, spec, without_meta};

const GROUP: &str = "d9f31445-f448-48c0-af57-295c005e07df";

async fn check(world: &World, level: ExportLevel, query: &str, expected: BTreeMap<(String, String), &str>) {
    let told = format!("{level:?} {query}");
    let exported = world.export(&spec(level, query)).await;
    let found = exported.lines(FileKind::Output);
    let (names, wanted): (BTreeSet<_>, BTreeSet<_>) = (found.keys().collect(), expected.keys().collect());
    let difference: Vec<_> = names.symmetric_difference(&wanted).take(5).collect();
    assert!(
        difference.is_empty(),
        "{told}: {} found, {} expected, such as {difference:?}",
        names.len(),
        wanted.len()
    );
    for (name, line) in &found {
        assert_eq!(without_meta(line), expected[name], "{told}");
    }
    assert!(
        exported
            .result
            .files
            .iter()
            .all(|file| file.kind == FileKind::Output),
        "{told}"
    );
}

fn select(all: &[Known], wanted: impl Fn(&Known) -> bool) -> BTreeMap<(String, String), &str> {
    all.iter()
        .filter(|known| wanted(known))
        .map(|known| (known.name(), known.line.as_str()))
        .collect()
}

/// Compartments with what they refer to (K-08, G-09): Practitioners and Organizations in this data, which refer to nothing.
async fn check_helpers(world: &World, all: &[Known], level: ExportLevel, wanted: &dyn Fn(&Known) -> bool) {
    let mut spec = spec(level, "");
    spec.helper_resources = true;
    let names = world.export(&spec).await.names();
    let mut expected = BTreeSet::new();
    for known in all.iter().filter(|known| wanted(known)) {
        expected.insert(format!("{}/{}", known.resource_type, known.id));
        for rest in known.line.split(r#""reference":""#).skip(1) {
            let target = rest.split('"').next().unwrap();
            if target.starts_with("Practitioner/") || target.starts_with("Organization/") {
                expected.insert(target.to_owned());
            }
        }
    }
    let there: BTreeSet<String> = all
        .iter()
        .map(|known| format!("{}/{}", known.resource_type, known.id))
        .collect();
    expected.retain(|name| there.contains(name));
    assert!(expected.iter().any(|name| name.starts_with("Practitioner/")));
    let difference: Vec<_> = names.symmetric_difference(&expected).take(5).collect();
    assert!(difference.is_empty(), "{difference:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_level_exports_exactly_its_resources() {
    let all = synthea();
    let world = World::new();
    world.load(&synthea_folder()).await;
    check(&world, ExportLevel::System, "", select(&all, |_| true)).await;
    check(
        &world,
        ExportLevel::AllPatients,
        "",
        select(&all, |known| !known.patients.is_empty()),
    )
    .await;
    let members = all
        .iter()
        .find(|known| known.id == GROUP)
        .map(|known| known.members.clone())
        .unwrap();
    assert_eq!(members.len(), 100);
    let of_members = |known: &Known| !known.patients.is_disjoint(&members);
    check(&world, group(GROUP), "", select(&all, of_members)).await;
    let one = members.iter().nth(42).unwrap();
    check(
        &world,
        patient(one),
        "",
        select(&all, |known| known.patients.contains(one)),
    )
    .await;
    let of_two_types = |known: &Known| {
        known.patients.contains(one) && ["Condition", "Group"].contains(&known.resource_type.as_str())
    };
    check(
        &world,
        patient(one),
        "_type=Group,Condition",
        select(&all, of_two_types),
    )
    .await;
    check_helpers(&world, &all, group(GROUP), &of_members).await;
    check_helpers(&world, &all, patient(one), &|known: &Known| {
        known.patients.contains(one)
    })
    .await;
    let organizations = |known: &Known| known.resource_type == "Organization";
    check(
        &world,
        ExportLevel::System,
        "_type=Organization",
        select(&all, organizations),
    )
    .await;
}
