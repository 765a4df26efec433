//! The key that encrypts output files, as flags: [`OutputKeyArgs`].

use crate::secret::{Secret, SecretSource};
use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use fhirhose_store::OutputKeys;
use std::path::PathBuf;

/// Where the key of output files is.
#[derive(Debug, Args)]
pub(crate) struct OutputKeyArgs {
    /// File with the key that encrypts output files: 32 random bytes as hex or base64, or FHIRHOSE_OUTPUT_KEY in the environment; older keys on
    /// further lines still open theirs
    #[arg(long, env = "FHIRHOSE_OUTPUT_KEY_FILE", value_name = "FILE")]
    output_key_file: Option<PathBuf>,

    /// Command for `sh -c` that prints such a file; run once, at the start
    #[arg(long, env = "FHIRHOSE_OUTPUT_KEY_COMMAND", value_name = "COMMAND")]
    output_key_command: Option<String>,
}

impl OutputKeyArgs {
    /// All of them.
    pub(crate) const FLAGS: [&str; 2] = ["output_key_file", "output_key_command"];

    /// Reads the keys; `None` where none is named.
    pub(crate) fn keys(&self) -> Result<Option<OutputKeys>> {
        let source = SecretSource {
            what: "output key",
            file: self.output_key_file.as_deref(),
            command: self.output_key_command.as_deref(),
            variable: "FHIRHOSE_OUTPUT_KEY",
        };
        source.read()?.as_ref().map(parse).transpose()
    }
}

/// Reads one key a line; blank lines and those that begin with `#` are left out.
fn parse(secret: &Secret) -> Result<OutputKeys> {
    let lines = secret.text().lines().map(str::trim).enumerate();
    let keys = lines
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(number, line)| {
            key(line).with_context(|| format!("reading line {} of the output key", number + 1))
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(OutputKeys::new(keys)?)
}

fn key(line: &str) -> Result<[u8; 32]> {
    let bytes = match line.len() {
        64 => from_hex(line),
        _ => STANDARD.decode(line).ok(),
    };
    match bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok()) {
        Some(key) => Ok(key),
        // What is wrong with it is not told: it may be a secret of another kind.
        None => bail!(
            "a key is 32 bytes, as 64 hexadecimal digits or in base64; `openssl rand -hex 32` makes one"
        ),
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect();
    Some(digits?.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_32_bytes_in_hex_or_base64() {
        let bytes: [u8; 32] = std::array::from_fn(|at| u8::try_from(at * 7).unwrap());
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(key(&hex).unwrap(), bytes);
        assert_eq!(key(&hex.to_uppercase()).unwrap(), bytes);
        assert_eq!(key(&STANDARD.encode(bytes)).unwrap(), bytes);
        for text in [
            "",
            "password",
            &hex[..62],
            &format!("{}zz", &hex[..62]),
            &STANDARD.encode(&bytes[..31]),
        ] {
            let error = key(text).unwrap_err().to_string();
            assert!(text.is_empty() || !error.contains(text), "{error}");
        }
    }
}
