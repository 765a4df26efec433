//! What an export would come to, told before it is made.

use std::time::Duration;

use fhirhose_bulk::ErrorKind;
use fhirhose_bulk::export::{ExportSpec, FileKind, Rate, estimate};
use fhirhose_fhir::export_request::ExportLevel;
use fhirhose_jobs::{Handler, StopSignal};

use super::expected::synthea_of;
use super::fixture::{World, group, patient, spec};

async fn filled() -> World {
    let world = World::new();
    for resource_type in ["Patient", "Condition", "Organization"] {
        let known = synthea_of(resource_type);
        world
            .load_lines(known.iter().take(200).map(|known| known.line.clone()))
            .await;
    }
    let member = &synthea_of("Patient")[0].id;
    world
        .load_lines([format!(
            r#"{{"resourceType":"Group","id":"g","type":"person","actual":true,"member":[{{"entity":{{"reference":"Patient/{member}"}}}}]}}"#
        )])
        .await;
    world
}

/// Rows and bytes of the output of an export.
async fn exported(world: &World, spec: &ExportSpec) -> (u64, u64) {
    let files = world.export(spec).await.result.files;
    let output = files.iter().filter(|file| file.kind == FileKind::Output);
    output.fold((0, 0), |(rows, bytes), file| {
        (rows + file.count, bytes + file.bytes)
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_estimate_of_everything_is_exact_while_nothing_was_replaced() {
    let world = filled().await;
    let spec = spec(ExportLevel::System, "");
    let estimated = estimate(&world.store, &spec).await.unwrap();
    let (rows, bytes) = exported(&world, &spec).await;
    assert!(estimated.is_exact && !estimated.is_filtered);
    assert_eq!(estimated.rows, rows);
    assert!(
        (bytes..bytes * 3 / 2).contains(&estimated.bytes),
        "{bytes} {estimated:?}"
    );
    let names: Vec<_> = estimated
        .types
        .iter()
        .map(|each| each.resource_type.name())
        .collect();
    assert_eq!(names, ["Condition", "Group", "Organization", "Patient"]);
    world
        .put(
            &synthea_of("Condition")[0]
                .line
                .replacen('{', r#"{"language":"x","#, 1),
        )
        .await;
    let estimated = estimate(&world.store, &spec).await.unwrap();
    assert!(!estimated.is_exact && estimated.rows > rows);
    let still: Vec<_> = estimated.types.iter().map(|each| each.is_exact).collect();
    assert_eq!(
        still,
        [false, true, true, true],
        "the other types are as they were"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn estimates_of_parts_of_the_store_are_upper_bounds() {
    let world = filled().await;
    let start = world.store.catalog().snapshot().await.unwrap().instant;
    let changed = &synthea_of("Condition")[1].line;
    world.put(&changed.replacen('{', r#"{"language":"x","#, 1)).await;
    let someone = &synthea_of("Patient")[0].id;
    for (level, query) in [
        (ExportLevel::AllPatients, String::new()),
        (group("g"), String::new()),
        (patient(someone), "_type=Condition".to_owned()),
        (ExportLevel::System, format!("_since={start}")),
    ] {
        let mut spec = spec(level.clone(), &query);
        spec.helper_resources = false;
        let estimated = estimate(&world.store, &spec).await.unwrap();
        let (rows, bytes) = exported(&world, &spec).await;
        assert!(rows > 0 && !estimated.is_exact, "{level:?} {query}");
        assert!(
            estimated.rows >= rows && estimated.bytes >= bytes,
            "{level:?} {query}"
        );
    }
    let filtered = estimate(&world.store, &spec(ExportLevel::System, "_elements=id"))
        .await
        .unwrap();
    assert!(
        filtered.is_filtered,
        "what is left out of resources is not estimated"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_estimate_reads_no_body() {
    let world = filled().await;
    let spec = spec(ExportLevel::System, "");
    let before = estimate(&world.store, &spec).await.unwrap();
    for run in world.store.catalog().runs().await.unwrap() {
        world.store.remove_run(&run.place).await.unwrap();
    }
    assert_eq!(
        estimate(&world.store, &spec).await.unwrap(),
        before,
        "footers are enough"
    );
    let job = world.submit(&spec).await;
    assert!(job.is_ok());
    let context = world.claim("export", &world.jobs(), &StopSignal::new()).await;
    assert!(
        world.handler().run(&context).await.is_err(),
        "an export needs the bodies"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rate_is_that_of_exports_that_ended_or_says_that_it_is_assumed() {
    let world = World::new();
    let long = |id: usize| {
        format!(
            r#"{{"resourceType":"Basic","id":"{id}","x":"{}"}}"#,
            "y".repeat(1 << 20)
        )
    };
    world.load_lines((0..17).map(long)).await;
    let spec = spec(ExportLevel::System, "");
    assert_eq!(estimate(&world.store, &spec).await.unwrap().rate, Rate::Assumed);
    world.submit(&spec).await.unwrap();
    let context = world.claim("export", &world.jobs(), &StopSignal::new()).await;
    let result = world.handler().run(&context).await.unwrap();
    world.clock.advance(Duration::from_secs(17));
    world.finish(&context, result).await;
    let estimated = estimate(&world.store, &spec).await.unwrap();
    assert_eq!(estimated.rate, Rate::Measured);
    assert!(
        (1 << 20..1 << 21).contains(&estimated.bytes_per_second),
        "{estimated:?}"
    );
    assert!((16.0..18.0).contains(&estimated.seconds), "{estimated:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_estimate_of_what_is_not_there_is_refused_like_the_export() {
    let world = filled().await;
    let refused = estimate(&world.store, &spec(group("absent"), ""))
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_estimate_of_a_cohort_counts_all_patients_and_says_that_filters_make_it_less() {
    let world = filled().await;
    world
        .load_lines([r#"{"resourceType":"Group","id":"cohort","type":"person","actual":false,"modifierExtension":[{"url":"http://hl7.org/fhir/uv/bulkdata/StructureDefinition/member-filter","valueExpression":{"language":"application/x-fhir-query","expression":"Patient?gender=female"}}]}"#.to_owned()])
        .await;
    let of = async |level| {
        let spec = spec(level, "_type=Patient,Condition");
        estimate(&world.store, &spec).await.unwrap()
    };
    let (cohort, all) = (of(group("cohort")).await, of(ExportLevel::AllPatients).await);
    assert_eq!(cohort.types.len(), 2);
    assert_eq!((cohort.rows, cohort.bytes), (all.rows, all.bytes));
    assert!(cohort.is_filtered && !cohort.is_exact);
}
