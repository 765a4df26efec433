//! A cursor over the ASCII text of a date: fixed-width numbers and literal bytes.

/// What is left to read of a text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text<'a>(pub(super) &'a [u8]);

impl<'a> Text<'a> {
    /// Takes `digits` decimal digits.
    pub(super) fn number(&mut self, digits: usize) -> Option<i64> {
        let (taken, rest) = self.0.split_at_checked(digits)?;
        let mut value = 0;
        for &byte in taken {
            value = value * 10 + i64::from(decimal(byte)?);
        }
        self.0 = rest;
        Some(value)
    }

    /// Takes exactly these bytes.
    pub(super) fn literal(&mut self, expected: &[u8]) -> Option<()> {
        self.0 = self.0.strip_prefix(expected)?;
        Some(())
    }

    /// Takes the one of these names that comes next and tells its position.
    pub(super) fn one_of(&mut self, names: &[&str]) -> Option<usize> {
        let found = names
            .iter()
            .position(|name| self.0.starts_with(name.as_bytes()))?;
        self.literal(names[found].as_bytes())?;
        Some(found)
    }

    /// Takes all decimal digits that come next.
    pub(super) fn digits(&mut self) -> &'a [u8] {
        let count = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        taken
    }

    /// Holds if everything was taken.
    pub(super) fn end(self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

fn decimal(byte: u8) -> Option<u8> {
    byte.is_ascii_digit().then(|| byte - b'0')
}
