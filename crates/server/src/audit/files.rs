//! Where a trail lies: [`AuditFiles`], a folder or memory.
//!
//! ```text
//! audit.ndjson             the newest lines
//! audit-000000000001.ndjson  older ones, by the number of their first line
//! head                     number and hash of the newest line that is durable
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The file that lines are added to.
pub(crate) const NEWEST: &str = "audit.ndjson";

/// The file that tells the newest durable line.
pub(crate) const HEAD: &str = "head";

/// The name of a file whose first line has this number, once no more lines are added to it.
pub(crate) fn rotated(first: u64) -> String {
    format!("audit-{first:012}.ndjson")
}

/// The number of the first line of such a file.
pub(crate) fn first_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("audit-")?.strip_suffix(".ndjson")?;
    digits.parse().ok()
}

/// Sorts names of a trail's files by the numbers of their lines; leaves out what belongs to no trail.
pub fn in_order(names: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut rotated: Vec<(u64, String)> = Vec::new();
    let mut newest = None;
    for name in names {
        match first_of(&name) {
            Some(first) => rotated.push((first, name)),
            None if name == NEWEST => newest = Some(name),
            None => {}
        }
    }
    rotated.sort();
    rotated.into_iter().map(|(_, name)| name).chain(newest).collect()
}

/// The files of one trail. One writer uses them at a time, and blocks on them.
pub trait AuditFiles: Send + Sync {
    /// Lists the names of all files.
    ///
    /// # Errors
    /// What the storage gives; so everywhere below.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Opens a file to be read, behind so many bytes.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] when there is none.
    fn read_from(&self, name: &str, from_bytes: u64) -> io::Result<Box<dyn Read + Send>>;

    /// Adds bytes to the end of a file, which is made when it is not there. After an error any part of them may be there.
    ///
    /// # Errors
    /// See [`AuditFiles::list`].
    fn append(&self, name: &str, bytes: &[u8]) -> io::Result<()>;

    /// Makes everything of a file durable, its name too.
    ///
    /// # Errors
    /// See [`AuditFiles::list`].
    fn sync(&self, name: &str) -> io::Result<()>;

    /// Cuts a file off at this length, durably.
    ///
    /// # Errors
    /// See [`AuditFiles::list`].
    fn cut(&self, name: &str, length_bytes: u64) -> io::Result<()>;

    /// Gives a file another name, durably.
    ///
    /// # Errors
    /// See [`AuditFiles::list`].
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Replaces the content of a small file. A power cut may bring the old one back.
    ///
    /// # Errors
    /// See [`AuditFiles::list`].
    fn put(&self, name: &str, bytes: &[u8]) -> io::Result<()>;
}

/// A trail in a folder that only its owner may look into.
pub struct FolderFiles {
    root: PathBuf,
    /// The file that was appended to last, with its name.
    open: Mutex<Option<(String, File)>>,
}

impl FolderFiles {
    /// Uses a folder, which is made when it is not there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(root: &Path) -> io::Result<Self> {
        if !root.is_dir() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(root)?;
            if let Some(parent) = root.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                File::open(parent)?.sync_all()?;
            }
        }
        Ok(Self::at(root))
    }

    /// Looks at a folder to read what is there; nothing is made.
    pub fn at(root: &Path) -> Self {
        Self {
            root: root.to_path_buf(),
            open: Mutex::default(),
        }
    }

    fn with<T>(&self, name: &str, work: impl FnOnce(&mut File) -> io::Result<T>) -> io::Result<T> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let file = match &mut *open {
            Some((known, file)) if known == name => file,
            other => {
                let file = OpenOptions::new()
                    .append(true)
                    .create(true)
                    .mode(0o600)
                    .open(self.root.join(name))?;
                // The name must survive a power cut as its content does.
                self.sync_folder()?;
                &mut other.insert((name.to_owned(), file)).1
            }
        };
        work(file)
    }

    fn sync_folder(&self) -> io::Result<()> {
        File::open(&self.root)?.sync_all()
    }
}

impl AuditFiles for FolderFiles {
    fn list(&self) -> io::Result<Vec<String>> {
        let names = fs::read_dir(&self.root)?;
        names
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    }

    fn read_from(&self, name: &str, from_bytes: u64) -> io::Result<Box<dyn Read + Send>> {
        let mut file = File::open(self.root.join(name))?;
        file.seek(SeekFrom::Start(from_bytes))?;
        Ok(Box::new(file))
    }

    fn append(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.with(name, |file| file.write_all(bytes))
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        self.with(name, |file| file.sync_data())
    }

    fn cut(&self, name: &str, length_bytes: u64) -> io::Result<()> {
        self.with(name, |file| {
            file.set_len(length_bytes)?;
            file.sync_all()
        })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = None;
        fs::rename(self.root.join(from), self.root.join(to))?;
        self.sync_folder()
    }

    fn put(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(self.root.join(name))?;
        // In place, and all of one length: at no moment is the file empty.
        file.seek(SeekFrom::Start(0))?;
        file.write_all(bytes)?;
        file.set_len(bytes.len() as u64)
    }
}

/// A trail in memory, gone with the value: for tests.
#[derive(Debug, Default)]
pub struct MemoryFiles {
    files: Mutex<BTreeMap<String, Vec<u8>>>,
}

impl MemoryFiles {
    /// Gives the text of a file; empty when there is none.
    pub fn text(&self, name: &str) -> String {
        let files = self.lock();
        let bytes = files.get(name).map(Vec::as_slice).unwrap_or_default();
        String::from_utf8_lossy(bytes).into_owned()
    }

    /// Gives all lines of the trail, oldest first.
    pub fn lines(&self) -> Vec<String> {
        let names = in_order(self.lock().keys().cloned());
        let texts = names.iter().map(|name| self.text(name));
        texts
            .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
            .collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Vec<u8>>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AuditFiles for MemoryFiles {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.lock().keys().cloned().collect())
    }

    fn read_from(&self, name: &str, from_bytes: u64) -> io::Result<Box<dyn Read + Send>> {
        let files = self.lock();
        let bytes = files.get(name).ok_or(io::ErrorKind::NotFound)?;
        let from = usize::try_from(from_bytes).unwrap_or(usize::MAX);
        let rest = bytes.get(from..).unwrap_or_default();
        Ok(Box::new(io::Cursor::new(rest.to_vec())))
    }

    fn append(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.lock().entry(name.to_owned()).or_default().extend(bytes);
        Ok(())
    }

    fn sync(&self, _name: &str) -> io::Result<()> {
        Ok(())
    }

    fn cut(&self, name: &str, length_bytes: u64) -> io::Result<()> {
        let length = usize::try_from(length_bytes).unwrap_or(usize::MAX);
        self.lock().entry(name.to_owned()).or_default().truncate(length);
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = self.lock();
        let bytes = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), bytes);
        Ok(())
    }

    fn put(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.lock().insert(name.to_owned(), bytes.to_vec());
        Ok(())
    }
}
