//! The fake of WeChat, chat robots and webhooks, for demos and benchmarks that are not tests:
//! `cargo run -p upkeep-tests --example fake -- [--port N] [--script SETUP.json]`.
//!
//! It says where it listens, and runs until it is killed. `GET /fake/counts` tells what came, `POST /fake/script` lets more go
//! wrong. What stands in the file is described at `upkeep_tests::fake::Setup`.

use std::error::Error;
use std::io::Write;

use upkeep_tests::fake::{Fake, Setup};

fn main() -> Result<(), Box<dyn Error>> {
    let (mut port, mut setup) = (0, Setup::default());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{argument} has no value"))?;
        match argument.as_str() {
            "--port" => port = value.parse()?,
            "--script" => setup = serde_json::from_str(&std::fs::read_to_string(&value)?)?,
            _ => return Err(format!("`{argument}` is unknown; there are `--port` and `--script`").into()),
        }
    }
    let fake = Fake::on(port);
    fake.set_up(setup);
    println!("{}", fake.url(""));
    std::io::stdout().flush()?;
    loop {
        std::thread::park();
    }
}
