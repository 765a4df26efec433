//! The cutter: chunks are whole lines, whatever the pieces, and a stream can be taken up at any chunk.

use fhirhose_fhir::ndjson::{Chunk, Cut, Cutter, CutterLimits, StartPlace, join_lines, lines};
use proptest::{collection::vec, prelude::*};

use crate::sample;

/// Cuts with the pieces of an overlong line put together, for where they part depends on what was pushed.
fn cut(limits: CutterLimits, start: StartPlace, pieces: &[&[u8]]) -> Vec<Cut> {
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

fn cut_whole(limits: CutterLimits, text: &[u8]) -> Vec<Cut> {
    cut(limits, StartPlace::BEGINNING, &[text])
}

/// Lines with their offset and number, `None` for an overlong line: the naive way.
fn naive(text: &[u8], line_bytes_max: usize) -> Vec<(u64, u64, Option<Vec<u8>>)> {
    let mark = if text.starts_with(b"\xEF\xBB\xBF") { 3 } else { 0 };
    let mut at = mark;
    let mut all = Vec::new();
    let parts: Vec<&[u8]> = text[mark..].split(|&byte| byte == b'\n').collect();
    for (number, part) in parts.iter().enumerate() {
        let line = part.strip_suffix(b"\r").unwrap_or(part);
        let overlong = part.len() > line_bytes_max;
        if overlong || !line.iter().all(|byte| b" \t\r".contains(byte)) {
            all.push((at as u64, number as u64 + 1, (!overlong).then(|| line.to_vec())));
        }
        at += part.len() + 1;
    }
    all
}

/// The same from cuts.
fn lines_of(cuts: &[Cut]) -> Vec<(u64, u64, Option<Vec<u8>>)> {
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

/// The bytes of all cuts, line breaks of overlong lines put back.
fn bytes_of(cuts: &[Cut]) -> Vec<u8> {
    let mut all = Vec::new();
    for cut in cuts {
        match cut {
            Cut::Chunk(chunk) => all.extend_from_slice(&chunk.bytes),
            Cut::OverlongBytes(bytes) => all.extend_from_slice(bytes),
            Cut::OverlongEnd { .. } => all.push(b'\n'),
            Cut::OverlongStart { .. } => {}
        }
    }
    all
}

fn check_chunk(chunk: &Chunk, chunk_bytes: usize) {
    let breaks = chunk.bytes.iter().filter(|&&byte| byte == b'\n').count();
    let unfinished = usize::from(chunk.bytes.last() != Some(&b'\n'));
    assert!(!chunk.bytes.is_empty());
    assert_eq!(chunk.lines, (breaks + unfinished) as u64);
    assert!(
        chunk.bytes.len() <= chunk_bytes || chunk.lines == 1,
        "only a single line may be larger"
    );
}

fn any_text() -> impl Strategy<Value = Vec<u8>> {
    let text = vec(prop::sample::select(b"ab\n\n \r\xEF\xBB\xBF".to_vec()), 0..120);
    (prop::bool::weighted(0.3), text).prop_map(|(mark, mut text)| {
        if mark {
            text.splice(0..0, *b"\xEF\xBB\xBF");
        }
        text
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn cutter_gives_the_lines_of_a_naive_split(
        text in any_text(), chunk_bytes in 1..40usize, line_bytes_max in 1..30usize
    ) {
        let cuts = cut_whole(CutterLimits { chunk_bytes, line_bytes_max }, &text);
        prop_assert_eq!(lines_of(&cuts), naive(&text, line_bytes_max));
        for cut in &cuts {
            if let Cut::Chunk(chunk) = cut {
                check_chunk(chunk, chunk_bytes);
            }
        }
        let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&text);
        let bytes = bytes_of(&cuts);
        prop_assert!(bytes == text || bytes.strip_suffix(b"\n") == Some(text));
    }

    #[test]
    fn cuts_do_not_depend_on_the_pieces(
        text in any_text(), chunk_bytes in 1..40usize, line_bytes_max in 1..30usize, pieces in vec(1..9usize, 1..20)
    ) {
        let limits = CutterLimits { chunk_bytes, line_bytes_max };
        let mut rest = &text[..];
        let mut parts = Vec::new();
        for length in pieces.iter().cycle() {
            let (part, after) = rest.split_at((*length).min(rest.len()));
            parts.push(part);
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(cut(limits, StartPlace::BEGINNING, &parts), cut_whole(limits, &text));
    }

    #[test]
    fn a_stream_taken_up_at_any_cut_gives_the_same_rest(
        text in any_text(), chunk_bytes in 1..40usize, line_bytes_max in 1..30usize
    ) {
        let limits = CutterLimits { chunk_bytes, line_bytes_max };
        let whole = cut_whole(limits, &text);
        for (position, begun) in whole.iter().enumerate() {
            let start = match *begun {
                Cut::Chunk(Chunk { offset, first_line: line, .. }) | Cut::OverlongStart { offset, line } => {
                    StartPlace { offset, line }
                }
                _ => continue,
            };
            let rest = &text[start.offset as usize..];
            prop_assert_eq!(&cut(limits, start, &[rest])[..], &whole[position..]);
        }
    }
}

#[test]
fn chunks_hold_as_many_whole_lines_as_fit() {
    let limits = CutterLimits {
        chunk_bytes: 6,
        line_bytes_max: 100,
    };
    let cuts = cut_whole(limits, b"a\nbb\n\nccccccc\nd\ne");
    let chunks: Vec<(&[u8], u64, u64, u64)> = (cuts.iter())
        .map(|cut| match cut {
            Cut::Chunk(chunk) => (&chunk.bytes[..], chunk.offset, chunk.first_line, chunk.lines),
            _ => panic!("no line is overlong"),
        })
        .collect();
    let expected: [(&[u8], u64, u64, u64); 3] = [
        (b"a\nbb\n\n", 0, 1, 3),
        (b"ccccccc\n", 6, 4, 1),
        (b"d\ne", 14, 5, 2),
    ];
    assert_eq!(chunks, expected);
}

#[test]
fn overlong_lines_are_handed_on_in_pieces_and_never_held() {
    let limits = CutterLimits {
        chunk_bytes: 100,
        line_bytes_max: 8,
    };
    let mut cutter = Cutter::new(limits);
    let mut cuts = Vec::new();
    cutter.push(b"ok\n12345678", &mut cuts);
    assert!(cuts.is_empty());
    cutter.push(b"9", &mut cuts);
    cutter.push(b"", &mut cuts);
    cutter.push(&[b'x'; 1000], &mut cuts);
    cutter.push(b"yz\nend", &mut cuts);
    cutter.finish(&mut cuts);
    let chunk = |bytes: &[u8], offset, first_line| {
        Cut::Chunk(Chunk {
            bytes: bytes.to_vec(),
            offset,
            first_line,
            lines: 1,
        })
    };
    let expected = [
        chunk(b"ok\n", 0, 1),
        Cut::OverlongStart { offset: 3, line: 2 },
        Cut::OverlongBytes(b"12345678".to_vec()),
        Cut::OverlongBytes(b"9".to_vec()),
        Cut::OverlongBytes(vec![b'x'; 1000]),
        Cut::OverlongBytes(b"yz".to_vec()),
        Cut::OverlongEnd { bytes: 1011 },
        chunk(b"end", 1015, 3),
    ];
    assert_eq!(cuts, expected);
}

#[test]
fn lines_keep_offsets_across_blank_lines_and_carriage_returns() {
    let found: Vec<(usize, u64, &[u8])> = lines(b"a\r\n\r\n \t\n  b \n\nc\r")
        .map(|line| (line.offset_in_chunk, line.number_in_chunk, line.bytes))
        .collect();
    assert_eq!(found, [(0, 0, &b"a"[..]), (8, 3, b"  b "), (14, 5, b"c")]);
}

#[test]
fn a_mark_is_skipped_only_at_the_start_of_the_input() {
    let limits = CutterLimits {
        chunk_bytes: 100,
        line_bytes_max: 100,
    };
    let chunk = |bytes: &[u8], offset| {
        Cut::Chunk(Chunk {
            bytes: bytes.to_vec(),
            offset,
            first_line: 1,
            lines: 1,
        })
    };
    assert_eq!(cut_whole(limits, b"\xEF\xBB\xBFa"), [chunk(b"a", 3)]);
    assert_eq!(cut_whole(limits, b"\xEF\xBB\xBF"), []);
    assert_eq!(cut_whole(limits, b"\xEF\xBB"), [chunk(b"\xEF\xBB", 0)]);
    let later = StartPlace { offset: 9, line: 1 };
    assert_eq!(
        cut(limits, later, &[b"\xEF\xBB\xBFa"]),
        [chunk(b"\xEF\xBB\xBFa", 9)]
    );
}

#[test]
fn sample_files_come_out_as_they_went_in() {
    let limits = CutterLimits {
        chunk_bytes: 100_000,
        line_bytes_max: 64 << 20,
    };
    for (name, text) in sample::files() {
        let pieces: Vec<&[u8]> = text.chunks(7_001).collect();
        let cuts = cut(limits, StartPlace::BEGINNING, &pieces);
        assert_eq!(lines_of(&cuts), naive(text, limits.line_bytes_max), "{name}");
        assert_eq!(bytes_of(&cuts), *text, "{name}");
    }
}

#[test]
fn line_breaks_between_tokens_become_spaces() {
    let mut text = b"{\r\n \"a\\\"\": [\n1\n],\"b\nc\":\"\\\\\"\n}\n".to_vec();
    join_lines(&mut text);
    assert_eq!(text, b"{   \"a\\\"\": [ 1 ],\"b\nc\":\"\\\\\" } ");
}
