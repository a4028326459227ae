//! User agents: what is told is part of the text.
#![no_main]

use upkeep_accesslog::agent::Agent;

libfuzzer_sys::fuzz_target!(|text: &[u8]| {
    let agent = Agent::new(text);
    let range = text.as_ptr_range();
    for part in [agent.version, agent.model, agent.wechat, agent.mini_program].into_iter().flatten() {
        assert!(!part.is_empty() && range.contains(&part.as_ptr()));
    }
    let _ = agent.major();
});
