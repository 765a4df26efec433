//! The settings file: `fhirhose.toml`, a table per command, keys as the flags without dashes, or for `pull` a configuration of
//! bulk-data-client ([`bulk_data_client`]). Its values count only where neither a flag nor an environment variable is given, so they are
//! appended to the command line as the flags that they stand for. What is secret in it goes another way: [`FileSecrets`].
//!
//! ```toml
//! [serve]
//! data = "/var/lib/fhirhose"
//! listen = "127.0.0.1:9090"
//! ```

mod bulk_data_client;

use crate::failure::usage;
use crate::secret::Secret;
use anyhow::{Context, Result, bail};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

const DEFAULT_FILE: &str = "fhirhose.toml";

/// Flags that do not count beside others, though clap is not told so: to it a variable that is set for all commands would contradict what is typed.
const INSTEAD: [(&str, &str); 3] = [("out", "into"), ("into", "out"), ("staging", "into")];

/// A command line with what the settings file adds to it.
#[derive(Debug)]
pub(crate) struct Completed {
    pub(crate) line: Vec<OsString>,
    pub(crate) secrets: FileSecrets,
}

/// What of a settings file is on no command line, not even on one that is only made here: errors show those.
#[derive(Debug, Default)]
pub(crate) struct FileSecrets {
    /// The client's private key.
    pub(crate) private_key: Option<Secret>,
    /// Values for variables of AWS, by their names.
    pub(crate) aws: Vec<(&'static str, Secret)>,
}

/// A settings file.
struct SettingsFile {
    path: PathBuf,
    text: String,
    /// Who may do what with it.
    mode: u32,
}

/// The command line as given, and what the settings file adds to it.
pub(crate) fn complete(command: Command, line: Vec<OsString>) -> Result<Completed> {
    let secrets = FileSecrets::default();
    // Required flags may be in the file: look at what is there without insisting on anything.
    let relaxed = relax(command.clone()).ignore_errors(true);
    let Ok(matches) = relaxed.try_get_matches_from(&line) else {
        return Ok(Completed { line, secrets });
    };
    let Some(file) = SettingsFile::read(matches.get_one::<PathBuf>("config").cloned())? else {
        return Ok(Completed { line, secrets });
    };
    match file.is_of_bulk_data_client() {
        true => with_bulk_data_client(&command, &matches, &file, line),
        false => {
            let line = with_table(&command, &matches, &file, line)?;
            Ok(Completed { line, secrets })
        }
    }
}

/// Adds the command's table of a TOML file.
fn with_table(
    command: &Command,
    matches: &ArgMatches,
    file: &SettingsFile,
    mut line: Vec<OsString>,
) -> Result<Vec<OsString>> {
    let table = file.table()?;
    let (mut path, mut found, mut here, mut settings) = (String::new(), matches, command, &table);
    while let Some((name, below)) = found.subcommand() {
        let Some(Value::Table(inner)) = settings.get(name) else {
            return Ok(line);
        };
        let Some(subcommand) = here.find_subcommand(name) else {
            return Ok(line);
        };
        (found, here, settings) = (below, subcommand, inner);
        path = if path.is_empty() {
            name.to_owned()
        } else {
            format!("{path}.{name}")
        };
    }
    let given = Given { command: here, found };
    for (key, value) in settings {
        let flag = here.get_arguments().find(|flag| flag.get_long() == Some(key));
        let Some(flag) = flag else {
            bail!(
                "the settings file has `{key}` under [{path}], which is not a flag of `{}`",
                here.get_name()
            );
        };
        // What is given also counts more than what contradicts it.
        let instead = INSTEAD.iter().filter(|(added, _)| added == key);
        let is_replaced = instead.map(|(_, other)| *other).any(|other| given.has(other));
        let mut contrary = here.get_arg_conflicts_with(flag).into_iter();
        if given.has(key) || is_replaced || contrary.any(|other| given.has_arg(other)) {
            continue;
        }
        append(key, value, &mut line)?;
    }
    Ok(line)
}

/// Adds what a configuration of bulk-data-client says.
fn with_bulk_data_client(
    command: &Command,
    matches: &ArgMatches,
    file: &SettingsFile,
    mut line: Vec<OsString>,
) -> Result<Completed> {
    let secrets = FileSecrets::default();
    let Some((name, found)) = matches.subcommand() else {
        return Ok(Completed { line, secrets });
    };
    let here = command.find_subcommand(name);
    let Some(here) = here.filter(|_| name == "pull") else {
        // A variable that is set for all commands is in nobody's way.
        if matches.value_source("config") != Some(ValueSource::CommandLine) {
            return Ok(Completed { line, secrets });
        }
        return Err(usage(format!(
            "{}: a JSON settings file is for `fhirhose pull`; `fhirhose {name}` takes TOML",
            file.path.display()
        )));
    };
    let given = Given { command: here, found };
    let settings = bulk_data_client::read(file, &given)?;
    for note in &settings.notes {
        crate::commands::say(&format!("{}: {note}", file.path.display()));
    }
    for flag in &settings.flags {
        if !given.is_flag(flag.name) {
            return Err(usage(format!(
                "{}: `{}` wants --{}, which this fhirhose does not have: leave it out",
                file.path.display(),
                flag.key,
                flag.name
            )));
        }
        line.push(match &flag.value {
            Some(value) => format!("--{}={value}", flag.name).into(),
            None => format!("--{}", flag.name).into(),
        });
    }
    Ok(Completed {
        line,
        secrets: settings.secrets,
    })
}

/// What is on the command line and in the environment of a command.
struct Given<'a> {
    command: &'a Command,
    found: &'a ArgMatches,
}

impl Given<'_> {
    /// Whether a value is given: that of a flag, of an argument by its id, or of a variable that no flag has.
    fn has(&self, name: &str) -> bool {
        // Read by the command itself, for clap would let it contradict the argument.
        let is_of_variable = name == "fhir-url" && is_set("FHIRHOSE_FHIR_URL");
        match name.starts_with("FHIRHOSE_") {
            true => is_set(name),
            false => is_of_variable || self.arg(name).is_some_and(|arg| self.has_arg(arg)),
        }
    }

    /// The text that a flag is given.
    fn text(&self, name: &str) -> Option<&str> {
        let arg = self.arg(name).filter(|arg| self.has_arg(arg))?;
        let text = self.found.try_get_one::<String>(arg.get_id().as_str()).ok()??;
        Some(text)
    }

    /// Whether the command knows it.
    fn is_flag(&self, name: &str) -> bool {
        self.arg(name).is_some()
    }

    fn arg(&self, name: &str) -> Option<&Arg> {
        let mut args = self.command.get_arguments();
        args.find(|arg| arg.get_long() == Some(name) || arg.get_id() == name)
    }

    fn has_arg(&self, arg: &Arg) -> bool {
        let source = self.found.value_source(arg.get_id().as_str());
        matches!(source, Some(ValueSource::CommandLine | ValueSource::EnvVariable))
    }
}

/// Whether an environment variable says something.
fn is_set(variable: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| !value.is_empty())
}

fn relax(command: Command) -> Command {
    command
        .mut_args(|argument| argument.required(false))
        .mut_subcommands(relax)
}

impl SettingsFile {
    /// Reads the file of this name, else the one that may lie here.
    fn read(named: Option<PathBuf>) -> Result<Option<Self>> {
        let path = named.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_FILE));
        let read = std::fs::File::open(&path).and_then(|mut file| {
            let mode = file.metadata()?.permissions().mode();
            Ok((std::io::read_to_string(&mut file)?, mode))
        });
        match read {
            Ok((text, mode)) => Ok(Some(Self { path, text, mode })),
            Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("reading the settings file {}", path.display())),
        }
    }

    /// Whether it is JSON, or a script with such an object: no TOML begins with a brace.
    fn is_of_bulk_data_client(&self) -> bool {
        let extension = self.path.extension().and_then(|extension| extension.to_str());
        let is_named_so = extension.is_some_and(|known| ["json", "js", "cjs", "mjs"].contains(&known));
        is_named_so || self.text.trim_start().starts_with('{')
    }

    fn table(&self) -> Result<Table> {
        let table = self.text.parse::<Table>();
        table.with_context(|| format!("reading the settings file {}", self.path.display()))
    }

    /// The folder that it lies in.
    fn folder(&self) -> Result<PathBuf> {
        let path = std::path::absolute(&self.path)?;
        Ok(path.parent().unwrap_or(Path::new("/")).to_owned())
    }
}

fn append(key: &str, value: &Value, line: &mut Vec<OsString>) -> Result<()> {
    let text = match value {
        Value::Boolean(true) => {
            line.push(format!("--{key}").into());
            return Ok(());
        }
        Value::Boolean(false) => return Ok(()),
        Value::String(text) => text.clone(),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Array(values) => return values.iter().try_for_each(|value| append(key, value, line)),
        Value::Table(_) | Value::Datetime(_) => bail!("the settings file's `{key}` is not a value of a flag"),
    };
    line.push(format!("--{key}={text}").into());
    Ok(())
}
