//! Writing JSON text without a tree: every value is appended to a byte buffer that is used again.
//!
//! Main types: [`Text`], the lines of one resource type, and [`Sheets`], one [`Text`] per type. Strings are written as
//! they are: all texts come from this module's tables, which hold nothing that JSON must escape (a test parses every line).

use super::codes::Code;
use super::date::Day;
use super::kind::{KINDS, Kind};
use super::uuid::Uuid;

/// NDJSON lines of one resource type; methods append and return `self`, so that a resource reads as one chain.
///
/// Methods with a `name` write a member with its leading comma.
#[derive(Debug, Default)]
pub(super) struct Text {
    bytes: Vec<u8>,
}

impl Text {
    /// What was written.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Forgets what was written and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Appends text as it is.
    #[inline]
    pub(super) fn raw(&mut self, text: &str) -> &mut Self {
        self.bytes.extend_from_slice(text.as_bytes());
        self
    }

    /// Appends ASCII bytes as they are.
    #[inline]
    pub(super) fn ascii(&mut self, text: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(text);
        self
    }

    /// Appends bytes in base64 (RFC 4648, with padding).
    pub(super) fn base64(&mut self, bytes: &[u8]) -> &mut Self {
        for group in bytes.chunks(3) {
            let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
            let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
            let mut digits = [b'='; 4];
            for (at, digit) in digits.iter_mut().enumerate().take(group.len() + 1) {
                *digit = BASE64[(bits >> (18 - 6 * at) & 63) as usize];
            }
            self.bytes.extend_from_slice(&digits);
        }
        self
    }

    /// Appends an id.
    #[inline]
    pub(super) fn id(&mut self, id: &Uuid) -> &mut Self {
        self.bytes.extend_from_slice(id.as_bytes());
        self
    }

    /// Appends a whole number.
    pub(super) fn number(&mut self, number: u64) -> &mut Self {
        self.padded(number, 1)
    }

    /// Appends a whole number with leading zeros up to `width` digits.
    pub(super) fn padded(&mut self, mut number: u64, width: usize) -> &mut Self {
        let mut digits = [b'0'; 20];
        let mut start = digits.len();
        while number > 0 || digits.len() - start < width {
            start -= 1;
            digits[start] = b'0' + (number % 10) as u8;
            number /= 10;
        }
        self.bytes.extend_from_slice(&digits[start..]);
        self
    }

    /// Appends `value / 10^places` with exactly `places` decimals, trailing zeros kept.
    pub(super) fn decimal(&mut self, value: i64, places: u32) -> &mut Self {
        if value < 0 {
            self.raw("-");
        }
        let unit = 10_u64.pow(places);
        self.number(value.unsigned_abs() / unit);
        if places > 0 {
            self.raw(".");
            self.padded(value.unsigned_abs() % unit, places as usize);
        }
        self
    }

    /// Appends `,"name":`.
    #[inline]
    pub(super) fn member(&mut self, name: &str) -> &mut Self {
        self.raw(",\"").raw(name).raw("\":")
    }

    /// Appends a string member.
    #[inline]
    pub(super) fn string(&mut self, name: &str, value: &str) -> &mut Self {
        self.member(name).raw("\"").raw(value).raw("\"")
    }

    /// Appends a `date` member.
    pub(super) fn date(&mut self, name: &str, day: Day) -> &mut Self {
        self.time(name, &day.text())
    }

    /// Appends a date or time member from its text.
    #[inline]
    pub(super) fn time(&mut self, name: &str, text: &[u8]) -> &mut Self {
        self.member(name).raw("\"").ascii(text).raw("\"")
    }

    /// Appends a `Period` member.
    pub(super) fn period(&mut self, name: &str, start: &[u8], end: &[u8]) -> &mut Self {
        self.member(name).raw("{\"start\":\"").ascii(start);
        self.raw("\",\"end\":\"").ascii(end).raw("\"}")
    }

    /// Appends a `Coding` value.
    #[inline]
    pub(super) fn coding(&mut self, code: &Code) -> &mut Self {
        self.raw("{\"system\":\"").raw(code.system);
        self.raw("\",\"code\":\"").raw(code.code);
        self.raw("\",\"display\":\"").raw(code.display).raw("\"}")
    }

    /// Appends a `CodeableConcept` value without text.
    #[inline]
    pub(super) fn coded(&mut self, code: &Code) -> &mut Self {
        self.raw("{\"coding\":[").coding(code).raw("]}")
    }

    /// Appends a `CodeableConcept` value with the code's display as text.
    #[inline]
    pub(super) fn concept_value(&mut self, code: &Code) -> &mut Self {
        self.raw("{\"coding\":[").coding(code);
        self.raw("],\"text\":\"").raw(code.display).raw("\"}")
    }

    /// Appends a `CodeableConcept` member with the code's display as text.
    #[inline]
    pub(super) fn concept(&mut self, name: &str, code: &Code) -> &mut Self {
        self.member(name).concept_value(code)
    }

    /// Appends a list member that holds one `CodeableConcept` with text.
    #[inline]
    pub(super) fn concepts(&mut self, name: &str, code: &Code) -> &mut Self {
        self.member(name).raw("[").concept_value(code).raw("]")
    }

    /// Appends a list member that holds one `CodeableConcept` without text.
    #[inline]
    pub(super) fn categories(&mut self, name: &str, code: &Code) -> &mut Self {
        self.member(name).raw("[").coded(code).raw("]")
    }

    /// Appends `Type/id`.
    #[inline]
    pub(super) fn target(&mut self, kind: Kind, id: &Uuid) -> &mut Self {
        self.raw(kind.name()).raw("/").id(id)
    }

    /// Appends a `Reference` value.
    #[inline]
    pub(super) fn reference_value(&mut self, kind: Kind, id: &Uuid) -> &mut Self {
        self.raw("{\"reference\":\"").target(kind, id).raw("\"}")
    }

    /// Appends a `Reference` value with its display.
    #[inline]
    pub(super) fn named_value(&mut self, kind: Kind, id: &Uuid, display: &str) -> &mut Self {
        self.raw("{\"reference\":\"").target(kind, id);
        self.raw("\",\"display\":\"").raw(display).raw("\"}")
    }

    /// Appends a `Reference` member.
    #[inline]
    pub(super) fn reference(&mut self, name: &str, kind: Kind, id: &Uuid) -> &mut Self {
        self.member(name).reference_value(kind, id)
    }

    /// Appends a `Reference` member with its display.
    #[inline]
    pub(super) fn named(&mut self, name: &str, kind: Kind, id: &Uuid, display: &str) -> &mut Self {
        self.member(name).named_value(kind, id, display)
    }

    /// Appends a UCUM `Quantity` value.
    pub(super) fn quantity(&mut self, value: i64, places: u32, unit: &str) -> &mut Self {
        self.raw("{\"value\":").decimal(value, places);
        self.raw(",\"unit\":\"").raw(unit);
        self.raw("\",\"system\":\"http://unitsofmeasure.org\",\"code\":\"");
        self.raw(unit).raw("\"}")
    }

    /// Appends a US dollar `Money` member.
    pub(super) fn money(&mut self, name: &str, cents: i64) -> &mut Self {
        self.member(name).raw("{\"value\":").decimal(cents, 2);
        self.raw(",\"currency\":\"USD\"}")
    }

    /// Appends `meta` with one profile.
    #[inline]
    pub(super) fn profile(&mut self, url: &str) -> &mut Self {
        self.raw(",\"meta\":{\"profile\":[\"").raw(url).raw("\"]}")
    }

    /// Ends the resource and its line.
    #[inline]
    pub(super) fn finish(&mut self) {
        self.raw("}\n");
    }
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The lines made so far, by type, with their number.
#[derive(Debug, Default)]
pub(super) struct Sheets {
    texts: [Text; KINDS],
    resources: [u64; KINDS],
}

impl Sheets {
    /// Begins a resource: its type and id are written.
    #[inline]
    pub(super) fn begin(&mut self, kind: Kind, id: &Uuid) -> &mut Text {
        let text = self.begin_named(kind);
        text.id(id).raw("\"")
    }

    /// Begins a resource up to the opening quote of its id.
    #[inline]
    pub(super) fn begin_named(&mut self, kind: Kind) -> &mut Text {
        self.resources[kind as usize] += 1;
        let text = &mut self.texts[kind as usize];
        text.raw("{\"resourceType\":\"").raw(kind.name());
        text.raw("\",\"id\":\"")
    }

    /// Goes on with the resource that was begun last.
    #[inline]
    pub(super) fn open(&mut self, kind: Kind) -> &mut Text {
        &mut self.texts[kind as usize]
    }

    /// The lines of each type, by [`Kind`] as a number.
    pub(super) fn texts(&self) -> &[Text; KINDS] {
        &self.texts
    }

    /// The number of lines of each type, by [`Kind`] as a number.
    pub(super) fn resources(&self) -> &[u64; KINDS] {
        &self.resources
    }

    /// Forgets the lines and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.texts.iter_mut().for_each(Text::clear);
        self.resources = [0; KINDS];
    }
}

#[cfg(test)]
mod tests {
    use super::Text;

    #[test]
    fn base64_follows_the_vectors_of_rfc_4648() {
        for (plain, coded) in [
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
        ] {
            let mut text = Text::default();
            text.base64(plain.as_bytes());
            assert_eq!(text.as_bytes(), coded.as_bytes());
        }
    }

    #[test]
    fn decimals_keep_their_trailing_zeros() {
        let mut text = Text::default();
        text.decimal(100, 2).raw(" ").decimal(-5, 1).raw(" ");
        text.decimal(0, 2).raw(" ").decimal(1050, 3).raw(" ");
        text.decimal(42, 0);
        assert_eq!(text.as_bytes(), b"1.00 -0.5 0.00 1.050 42");
    }
}
