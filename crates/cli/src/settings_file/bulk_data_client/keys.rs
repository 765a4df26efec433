//! The keys of bulk-data-client's configurations, and what becomes of each: [`KEYS`]. The table of `docs/operations/bulk-data-client.md`
//! is this one.

use super::script::Value;
use super::{Settings, Taken};
use crate::export_args::is_instant;
use url::Url;

/// A key.
pub(super) struct Key {
    /// Its name; `log.enabled` is `enabled` in the object `log`.
    pub(super) name: &'static str,
    /// The flag that says the same: where it is given, the key does not count.
    pub(super) flag: Option<&'static str>,
    pub(super) take: Take,
    /// What becomes of it, in the words of the page.
    #[cfg_attr(not(test), expect(dead_code, reason = "a test holds the page to it"))]
    pub(super) becomes: &'static str,
}

/// How a key becomes its flag. What is empty, `null` or `false` is not set.
pub(super) enum Take {
    /// By a text.
    Text,
    /// By texts with commas between them.
    List,
    /// By a flag for each text.
    Each,
    /// By standing there, for `true`.
    Switch,
    /// By standing there, for `false`.
    SwitchOff,
    /// By a number, at least 1.
    Count,
    /// In a way of its own.
    Own(fn(&mut Settings, &Value) -> Taken),
}

/// Writes a row: name, flag, how, and what becomes of it.
const fn key(name: &'static str, flag: &'static str, take: Take, becomes: &'static str) -> Key {
    Key {
        name,
        flag: match flag.is_empty() {
            true => None,
            false => Some(flag),
        },
        take,
        becomes,
    }
}

#[rustfmt::skip]
pub(super) const KEYS: [Key; 49] = [
    key("fhirUrl", "fhir-url", Take::Text, "`--fhir-url`"),
    key("tokenUrl", "token-url", Take::Text, "`--token-url`; `\"none\"` is a server without authorization, `\"\"` what its smart-configuration says"),
    key("privateKey", "key", Take::Own(private_key), "what `FHIRHOSE_CLIENT_KEY_TEXT` is for; `{}` is none. The file must not be readable by others, as one for `--key`"),
    key("clientId", "client-id", Take::Text, "`--client-id`"),
    key("scope", "scope", Take::Text, "`--scope`; without `clientId` no token is asked for, so no scope is"),
    key("accessTokenLifetime", "", Take::Own(access_token_lifetime), "240 to 300 are taken: assertions are good for 240 seconds, and SMART allows 300. Others are refused"),
    key("reporter", "reporter", Take::Own(reporter), "`--reporter`"),
    key("_outputFormat", "output-format", Take::Text, "`--output-format`"),
    key("_since", "since", Take::Own(since), "`--since`; `\"2020-03\"` is the beginning of that month in UTC. Words and times without a zone are refused"),
    key("_type", "type", Take::List, "`--type`"),
    key("_elements", "elements", Take::List, "`--elements`"),
    key("patient", "patient", Take::List, "`--patient`"),
    key("includeAssociatedData", "include-associated-data", Take::List, "`--include-associated-data`"),
    key("_typeFilter", "type-filter", Take::Each, "`--type-filter`, as it stands; a list is one for each"),
    key("global", "global", Take::Switch, "`--global`"),
    key("group", "group", Take::Text, "`--group`"),
    key("allowPartialManifests", "allow-partial-manifests", Take::Switch, "`--allow-partial-manifests`"),
    key("organizeOutputBy", "organize-output-by", Take::Text, "`--organize-output-by`"),
    key("lenient", "lenient", Take::Switch, "`--lenient`; left out, a pull is not lenient"),
    key("post", "post", Take::Switch, "`--post`"),
    key("custom", "custom", Take::Each, "`--custom`, one for each `\"name=value\"`"),
    key("status", "status", Take::Text, "`--status`; what is to be exported does not count beside it"),
    key("requests.https.rejectUnauthorized", "", Take::Own(reject_unauthorized), "`true` is what is done; `false` is refused: `--ca FILE` trusts one authority more"),
    key("requests.timeout", "read-timeout-secs", Take::Own(timeout), "`--read-timeout-secs`, rounded up from milliseconds; objects of several timeouts are refused"),
    key("requests.headers", "header", Take::Own(headers), "`--header`, one for each; `Authorization` is refused: `--bearer-token-file`, `FHIRHOSE_BEARER_TOKEN`"),
    key("parallelDownloads", "parallel-downloads", Take::Count, "`--parallel-downloads`"),
    key("saveManifest", "", Take::Own(any_switch), "`manifest.json` is always written; `false` loses nothing"),
    key("ndjsonMaxLineLength", "line-bytes-max", Take::Own(line_length), "`--line-bytes-max`, so bytes and not characters; `Infinity` is refused"),
    key("ndjsonValidateFHIRResourceType", "no-type-check", Take::SwitchOff, "`false` is `--no-type-check`"),
    key("ndjsonValidateFHIRResourceCount", "no-count-check", Take::SwitchOff, "`false` is `--no-count-check`"),
    key("addDestinationToManifest", "", Take::Own(destination_in_manifest), "`true` is told that `manifest.json` has the file's path in `url`"),
    key("forceStandardFileNames", "", Take::Own(standard_names), "`true` is what is done; `false` is refused: files are `1.Patient.ndjson`, `2.Patient.ndjson`, …"),
    key("downloadAttachments", "download-attachments", Take::Own(download_attachments), "`--download-attachments`; a list of MIME types is its value"),
    key("ignoreAttachmentDownloadErrors", "", Take::Own(ignore_attachment_errors), "`--ignore-attachment-errors`, where there are attachments to fetch"),
    key("inlineDocRefAttachmentsSmallerThan", "", Take::Own(inline_below), "`--inline-attachments-below`, and `--download-attachments` where `downloadAttachments` is left out; `0` is none, `Infinity` is refused; beside `downloadAttachments: false` it is told that none is put inline"),
    key("inlineDocRefAttachmentTypes", "", Take::Own(inline_types), "`--inline-attachment-types`, where attachments are put inline; an empty list puts none inline"),
    key("pdfToText", "", Take::Own(pdf_to_text), "`true` is refused: attachments are kept as they are"),
    key("destination", "out", Take::Own(destination), "`--out`; folders are relative to the file, `file://` and `s3://` as there. `http://`, `\"none\"` and `\"\"` are refused"),
    key("awsRegion", "", Take::Own(|settings, value| aws(settings, value, "AWS_REGION")), "what `AWS_REGION` is for, where that is not set"),
    key("awsAccessKeyId", "", Take::Own(|settings, value| aws(settings, value, "AWS_ACCESS_KEY_ID")), "what `AWS_ACCESS_KEY_ID` is for, where the environment has no such key. The file must not be readable by others"),
    key("awsSecretAccessKey", "", Take::Own(|settings, value| aws(settings, value, "AWS_SECRET_ACCESS_KEY")), "what `AWS_SECRET_ACCESS_KEY` is for, the same"),
    key("awsApiVersion", "", Take::Own(|_, _| Ok(())), "taken; S3 has one version, and nothing depends on it"),
    key("log.enabled", "no-log", Take::SwitchOff, "`false` is `--no-log`"),
    key("log.file", "", Take::Own(log_file), "refused, unless empty: `log.ndjson` lies in the folder of the files"),
    key("log.metadata", "", Take::Own(log_metadata), "refused, unless empty: what reads `log.ndjson` can add it"),
    key("log.logStatusProgress", "log-status-progress", Take::Switch, "`--log-status-progress`"),
    key("retryAfterMSec", "", Take::Own(retry_after), "`200` is taken; others are told that waits are the server's `Retry-After`, else grow by themselves"),
    key("logResponseHeaders", "", Take::Own(log_response_headers), "`\"all\"` is what is done, but for `Set-Cookie` and `Location`; others are told so"),
    key("fileDownloadRetry.limit", "file-attempts-max", Take::Own(retries), "`--file-attempts-max`, which counts the first try too: one more"),
];

fn private_key(settings: &mut Settings, value: &Value) -> Taken {
    let text = match value {
        value if value.is_unset() => return Ok(()),
        Value::Object(_) => value.json().to_string(),
        Value::Text(text) => text.clone(),
        _ => return Err("a JWK is wanted, or {}".to_owned()),
    };
    settings.secrets.private_key = Some(settings.secret(text)?);
    Ok(())
}

fn access_token_lifetime(_: &mut Settings, value: &Value) -> Taken {
    match value.whole(1)? {
        240..=300 => Ok(()),
        _ => Err(
            "the assertions that ask for tokens are good for 240 seconds, of the 300 that SMART allows: leave it out"
                .to_owned(),
        ),
    }
}

fn reporter(settings: &mut Settings, value: &Value) -> Taken {
    let text = value.text()?;
    match text.as_str() {
        "cli" | "text" => settings.add("reporter", "reporter", Some(text)),
        _ => return Err("it is cli or text".to_owned()),
    }
    Ok(())
}

fn since(settings: &mut Settings, value: &Value) -> Taken {
    if value.is_unset() {
        return Ok(());
    }
    let text = value.text()?;
    if !is_instant(&text) {
        return Err(
            "a year, a month, a day or an instant is wanted, such as 2026-11-20T02:00:00Z".to_owned(),
        );
    }
    settings.add("_since", "since", Some(text));
    Ok(())
}

fn reject_unauthorized(_: &mut Settings, value: &Value) -> Taken {
    match value.switch()? {
        true => Ok(()),
        false => Err(
            "a server is not taken for another one's word: set it to true, and name the authority of its certificate by --ca FILE"
                .to_owned(),
        ),
    }
}

fn timeout(settings: &mut Settings, value: &Value) -> Taken {
    let millis = value.whole(1).map_err(|_| {
        "a number of milliseconds is wanted, how long the server may send nothing; --connect-timeout-secs has connections"
            .to_owned()
    })?;
    let seconds = millis.div_ceil(1_000);
    settings.add("requests.timeout", "read-timeout-secs", Some(seconds.to_string()));
    Ok(())
}

fn headers(settings: &mut Settings, value: &Value) -> Taken {
    let Value::Object(headers) = value else {
        return Err("an object of names and values is wanted".to_owned());
    };
    for (name, value) in headers {
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.eq_ignore_ascii_case("authorization") {
            return Err(
                "`Authorization` is no header like others: a token comes by --bearer-token-file or in FHIRHOSE_BEARER_TOKEN"
                    .to_owned(),
            );
        }
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err("one has a name that no header can have".to_owned());
        }
        let values = match value {
            Value::Null => Vec::new(),
            Value::List(values) => values.iter().map(Value::text).collect::<Result<_, _>>()?,
            one => vec![one.text()?],
        };
        for value in values {
            settings.add("requests.headers", "header", Some(format!("{name}: {value}")));
        }
    }
    Ok(())
}

fn any_switch(_: &mut Settings, value: &Value) -> Taken {
    value.switch().map(|_| ())
}

fn line_length(settings: &mut Settings, value: &Value) -> Taken {
    let length = value.whole(1).map_err(|_| {
        "a line always has a limit: a whole number is wanted, or nothing for 64 MiB".to_owned()
    })?;
    settings.add("ndjsonMaxLineLength", "line-bytes-max", Some(length.to_string()));
    Ok(())
}

fn destination_in_manifest(settings: &mut Settings, value: &Value) -> Taken {
    if value.switch()? {
        let note =
            "`addDestinationToManifest`: manifest.json has each file's path in `url`, and no `destination`";
        settings.notes.push(note.to_owned());
    }
    Ok(())
}

fn standard_names(_: &mut Settings, value: &Value) -> Taken {
    match value.switch()? {
        true => Ok(()),
        false => Err(
            "files are always called 1.Patient.ndjson, 2.Patient.ndjson and so on: set it to true".to_owned(),
        ),
    }
}

fn download_attachments(settings: &mut Settings, value: &Value) -> Taken {
    let types = match value {
        value if value.is_unset() => {
            settings.attachments.are_off = true;
            return Ok(());
        }
        Value::Bool(_) => None,
        Value::List(_) => Some(value.texts()?.join(",")),
        _ => return Err("true, false or a list of MIME types is wanted".to_owned()),
    };
    settings.add("downloadAttachments", "download-attachments", types);
    Ok(())
}

fn ignore_attachment_errors(settings: &mut Settings, value: &Value) -> Taken {
    settings.attachments.ignores_errors = value.switch()?;
    Ok(())
}

fn inline_below(settings: &mut Settings, value: &Value) -> Taken {
    settings.attachments.inline_below = value
        .whole(0)
        .map_err(|_| "a number of bytes is wanted: what is put inline is held in memory".to_owned())?;
    Ok(())
}

fn inline_types(settings: &mut Settings, value: &Value) -> Taken {
    let Value::List(_) = value else {
        return Err("a list of MIME types is wanted".to_owned());
    };
    settings.attachments.inline_types = Some(value.texts()?);
    Ok(())
}

fn pdf_to_text(_: &mut Settings, value: &Value) -> Taken {
    match value.switch()? {
        false => Ok(()),
        true => Err(
            "attachments are kept as they are: set it to false, and let another program make text of PDF"
                .to_owned(),
        ),
    }
}

fn destination(settings: &mut Settings, value: &Value) -> Taken {
    let text = match value.is_unset() {
        true => String::new(),
        false => value.text()?,
    };
    let place = match text.split_once("://") {
        _ if text.is_empty() || text == "none" => {
            return Err(
                "nothing would be kept of what is pulled: name a folder or s3://bucket/prefix".to_owned(),
            );
        }
        Some(("s3", _)) => text,
        Some(("file", _)) => {
            let url = Url::parse(&text).ok();
            let path = url.and_then(|url| url.to_file_path().ok());
            let path = path.and_then(|path| path.into_os_string().into_string().ok());
            path.ok_or("a file URL such as file:///path/to/files is wanted")?
        }
        // It may have a password in it.
        Some(_) => {
            return Err(
                "files are not sent to a server by HTTP: name a folder or s3://bucket/prefix".to_owned(),
            );
        }
        None => {
            let path = settings.folder.join(text).into_os_string().into_string();
            path.map_err(|_| "the file lies in a folder whose name is no text: name it by --out".to_owned())?
        }
    };
    settings.add("destination", "out", Some(place));
    Ok(())
}

fn aws(settings: &mut Settings, value: &Value, variable: &'static str) -> Taken {
    if value.is_unset() {
        return Ok(());
    }
    let text = value.text()?;
    let secret = match variable {
        "AWS_REGION" => crate::secret::Secret::of(text),
        _ => settings.secret(text)?,
    };
    settings.secrets.aws.push((variable, secret));
    Ok(())
}

fn log_file(_: &mut Settings, value: &Value) -> Taken {
    match value.is_unset() {
        true => Ok(()),
        false => Err("log.ndjson lies in the folder of the files: leave it out".to_owned()),
    }
}

fn log_metadata(_: &mut Settings, value: &Value) -> Taken {
    match value.is_unset() {
        true => Ok(()),
        false => {
            Err("nothing is added to log.ndjson: leave it out, and add it to the lines afterwards".to_owned())
        }
    }
}

fn retry_after(settings: &mut Settings, value: &Value) -> Taken {
    if value.whole(0)? != 200 {
        let note = "`retryAfterMSec`: waits are as long as the server's Retry-After says, and grow by themselves where it says nothing";
        settings.notes.push(note.to_owned());
    }
    Ok(())
}

fn log_response_headers(settings: &mut Settings, value: &Value) -> Taken {
    if !matches!(value, Value::Text(text) if text == "all") {
        let note = "`logResponseHeaders`: log.ndjson has all headers of answers but Set-Cookie and Location; `log.enabled: false` writes none";
        settings.notes.push(note.to_owned());
    }
    Ok(())
}

fn retries(settings: &mut Settings, value: &Value) -> Taken {
    let attempts = value.whole(0)?.saturating_add(1);
    settings.add(
        "fileDownloadRetry.limit",
        "file-attempts-max",
        Some(attempts.to_string()),
    );
    Ok(())
}
