//! Which files a manifest has, over all its pages, and what they are called here: [`Plan`].

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use url::Url;

use super::PullSettings;
use super::log::bare;
use super::report::{FileKind, MissingFile};
use crate::provider::ManifestPage;
use crate::{Error, ErrorKind, Result};
use fhirhose_fhir::instant::Instant;
use fhirhose_fhir::manifest::{Manifest, ManifestFile};

/// A file as the manifest announces it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Planned {
    /// Its path in the folder.
    pub(super) name: String,
    pub(super) kind: FileKind,
    pub(super) resource_type: Option<String>,
    /// Where it is now: links are made anew when they expire.
    pub(super) url: String,
    /// How often its page has been asked for.
    pub(super) generation: u64,
    /// The page that first named it.
    pub(super) page: usize,
    pub(super) requires_access_token: bool,
    pub(super) count: Option<u64>,
    pub(super) file_size: Option<u64>,
    pub(super) sha256: Option<String>,
}

/// A page of the manifest.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) url: Url,
    /// Whether it came with 200: no file is added any more.
    pub(super) is_complete: bool,
    pub(super) next: Option<String>,
    pub(super) json: String,
    /// The files by list, type and place among those of their type, as indices of the plan.
    places: HashMap<Slot, usize>,
    /// How often it has come.
    pub(super) generation: u64,
}

/// A list, a type, and the place among the files of that list and type.
type Slot = (FileKind, Option<String>, usize);

/// All files that are known so far.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) pages: Vec<Page>,
    pub(super) files: Vec<Planned>,
    /// As the server wrote it (CL-12).
    pub(super) transaction_time: String,
    /// The text of all pages.
    bytes: u64,
    numbers: HashMap<String, u32>,
    seen: HashMap<(FileKind, Option<String>, String), usize>,
    page_folders: bool,
}

/// What a page has brought.
pub(super) struct Taken {
    /// The files that were not known, as indices.
    pub(super) new: Vec<usize>,
    /// Whether the journal has to hear of it.
    pub(super) is_news: bool,
}

impl Planned {
    fn is_of(&self, slot: &Slot) -> bool {
        self.kind == slot.0 && self.resource_type == slot.1
    }

    pub(super) fn missing(&self, why: String) -> MissingFile {
        MissingFile {
            name: self.name.clone(),
            kind: self.kind,
            resource_type: self.resource_type.clone(),
            why,
        }
    }
}

impl Plan {
    pub(super) fn new(page_folders: bool) -> Self {
        Self {
            page_folders,
            ..Self::default()
        }
    }

    /// Files in the order in which they are best fetched: the largest first, so that none of them is left for the end with nothing beside
    /// it. Those that say neither bytes nor lines come last.
    pub(super) fn largest_first(&self, mut files: Vec<usize>) -> Vec<usize> {
        let size = |index: &usize| {
            self.files
                .get(*index)
                .and_then(|file| file.file_size.or(file.count))
        };
        files.sort_by_key(|index| Reverse(size(index)));
        files
    }

    /// Takes a page that is new, or that has come again: then its files may have other URLs, and there may be more of them.
    ///
    /// A file that an earlier page has named is not taken twice. Where two pages differ in their time the earlier one counts, so that the
    /// next `_since` misses nothing.
    pub(super) fn take(&mut self, index: usize, url: &Url, page: &ManifestPage, is_complete: bool) -> Taken {
        if index >= self.pages.len() {
            self.pages.push(Page {
                url: url.clone(),
                is_complete: false,
                next: None,
                json: String::new(),
                places: HashMap::new(),
                generation: 0,
            });
        }
        let index = index.min(self.pages.len() - 1);
        self.take_time(&page.transaction_time);
        let manifest = &page.manifest;
        let mut taken = Taken {
            new: Vec::new(),
            is_news: false,
        };
        let slots = slots(manifest);
        let found = self.by_path(index, &slots);
        let kept: HashSet<usize> = found.iter().flatten().copied().collect();
        self.pages[index].generation += 1;
        for ((slot, file), by_path) in slots.into_iter().zip(&found) {
            let token = manifest.requires_access_token;
            match by_path {
                Some(known) => {
                    self.pages[index].places.insert(slot, *known);
                    self.relink(*known, index, file, token);
                }
                None => taken
                    .new
                    .extend(self.take_file((index, slot), file, token, &kept)),
            }
        }
        let page_now = &mut self.pages[index];
        taken.is_news = !taken.new.is_empty()
            || page_now.json.is_empty()
            || page_now.is_complete != is_complete
            || page_now.next != manifest.next;
        page_now.is_complete |= is_complete;
        page_now.next.clone_from(&manifest.next);
        self.bytes = self.bytes + page.json.len() as u64 - page_now.json.len() as u64;
        page_now.json.clone_from(&page.json);
        taken
    }

    /// Gives the files of a page the links that it has now. Files that are new on it are left to [`take`](Self::take).
    pub(super) fn renew(&mut self, index: usize, page: &ManifestPage) {
        let slots = slots(&page.manifest);
        let found = self.by_path(index, &slots);
        let kept: HashSet<usize> = found.iter().flatten().copied().collect();
        self.pages[index].generation += 1;
        self.bytes = self.bytes + page.json.len() as u64 - self.pages[index].json.len() as u64;
        self.pages[index].json.clone_from(&page.json);
        let token = page.manifest.requires_access_token;
        for ((slot, file), by_path) in slots.into_iter().zip(&found) {
            let by_place = self.pages[index].places.get(&slot).copied();
            let by_place = by_place.filter(|known| !kept.contains(known));
            if let Some(known) = by_path.or(by_place) {
                self.relink(known, index, file, token);
            }
        }
    }

    fn take_time(&mut self, text: &str) {
        let known = Instant::parse(&self.transaction_time);
        let is_earlier = Instant::parse(text).is_ok_and(|time| known.is_ok_and(|known| time < known));
        if self.transaction_time.is_empty() || is_earlier {
            text.clone_into(&mut self.transaction_time);
        }
    }

    fn take_file(
        &mut self,
        (page, slot): (usize, Slot),
        file: &ManifestFile,
        requires_access_token: bool,
        kept: &HashSet<usize>,
    ) -> Option<usize> {
        let by_place = self.pages[page].places.get(&slot).copied();
        // What had the place and is elsewhere on the page now is another file.
        if let Some(known) = by_place.filter(|known| !kept.contains(known)) {
            self.relink(known, page, file, requires_access_token);
            return None;
        }
        let (kind, resource_type, _) = &slot;
        let index = self.files.len();
        let seen = (*kind, resource_type.clone(), unsigned(&file.url));
        if let Some(&known) = self.seen.get(&seen) {
            self.pages[page].places.insert(slot, known);
            return None;
        }
        self.seen.insert(seen, index);
        let name = self.name(page, *kind, resource_type.as_deref());
        self.files.push(Planned {
            name,
            kind: *kind,
            resource_type: resource_type.clone(),
            url: file.url.clone(),
            generation: self.pages[page].generation,
            page,
            requires_access_token,
            count: file.count,
            file_size: file.file_size,
            sha256: file.sha256.clone(),
        });
        self.pages[page].places.insert(slot, index);
        Some(index)
    }

    /// Which files a page lists, where they are known on it by their URLs without query, if each has its own: a server may list them in
    /// another order when it is asked again.
    fn by_path(&self, page: usize, slots: &[(Slot, &ManifestFile)]) -> Vec<Option<usize>> {
        let mut paths: Vec<&str> = slots.iter().map(|(_, file)| bare(&file.url)).collect();
        paths.sort_unstable();
        let own = paths.windows(2).all(|pair| pair[0] != pair[1]);
        let by_path = if own { self.paths(page) } else { HashMap::new() };
        let known = |(slot, file): &(Slot, &ManifestFile)| {
            let known = by_path.get(bare(&file.url)).copied();
            known.filter(|known| self.files[*known].is_of(slot))
        };
        slots.iter().map(known).collect()
    }

    /// The files of a page by their URLs without query; none if two share one.
    fn paths(&self, page: usize) -> HashMap<String, usize> {
        let mut by_path = HashMap::new();
        let files = self.pages[page].places.values().copied();
        let mut files: Vec<usize> = files.collect();
        files.sort_unstable();
        files.dedup();
        for index in &files {
            by_path.insert(bare(&self.files[*index].url).to_owned(), *index);
        }
        if by_path.len() < files.len() {
            HashMap::new()
        } else {
            by_path
        }
    }

    /// Gives a file the link that its page has for it now.
    fn relink(&mut self, known: usize, page: usize, file: &ManifestFile, requires_access_token: bool) {
        let generation = self.pages[page].generation;
        let known = &mut self.files[known];
        if known.page == page {
            known.url.clone_from(&file.url);
            known.generation = generation;
            known.requires_access_token = requires_access_token;
        }
    }

    /// The next name of a type: numbered from 1, in the order in which the manifest names its files.
    fn name(&mut self, page: usize, kind: FileKind, resource_type: Option<&str>) -> String {
        let page = if self.page_folders {
            format!("{page}/")
        } else {
            String::new()
        };
        let folder = match kind {
            FileKind::Output => "",
            FileKind::Deleted => "deleted/",
            FileKind::Error => "error/",
        };
        let resource_type = resource_type.unwrap_or("output");
        let folder = format!("{page}{folder}");
        let number = self
            .numbers
            .entry(format!("{folder}{resource_type}"))
            .or_default();
        *number += 1;
        format!("{folder}{number}.{resource_type}.ndjson")
    }

    /// How many files there are of each list: output, deleted, error.
    pub(super) fn counts(&self) -> [usize; 3] {
        [FileKind::Output, FileKind::Deleted, FileKind::Error]
            .map(|kind| self.files.iter().filter(|file| file.kind == kind).count())
    }

    /// Holds the plan to its limits.
    pub(super) fn check(&self, settings: &PullSettings) -> Result<()> {
        let (pages_max, files_max) = (settings.pages_max, settings.files_max);
        let bytes_max = settings.manifest_bytes_max;
        let beyond = if self.bytes > bytes_max {
            format!("the manifest is longer than {bytes_max} bytes")
        } else if self.pages.len() > pages_max {
            format!("the manifest has more than {pages_max} pages")
        } else if self.files.len() > files_max {
            format!("the manifest has more than {files_max} files")
        } else {
            return Ok(());
        };
        Err(Error::new(ErrorKind::Protocol, beyond))
    }
}

/// The files of a page with their places.
fn slots(manifest: &Manifest) -> Vec<(Slot, &ManifestFile)> {
    let lists = [
        (FileKind::Output, &manifest.output),
        (FileKind::Deleted, &manifest.deleted),
        (FileKind::Error, &manifest.error),
    ];
    let mut slots = Vec::new();
    for (kind, files) in lists {
        let mut places: HashMap<&Option<String>, usize> = HashMap::new();
        for file in files {
            let place = places.entry(&file.resource_type).or_default();
            slots.push(((kind, file.resource_type.clone(), *place), file));
            *place += 1;
        }
    }
    slots
}

/// A URL without what a storage signs it with: the same file has it anew in each manifest.
fn unsigned(url: &str) -> String {
    let Ok(mut parsed) = Url::parse(url) else {
        return url.to_owned();
    };
    let is_signature = |name: &str| {
        let name = name.to_ascii_lowercase();
        name.starts_with("x-amz-")
            || name.starts_with("x-goog-")
            || matches!(&*name, "sig" | "signature" | "expires" | "se")
    };
    let pairs: Vec<(String, String)> = parsed.query_pairs().into_owned().collect();
    if !pairs.iter().any(|(name, _)| is_signature(name)) {
        return url.to_owned();
    }
    let kept = pairs.iter().filter(|(name, _)| !is_signature(name));
    parsed.query_pairs_mut().clear().extend_pairs(kept);
    parsed.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(files: &[&str]) -> ManifestPage {
        let files = files.iter().map(|file| {
            serde_json::json!({ "type": "Patient", "url": format!("https://ehr.example/{file}"), "count": 1 })
        });
        let manifest = serde_json::json!({
            "transactionTime": "2026-01-01T00:00:00Z",
            "request": "https://ehr.example/$export",
            "requiresAccessToken": false,
            "output": files.collect::<Vec<_>>(),
            "error": [],
        });
        ManifestPage::read(manifest.to_string().as_bytes(), &url()).unwrap()
    }

    fn url() -> Url {
        Url::parse("https://ehr.example/status").unwrap()
    }

    /// Takes one page again and again; gives the files at the end.
    fn files(pages: &[&[&str]]) -> Vec<String> {
        let mut plan = Plan::new(false);
        for (at, listed) in pages.iter().enumerate() {
            let known = plan.files.len();
            let taken = plan.take(0, &url(), &page(listed), at + 1 == pages.len());
            assert_eq!(taken.new.len(), plan.files.len() - known);
        }
        let path = |file: &Planned| file.url.replace("https://ehr.example/", "");
        plan.files.iter().map(path).collect()
    }

    #[test]
    fn files_that_a_growing_page_puts_anywhere_are_all_taken() {
        assert_eq!(files(&[&["b"], &["a", "b"], &["a", "b", "c"]]), ["b", "a", "c"]);
        assert_eq!(files(&[&["b", "d"], &["a", "b", "c", "d"]]), ["b", "d", "a", "c"]);
        assert_eq!(files(&[&["f?n=1"], &["f?n=1", "f?n=2"]]), ["f?n=1", "f?n=2"]);
        assert_eq!(
            files(&[&["a?sig=1"], &["a?sig=2"]]),
            ["a?sig=2"],
            "a link made anew"
        );
        assert_eq!(files(&[&["x1/a", "x1/b"], &["x2/a", "x2/b"]]), ["x2/a", "x2/b"]);
    }
}
