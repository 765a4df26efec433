//! Which URLs an import may read: [`locate`] is asked for each input of a kick-off.

use std::path::{Path, PathBuf};

use fhirhose_bulk::import::Location;
use fhirhose_fhir::outcome::IssueCode;
use url::Url;

use crate::ServerSettings;
use crate::problem::Problem;

/// Says what an input's URL stands for. Waits for the disk when it is a `file` URL.
///
/// # Errors
/// 400 for what is no absolute URL, of another scheme than `https`, `http` and `file`, or not allowed by the settings; for a
/// file that is not there or not below the root, links followed.
pub(crate) fn locate(settings: &ServerSettings, url: &str) -> Result<Location, Problem> {
    let parsed = Url::parse(url).map_err(|_| refusal("an input's url is not an absolute URL"))?;
    match parsed.scheme() {
        "https" | "http" => match settings.import_fetch.check_url(url) {
            Ok(_) => Ok(Location::Url(url.to_owned())),
            Err(error) => Err(refusal(&format!("an input is not allowed: {error}"))),
        },
        "file" => locate_file(settings.import_root.as_deref(), &parsed),
        _ => Err(refusal(
            "an input's url is of a scheme that is not supported: use https, http or file",
        )),
    }
}

fn locate_file(root: Option<&Path>, url: &Url) -> Result<Location, Problem> {
    let Some(root) = root else {
        return Err(refusal(
            "file URLs are not allowed: the server has no folder for imports",
        ));
    };
    // One answer for all, so that nobody can ask which files the machine has.
    let outside = || refusal("an input's file is not there, or not below the server's folder for imports");
    let root = root.canonicalize().map_err(|_| outside())?;
    let path: PathBuf = url.to_file_path().map_err(|()| outside())?;
    let path = path.canonicalize().map_err(|_| outside())?;
    if path.starts_with(&root) && path.is_file() {
        Ok(Location::Path(path))
    } else {
        Err(outside())
    }
}

fn refusal(text: &str) -> Problem {
    Problem::bad_request(IssueCode::NotSupported, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fhirhose_client::{FetchPolicy, PlainHttp};

    fn allowed(settings: &ServerSettings, url: &str) -> bool {
        locate(settings, url).is_ok()
    }

    #[test]
    fn https_goes_anywhere_and_http_to_this_machine_only() {
        let settings = ServerSettings::for_testing();
        assert!(allowed(&settings, "https://data.example.org/Patient.ndjson"));
        assert!(allowed(&settings, "http://127.0.0.1:9/Patient.ndjson"));
        assert!(allowed(&settings, "http://localhost/Patient.ndjson"));
        for url in [
            "http://data.example.org/Patient.ndjson",
            "http://10.0.0.1/Patient.ndjson",
            "https://10.0.0.1/Patient.ndjson",
            "https://169.254.169.254/latest/meta-data",
            "ftp://data.example.org/Patient.ndjson",
            "Patient.ndjson",
            "file:///etc/passwd",
        ] {
            assert!(!allowed(&settings, url), "{url}");
        }
        let open = ServerSettings {
            import_fetch: FetchPolicy {
                plain_http: PlainHttp::Anywhere,
                ..FetchPolicy::default()
            },
            ..settings
        };
        assert!(allowed(&open, "http://data.example.org/Patient.ndjson"));
    }

    #[test]
    fn file_urls_stay_below_the_root_links_followed() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = folder.path().join("root");
        std::fs::create_dir(&root).expect("the root");
        std::fs::write(root.join("in.ndjson"), "").expect("a file inside");
        std::fs::write(folder.path().join("out.ndjson"), "").expect("a file outside");
        std::os::unix::fs::symlink(folder.path().join("out.ndjson"), root.join("link.ndjson"))
            .expect("a link");
        let settings = ServerSettings {
            import_root: Some(root.clone()),
            ..ServerSettings::for_testing()
        };
        let url = |path: &str| format!("file://{}/{path}", root.display());
        assert!(allowed(&settings, &url("in.ndjson")));
        for path in [
            "link.ndjson",
            "../out.ndjson",
            "%2e%2e/out.ndjson",
            "absent.ndjson",
            "",
        ] {
            assert!(!allowed(&settings, &url(path)), "{path}");
        }
    }
}
