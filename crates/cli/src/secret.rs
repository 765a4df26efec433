//! Secrets (keys, passwords, tokens): from a file, a command or the environment, never from the command line, where every user
//! of the machine could read them. [`SecretSource`] says where, [`Secret`] is what was there.

use anyhow::{Context, Result, anyhow, bail, ensure};
use fhirhose_auth::SigningKey;
use std::fmt;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// The longest secret, in bytes.
const BYTES_MAX: u64 = 64 << 10;

/// How long a command may take to print a secret.
const COMMAND_TIME_MAX: Duration = Duration::from_secs(30);

/// Text that is shown nowhere.
#[derive(Clone)]
pub(crate) struct Secret(String);

impl Secret {
    /// Keeps a text that came by another way than [`SecretSource`].
    pub(crate) fn of(text: String) -> Self {
        Self(text)
    }

    /// The text itself, without white space around it.
    pub(crate) fn text(&self) -> &str {
        self.0.trim()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Where a secret is: in one place at most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SecretSource<'a> {
    /// What it is, for messages: `output key`.
    pub(crate) what: &'static str,
    /// A file that only its owner, and at most a group, may read.
    pub(crate) file: Option<&'a Path>,
    /// A command line for `sh -c` that prints it.
    pub(crate) command: Option<&'a str>,
    /// The environment variable that may hold it.
    pub(crate) variable: &'static str,
}

impl SecretSource<'_> {
    /// Reads the secret; `None` if no place is named.
    pub(crate) fn read(&self) -> Result<Option<Secret>> {
        let Self {
            what,
            file,
            command,
            variable,
        } = *self;
        let given = std::env::var_os(variable).filter(|value| !value.is_empty());
        let text = match (file, command, given) {
            (None, None, None) => return Ok(None),
            (Some(file), None, None) => {
                read_file(file).with_context(|| format!("reading the {what} in {}", file.display()))?
            }
            (None, Some(command), None) => {
                run(command).with_context(|| format!("running the command for the {what}"))?
            }
            (None, None, Some(value)) => value
                .into_string()
                .map_err(|_| anyhow!("{variable} is not text"))?,
            _ => {
                bail!("the {what} is given in more than one place: name one file, one command, or {variable}")
            }
        };
        ensure!(!text.trim().is_empty(), "the {what} is empty");
        Ok(Some(Secret(text)))
    }
}

/// Reads a secret from a file, or from stdin where the file is `-`.
pub(crate) fn read_from(what: &str, file: &Path) -> Result<Secret> {
    let text = if file == Path::new("-") {
        read_text(std::io::stdin().lock()).with_context(|| format!("reading the {what} on stdin"))?
    } else {
        read_file(file).with_context(|| format!("reading the {what} in {}", file.display()))?
    };
    ensure!(!text.trim().is_empty(), "the {what} is empty");
    Ok(Secret(text))
}

/// Reads a private key, PEM or JWK, as [`read_from`] does.
pub(crate) fn read_signing_key(what: &str, file: &Path) -> Result<SigningKey> {
    let secret = read_from(what, file)?;
    parse_key(secret.text()).with_context(|| format!("reading the {what} in {}", file.display()))
}

/// The private key that a text is, PEM or JWK.
pub(crate) fn parse_key(text: &str) -> Result<SigningKey> {
    Ok(match text.starts_with('{') {
        true => SigningKey::from_jwk(text.as_bytes())?,
        false => SigningKey::from_pem(text)?,
    })
}

fn read_file(path: &Path) -> Result<String> {
    let file = std::fs::File::open(path)?;
    let mode = file.metadata()?.permissions().mode();
    ensure!(
        mode & 0o037 == 0,
        "others may read or change it (mode {:03o}): run `chmod 600` on it first",
        mode & 0o777
    );
    read_text(file)
}

fn run(command: &str) -> Result<String> {
    let mut child = Command::new("sh")
        .arg("-c")
        .arg(command)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let printed = child.stdout.take().context("its output cannot be read")?;
    let (done, reading) = mpsc::channel();
    std::thread::spawn(move || done.send(read_text(printed)));
    let Ok(text) = reading.recv_timeout(COMMAND_TIME_MAX) else {
        let _ = child.kill();
        let _ = child.wait();
        bail!("it took longer than {} s", COMMAND_TIME_MAX.as_secs());
    };
    let status = child.wait()?;
    ensure!(status.success(), "it ended with {status}");
    text
}

fn read_text(from: impl Read) -> Result<String> {
    let mut text = String::new();
    from.take(BYTES_MAX + 1).read_to_string(&mut text)?;
    ensure!(
        text.len() as u64 <= BYTES_MAX,
        "it is longer than {BYTES_MAX} bytes"
    );
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source<'a>(file: Option<&'a Path>, command: Option<&'a str>) -> SecretSource<'a> {
        SecretSource {
            what: "test secret",
            file,
            command,
            variable: "FHIRHOSE_NO_SUCH_SECRET",
        }
    }

    fn text(source: SecretSource<'_>) -> Result<Option<String>> {
        Ok(source.read()?.map(|secret| secret.text().to_owned()))
    }

    #[test]
    fn a_secret_comes_from_one_place() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        std::fs::write(&file, "from a file\n").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(text(source(None, None)).unwrap(), None);
        assert_eq!(text(source(Some(&file), None)).unwrap().unwrap(), "from a file");
        let printed = text(source(None, Some("echo 'from a' command"))).unwrap();
        assert_eq!(printed.unwrap(), "from a command");
        assert!(text(source(Some(&file), Some("echo x"))).is_err());
    }

    #[test]
    fn a_file_that_others_can_read_or_change_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        std::fs::write(&file, "x").unwrap();
        for (mode, good) in [
            (0o600, true),
            (0o400, true),
            (0o640, true),
            (0o644, false),
            (0o660, false),
            (0o602, false),
        ] {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(text(source(Some(&file), None)).is_ok(), good, "{mode:o}");
        }
    }

    #[test]
    fn what_fails_or_is_empty_is_an_error_and_shows_nothing() {
        for command in ["exit 3", "true", "echo secret; exit 1", "yes | head -c 70000"] {
            let error = source(None, Some(command)).read().unwrap_err();
            assert!(!format!("{error:#}").contains("secret;"), "{error:#}");
        }
        let secret = source(None, Some("echo hush")).read().unwrap().unwrap();
        assert!(!format!("{secret:?}").contains("hush"));
    }
}
