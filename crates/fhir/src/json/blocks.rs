//! A line of JSON, 64 bytes at a time: [`Blocks`] makes masks of one bit a byte, that tell what lies where.
//!
//! Which bytes lie within strings follows from the quotes by arithmetic on the mask, so that neither short strings nor long ones cost a
//! branch a byte. (The idea is that of Langdale and Lemire, "Parsing Gigabytes of JSON per Second", 2019.)

use fearless_simd::{Simd, prelude::*, u8x64};

use super::string::escape_end;

/// Bytes of which the masks are made at once.
pub(crate) const BLOCK_BYTES: usize = 64;

/// One bit for each byte of a block, the first one lowest. All but those of strings are of what lies outside of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Block {
    /// Where the block begins in the text.
    pub(crate) at: usize,
    /// The quotes that open strings.
    pub(crate) quotes: u64,
    /// The quotes that close them.
    pub(crate) quote_ends: u64,
    /// Strings, each from its opening quote to just before its closing one.
    pub(crate) strings: u64,
    /// `{` and `[`.
    pub(crate) opens: u64,
    /// `}` and `]`.
    pub(crate) closes: u64,
    /// `{` and `}`, and others that are neither `[` nor `]`.
    pub(crate) braces: u64,
    /// `:`.
    pub(crate) colons: u64,
    /// `,`.
    pub(crate) commas: u64,
    /// White space.
    pub(crate) spaces: u64,
    /// Backslashes, wherever they lie.
    pub(crate) backslashes: u64,
    /// All else: numbers, literals, and what no text may have.
    pub(crate) words: u64,
}

/// Reads one block after another.
///
/// It never fails: what it has seen that no text may have says [`Blocks::is_sound`] at the end.
pub(crate) struct Blocks<'t, S: Simd> {
    simd: S,
    bytes: &'t [u8],
    next: usize,
    /// All ones where the next block begins within a string.
    in_string: u64,
    /// One where the next block's first byte is escaped.
    is_escaped: u64,
    /// Where the last escape ends that has been held to the grammar.
    escapes_end: usize,
    is_sound: bool,
    /// All bytes so far, one upon the other.
    union: u8x64<S>,
}

/// What the bytes of a block are, wherever they lie.
struct Masks {
    quotes: u64,
    backslashes: u64,
    controls: u64,
    spaces: u64,
    opens: u64,
    closes: u64,
    braces: u64,
    colons: u64,
    commas: u64,
}

impl<'t, S: Simd> Blocks<'t, S> {
    #[inline(always)]
    pub(crate) fn new(simd: S, bytes: &'t [u8]) -> Self {
        Self {
            simd,
            bytes,
            next: 0,
            in_string: 0,
            is_escaped: 0,
            escapes_end: 0,
            is_sound: true,
            union: u8x64::splat(simd, 0),
        }
    }

    /// Reads the next block, unless the text is at its end.
    #[inline(always)]
    pub(crate) fn next(&mut self) -> Option<Block> {
        let at = self.next;
        if at >= self.bytes.len() {
            return None;
        }
        self.next += BLOCK_BYTES;
        let bytes = match self.bytes.get(at..).and_then(<[u8]>::first_chunk) {
            Some(block) => u8x64::load_array_ref(self.simd, block),
            None => u8x64::load_array(self.simd, last_block(self.bytes, at)),
        };
        self.union |= bytes;
        let masks = Masks::of(bytes);
        let escaped = match masks.backslashes | self.is_escaped {
            0 => 0,
            _ => self.escaped(at, masks.backslashes),
        };
        let quotes = masks.quotes & !escaped;
        // From an opening quote to just before the closing one.
        let strings = ones_between(quotes) ^ self.in_string;
        self.in_string = (strings >> 63).wrapping_neg();
        if masks.controls != 0 {
            self.look_at_controls(at, masks.controls, strings);
        }
        let operators = masks.opens | masks.closes | masks.colons | masks.commas;
        Some(Block {
            at,
            quotes: quotes & strings,
            quote_ends: quotes & !strings,
            strings,
            opens: masks.opens & !strings,
            closes: masks.closes & !strings,
            braces: masks.braces,
            backslashes: masks.backslashes,
            colons: masks.colons & !strings,
            commas: masks.commas & !strings,
            spaces: masks.spaces & !strings,
            words: !(operators | masks.spaces | quotes | strings),
        })
    }

    /// Whether all strings that were seen have ended, with nothing in them that the grammar does not allow.
    #[inline(always)]
    pub(crate) fn is_sound(&self) -> bool {
        self.is_sound && self.in_string == 0
    }

    /// Whether all that was seen is ASCII.
    #[inline(always)]
    pub(crate) fn is_ascii(&self) -> bool {
        !self.union.simd_ge(0x80).any_true()
    }

    /// The bytes behind backslashes that are no escaped ones themselves; holds each escape to the grammar.
    #[inline(never)]
    fn escaped(&mut self, block: usize, backslashes: u64) -> u64 {
        let mut escaped = self.is_escaped;
        let mut left = backslashes & !escaped;
        self.is_escaped = 0;
        while left != 0 {
            let bit = left.trailing_zeros();
            let at = block + bit as usize;
            // The second half of a surrogate pair belongs to the first.
            if at >= self.escapes_end {
                match escape_end(self.bytes, at) {
                    Ok(end) => self.escapes_end = end,
                    Err(_) => self.is_sound = false,
                }
            }
            left &= left - 1;
            if bit == 63 {
                self.is_escaped = 1;
            } else {
                escaped |= 2 << bit;
                left &= !(2 << bit);
            }
        }
        escaped
    }

    /// Control characters are for the outside of strings, and only those that are white space; a line has no line break.
    #[cold]
    fn look_at_controls(&mut self, block: usize, controls: u64, strings: u64) {
        let mut left = controls;
        self.is_sound &= controls & strings == 0;
        while left != 0 {
            let at = block + left.trailing_zeros() as usize;
            self.is_sound &= self
                .bytes
                .get(at)
                .is_none_or(|byte| matches!(byte, b'\t' | b'\r'));
            left &= left - 1;
        }
    }
}

impl Masks {
    #[inline(always)]
    fn of<S: Simd>(bytes: u8x64<S>) -> Self {
        let is = |byte: u8| bytes.simd_eq(byte);
        // `[` and `]` differ from `{` and `}` in this bit.
        let is_bracket = |brace: u8| (bytes | 0x20).simd_eq(brace);
        let (is_backslash, is_control) = (is(b'\\'), bytes.simd_le(0x1F));
        // Most blocks have neither: one look says so.
        let (backslashes, controls) = match (is_backslash | is_control).any_true() {
            true => (is_backslash.to_bitmask(), is_control.to_bitmask()),
            false => (0, 0),
        };
        Self {
            quotes: is(b'"').to_bitmask(),
            backslashes,
            controls,
            spaces: is(b' ').to_bitmask() | controls,
            opens: is_bracket(b'{').to_bitmask(),
            closes: is_bracket(b'}').to_bitmask(),
            braces: bytes.simd_ge(0x60).to_bitmask(),
            colons: is(b':').to_bitmask(),
            commas: is(b',').to_bitmask(),
        }
    }
}

/// What is left of a text, with white space behind it.
#[inline(never)]
fn last_block(bytes: &[u8], at: usize) -> [u8; BLOCK_BYTES] {
    let rest = bytes.get(at..).unwrap_or_default();
    let mut block = [b' '; BLOCK_BYTES];
    if let Some(begin) = block.get_mut(..rest.len()) {
        begin.copy_from_slice(rest);
    }
    block
}

/// Ones from each odd one to just before the next even one: each bit is the sum of those up to it.
#[inline(always)]
fn ones_between(mut bits: u64) -> u64 {
    for shift in [1, 2, 4, 8, 16, 32] {
        bits ^= bits << shift;
    }
    bits
}

#[cfg(test)]
mod tests {
    use fearless_simd::{Level, dispatch};

    use super::*;

    fn read(level: Level, text: &str) -> (Vec<Block>, bool) {
        dispatch!(level, simd => {
            let mut blocks = Blocks::new(simd, text.as_bytes());
            let read = std::iter::from_fn(|| blocks.next()).collect();
            (read, blocks.is_sound())
        })
    }

    /// What every kind of processor makes of a text.
    fn blocks(text: &str) -> (Vec<Block>, bool) {
        let best = Level::new();
        let read_best = read(best, text);
        assert_eq!(read(Level::baseline(), text), read_best);
        #[cfg(target_arch = "x86_64")]
        if let Some(level) = best.as_sse4_2() {
            assert_eq!(read(level.level(), text), read_best);
        }
        read_best
    }

    fn is_sound(text: &str) -> bool {
        blocks(text).1
    }

    /// Where the bits of all blocks are.
    fn places(text: &str, bits: fn(&Block) -> u64) -> Vec<usize> {
        let (blocks, _) = blocks(text);
        let of_block = |block: &Block| {
            let (at, bits) = (block.at, bits(block));
            (0..64)
                .filter(move |bit| bits >> bit & 1 == 1)
                .map(move |bit| at + bit)
        };
        blocks.iter().flat_map(of_block).collect()
    }

    #[test]
    fn tokens_are_found_wherever_a_block_ends() {
        let filler = "_".repeat(7);
        for before in 0..130 {
            let space = " ".repeat(before);
            let text = format!(r#"{space}{{"a\"{filler}b" :"c\\",["d{{}}[]:,é" ,-1.5e3,true]}}"#);
            let at = |needles: &[&str]| -> Vec<usize> {
                needles.iter().map(|needle| text.find(needle).unwrap()).collect()
            };
            assert_eq!(places(&text, |block| block.opens), at(&["{", "[\"d"]));
            assert_eq!(
                places(&text, |block| block.closes),
                [text.len() - 2, text.len() - 1]
            );
            assert_eq!(places(&text, |block| block.quotes), at(&["\"a", "\"c", "\"d"]));
            let ends = [
                text.find("b\" ").unwrap() + 1,
                text.find("\\\",").unwrap() + 1,
                text.find("é\"").unwrap() + 2,
            ];
            assert_eq!(places(&text, |block| block.quote_ends), ends);
            assert_eq!(places(&text, |block| block.colons), at(&[":\"c"]));
            assert_eq!(places(&text, |block| block.commas), at(&[",[", ",-", ",t"]));
            let words = places(&text, |block| block.words);
            assert_eq!(
                (words.len(), words[0], words[6]),
                ("-1.5e3true".len(), at(&["-1"])[0], at(&["true"])[0])
            );
            let braces = places(&text, |block| block.braces & (block.opens | block.closes));
            assert_eq!(braces, [before, text.len() - 1]);
            assert!(is_sound(&text));
        }
    }

    #[test]
    fn strings_are_held_to_the_grammar_wherever_a_block_ends() {
        let good = [r#""\\\"\u00e9\uD83D\uDE00\n""#, "\t\"x\"\r "];
        let bad = [
            r#""x"#,
            r#""x\""#,
            r#""\x""#,
            r#""\u12""#,
            r#""\uD83D""#,
            r#""\uDE00""#,
            "\"\t\"",
            "\u{1}",
            "\n",
            "\"\u{0}\"",
        ];
        for before in 0..130 {
            let filler = "x".repeat(before);
            for text in good {
                assert!(is_sound(&format!("\"{filler}\"{text}")), "{text}");
            }
            for text in bad {
                assert!(!is_sound(&format!("\"{filler}\"{text}")), "{text}");
            }
        }
    }

    #[test]
    fn a_byte_beyond_ascii_is_seen_wherever_it_is() {
        let is_ascii = |text: &str| {
            dispatch!(Level::new(), simd => {
                let mut blocks = Blocks::new(simd, text.as_bytes());
                while blocks.next().is_some() {}
                blocks.is_ascii()
            })
        };
        for before in 0..130 {
            let filler = "x".repeat(before);
            assert!(is_ascii(&filler) && !is_ascii(&format!("{filler}é{filler}")));
        }
    }
}
