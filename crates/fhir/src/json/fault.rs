//! Why a text is refused: small, so that the hot path can carry it in a register.

/// What kind of rule a text breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FaultKind {
    /// The grammar of RFC 8259, or a number that no double can hold.
    Grammar,
    /// Something follows the value.
    Trailing,
    /// An object has two members of the same name.
    DuplicateKey,
    /// Objects and arrays lie deeper within one another than allowed.
    Depth,
}

/// Where and why a text is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    at: u32,
    problem: Problem,
}

impl Fault {
    /// The problem at byte `at` of a text of less than 4 GiB.
    #[inline]
    pub(crate) fn new(at: usize, problem: Problem) -> Self {
        Self {
            at: at as u32,
            problem,
        }
    }

    /// The byte at which the rule is broken.
    pub(crate) fn at(self) -> usize {
        self.at as usize
    }

    /// The rule that is broken.
    pub(crate) fn kind(self) -> FaultKind {
        match self.problem {
            Problem::Trailing => FaultKind::Trailing,
            Problem::NameTwice => FaultKind::DuplicateKey,
            Problem::TooDeep => FaultKind::Depth,
            _ => FaultKind::Grammar,
        }
    }

    /// The problem in words, without any of the text.
    pub(crate) fn message(self) -> &'static str {
        match self.problem {
            Problem::Empty => "the text is empty",
            Problem::NoValue => "a value was expected",
            Problem::NoValueAtEnd => "the text ends where a value was expected",
            Problem::NoName => "a member's name was expected",
            Problem::NoColon => "a colon was expected after a member's name",
            Problem::NoObjectEnd => "a comma or the object's end was expected",
            Problem::NoArrayEnd => "a comma or the array's end was expected",
            Problem::EndInObject => "the text ends inside an object",
            Problem::EndInArray => "the text ends inside an array",
            Problem::EndInString => "the text ends inside a string",
            Problem::Control => "a control character stands unescaped in a string",
            Problem::Escape => "a string has an unknown escape",
            Problem::HexDigits => "a \\u escape lacks four hexadecimal digits",
            Problem::HalfPair => "a string has half a surrogate pair",
            Problem::NoDigit => "a number lacks a digit",
            Problem::LeadingZero => "a number has a leading zero",
            Problem::OutOfRange => "a number is out of range",
            Problem::Trailing => "something follows the value",
            Problem::NameTwice => "an object has two members of the same name",
            Problem::TooDeep => "objects and arrays are nested too deeply",
        }
    }
}

/// What is wrong; [`Fault::message`] says it in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    Empty,
    NoValue,
    NoValueAtEnd,
    NoName,
    NoColon,
    NoObjectEnd,
    NoArrayEnd,
    EndInObject,
    EndInArray,
    EndInString,
    Control,
    Escape,
    HexDigits,
    HalfPair,
    NoDigit,
    LeadingZero,
    OutOfRange,
    Trailing,
    NameTwice,
    TooDeep,
}
