//! Exports under random combinations of parameters, compared with a slow and straightforward computation of what they must hold.
//!
//! The computation knows every version that was ever written, as `serde_json` values, and follows the standard's processing model
//! (spec §1.5) one step after the other. Nothing of it comes from the code under test.

use std::collections::{BTreeMap, BTreeSet};

use fhirhose_bulk::export::{ExportSpec, GroupJoiners, Target};
use fhirhose_fhir::export_request::{AssociatedData, ExportLevel};
use fhirhose_fhir::id::Id;
use fhirhose_fhir::instant::Instant;
use fhirhose_fhir::resource_type::ResourceType;
use fhirhose_fhir::search::Criteria;
use serde_json::{Value, json};

use super::fixture::{World, group, patient, request};

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }
}

/// One version of a resource; `None` is its deletion.
struct Version {
    at: Instant,
    value: Option<Value>,
}

/// Everything that was ever written.
#[derive(Default)]
struct Chronicle {
    versions: BTreeMap<String, Vec<Version>>,
}

impl Chronicle {
    /// What there ever was until an instant, each as it was last.
    fn last_at(&self, instant: Instant) -> BTreeMap<&str, (&Value, Instant)> {
        let mut last = BTreeMap::new();
        for (name, versions) in &self.versions {
            let mut there = versions.iter().filter(|version| version.at <= instant);
            if let Some((value, at)) = there
                .rfind(|it| it.value.is_some())
                .and_then(|it| Some((it.value.as_ref()?, it.at)))
            {
                last.insert(name.as_str(), (value, at));
            }
        }
        last
    }

    /// What there was at an instant.
    fn at(&self, instant: Instant) -> BTreeMap<&str, (&Value, Instant)> {
        let mut there = BTreeMap::new();
        for (name, versions) in &self.versions {
            let last = versions.iter().rfind(|version| version.at <= instant);
            if let Some(Version {
                at,
                value: Some(value),
            }) = last
            {
                there.insert(name.as_str(), (value, *at));
            }
        }
        there
    }
}

const PATIENTS: [&str; 7] = [
    "p0",
    "p1",
    "p2",
    "p3",
    "62247e85-c8c1-4047-90b3-e0b3a9c59600",
    "p5",
    "p6",
];

/// Compartment paths of the types used here.
fn patients_of(value: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut add = |reference: &Value| {
        if let Some(id) = reference["reference"]
            .as_str()
            .and_then(|text| text.strip_prefix("Patient/"))
        {
            found.insert(id.to_owned());
        }
    };
    let each = |list: &Value| list.as_array().cloned().unwrap_or_default();
    match value["resourceType"].as_str().unwrap() {
        "Patient" => {
            found.insert(value["id"].as_str().unwrap().to_owned());
        }
        "Observation" => {
            add(&value["subject"]);
            each(&value["performer"]).iter().for_each(add);
        }
        "Encounter" => add(&value["subject"]),
        "Device" => add(&value["patient"]),
        "Provenance" => each(&value["target"]).iter().for_each(add),
        "AuditEvent" => each(&value["agent"]).iter().for_each(|agent| add(&agent["who"])),
        "Group" => each(&value["member"])
            .iter()
            .for_each(|member| add(&member["entity"])),
        _ => {}
    }
    found
}

fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            if let Some(text) = members.get("reference").and_then(Value::as_str) {
                found.push(text.to_owned());
            }
            members.values().for_each(|member| references(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

fn type_of(name: &str) -> &str {
    name.split_once('/').unwrap().0
}

/// A query with its meaning.
type Filter = (&'static str, fn(&Value) -> bool);

const FILTERS: [Filter; 5] = [
    ("Observation?status=final", |value| value["status"] == "final"),
    ("Observation?status=amended", |value| value["status"] == "amended"),
    ("Patient?gender=female", |value| value["gender"] == "female"),
    ("Encounter?status=finished", |value| value["status"] == "finished"),
    ("Provenance?recorded=ge2021", |value| {
        value["recorded"].as_str().unwrap() >= "2021"
    }),
];

/// The members of the Group at an instant.
fn members(there: &BTreeMap<&str, (&Value, Instant)>) -> BTreeSet<String> {
    let mut members = BTreeSet::new();
    for name in ["Group/g", "Group/inner"] {
        if let Some((value, _)) = there.get(name) {
            members.extend(patients_of(value));
        }
    }
    if there.contains_key("Group/g") {
        members
    } else {
        BTreeSet::new()
    }
}

struct Expected<'a> {
    chronicle: &'a Chronicle,
    spec: &'a ExportSpec,
    filters: &'a [Filter],
    now: Instant,
}

impl Expected<'_> {
    fn compartments(&self) -> (Option<BTreeSet<String>>, BTreeSet<String>) {
        let there = self.chronicle.at(self.now);
        let mut joined = BTreeSet::new();
        let all: Option<BTreeSet<String>> = match &self.spec.request.level {
            ExportLevel::System | ExportLevel::AllPatients => None,
            ExportLevel::Patient(id) => Some(BTreeSet::from([id.as_str().to_owned()])),
            ExportLevel::Group(_) => {
                let now = members(&there);
                if let Some(since) = self.spec.request.since {
                    let before = members(&self.chronicle.at(since));
                    joined = now.difference(&before).cloned().collect();
                }
                Some(now)
            }
        };
        if self.spec.group_joiners == GroupJoiners::ChangesOnly {
            joined.clear();
        }
        let Some(only) = &self.spec.request.patients else {
            return (all, joined);
        };
        let only: BTreeSet<String> = only.iter().map(|id| id.as_str().to_owned()).collect();
        let joined = joined.intersection(&only).cloned().collect();
        let patients = all.map_or(only.clone(), |all| all.intersection(&only).cloned().collect());
        (Some(patients), joined)
    }

    /// Whether a resource is in the compartments that are exported.
    fn is_within(
        &self,
        value: &Value,
        there: &BTreeMap<&str, (&Value, Instant)>,
        whose: &Option<BTreeSet<String>>,
    ) -> bool {
        if self.spec.request.level == ExportLevel::System {
            return true;
        }
        let patients = patients_of(value);
        let direct = match whose {
            None => !patients.is_empty(),
            Some(whose) => !patients.is_disjoint(whose),
        };
        // Provenance that names no Patient is where its targets are.
        let of_targets = || {
            let mut targets = Vec::new();
            references(&value["target"], &mut targets);
            targets
                .iter()
                .filter(|target| !target.starts_with("Provenance/"))
                .filter_map(|target| there.get(target.as_str()))
                .any(|(target, _)| self.is_within(target, there, whose))
        };
        direct || (value["resourceType"] == "Provenance" && patients.is_empty() && of_targets())
    }

    fn is_asked(&self, name: &str) -> bool {
        let is_named = match &self.spec.request.types {
            Some(types) => types.iter().any(|each| each.name() == type_of(name)),
            None => type_of(name) != "AuditEvent",
        };
        is_named && self.is_granted(name)
    }

    fn is_granted(&self, name: &str) -> bool {
        let granted = self.spec.granted_types.as_ref();
        granted.is_none_or(|types| types.iter().any(|each| each.name() == type_of(name)))
    }

    fn passes(&self, name: &str, value: &Value) -> bool {
        let of_type: Vec<_> = self
            .filters
            .iter()
            .filter(|(query, _)| query.split_once('?').unwrap().0 == type_of(name))
            .collect();
        of_type.is_empty() || of_type.iter().any(|(_, holds)| holds(value))
    }

    fn output(&self) -> BTreeSet<String> {
        let there = self.chronicle.at(self.now);
        let (whose, joined) = self.compartments();
        let joiners = Some(joined);
        let request = &self.spec.request;
        let chooses = request.associated_data != AssociatedData::Default;
        let mut output = BTreeSet::new();
        for (name, (value, at)) in &there {
            let is_old = request.since.is_some_and(|since| *at <= since);
            let comes_with_joiner = self.is_within(value, &there, &joiners);
            let is_late = request.until.is_some_and(|until| *at >= until);
            let is_left_out = is_late
                || (is_old && (request.level == ExportLevel::System || !comes_with_joiner))
                || (chooses && type_of(name) == "Provenance")
                || !self.is_asked(name)
                || !self.passes(name, value);
            if !is_left_out && self.is_within(value, &there, &whose) {
                output.insert((*name).to_owned());
            }
        }
        if chooses && self.is_granted("Provenance/") {
            self.add_provenance(&there, &mut output);
        }
        if self.spec.helper_resources && request.level != ExportLevel::System {
            self.add_helpers(&there, &mut output);
        }
        output
    }

    fn add_provenance(&self, there: &BTreeMap<&str, (&Value, Instant)>, output: &mut BTreeSet<String>) {
        let mut chosen = BTreeSet::new();
        for exported in output.iter() {
            let mut about: Vec<(&str, Instant, &str)> = Vec::new();
            for (name, (value, at)) in there {
                let mut targets = Vec::new();
                references(&value["target"], &mut targets);
                if type_of(name) == "Provenance" && targets.contains(exported) && self.passes(name, value) {
                    about.push((value["recorded"].as_str().unwrap(), *at, name));
                }
            }
            about.sort_unstable();
            let first = match self.spec.request.associated_data {
                AssociatedData::LatestProvenance => about.len().saturating_sub(1),
                _ => 0,
            };
            chosen.extend(about[first..].iter().map(|(_, _, name)| (*name).to_owned()));
        }
        output.extend(chosen);
    }

    fn add_helpers(&self, there: &BTreeMap<&str, (&Value, Instant)>, output: &mut BTreeSet<String>) {
        for helper in [
            "PractitionerRole",
            "Device",
            "Medication",
            "Practitioner",
            "Location",
            "Organization",
        ] {
            let mut found = Vec::new();
            // What refers to its own type, or to one before it, is not followed; of the compartment everything is.
            for exported in output
                .iter()
                .filter(|name| type_of(name) != helper || helper == "Device")
            {
                references(there[exported.as_str()].0, &mut found);
            }
            for name in found {
                let known = there.get(name.as_str());
                let is_free = known.is_some_and(|(value, _)| patients_of(value).is_empty());
                if type_of(&name) == helper && is_free && self.is_asked(&name) {
                    output.insert(name);
                }
            }
        }
    }

    /// What must be told as deleted, or with `counts_gone` all that may be: Provenance about what was deleted before it.
    fn deleted(&self, counts_gone: bool) -> BTreeSet<String> {
        let request = &self.spec.request;
        let Some(since) = request.since else {
            return BTreeSet::new();
        };
        let (whose, _) = self.compartments();
        let mut deleted = BTreeSet::new();
        for (name, versions) in &self.chronicle.versions {
            let versions: Vec<_> = versions.iter().filter(|version| version.at <= self.now).collect();
            let Some((last, before)) = versions.split_last() else {
                continue;
            };
            let Some(former) = before.last().and_then(|version| version.value.as_ref()) else {
                continue;
            };
            let in_time = last.at > since && request.until.is_none_or(|until| last.at < until);
            let one_before = Instant::from_micros(last.at.micros() - 1);
            let there = match counts_gone {
                true => self.chronicle.last_at(one_before),
                false => self.chronicle.at(one_before),
            };
            let with_others = request.associated_data != AssociatedData::Default
                && type_of(name) == "Provenance"
                && self.is_granted(name);
            if last.value.is_none()
                && in_time
                && (self.is_asked(name) || with_others)
                && self.is_within(former, &there, &whose)
                && self.passes(name, former)
            {
                deleted.insert(name.clone());
            }
        }
        deleted
    }
}

struct Story {
    world: World,
    chronicle: Chronicle,
    dice: Dice,
}

impl Story {
    async fn put(&mut self, value: Value) {
        let name = format!(
            "{}/{}",
            value["resourceType"].as_str().unwrap(),
            value["id"].as_str().unwrap()
        );
        let same = self
            .chronicle
            .versions
            .get(&name)
            .and_then(|versions| versions.last());
        if same.is_some_and(|last| last.value.as_ref() == Some(&value)) {
            return;
        }
        let at = self.world.put(&value.to_string()).await.instant;
        let version = Version {
            at,
            value: Some(value),
        };
        self.chronicle.versions.entry(name).or_default().push(version);
    }

    async fn delete(&mut self, name: &str) {
        let Some(versions) = self.chronicle.versions.get_mut(name) else {
            return;
        };
        let Some(value) = versions.last().and_then(|last| last.value.clone()) else {
            return;
        };
        let (resource_type, id) = name.split_once('/').unwrap();
        let patients: Vec<String> = patients_of(&value).into_iter().collect();
        // The owner is the first path's; who else sat in its compartment is told to the store.
        let others: Vec<&str> = patients.iter().map(String::as_str).collect();
        let at = self.world.delete(resource_type, id, &others).await.instant;
        versions.push(Version { at, value: None });
    }

    fn patient(&mut self) -> String {
        format!("Patient/{}", self.dice.pick(&PATIENTS))
    }

    fn reference(&mut self, resource_type: &str, count: u64) -> Value {
        json!({"reference": format!("{resource_type}/{}-{}", resource_type.to_lowercase(), self.dice.below(count))})
    }

    /// A resource that may replace another.
    fn resource(&mut self) -> Value {
        let number = self.dice.below(12);
        let mark = self.dice.below(1_000_000).to_string();
        let status = *self.dice.pick(&["final", "amended", "preliminary"]);
        match self.dice.below(12) {
            0..=3 => {
                let mut value = json!({"resourceType":"Observation","id":format!("observation-{number}"),"status":status,"valueString":mark,
                    "subject":{"reference":self.patient()}, "performer":[self.reference("Practitioner", 4)]});
                if self.dice.one_in(4) {
                    let other = json!({"reference": self.patient()});
                    value["performer"].as_array_mut().unwrap().push(other);
                }
                if self.dice.one_in(5) {
                    value["device"] = self.reference("Device", 6);
                }
                if self.dice.one_in(6) {
                    value.as_object_mut().unwrap().remove("subject");
                }
                value
            }
            4 | 5 => {
                json!({"resourceType":"Encounter","id":format!("encounter-{number}"),"status":*self.dice.pick(&["finished", "planned"]),
                "subject":{"reference":self.patient()},"serviceProvider":self.reference("Organization", 4),
                "participant":[{"individual":self.reference("PractitionerRole", 3)}],"location":[{"location":self.reference("Location", 3)}],
                "reasonReference":[{"display":mark}],"hospitalization":{"origin":self.reference("Medication", 3)}})
            }
            6 => {
                json!({"resourceType":"Patient","id":*self.dice.pick(&PATIENTS),"gender":*self.dice.pick(&["female", "male"]),
                "language":mark,"managingOrganization":self.reference("Organization", 4)})
            }
            7 => {
                let mut value = json!({"resourceType":"Device","id":format!("device-{}", number % 6),"lotNumber":mark,"owner":self.reference("Organization", 4)});
                if self.dice.one_in(2) {
                    value["patient"] = json!({"reference": self.patient()});
                }
                value
            }
            8 | 9 => {
                let year = 2019 + self.dice.below(5);
                let mut targets = vec![self.reference("Observation", 12)];
                if self.dice.one_in(2) {
                    targets.push(self.reference("Encounter", 12));
                }
                if self.dice.one_in(4) {
                    targets.push(json!({"reference": self.patient()}));
                }
                json!({"resourceType":"Provenance","id":format!("provenance-{number}"),"recorded":format!("{year}-05-06T07:08:09Z"),
                    "target":targets,"agent":[{"who":self.reference("Practitioner", 6)}],"policy":[mark]})
            }
            10 => {
                json!({"resourceType":"AuditEvent","id":format!("event-{number}"),"outcomeDesc":mark,
                    "agent":[{"who":{"reference":self.patient()}}]})
            }
            _ => self.helper(&mark),
        }
    }

    fn helper(&mut self, mark: &str) -> Value {
        match self.dice.below(5) {
            0 => {
                json!({"resourceType":"Practitioner","id":format!("practitioner-{}", self.dice.below(6)),"language":mark})
            }
            1 => {
                json!({"resourceType":"PractitionerRole","id":format!("practitionerrole-{}", self.dice.below(3)),"language":mark,
                "practitioner":self.reference("Practitioner", 6),"organization":self.reference("Organization", 4)})
            }
            2 => {
                json!({"resourceType":"Organization","id":format!("organization-{}", self.dice.below(4)),"name":mark,
                "partOf":self.reference("Organization", 4)})
            }
            3 => {
                json!({"resourceType":"Location","id":format!("location-{}", self.dice.below(3)),"name":mark,
                "managingOrganization":self.reference("Organization", 4)})
            }
            _ => {
                json!({"resourceType":"Medication","id":format!("medication-{}", self.dice.below(3)),"language":mark,
                "manufacturer":self.reference("Organization", 4)})
            }
        }
    }

    async fn a_group(&mut self, id: &str, nested: bool) {
        let mut members = Vec::new();
        for id in PATIENTS {
            if self.dice.one_in(2) {
                members.push(json!({"entity":{"reference":format!("Patient/{id}")}}));
            }
        }
        if nested {
            members.push(json!({"entity":{"reference":"Group/inner"}}));
        }
        let group = json!({"resourceType":"Group","id":id,"type":"person","actual":true,"member":members});
        self.put(group).await;
    }

    /// Writes and deletes at random.
    async fn go_on(&mut self, steps: usize) {
        for _ in 0..steps {
            let value = self.resource();
            if self.dice.one_in(5) {
                let name = format!(
                    "{}/{}",
                    value["resourceType"].as_str().unwrap(),
                    value["id"].as_str().unwrap()
                );
                if type_of(&name) != "Patient" {
                    self.delete(&name).await;
                }
            } else {
                self.put(value).await;
            }
        }
        self.a_group("inner", false).await;
        self.a_group("g", true).await;
    }

    fn level(&mut self) -> ExportLevel {
        match self.dice.below(6) {
            0 => ExportLevel::System,
            1 | 2 => ExportLevel::AllPatients,
            3 => patient(PATIENTS[self.dice.below(7) as usize]),
            _ => group("g"),
        }
    }

    fn types(&mut self) -> Vec<ResourceType> {
        let all = [
            "Patient",
            "Observation",
            "Encounter",
            "Provenance",
            "Device",
            "Organization",
            "Practitioner",
            "Group",
            "AuditEvent",
        ];
        let mut types: Vec<ResourceType> = all
            .iter()
            .filter(|_| self.dice.one_in(2))
            .filter_map(|name| ResourceType::parse(name))
            .collect();
        types.push(ResourceType::MEDICATION);
        types
    }

    /// A random request, and the filters that it has.
    fn request(&mut self, marks: &[Instant], now: Instant) -> (ExportSpec, Vec<Filter>) {
        let level = self.level();
        let is_system = level == ExportLevel::System;
        let mut request = request(level.clone(), "");
        if self.dice.one_in(2) {
            request.since = Some(*self.dice.pick(marks));
        }
        if self.dice.one_in(4) {
            request.until = Some(*self.dice.pick(marks));
        }
        if self.dice.one_in(2) {
            request.types = Some(self.types());
        }
        let filters: Vec<Filter> = match self.dice.one_in(2) {
            true => FILTERS.iter().filter(|_| self.dice.one_in(3)).copied().collect(),
            false => Vec::new(),
        };
        request.type_filters = filters
            .iter()
            .map(|(query, _)| Criteria::parse(query, "").unwrap())
            .collect();
        request.associated_data = *self.dice.pick(&[
            AssociatedData::Default,
            AssociatedData::Default,
            AssociatedData::LatestProvenance,
            AssociatedData::RelevantProvenance,
        ]);
        if !is_system && self.dice.one_in(4) {
            let there = self.chronicle.at(now);
            let allowed = match &level {
                ExportLevel::Group(_) => members(&there),
                _ => PATIENTS.iter().map(|&id| id.to_owned()).collect(),
            };
            let some: Vec<Id> = allowed
                .iter()
                .filter(|id| there.contains_key(format!("Patient/{id}").as_str()))
                .filter(|_| self.dice.one_in(2))
                .filter_map(|id| Id::parse(id))
                .collect();
            request.patients = (!some.is_empty()).then_some(some);
        }
        let spec = ExportSpec {
            helper_resources: self.dice.one_in(2),
            group_joiners: *self
                .dice
                .pick(&[GroupJoiners::WholeHistory, GroupJoiners::ChangesOnly]),
            file_bytes_max: 2_000,
            granted_types: self.dice.one_in(2).then(|| self.types()),
            ..ExportSpec::new(request, Target::Outputs)
        };
        (spec, filters)
    }
}

async fn check(seed: u64, exports: usize) {
    let mut story = Story {
        world: World::new(),
        chronicle: Chronicle::default(),
        dice: Dice(seed),
    };
    for id in PATIENTS {
        let patient = json!({"resourceType":"Patient","id":id,"gender":"female"});
        story.put(patient).await;
    }
    let mut marks = Vec::new();
    for round in 0..4 {
        story.go_on(60).await;
        story.world.clock.advance(std::time::Duration::from_secs(60));
        marks.push(story.world.store.catalog().snapshot().await.unwrap().instant);
        if round == 1 {
            story.world.compact(&format!("round-{seed}")).await;
        }
    }
    let now = story.world.store.catalog().snapshot().await.unwrap().instant;
    for number in 0..exports {
        let (spec, filters) = story.request(&marks, now);
        let expected = Expected {
            chronicle: &story.chronicle,
            spec: &spec,
            filters: &filters,
            now,
        };
        let exported = story.world.export(&spec).await;
        let queries: Vec<_> = filters.iter().map(|(query, _)| *query).collect();
        let case = format!(
            "{number}: {:?} since {:?} until {:?} types {:?} filters {queries:?} {:?} patients {:?} helpers {} {:?} granted {:?}",
            spec.request.level,
            spec.request.since,
            spec.request.until,
            spec.request.types,
            spec.request.associated_data,
            spec.request.patients,
            spec.helper_resources,
            spec.group_joiners,
            spec.granted_types
        );
        let (wanted, given) = (expected.output(), exported.names());
        let missing: Vec<_> = wanted.difference(&given).collect();
        let extra: Vec<_> = given.difference(&wanted).collect();
        assert!(
            missing.is_empty() && extra.is_empty(),
            "{case}\nmissing {missing:?}\nextra {extra:?}"
        );
        let given = exported.deleted();
        let (least, most) = (expected.deleted(false), expected.deleted(true));
        assert!(
            least.is_subset(&given) && given.is_subset(&most),
            "{case}: deletions {given:?} between {least:?} and {most:?}"
        );
    }
}

/// K-01 to K-04, K-08, K-09, K-12, K-14, A-48, T-02 to T-04, T-07, G-02, G-04, M-30 to M-33, and the processing order of §1.5.
#[tokio::test(flavor = "multi_thread")]
async fn exports_under_any_combination_of_parameters_hold_what_a_plain_computation_says() {
    for seed in 1..=3 {
        check(seed, 60).await;
    }
}
