//! The text of a configuration: [`Value`], read from JSON, from JSON5, or from the object of a script (`module.exports = {…};`). A script is
//! read, not run: what is code in it is an error that tells where it is. Products of whole numbers are worked out.

use json5::{ErrorCode, Position};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;

/// The longest text, in bytes.
const BYTES_MAX: usize = 1 << 20;

/// The most objects and lists. They may lie in one another, and reading goes down into them by calls.
const BRACKETS_MAX: usize = 500;

/// A value as JavaScript has it. It may be a secret, so there is no `Debug`.
pub(super) enum Value {
    Null,
    Bool(bool),
    /// Infinity too.
    Number(f64),
    Text(String),
    List(Vec<Value>),
    /// Of a name that is there twice, the last one counts.
    Object(BTreeMap<String, Value>),
}

/// What is wrong with a text, with its line and column.
#[derive(Debug, PartialEq)]
pub(super) struct Malformed(pub(super) String);

impl Malformed {
    fn at(position: Position, problem: impl fmt::Display) -> Self {
        Self(format!("{position}: {problem}"))
    }
}

/// Reads the object that a text is, or that a script exports.
pub(super) fn read(text: &str) -> Result<BTreeMap<String, Value>, Malformed> {
    if text.len() > BYTES_MAX {
        return Err(Malformed(format!("it is longer than {BYTES_MAX} bytes")));
    }
    if text.bytes().filter(|byte| b"{[".contains(byte)).count() > BRACKETS_MAX {
        let problem = format!("it has more than {BRACKETS_MAX} objects and lists");
        return Err(Malformed(problem));
    }
    let start = text.len() - exported(text).len();
    if !text[start..].starts_with('{') {
        let position = Position::from_offset(start, text);
        let problem = "here the object is expected: `{`, or `module.exports = {` before it";
        return Err(Malformed::at(position, problem));
    }
    // Lines and columns stay what they are.
    let blank = text[..start]
        .chars()
        .map(|c| if is_line_end(c) { c } else { ' ' });
    let object = blank.collect::<String>() + &with_products(&text[start..]);
    match parse(&object) {
        Err(error) if error.code() == Some(ErrorCode::TrailingCharacters) => {
            let end = error.position().and_then(|position| offset(position, &object));
            let tail = end.and_then(|end| object[end..].strip_prefix(';').map(|tail| (end, tail)));
            match tail {
                Some((end, tail)) if without_blanks(tail).is_empty() => parse(&object[..end]),
                _ => Err(error),
            }
        }
        read => read,
    }
    .map_err(|error| {
        let position = error.position();
        let position = position.unwrap_or_else(|| Position::from_offset(object.len(), &object));
        match error.code() {
            Some(code) => Malformed::at(position, code),
            // Another message could show what is there.
            None => Malformed::at(position, "this is no value"),
        }
    })
}

fn parse(text: &str) -> Result<BTreeMap<String, Value>, json5::Error> {
    json5::from_str(text)
}

/// What comes behind `module.exports =` or `export default`, or the text from its first token on.
fn exported(text: &str) -> &str {
    let mut rest = without_blanks(text);
    for strict in ["'use strict'", "\"use strict\""] {
        if let Some(behind) = rest.strip_prefix(strict) {
            let behind = without_blanks(behind);
            rest = without_blanks(behind.strip_prefix(';').unwrap_or(behind));
        }
    }
    let common = rest.strip_prefix("module.exports").map(without_blanks);
    let common = common.and_then(|behind| behind.strip_prefix('='));
    let module = rest.strip_prefix("export default");
    without_blanks(common.or(module).unwrap_or(rest))
}

/// The text behind white space and comments at its beginning.
fn without_blanks(text: &str) -> &str {
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
        let behind = match (rest.strip_prefix("//"), rest.strip_prefix("/*")) {
            (Some(comment), _) => comment.find(['\n', '\r']).map_or("", |end| &comment[end..]),
            (None, Some(comment)) => match comment.split_once("*/") {
                Some((_, behind)) => behind,
                None => return rest,
            },
            (None, None) => return rest,
        };
        rest = behind;
    }
}

/// Works out products of whole numbers, which the template of bulk-data-client has its users write (`5 * 1024 * 1024`), and no more. They
/// get as much room as there was.
fn with_products(text: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' | '\'' => quoted(rest, first),
            '/' => rest.len() - without_blanks(rest).len(),
            _ => word(rest),
        };
        if let Some((length, value)) = product(rest, length) {
            out.push_str(&format!("{value:<length$}"));
            rest = &rest[length..];
        } else {
            let (copied, behind) = rest.split_at(length.max(first.len_utf8()));
            out.push_str(copied);
            rest = behind;
        }
    }
    out
}

/// How long the text in quotes is that this begins with.
fn quoted(text: &str, quote: char) -> usize {
    let mut is_escaped = true;
    let end = text.char_indices().find(|(_, c)| {
        let ends = !is_escaped && *c == quote;
        is_escaped = !is_escaped && *c == '\\';
        ends
    });
    end.map_or(text.len(), |(end, quote)| end + quote.len_utf8())
}

/// How long the name or number is that this begins with.
fn word(text: &str) -> usize {
    let end = text.find(|c: char| !c.is_alphanumeric() && !"_$.".contains(c));
    end.unwrap_or(text.len())
}

/// The product that a text begins with, and its length; the first factor is so long.
fn product(text: &str, first: usize) -> Option<(usize, u64)> {
    let factor = |text: &str| match text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => text.parse::<u64>().ok(),
        false => None,
    };
    let (mut length, mut value, mut is_product) = (first, factor(&text[..first])?, false);
    while let Some(behind) = text[length..].trim_start().strip_prefix('*') {
        let behind = behind.trim_start();
        let digits = word(behind);
        let Some(next) = factor(&behind[..digits]) else {
            break;
        };
        value = value.checked_mul(next)?;
        length = text.len() - behind.len() + digits;
        is_product = true;
    }
    is_product.then_some((length, value))
}

/// Where in a text a line and column are.
fn offset(position: Position, text: &str) -> Option<usize> {
    let (mut line, mut column) = (0, 0);
    let mut characters = text.char_indices().peekable();
    while let Some((offset, c)) = characters.next() {
        if (line, column) == (position.line, position.column) {
            return Some(offset);
        }
        let is_pair = c == '\r' && characters.next_if(|(_, next)| *next == '\n').is_some();
        match is_pair || is_line_end(c) {
            true => (line, column) = (line + 1, 0),
            false => column += 1,
        }
    }
    None
}

/// Whether lines end here, for JavaScript.
fn is_line_end(c: char) -> bool {
    ['\n', '\r', '\u{2028}', '\u{2029}'].contains(&c)
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Values)
    }
}

struct Values;

impl<'de> Visitor<'de> for Values {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value as f64))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Number(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = from.next_element()? {
            values.push(value);
        }
        Ok(Value::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut values = BTreeMap::new();
        while let Some((name, value)) = from.next_entry()? {
            values.insert(name, value);
        }
        Ok(Value::Object(values))
    }
}

/// The largest number up to which JavaScript has all whole ones.
const WHOLE_MAX: f64 = 9_007_199_254_740_991.0;

impl Value {
    /// Whether it says nothing: `null`, `false`, an empty text, an empty list.
    pub(super) fn is_unset(&self) -> bool {
        match self {
            Self::Null | Self::Bool(false) => true,
            Self::Text(text) => text.trim().is_empty(),
            Self::List(values) => values.is_empty(),
            Self::Object(values) => values.is_empty(),
            Self::Bool(true) | Self::Number(_) => false,
        }
    }

    pub(super) fn text(&self) -> Result<String, String> {
        match self {
            Self::Text(text) => Ok(text.trim().to_owned()),
            Self::Number(number) if number.is_finite() => Ok(number.to_string()),
            _ => Err("a text is wanted".to_owned()),
        }
    }

    /// The texts of a list, or those between the commas of a text.
    pub(super) fn texts(&self) -> Result<Vec<String>, String> {
        let texts = match self {
            Self::List(values) => values.iter().map(Self::text).collect::<Result<Vec<_>, _>>()?,
            one => one
                .text()?
                .split(',')
                .map(|text| text.trim().to_owned())
                .collect(),
        };
        Ok(texts.into_iter().filter(|text| !text.is_empty()).collect())
    }

    pub(super) fn switch(&self) -> Result<bool, String> {
        match self {
            Self::Bool(value) => Ok(*value),
            _ => Err("true or false is wanted".to_owned()),
        }
    }

    /// A whole number that is not smaller.
    pub(super) fn whole(&self, min: u64) -> Result<u64, String> {
        let wrong = || format!("a whole number is wanted, {min} or more");
        match self {
            Self::Number(number) if number.fract() == 0.0 && (0.0..=WHOLE_MAX).contains(number) => {
                let number = *number as u64;
                (number >= min).then_some(number).ok_or_else(wrong)
            }
            _ => Err(wrong()),
        }
    }

    /// As JSON.
    pub(super) fn json(&self) -> serde_json::Value {
        match self {
            Self::Null => serde_json::Value::Null,
            Self::Bool(value) => (*value).into(),
            Self::Number(number) => (*number).into(),
            Self::Text(text) => text.as_str().into(),
            Self::List(values) => values.iter().map(Self::json).collect(),
            Self::Object(values) => {
                let members = values.iter().map(|(name, value)| (name.clone(), value.json()));
                serde_json::Value::Object(members.collect())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Result<String, String> {
        match read(text) {
            Ok(object) => Ok(Value::Object(object).json().to_string()),
            Err(Malformed(problem)) => Err(problem),
        }
    }

    #[test]
    fn json_and_the_objects_of_scripts_are_read() {
        for text in [
            r#"{"a": "x", "b": [true, null]}"#,
            "{a: 'x', b: [true, null,],}",
            "module.exports = {a: 'x', b: [true, null]};",
            "module.exports={a:'x',b:[true,null]}\n;\n// the end; }\n",
            "/** }; {\n * @type {import('..')}\n */\n'use strict';\n module.exports = /* here */ {\n// one\na: \"x\", b: [true, null]}",
            "\u{feff}// ;\nexport default {'a': 'x', /* b */ b: [true, null]} /* } */ ;",
            "{a: '}; // x', a: 'x', b: [true, null]}",
        ] {
            assert_eq!(json(text).unwrap(), r#"{"a":"x","b":[true,null]}"#, "{text}");
        }
    }

    #[test]
    fn what_is_no_object_or_code_is_an_error_with_its_line_and_column() {
        for (text, place) in [
            ("", "line 1 column 1"),
            ("{", "line 1 column 1"),
            ("[1]", "line 1 column 1"),
            ("// x\nconst a = 5\nmodule.exports = {}", "line 2 column 1"),
            ("module.exports = config", "line 1 column 18"),
            ("module.exports = {\n  a: 5 + 1024\n}", "line 2 column 8"),
            ("module.exports = {\n  a: 5 * size\n}", "line 2 column 8"),
            ("{a: 5 ** 2}", "line 1 column 7"),
            ("{a: 5 * 2, b: 5 / 2}", "line 1 column 18"),
            ("module.exports = {\n  a: process.env.KEY\n}", "line 2 column 6"),
            ("{\r\n  a: `text`\r\n}", "line 2 column 6"),
            ("{a: () => 5}", "line 1 column 5"),
            ("{a: /^x/}", "line 1 column 6"),
            ("{a: require('x')}", "line 1 column 5"),
            ("{...defaults}", "line 1 column 2"),
            ("{a: 1}; x()", "line 1 column 7"),
            ("{a: 1};;", "line 1 column 7"),
            ("{a: 'x\n'}", "line 1 column 7"),
            ("/* {a: 1}", "line 1 column 1"),
            ("{a: 1.2.3}", "line 1 column 5"),
            ("{a: '\\ud800'}", "line 1 column "),
        ] {
            let problem = json(text).unwrap_err();
            assert!(problem.starts_with(place), "{text}: {problem}");
            assert!(!problem.contains("1.2.3"), "{problem}");
        }
    }

    #[test]
    fn products_of_whole_numbers_are_worked_out_and_nothing_else() {
        for (text, value) in [
            ("5 * 1024 * 1024", "5242880.0"),
            ("9*9", "81.0"),
            ("/* 2*2 */ 3\n* 3", "9.0"),
            ("'5 * 1024'", "\"5 * 1024\""),
            ("\"it's 2*2, \\\" 2*2\"", "\"it's 2*2, \\\" 2*2\""),
            ("{x5: 2 * 3}", "{\"x5\":6.0}"),
        ] {
            assert_eq!(
                json(&format!("{{a: {text}}}")).unwrap(),
                format!("{{\"a\":{value}}}")
            );
        }
        for text in [
            "1.5 * 2",
            "0x2 * 2",
            "x2 * 2",
            "5 * ",
            "99999999999 * 99999999999",
            "'",
        ] {
            assert!(json(&format!("{{a: {text}}}")).is_err(), "{text}");
        }
    }

    #[test]
    fn no_text_is_too_deep_or_too_long_or_ends_the_program() {
        assert!(json(&"[".repeat(1 << 19)).unwrap_err().contains("500"));
        assert!(json(&format!("{{a: {}", "[".repeat(BRACKETS_MAX - 1))).is_err());
        assert!(json(&" ".repeat(BYTES_MAX + 1)).unwrap_err().contains("longer"));
        let text = "\u{feff}'use strict'; module.exports = {a: '\\u00e9\u{2028}é', b: [0x1F, -1.5e3, Infinity, 2 * 3], /* é */ c: {}};";
        for (start, _) in text.char_indices() {
            for (end, _) in text.char_indices().filter(|(end, _)| *end >= start) {
                let _ = json(&text[start..end]);
            }
        }
        let numbers = read(text).ok().unwrap().remove("b").unwrap();
        let Value::List(numbers) = numbers else {
            panic!("it is a list");
        };
        assert_eq!(numbers[0].whole(1), Ok(31));
        assert!(numbers[1].whole(0).is_err() && numbers[2].whole(0).is_err());
    }
}
