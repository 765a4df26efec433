//! Servers and scripts that a seed draws: [`Drawn`].

use std::time::Duration;

use super::manner::{EntityTag, ExpiredLink, FileCoding, FileHost, ManifestShape, Manner, Pages, RetryAfter};
use super::script::{Cut, Fault, Place, Strike, Words};

/// Faults of one drawn script at most.
const STRIKES_MAX: u64 = 8;

/// Numbers that follow from a seed (SplitMix64).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Begins with a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 when that is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.number() % end.max(1)
    }

    /// Whether one of `in_all` chances has come.
    pub fn chance(&mut self, in_all: u64) -> bool {
        self.below(in_all) == 0
    }

    /// One of several.
    ///
    /// # Panics
    /// If there is none.
    pub fn of<T: Copy>(&mut self, several: &[T]) -> T {
        several[self.below(several.len() as u64) as usize]
    }
}

/// A server with several faults that all heal: a client that does its duty gets everything.
#[derive(Debug, Clone)]
pub struct Drawn {
    /// How the server is. Its tokens are the test's to set.
    pub manner: Manner,
    /// What goes wrong.
    pub script: Vec<Strike>,
}

impl Drawn {
    /// Draws a server with so many files.
    pub fn new(seed: u64, files: usize) -> Self {
        let mut random = Random::new(seed);
        let manner = manner(&mut random);
        let strikes = 1 + random.below(STRIKES_MAX);
        let script = (0..strikes).map(|_| strike(&mut random, files)).collect();
        Self { manner, script }
    }
}

fn manner(random: &mut Random) -> Manner {
    let shapes = [
        ManifestShape::Stu1,
        ManifestShape::Stu2,
        ManifestShape::Stu3,
        ManifestShape::Stu4,
    ];
    let waits = [
        RetryAfter::None,
        RetryAfter::Secs(120),
        RetryAfter::Secs(18_000),
        RetryAfter::Date(600),
        RetryAfter::Nonsense,
    ];
    let codings = [
        FileCoding::Identity,
        FileCoding::Gzip,
        FileCoding::GzipMembers,
        FileCoding::Zstd,
        FileCoding::ZstdFrames,
    ];
    let tags = [
        EntityTag::Strong,
        EntityTag::Strong,
        EntityTag::Weak,
        EntityTag::None,
        EntityTag::Restless,
    ];
    let hosts = [
        FileHost::Own,
        FileHost::Other,
        FileHost::Redirected(307),
        FileHost::Redirected(302),
    ];
    let file_host = random.of(&hosts);
    let links_last = random.chance(3).then(|| Duration::from_secs(3_600));
    Manner {
        shape: random.of(&shapes),
        takes: Duration::from_secs(random.of(&[0, 0, 30, 600, 3_600, 14_400])),
        retry_after: random.of(&waits),
        progress: random
            .chance(2)
            .then(|| "Searched 3 of 10 patients; 50%?".to_owned()),
        // Links at another host are their own permission.
        files_want_token: file_host != FileHost::Other && random.chance(2),
        file_host,
        links_last,
        expired_link: random.of(&[ExpiredLink::Forbidden, ExpiredLink::NotFound, ExpiredLink::Gone]),
        entity_tag: random.of(&tags),
        ignores_ranges: random.chance(5),
        coding: random.of(&codings),
        // What is altered in the middle shows only by a checksum.
        checksums: true,
        pages: Pages {
            files_each: random.chance(3).then_some(2),
            // A link that is made anew for each page is not seen to be the same file.
            repeats: links_last.is_none() && random.chance(4),
            restless: random.chance(4),
        },
        separate_status: random.chance(4),
        relative_urls: random.chance(4),
        delete_status: random.of(&[None, None, Some(404), Some(405), Some(500)]),
        ..Manner::default()
    }
}

fn strike(random: &mut Random, files: usize) -> Strike {
    let place = match random.below(10) {
        0 => Place::KickOff,
        1 | 2 => Place::Status,
        3 => Place::NextPage,
        4 => Place::Token,
        5 => Place::AnyFile,
        _ => Place::File(random.below(files as u64) as usize),
    };
    let fault = match place {
        Place::File(_) | Place::AnyFile => file_fault(random),
        // A kick-off that was heard and whose answer was lost would leave a job that nobody knows.
        _ => busy(random),
    };
    let after = random.below(2) as u32;
    Strike::once(place, fault).after(after)
}

fn busy(random: &mut Random) -> Fault {
    let wait = random.of(&[
        RetryAfter::None,
        RetryAfter::Secs(5),
        RetryAfter::Date(90),
        RetryAfter::Secs(20_000),
    ]);
    match random.below(4) {
        0 => Fault::answer_later(429, wait, Words::Nothing),
        1 => Fault::answer_later(503, wait, Words::Transient),
        2 => Fault::answer(502, Words::Html),
        _ => Fault::answer_later(504, wait, Words::Html),
    }
}

fn file_fault(random: &mut Random) -> Fault {
    let at = random.below(4_000);
    match random.below(18) {
        0 => Fault::Cut(Cut::Before),
        1 => Fault::Cut(Cut::Head),
        2..=4 => Fault::Cut(Cut::Body(at)),
        5 => Fault::ShortBody(1 + at % 600),
        6 => Fault::AnnouncesLess(1 + at % 50),
        7 => Fault::AnnouncesMore(1 + at),
        8 => Fault::EndlessChunks,
        9 => Fault::Altered((at % 1_000) as u16),
        10 => match at % 4 {
            0 => Fault::BrokenLine,
            1 => Fault::OtherType,
            2 => Fault::RepeatedLine,
            _ => Fault::OtherFile,
        },
        11 => Fault::IgnoresRange,
        12 => Fault::OtherRange,
        13 => Fault::OtherBytes,
        14 => Fault::RangeRefused,
        15 => Fault::Expired,
        16 => Fault::TokenRefused,
        _ => busy(random),
    }
}
