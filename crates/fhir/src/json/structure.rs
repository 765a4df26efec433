//! Where a JSON text has structure: [`Structure`] finds it 64 bytes at a time, whatever lies between.
//!
//! Each block becomes masks of one bit a byte: quotes, backslashes, what stands between values. Which bytes lie within strings follows from
//! the quotes by arithmetic on the mask, so that neither short strings nor long ones cost a branch a byte. (The idea is that of Langdale
//! and Lemire, "Parsing Gigabytes of JSON per Second", 2019.)

use wide::u8x16;

use super::string::escape_end;

/// Bytes of which the masks are made at once.
const BLOCK_BYTES: usize = 64;

/// Walks over the places of a text where something begins or ends: braces, brackets, colons, commas, the opening quotes of strings, and the
/// first bytes of all else.
///
/// It never fails: what it has seen that no text may have says [`Structure::is_sound`] at the end, and what begins wherever nothing may
/// is given like all else.
pub(crate) struct Structure<'t> {
    bytes: &'t [u8],
    /// Where the block begins whose places are in `places`.
    block: usize,
    /// The places of the block that have not been given.
    places: u64,
    blocks: Blocks<'t>,
}

/// Reads one block after another.
struct Blocks<'t> {
    bytes: &'t [u8],
    next: usize,
    /// All ones where the next block begins within a string.
    in_string: u64,
    /// One where the next block's first byte is escaped.
    is_escaped: u64,
    /// One where the byte before the next block belongs to a number, a literal or a string.
    follows_text: u64,
    /// Where the last escape ends that has been held to the grammar.
    escapes_end: usize,
    is_sound: bool,
}

/// One bit for each byte of a block.
struct Masks {
    quotes: u64,
    backslashes: u64,
    controls: u64,
    spaces: u64,
    /// `{`, `}`, `[`, `]`, `:` and `,`.
    operators: u64,
}

impl<'t> Structure<'t> {
    pub(crate) fn new(bytes: &'t [u8]) -> Self {
        Self {
            bytes,
            block: 0,
            places: 0,
            blocks: Blocks {
                bytes,
                next: 0,
                in_string: 0,
                is_escaped: 0,
                follows_text: 0,
                escapes_end: 0,
                is_sound: true,
            },
        }
    }

    /// The next place and its byte.
    #[inline(always)]
    pub(crate) fn next(&mut self) -> Option<(usize, u8)> {
        while self.places == 0 {
            if self.blocks.next >= self.bytes.len() {
                return None;
            }
            self.block = self.blocks.next;
            self.places = self.blocks.read();
        }
        let at = self.block + self.places.trailing_zeros() as usize;
        self.places &= self.places - 1;
        Some((at, *self.bytes.get(at)?))
    }

    /// Whether there may be an escape at `at` or behind it, in what has been looked at.
    pub(crate) fn may_have_escapes(&self, at: usize) -> bool {
        self.blocks.escapes_end > at
    }

    /// Whether all strings that were seen have ended, with nothing in them that the grammar does not allow.
    pub(crate) fn is_sound(&self) -> bool {
        self.blocks.is_sound && self.blocks.in_string == 0
    }
}

impl Blocks<'_> {
    /// Reads the next block and gives its places.
    #[inline]
    fn read(&mut self) -> u64 {
        let at = self.next;
        self.next += BLOCK_BYTES;
        let masks = match self.bytes.get(at..).and_then(<[u8]>::first_chunk) {
            Some(block) => Masks::of(block),
            None => Masks::of(&last_block(self.bytes, at)),
        };
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
        let between = masks.operators | masks.spaces;
        let text = !(between | quotes);
        let begins = !between & !(text << 1 | self.follows_text);
        self.follows_text = text >> 63;
        // Within strings there are no places but their opening quotes.
        (masks.operators | begins) & !(strings ^ quotes)
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

    /// Control characters are for the outside of strings, and only those that are white space.
    #[cold]
    fn look_at_controls(&mut self, block: usize, controls: u64, strings: u64) {
        let mut left = controls;
        self.is_sound &= controls & strings == 0;
        while left != 0 {
            let at = block + left.trailing_zeros() as usize;
            self.is_sound &= self.bytes.get(at).is_none_or(|&byte| super::is_space(byte));
            left &= left - 1;
        }
    }
}

impl Masks {
    #[inline(always)]
    fn of(block: &[u8; BLOCK_BYTES]) -> Self {
        let (parts, _) = block.as_chunks::<16>();
        let parts: [u8x16; 4] = std::array::from_fn(|number| u8x16::new(parts[number]));
        let mask = |is: &dyn Fn(u8x16) -> u8x16| {
            let bits = |number: usize| u64::from(is(parts[number]).to_bitmask()) << (16 * number);
            bits(0) | bits(1) | bits(2) | bits(3)
        };
        let is = |part: u8x16, byte: u8| part.simd_eq(u8x16::splat(byte));
        let is_control = |part: u8x16| part.min(u8x16::splat(0x1F)).simd_eq(part);
        let is_operator = |part: u8x16| {
            // `[` and `]` differ from `{` and `}` in this bit.
            let brace = part | u8x16::splat(0x20);
            is(brace, b'{') | is(brace, b'}') | is(part, b':') | is(part, b',')
        };
        // Most blocks have neither: one look for all of their bytes says so.
        let is_rare = |part: u8x16| is(part, b'\\') | is_control(part);
        let rare = is_rare(parts[0]) | is_rare(parts[1]) | is_rare(parts[2]) | is_rare(parts[3]);
        let (backslashes, controls) = match rare.to_bitmask() {
            0 => (0, 0),
            _ => (mask(&|part| is(part, b'\\')), mask(&is_control)),
        };
        Self {
            quotes: mask(&|part| is(part, b'"')),
            backslashes,
            controls,
            spaces: mask(&|part| is(part, b' ')) | controls,
            operators: mask(&is_operator),
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
#[inline]
fn ones_between(mut bits: u64) -> u64 {
    for shift in [1, 2, 4, 8, 16, 32] {
        bits ^= bits << shift;
    }
    bits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(text: &str) -> Vec<usize> {
        let mut structure = Structure::new(text.as_bytes());
        std::iter::from_fn(|| structure.next())
            .map(|(at, _)| at)
            .collect()
    }

    fn is_sound(text: &str) -> bool {
        let mut structure = Structure::new(text.as_bytes());
        while structure.next().is_some() {}
        structure.is_sound()
    }

    #[test]
    fn places_are_found_wherever_a_block_ends() {
        for before in 0..130 {
            let space = " ".repeat(before);
            let text = format!(r#"{space}{{"a\"b" :"c\\",["d{{}}[]:,é" ,-1.5e3,true]}}"#);
            let begins = [
                r#"{"#, r#""a"#, r#":"#, r#""c"#, r#",["#, r#"["d"#, r#""d"#, r#",-"#, "-1", ",t", "true",
            ];
            let mut expected: Vec<usize> = begins.iter().map(|begin| text.find(begin).unwrap()).collect();
            expected.extend([text.len() - 2, text.len() - 1]);
            assert_eq!(places(&text), expected, "{text}");
            assert!(is_sound(&text));
        }
    }

    #[test]
    fn strings_are_held_to_the_grammar_wherever_a_block_ends() {
        let good = [r#""\\\"\u00e9\uD83D\uDE00\n""#, "\t\"x\"\r\n "];
        let bad = [
            r#""x"#,
            r#""x\""#,
            r#""\x""#,
            r#""\u12""#,
            r#""\uD83D""#,
            r#""\uDE00""#,
            "\"\t\"",
            "\u{1}",
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
}
