//! A version on the first line and a record behind it: a verdict is the same whether versions were trimmed or not, and
//! a version that is called fixed is not affected.

#![no_main]

use libfuzzer_sys::fuzz_target;
use upkeep_advisory::advisory::first_fixed;
use upkeep_advisory::ecosystem::Family;
use upkeep_advisory::osv::Record;
use upkeep_advisory::range::{Installed, Verdict};
use upkeep_advisory::vulnerability::Answer;

fuzz_target!(|text: &str| {
    let (version, json) = text.split_once('\n').unwrap_or((text, ""));
    let Ok(record) = Record::parse(json.as_bytes()) else { return };
    for family in Family::ALL {
        let installed = Installed::new(family, version);
        for advisory in record.advisories(family).into_values() {
            let verdict = advisory.evaluate(None, &installed);
            let mut trimmed = advisory.clone();
            trimmed.trim(family);
            match (&verdict, trimmed.evaluate(None, &installed)) {
                // Of two reasons for doubt, either may be told.
                (Verdict::Undecided(_), Verdict::Undecided(_)) => {}
                (one, other) => assert_eq!(*one, other),
            }
            if let Some(fixed) = first_fixed(family, None, &[&advisory], &installed) {
                let fixed = Installed::new(family, &fixed);
                assert_eq!(advisory.evaluate(None, &fixed), Verdict::Unaffected);
            }
            Answer::new(family, None, &[advisory.clone(), advisory], &installed);
        }
    }
});
