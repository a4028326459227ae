//! Whatever the bytes of a section are, reading them is an error or gives something that can be used and written again.
//!
//! The first byte says what the section is of.
#![no_main]

use libfuzzer_sys::fuzz_target;
use upkeep_rollup::{
    Attempts, Calendar, Chart, Day, Funnel, Key, OpenSessions, Options, Piece, Section, Seen, Users, Visitors,
};

fuzz_target!(|data: &[u8]| {
    let Some((&kind, bytes)) = data.split_first() else { return };
    let key = match kind % 11 {
        0 => Key::Hour(0),
        1 => Key::Day(Day(0)),
        2 => Key::Chart(Day(0), Chart::Pages),
        3 => Key::Chart(Day(0), Chart::Errors),
        4 => Key::Sessions(0),
        5 => Key::Seen(Day(0), 0),
        6 => Key::Events(Day(0)),
        7 => Key::Users(0),
        8 => Key::Attempts(1, 0),
        9 => Key::Steps(1, Day(0)),
        _ => Key::Visitors(Day(0), 0),
    };
    let section = Section { key, bytes: bytes.to_vec() };
    let _ = section.figures();
    let mut piece = Piece::new(Options::default()).expect("there is UTC");
    match key {
        Key::Visitors(..) => {
            if let Ok(mut visitors) = Visitors::decode(bytes) {
                assert_eq!(Visitors::decode(&visitors.encode()).as_ref(), Ok(&visitors));
                visitors.expire(Day(0));
            }
            return;
        }
        Key::Attempts(..) => {
            if let Ok(mut attempts) = Attempts::decode(bytes) {
                let funnel = Funnel::new(1, vec!["a".to_owned(), "b".to_owned()], 3600).expect("two steps");
                let mut calendar = Calendar::new("UTC").expect("there is UTC");
                attempts.merge(&[attempts.clone()], &mut calendar);
                attempts.close(i64::MAX, &funnel, &mut calendar);
            }
            return;
        }
        Key::Users(_) => {
            if let Ok(users) = Users::decode(bytes) {
                users.cohorts(&mut Default::default());
            }
        }
        Key::Seen(..) => {
            if let Ok(seen) = Seen::decode(bytes) {
                Visitors::default().admit(&seen, &mut piece);
            }
        }
        Key::Sessions(_) => {
            if let Ok(mut sessions) = OpenSessions::decode(bytes) {
                sessions.close(i64::MAX, &mut piece);
            }
        }
        _ => (),
    }
    piece.into_sections();
    let mut merged = section.clone();
    if merged.merge(&section).is_ok() {
        // What was written here can be read here.
        let again = merged.clone();
        assert!(merged.merge(&again).is_ok());
    }
});
