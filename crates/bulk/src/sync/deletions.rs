//! The lines of `deleted` files (M-31): Bundles whose entries each name a resource that is gone.

use fhirhose_fhir::id::is_valid_id;
use fhirhose_fhir::resource_type::ResourceType;
use serde::Deserialize;

#[derive(Deserialize)]
struct Bundle {
    #[serde(default)]
    entry: Vec<BundleEntry>,
}

#[derive(Deserialize)]
struct BundleEntry {
    request: Option<BundleRequest>,
}

#[derive(Deserialize)]
struct BundleRequest {
    #[serde(default)]
    method: String,
    #[serde(default)]
    url: String,
}

impl BundleEntry {
    /// Type and id: the last two parts of the URL, which may be relative or absolute.
    fn deletion(&self) -> Result<(&str, &str), &'static str> {
        let request = self
            .request
            .as_ref()
            .ok_or("an entry of the Bundle has no request")?;
        if request.method != "DELETE" {
            return Err("an entry of the Bundle is no deletion");
        }
        let mut parts = request.url.trim_end_matches('/').rsplit('/');
        let (id, name) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        match is_valid_id(id.as_bytes()) {
            true => Ok((name, id)),
            false => Err("an entry names no id"),
        }
    }
}

/// Whether this can be the name of a type, of whatever version of FHIR.
pub(super) fn is_type(name: &str) -> bool {
    !name.is_empty() && name.len() <= 64 && name.bytes().all(|byte| byte.is_ascii_alphabetic())
}

/// Adds the resources that a line names. An entry that cannot be used does not hide the others.
///
/// # Errors
/// What is wrong with the line, or with the first such entry.
pub(super) fn deletions(line: &[u8], gone: &mut Vec<(ResourceType, String)>) -> Result<(), &'static str> {
    let bundle: Bundle = serde_json::from_slice(line).map_err(|_| "the line is no Bundle")?;
    let mut read = Ok(());
    for entry in &bundle.entry {
        let named = entry.deletion().and_then(|(name, id)| {
            let resource_type = ResourceType::parse(name).ok_or("an entry names no type of FHIR R4")?;
            Ok((resource_type, id.to_owned()))
        });
        match named {
            Ok(named) => gone.push(named),
            Err(why) => read = read.and(Err(why)),
        }
    }
    read
}

/// Gives the name, `Type/id`, of each resource that a line names; says how many entries, or lines, cannot be used.
pub(crate) fn each_deletion(line: &[u8], take: &mut dyn FnMut(&str)) -> u64 {
    let Ok(bundle) = serde_json::from_slice::<Bundle>(line) else {
        return 1;
    };
    let mut refused = 0;
    for entry in &bundle.entry {
        match entry.deletion() {
            Ok((name, id)) if is_type(name) => take(&format!("{name}/{id}")),
            _ => refused += 1,
        }
    }
    refused
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line with a deletion, one of no type of R4, an entry without a request, one of another method, and a deletion by its full URL.
    fn line() -> String {
        let entry = |url: &str| format!(r#"{{"request":{{"method":"DELETE","url":"{url}"}}}}"#);
        let entries = [
            entry("Patient/a"),
            entry("Robot/b"),
            "{}".to_owned(),
            r#"{"request":{"method":"PUT","url":"Patient/d"}}"#.to_owned(),
            entry("http://ehr/fhir/Observation/c"),
        ];
        format!(r#"{{"resourceType":"Bundle","entry":[{}]}}"#, entries.join(","))
    }

    #[test]
    fn an_entry_that_cannot_be_used_does_not_hide_the_other_deletions_cl_11() {
        let mut gone = Vec::new();
        let read = deletions(line().as_bytes(), &mut gone);
        assert_eq!(read, Err("an entry names no type of FHIR R4"));
        let keys = gone.iter().map(|(name, id)| format!("{}/{id}", name.name()));
        assert_eq!(keys.collect::<Vec<_>>(), ["Patient/a", "Observation/c"]);
    }

    #[test]
    fn deletions_are_taken_by_relative_and_absolute_urls_cl_11() {
        let mut names = Vec::new();
        let refused = each_deletion(line().as_bytes(), &mut |name| names.push(name.to_owned()));
        assert_eq!(names, ["Patient/a", "Robot/b", "Observation/c"]);
        assert_eq!(refused, 2);
    }
}
