//! What was found, as text for a person or JSON for a program.

use std::io::Write;

use anyhow::Result;
use comfy_table::{Table, presets};
use serde_json::{Map, Value, json};
use thinly_engine::dm::{StatusLine, TextError};

use super::FormatArguments;
use super::decode::Fields;

/// A JSON document and its end of line.
pub(super) fn document(out: &mut dyn Write, value: &Value) -> Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    writeln!(out)?;
    Ok(())
}

/// Named fields, one in a line.
pub(super) fn fields(out: &mut dyn Write, fields: &Fields, indent: &str) -> Result<()> {
    let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in fields {
        writeln!(out, "{indent}{name:width$}  {}", text(value))?;
    }
    Ok(())
}

/// Named fields as a JSON object.
pub(super) fn object(fields: Fields) -> Map<String, Value> {
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// A value without JSON's quotes; what is absent is a dash, as in the kernel's texts.
fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Bool(value) => if *value { "yes" } else { "no" }.to_owned(),
        Value::String(value) => value.clone(),
        Value::Array(values) if values.is_empty() => "-".to_owned(),
        Value::Array(values) => values.iter().map(text).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

/// Rows under a heading, without lines around them.
pub(super) fn rows(out: &mut dyn Write, heading: &[&str], rows: Vec<Vec<String>>) -> Result<()> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(heading);
    for row in rows {
        table.add_row(row);
    }
    for line in table.lines() {
        writeln!(out, "{}", line.trim())?;
    }
    Ok(())
}

/// The lines of a table or a status.
pub(super) fn target_lines(
    out: &mut dyn Write,
    format: FormatArguments,
    lines: &[StatusLine],
    decode: impl Fn(&StatusLine) -> Result<Option<Fields>, TextError>,
) -> Result<()> {
    if format.json {
        let values = lines.iter().map(|line| json_line(line, format.raw, &decode));
        return document(out, &Value::Array(values.collect::<Result<_>>()?));
    }
    for line in lines {
        let StatusLine { start, length, kind, text } = line;
        let decoded = if format.raw { None } else { decode(line)? };
        match decoded {
            None => writeln!(out, "{start} {length} {kind} {text}")?,
            Some(decoded) => {
                writeln!(out, "{start} {length} {kind}")?;
                fields(out, &decoded, "  ")?;
            }
        }
    }
    Ok(())
}

fn json_line(
    line: &StatusLine,
    raw: bool,
    decode: impl Fn(&StatusLine) -> Result<Option<Fields>, TextError>,
) -> Result<Value> {
    let mut value = json!({
        "start_sectors": line.start.get(),
        "length_sectors": line.length.get(),
        "target": line.kind,
        "text": line.text,
    });
    if !raw && let Some(decoded) = decode(line)? {
        value["fields"] = Value::Object(object(decoded));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::super::decode;
    use super::*;
    use thinly_engine::units::Sectors;

    fn line(kind: &str, text: &str) -> StatusLine {
        StatusLine {
            start: Sectors::ZERO,
            length: Sectors::new(2048),
            kind: kind.to_owned(),
            text: text.to_owned(),
        }
    }

    fn shown(line: StatusLine, format: FormatArguments) -> String {
        let mut out = Vec::new();
        target_lines(&mut out, format, &[line], decode::status).unwrap();
        String::from_utf8(out).unwrap()
    }

    const POOL: &str =
        "3 20/1024 5/16 - out_of_data_space discard_passdown error_if_no_space - 256 ";

    #[test]
    fn a_pools_status_has_names() {
        assert_eq!(
            shown(line("thin-pool", POOL), FormatArguments { json: false, raw: false }),
            "0 2048 thin-pool\n  mode                           out_of_data_space\n  \
             needs_check                    no\n  transaction_id                 3\n  \
             used_data_blocks               5\n  total_data_blocks              16\n  \
             used_metadata_blocks           20\n  total_metadata_blocks          1024\n  \
             metadata_low_watermark_blocks  256\n  held_metadata_root             -\n  \
             discard                        discard_passdown\n  \
             on_no_space                    error_if_no_space\n  \
             trailing                       -\n"
        );
    }

    #[test]
    fn raw_is_what_the_kernel_wrote() {
        let format = FormatArguments { json: false, raw: true };
        assert_eq!(shown(line("thin-pool", POOL), format), format!("0 2048 thin-pool {POOL}\n"));
        let other = line("delay", "0 0 0");
        let decoded = FormatArguments { json: false, raw: false };
        assert_eq!(shown(other, decoded), "0 2048 delay 0 0 0\n");
    }

    #[test]
    fn json_holds_text_and_fields() {
        let read = |raw| -> Value {
            let text = shown(line("thin", "256 2047"), FormatArguments { json: true, raw });
            serde_json::from_str(&text).unwrap()
        };
        let fields = json!({"state": "mapped", "mapped_sectors": 256, "highest_sector": 2047});
        assert_eq!(read(false)[0]["fields"], fields);
        assert_eq!(read(false)[0]["text"], "256 2047");
        assert_eq!(read(true)[0]["fields"], Value::Null);
    }

    #[test]
    fn rows_are_aligned() {
        let mut out = Vec::new();
        let row = vec![vec!["long-name".to_owned(), "1".to_owned()]];
        rows(&mut out, &["NAME", "OPEN"], row).unwrap();
        let text = String::from_utf8(out).unwrap();
        let columns: Vec<_> =
            text.lines().zip(["OPEN", "1"]).map(|(line, word)| line.find(word).unwrap()).collect();
        assert_eq!(columns[0], columns[1], "{text}");
    }
}
