//! A quick look that rules most resources out: a text that must be in all that match, and is not there.

use memchr::{memchr, memmem::Finder};

use super::{predicate::Predicate, reference::ReferenceValue};

/// More texts than this are not looked for, for each costs a pass over the resource.
const TEXTS_MAX: usize = 3;
/// Shorter texts are found nearly everywhere.
const TEXT_BYTES_MIN: usize = 3;

/// Texts of which one is in each resource that matches, unless it is written with escapes.
#[derive(Debug, Clone)]
pub(super) struct Screen {
    texts: Vec<Finder<'static>>,
}

impl Screen {
    /// The texts that a clause needs; `None` if it can do without any.
    pub(super) fn of(predicate: &Predicate) -> Option<Self> {
        let texts: Vec<&str> = match predicate {
            Predicate::Ids(ids) => ids.iter().map(|id| Some(id.as_str())).collect::<Option<_>>()?,
            Predicate::Token(tokens) => tokens
                .iter()
                .map(|token| token.code.as_deref().map(without_letters))
                .collect::<Option<_>>()?,
            Predicate::Reference(references) => references
                .iter()
                .map(|reference| match reference {
                    ReferenceValue::Id(text)
                    | ReferenceValue::Text(text)
                    | ReferenceValue::Resource { id: text, .. } => text.as_str(),
                })
                .collect(),
            _ => return None,
        };
        let useful =
            (1..=TEXTS_MAX).contains(&texts.len()) && texts.iter().all(|text| text.len() >= TEXT_BYTES_MIN);
        useful.then(|| Self {
            texts: texts.iter().map(|text| Finder::new(text).into_owned()).collect(),
        })
    }

    /// Whether a resource cannot match.
    pub(super) fn excludes(&self, body: &[u8]) -> bool {
        let found = self.texts.iter().any(|text| text.find(body).is_some());
        // An escape could hide a text.
        !found && memchr(b'\\', body).is_none()
    }
}

/// The longest piece without letters: those may be written in another case.
fn without_letters(text: &str) -> &str {
    let pieces = text.split(|letter: char| letter.is_ascii_alphabetic());
    pieces.max_by_key(|piece| piece.len()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::without_letters;

    #[test]
    fn the_longest_piece_without_letters_is_looked_for() {
        assert_eq!(without_letters("8302-2"), "8302-2");
        assert_eq!(without_letters("E11.9"), "11.9");
        assert_eq!(without_letters("a12b345"), "345");
        assert_eq!(without_letters("final"), "");
        assert_eq!(without_letters(""), "");
    }
}
