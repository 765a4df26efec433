//! What goes into the text of a refusal: names, never values.

/// The most characters of a name that are repeated.
const SHOWN_CHARS_MAX: usize = 64;

/// A name as it can be shown: not too long, and without control characters.
pub(super) fn shortened(name: &str) -> String {
    name.chars()
        .filter(|letter| !letter.is_control())
        .take(SHOWN_CHARS_MAX)
        .collect()
}

/// The known name that is nearest to one that is not, unless all are far.
pub(super) fn nearest(name: &str, known: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    if name.len() > SHOWN_CHARS_MAX {
        return None;
    }
    let name = name.to_ascii_lowercase();
    let far = 1 + name.len() / 4;
    known
        .map(|each| (distance(&name, &each.to_ascii_lowercase()), each))
        .min()
        .filter(|(distance, _)| *distance <= far)
        .map(|(_, each)| each)
}

/// How many letters must be added, taken away or changed.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let changed = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn the_nearest_name_is_found_unless_all_are_far() {
        let find = |name| nearest(name, ["code", "date", "birthdate", "_lastUpdated"].into_iter());
        assert_eq!(find("cod"), Some("code"));
        assert_eq!(find("birthDate"), Some("birthdate"));
        assert_eq!(find("_lastupdate"), Some("_lastUpdated"));
        assert_eq!(find("something"), None);
        assert_eq!(find(""), None);
    }
}
