//! The kick-off of an import: which files to take, as one [`ImportRequest`] (spec §5.2, §5.6).
//!
//! Two bodies are read: the Parameters resource of the de-facto servers, with any text-like `value[x]`, and the plain JSON of the
//! draft "import by manifest". Parameters that are known from elsewhere but not built here are refused by name. Whether a URL
//! may be fetched (scheme, host, private networks) is for the operations above to say.

use serde::{Deserialize, Serialize};

use crate::export_request::{is_ndjson, ndjson_only};
use crate::json_body::{Json, parse_object};
use crate::outcome::{Findings, Issue, IssueCode, OperationOutcome};
use crate::parameters::{Parameter, ParameterContent, clip, read_parameters};
use crate::resource_type::ResourceType;

/// Parameters of other importers and drafts that are not built yet (spec §5.4, §5.6).
const NOT_BUILT: [&str; 10] = [
    "mode",
    "storageDetail",
    "exportUrl",
    "exportType",
    "fileRequestHeader",
    "saveMode",
    "allowNegativeVersions",
    "eventualConsistency",
    "processingUnitBytesToRead",
    "errorContainerName",
];

/// The format of the input files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum InputFormat {
    /// One resource a line; also when the request does not say.
    #[default]
    #[serde(rename = "application/fhir+ndjson")]
    Ndjson,
}

/// One file to import.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImportInput {
    /// The type of every resource in it; `None` if the request does not say, and each line speaks for itself.
    pub resource_type: Option<ResourceType>,
    /// Where it is: an absolute URL.
    pub url: String,
}

/// An import as asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImportRequest {
    /// `inputFormat`.
    pub input_format: InputFormat,
    /// `inputSource`: the identity of the data set, which becomes `meta.source` where that is absent (I-12, I-23).
    pub input_source: Option<String>,
    /// `input`: the files, in the order given, at least one.
    pub inputs: Vec<ImportInput>,
    /// The exact kick-off URL, which the report echoes.
    pub request_url: String,
}

/// Reads the body of `POST [base]/$import`, whose size the caller bounds.
///
/// # Errors
/// An outcome (400) with an issue for each problem that names the parameter: not JSON or not one of the two bodies, an
/// unknown or unsupported parameter, another format than NDJSON, an input without a URL, an unknown type, no input at all.
pub fn parse_import_request(body: &[u8], request_url: &str) -> Result<ImportRequest, OperationOutcome> {
    let members = parse_object(body)?;
    let has_type = members.iter().any(|(name, _)| name == "resourceType");
    let parameters = if has_type {
        read_parameters(members)?
    } else {
        from_plain_json(members, "")
    };
    let mut reader = Reader::default();
    for parameter in &parameters {
        reader.take(parameter);
    }
    reader.finish(request_url)
}

/// Takes the members of plain JSON for parameters: an array repeats its name, an object has parts.
fn from_plain_json(members: Vec<(String, Json)>, path: &str) -> Vec<Parameter> {
    let mut parameters = Vec::new();
    for (name, value) in members {
        let place = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        match value {
            Json::List(items) if !items.is_empty() => {
                for (index, item) in items.into_iter().enumerate() {
                    parameters.push(plain_parameter(name.clone(), item, format!("{place}[{index}]")));
                }
            }
            value => parameters.push(plain_parameter(name, value, place)),
        }
    }
    parameters
}

fn plain_parameter(name: String, value: Json, expression: String) -> Parameter {
    let content = match value {
        Json::Text(text) => ParameterContent::Text(text),
        Json::Object(members) => ParameterContent::Parts(from_plain_json(members, &expression)),
        _ => ParameterContent::Other,
    };
    Parameter {
        name,
        content,
        expression,
    }
}

/// Gathers the parameters of one request, and all that is wrong with them.
#[derive(Default)]
struct Reader {
    findings: Findings,
    format_given: bool,
    source: Option<String>,
    inputs: Vec<ImportInput>,
    inputs_given: bool,
}

impl Reader {
    fn take(&mut self, parameter: &Parameter) {
        match parameter.name.as_str() {
            "inputFormat" => self.take_format(parameter),
            "inputSource" => self.take_source(parameter),
            "input" => self.take_input(parameter),
            name => self.findings.push(place(parameter, not_taken(name, ""))),
        }
    }

    fn take_format(&mut self, parameter: &Parameter) {
        if std::mem::replace(&mut self.format_given, true) {
            return self.problem(parameter, IssueCode::Invalid, "given more than once");
        }
        match parameter.text() {
            Some(format) if is_ndjson(format) => {}
            Some(format) => self
                .findings
                .push(place(parameter, ndjson_only(&parameter.name, format))),
            None => self.problem(parameter, IssueCode::Value, "a text value is needed"),
        }
    }

    fn take_source(&mut self, parameter: &Parameter) {
        if self.source.is_some() {
            return self.problem(parameter, IssueCode::Invalid, "given more than once");
        }
        match parameter.text() {
            Some(source) if is_uri(source) => self.source = Some(source.to_owned()),
            _ => self.problem(parameter, IssueCode::Value, "a URI is needed"),
        }
    }

    fn take_input(&mut self, parameter: &Parameter) {
        self.inputs_given = true;
        let ParameterContent::Parts(parts) = &parameter.content else {
            return self.problem(
                parameter,
                IssueCode::Structure,
                "the parts type and url are needed",
            );
        };
        let mut resource_type = None;
        let mut url = None;
        for part in parts {
            match part.name.as_str() {
                "type" if resource_type.is_none() => resource_type = Some(self.read_type(part)),
                "url" if url.is_none() => url = Some(self.read_url(part)),
                "type" | "url" => self.problem(part, IssueCode::Invalid, "given more than once in an input"),
                name => self.findings.push(place(part, not_taken(name, "input."))),
            }
        }
        match url {
            Some(url) => self.inputs.extend(url.map(|url| ImportInput {
                resource_type: resource_type.flatten(),
                url,
            })),
            None => self.problem(parameter, IssueCode::Required, "the part url is missing"),
        }
    }

    fn read_type(&mut self, part: &Parameter) -> Option<ResourceType> {
        let resource_type = part.text().and_then(ResourceType::parse);
        if resource_type.is_none() {
            let given = part.text().map_or_else(|| "the value".to_owned(), clip);
            self.problem(
                part,
                IssueCode::NotSupported,
                &format!("{given} is not a resource type of FHIR R4"),
            );
        }
        resource_type
    }

    fn read_url(&mut self, part: &Parameter) -> Option<String> {
        let url = part
            .text()
            .filter(|text| is_absolute_url(text))
            .map(str::to_owned);
        if url.is_none() {
            self.problem(
                part,
                IssueCode::Value,
                "an absolute URL is needed, such as https://host/Patient.ndjson",
            );
        }
        url
    }

    fn problem(&mut self, parameter: &Parameter, code: IssueCode, problem: &str) {
        let name = &parameter.name;
        self.findings
            .push(place(parameter, Issue::error(code, format!("{name}: {problem}"))));
    }

    fn finish(mut self, request_url: &str) -> Result<ImportRequest, OperationOutcome> {
        if !self.inputs_given {
            self.findings
                .push(Issue::error(IssueCode::Required, "input: at least one is needed"));
        }
        self.findings.or(ImportRequest {
            input_format: InputFormat::Ndjson,
            input_source: self.source,
            inputs: self.inputs,
            request_url: request_url.to_owned(),
        })
    }
}

fn place(parameter: &Parameter, issue: Issue) -> Issue {
    issue.with_expression(&parameter.expression)
}

fn not_taken(name: &str, prefix: &str) -> Issue {
    let known = if prefix.is_empty() {
        NOT_BUILT.contains(&name)
    } else {
        name == "etag"
    };
    let verdict = if known { "not supported yet" } else { "unknown" };
    Issue::error(
        IssueCode::NotSupported,
        format!("the parameter {prefix}{} is {verdict}", clip(name)),
    )
}

/// A scheme and something behind it, without white space: enough to tell a URI from a slip.
fn is_uri(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else {
        return false;
    };
    is_scheme(scheme)
        && !rest.is_empty()
        && text
            .chars()
            .all(|character| !character.is_whitespace() && !character.is_control())
}

fn is_absolute_url(text: &str) -> bool {
    is_uri(text)
        && text
            .split_once("://")
            .is_some_and(|(scheme, rest)| is_scheme(scheme) && !rest.is_empty())
}

/// RFC 3986 §3.1.
fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}
