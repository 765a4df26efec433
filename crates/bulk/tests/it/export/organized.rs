//! Output organised by instance (spec §2.6), held against compartments that are computed from the lines themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fhirhose_bulk::ErrorKind;
use fhirhose_bulk::export::{ExportPages, ExportSettings, ExportSpec, FileKind, GroupJoiners, Target};
use fhirhose_fhir::export_request::{AssociatedData, ExportLevel};
use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_jobs::testing::{Doom, Fault, Faults, FaultyStore, Ledger};
use fhirhose_jobs::{Handler, JobContext, JobError, JobId, StopReason, StopSignal};
use serde_json::Value;

use super::expected::{Known, synthea_of};
use super::fixture::{Exported, LATER, World, group, patient, spec};

/// Real patients with what they have, resources of two patients, some without any, Groups, deletions and interactive writes.
async fn filled() -> (World, String) {
    let world = World::new();
    let patients: BTreeSet<String> = synthea_of("Patient")
        .iter()
        .take(25)
        .map(|known| known.id.clone())
        .collect();
    for resource_type in ["Patient", "Condition", "CareTeam", "Encounter", "Device"] {
        let known = synthea_of(resource_type);
        let of_some = known
            .iter()
            .filter(|known| !known.patients.is_disjoint(&patients));
        world
            .load_lines(of_some.take(300).map(|known| known.line.clone()))
            .await;
    }
    let organizations = synthea_of("Organization");
    world
        .load_lines(organizations.iter().take(3).map(|known| known.line.clone()))
        .await;
    let start = world.store.catalog().snapshot().await.unwrap().instant;
    let mut ids = patients.iter();
    let (first, second, third) = (ids.next().unwrap(), ids.next().unwrap(), ids.next().unwrap());
    let shared = |id: &str, subject: &str, performer: &str| {
        format!(
            r#"{{"resourceType":"Observation","id":"{id}","subject":{{"reference":"Patient/{subject}"}},"performer":[{{"reference":"Patient/{performer}"}}]}}"#
        )
    };
    world
        .load_lines([
            shared("both", first, second),
            shared("other", second, third),
            shared("gone", first, third),
        ])
        .await;
    world.put(&shared("hot", third, first)).await;
    // A patient who is nowhere but in a reference.
    world.put(&shared("stranger", first, "nobody")).await;
    world.delete("Observation", "gone", &[third.as_str()]).await;
    for (id, members) in [
        ("some", vec![first, second]),
        ("one", vec![third]),
        ("none", vec![]),
    ] {
        let members: Vec<String> = members
            .iter()
            .map(|member| format!(r#"{{"entity":{{"reference":"Patient/{member}"}}}}"#))
            .collect();
        let members = match members.is_empty() {
            true => String::new(),
            false => format!(r#","member":[{}]"#, members.join(",")),
        };
        let line =
            format!(r#"{{"resourceType":"Group","id":"{id}","type":"person","actual":true{members}}}"#);
        world.put(&line).await;
    }
    (world, start.to_string())
}

fn settings() -> ExportSettings {
    ExportSettings {
        parts_parallel: 2,
        part_bytes: 40_000,
        checkpoint_millis: 0,
        ..ExportSettings::default()
    }
}

fn organized(spec: &ExportSpec, by: ResourceType) -> ExportSpec {
    let mut spec = spec.clone();
    spec.request.organize_output_by = Some(by);
    spec
}

async fn export(world: &World, spec: &ExportSpec, settings: ExportSettings) -> Exported {
    let job = world.submit(spec).await.unwrap();
    let context = world.claim("export", &world.jobs(), &StopSignal::new()).await;
    let result = world.handler_with(settings).run(&context).await.unwrap();
    world.finish(&context, result.clone()).await;
    world.read(job, &result, &spec.target).await
}

/// A line as a resource of the source.
fn known(line: &str) -> Known {
    Known::of(line)
}

/// The blocks by header, each with its lines in order, after checking what holds for all of them.
fn blocks(exported: &Exported, by: ResourceType, file_bytes_max: u64) -> BTreeMap<String, Vec<String>> {
    let mut blocks: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut continues: Option<(String, String)> = None;
    let outputs = exported.result.files.iter().zip(&exported.texts);
    assert_eq!(exported.result.organized_by, Some(by));
    for (file, text) in outputs.filter(|(file, _)| file.kind == FileKind::Output) {
        assert_eq!(
            file.resource_type, None,
            "M: no type where the output is organised"
        );
        assert_eq!(text.lines().count() as u64, file.count);
        assert!(
            file.bytes <= file_bytes_max || text.lines().count() == 2,
            "{}",
            file.name
        );
        let mut block = None;
        for (at, line) in text.lines().enumerate() {
            let value: Value = serde_json::from_str(line).unwrap();
            if value["resourceType"] == "Parameters" {
                let header = value["parameter"][0]["valueReference"]["reference"]
                    .as_str()
                    .unwrap();
                let expected = format!(
                    r#"{{"resourceType":"Parameters","parameter":[{{"name":"header","valueReference":{{"reference":"{header}"}}}}]}}"#
                );
                assert_eq!(line, expected);
                let went_on = continues.take();
                match (&went_on, at) {
                    (Some((name, goes_on)), 0) => assert_eq!((&**name, &**goes_on), (&*file.name, header)),
                    (went_on, _) => {
                        assert!(went_on.is_none());
                        assert!(!blocks.contains_key(header), "{header} has one block");
                    }
                }
                block = Some(header.to_owned());
                blocks.entry(header.to_owned()).or_default();
            } else {
                let block = block.as_ref().expect("a file begins with a header");
                blocks.get_mut(block).unwrap().push(line.to_owned());
            }
        }
        continues = file.continues_in_file.clone().map(|name| (name, block.unwrap()));
    }
    assert!(continues.is_none());
    blocks
}

/// What the blocks of patients must hold: the lines of a plain export by compartment, Groups left out.
fn expected(plain: &Exported, only: Option<&BTreeSet<String>>) -> BTreeMap<String, BTreeSet<String>> {
    let mut expected: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for ((resource_type, _), line) in plain.lines(FileKind::Output) {
        if resource_type == "Group" {
            continue;
        }
        for patient in known(&line).patients {
            if only.is_none_or(|only| only.contains(&patient)) {
                expected
                    .entry(format!("Patient/{patient}"))
                    .or_default()
                    .insert(line.clone());
            }
        }
    }
    expected
}

fn as_sets(blocks: &BTreeMap<String, Vec<String>>) -> BTreeMap<String, BTreeSet<String>> {
    let set = |(header, lines): (&String, &Vec<String>)| {
        let set: BTreeSet<String> = lines.iter().cloned().collect();
        assert_eq!(set.len(), lines.len(), "{header} holds each resource once");
        (header.clone(), set)
    };
    blocks.iter().map(set).collect()
}

fn members(world_group: &str, plain: &Exported) -> BTreeSet<String> {
    let lines = plain.lines(FileKind::Output);
    let line = &lines[&("Group".to_owned(), world_group.to_owned())];
    known(line).members
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_of_patients_hold_their_compartments() {
    let (world, start) = filled().await;
    let everything = world.export(&spec(ExportLevel::System, "")).await;
    let some = members("some", &everything);
    let one = BTreeSet::from([some.first().unwrap().clone()]);
    for (level, only) in [
        (ExportLevel::System, None),
        (ExportLevel::AllPatients, None),
        (group("some"), Some(&some)),
        (patient(one.first().unwrap()), Some(&one)),
    ] {
        for query in [
            String::new(),
            "_type=Observation,Patient".to_owned(),
            format!("_since={start}"),
        ] {
            let mut plain = spec(level.clone(), &query);
            plain.helper_resources = false;
            // Blocks have no whole histories of members who joined.
            plain.group_joiners = GroupJoiners::ChangesOnly;
            let expected = expected(&world.export(&plain).await, only);
            let exported = export(&world, &organized(&plain, ResourceType::PATIENT), settings()).await;
            let blocks = blocks(&exported, ResourceType::PATIENT, u64::MAX);
            assert!(as_sets(&blocks) == expected, "{level:?} {query}");
            assert!(!blocks.is_empty());
            for (header, lines) in &blocks {
                let own = lines
                    .iter()
                    .position(|line| format!("Patient/{}", known(line).id) == *header);
                assert!(own.is_none_or(|at| at == 0), "{header}: the patient comes first");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn elements_and_filters_count_in_blocks_too() {
    let (world, _) = filled().await;
    let mut plain = spec(
        ExportLevel::AllPatients,
        "_elements=Condition.code&_type=Patient,Condition",
    );
    plain.helper_resources = false;
    let plain_files = world.export(&plain).await;
    let exported = export(&world, &organized(&plain, ResourceType::PATIENT), settings()).await;
    let lines: BTreeSet<String> = blocks(&exported, ResourceType::PATIENT, u64::MAX)
        .into_values()
        .flatten()
        .collect();
    assert_eq!(lines, plain_files.lines(FileKind::Output).into_values().collect());
    assert!(lines.iter().any(|line| line.contains("SUBSETTED")));
}

/// Whatever fits into memory, the files are the same: all blocks at once, some, one line.
#[tokio::test(flavor = "multi_thread")]
async fn files_do_not_depend_on_the_memory_that_blocks_may_take() {
    let (world, _) = filled().await;
    for by in [
        ResourceType::PATIENT,
        ResourceType::GROUP,
        ResourceType::ORGANIZATION,
    ] {
        let mut spec = organized(&spec(ExportLevel::System, ""), by);
        spec.file_bytes_max = 9_000;
        let mut all = Vec::new();
        for block_bytes in [256 << 20, 60_000, 4_000, 0] {
            let settings = ExportSettings {
                block_bytes,
                ..settings()
            };
            all.push(export(&world, &spec, settings).await.files());
        }
        assert!(all[0].len() > 5);
        assert!(all.iter().all(|files| *files == all[0]), "{by}");
        // And after a compaction, when everything lies elsewhere.
        world.compact(by.name()).await;
        let mut again = export(&world, &spec, settings()).await.files();
        let (mut before, by_text) = (all.swap_remove(0), |file: &(String, String)| file.1.clone());
        before.sort_by_key(by_text);
        again.sort_by_key(by_text);
        let lines =
            |files: &[(String, String)]| -> usize { files.iter().map(|file| file.1.lines().count()).sum() };
        assert!(lines(&again) > 0 && lines(&before) > 0);
    }
}

/// A block is split only where it is longer than a file; then its header is repeated, and the file before names the next.
#[tokio::test(flavor = "multi_thread")]
async fn a_block_is_split_only_when_it_is_longer_than_a_file() {
    let (world, _) = filled().await;
    let plain = spec(ExportLevel::AllPatients, "");
    let whole = export(&world, &organized(&plain, ResourceType::PATIENT), settings()).await;
    let whole = blocks(&whole, ResourceType::PATIENT, u64::MAX);
    let mut small = organized(&plain, ResourceType::PATIENT);
    small.file_bytes_max = 8_000;
    let split = export(&world, &small, settings()).await;
    assert_eq!(blocks(&split, ResourceType::PATIENT, 8_000), whole);
    let continued = split
        .result
        .files
        .iter()
        .filter(|file| file.continues_in_file.is_some());
    let (mut count, header_bytes) = (0, 160);
    for file in continued {
        let at = split
            .result
            .files
            .iter()
            .position(|each| each.name == file.name)
            .unwrap();
        let headers = split.texts[at].matches(r#""name":"header""#).count();
        assert_eq!(headers, 1, "a block that is split begins a file of its own");
        let next = split
            .result
            .file(file.continues_in_file.as_ref().unwrap())
            .unwrap();
        assert!(file.bytes + next.bytes > 8_000 - header_bytes);
        count += 1;
    }
    assert!(count > 0, "some blocks are long");
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_of_groups_hold_the_group_and_its_members_compartments() {
    let (world, _) = filled().await;
    let mut plain = spec(ExportLevel::System, "");
    plain.helper_resources = false;
    let everything = world.export(&plain).await;
    let compartments = expected(&everything, None);
    let exported = export(&world, &organized(&plain, ResourceType::GROUP), settings()).await;
    let found = blocks(&exported, ResourceType::GROUP, u64::MAX);
    let lines = everything.lines(FileKind::Output);
    for id in ["some", "one", "none"] {
        let group = &lines[&("Group".to_owned(), id.to_owned())];
        let mut expected = BTreeSet::from([group.clone()]);
        for member in members(id, &everything) {
            expected.extend(compartments[&format!("Patient/{member}")].iter().cloned());
        }
        let block = &found[&format!("Group/{id}")];
        assert_eq!(block.first(), Some(group), "the Group comes first");
        assert_eq!(block.iter().cloned().collect::<BTreeSet<_>>(), expected, "{id}");
        assert_eq!(block.len(), expected.len(), "each resource once");
    }
    assert_eq!(found.len(), 3);
    let of_one = export(
        &world,
        &organized(&spec(group("some"), ""), ResourceType::GROUP),
        settings(),
    )
    .await;
    let of_one = blocks(&of_one, ResourceType::GROUP, u64::MAX);
    assert_eq!(of_one.keys().collect::<Vec<_>>(), ["Group/some"]);
    assert_eq!(of_one["Group/some"], found["Group/some"]);
}

/// All references to Organizations in a value.
fn organizations(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            let reference = members.get("reference").and_then(Value::as_str);
            let id = reference.and_then(|reference| reference.strip_prefix("Organization/"));
            found.extend(id.map(str::to_owned));
            members.values().for_each(|member| organizations(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| organizations(item, found)),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_of_organizations_hold_what_refers_to_them() {
    let (world, start) = filled().await;
    world
        .put(r#"{"resourceType":"Organization","id":"child","partOf":{"reference":"Organization/parent"}}"#)
        .await;
    for (level, query, has_itself) in [
        (ExportLevel::System, String::new(), true),
        (ExportLevel::System, format!("_since={start}"), true),
        (
            ExportLevel::AllPatients,
            "_type=Encounter,CareTeam".to_owned(),
            false,
        ),
    ] {
        let mut plain = spec(level, &query);
        plain.helper_resources = false;
        let mut expected: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for ((resource_type, id), line) in world.export(&plain).await.lines(FileKind::Output) {
            let mut heads = BTreeSet::new();
            organizations(&serde_json::from_str(&line).unwrap(), &mut heads);
            if resource_type == "Organization" {
                heads.insert(id);
            }
            for head in heads {
                expected
                    .entry(format!("Organization/{head}"))
                    .or_default()
                    .insert(line.clone());
            }
        }
        let exported = export(&world, &organized(&plain, ResourceType::ORGANIZATION), settings()).await;
        let blocks = blocks(&exported, ResourceType::ORGANIZATION, u64::MAX);
        assert_eq!(
            as_sets(&blocks).keys().collect::<Vec<_>>(),
            expected.keys().collect::<Vec<_>>()
        );
        assert!(as_sets(&blocks) == expected, "{query}");
        assert_eq!(expected.contains_key("Organization/child"), has_itself);
        for (header, lines) in blocks {
            let own = lines.iter().position(|line| {
                line.contains(r#""resourceType":"Organization""#)
                    && format!("Organization/{}", known(line).id) == header
            });
            assert!(own.is_none_or(|at| at == 0), "{header}: it comes first");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_no_block_is_told() {
    let (world, _) = filled().await;
    let exported = export(
        &world,
        &organized(&spec(ExportLevel::System, ""), ResourceType::PATIENT),
        settings(),
    )
    .await;
    let outcomes: Vec<&String> = exported
        .result
        .files
        .iter()
        .zip(&exported.texts)
        .filter(|(file, _)| file.kind == FileKind::Error)
        .map(|(_, text)| text)
        .collect();
    assert_eq!(outcomes.len(), 1);
    assert!(
        outcomes[0].contains("of the types Organization"),
        "{}",
        outcomes[0]
    );
    assert!(
        outcomes[0].contains("Group resources are left out"),
        "{}",
        outcomes[0]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_organised_is_refused() {
    let (world, _) = filled().await;
    let system = spec(ExportLevel::System, "");
    let mut associated = organized(&system, ResourceType::PATIENT);
    associated.request.associated_data = AssociatedData::RelevantProvenance;
    let someone = synthea_of("Patient")[0].id.clone();
    for refused in [
        organized(&system, ResourceType::OBSERVATION),
        organized(&spec(patient(&someone), ""), ResourceType::GROUP),
        associated,
    ] {
        assert_eq!(
            world.submit(&refused).await.unwrap_err().kind(),
            ErrorKind::Invalid
        );
    }
}

/// The whole chain of files of a block is on one page, for each names the next.
#[tokio::test(flavor = "multi_thread")]
async fn m_22_a_page_has_the_files_in_which_its_blocks_go_on() {
    let (world, _) = filled().await;
    let mut spec = organized(&spec(ExportLevel::AllPatients, ""), ResourceType::PATIENT);
    spec.file_bytes_max = 8_000;
    spec.request.allow_partial_manifests = true;
    let settings = ExportSettings {
        page_files: 2,
        ..settings()
    };
    let exported = export(&world, &spec, settings).await;
    blocks(&exported, ResourceType::PATIENT, 8_000);
    let job = world.jobs().job(&exported.job).await.unwrap().unwrap();
    let pages = ExportPages::load(&world.store, &job).await.unwrap().unwrap();
    assert!(pages.count() > 2);
    for number in 1..=pages.count() {
        let page = pages.page(number).unwrap();
        for file in page.files {
            let next = file.continues_in_file.as_ref();
            assert!(next.is_none_or(|next| page.files.iter().any(|file| file.name == *next)));
        }
        let manifest = page.manifest(false, |file| format!("http://localhost/{}", file.name));
        assert_eq!(manifest.output_organized_by, Some(ResourceType::PATIENT));
        let continued = manifest
            .output
            .iter()
            .filter(|file| file.continues_in_file.is_some())
            .count();
        let expected = page
            .files
            .iter()
            .filter(|file| file.continues_in_file.is_some())
            .count();
        assert_eq!(continued, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_tells_how_much_of_each_type_is_written() {
    let (world, _) = filled().await;
    let plain = spec(ExportLevel::System, "");
    let exported = export(&world, &plain, settings()).await;
    let job = world.jobs().job(&exported.job).await.unwrap().unwrap();
    assert!(!job.tallies.is_empty());
    for tally in &job.tallies {
        let of_type = exported.result.files.iter();
        let files: Vec<_> = of_type
            .filter(|file| file.resource_type.as_deref() == Some(tally.name.as_str()))
            .collect();
        let rows: u64 = files.iter().map(|file| file.count).sum();
        assert!(tally.rows > 0 && tally.rows <= rows, "{tally:?}");
        assert!(tally.files <= files.len() as u64, "{tally:?}");
    }
}

/// Runs a job through one fault and the lives after it.
async fn live_through(world: &World, job: JobId, faults: &Arc<Faults>, settings: &ExportSettings) -> Vec<u8> {
    let mut told = (0, 0, 0);
    loop {
        let faulty = FaultyStore::new(
            world.jobs(),
            Arc::clone(faults),
            world.clock.clone(),
            Ledger::default(),
        );
        let stop = StopSignal::new();
        let context = world.claim("export", &world.jobs(), &stop).await;
        let claimed = (context.record().clone(), *context.lease());
        let context = JobContext::new(claimed, Arc::new(faulty), world.clock.clone(), stop.clone());
        let handler = world.handler_with(settings.clone());
        let mut life = handler.run(&context);
        let ended = tokio::select! {
            biased;
            ended = &mut life => Some(ended),
            doom = faults.doom() => match doom {
                Doom::Crash => None,
                Doom::Shutdown => {
                    stop.stop(StopReason::Shutdown);
                    Some(life.await)
                }
            },
        };
        faults.revive();
        match ended {
            Some(Ok(result)) => {
                world.finish(&context, result.clone()).await;
                return result;
            }
            Some(Err(JobError::Stop(StopReason::Shutdown) | JobError::Retry { .. })) | None => {}
            Some(Err(error)) => panic!("{error}"),
        }
        world.clock.advance(LATER * 2);
        // S-05: what is told of the progress never goes back, whatever is made again.
        let record = world.jobs().job(&job).await.unwrap().expect("the job is there");
        let (rows, bytes) = record.tallied();
        let now = (record.progress.done, rows, bytes);
        assert!(
            now.0 >= told.0 && now.1 >= told.1 && now.2 >= told.2,
            "{told:?}, {now:?}"
        );
        told = now;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organized_export_that_crashes_at_any_call_ends_with_the_same_files() {
    let (world, _) = filled().await;
    for (by, block_bytes, fault) in [
        (ResourceType::PATIENT, 30_000, Fault::CrashBefore),
        (ResourceType::PATIENT, 0, Fault::CrashAfter),
        (ResourceType::GROUP, 0, Fault::CrashAfter),
        (ResourceType::ORGANIZATION, 0, Fault::CrashBefore),
    ] {
        let settings = ExportSettings {
            block_bytes,
            ..settings()
        };
        let mut spec = organized(&spec(ExportLevel::System, ""), by);
        spec.file_bytes_max = 12_000;
        let expected = export(&world, &spec, settings.clone()).await.files();
        let mut call = 0;
        loop {
            let job = world.submit(&spec).await.unwrap();
            let faults = Arc::new(Faults::new([(call, fault)]));
            let result = live_through(&world, job, &faults, &settings).await;
            let files = world.read(job, &result, &Target::Outputs).await.files();
            assert_eq!(files, expected, "{by}, {fault:?} at call {call}");
            if faults.calls() <= call {
                break;
            }
            call += 1;
        }
        assert!(call > 3, "the job writes checkpoints");
    }
}

/// K-08: what comes beside the compartments of patients is in no block, and that is said.
#[tokio::test(flavor = "multi_thread")]
async fn k_08_what_comes_beside_the_compartments_is_in_no_block_and_that_is_told() {
    let (world, _) = filled().await;
    let told = async |with_helpers: bool, query: &str| {
        let mut plain = spec(ExportLevel::AllPatients, query);
        plain.helper_resources = with_helpers;
        let organized = organized(&plain, ResourceType::PATIENT);
        let exported = export(&world, &organized, settings()).await;
        let files = exported.result.files.iter().zip(&exported.texts);
        let errors = files.filter(|(file, _)| file.kind == FileKind::Error);
        let text: String = errors.map(|(_, text)| text.as_str()).collect();
        (
            text.contains("helper resources"),
            text.contains("Provenance that names no Patient"),
        )
    };
    assert_eq!(told(true, "").await, (true, false));
    assert_eq!(told(false, "").await, (false, false));
    world
        .put(r#"{"resourceType":"Provenance","id":"v","target":[{"reference":"Observation/both"}]}"#)
        .await;
    assert_eq!(told(false, "").await, (false, true));
    assert_eq!(told(true, "_type=Patient,Observation").await, (false, false));
    assert_eq!(told(true, "_type=Provenance,Location").await, (true, true));
}
