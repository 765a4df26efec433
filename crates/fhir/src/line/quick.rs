//! The quick way to look at a line: [`quick_look`] takes the lines that nobody could doubt, which is nearly all of them.

use crate::json::{Quoted, Structure, closing_quote, is_space, scan_number};

/// Objects and arrays within one another are told apart by one bit each.
pub(super) const DEPTH_MAX: usize = 128;

/// The root members of a line that matter, if they are there.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) resource_type: Option<Quoted>,
    pub(super) id: Option<Quoted>,
}

/// Holds a line to the grammar and finds its type and id; nothing for a line that is none, or that wants a closer look: one with a name
/// of the root that has an escape in it, with a type or an id that is not a string or there twice, with half a surrogate pair or a number
/// beyond a double's range.
pub(super) fn quick_look(line: &[u8], depth_max: usize) -> Option<Look> {
    let mut walk = Walk {
        line,
        structure: Structure::new(line),
        depth: 0,
        depth_max: depth_max.min(DEPTH_MAX),
        objects: 0,
        look: Look::default(),
    };
    walk.run()?;
    walk.structure.is_sound().then_some(walk.look)
}

struct Walk<'l> {
    line: &'l [u8],
    structure: Structure<'l>,
    /// How many objects and arrays are open.
    depth: usize,
    depth_max: usize,
    /// One bit for each of them, the innermost the lowest: one for an object.
    objects: u128,
    look: Look,
}

/// What may come next.
#[derive(Clone, Copy)]
enum Next {
    /// The first name of an object, or its end.
    NameOrEnd,
    /// The first element of an array, or its end.
    ElementOrEnd,
    /// A comma, or the end of what is open.
    CommaOrEnd,
    /// Nothing.
    Nothing,
}

/// A root member that matters.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Member {
    ResourceType,
    Id,
    Other,
}

impl Walk<'_> {
    #[inline]
    fn run(&mut self) -> Option<()> {
        let (_, begin) = self.structure.next()?;
        if begin != b'{' {
            return None;
        }
        let mut next = self.open(true)?;
        loop {
            next = match next {
                Next::NameOrEnd => match self.structure.next()? {
                    (_, b'}') => self.close(),
                    (at, byte) => self.member(at, byte)?,
                },
                Next::ElementOrEnd => match self.structure.next()? {
                    (_, b']') => self.close(),
                    (at, byte) => self.value(at, byte)?,
                },
                Next::CommaOrEnd => self.comma_or_end()?,
                Next::Nothing => return self.structure.next().is_none().then_some(()),
            }
        }
    }

    #[inline(always)]
    fn comma_or_end(&mut self) -> Option<Next> {
        let is_object = self.objects & 1 == 1;
        match (self.structure.next()?.1, is_object) {
            (b',', true) => {
                let (at, byte) = self.structure.next()?;
                self.member(at, byte)
            }
            (b',', false) => {
                let (at, byte) = self.structure.next()?;
                self.value(at, byte)
            }
            (b'}', true) | (b']', false) => Some(self.close()),
            _ => None,
        }
    }

    /// A member of an object, from its name on.
    #[inline(always)]
    fn member(&mut self, at: usize, byte: u8) -> Option<Next> {
        if byte != b'"' {
            return None;
        }
        let (_, b':') = self.structure.next()? else {
            return None;
        };
        let member = match self.depth {
            // What may have escapes is known once the colon has been seen.
            1 => root_member(self.line, at, self.structure.may_have_escapes(at))?,
            _ => Member::Other,
        };
        let (begin, byte) = self.structure.next()?;
        if member != Member::Other {
            self.keep(member, begin, byte)?;
        }
        self.value(begin, byte)
    }

    /// A value, from its first byte on, up to the end of what opens or is whole.
    #[inline(always)]
    fn value(&mut self, at: usize, byte: u8) -> Option<Next> {
        match byte {
            b'"' => Some(Next::CommaOrEnd),
            b'{' => self.open(true),
            b'[' => self.open(false),
            _ => is_scalar(self.line, at, byte).then_some(Next::CommaOrEnd),
        }
    }

    #[inline(always)]
    fn open(&mut self, is_object: bool) -> Option<Next> {
        if self.depth == self.depth_max {
            return None;
        }
        self.depth += 1;
        self.objects = self.objects << 1 | u128::from(is_object);
        Some(match is_object {
            true => Next::NameOrEnd,
            false => Next::ElementOrEnd,
        })
    }

    #[inline(always)]
    fn close(&mut self) -> Next {
        self.depth -= 1;
        self.objects >>= 1;
        match self.depth {
            0 => Next::Nothing,
            _ => Next::CommaOrEnd,
        }
    }

    #[inline(always)]
    fn keep(&mut self, member: Member, at: usize, byte: u8) -> Option<()> {
        let kept = match member {
            Member::ResourceType => &mut self.look.resource_type,
            _ => &mut self.look.id,
        };
        (byte == b'"' && kept.replace(quoted(self.line, at)).is_none()).then_some(())
    }
}

/// Whether a number or a literal begins at `at`, and nothing clings to it.
#[inline(never)]
fn is_scalar(line: &[u8], at: usize, byte: u8) -> bool {
    let end = match byte {
        b'-' | b'0'..=b'9' => scan_number(line, at).ok(),
        b't' => literal_end(line, at, b"true"),
        b'f' => literal_end(line, at, b"false"),
        b'n' => literal_end(line, at, b"null"),
        _ => None,
    };
    let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']') || is_space(*byte);
    end.is_some_and(|end| line.get(end).is_none_or(ends))
}

fn literal_end(line: &[u8], at: usize, word: &[u8]) -> Option<usize> {
    let end = at + word.len();
    (line.get(at..end)? == word).then_some(end)
}

/// Which member of the root begins with the quote at `at`; nothing where that cannot be said at a glance.
#[inline(never)]
fn root_member(line: &[u8], at: usize, may_have_escapes: bool) -> Option<Member> {
    let rest = line.get(at + 1..)?;
    if rest.starts_with(b"id\"") {
        return Some(Member::Id);
    }
    if rest.starts_with(b"resourceType\"") {
        return Some(Member::ResourceType);
    }
    if may_have_escapes {
        let name = rest.get(..closing_quote(rest, 0))?;
        return (!name.contains(&b'\\')).then_some(Member::Other);
    }
    Some(Member::Other)
}

/// The string that begins with the quote at `at`.
#[inline(never)]
fn quoted(line: &[u8], at: usize) -> Quoted {
    let start = at + 1;
    Quoted {
        start,
        end: closing_quote(line, start),
        escaped: false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::line::Glancer;

    /// What lines are made of, so that many are nearly right.
    const PARTS: [&str; 30] = [
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "{",
        "}",
        "\"a\":",
        "\"id\":",
        "\"resourceType\":",
        "\"x\"",
        "\"\\u0069d\":",
        "\"a\\\"b\"",
        "\"\\ud83d\\ude00\"",
        "\"\\ud83d\"",
        "\"\\x\"",
        "\"",
        "\\",
        "1",
        "-2.5e3",
        "1e999",
        "01",
        "true",
        "null",
        " ",
        "\t",
        "\u{1}",
        "é",
        "\"é\"",
    ];

    fn same_as_a_closer_look(line: &str) {
        let Some(look) = quick_look(line.as_bytes(), 100) else {
            return;
        };
        let text = |quoted: Option<Quoted>| {
            quoted.map(|quoted| crate::json::decode(&line[quoted.start..quoted.end]))
        };
        let closer = Glancer::default().closer_look(line);
        let closer = closer.map(|glance| (glance.resource_type, glance.id));
        assert_eq!(
            closer.ok(),
            Some((text(look.resource_type), text(look.id))),
            "{line}"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn what_passes_passes_a_closer_look_alike(
            filler in 0usize..70,
            parts in prop::collection::vec(prop::sample::select(&PARTS[..]), 0..12),
        ) {
            let parts = parts.concat();
            same_as_a_closer_look(&parts);
            same_as_a_closer_look(&format!("{{\"f\":\"{}\",{parts}}}", "x".repeat(filler)));
            same_as_a_closer_look(&format!("{{\"f\":[{}{parts}],\"id\":\"1\"}}", " ".repeat(filler)));
        }

        #[test]
        fn one_byte_changed_is_seen_alike(at in 0usize..300, byte in 0u8..128) {
            let line = r#" {"resourceType":"Patient","meta":{"tag":[{"code":"a\"b\\"},{}, []]},"x":[1,-2.5E+3,true,false,null,""],"id":"p\u00e91" ,
                "text":{"div":"<div xmlns=\"http://www.w3.org/1999/xhtml\">\ud83d\ude00 é<\/div>"},"y":{"z":[[[{"deep":0}]]]}} "#;
            prop_assert!(quick_look(line.as_bytes(), 100).is_some());
            let mut bytes = line.as_bytes().to_vec();
            let at = at % bytes.len();
            bytes[at] = byte;
            if let Ok(changed) = std::str::from_utf8(&bytes) {
                same_as_a_closer_look(changed);
            }
        }
    }

    #[test]
    fn it_follows_no_deeper_than_it_is_told() {
        let line = |depth: usize| format!("{{\"x\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
        assert!(quick_look(line(100).as_bytes(), 100).is_some());
        assert!(quick_look(line(101).as_bytes(), 100).is_none());
        assert!(quick_look(line(DEPTH_MAX).as_bytes(), usize::MAX).is_some());
        assert!(quick_look(line(DEPTH_MAX + 1).as_bytes(), usize::MAX).is_none());
    }

    #[test]
    fn lines_of_real_systems_need_no_closer_look() {
        for name in ["Observation", "Patient", "Procedure"] {
            let sample = format!("../../../shared/data/synthea-100/{name}.ndjson.zst");
            let file = std::fs::read(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(sample)).unwrap();
            let text = zstd::decode_all(&file[..]).unwrap();
            for line in text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
                assert!(quick_look(line, 100).is_some_and(|look| look.id.is_some()));
            }
        }
    }
}
