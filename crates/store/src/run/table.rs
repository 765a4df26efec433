//! The row table of a block: what is known of each line beside its text, in columns.
//!
//! A column that is the same for all rows, as most are, costs three bytes a block. An owner is not repeated either where
//! its text stands in the body: the table gives the place.
//!
//! | column | value |
//! |---|---|
//! | id place | offset of the id in the body |
//! | id length | bytes |
//! | splice | zigzag(place − end of the id) · 4 + form |
//! | commit | 0 = the run's own, n = the footer's sequence number n − 1 |
//! | owners | count, then for each: rows · 8 + how it is given (`OWNER_…`), and what that takes: text, or place in its first row's body |

use super::format::{Cursor, push_varint, unzigzag, zigzag};
use fhirhose_fhir::meta::{Splice, SpliceForm};
use memchr::memmem;

const CONSTANT: u8 = 0;
const EACH: u8 = 1;

/// The rows have no owner.
const OWNER_NONE: u64 = 0;
/// Length and text follow.
const OWNER_INLINE: u64 = 1;
/// Place and length follow.
const OWNER_PLACE: u64 = 2;
/// Place follows; the length is that of the last owner with a place.
const OWNER_SAME_LENGTH: u64 = 3;
/// Nothing follows; place and length are those of the last owner with a place.
const OWNER_SAME_PLACE: u64 = 4;

/// Gathers the rows of the block that is being filled.
#[derive(Debug, Default)]
pub(super) struct TableBuilder {
    id_at: Vec<u64>,
    id_len: Vec<u64>,
    splice: Vec<u64>,
    slot: Vec<u64>,
    /// The owners that are complete.
    owners: Vec<u8>,
    owner_count: u64,
    /// How the present owner is given, what that takes, and its rows so far.
    owner_mode: u64,
    owner_text: Vec<u8>,
    owner_rows: u64,
    /// The last place and length, zero before the first.
    last_place: (usize, usize),
}

impl TableBuilder {
    pub(super) fn rows(&self) -> usize {
        self.id_at.len()
    }

    /// Adds a row of the present owner; `slot` is the commit column's value.
    pub(super) fn push(&mut self, id_at: u32, id_len: u8, splice: Splice, slot: u32) {
        let gap = i64::from(splice.at) - i64::from(id_at) - i64::from(id_len);
        self.id_at.push(id_at.into());
        self.id_len.push(id_len.into());
        self.splice.push((zigzag(gap) << 2) | splice.form as u64);
        self.slot.push(slot.into());
        self.owner_rows += 1;
    }

    /// Begins the rows of another owner, of which `body` is the first.
    pub(super) fn begin_owner(&mut self, owner: Option<&str>, body: &[u8]) {
        self.end_owner();
        self.owner_count += 1;
        let Some(owner) = owner else {
            self.owner_mode = OWNER_NONE;
            return;
        };
        let Some(at) = self.place(owner.as_bytes(), body) else {
            self.owner_mode = OWNER_INLINE;
            push_varint(owner.len() as u64, &mut self.owner_text);
            return self.owner_text.extend_from_slice(owner.as_bytes());
        };
        let (last_at, last_length) = self.last_place;
        self.last_place = (at, owner.len());
        if self.last_place == (last_at, last_length) {
            self.owner_mode = OWNER_SAME_PLACE;
            return;
        }
        push_varint(at as u64, &mut self.owner_text);
        self.owner_mode = OWNER_SAME_LENGTH;
        if owner.len() != last_length {
            self.owner_mode = OWNER_PLACE;
            push_varint(owner.len() as u64, &mut self.owner_text);
        }
    }

    /// Appends the table to `out` and starts over.
    pub(super) fn finish_into(&mut self, out: &mut Vec<u8>) {
        self.end_owner();
        for column in [
            &mut self.id_at,
            &mut self.id_len,
            &mut self.splice,
            &mut self.slot,
        ] {
            push_column(column, out);
            column.clear();
        }
        push_varint(self.owner_count, out);
        out.extend_from_slice(&self.owners);
        self.owners.clear();
        self.owner_count = 0;
        self.last_place = (0, 0);
    }

    fn end_owner(&mut self) {
        if self.owner_rows > 0 {
            push_varint((self.owner_rows << 3) | self.owner_mode, &mut self.owners);
            self.owners.append(&mut self.owner_text);
            self.owner_rows = 0;
        }
    }

    /// Where the owner's text stands in the body; looks first where the last one stood.
    fn place(&self, owner: &[u8], body: &[u8]) -> Option<usize> {
        let last_at = self.last_place.0;
        if body.get(last_at..).is_some_and(|rest| rest.starts_with(owner)) {
            return Some(last_at);
        }
        memmem::find(body, owner)
    }
}

fn push_column(values: &[u64], out: &mut Vec<u8>) {
    let first = values.first().copied().unwrap_or(0);
    let mode = if values.iter().all(|&value| value == first) {
        CONSTANT
    } else {
        EACH
    };
    let values = if mode == CONSTANT {
        &values[..values.len().min(1)]
    } else {
        values
    };
    let mut bytes = Vec::with_capacity(values.len() * 2);
    for &value in values {
        push_varint(value, &mut bytes);
    }
    out.push(mode);
    push_varint(bytes.len() as u64, out);
    out.extend_from_slice(&bytes);
}

/// A table as it was read, ready to give row after row.
#[derive(Debug)]
pub(super) struct TableReader<'a> {
    id_at: Column<'a>,
    id_len: Column<'a>,
    splice: Column<'a>,
    slot: Column<'a>,
    owners: Cursor<'a>,
    owners_left: u64,
    last_place: (usize, usize),
}

/// Facts of a row, not yet held against its body.
#[derive(Debug, Clone, Copy)]
pub(super) struct TableRow {
    pub(super) id_at: u32,
    pub(super) id_len: u8,
    pub(super) splice: Splice,
    pub(super) slot: u32,
}

/// The next owner and how many rows it has, at least one.
#[derive(Debug, Clone, Copy)]
pub(super) struct TableOwner<'a> {
    pub(super) place: OwnerPlace<'a>,
    pub(super) rows: u64,
}

/// Where an owner's text is.
#[derive(Debug, Clone, Copy)]
pub(super) enum OwnerPlace<'a> {
    None,
    Inline(&'a [u8]),
    Body { at: usize, length: usize },
}

impl<'a> TableReader<'a> {
    pub(super) fn new(table: &'a [u8]) -> Option<Self> {
        let mut cursor = Cursor::new(table);
        Some(Self {
            id_at: Column::read(&mut cursor)?,
            id_len: Column::read(&mut cursor)?,
            splice: Column::read(&mut cursor)?,
            slot: Column::read(&mut cursor)?,
            owners_left: cursor.varint()?,
            owners: cursor,
            last_place: (0, 0),
        })
    }

    /// The next row; `None` when the table is damaged.
    #[inline]
    pub(super) fn row(&mut self) -> Option<TableRow> {
        let id_at = u32::try_from(self.id_at.next()?).ok()?;
        let id_len = u8::try_from(self.id_len.next()?).ok()?;
        let splice = self.splice.next()?;
        let form = match splice & 3 {
            0 => SpliceForm::NoMeta,
            1 => SpliceForm::EmptyMeta,
            2 => SpliceForm::Meta,
            _ => return None,
        };
        let id_end = i64::from(id_at) + i64::from(id_len);
        let at = u32::try_from(unzigzag(splice >> 2).checked_add(id_end)?).ok()?;
        let slot = u32::try_from(self.slot.next()?).ok()?;
        Some(TableRow {
            id_at,
            id_len,
            splice: Splice { at, form },
            slot,
        })
    }

    /// The next owner; `None` when there is none or the table is damaged.
    pub(super) fn owner(&mut self) -> Option<TableOwner<'a>> {
        self.owners_left = self.owners_left.checked_sub(1)?;
        let head = self.owners.varint()?;
        let (rows, mode) = (head >> 3, head & 7);
        let place = match mode {
            OWNER_NONE => OwnerPlace::None,
            OWNER_INLINE => {
                let length = self.number()?;
                OwnerPlace::Inline(self.owners.bytes(length)?)
            }
            OWNER_PLACE..=OWNER_SAME_PLACE => {
                if mode != OWNER_SAME_PLACE {
                    self.last_place.0 = self.number()?;
                }
                if mode == OWNER_PLACE {
                    self.last_place.1 = self.number()?;
                }
                OwnerPlace::Body {
                    at: self.last_place.0,
                    length: self.last_place.1,
                }
            }
            _ => return None,
        };
        (rows > 0).then_some(TableOwner { place, rows })
    }

    fn number(&mut self) -> Option<usize> {
        usize::try_from(self.owners.varint()?).ok()
    }

    /// Whether every byte of the table was used.
    pub(super) fn is_used_up(&self) -> bool {
        let columns = [&self.id_at, &self.id_len, &self.splice, &self.slot];
        self.owners_left == 0 && self.owners.is_empty() && columns.iter().all(|column| column.is_used_up())
    }
}

/// A column that is being read.
#[derive(Debug)]
enum Column<'a> {
    Constant(u64),
    Each(Cursor<'a>),
}

impl<'a> Column<'a> {
    fn read(cursor: &mut Cursor<'a>) -> Option<Self> {
        let mode = cursor.u8()?;
        let length = usize::try_from(cursor.varint()?).ok()?;
        let mut values = Cursor::new(cursor.bytes(length)?);
        match mode {
            CONSTANT => {
                let value = values.varint()?;
                values.is_empty().then_some(Self::Constant(value))
            }
            EACH => Some(Self::Each(values)),
            _ => None,
        }
    }

    #[inline]
    fn next(&mut self) -> Option<u64> {
        match self {
            Self::Constant(value) => Some(*value),
            Self::Each(values) => values.varint(),
        }
    }

    fn is_used_up(&self) -> bool {
        match self {
            Self::Constant(_) => true,
            Self::Each(values) => values.is_empty(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_alike_cost_nothing_each() {
        let mut table = TableBuilder::default();
        table.begin_owner(
            Some("p-1"),
            br#"{"resourceType":"X","id":"abc","subject":{"reference":"Patient/p-1"}}"#,
        );
        for _ in 0..100 {
            table.push(
                26,
                3,
                Splice {
                    at: 30,
                    form: SpliceForm::NoMeta,
                },
                0,
            );
        }
        let mut bytes = Vec::new();
        table.finish_into(&mut bytes);
        assert!(bytes.len() <= 17, "{} bytes", bytes.len());
        let mut reader = TableReader::new(&bytes).unwrap();
        let owner = reader.owner().unwrap();
        assert_eq!(owner.rows, 100);
        assert!(matches!(owner.place, OwnerPlace::Body { at: 63, length: 3 }));
        assert_eq!(reader.row().unwrap().splice.at, 30);
        assert!(reader.owner().is_none() && table.rows() == 0);
    }

    #[test]
    fn an_owner_that_its_body_does_not_name_is_kept_inline() {
        let mut table = TableBuilder::default();
        table.begin_owner(Some("elsewhere"), b"{}");
        table.push(
            1,
            1,
            Splice {
                at: 0,
                form: SpliceForm::Meta,
            },
            3,
        );
        table.begin_owner(Some("b"), b"{b}");
        table.push(
            2,
            1,
            Splice {
                at: 0,
                form: SpliceForm::EmptyMeta,
            },
            4,
        );
        let mut bytes = Vec::new();
        table.finish_into(&mut bytes);
        let mut reader = TableReader::new(&bytes).unwrap();
        assert!(matches!(
            reader.owner().unwrap().place,
            OwnerPlace::Inline(b"elsewhere")
        ));
        assert!(matches!(
            reader.owner().unwrap().place,
            OwnerPlace::Body { at: 1, length: 1 }
        ));
        let (first, second) = (reader.row().unwrap(), reader.row().unwrap());
        assert_eq!(
            (first.slot, first.splice),
            (
                3,
                Splice {
                    at: 0,
                    form: SpliceForm::Meta
                }
            )
        );
        assert_eq!(
            (second.slot, second.splice),
            (
                4,
                Splice {
                    at: 0,
                    form: SpliceForm::EmptyMeta
                }
            )
        );
        assert!(reader.is_used_up());
    }
}
