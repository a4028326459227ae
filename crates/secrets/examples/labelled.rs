//! Writes the labelled set into a folder, for other scanners: `labelled FOLDER`. Beside the files stands `labels.tsv`: path, line
//! and kind of each secret.

#[path = "../tests/labelled/generate.rs"]
mod generate;

use std::fmt::Write;
use std::path::Path;
use std::{env, fs};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = env::args().nth(1).ok_or("usage: labelled FOLDER")?;
    let mut labels = String::new();
    let (mut secrets, mut tempting) = (0, 0);
    for sample in [generate::secrets("seen.txt"), generate::secrets("held-out.txt"), generate::tempting()].concat() {
        let path = Path::new(&folder).join("set").join(&sample.path);
        fs::create_dir_all(path.parent().ok_or("a sample without a folder")?)?;
        fs::write(&path, &sample.text)?;
        for (range, kind) in &sample.secrets {
            let line = |end: usize| sample.text[..end].matches('\n').count() + 1;
            writeln!(labels, "set/{}\t{}\t{}\t{kind}", sample.path, line(range.start), line(range.end))?;
        }
        secrets += sample.secrets.len();
        tempting += sample.tempting;
    }
    fs::write(Path::new(&folder).join("labels.tsv"), labels)?;
    println!("{secrets} secrets, {tempting} tempting lines");
    Ok(())
}
