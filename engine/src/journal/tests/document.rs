//! The document's tables are printed from the code.
#![forbid(unsafe_code)]

use std::fmt::Write;

use crate::journal::format::{
    Field, PAYLOAD_BYTES_MAX, REGION_ALIGNMENT_BYTES, UNIT_BYTES_MAX, UNIT_BYTES_MIN,
    WRITE_BYTES_MAX, frame, header, seal,
};

const DOCUMENT: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/format.md"));

fn table(fields: &[Field]) -> String {
    let mut text = String::from("| offset | bytes | field | meaning |\n|---:|---:|---|---|\n");
    for Field { name, offset, length, meaning } in fields {
        writeln!(text, "| {offset} | {length} | `{name}` | {meaning} |").unwrap();
    }
    text
}

fn limits() -> String {
    let mut text = String::from("| limit | bytes |\n|---|---:|\n");
    for (name, bytes) in [
        ("smallest write unit", u64::from(UNIT_BYTES_MIN)),
        ("largest write unit", u64::from(UNIT_BYTES_MAX)),
        ("region sizes are multiples of", REGION_ALIGNMENT_BYTES),
        ("longest record", PAYLOAD_BYTES_MAX as u64),
        ("longest write", WRITE_BYTES_MAX as u64),
    ] {
        writeln!(text, "| {name} | {bytes} |").unwrap();
    }
    text
}

#[test]
fn the_document_has_the_tables_of_the_code() {
    for wanted in [table(header::FIELDS), table(seal::FIELDS), table(frame::FIELDS), limits()] {
        assert!(DOCUMENT.contains(&wanted), "docs/format.md lacks:\n{wanted}");
    }
}

#[test]
fn the_example_in_the_document_is_what_is_written() {
    let medium = super::formatted(super::SMALL_BYTES);
    let (journal, _) = super::resume(&medium);
    journal.commit(b"hello".to_vec()).unwrap();
    let bytes = medium.bytes();
    for (start, length) in [(0, 80), (8192, 32)] {
        let mut text = String::new();
        for (line, chunk) in bytes[start..start + length].chunks(16).enumerate() {
            write!(text, "{:06x}", start + line * 16).unwrap();
            for byte in chunk {
                write!(text, " {byte:02x}").unwrap();
            }
            text.push('\n');
        }
        assert!(DOCUMENT.contains(&text), "docs/format.md lacks:\n{text}");
    }
}
