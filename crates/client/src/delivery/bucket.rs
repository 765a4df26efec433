//! A place in object storage that speaks S3: [`Bucket`].

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::path::Path as ObjectPath;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt};
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use url::Url;

use super::Destination;
use crate::guard::{FetchPolicy, PlainHttp};
use crate::{Error, ErrorKind, Result};

/// Bytes of an object that is put in one request, and of the parts of longer ones.
const PART_BYTES_MIN: u64 = 16 << 20;
/// Parts of an object at most; S3 takes 10,000.
const PARTS_MAX: u64 = 9_000;
/// Bytes of an object that is read whole at most: a manifest.
const SMALL_BYTES_MAX: u64 = 256 << 20;

/// Where a bucket is and how it is reached.
#[derive(Clone)]
pub struct BucketSettings {
    /// `s3://bucket/prefix`.
    pub url: Url,
    /// Options by the names of the environment variables of AWS, such as `AWS_REGION`, `AWS_ENDPOINT_URL`, `AWS_ACCESS_KEY_ID`. Those that
    /// are not known are left out.
    pub options: Vec<(String, String)>,
    /// Whether an endpoint may be reached by plain HTTP.
    pub plain_http: PlainHttp,
}

/// A place in a bucket.
#[derive(Debug)]
pub struct Bucket {
    store: Arc<dyn ObjectStore>,
    prefix: ObjectPath,
    place: String,
}

impl Bucket {
    /// Reads the settings; reaches nothing yet.
    ///
    /// # Errors
    /// [`ErrorKind::Url`] for what is no `s3://bucket/prefix`, or options that do not fit; [`ErrorKind::Forbidden`] for a plain HTTP endpoint
    /// that is not allowed.
    pub fn open(settings: &BucketSettings) -> Result<Self> {
        // Another part of the process may have chosen a provider already; that one is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let wrong = |problem: &str| Error::new(ErrorKind::Url, problem);
        let url = &settings.url;
        let name = url.host_str().filter(|_| url.scheme() == "s3");
        let name = name.ok_or_else(|| wrong("a place in object storage is s3://bucket/prefix"))?;
        let prefix = ObjectPath::from_url_path(url.path());
        let prefix = prefix.map_err(|source| wrong("reading the prefix").caused_by(source))?;
        let mut builder = AmazonS3Builder::new();
        for (option, value) in &settings.options {
            let Ok(key) = option.to_ascii_lowercase().parse::<AmazonS3ConfigKey>() else {
                continue;
            };
            let is_endpoint = matches!(key, AmazonS3ConfigKey::Endpoint | AmazonS3ConfigKey::S3Endpoint);
            if is_endpoint {
                let policy = FetchPolicy {
                    plain_http: settings.plain_http,
                    ..FetchPolicy::for_own_urls()
                };
                policy.check_url(value)?;
            }
            builder = builder.with_config(key, value);
        }
        // Which of them may be reached so has been looked at.
        let store = builder.with_bucket_name(name).with_allow_http(true).build();
        Ok(Self {
            store: Arc::new(store.map_err(|source| wrong("the settings of S3").caused_by(source))?),
            place: format!("s3://{name}/{prefix}"),
            prefix,
        })
    }

    fn location(&self, name: &str) -> ObjectPath {
        let name = ObjectPath::from(name);
        let parts = self.prefix.parts().chain(name.parts());
        parts.map(|part| part.as_ref().to_owned()).collect()
    }

    async fn put(&self, location: &ObjectPath, file: &mut File, bytes: u64) -> Result<(), Failure> {
        let part_bytes = PART_BYTES_MIN.max(bytes.div_ceil(PARTS_MAX));
        if bytes <= part_bytes {
            let text = part(file, bytes).await?;
            self.store.put(location, text.into()).await?;
            return Ok(());
        }
        let mut upload = self.store.put_multipart(location).await?;
        let put = put_parts(&mut *upload, file, bytes, part_bytes).await;
        if put.is_err() {
            // Parts that stay are never seen; the bucket's own rules remove them.
            let _ = upload.abort().await;
        }
        put
    }

    fn failed(&self, doing: &str, name: &str, source: object_store::Error) -> Error {
        use object_store::Error as Store;
        let kind = match &source {
            Store::NotFound { .. } | Store::PermissionDenied { .. } | Store::Unauthenticated { .. } => {
                ErrorKind::Refused
            }
            _ => ErrorKind::Unreachable,
        };
        Error::new(kind, format!("{doing} {}/{name}", self.place)).caused_by(source)
    }
}

#[async_trait]
impl Destination for Bucket {
    async fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let failed = |source| self.failed("reading", name, source);
        let found = match self.store.get(&self.location(name)).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(source) => return Err(failed(source)),
        };
        if found.meta.size > SMALL_BYTES_MAX {
            let problem = format!("{}/{name} is longer than {SMALL_BYTES_MAX} bytes", self.place);
            return Err(Error::new(ErrorKind::Corrupt, problem));
        }
        Ok(Some(found.bytes().await.map_err(failed)?.to_vec()))
    }

    async fn deliver(&self, name: &str, path: &Path) -> Result<()> {
        let unreadable = |source: std::io::Error| {
            let problem = format!("reading {}", path.display());
            Error::new(ErrorKind::Disk, problem).caused_by(source)
        };
        let mut file = File::open(path).await.map_err(unreadable)?;
        let bytes = file.metadata().await.map_err(unreadable)?.len();
        let location = self.location(name);
        match self.put(&location, &mut file, bytes).await {
            Ok(()) => {}
            Err(Failure::Disk(source)) => return Err(unreadable(source)),
            Err(Failure::Store(source)) => return Err(self.failed("writing", name, source)),
        }
        let found = self.store.head(&location).await;
        let found = found.map_err(|source| self.failed("looking at", name, source))?;
        if found.size != bytes {
            let place = &self.place;
            let problem = format!("{place}/{name} has {} bytes where {bytes} were put", found.size);
            return Err(Error::new(ErrorKind::Corrupt, problem));
        }
        Ok(())
    }
}

/// What failed: the file here, or the store there.
enum Failure {
    Disk(std::io::Error),
    Store(object_store::Error),
}

impl From<object_store::Error> for Failure {
    fn from(source: object_store::Error) -> Self {
        Self::Store(source)
    }
}

async fn put_parts(
    upload: &mut dyn MultipartUpload,
    file: &mut File,
    bytes: u64,
    part_bytes: u64,
) -> Result<(), Failure> {
    let mut left = bytes;
    while left > 0 {
        let take = left.min(part_bytes);
        let text = part(file, take).await?;
        upload.put_part(text.into()).await?;
        left -= take;
    }
    upload.complete().await?;
    Ok(())
}

/// Reads so many bytes of a file, which has them.
async fn part(file: &mut File, bytes: u64) -> Result<Vec<u8>, Failure> {
    let mut text = vec![0; usize::try_from(bytes).unwrap_or(usize::MAX)];
    file.read_exact(&mut text).await.map_err(Failure::Disk)?;
    Ok(text)
}

impl std::fmt::Debug for BucketSettings {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The options hold credentials.
        let url = self.url.as_str();
        out.debug_struct("BucketSettings")
            .field("url", &url)
            .finish_non_exhaustive()
    }
}
