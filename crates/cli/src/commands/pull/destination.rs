//! Where a pull goes: [`DestinationArgs`], a folder, object storage, or a store.

use crate::failure::usage;
use crate::output_key::OutputKeyArgs;
use crate::secret::Secret;
use crate::state_folder::state_folder;
use crate::typed::Typed;
use anyhow::{Context, Result};
use clap::Args;
use fhirhose_client::{Bucket, BucketSettings, PlainHttp};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use url::Url;

/// Where the files go.
#[derive(Debug, Args)]
pub(crate) struct DestinationArgs {
    /// Folder for the files, made when absent; or s3://bucket/prefix, reached as the AWS_ variables of the environment say
    #[arg(
        short = 'd',
        long,
        alias = "destination",
        env = "FHIRHOSE_OUT",
        value_name = "DIR|s3://…"
    )]
    out: Option<String>,

    /// Instead: data folder, made when absent, that takes the resources straight into its store; deletions are applied
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,

    #[command(flatten)]
    output_key: OutputKeyArgs,

    /// Folder where files are pulled and proven before they go to object storage [default: ~/.local/state/fhirhose/pulls]
    #[arg(long, env = "FHIRHOSE_STAGING", value_name = "DIR")]
    staging: Option<PathBuf>,

    /// Lets object storage of other machines be reached by plain HTTP
    #[arg(long, env = "FHIRHOSE_S3_ALLOW_HTTP")]
    s3_allow_http: bool,

    /// What the settings file says instead of variables of AWS, by their names.
    #[arg(skip)]
    aws_of_file: Vec<(&'static str, Secret)>,
}

/// A place for a pull.
#[derive(Debug)]
pub(super) enum Place {
    /// This folder.
    Folder(PathBuf),
    /// A bucket, by way of a folder.
    Bucket(BucketPlace),
    /// The store in this data folder.
    Store(PathBuf),
}

/// A place in object storage.
#[derive(Debug)]
pub(super) struct BucketPlace {
    /// Its URL, as it was typed.
    pub(super) url: String,
    pub(super) bucket: Bucket,
    /// Where the files are pulled to.
    pub(super) staging: PathBuf,
    /// Where it is noted what has arrived.
    pub(super) journal: PathBuf,
}

impl DestinationArgs {
    /// Reads the flags; refuses those that are for another kind of place.
    pub(super) fn place(&self, typed: &Typed) -> Result<Place> {
        let (of_bucket, why) = (["staging", "s3_allow_http"], "is for --out s3://bucket/prefix");
        if let Some(data) = &self.into {
            // A variable that names a place for all commands counts less.
            typed.refuse(&["out"], "and --into are two places: name one")?;
            typed.refuse(&of_bucket, why)?;
            return Ok(Place::Store(std::path::absolute(data)?));
        }
        typed.refuse(&OutputKeyArgs::FLAGS, "is for --into DIR")?;
        let missing = "where the files go is missing: --out DIR, --out s3://bucket/prefix or --into DIR";
        let out = self.out.as_deref().ok_or_else(|| usage(missing))?;
        if out.starts_with("s3://") {
            return self.bucket(out).map(Place::Bucket);
        }
        typed.refuse(&of_bucket, why)?;
        let path = out.strip_prefix("file://").unwrap_or(out);
        if path.contains("://") || path == "none" {
            return Err(usage("--out takes a folder, or s3://bucket/prefix"));
        }
        Ok(Place::Folder(std::path::absolute(path)?))
    }

    /// The key of a store's finished files, for `--into`.
    pub(super) fn output_key(&self) -> &OutputKeyArgs {
        &self.output_key
    }

    /// Takes what the settings file says of AWS.
    pub(super) fn take_aws(&mut self, aws: Vec<(&'static str, Secret)>) {
        self.aws_of_file = aws;
    }

    /// What is said of AWS: in the environment, else in the settings file. Credentials are not mixed.
    fn aws_options(&self) -> Vec<(String, String)> {
        const CREDENTIALS: [&str; 3] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];
        let mut options = aws_variables();
        let has = |name: &str| options.iter().any(|(known, _)| known == name);
        let has_credentials = CREDENTIALS.into_iter().any(has);
        let of_file = self
            .aws_of_file
            .iter()
            .filter(|(name, _)| match CREDENTIALS.contains(name) {
                true => !has_credentials,
                false => !has(name),
            });
        let of_file: Vec<_> = of_file
            .map(|(name, secret)| ((*name).to_owned(), secret.text().to_owned()))
            .collect();
        options.extend(of_file);
        options
    }

    fn bucket(&self, url: &str) -> Result<BucketPlace> {
        let parsed = Url::parse(url).map_err(|_| usage("--out: that is no s3://bucket/prefix"))?;
        let bucket = Bucket::open(&BucketSettings {
            url: parsed,
            options: self.aws_options(),
            plain_http: match self.s3_allow_http {
                true => PlainHttp::Anywhere,
                false => PlainHttp::LoopbackOnly,
            },
        })?;
        let root = match &self.staging {
            Some(folder) => std::path::absolute(folder)?,
            None => state_folder()
                .context("there is no home folder: say by --staging where files may lie meanwhile")?
                .join("fhirhose/pulls"),
        };
        // One place has one pull: another one is then refused by the folder, and told what differs.
        let place = root.join(name_of(url));
        let mut builder = std::fs::DirBuilder::new();
        let made = builder.recursive(true).mode(0o700).create(&place);
        made.with_context(|| format!("making the folder {}", place.display()))?;
        Ok(BucketPlace {
            url: url.trim_end_matches('/').to_owned(),
            bucket,
            staging: place.join("files"),
            journal: place.join("arrived"),
        })
    }
}

/// What the environment says of AWS.
fn aws_variables() -> Vec<(String, String)> {
    let texts = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    texts.filter(|(name, _)| name.starts_with("AWS_")).collect()
}

/// A URL as the name of a folder, which people can tell from others.
fn name_of(url: &str) -> String {
    let url = url.trim_end_matches('/').trim_start_matches("s3://");
    let mut name = String::new();
    for byte in url.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' => name.push(char::from(byte)),
            other => name.push_str(&format!("_{other:02x}")),
        }
    }
    name
}

/// Where the files of a pull into a store lie meanwhile.
pub(super) fn staging_of(data: &Path) -> PathBuf {
    data.join("pull")
}
