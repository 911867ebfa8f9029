//! A part of the README that a test writes: it stands between two markers, and is compared with what the test found today.
//! With `DORMOUSE_WRITE_README=1` it is written instead; one test at a
//! time then (`cargo nextest run -j1`), for they write the same file.

use std::{fs, path::Path};

/// Compares the block of that name with `text`, or writes it.
pub(crate) fn check(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(&path).expect("README.md can be read");
    let (begin, end) = (format!("<!-- begin: {name} -->\n"), format!("<!-- end: {name} -->"));
    let (before, rest) = readme.split_once(&begin).unwrap_or_else(|| panic!("README.md has no {begin}"));
    let (block, after) = rest.split_once(&end).unwrap_or_else(|| panic!("README.md has no {end}"));
    if std::env::var_os("DORMOUSE_WRITE_README").is_some() {
        fs::write(&path, format!("{before}{begin}{text}{end}{after}")).expect("README.md can be written");
        return;
    }
    for (today, written) in text.lines().zip(block.lines()) {
        assert_eq!(today, written, "README.md, {name}: DORMOUSE_WRITE_README=1 writes what is true today");
    }
    assert_eq!(
        text.lines().count(),
        block.lines().count(),
        "README.md, {name}: DORMOUSE_WRITE_README=1 writes it anew"
    );
}
