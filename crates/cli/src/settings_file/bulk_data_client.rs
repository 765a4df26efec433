//! A configuration of bulk-data-client (`config.json`, `config.js`) as the flags of `fhirhose pull`: [`read`]. Every key of theirs is in
//! [`KEYS`], with what becomes of it; none is taken and ignored without a word.

mod keys;
mod script;

use super::{FileSecrets, Given, SettingsFile};
use crate::failure::usage;
use crate::secret::Secret;
use anyhow::Result;
use keys::{KEYS, Key, Take};
use script::{Malformed, Value};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A flag that a key becomes.
pub(super) struct Flag {
    pub(super) key: &'static str,
    /// Without dashes.
    pub(super) name: &'static str,
    pub(super) value: Option<String>,
}

/// What a configuration comes to.
pub(super) struct Settings {
    pub(super) flags: Vec<Flag>,
    pub(super) secrets: FileSecrets,
    /// What its owner should know, though it goes on.
    pub(super) notes: Vec<String>,
    /// Where the file lies.
    folder: PathBuf,
    /// Whether the file is for eyes that may see secrets only; else why not.
    privacy: Taken,
    attachments: Attachments,
}

/// What is said of attachments, in several keys that depend on one another.
#[derive(Default)]
struct Attachments {
    /// That none are wanted; none of the other keys counts then.
    are_off: bool,
    ignores_errors: bool,
    inline_below: u64,
    inline_types: Option<Vec<String>>,
}

/// Whether a value could be taken; else what is wrong with it, which never shows the value.
type Taken = Result<(), String>;

/// What is typed in place of a key's flag, besides the flag itself: variables that are no flags too.
const INSTEAD: [(&str, &[&str]); 11] = [
    ("fhir-url", &["url"]),
    ("token-url", &BEARERS),
    ("client-id", &BEARERS),
    ("scope", &BEARERS),
    ("key", &KEYS_AND_BEARERS),
    ("out", &["into"]),
    ("reporter", &["json"]),
    ("global", &["group", "patient"]),
    ("group", &["global"]),
    ("patient", &["global"]),
    ("log-status-progress", &["no-log"]),
];

/// Tokens that are got by other means than a client's key.
const BEARERS: [&str; 3] = [
    "bearer-token-file",
    "bearer-token-command",
    "FHIRHOSE_BEARER_TOKEN",
];

const KEYS_AND_BEARERS: [&str; 5] = [
    "key-command",
    "FHIRHOSE_CLIENT_KEY_TEXT",
    BEARERS[0],
    BEARERS[1],
    BEARERS[2],
];

/// What is said in a kick-off, which `--status` has behind it.
const ASKED: [&str; 14] = [
    "output-format",
    "since",
    "type",
    "elements",
    "patient",
    "include-associated-data",
    "type-filter",
    "global",
    "group",
    "allow-partial-manifests",
    "organize-output-by",
    "lenient",
    "post",
    "custom",
];

/// Reads a configuration. What is given counts more: keys that it is in place of are not looked at.
pub(super) fn read(file: &SettingsFile, given: &Given<'_>) -> Result<Settings> {
    let path = file.path.display();
    let object = script::read(&file.text).map_err(|Malformed(problem)| {
        usage(format!(
            "{path}: {problem}. Settings are read and not run: if there is code in them, print them as JSON, by \
             `node -p 'JSON.stringify(require(\"./config.js\"))'`"
        ))
    })?;
    let mut settings = Settings {
        flags: Vec::new(),
        secrets: FileSecrets::default(),
        notes: Vec::new(),
        folder: file.folder()?,
        privacy: match file.mode & 0o037 {
            0 => Ok(()),
            _ => Err(format!(
                "others may read or change this file, which has a secret in it (mode {:03o}): run `chmod 600` on it first",
                file.mode & 0o777
            )),
        },
        attachments: Attachments::default(),
    };
    let mut refused = Vec::new();
    settings.visit("", &object, given, &mut refused);
    settings.settle(given, &mut refused);
    match refused.is_empty() {
        true => Ok(settings),
        false => Err(usage(format!("{path}: {}", refused.join("\n  also: ")))),
    }
}

impl Settings {
    /// Takes each key; those of objects in objects have names such as `log.enabled`.
    fn visit(
        &mut self,
        within: &str,
        object: &BTreeMap<String, Value>,
        given: &Given<'_>,
        refused: &mut Vec<String>,
    ) {
        for (name, value) in object {
            let name = format!("{within}{name}");
            let below = format!("{name}.");
            let taken = match (KEYS.iter().find(|key| key.name == name), value) {
                (Some(key), value) => self.take(key, value, given),
                (None, Value::Object(inner)) if KEYS.iter().any(|key| key.name.starts_with(&below)) => {
                    self.visit(&below, inner, given, refused);
                    Ok(())
                }
                (None, Value::Null) if KEYS.iter().any(|key| key.name.starts_with(&below)) => Ok(()),
                (None, _) => Err(unknown(&name)),
            };
            if let Err(problem) = taken {
                refused.push(format!("`{name}`: {problem}"));
            }
        }
    }

    fn take(&mut self, key: &Key, value: &Value, given: &Given<'_>) -> Taken {
        if matches!(value, Value::Null) || key.flag.is_some_and(|flag| is_replaced(flag, given)) {
            return Ok(());
        }
        let (flag, unset) = (key.flag.unwrap_or_default(), value.is_unset());
        let mut add = |value| {
            self.flags.push(Flag {
                key: key.name,
                name: flag,
                value,
            });
        };
        match key.take {
            Take::Own(take) => take(self, value)?,
            Take::Text | Take::List | Take::Each if unset => {}
            Take::Text => add(Some(value.text()?)),
            Take::List => add(Some(value.texts()?.join(","))),
            Take::Each => match value {
                Value::List(values) => values
                    .iter()
                    .try_for_each(|value| value.text().map(|text| add(Some(text))))?,
                one => add(Some(one.text()?)),
            },
            Take::Switch => {
                if value.switch()? {
                    add(None);
                }
            }
            Take::SwitchOff => {
                if !value.switch()? {
                    add(None);
                }
            }
            Take::Count => add(Some(value.whole(1)?.to_string())),
        }
        Ok(())
    }

    /// Adds the flag that a key of this name is for.
    fn add(&mut self, key: &'static str, name: &'static str, value: Option<String>) {
        self.flags.push(Flag { key, name, value });
    }

    /// Keeps a secret, if the file is for its owner only.
    fn secret(&self, text: String) -> Result<Secret, String> {
        self.privacy.clone().map(|()| Secret::of(text))
    }

    fn flag(&self, name: &str) -> Option<&Flag> {
        self.flags.iter().find(|flag| flag.name == name)
    }

    fn drop_flag(&mut self, name: &str) {
        self.flags.retain(|flag| flag.name != name);
    }

    /// Looks at the keys that depend on one another, and on what is given.
    fn settle(&mut self, given: &Given<'_>, refused: &mut Vec<String>) {
        if self.flag("status").is_some() || given.has("status") {
            self.flags.retain(|flag| !ASKED.contains(&flag.name));
        }
        if self.flag("no-log").is_some() {
            self.drop_flag("log-status-progress");
        }
        for other in ["group", "patient"] {
            if let Some(other) = self.flag(other).filter(|_| self.flag("global").is_some()) {
                refused.push(format!(
                    "`global` and `{}` say different things: name one",
                    other.key
                ));
            }
        }
        self.settle_access(given, refused);
        self.settle_attachments(given);
        self.settle_aws(given, refused);
    }

    fn settle_access(&mut self, given: &Given<'_>, refused: &mut Vec<String>) {
        let token_url = self.flag("token-url").and_then(|flag| flag.value.as_deref());
        let token_url = given.text("token-url").or(token_url);
        let (is_open, names_endpoint) = (token_url == Some("none"), self.flag("token-url").is_some());
        if self.flag("client-id").is_some() || given.has("client-id") {
            return;
        }
        // No token is asked for, so there is none to be asked for these.
        self.drop_flag("scope");
        if is_open {
            self.secrets.private_key = None;
            return;
        }
        if self.secrets.private_key.is_some() {
            refused.push("`privateKey` wants `clientId` beside it".to_owned());
        }
        if names_endpoint {
            let problem = "`tokenUrl` wants `clientId` and `privateKey` beside it; a server without authorization has \"none\"";
            refused.push(problem.to_owned());
        }
    }

    fn settle_attachments(&mut self, given: &Given<'_>) {
        const DOWNLOAD: &str = "download-attachments";
        const BELOW: &str = "inline-attachments-below";
        const TYPES: &str = "inline-attachment-types";
        const IGNORE: &str = "ignore-attachment-errors";
        let said = std::mem::take(&mut self.attachments);
        let puts_none = said.inline_types.as_ref().is_some_and(Vec::is_empty);
        let wants_inline = said.inline_below > 0 && !puts_none && !given.has(BELOW);
        let are_off = match given.text(DOWNLOAD) {
            Some(types) => ["", "false"].contains(&types.trim()),
            None => said.are_off,
        };
        if are_off {
            if wants_inline {
                let note = "attachments are not downloaded, so none is put inline either";
                self.notes.push(note.to_owned());
            }
            return;
        }
        if wants_inline {
            // There they come for this alone, too.
            if self.flag(DOWNLOAD).is_none() && !given.has(DOWNLOAD) {
                self.add("inlineDocRefAttachmentsSmallerThan", DOWNLOAD, None);
            }
            let below = Some(said.inline_below.to_string());
            self.add("inlineDocRefAttachmentsSmallerThan", BELOW, below);
        }
        let types = said
            .inline_types
            .filter(|_| (wants_inline || given.has(BELOW)) && !given.has(TYPES) && !puts_none);
        if let Some(types) = types {
            self.add("inlineDocRefAttachmentTypes", TYPES, Some(types.join(",")));
        }
        let downloads = self.flag(DOWNLOAD).is_some() || given.has(DOWNLOAD);
        if said.ignores_errors && downloads && !given.has(IGNORE) {
            self.add("ignoreAttachmentDownloadErrors", IGNORE, None);
        }
    }

    fn settle_aws(&mut self, given: &Given<'_>, refused: &mut Vec<String>) {
        let aws = &self.secrets.aws;
        let names = |wanted: &str| aws.iter().any(|(name, _)| *name == wanted);
        if names("AWS_ACCESS_KEY_ID") != names("AWS_SECRET_ACCESS_KEY") {
            refused.push("`awsAccessKeyId` and `awsSecretAccessKey` go together".to_owned());
        }
        let out = self.flag("out").and_then(|flag| flag.value.as_deref());
        let out = given.text("out").or(out).unwrap_or_default();
        if !aws.is_empty() && !out.starts_with("s3://") {
            let note = "what it says of AWS is for a destination s3://…, and not used";
            self.notes.push(note.to_owned());
        }
    }
}

/// Whether a flag is given, or something in its place.
fn is_replaced(flag: &str, given: &Given<'_>) -> bool {
    let mut instead = INSTEAD.iter().filter(|(name, _)| *name == flag);
    given.has(flag) || instead.any(|(_, others)| others.iter().any(|other| given.has(other)))
}

/// What is said of a key that they do not have, with the nearest that they have.
fn unknown(name: &str) -> String {
    if name == "requests" || name == "log" || name == "fileDownloadRetry" {
        return "an object is wanted".to_owned();
    }
    if name.starts_with("requests.") {
        return "of the options of requests, https.rejectUnauthorized, timeout and headers are taken: leave it out; \
                `fhirhose pull --help` has more under Access"
            .to_owned();
    }
    if name.starts_with("fileDownloadRetry.") {
        return "of these, limit is taken; what is worth trying again is known: leave it out".to_owned();
    }
    let names = KEYS.iter().map(|key| key.name);
    let nearest = names.min_by_key(|known| distance(known, name));
    match nearest.filter(|known| distance(known, name) <= (name.len() / 3).min(3)) {
        Some(nearest) => format!("bulk-data-client has no such setting; is it `{nearest}`?"),
        None => "bulk-data-client has no such setting".to_owned(),
    }
}

/// How many letters must be added, left out or changed to make one name the other, whatever their case.
fn distance(left: &str, right: &str) -> usize {
    let (left, right) = (left.to_lowercase(), right.to_lowercase());
    let mut row: Vec<usize> = (0..=right.chars().count()).collect();
    for (at, letter) in left.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], at + 1);
        for (column, other) in right.chars().enumerate() {
            let changed = diagonal + usize::from(letter != other);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    /// Holds the table of the code and the one of the page together.
    #[test]
    fn the_page_has_every_key_and_what_it_becomes() {
        let page = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../docs/operations/bulk-data-client.md"
        );
        let page = std::fs::read_to_string(page).unwrap();
        let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
        let keys = KEYS.iter();
        let expected: Vec<String> = keys
            .map(|key| format!("| `{}` | {} |", key.name, key.becomes))
            .collect();
        assert_eq!(rows, expected);
    }

    #[test]
    fn every_flag_that_a_key_becomes_is_one_of_pull() {
        let command = crate::arguments::Arguments::command();
        let pull = command.find_subcommand("pull").unwrap();
        let known: Vec<&str> = pull.get_arguments().filter_map(clap::Arg::get_long).collect();
        let flags = KEYS.iter().filter_map(|key| key.flag);
        let instead = INSTEAD.iter().map(|(flag, _)| *flag);
        let attached = [
            "inline-attachments-below",
            "inline-attachment-types",
            "ignore-attachment-errors",
        ];
        for flag in flags.chain(instead).chain(ASKED).chain(attached) {
            assert!(known.contains(&flag), "--{flag}");
        }
    }

    /// What a configuration becomes beside these words of a command line.
    fn settings(text: &str, typed: &str) -> Result<Settings, String> {
        let command = crate::arguments::Arguments::command();
        let words = format!("fhirhose pull {typed}");
        let relaxed = super::super::relax(command.clone()).ignore_errors(true);
        let matches = relaxed.try_get_matches_from(words.split_whitespace()).unwrap();
        let (_, found) = matches.subcommand().unwrap();
        let given = Given {
            command: command.find_subcommand("pull").unwrap(),
            found,
        };
        let file = SettingsFile {
            path: PathBuf::from("/etc/hose/config.json"),
            text: text.to_owned(),
            mode: 0o100_600,
        };
        read(&file, &given).map_err(|error| error.to_string())
    }

    fn flags(text: &str, typed: &str) -> String {
        let flags = settings(text, typed).unwrap().flags;
        let words = flags.iter().map(|flag| match &flag.value {
            Some(value) => format!("--{}={value}", flag.name),
            None => format!("--{}", flag.name),
        });
        words.collect::<Vec<_>>().join(" ")
    }

    #[rustfmt::skip]
    const BECOMES: [(&str, &str); 47] = [
        ("fhirUrl: 'https://a.example/fhir'", "--fhir-url=https://a.example/fhir"),
        ("fhirUrl: ''", ""),
        ("tokenUrl: 'none', privateKey: {}, clientId: '', scope: 'system/*.read'", "--token-url=none"),
        ("tokenUrl: '', privateKey: '', clientId: null", ""),
        ("clientId: 'app', scope: 'a b'", "--client-id=app --scope=a b"),
        ("accessTokenLifetime: 300", ""),
        ("reporter: 'text'", "--reporter=text"),
        ("_outputFormat: 'ndjson'", "--output-format=ndjson"),
        ("_since: '2020-03'", "--since=2020-03"),
        ("_since: 2020", "--since=2020"),
        ("_since: ''", ""),
        ("_type: 'Patient, Observation'", "--type=Patient,Observation"),
        ("_type: ['Patient', 'Observation']", "--type=Patient,Observation"),
        ("_elements: 'id,name'", "--elements=id,name"),
        ("patient: 'p1,p2'", "--patient=p1,p2"),
        ("includeAssociatedData: 'LatestProvenanceResources'", "--include-associated-data=LatestProvenanceResources"),
        ("_typeFilter: 'Patient?a=1,2'", "--type-filter=Patient?a=1,2"),
        ("_typeFilter: ['Patient?a=1', 'Group?b=2']", "--type-filter=Patient?a=1 --type-filter=Group?b=2"),
        ("global: true, group: ''", "--global"),
        ("global: false, group: 'g'", "--group=g"),
        ("allowPartialManifests: true, organizeOutputBy: 'Patient'", "--allow-partial-manifests --organize-output-by=Patient"),
        ("lenient: true, post: true", "--lenient --post"),
        ("lenient: false", ""),
        ("custom: ['a=1', 'b=2']", "--custom=a=1 --custom=b=2"),
        ("status: 'https://a.example/job', _type: 'Patient', lenient: true", "--status=https://a.example/job"),
        ("requests: {https: {rejectUnauthorized: true}, headers: {}}", ""),
        ("requests: {timeout: 30000}", "--read-timeout-secs=30"),
        ("requests: {timeout: 1}", "--read-timeout-secs=1"),
        ("requests: {headers: {'x-a': 'b', 'x-b': ['c', 5]}}", "--header=x-a: b --header=x-b: c --header=x-b: 5"),
        ("parallelDownloads: 3", "--parallel-downloads=3"),
        ("saveManifest: true, addDestinationToManifest: true, forceStandardFileNames: true", ""),
        ("ndjsonMaxLineLength: 10000000", "--line-bytes-max=10000000"),
        ("ndjsonValidateFHIRResourceType: false, ndjsonValidateFHIRResourceCount: true", "--no-type-check"),
        ("ndjsonValidateFHIRResourceCount: false", "--no-count-check"),
        ("destination: './files'", "--out=/etc/hose/./files"),
        ("destination: '/tmp/files'", "--out=/tmp/files"),
        ("destination: 'file:///tmp/all%20files'", "--out=/tmp/all files"),
        ("destination: 's3://bucket/a'", "--out=s3://bucket/a"),
        ("log: {enabled: true, metadata: {}, file: '', logStatusProgress: true}", "--log-status-progress"),
        ("log: {enabled: false, logStatusProgress: true}", "--no-log"),
        ("retryAfterMSec: 200, logResponseHeaders: 'all', awsApiVersion: '2006-03-01'", ""),
        ("fileDownloadRetry: {limit: 5}", "--file-attempts-max=6"),
        ("inlineDocRefAttachmentsSmallerThan: 0, inlineDocRefAttachmentTypes: ['text/plain'], pdfToText: false", ""),
        ("downloadAttachments: false, ignoreAttachmentDownloadErrors: true, inlineDocRefAttachmentsSmallerThan: 9", ""),
        ("inlineDocRefAttachmentsSmallerThan: 9, inlineDocRefAttachmentTypes: ['a/b', 'c/d'], ignoreAttachmentDownloadErrors: true",
            "--download-attachments --inline-attachments-below=9 --inline-attachment-types=a/b,c/d --ignore-attachment-errors"),
        ("downloadAttachments: true, inlineDocRefAttachmentsSmallerThan: 9, inlineDocRefAttachmentTypes: []", "--download-attachments"),
        ("downloadAttachments: ['a/b', 'c/d'], inlineDocRefAttachmentTypes: ['a/b']", "--download-attachments=a/b,c/d"),
    ];

    #[test]
    fn every_key_becomes_the_flag_that_means_the_same() {
        for (text, line) in BECOMES {
            assert_eq!(flags(&format!("{{{text}}}"), ""), line, "{text}");
        }
        let named: String = BECOMES.iter().map(|(text, _)| *text).collect();
        for key in KEYS {
            let name = key.name.rsplit('.').next().unwrap();
            assert!(named.contains(name) || name.starts_with("aws"), "{name}");
        }
    }

    #[test]
    fn what_is_typed_counts_more_than_the_file_and_what_contradicts_it_too() {
        for (text, typed, line) in [
            ("fhirUrl: 'https://a.example'", "https://b.example", ""),
            ("fhirUrl: 'https://a.example'", "-f https://b.example", ""),
            (
                "destination: 'none', _type: 'Patient'",
                "-d files",
                "--type=Patient",
            ),
            ("destination: './files'", "--into store", ""),
            ("global: true", "--group g", ""),
            ("global: true", "--patient p", ""),
            ("group: 'g', patient: 'p'", "--global", ""),
            ("_type: 'Patient', _since: '2020'", "-t Group", "--since=2020"),
            ("reporter: 'cli'", "--json", ""),
            ("log: {logStatusProgress: true}", "--no-log", ""),
            (
                "lenient: true, _since: '2020'",
                "--status https://a.example/job",
                "",
            ),
            (
                "tokenUrl: 'https://a.example', clientId: 'a'",
                "--bearer-token-file t",
                "",
            ),
            (
                "scope: 'a', tokenUrl: 'https://a.example'",
                "--client-id a",
                "--scope=a --token-url=https://a.example",
            ),
            ("tokenUrl: 'https://a.example'", "--token-url none", ""),
            ("fileDownloadRetry: {limit: 1}", "--file-attempts-max 9", ""),
        ] {
            assert_eq!(flags(&format!("{{{text}}}"), typed), line, "{text} {typed}");
        }
        let key = "{privateKey: {kty: 'EC', d: 'hush'}, clientId: 'a'}";
        assert!(settings(key, "").unwrap().secrets.private_key.is_some());
        for typed in ["--key k", "--key-command c", "--bearer-token-file t"] {
            assert!(
                settings(key, typed).unwrap().secrets.private_key.is_none(),
                "{typed}"
            );
        }
    }

    #[test]
    fn what_changes_nothing_is_told() {
        for (text, told) in [
            ("addDestinationToManifest: true", "`addDestinationToManifest`"),
            ("retryAfterMSec: 5000", "`retryAfterMSec`"),
            ("logResponseHeaders: 'none'", "`logResponseHeaders`"),
            ("logResponseHeaders: ['x-a']", "`logResponseHeaders`"),
            (
                "downloadAttachments: [], inlineDocRefAttachmentsSmallerThan: 9",
                "not downloaded",
            ),
            ("awsRegion: 'eu-west-1', destination: 'files'", "AWS"),
        ] {
            let notes = settings(&format!("{{{text}}}"), "").unwrap().notes;
            assert!(notes.len() == 1 && notes[0].contains(told), "{text}: {notes:?}");
        }
        let aws = "{awsRegion: 'eu-west-1', awsAccessKeyId: 'a', awsSecretAccessKey: 'hush', destination: 's3://b/c'}";
        let settings = settings(aws, "").unwrap();
        let names: Vec<&str> = settings.secrets.aws.iter().map(|(name, _)| *name).collect();
        assert_eq!(
            names,
            ["AWS_ACCESS_KEY_ID", "AWS_REGION", "AWS_SECRET_ACCESS_KEY"]
        );
        assert!(settings.notes.is_empty());
    }

    #[test]
    fn a_name_is_told_what_it_may_have_meant() {
        for (name, meant) in [
            ("fhirURL", "fhirUrl"),
            ("type", "_type"),
            ("log.enable", "log.enabled"),
        ] {
            assert!(unknown(name).contains(&format!("`{meant}`")), "{name}");
        }
        for name in ["colour", "nope", "x"] {
            assert_eq!(unknown(name), "bulk-data-client has no such setting", "{name}");
        }
        assert_eq!((distance("abc", "axc"), distance("", "ab")), (1, 2));
    }
}
