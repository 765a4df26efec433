//! The validating pass: the whole grammar in one loop over the bytes, without recursion.
//!
//! A [`Visitor`] is told of members as they are read. Each open object or array has a [`Place`], a number that the
//! visitor gives it and reads back for its members; the elements of an array have the place of the array, so that a
//! place stands for an element path. The pass itself does not know what places mean.

use super::{
    Fault, Problem, is_space,
    keys::{Key, Keys},
    number::scan_number,
    string::{Quoted, scan_string},
};

/// What the visitor calls an open object or array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place(pub(crate) u8);

/// Object or array; `Text` stands for what is outside of all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Object,
    Array,
}

/// Is told what a pass meets, in the order of the text, up to the first fault.
pub(crate) trait Visitor {
    /// Whether only the names of the text's own members matter: those further in are neither told nor compared.
    const ROOT_NAMES_ONLY: bool = false;

    /// The text's value is an object or an array.
    fn root(&mut self, kind: Kind) -> Place;
    /// A member's value, or an element of such an array, opens at `at`; returns the place that it gets.
    fn open(&mut self, place: Place, key: Key, kind: Kind, at: usize) -> Place;
    /// An object or array ended just before `end`.
    fn close(&mut self, place: Place, end: usize);
    /// A member of an object is a string.
    fn string(&mut self, place: Place, key: Key, value: Quoted);
    /// A member of an object is a number, `true`, `false` or `null`.
    fn scalar(&mut self, place: Place, key: Key);
}

/// Memory that passes use again.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    frames: Vec<Frame>,
    keys: Keys,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    kind: Kind,
    place: Place,
    keys_from: u32,
}

/// Holds `text` to the grammar and tells `visitor` what it holds.
///
/// Stricter than RFC 8259 in what it leaves open: no duplicate names at any depth, no number beyond a double's range,
/// no half surrogate pair, at most `depth_max` objects and arrays within one another.
///
/// # Errors
/// The first fault; a duplicate name in an object of many members is found at the object's end.
pub(crate) fn scan<V: Visitor>(
    text: &str,
    depth_max: usize,
    scratch: &mut Scratch,
    visitor: &mut V,
) -> Result<(), Fault> {
    scratch.frames.clear();
    scratch.keys.clear();
    let frame = Frame {
        kind: Kind::Text,
        place: Place(0),
        keys_from: 0,
    };
    let key = Key {
        fingerprint: 0,
        start: 0,
        end: 0,
    };
    let bytes = text.as_bytes();
    let Scratch { frames, keys } = scratch;
    Pass {
        text,
        bytes,
        at: 0,
        depth_max,
        frame,
        key,
        frames,
        keys,
        visitor,
    }
    .run()
}

struct Pass<'s, V> {
    text: &'s str,
    bytes: &'s [u8],
    at: usize,
    depth_max: usize,
    /// The innermost open object or array; those around it are in `frames`.
    frame: Frame,
    /// The name of the member whose value is read next.
    key: Key,
    frames: &'s mut Vec<Frame>,
    keys: &'s mut Keys,
    visitor: &'s mut V,
}

/// What follows what has just been read.
#[derive(PartialEq, Eq)]
enum Next {
    Value,
    AfterValue,
    End,
}

impl<V: Visitor> Pass<'_, V> {
    #[inline]
    fn run(&mut self) -> Result<(), Fault> {
        self.skip_space();
        if self.at == self.bytes.len() {
            return Err(Fault::new(0, Problem::Empty));
        }
        loop {
            let mut next = self.value()?;
            while next == Next::AfterValue {
                next = self.after_value()?;
            }
            if next == Next::End {
                return Ok(());
            }
        }
    }

    #[inline]
    fn value(&mut self) -> Result<Next, Fault> {
        match self.bytes.get(self.at) {
            Some(b'"') => {
                let value = scan_string(self.bytes, self.at + 1)?;
                self.at = value.end + 1;
                if self.frame.kind == Kind::Object {
                    self.visitor.string(self.frame.place, self.key, value);
                }
                return Ok(Next::AfterValue);
            }
            Some(b'{') => return self.open_object(),
            Some(b'[') => return self.open_array(),
            Some(b'-' | b'0'..=b'9') => self.at = scan_number(self.bytes, self.at)?,
            Some(b't') => self.literal(b"true")?,
            Some(b'f') => self.literal(b"false")?,
            Some(b'n') => self.literal(b"null")?,
            Some(_) => return Err(Fault::new(self.at, Problem::NoValue)),
            None => {
                return Err(Fault::new(self.at, Problem::NoValueAtEnd));
            }
        }
        if self.frame.kind == Kind::Object {
            self.visitor.scalar(self.frame.place, self.key);
        }
        Ok(Next::AfterValue)
    }

    #[inline]
    fn after_value(&mut self) -> Result<Next, Fault> {
        self.skip_space();
        match (self.bytes.get(self.at), self.frame.kind) {
            (Some(b','), Kind::Object) => {
                self.at += 1;
                self.skip_space();
                self.member_name()?;
                Ok(Next::Value)
            }
            (Some(b','), Kind::Array) => {
                self.at += 1;
                self.skip_space();
                Ok(Next::Value)
            }
            (Some(b'}'), Kind::Object) => {
                if !V::ROOT_NAMES_ONLY || self.frames.len() == 1 {
                    self.keys.close(self.text, self.frame.keys_from as usize)?;
                }
                self.close();
                Ok(Next::AfterValue)
            }
            (Some(b']'), Kind::Array) => {
                self.close();
                Ok(Next::AfterValue)
            }
            (None, Kind::Text) => Ok(Next::End),
            _ => Err(self.unexpected()),
        }
    }

    #[inline]
    fn open_object(&mut self) -> Result<Next, Fault> {
        self.open(Kind::Object)?;
        self.skip_space();
        if self.bytes.get(self.at) == Some(&b'}') {
            self.close();
            return Ok(Next::AfterValue);
        }
        self.member_name()?;
        Ok(Next::Value)
    }

    #[inline]
    fn open_array(&mut self) -> Result<Next, Fault> {
        self.open(Kind::Array)?;
        self.skip_space();
        if self.bytes.get(self.at) == Some(&b']') {
            self.close();
            return Ok(Next::AfterValue);
        }
        Ok(Next::Value)
    }

    #[inline]
    fn open(&mut self, kind: Kind) -> Result<(), Fault> {
        if self.frames.len() >= self.depth_max {
            return Err(Fault::new(self.at, Problem::TooDeep));
        }
        let place = match self.frame.kind {
            Kind::Text => self.visitor.root(kind),
            Kind::Object => self.visitor.open(self.frame.place, self.key, kind, self.at),
            Kind::Array => self.frame.place,
        };
        self.frames.push(self.frame);
        self.frame = Frame {
            kind,
            place,
            keys_from: self.keys.len() as u32,
        };
        self.at += 1;
        Ok(())
    }

    #[inline]
    fn close(&mut self) {
        self.at += 1;
        self.visitor.close(self.frame.place, self.at);
        if let Some(outer) = self.frames.pop() {
            self.frame = outer;
        }
    }

    /// Reads a member's name and the colon after it.
    #[inline]
    fn member_name(&mut self) -> Result<(), Fault> {
        if self.bytes.get(self.at) != Some(&b'"') {
            return Err(Fault::new(self.at, Problem::NoName));
        }
        let name = scan_string(self.bytes, self.at + 1)?;
        // Within the root's members one frame is open around this one: the text's.
        if !V::ROOT_NAMES_ONLY || self.frames.len() == 1 {
            self.key = Key::new(self.text, name.start, name.end, name.escaped);
            self.keys
                .add(self.text, self.frame.keys_from as usize, self.key)?;
        }
        self.at = name.end + 1;
        self.skip_space();
        if self.bytes.get(self.at) != Some(&b':') {
            return Err(Fault::new(self.at, Problem::NoColon));
        }
        self.at += 1;
        self.skip_space();
        Ok(())
    }

    #[inline]
    fn literal(&mut self, word: &[u8]) -> Result<(), Fault> {
        let end = self.at + word.len();
        if self.bytes.get(self.at..end) != Some(word) {
            return Err(Fault::new(self.at, Problem::NoValue));
        }
        self.at = end;
        Ok(())
    }

    #[inline]
    fn skip_space(&mut self) {
        while self.bytes.get(self.at).is_some_and(|&byte| is_space(byte)) {
            self.at += 1;
        }
    }

    #[cold]
    fn unexpected(&self) -> Fault {
        let at = self.at;
        match (self.frame.kind, at == self.bytes.len()) {
            (Kind::Text, _) => Fault::new(at, Problem::Trailing),
            (Kind::Object, true) => Fault::new(at, Problem::EndInObject),
            (Kind::Object, false) => Fault::new(at, Problem::NoObjectEnd),
            (Kind::Array, true) => Fault::new(at, Problem::EndInArray),
            (Kind::Array, false) => Fault::new(at, Problem::NoArrayEnd),
        }
    }
}
