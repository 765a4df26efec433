//! All small cases: what was agreed × what each side tells × policy, against what has to come out of it.

use super::*;

fn content(byte: u8) -> ContentHash {
    ContentHash([byte; 32])
}

/// What a side may tell of a resource, by the content that was agreed.
const TOLD: [&str; 6] = ["untold", "same", "ours", "one", "two", "gone"];

fn told(word: &str, version: &str, second: i64) -> Now {
    let there = |byte: u8, version: &str| {
        Now::There(Present {
            content: content(byte),
            version: Some(version.to_owned()),
            updated: Some(Instant::from_micros(second * 1_000_000)),
        })
    };
    match word {
        "untold" => Now::Untold,
        "same" => there(0, version),
        // What the server made of what was written to it: its own content under our version.
        "ours" => there(9, "ours"),
        "one" => there(1, version),
        "two" => there(2, version),
        _ => Now::Gone,
    }
}

fn known() -> Known {
    Known {
        content: content(0),
        version: Some("ours".to_owned()),
        is_ours: true,
    }
}

/// The content that a side has in the end, by what it tells: its own, `None` for none.
fn has(agreed: Option<&Pair<Known>>, now: &Pair<Now>, side: Side) -> Option<ContentHash> {
    match now.of(side) {
        Now::Untold => agreed.map(|agreed| agreed.of(side).content),
        Now::There(present) => Some(present.content),
        Now::Gone => None,
    }
}

fn changed(agreed: Option<&Pair<Known>>, word: &str) -> bool {
    match word {
        "untold" => false,
        "same" | "ours" => agreed.is_none(),
        "gone" => agreed.is_some(),
        _ => true,
    }
}

fn each_case(mut check: impl FnMut(Option<&Pair<Known>>, [&str; 2], [i64; 2], ConflictPolicy)) {
    let pair = Pair {
        source: known(),
        target: known(),
    };
    let policies = [
        ConflictPolicy::Newest,
        ConflictPolicy::Source,
        ConflictPolicy::Target,
        ConflictPolicy::Hold,
    ];
    for agreed in [None, Some(&pair)] {
        for source in TOLD {
            for target in TOLD {
                for times in [[1, 2], [2, 1], [1, 1]] {
                    for policy in policies {
                        check(agreed, [source, target], times, policy);
                    }
                }
            }
        }
    }
}

#[test]
fn every_small_case_ends_as_the_rules_say() {
    let mut cases = 0;
    each_case(|agreed, words, times, policy| {
        cases += 1;
        let now = Pair {
            source: told(words[0], "s", times[0]),
            target: told(words[1], "t", times[1]),
        };
        let decision = decide(agreed, &now, policy);
        let name = format!("{} {words:?} {times:?} {policy}: {decision:?}", agreed.is_some());
        let [source, target] = words.map(|word| changed(agreed, word));
        let have = Pair {
            source: has(agreed, &now, Side::Source),
            target: has(agreed, &now, Side::Target),
        };
        let equal = have.source == have.target;
        assert_eq!(decision.conflict.is_some(), source && target && !equal, "{name}");
        match (source, target) {
            (false, false) => assert!(matches!(decision.step, Step::Nothing | Step::Agree(_)), "{name}"),
            (true, false) => follows(&decision.step, agreed, &now, Side::Source, &name),
            (false, true) => follows(&decision.step, agreed, &now, Side::Target, &name),
            (true, true) if have == Pair::default() => assert_eq!(decision.step, Step::Forget, "{name}"),
            (true, true) if equal => assert!(matches!(decision.step, Step::Agree(_)), "{name}"),
            (true, true) => {
                let conflict = decision.conflict.expect("a conflict");
                assert_eq!(conflict.winner, winner(&have, times, policy), "{name}");
                match conflict.winner {
                    Some(winner) => follows(&decision.step, agreed, &now, winner, &name),
                    None => assert_eq!(decision.step, Step::Hold, "{name}"),
                }
            }
        }
    });
    assert_eq!(cases, 2 * 6 * 6 * 3 * 4);
}

fn winner(have: &Pair<Option<ContentHash>>, times: [i64; 2], policy: ConflictPolicy) -> Option<Side> {
    match policy {
        ConflictPolicy::Source => Some(Side::Source),
        ConflictPolicy::Target => Some(Side::Target),
        ConflictPolicy::Hold => None,
        ConflictPolicy::Newest => Some(match (have.source, have.target) {
            (None, _) => Side::Target,
            (_, None) => Side::Source,
            _ if times[1] > times[0] => Side::Target,
            _ => Side::Source,
        }),
    }
}

/// The step makes the other side like `from`, and only over what was seen there.
fn follows(step: &Step, agreed: Option<&Pair<Known>>, now: &Pair<Now>, from: Side, name: &str) {
    let to = from.other();
    let over = match step {
        Step::Write(side, over) => {
            assert!(*side == to && has(agreed, now, from).is_some(), "{name}");
            over
        }
        Step::Delete(side, over) => {
            assert!(*side == to && has(agreed, now, from).is_none(), "{name}");
            over
        }
        step => panic!("{step:?}: {name}"),
    };
    let expected = match (now.of(to), has(agreed, now, to)) {
        (_, None) => Over::Nothing,
        (Now::There(present), _) => Over::Version(present.version.clone().expect("one was given")),
        (_, Some(_)) => Over::Version("ours".to_owned()),
    };
    assert_eq!(*over, expected, "{name}");
}

#[test]
fn an_echo_is_counted_and_tells_what_the_server_made_of_it() {
    let agreed = Pair {
        source: known(),
        target: known(),
    };
    let now = Pair {
        source: told("same", "s", 1),
        target: told("ours", "t", 1),
    };
    let decision = decide(Some(&agreed), &now, ConflictPolicy::Newest);
    assert_eq!(decision.echoes, 2);
    let Step::Agree(fresh) = decision.step else {
        panic!("{decision:?}");
    };
    assert_eq!((fresh.target.content, fresh.target.is_ours), (content(9), false));
    assert_eq!(fresh.source.version.as_deref(), Some("s"));
    // From now on other content under the same version is a change: some servers begin to count anew.
    let again = Pair {
        source: Now::Untold,
        target: told("one", "ours", 1),
    };
    let step = decide(Some(&fresh), &again, ConflictPolicy::Newest).step;
    assert!(matches!(step, Step::Write(Side::Source, _)), "{step:?}");
}

#[test]
fn equal_times_are_a_tie_and_the_source_wins_it() {
    for (source, target, is_tie) in [(1, 1, true), (1, 2, false), (2, 1, false)] {
        let now = Pair {
            source: told("one", "s", source),
            target: told("two", "t", target),
        };
        let conflict = decide(None, &now, ConflictPolicy::Newest)
            .conflict
            .expect("a conflict");
        assert_eq!(conflict.is_tie, is_tie);
    }
}

#[test]
fn without_versions_the_content_is_what_is_written_over() {
    let agreed = Pair {
        source: Known {
            version: None,
            ..known()
        },
        target: Known {
            version: None,
            ..known()
        },
    };
    let now = Pair {
        source: told("one", "s", 1),
        target: Now::Untold,
    };
    let step = decide(Some(&agreed), &now, ConflictPolicy::Newest).step;
    assert_eq!(step, Step::Write(Side::Target, Over::Content(content(0))));
}
