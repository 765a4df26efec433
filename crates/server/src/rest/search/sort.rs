//! Sort keys: the place of a resource in an order, as bytes that sort as the order goes.

use fhirhose_fhir::search_request::{Direction, Order};
use fhirhose_store::Sequence;

/// The place of a resource in an order. Ties of one commit are parted by the resource's own key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SortKey(Vec<u8>);

impl SortKey {
    /// Makes the key of a resource; `key` is asked for where ties are possible.
    pub(crate) fn of(order: Order, id: &str, sequence: Sequence, key: impl FnOnce() -> Vec<u8>) -> Self {
        let numbered = |number: u64| [number.to_be_bytes().as_slice(), &key()].concat();
        Self(match order {
            Order::Store | Order::Id(Direction::Ascending) => id.as_bytes().to_vec(),
            // Of two ids that begin alike the longer comes first, so something greater than any byte of an id ends it.
            Order::Id(Direction::Descending) => id.bytes().map(|byte| !byte).chain([u8::MAX]).collect(),
            Order::LastUpdated(Direction::Ascending) => numbered(sequence.0),
            Order::LastUpdated(Direction::Descending) => numbered(!sequence.0),
        })
    }

    pub(crate) fn is_after(&self, place: &[u8]) -> bool {
        self.0.as_slice() > place
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// The commit that a place in the order of change stands at.
pub(crate) fn sequence_of(order: Order, place: &[u8]) -> Option<Sequence> {
    let number = u64::from_be_bytes(*place.first_chunk::<8>()?);
    match order {
        Order::LastUpdated(Direction::Ascending) => Some(Sequence(number)),
        Order::LastUpdated(Direction::Descending) => Some(Sequence(!number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_as_their_orders_go() {
        let ids = ["A", "a", "a-", "ab", "b"];
        let key = |direction, id| SortKey::of(Order::Id(direction), id, Sequence(1), Vec::new);
        assert!(ids.is_sorted_by(|a, b| key(Direction::Ascending, a) < key(Direction::Ascending, b)));
        assert!(ids.is_sorted_by(|a, b| key(Direction::Descending, a) > key(Direction::Descending, b)));
        let newest = |sequence| {
            SortKey::of(
                Order::LastUpdated(Direction::Descending),
                "x",
                Sequence(sequence),
                || vec![1],
            )
        };
        assert!(newest(300) < newest(299));
        let place = newest(300).into_bytes();
        assert_eq!(
            sequence_of(Order::LastUpdated(Direction::Descending), &place),
            Some(Sequence(300))
        );
    }
}
