//! The rows of a run on their way into a commit: [`RowBatch`].

use fhirhose_fhir::resource_type::ResourceType;

/// The rows of a run that is to be committed, lean: one buffer of keys, one mark a row.
#[derive(Debug, Default)]
pub struct RowBatch {
    keys: Vec<u8>,
    rows: Vec<RowMark>,
    /// Row numbers in the order of type ‖ id, the order of the catalog's `id` rows.
    by_id: Vec<u32>,
    /// Further patients of a row: row number and encoded patient id. Rare.
    others: Vec<(u32, Vec<u8>)>,
    /// For rows that had earlier lines of the same id in the same chunk: the hash of the first of them. Rare.
    first_hashes: Vec<(u32, u64)>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct RowMark {
    key_at: u32,
    id_at: u32,
    key_end: u32,
    subsetted: bool,
    hash: u64,
}

/// One row of a [`RowBatch`] as its maker gives it.
#[derive(Debug, Clone, Copy)]
pub struct NewRow<'a> {
    /// The resource's type.
    pub resource_type: ResourceType,
    /// The patient whose compartment it sits in.
    pub owner: Option<&'a str>,
    /// The resource's id.
    pub id: &'a str,
    /// Further patients whose compartments it sits in.
    pub others: &'a [&'a str],
    /// The hash of the stored body.
    pub hash: u64,
    /// Whether it is tagged `SUBSETTED`, a cut copy that must not replace a whole one.
    pub subsetted: bool,
    /// The hash of the first line of the same id in the same chunk, where there was an earlier one.
    pub first_hash: Option<u64>,
}

impl RowBatch {
    /// Adds the next row; rows come in the order of the run, which is the order of their keys.
    pub fn push(&mut self, row: NewRow<'_>) {
        let number = self.len();
        let key_at = self.keys.len();
        self.keys.push(row.resource_type.code());
        crate::key::push_owner(row.owner, &mut self.keys);
        let id_at = self.keys.len();
        crate::key::push_id(row.id, &mut self.keys);
        let mark = RowMark {
            key_at: small(key_at),
            id_at: small(id_at),
            key_end: small(self.keys.len()),
            subsetted: row.subsetted,
            hash: row.hash,
        };
        self.rows.push(mark);
        for other in row.others {
            let mut patient = Vec::new();
            crate::key::push_id(other, &mut patient);
            self.others.push((number, patient));
        }
        if let Some(hash) = row.first_hash {
            self.first_hashes.push((number, hash));
        }
    }

    /// Sorts the rows by id, off the commit's path; call it once, after the last row.
    pub fn seal(&mut self) {
        let mut by_id: Vec<u32> = (0..self.len()).collect();
        by_id.sort_unstable_by(|a, b| self.id_key(*a).cmp(&self.id_key(*b)));
        self.by_id = by_id;
    }

    /// How many rows there are.
    pub fn len(&self) -> u32 {
        small(self.rows.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn mark(&self, row: u32) -> &RowMark {
        &self.rows[row as usize]
    }

    /// type ‖ owner ‖ id.
    pub(crate) fn key(&self, row: u32) -> &[u8] {
        let mark = self.mark(row);
        &self.keys[mark.key_at as usize..mark.key_end as usize]
    }

    pub(crate) fn type_code(&self, row: u32) -> u8 {
        self.keys[self.mark(row).key_at as usize]
    }

    /// The owner as it stands in the key.
    pub(crate) fn owner(&self, row: u32) -> &[u8] {
        let mark = self.mark(row);
        &self.keys[mark.key_at as usize + 1..mark.id_at as usize]
    }

    /// The id as it stands in the key.
    pub(crate) fn id(&self, row: u32) -> &[u8] {
        let mark = self.mark(row);
        &self.keys[mark.id_at as usize..mark.key_end as usize]
    }

    /// Type and id, the two parts of the `id` row's key, apart.
    fn id_key(&self, row: u32) -> (u8, &[u8]) {
        (self.type_code(row), self.id(row))
    }

    pub(crate) fn hash(&self, row: u32) -> u64 {
        self.mark(row).hash
    }

    pub(crate) fn subsetted(&self, row: u32) -> bool {
        self.mark(row).subsetted
    }

    pub(crate) fn by_id(&self) -> &[u32] {
        debug_assert_eq!(
            self.by_id.len(),
            self.rows.len(),
            "seal() comes before the commit"
        );
        &self.by_id
    }

    pub(crate) fn others(&self) -> &[(u32, Vec<u8>)] {
        &self.others
    }

    pub(crate) fn first_hash(&self, row: u32) -> Option<u64> {
        let at = self
            .first_hashes
            .binary_search_by_key(&row, |(number, _)| *number)
            .ok()?;
        Some(self.first_hashes[at].1)
    }
}

/// A chunk holds at most 4 GiB of keys and rows; the importer's chunks are a hundredth of it.
fn small(number: usize) -> u32 {
    u32::try_from(number).expect("a chunk has fewer than 2^32 bytes of keys")
}
