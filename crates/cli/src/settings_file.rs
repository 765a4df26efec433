//! `fhirhose.toml`: a table per command, keys as the flags without dashes. Its values count only where neither a flag
//! nor an environment variable is given, so they are appended to the command line as the flags that they stand for.
//!
//! ```toml
//! [serve]
//! data = "/var/lib/fhirhose"
//! listen = "127.0.0.1:9090"
//! ```

use anyhow::{Context, Result, bail};
use clap::parser::ValueSource;
use clap::{Arg, Command};
use std::ffi::OsString;
use std::path::PathBuf;
use toml::{Table, Value};

const DEFAULT_FILE: &str = "fhirhose.toml";

/// Flags that do not count beside others, though clap is not told so: to it a variable that is set for all commands would contradict what is typed.
const INSTEAD: [(&str, &str); 3] = [("out", "into"), ("into", "out"), ("staging", "into")];

/// The command line as given, and what the settings file adds to it.
pub(crate) fn complete(command: Command, mut given: Vec<OsString>) -> Result<Vec<OsString>> {
    // Required flags may be in the file: look at what is there without insisting on anything.
    let relaxed = relax(command.clone()).ignore_errors(true);
    let Ok(matches) = relaxed.try_get_matches_from(&given) else {
        return Ok(given);
    };
    let Some(table) = read(matches.get_one::<PathBuf>("config").cloned())? else {
        return Ok(given);
    };
    let (mut path, mut found, mut here, mut settings) = (String::new(), &matches, &command, &table);
    while let Some((name, below)) = found.subcommand() {
        let Some(Value::Table(inner)) = settings.get(name) else {
            return Ok(given);
        };
        let Some(subcommand) = here.find_subcommand(name) else {
            return Ok(given);
        };
        (found, here, settings) = (below, subcommand, inner);
        path = if path.is_empty() {
            name.to_owned()
        } else {
            format!("{path}.{name}")
        };
    }
    for (key, value) in settings {
        let flag = here.get_arguments().find(|flag| flag.get_long() == Some(key));
        let Some(flag) = flag else {
            bail!(
                "the settings file has `{key}` under [{path}], which is not a flag of `{}`",
                here.get_name()
            );
        };
        let is_given = |flag: &Arg| {
            let source = found.value_source(flag.get_id().as_str());
            matches!(source, Some(ValueSource::CommandLine | ValueSource::EnvVariable))
        };
        // What is given also counts more than what contradicts it.
        let instead = here.get_arguments().filter(|other| {
            let other = other.get_id().as_str();
            INSTEAD.contains(&(key.as_str(), other))
        });
        let mut contrary = here.get_arg_conflicts_with(flag).into_iter().chain(instead);
        let contradicted = contrary.any(is_given);
        if is_given(flag) || contradicted {
            continue;
        }
        append(key, value, &mut given)?;
    }
    Ok(given)
}

fn relax(command: Command) -> Command {
    command
        .mut_args(|argument| argument.required(false))
        .mut_subcommands(relax)
}

fn read(named: Option<PathBuf>) -> Result<Option<Table>> {
    let file = named.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_FILE));
    let text = match std::fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(error).with_context(|| format!("reading the settings file {}", file.display()));
        }
    };
    let table = text
        .parse::<Table>()
        .with_context(|| format!("reading the settings file {}", file.display()))?;
    Ok(Some(table))
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
