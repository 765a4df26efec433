//! Bodies cut everywhere, begun again everywhere, and bodies that lie.

use std::io::Write;

use super::*;

/// Three pieces of text, the second of which is longer than what is given at once.
fn pieces() -> [Vec<u8>; 3] {
    let line = |number: usize| format!("{{\"resourceType\":\"Patient\",\"id\":\"p{number}\"}}\n");
    let long = (0..12_000).map(line).collect::<String>();
    [line(1).into_bytes(), long.into_bytes(), line(2).into_bytes()]
}

fn encoded(coding: Coding, piece: &[u8]) -> Vec<u8> {
    match coding {
        Coding::Identity => piece.to_vec(),
        Coding::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(piece).expect("into memory");
            encoder.finish().expect("into memory")
        }
        Coding::Zstd => zstd::bulk::compress(piece, 1).expect("into memory"),
    }
}

fn body(coding: Coding) -> Vec<u8> {
    pieces().iter().flat_map(|piece| encoded(coding, piece)).collect()
}

fn decode(decoder: &mut Decoder, body: &[u8], chunk_bytes: usize) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    for chunk in body.chunks(chunk_bytes) {
        decoder.push(chunk, &mut |piece| {
            text.extend_from_slice(piece);
            Ok(())
        })?;
    }
    decoder.finish()?;
    Ok(text)
}

fn new(coding: Coding, from: RestartPoint) -> Decoder {
    Decoder::new(coding, from, DecodeLimits::default()).expect("a decoder")
}

#[test]
fn bodies_of_several_frames_or_members_are_decoded_however_they_arrive() {
    let whole = pieces().concat();
    for coding in [Coding::Identity, Coding::Gzip, Coding::Zstd] {
        let body = body(coding);
        for chunk_bytes in [1, 7, 4_096, body.len()] {
            let mut decoder = new(coding, RestartPoint::default());
            let text = decode(&mut decoder, &body, chunk_bytes).expect("whole");
            assert!(text == whole, "{coding:?} by {chunk_bytes}");
            let end = RestartPoint {
                encoded: body.len() as u64,
                decoded: whole.len() as u64,
            };
            assert_eq!((decoder.restart_point(), decoder.position()), (end, end));
        }
    }
}

#[test]
fn another_decoder_goes_on_at_every_restart_point() {
    let whole = pieces().concat();
    for coding in [Coding::Gzip, Coding::Zstd] {
        let body = body(coding);
        let mut decoder = new(coding, RestartPoint::default());
        let mut points = vec![decoder.restart_point()];
        for byte in &body {
            decoder.push(&[*byte], &mut |_| Ok(())).expect("good bytes");
            points.push(decoder.restart_point());
        }
        points.dedup();
        assert_eq!(
            points.len(),
            4,
            "{coding:?}: the beginning and the end of each piece"
        );
        for point in points {
            let mut again = new(coding, point);
            let rest = decode(&mut again, &body[point.encoded as usize..], 1_000).expect("the rest");
            assert!(rest == whole[point.decoded as usize..], "{coding:?} {point:?}");
            assert_eq!(again.position(), decoder.position());
        }
    }
}

#[test]
fn a_body_that_was_cut_off_or_changed_is_not_taken() {
    for coding in [Coding::Gzip, Coding::Zstd] {
        let body = encoded(coding, &pieces()[1]);
        for end in [1, 5, body.len() / 2, body.len() - 1] {
            let cut = decode(&mut new(coding, RestartPoint::default()), &body[..end], 100);
            assert_eq!(
                cut.expect_err("cut off").kind(),
                ErrorKind::Corrupt,
                "{coding:?} {end}"
            );
        }
        let mut odd = body.clone();
        odd[0] ^= 1;
        let odd = decode(&mut new(coding, RestartPoint::default()), &odd, 100);
        assert_eq!(odd.expect_err("no magic").kind(), ErrorKind::Corrupt);
        let none = decode(&mut new(coding, RestartPoint::default()), &[], 1);
        assert_eq!(none.expect("nothing is nothing"), b"");
    }
}

#[test]
fn a_frame_is_held_to_its_checksum_unless_it_is_passed_over() {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).expect("an encoder");
    encoder.include_checksum(true).expect("a checksum");
    encoder.write_all(b"{}\n").expect("into memory");
    let mut frame = encoder.finish().expect("into memory");
    *frame.last_mut().expect("a checksum") ^= 1;
    for passes_checksums in [false, true] {
        let limits = DecodeLimits {
            passes_checksums,
            ..DecodeLimits::default()
        };
        let mut decoder = Decoder::new(Coding::Zstd, RestartPoint::default(), limits).expect("a decoder");
        assert_eq!(
            decode(&mut decoder, &frame, frame.len()).is_ok(),
            passes_checksums
        );
    }
}

#[test]
fn a_body_that_grows_beyond_belief_is_not_taken() {
    let limits = DecodeLimits {
        free_bytes: 1 << 20,
        ratio_max: 100,
        ..DecodeLimits::default()
    };
    for coding in [Coding::Gzip, Coding::Zstd] {
        let bomb = encoded(coding, &vec![b'a'; 8 << 20]);
        let mut decoder = Decoder::new(coding, RestartPoint::default(), limits).expect("a decoder");
        let mut most = 0;
        let grown = decoder.push(&bomb, &mut |piece| {
            most = most.max(piece.len());
            Ok(())
        });
        assert_eq!(grown.expect_err("a bomb").kind(), ErrorKind::Corrupt);
        assert!(most <= PIECE_BYTES && decoder.position().decoded < 2 << 20);
    }
}

#[test]
fn a_frame_that_wants_a_large_window_is_not_taken() {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).expect("an encoder");
    encoder.window_log(25).expect("a window");
    encoder.write_all(&[1; 100]).expect("into memory");
    let frame = encoder.finish().expect("into memory");
    let refused = decode(
        &mut new(Coding::Zstd, RestartPoint::default()),
        &frame,
        frame.len(),
    );
    assert_eq!(refused.expect_err("a large window").kind(), ErrorKind::Corrupt);
}

#[test]
fn codings_are_read_in_any_case_and_unknown_ones_are_named() {
    for (text, coding) in [
        ("", Coding::Identity),
        (" Identity ", Coding::Identity),
        ("x-gzip", Coding::Gzip),
        ("GZIP", Coding::Gzip),
        ("zstd", Coding::Zstd),
    ] {
        assert_eq!(Coding::parse(text).expect("known"), coding);
    }
    for text in ["br", "gzip, gzip"] {
        let error = Coding::parse(text).expect_err("unknown").to_string();
        assert!(error.contains(text), "{error}");
    }
}

/// Whatever comes ends in an error or in text, which is the same however it is cut.
#[test]
fn any_bytes_are_taken_or_refused_however_they_are_cut() {
    let mut seed = 7_u64;
    let mut random = |most: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) as usize % most
    };
    for round in 0..400 {
        let coding = [Coding::Gzip, Coding::Zstd][round % 2];
        let mut body = [encoded(coding, b"{}\n"), encoded(coding, &[b'a'; 300])].concat();
        for _ in 0..random(4) {
            let at = random(body.len());
            body[at] = random(256) as u8;
        }
        body.truncate(body.len() - random(8));
        let cut = random(20) + 1;
        let whole = decode(&mut new(coding, RestartPoint::default()), &body, body.len());
        let pieces = decode(&mut new(coding, RestartPoint::default()), &body, cut);
        assert_eq!(whole.ok(), pieces.ok(), "round {round}");
    }
}
