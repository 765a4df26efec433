//! `fhirhose client keygen`.

use crate::commands::print;
use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use fhirhose_auth::{Algorithm, SigningKey};
use std::fs::{DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Characters of a key's name at most.
const KID_CHARS_MAX: usize = 256;

/// Makes a key pair for a client and prints what each side needs
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fhirhose client keygen --out keys
  fhirhose client keygen --out keys-2027 --algorithm RS384 --kid 2027")]
pub(crate) struct Keygen {
    /// Folder for private-key.pem and jwks.json; made when absent, nothing in it is replaced
    #[arg(long, value_name = "DIR")]
    out: PathBuf,

    /// How the client is to sign
    #[arg(long, value_enum, ignore_case = true, default_value_t = Signing::Es384)]
    algorithm: Signing,

    /// What the key is to be called [default: its thumbprint]
    #[arg(long, value_name = "NAME")]
    kid: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Signing {
    /// ECDSA over P-384
    #[value(name = "ES384")]
    Es384,
    /// RSA with 3072 bits
    #[value(name = "RS384")]
    Rs384,
}

impl Keygen {
    pub(super) fn run(self) -> Result<()> {
        if let Some(kid) = &self.kid {
            check_kid(kid)?;
        }
        let key = SigningKey::generate(match self.algorithm {
            Signing::Es384 => Algorithm::Es384,
            Signing::Rs384 => Algorithm::Rs384,
        })?;
        let key = match &self.kid {
            Some(kid) => key.with_kid(kid),
            None => key,
        };
        let mut folder = DirBuilder::new();
        folder.recursive(true).mode(0o700);
        let made = folder.create(&self.out);
        made.with_context(|| format!("making folder {}", self.out.display()))?;
        let (private, public) = (self.out.join("private-key.pem"), self.out.join("jwks.json"));
        for file in [&private, &public] {
            if file.exists() {
                bail!("{} is there already, and no key is ever replaced", file.display());
            }
        }
        write_new(&private, key.to_pem().as_bytes(), 0o600)?;
        let jwks = format!("{}\n", serde_json::to_string_pretty(&key.to_jwks().to_json())?);
        write_new(&public, jwks.as_bytes(), 0o644)?;
        print(&self.text(&key, &private, &public))
    }

    fn text(&self, key: &SigningKey, private: &Path, public: &Path) -> String {
        let (private, public) = (private.display(), public.display());
        let named = self.kid.as_ref().map(|kid| format!(" --kid {kid}"));
        format!(
            "private key\t{private}\tstays with the client: who has it is the client\n\
             public keys\t{public}\tgo to whoever runs the server, or behind an https URL of the client\n\
             kid\t{}\n\
             algorithm\t{}\n\
             \n\
             Who runs the server registers the client:\n\
             fhirhose client add CLIENT-ID --data DIR --name NAME --jwks {public} --scope 'system/*.rs'\n\
             The client asks for a token:\n\
             fhirhose client token --token-url URL --client-id CLIENT-ID --key {private}{} --scope 'system/*.rs'\n",
            key.kid(),
            key.algorithm(),
            named.unwrap_or_default(),
        )
    }
}

fn check_kid(kid: &str) -> Result<()> {
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    if (1..=KID_CHARS_MAX).contains(&kid.len()) && kid.bytes().all(is_fine) {
        return Ok(());
    }
    bail!("the name of a key has 1 to {KID_CHARS_MAX} letters, digits and -._~");
}

/// Writes a file that must not be there yet.
fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let writing = || format!("writing {}", path.display());
    let mut options = OpenOptions::new();
    let opened = options.write(true).create_new(true).mode(mode).open(path);
    let mut file = opened.with_context(writing)?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .with_context(writing)
}
