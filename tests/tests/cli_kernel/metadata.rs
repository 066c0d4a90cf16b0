//! Repairing dm-thin's metadata and putting an image in its place, by the command: what is only looked at, what is
//! refused, and what then serves again.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use thinly::exit::Exit;
use thinly_tests::{demand_check, sh};

use crate::program::{TestPool, ends_of, json, refused, refused_in_json, text, thinly};

/// A closed pool with one filled volume and a snapshot of it, an image of its metadata, and where that lies on the disk.
struct Closed {
    pool: TestPool,
    directory: tempfile::TempDir,
    offset_bytes: u64,
}

impl Closed {
    fn new() -> Self {
        let pool = TestPool::new();
        pool.create_filled("web", "monday");
        json(&["snapshot", "create", &pool.path("web"), "web@1"]);
        // thin_restore writes past the page cache, which a file system in memory has learnt with 6.6 only.
        let directory = tempfile::tempdir_in("/scratch").unwrap();
        let image = directory.path().join("image");
        json(&["pool", "copy-metadata", &pool.name, image.to_str().unwrap()]);
        let view = json(&["pool", "show", &pool.name]);
        let short = &view["uuid"].as_str().unwrap()[..8];
        let table = sh(&format!("dmsetup table thinly-{short}-meta")).unwrap();
        let start = table.lines().next().unwrap().split_whitespace().last().unwrap();
        let offset_bytes = start.parse::<u64>().unwrap() * 512;
        json(&["pool", "close", &pool.name]);
        Self { pool, directory, offset_bytes }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A file with this content.
    fn put(&self, name: &str, content: &[u8]) -> String {
        let file = self.file(name);
        fs::write(&file, content).unwrap();
        file.display().to_string()
    }

    /// The image, changed in the form in which Debian's tools print it.
    fn edited(&self, name: &str, script: &str) -> String {
        sh(&format!(
            "cd {}; thin_dump image | sed -E '{script}' > {name}.xml; truncate --reference image {name}
             thin_restore --input {name}.xml --output {name}",
            self.directory.path().display()
        ))
        .unwrap();
        self.file(name).display().to_string()
    }

    /// The heads of the metadata, and both ends of the disk with labels and journal.
    fn digest(&self) -> Vec<String> {
        let mut head = vec![0; 1 << 20];
        let disk = fs::File::open(&self.pool.disks[0]).unwrap();
        disk.read_exact_at(&mut head, self.offset_bytes).unwrap();
        let mut digest = ends_of(&[&self.pool.disks[0]]);
        digest.push(format!("{:08x}", crc32c::crc32c(&head)));
        digest
    }

    /// The pool serves as it did.
    fn check(&self) {
        json(&["pool", "open", &self.pool.name]);
        assert_eq!(self.pool.told("web"), "monday");
        assert_eq!(self.pool.told("web@1"), "monday");
        assert_eq!(json(&["pool", "show", &self.pool.name])["health"], "rw");
    }
}

#[test]
fn a_repair_looks_and_writes_only_when_it_is_told_to() {
    let closed = Closed::new();
    let name = closed.pool.name.as_str();
    let sound = json(&["pool", "repair", name, "--yes"]);
    assert_eq!((&sound["needs_check"], &sound["repaired"]), (&false.into(), &false.into()));
    assert!(text(&["pool", "repair", name]).contains("the metadata is sound"));

    demand_check(&closed.pool.disks[0], closed.offset_bytes).unwrap();
    let before = closed.digest();
    let told = text(&["pool", "repair", name]);
    assert!(told.contains(&format!("thinly pool repair {name} --yes")), "{told}");
    let looked = json(&["pool", "repair", name]);
    assert_eq!((&looked["needs_check"], &looked["repaired"]), (&true.into(), &false.into()));
    assert_eq!((&looked["device_count"], &looked["damage"]), (&2.into(), &serde_json::Value::Null));
    refused(&["pool", "repair", name, "--accept-loss"], Exit::Usage, &["--yes"]);
    assert_eq!(closed.digest(), before, "looking wrote something");

    json(&["pool", "open", name]);
    refused(&["pool", "repair", name, "--yes"], Exit::InUse, &[name, "thinly pool close"]);
    assert_eq!(json(&["pool", "show", name])["health"], "needs_check");
    json(&["pool", "close", name]);
    let repaired = json(&["pool", "repair", name, "--yes"]);
    assert_eq!((&repaired["repaired"], &repaired["lost"]), (&true.into(), &serde_json::json!([])));
    closed.check();
    refused(&["pool", "repair", "nowhere", "--yes"], Exit::NotFound, &["nowhere"]);
}

#[test]
fn an_image_that_is_none_of_the_pools_is_refused_and_a_good_one_serves() {
    let closed = Closed::new();
    let name = closed.pool.name.as_str();
    let image = closed.file("image");
    let good = fs::read(&image).unwrap();
    let image = image.to_str().unwrap();
    let before = closed.digest();

    let asked = ["pool", "restore-metadata", name, image];
    refused(&asked, Exit::Refused, &[name, "--yes"]);
    let nowhere = closed.file("nowhere").display().to_string();
    let directory = closed.directory.path().to_str().unwrap();
    let wrong: [(&str, Exit, &[&str]); 9] = [
        (&nowhere, Exit::NotFound, &[&nowhere]),
        (directory, Exit::Damaged, &[directory]),
        (&closed.put("empty", b""), Exit::Damaged, &["empty"]),
        (&closed.put("text", b"no metadata at all\n"), Exit::Damaged, &["text"]),
        (&closed.put("cut", &good[..5 * 4096]), Exit::Damaged, &["cut"]),
        (
            &closed.put("long", &[good.clone(), good.clone()].concat()),
            Exit::Damaged,
            &["long", "spare"],
        ),
        (
            &closed.edited("foreign", r#"/<superblock/s/ transaction="[0-9]+"/ transaction="77"/"#),
            Exit::Damaged,
            &["foreign", "77"],
        ),
        (
            &closed.edited(
                "blocks",
                r#"/<superblock/s/ data_block_size="[0-9]+"/ data_block_size="2048"/"#,
            ),
            Exit::Damaged,
            &["blocks", "2048"],
        ),
        (
            &closed.edited("loses", r#"/<device dev_id="1"/,/<\/device>/d"#),
            Exit::Damaged,
            &["web@1", "--accept-loss"],
        ),
    ];
    for (file, exit, words) in wrong {
        refused_in_json(&["pool", "restore-metadata", name, file, "--yes"], exit, words);
        assert_eq!(closed.digest(), before, "{file} left something");
    }
    closed.check();
    refused_in_json(
        &["pool", "restore-metadata", name, image, "--yes"],
        Exit::InUse,
        &["thinly pool close"],
    );
    json(&["pool", "close", name]);

    // The pool was announced anew since: what the image does not know is given up, as the question says.
    let restored = json(&["pool", "restore-metadata", name, image, "--yes"]);
    assert_eq!(restored["state"], "closed");
    closed.check();
}

#[test]
fn an_image_that_lacks_a_volume_is_taken_when_that_is_accepted() {
    let closed = Closed::new();
    let name = closed.pool.name.as_str();
    let lacking = closed.edited("loses", r#"/<device dev_id="1"/,/<\/device>/d"#);
    let arguments = ["pool", "restore-metadata", name, &lacking, "--yes", "--accept-loss"];
    let output = thinly(&arguments);
    assert!(output.status.success(), "{output:?}");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("web@1 is not in the image"), "{told}");
    assert!(Path::new(&lacking).exists());
    json(&["pool", "open", name]);
    assert_eq!(closed.pool.told("web"), "monday");
}
