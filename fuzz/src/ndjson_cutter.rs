//! The cutter: lines are those of a naive split, the pieces do not matter, and any cut is a place to go on from.

use fhirhose_fhir::ndjson::{Chunk, Cut, Cutter, CutterLimits, StartPlace, lines};

/// Checks the laws. The first three bytes choose the chunk size, the longest line and the size of pieces.
pub fn check(data: &[u8]) {
    let Some(([chunk_bytes, line_bytes_max, piece_bytes], text)) = data.split_first_chunk::<3>() else {
        return;
    };
    let limits = CutterLimits {
        chunk_bytes: usize::from(*chunk_bytes) + 1,
        line_bytes_max: usize::from(*line_bytes_max) + 1,
    };
    let cuts = cut(limits, StartPlace::BEGINNING, text.chunks(text.len().max(1)));
    let pieces = text.chunks(usize::from(*piece_bytes) % 16 + 1);
    assert_eq!(
        cut(limits, StartPlace::BEGINNING, pieces),
        cuts,
        "the pieces do not matter"
    );
    assert_eq!(
        lines_of(&cuts),
        naive(text, limits.line_bytes_max),
        "the lines are those of a split"
    );
    for (position, begun) in cuts.iter().enumerate() {
        if let Cut::Chunk(chunk) = begun {
            assert!(chunk.bytes.len() <= limits.chunk_bytes || chunk.lines == 1);
        }
        let Some(start) = start_of(begun) else {
            continue;
        };
        let rest = &text[start.offset as usize..];
        assert_eq!(
            cut(limits, start, rest.chunks(7)),
            cuts[position..],
            "the rest is the same"
        );
    }
}

fn start_of(cut: &Cut) -> Option<StartPlace> {
    match *cut {
        Cut::Chunk(Chunk {
            offset,
            first_line: line,
            ..
        })
        | Cut::OverlongStart { offset, line } => Some(StartPlace { offset, line }),
        Cut::OverlongBytes(_) | Cut::OverlongEnd { .. } => None,
    }
}

/// Cuts, and puts the pieces of an overlong line together.
fn cut<'d>(limits: CutterLimits, start: StartPlace, pieces: impl Iterator<Item = &'d [u8]>) -> Vec<Cut> {
    let mut cutter = Cutter::resume(limits, start);
    let mut cuts = Vec::new();
    for piece in pieces {
        cutter.push(piece, &mut cuts);
    }
    cutter.finish(&mut cuts);
    let mut joined: Vec<Cut> = Vec::new();
    for cut in cuts {
        match (joined.last_mut(), cut) {
            (Some(Cut::OverlongBytes(before)), Cut::OverlongBytes(after)) => before.extend(after),
            (_, cut) => joined.push(cut),
        }
    }
    joined
}

/// A line's offset and number, and its bytes unless it is overlong.
type Found = (u64, u64, Option<Vec<u8>>);

fn lines_of(cuts: &[Cut]) -> Vec<Found> {
    let mut all = Vec::new();
    for cut in cuts {
        match cut {
            Cut::Chunk(chunk) => all.extend(lines(&chunk.bytes).map(|line| {
                let (offset, number) = (line.offset_in_chunk as u64, line.number_in_chunk);
                (
                    chunk.offset + offset,
                    chunk.first_line + number,
                    Some(line.bytes.to_vec()),
                )
            })),
            Cut::OverlongStart { offset, line } => all.push((*offset, *line, None)),
            Cut::OverlongBytes(_) | Cut::OverlongEnd { .. } => {}
        }
    }
    all
}

fn naive(text: &[u8], line_bytes_max: usize) -> Vec<Found> {
    let mut at = if text.starts_with(b"\xEF\xBB\xBF") { 3 } else { 0 };
    let mut all = Vec::new();
    for (number, part) in text[at..].split(|&byte| byte == b'\n').enumerate() {
        let line = part.strip_suffix(b"\r").unwrap_or(part);
        let overlong = part.len() > line_bytes_max;
        if overlong || !line.iter().all(|byte| b" \t\r".contains(byte)) {
            all.push((at as u64, number as u64 + 1, (!overlong).then(|| line.to_vec())));
        }
        at += part.len() + 1;
    }
    all
}
