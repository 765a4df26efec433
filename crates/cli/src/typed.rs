//! Which flags were given on purpose: [`Typed`]. What is given and would change nothing is refused, and not ignored; a variable that is set for
//! all commands is in nobody's way.

use crate::failure::usage;
use anyhow::Result;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, FromArgMatches};
use std::collections::HashSet;

/// The flags that stand on the command line or in the settings file, by the names of their fields.
///
/// It is the first field of a command: those behind it take their values away.
#[derive(Debug, Default)]
pub(crate) struct Typed(HashSet<String>);

impl Typed {
    /// Refuses these flags, the message being the flag and why: `--staging is for --out s3://bucket/prefix`.
    pub(crate) fn refuse(&self, flags: &[&str], why: &str) -> Result<()> {
        match flags.iter().find(|flag| self.0.contains(**flag)) {
            Some(flag) => Err(usage(format!("--{} {why}", flag.replace('_', "-")))),
            None => Ok(()),
        }
    }
}

impl FromArgMatches for Typed {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let is_typed = |id: &&clap::Id| {
            let source = matches.value_source(id.as_str());
            source == Some(ValueSource::CommandLine)
        };
        Ok(Self(
            matches.ids().filter(is_typed).map(ToString::to_string).collect(),
        ))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// It has no flags of its own.
impl Args for Typed {
    fn augment_args(command: Command) -> Command {
        command
    }

    fn augment_args_for_update(command: Command) -> Command {
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output_key::OutputKeyArgs;
    use crate::provider_args::{OtherProviderArgs, ProviderArgs};

    /// The flags of a group, which are called as their fields: messages rely on it.
    fn flags<A: Args>() -> Vec<String> {
        let command = A::augment_args(Command::new("any"));
        let names = command.get_arguments().map(|flag| {
            let id = flag.get_id().to_string();
            assert_eq!(flag.get_long(), Some(&*id.replace('_', "-")));
            id
        });
        names.collect()
    }

    #[test]
    fn the_lists_have_every_flag_of_their_groups() {
        let mut access = [&ProviderArgs::IDENTITY[..], &ProviderArgs::CONNECTION].concat();
        let mut known = flags::<ProviderArgs>();
        access.sort_unstable();
        known.sort_unstable();
        assert_eq!(access, known);
        assert_eq!(flags::<OtherProviderArgs>(), OtherProviderArgs::FLAGS);
        assert_eq!(flags::<OutputKeyArgs>(), OutputKeyArgs::FLAGS);
    }
}
