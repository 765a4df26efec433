//! From what happened to an AuditEvent: [`Told`] gathers who, what, which scopes, which job and what came of it.
//!
//! No content of resources is told. Patients are named, for that is what such a trail is for: who saw whom. Nothing of it goes to the log.

use std::collections::BTreeSet;
use std::net::IpAddr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use fhirhose_jobs::JobId;
use hyper::StatusCode;
use serde_json::{Map, Value, json};

use super::act::{Act, coding, outcome};
use super::trail::Event;

/// Patients, and other resources, that one event names; further ones are counted.
pub(crate) const NAMED_MAX: usize = 200;

/// The text of a query that is kept, in bytes.
const QUERY_BYTES_MAX: usize = 4_096;

/// Scopes of a token that one event names; further ones are counted.
const SCOPES_MAX: usize = 100;

/// Characters of any other text at most.
const TEXT_CHARS_MAX: usize = 500;

/// Who did it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Who {
    /// The client as jobs and limits know it; empty for one whom nobody knows.
    pub(crate) client: String,
    /// Where the request came from.
    pub(crate) address: Option<IpAddr>,
    /// The scopes that it had, by their names.
    pub(crate) scopes: Vec<String>,
}

impl Who {
    /// The server itself.
    pub(crate) fn the_server() -> Self {
        Self::default()
    }

    /// A client in whose name the server goes on without a request.
    pub(crate) fn owner(client: &str) -> Self {
        Self {
            client: client.to_owned(),
            ..Self::default()
        }
    }
}

/// What happened, to be told in one event.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) act: Act,
    pub(crate) who: Who,
    /// What came of it: the status of the answer.
    pub(crate) status: StatusCode,
    /// More about that, in words of ours.
    pub(crate) text: Option<String>,
    /// The job, by its id.
    pub(crate) job: Option<String>,
    /// The file of the job, by its name.
    pub(crate) file: Option<String>,
    /// The registered client that it is about.
    pub(crate) subject: Option<String>,
    /// The query as it came.
    pub(crate) query: Option<String>,
    /// Ids of patients whose resources it is about.
    pub(crate) patients: BTreeSet<String>,
    /// References to what it is about.
    pub(crate) resources: BTreeSet<String>,
    /// Patients and resources that are not named for want of room.
    pub(crate) unnamed: u64,
    /// All else that is worth telling, by name.
    pub(crate) details: Vec<(&'static str, String)>,
    /// The job whose end is delivered.
    pub(crate) delivered: Option<JobId>,
    /// Whether the request got as far as its route.
    pub(crate) is_admitted: bool,
    /// Whether an event of its own was opened for it.
    pub(crate) is_told: bool,
}

impl Told {
    /// Begins to tell.
    pub(crate) fn new(act: Act, who: Who) -> Self {
        Self {
            act,
            who,
            status: StatusCode::OK,
            text: None,
            job: None,
            file: None,
            subject: None,
            query: None,
            patients: BTreeSet::new(),
            resources: BTreeSet::new(),
            unnamed: 0,
            details: Vec::new(),
            delivered: None,
            is_admitted: false,
            is_told: false,
        }
    }

    /// Names a patient.
    pub(crate) fn add_patient(&mut self, id: &str) {
        self.unnamed += add(&mut self.patients, id);
    }

    /// Names a resource, such as `Group/42`.
    pub(crate) fn add_resource(&mut self, reference: &str) {
        self.unnamed += add(&mut self.resources, reference);
    }

    /// Adds a detail.
    pub(crate) fn add_detail(&mut self, name: &'static str, value: impl ToString) {
        self.details.push((name, value.to_string()));
    }

    /// The same with the detail.
    #[must_use]
    pub(crate) fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.add_detail(name, value);
        self
    }

    /// The same about a job.
    #[must_use]
    pub(crate) fn of_job(mut self, job: impl ToString) -> Self {
        self.job = Some(job.to_string());
        self
    }

    /// Makes the AuditEvent; `base_url` is the server's name.
    pub(crate) fn event(&self, base_url: &str) -> Event {
        let mut event = frame(self.act, outcome(self.status));
        if let Some(profile) = self
            .act
            .profile(self.patients.len())
            .filter(|_| self.fits_profile())
        {
            event.insert("meta".to_owned(), json!({"profile": [profile]}));
        }
        if let Some(text) = &self.text {
            event.insert("outcomeDesc".to_owned(), json!(short(text)));
        }
        let server = json!({
            "type": self.act.server_role(),
            "who": {"identifier": {"value": base_url}},
            "requestor": self.who == Who::default(),
            "network": {"address": base_url, "type": "5"},
        });
        let agents: Vec<Value> = self.client().into_iter().chain([server]).collect();
        event.insert("agent".to_owned(), json!(agents));
        event.insert("source".to_owned(), json!({
            "observer": {"identifier": {"value": base_url}},
            "type": [coding("http://terminology.hl7.org/CodeSystem/security-source-type", "4", "Application Server")],
        }));
        let entities = self.entities();
        if !entities.is_empty() {
            event.insert("entity".to_owned(), json!(entities));
        }
        event
    }

    /// Whether it went well and names what the patterns ask for.
    fn fits_profile(&self) -> bool {
        let named = match self.act {
            Act::Search => self.query.is_some(),
            _ => self.resources.len() == 1,
        };
        named && self.status.as_u16() < 400 && self.who.address.is_some()
    }

    fn client(&self) -> Option<Value> {
        if self.who == Who::default() {
            return None;
        }
        let mut agent = Map::new();
        agent.insert("type".to_owned(), self.act.client_role());
        if !self.who.client.is_empty() {
            agent.insert(
                "who".to_owned(),
                json!({"identifier": {"value": short(&self.who.client)}}),
            );
        }
        agent.insert("requestor".to_owned(), json!(true));
        if let Some(address) = self.who.address {
            let network = json!({"address": address.to_string(), "type": "2"});
            agent.insert("network".to_owned(), network);
        }
        if !self.who.scopes.is_empty() {
            let named = self.who.scopes.iter().take(SCOPES_MAX).map(|scope| short(scope));
            agent.insert("policy".to_owned(), named.collect());
        }
        Some(Value::Object(agent))
    }

    fn entities(&self) -> Vec<Value> {
        let mut entities = Vec::new();
        for patient in &self.patients {
            let what = json!({"reference": format!("Patient/{patient}")});
            entities.push(entity(("1", "Person"), ("1", "Patient"), ("what", what)));
        }
        let first_other = entities.len();
        let identified = [
            (&self.job, ("20", "Job")),
            (&self.file, ("3", "Report")),
            (&self.subject, ("11", "Security User Entity")),
        ];
        for (value, role) in identified {
            if let Some(value) = value {
                let what = json!({"identifier": {"value": short(value)}});
                entities.push(entity(("2", "System Object"), role, ("what", what)));
            }
        }
        for reference in &self.resources {
            let what = json!({"reference": reference});
            entities.push(entity(
                ("2", "System Object"),
                ("4", "Domain Resource"),
                ("what", what),
            ));
        }
        // The pattern of a search has no details beside its query.
        let details = self.all_details();
        if !details.is_empty() && self.act != Act::Delete {
            if entities.len() == first_other {
                let other = json!({"display": self.act.code()});
                entities.push(entity(("4", "Other"), ("24", "Query"), ("what", other)));
            }
            entities[first_other]["detail"] = json!(details);
        }
        if let Some(query) = &self.query {
            let kept = &query.as_bytes()[..query.len().min(QUERY_BYTES_MAX)];
            let kept = json!(BASE64_STANDARD.encode(kept));
            entities.push(entity(("2", "System Object"), ("24", "Query"), ("query", kept)));
        }
        entities
    }

    fn all_details(&self) -> Vec<Value> {
        let own = self.details.iter().cloned();
        let cut = self.query.as_ref().filter(|query| query.len() > QUERY_BYTES_MAX);
        let counted = [
            ("status", u64::from(self.status.as_u16())),
            ("unnamed", self.unnamed),
            ("query-bytes", cut.map_or(0, |query| query.len() as u64)),
            (
                "scopes-unnamed",
                self.who.scopes.len().saturating_sub(SCOPES_MAX) as u64,
            ),
        ];
        let counted = counted.into_iter().filter(|(_, count)| *count > 0);
        own.chain(counted.map(|(name, count)| (name, count.to_string())))
            .map(|(name, value)| json!({"type": name, "valueString": short(&value)}))
            .collect()
    }
}

/// Makes what all events have.
fn frame(act: Act, outcome: &str) -> Event {
    let mut event = Map::new();
    event.insert("type".to_owned(), act.event_type());
    event.insert("subtype".to_owned(), act.subtypes());
    event.insert("action".to_owned(), json!(act.action()));
    event.insert("outcome".to_owned(), json!(outcome));
    event
}

/// Makes the event of the trail's own doing.
pub(crate) fn of_the_trail_itself() -> Event {
    let mut event = frame(Act::Trail, "0");
    let who = json!({"display": "fhirhose"});
    event.insert("agent".to_owned(), json!([{"who": who, "requestor": true}]));
    event.insert("source".to_owned(), json!({"observer": who}));
    event
}

fn entity(kind: (&str, &str), role: (&str, &str), what: (&str, Value)) -> Value {
    let system = |name: &str| format!("http://terminology.hl7.org/CodeSystem/{name}");
    json!({
        "type": coding(&system("audit-entity-type"), kind.0, kind.1),
        "role": coding(&system("object-role"), role.0, role.1),
        what.0: what.1,
    })
}

/// Adds a name unless there are too many; gives how many were left out.
fn add(names: &mut BTreeSet<String>, name: &str) -> u64 {
    if names.contains(name) {
        return 0;
    }
    if names.len() >= NAMED_MAX {
        return 1;
    }
    names.insert(name.to_owned());
    0
}

/// Cuts a text that came from outside. FHIR allows no text that is empty or has blanks at its ends.
fn short(text: &str) -> String {
    let kept: String = text.trim().chars().take(TEXT_CHARS_MAX).collect();
    if kept.is_empty() { "-".to_owned() } else { kept }
}
