//! What the documents point at is there: links, the headings that links name, and files named in code.
#![allow(clippy::unwrap_used, reason = "what a test relies on may end it")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// Every document of the repository; what is built or hidden is none.
fn documents(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.starts_with('.') || name == "target" {
            continue;
        }
        if path.is_dir() {
            found.extend(documents(&path));
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
    found
}

/// What one document says of others.
#[derive(Debug, Default)]
struct Document {
    links: Vec<String>,
    codes: Vec<String>,
    anchors: Vec<String>,
}

impl Document {
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        let mut document = Self::default();
        let mut heading: Option<String> = None;
        for event in Parser::new_ext(&text, Options::ENABLE_TABLES | Options::ENABLE_GFM) {
            match event {
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => {
                    let anchor = anchor_of(&heading.take().unwrap_or_default());
                    let again = document.anchors.iter().filter(|known| **known == anchor).count();
                    let last = if again == 0 { anchor } else { format!("{anchor}-{again}") };
                    document.anchors.push(last);
                }
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    document.links.push(dest_url.into_string());
                }
                Event::Code(code) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&code);
                    }
                    document.codes.push(code.into_string());
                }
                Event::Text(text) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&text);
                    }
                }
                _ => {}
            }
        }
        document
    }
}

/// The name by which a heading is linked to, as forges make it.
fn anchor_of(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

/// Why a link leads nowhere, if it does.
fn broken(link: &str, from: &Path, all: &BTreeMap<PathBuf, Document>) -> Option<String> {
    if link.starts_with("https://") {
        return None;
    }
    let (file, anchor) = link.split_once('#').map_or((link, None), |(file, at)| (file, Some(at)));
    if file.contains(':') {
        return Some("is neither a file nor https".to_owned());
    }
    let target = if file.is_empty() { from.to_owned() } else { from.parent().unwrap().join(file) };
    let Ok(target) = target.canonicalize() else { return Some("is no file".to_owned()) };
    let anchor = anchor?;
    let document = all.get(&target)?;
    let is_known = document.anchors.iter().any(|known| known == anchor);
    (!is_known).then(|| format!("names no heading of {}", target.display()))
}

/// Whether code names a file of this repository: a known folder, and no sign of a pattern.
fn names_a_file(code: &str) -> bool {
    const FOLDERS: [&str; 8] =
        ["engine/", "csi/", "tools/", "tests/", "benches/", "deploy/", "docs/", "fuzz/"];
    FOLDERS.iter().any(|folder| code.starts_with(folder))
        && code.chars().all(|c| c.is_ascii_alphanumeric() || "/._-@".contains(c))
}

#[test]
fn every_link_and_every_file_that_is_named_is_there() {
    let root = root();
    let all: BTreeMap<PathBuf, Document> =
        documents(&root).into_iter().map(|path| (path.clone(), Document::read(&path))).collect();
    assert!(all.len() > 10, "only {} documents were found", all.len());
    let (mut links, mut files, mut faults) = (0, 0, Vec::new());
    for (path, document) in &all {
        let place = path.strip_prefix(&root).unwrap().display();
        for link in &document.links {
            links += 1;
            faults.extend(broken(link, path, &all).map(|why| format!("{place}: {link} {why}")));
        }
        for code in document.codes.iter().filter(|code| names_a_file(code)) {
            files += 1;
            if !root.join(code).exists() {
                faults.push(format!("{place}: there is no {code}"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(links > 30 && files > 30, "only {links} links and {files} files were found");
}

#[test]
fn anchors_are_made_as_forges_make_them() {
    assert_eq!(
        anchor_of("A disk is dying, or is wanted elsewhere"),
        "a-disk-is-dying-or-is-wanted-elsewhere"
    );
    assert_eq!(anchor_of("`thinly pool` and 10 TiB"), "thinly-pool-and-10-tib");
}
