//! What can happen: [`Act`], with how FHIR, DICOM and the basic audit log patterns of IHE (BALP) name it. `docs/operations/audit.md`
//! has the same table.

use hyper::StatusCode;
use serde_json::{Value, json};

/// The code system of our own names.
pub(crate) const EVENTS: &str = "urn:fhirhose:audit-event";

const DICOM: &str = "http://dicom.nema.org/resources/ontology/DCM";
const PROFILES: &str = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.";

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Act {
    /// An export was asked for.
    ExportKickOff,
    /// The manifest of an export, or a part of it, was given for the first time.
    ExportComplete,
    /// A file of an export or of an import's report was sent.
    Download,
    /// An import was asked for.
    ImportKickOff,
    /// The report of an import was given for the first time.
    ImportComplete,
    /// A job was cancelled, or its files given up, by its client.
    JobDelete,
    /// A job was paused, resumed or cancelled by the operator.
    JobControl,
    /// The operator looked at jobs or clients.
    OperatorRead,
    /// A job ended.
    JobEnd,
    /// What was kept of a job is gone.
    JobExpiry,
    /// A client was registered.
    ClientAdd,
    /// A client's keys were replaced.
    ClientRotate,
    /// A client was turned away for good.
    ClientRevoke,
    /// A client got an access token.
    TokenIssued,
    /// A request for an access token was refused.
    TokenRefused,
    /// A request was refused, or several alike.
    Refused,
    /// The server began to answer.
    ServerStart,
    /// The server stopped.
    ServerStop,
    /// The trail itself goes on, in a new file or after it could not be written.
    Trail,
    /// A resource was read.
    Read,
    /// A version of a resource was read.
    Vread,
    /// What happened to a resource was read.
    History,
    /// Resources of a type were searched.
    Search,
    /// A resource was created.
    Create,
    /// A resource was created or replaced under its id, or under what a condition matches.
    Update,
    /// A resource was deleted.
    Delete,
    /// A batch or transaction was processed.
    Bundle,
    /// A patient's whole record was read.
    Everything,
    /// Hashes of the resources of a type were read.
    Digest,
}

/// How an act is told.
struct Form {
    /// Our name of it.
    code: &'static str,
    kind: Kind,
    /// The interaction of FHIR.
    interaction: Option<&'static str>,
    /// A code of DICOM that says more.
    dicom: Option<(&'static str, &'static str)>,
    /// Create, read, update, delete or execute.
    action: &'static str,
    client: Side,
    /// The profile of BALP without and with a patient, by the ends of their names.
    profiles: Option<(&'static str, &'static str)>,
}

enum Kind {
    Rest,
    Dicom(&'static str, &'static str),
}

/// Which way data goes, as DICOM sees the client.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Source,
    Destination,
    Application,
}

const EXPORT: Option<(&str, &str)> = Some(("110106", "Export"));
const IMPORT: Option<(&str, &str)> = Some(("110107", "Import"));
const START: Option<(&str, &str)> = Some(("110120", "Application Start"));
const ALERT: Kind = Kind::Dicom("110113", "Security Alert");
const ATTRIBUTES: Option<(&str, &str)> = Some(("110137", "User Security Attributes Changed"));

const OPERATION: Form = Form {
    code: "",
    kind: Kind::Rest,
    interaction: Some("operation"),
    dicom: None,
    action: "E",
    client: Side::Destination,
    profiles: None,
};

fn operation(
    code: &'static str,
    dicom: Option<(&'static str, &'static str)>,
    action: &'static str,
    client: Side,
) -> Form {
    Form {
        code,
        dicom,
        action,
        client,
        ..OPERATION
    }
}

fn rest(
    (code, interaction): (&'static str, &'static str),
    action: &'static str,
    client: Side,
    profiles: Option<(&'static str, &'static str)>,
) -> Form {
    Form {
        code,
        interaction: Some(interaction),
        action,
        client,
        profiles,
        ..OPERATION
    }
}

fn other(
    code: &'static str,
    kind: Kind,
    dicom: Option<(&'static str, &'static str)>,
    action: &'static str,
) -> Form {
    Form {
        code,
        kind,
        interaction: None,
        dicom,
        action,
        client: Side::Application,
        profiles: None,
    }
}

impl Act {
    fn form(self) -> Form {
        let activity = || Kind::Dicom("110100", "Application Activity");
        let authentication = || Kind::Dicom("110114", "User Authentication");
        let (source, destination) = (Side::Source, Side::Destination);
        match self {
            Self::ExportKickOff => operation("export-kick-off", EXPORT, "E", destination),
            Self::ExportComplete => operation("export-complete", EXPORT, "R", destination),
            Self::Download => operation("download", EXPORT, "R", destination),
            Self::ImportKickOff => operation("import-kick-off", IMPORT, "E", source),
            Self::ImportComplete => operation("import-complete", IMPORT, "R", destination),
            Self::JobDelete => operation("job-delete", None, "D", destination),
            Self::JobControl => operation("job-control", None, "U", destination),
            Self::OperatorRead => operation("operator-read", None, "R", destination),
            Self::JobEnd => other("job-end", activity(), None, "E"),
            Self::JobExpiry => other("job-expiry", activity(), None, "D"),
            Self::ClientAdd => other("client-add", ALERT, ATTRIBUTES, "C"),
            Self::ClientRotate => other("client-rotate", ALERT, ATTRIBUTES, "U"),
            Self::ClientRevoke => other("client-revoke", ALERT, ATTRIBUTES, "D"),
            Self::TokenIssued => other("token-issued", authentication(), None, "E"),
            Self::TokenRefused => other("token-refused", authentication(), None, "E"),
            Self::Refused => other("refused", ALERT, None, "E"),
            Self::ServerStart => other("server-start", activity(), START, "E"),
            Self::ServerStop => other(
                "server-stop",
                activity(),
                Some(("110121", "Application Stop")),
                "E",
            ),
            Self::Trail => other("trail", activity(), None, "E"),
            Self::Read => rest(("read", "read"), "R", destination, Some(("Read", "PatientRead"))),
            Self::Vread => rest(
                ("vread", "vread"),
                "R",
                destination,
                Some(("Read", "PatientRead")),
            ),
            Self::History => rest(("history", "history-instance"), "R", destination, None),
            Self::Search => rest(
                ("search", "search-type"),
                "E",
                source,
                Some(("Query", "PatientQuery")),
            ),
            Self::Create => rest(
                ("create", "create"),
                "C",
                source,
                Some(("Create", "PatientCreate")),
            ),
            Self::Update => rest(
                ("update", "update"),
                "U",
                source,
                Some(("Update", "PatientUpdate")),
            ),
            Self::Delete => rest(
                ("delete", "delete"),
                "D",
                Side::Application,
                Some(("Delete", "PatientDelete")),
            ),
            Self::Bundle => rest(("bundle", "batch"), "E", source, None),
            Self::Everything => operation("everything", None, "E", destination),
            Self::Digest => operation("digest", None, "E", destination),
        }
    }

    /// Our name of it.
    pub(crate) fn code(self) -> &'static str {
        self.form().code
    }

    /// Whether it changes what is stored, so that it must be durable before it is answered.
    pub(crate) fn is_write(self) -> bool {
        matches!(self, Self::Create | Self::Update | Self::Delete | Self::Bundle)
    }

    /// `AuditEvent.type`.
    pub(super) fn event_type(self) -> Value {
        match self.form().kind {
            Kind::Rest => coding(
                "http://terminology.hl7.org/CodeSystem/audit-event-type",
                "rest",
                "Restful Operation",
            ),
            Kind::Dicom(code, display) => coding(DICOM, code, display),
        }
    }

    /// `AuditEvent.subtype`.
    pub(super) fn subtypes(self) -> Value {
        let form = self.form();
        let interaction = form
            .interaction
            .map(|code| coding("http://hl7.org/fhir/restful-interaction", code, code));
        let dicom = form.dicom.map(|(code, display)| coding(DICOM, code, display));
        let own = json!({"system": EVENTS, "code": form.code});
        interaction.into_iter().chain(dicom).chain([own]).collect()
    }

    /// `AuditEvent.action`.
    pub(super) fn action(self) -> &'static str {
        self.form().action
    }

    /// `AuditEvent.agent.type` of the client.
    pub(super) fn client_role(self) -> Value {
        role(match self.form().client {
            Side::Source => ("110153", "Source Role ID"),
            Side::Destination => ("110152", "Destination Role ID"),
            Side::Application => ("110150", "Application"),
        })
    }

    /// `AuditEvent.agent.type` of the server.
    pub(super) fn server_role(self) -> Value {
        match (self, self.form().client) {
            (_, Side::Source) => role(("110152", "Destination Role ID")),
            (_, Side::Destination) => role(("110153", "Source Role ID")),
            // The pattern of a deletion has it so.
            (Self::Delete, _) => {
                let system = "http://terminology.hl7.org/CodeSystem/provenance-participant-type";
                json!({"coding": [coding(system, "custodian", "Custodian")]})
            }
            _ => role(("110150", "Application")),
        }
    }

    /// The profile that a success with so many patients conforms to.
    pub(super) fn profile(self, patients: usize) -> Option<String> {
        let (plain, of_patient) = self.form().profiles?;
        // The patterns know one patient an event; of several, a search tells as one of none.
        match patients {
            1 => Some(format!("{PROFILES}{of_patient}")),
            _ => Some(format!("{PROFILES}{plain}")),
        }
    }
}

/// `AuditEvent.outcome` of an answer.
pub(crate) fn outcome(status: StatusCode) -> &'static str {
    match status.as_u16() {
        500.. => "8",
        400.. => "4",
        _ => "0",
    }
}

fn role((code, display): (&str, &str)) -> Value {
    json!({"coding": [coding(DICOM, code, display)]})
}

pub(super) fn coding(system: &str, code: &str, display: &str) -> Value {
    json!({"system": system, "code": code, "display": display})
}
