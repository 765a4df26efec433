//! The quick way to look at a line: [`quick_look`] takes the lines that nobody could doubt, which is nearly all of them.
//!
//! The grammar is held to by arithmetic on masks of 64 bytes ([`Blocks`]). What may follow what is one rule for every token of a block at
//! once: the token behind a colon begins a value, that behind a string is a colon, a comma or a closing bracket, and so on. What depends
//! on whether it stands in an object or an array (a name wants a colon, and only there) is marked, and looked up bracket by bracket.

use fearless_simd::{Level, Simd, dispatch};

use crate::json::{Block, Blocks, Quoted, closing_quote, is_space, scan_number};

/// Objects and arrays within one another are told apart by one bit each, below one that stands for the line.
const DEPTH_MAX: usize = 62;

/// What is open between the brackets of the root.
const ROOT: u64 = 0b11;

/// The root members of a line that matter, if they are there.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) resource_type: Option<Quoted>,
    pub(super) id: Option<Quoted>,
    /// Whether all of the line is ASCII.
    pub(super) is_ascii: bool,
}

/// Holds a line to the grammar and finds its type and id; nothing for a line that is none, or that wants a closer look: one that does not
/// begin with its bracket, or with an escape in what may be a name or white space behind one, with a type or an id that is not a string
/// or there twice, with half a surrogate pair or a number beyond a double's range. Bytes beyond ASCII pass, whatever they are.
pub(super) fn quick_look(line: &[u8], depth_max: usize) -> Option<Look> {
    dispatch!(Level::new(), simd => look(simd, line, depth_max))
}

#[inline(always)]
fn look<S: Simd>(simd: S, line: &[u8], depth_max: usize) -> Option<Look> {
    if line.first() != Some(&b'{') || depth_max == 0 {
        return None;
    }
    let mut walk = Walk {
        line,
        tokens: Tokens::default(),
        nest: Nest {
            open: ROOT,
            open_max: (2 << depth_max.min(DEPTH_MAX)) - 1,
        },
        look: Look::default(),
    };
    walk.run(simd)?;
    Some(walk.look)
}

struct Walk<'l> {
    line: &'l [u8],
    tokens: Tokens,
    nest: Nest,
    look: Look,
}

/// How far the tokens before a block have a say in it: ones where its first bytes are behind a token of this kind, or in one.
struct Tokens {
    open: u64,
    comma: u64,
    colon: u64,
    /// The end of a value or a name.
    end: u64,
    /// The end of a string that may be a name.
    name: u64,
    in_name: u64,
    in_word: u64,
    /// The quotes of the block before that open strings.
    quotes: u64,
}

/// What the rules say of a block, one bit a byte.
struct Ruled {
    /// What may not be there.
    wrong: u64,
    /// What may only be there in an object.
    for_objects: u64,
    /// What may only be there in an array, or just behind such a thing.
    for_arrays: u64,
    /// The first bytes of numbers and literals.
    words: u64,
    /// The colons behind names that are as long as those that matter.
    names: u64,
}

/// What is open within what.
struct Nest {
    /// One bit for each object and array that is open, the innermost the lowest: one for an object. The highest one stands for the line.
    open: u64,
    open_max: u64,
}

impl Default for Tokens {
    /// A line is one value: as if a colon stood before it.
    fn default() -> Self {
        Self {
            open: 0,
            comma: 0,
            colon: 1,
            end: 0,
            name: 0,
            in_name: 0,
            in_word: 0,
            quotes: 0,
        }
    }
}

impl Tokens {
    /// Holds a block to the rules; `SPACES` says whether it has white space outside of strings.
    #[inline(always)]
    fn rule<const SPACES: bool>(&mut self, block: &Block) -> Ruled {
        let spaces = if SPACES { block.spaces } else { 0 };
        let behind_open = behind(block.opens, spaces, &mut self.open);
        let behind_comma = behind(block.commas, spaces, &mut self.comma);
        let behind_colon = behind(block.colons, spaces, &mut self.colon);
        // Words are told to end where something else begins.
        let ends = block.closes | block.quote_ends | block.words;
        let behind_end = behind(ends, spaces, &mut self.end) & !block.words;
        let words = block.words & !(block.words << 1 | self.in_word);
        self.in_word = block.words >> 63;

        let others = block.opens | words;
        let elements = behind_open | behind_comma;
        // Behind an opening bracket or a comma a string may be a name: what follows it tells. A sum carries ones through such strings.
        let (sum, is_over) = block.strings.overflowing_add(block.quotes & elements);
        let (sum, is_over_too) = sum.overflowing_add(self.in_name);
        self.in_name = u64::from(is_over | is_over_too);
        let escaped_names = block.backslashes & block.strings & !sum;
        let behind_name = (sum & block.quote_ends) << 1 | self.name;
        self.name = (sum & block.quote_ends) >> 63;

        let misplaced_value = (others | block.quotes) & !(elements | behind_colon);
        let misplaced_end = block.commas & !behind_end | block.closes & !(behind_end | behind_open);
        let misplaced_colon = block.colons & !behind_name;
        Ruled {
            wrong: misplaced_value | misplaced_end | misplaced_colon | escaped_names,
            for_objects: block.colons,
            for_arrays: behind_name & !block.colons | others & elements,
            words,
            names: block.colons & self.behind_names(block),
        }
    }

    /// Where a name as long as `id` or `resourceType` would have its colon.
    #[inline(always)]
    fn behind_names(&mut self, block: &Block) -> u64 {
        let ids = block.quotes << 4 | self.quotes >> 60;
        let types = block.quotes << 14 | self.quotes >> 50;
        self.quotes = block.quotes;
        ids | types
    }
}

/// The first bytes behind those of `tokens` that are no spaces; `carried` is one where the next block's first byte is behind one of them.
#[inline(always)]
fn behind(tokens: u64, spaces: u64, carried: &mut u64) -> u64 {
    let next = tokens << 1 | *carried;
    // Where a space is next, the sum carries a one through all spaces that follow it.
    let (sum, is_over) = next.overflowing_add(spaces);
    *carried = tokens >> 63 | u64::from(is_over);
    sum & !spaces
}

impl Nest {
    /// What lies between two brackets, the second one included, may be there.
    #[inline(always)]
    fn allows(&self, ruled: &Ruled, span: u64) -> bool {
        let wrong = match self.open & 1 {
            1 => ruled.for_arrays,
            _ => ruled.for_objects,
        };
        wrong & span == 0
    }

    /// Takes one bracket.
    #[inline(always)]
    fn take(&mut self, opens: bool, is_brace: u64) -> Option<()> {
        if opens {
            self.open = self.open << 1 | is_brace;
            (self.open <= self.open_max).then_some(())
        } else {
            let is_same = (self.open ^ is_brace) & 1 == 0;
            self.open >>= 1;
            is_same.then_some(())
        }
    }
}

impl Walk<'_> {
    #[inline(always)]
    fn run<S: Simd>(&mut self, simd: S) -> Option<()> {
        let mut blocks = Blocks::new(simd, self.line);
        while let Some(mut block) = blocks.next() {
            let ruled = match block.spaces {
                0 => self.tokens.rule::<false>(&block),
                _ => self.tokens.rule::<true>(&block),
            };
            if ruled.wrong != 0 {
                return None;
            }
            if block.at == 0 {
                // The root's own bracket is open already.
                block.opens &= !1;
            }
            if ruled.names != 0 {
                self.names(&block, ruled.names)?;
            }
            if ruled.words != 0 {
                self.words(&block, ruled.words)?;
            }
            if let Some(end) = self.brackets(&block, &ruled)? {
                self.look.is_ascii = blocks.is_ascii();
                return (blocks.is_sound() && self.is_blank_from(end)).then_some(());
            }
        }
        None
    }

    /// Follows the brackets of a block; gives where the root ends, if it does.
    #[inline(always)]
    fn brackets(&mut self, block: &Block, ruled: &Ruled) -> Option<Option<usize>> {
        let mut brackets = block.opens | block.closes;
        let mut left = u64::MAX;
        while brackets != 0 {
            let up_to = brackets ^ (brackets - 1);
            if !self.nest.allows(ruled, left & up_to) {
                return None;
            }
            left = !up_to;
            let bit = brackets & up_to;
            brackets &= left;
            let is_brace = u64::from(block.braces & bit != 0);
            self.nest.take(block.opens & bit != 0, is_brace)?;
            if self.nest.open == 1 {
                return Some(Some(block.at + left.trailing_zeros() as usize));
            }
        }
        self.nest.allows(ruled, left).then_some(None)
    }

    /// Whether nothing but white space is left. A line has no line break.
    fn is_blank_from(&self, end: usize) -> bool {
        let is_blank = |byte: &u8| is_space(*byte) && *byte != b'\n';
        self.line.get(end..).unwrap_or_default().iter().all(is_blank)
    }

    #[inline(never)]
    fn words(&self, block: &Block, mut words: u64) -> Option<()> {
        while words != 0 {
            let at = block.at + words.trailing_zeros() as usize;
            if !is_word(self.line, at) {
                return None;
            }
            words &= words - 1;
        }
        Some(())
    }

    /// Keeps the values of those names of the root that matter.
    #[inline(never)]
    fn names(&mut self, block: &Block, mut colons: u64) -> Option<()> {
        // One bit stands for the line.
        let open = 63 - self.nest.open.leading_zeros();
        while colons != 0 {
            let before = colons ^ (colons - 1);
            let opened = (block.opens & before).count_ones();
            let closed = (block.closes & before).count_ones();
            if open + opened == 1 + closed {
                self.name(block.at + colons.trailing_zeros() as usize)?;
            }
            colons &= colons - 1;
        }
        Some(())
    }

    /// Keeps the value behind a colon, if the name before it is one of those that matter.
    fn name(&mut self, colon: usize) -> Option<()> {
        let before = self.line.get(..colon)?;
        let kept = if before.ends_with(b"\"id\"") {
            &mut self.look.id
        } else if before.ends_with(b"\"resourceType\"") {
            &mut self.look.resource_type
        } else {
            return Some(());
        };
        let value = self.line.get(colon + 1..)?;
        let spaces = value.iter().position(|&byte| !is_space(byte))?;
        let start = colon + 1 + spaces + 1;
        let quoted = Quoted {
            start,
            end: closing_quote(self.line, start),
            escaped: false,
        };
        (value.get(spaces) == Some(&b'"') && kept.replace(quoted).is_none()).then_some(())
    }
}

/// Whether a number or a literal begins at `at`, and nothing clings to it.
#[inline(never)]
fn is_word(line: &[u8], at: usize) -> bool {
    let end = match line.get(at) {
        Some(b'-' | b'0'..=b'9') => scan_number(line, at).ok(),
        Some(b't') => literal_end(line, at, b"true"),
        Some(b'f') => literal_end(line, at, b"false"),
        Some(b'n') => literal_end(line, at, b"null"),
        _ => None,
    };
    let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']') || is_space(*byte);
    end.is_some_and(|end| line.get(end).is_none_or(ends))
}

fn literal_end(line: &[u8], at: usize, word: &[u8]) -> Option<usize> {
    let end = at + word.len();
    (line.get(at..end)? == word).then_some(end)
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
        let look = quick_look(line.as_bytes(), 100);
        assert_eq!(
            dispatch!(Level::baseline(), simd => super::look(simd, line.as_bytes(), 100)),
            look,
            "{line}"
        );
        let Some(look) = look else {
            return;
        };
        let text = |quoted: Option<Quoted>| {
            quoted.map(|quoted| crate::json::decode(&line[quoted.start..quoted.end]))
        };
        let closer = Glancer::default().closer_look(line);
        let closer = closer.map(|glance| (glance.resource_type(), glance.id()));
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
            let line = r#"{"resourceType":"Patient","meta":{"tag":[{"code":"a\"b\\"},{}, []]},"x":[1,-2.5E+3,true,false,null,""],"id":"p\u00e91" , "text":{"div":"<div xmlns=\"http://www.w3.org/1999/xhtml\">\ud83d\ude00 é<\/div>"},"y":{"z":[[[{"deep":0}]]]}} "#;
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
        let passes = |depth: usize, depth_max: usize| quick_look(line(depth).as_bytes(), depth_max).is_some();
        assert!(passes(20, 20) && !passes(21, 20));
        assert!(passes(DEPTH_MAX, usize::MAX) && !passes(DEPTH_MAX + 1, usize::MAX));
        assert!(quick_look(b"{}", 1).is_some() && quick_look(b"{}", 0).is_none());
    }

    /// Every short row of tokens, alone in a line and behind others.
    #[test]
    fn rows_of_tokens_pass_a_closer_look_alike() {
        let tokens = ["{", "}", "[", "]", ":", ",", "\"id\"", "1", " "];
        let mut rows = vec![String::new()];
        for _ in 0..5 {
            let longer = rows
                .iter()
                .flat_map(|row| tokens.map(|token| format!("{row}{token}")));
            rows = longer.collect();
            for row in &rows {
                same_as_a_closer_look(&format!("{{{row}"));
                same_as_a_closer_look(&format!("{{\"id\":[1,{{{row}}}]}}"));
                same_as_a_closer_look(&format!("{{\"x\":\"{}\",{row}}}", "x".repeat(54)));
            }
        }
    }

    #[test]
    fn what_writers_put_between_tokens_needs_no_closer_look() {
        let lines = [
            "{\"resourceType\": \"Patient\", \"id\": \"p1\", \"active\": true, \"name\": [{\"given\": [\"A\", \"B\"]}]}",
            "{\"resourceType\":\"Patient\",\"id\":\"p1\"}\r",
            "{ \"id\":\t\"p1\" , \"x\": [ ] , \"resourceType\": \"Patient\" } ",
        ];
        for line in lines {
            let look = quick_look(line.as_bytes(), 100).unwrap();
            assert!(look.id.is_some() && look.resource_type.is_some(), "{line}");
            same_as_a_closer_look(line);
        }
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
