//! Compares `sys` with the C header of the machine that runs the test.
#![forbid(unsafe_code)]

use std::fmt::Write as _;
use std::io::ErrorKind;
use std::mem::{offset_of, size_of};
use std::process::Command as Process;

use super::command::Command;
#[allow(clippy::wildcard_imports, reason = "the test is about every name in there")]
use super::sys::*;

/// A C expression and what Rust takes it for.
type Fact = (String, u64);

fn sizes_and_offsets() -> Vec<Fact> {
    macro_rules! facts {
        ($($rust:ident = $c:literal { $($field:ident),* $(,)? })*) => {
            vec![$($(
                (format!("offsetof({}, {})", $c, stringify!($field)), offset_of!($rust, $field)),
            )*)*]
        };
    }
    let mut facts = facts! {
        DmIoctl = "struct dm_ioctl" {
            version, data_size, data_start, target_count, open_count, flags, event_nr, padding,
            dev, name, uuid, data,
        }
        DmTargetSpec = "struct dm_target_spec" {
            sector_start, length, status, next, target_type,
        }
        DmTargetDeps = "struct dm_target_deps" { count, padding }
        DmNameList = "struct dm_name_list" { dev, next, name }
        DmTargetVersions = "struct dm_target_versions" { next, version }
        DmTargetMsg = "struct dm_target_msg" { sector }
    };
    facts.extend([
        ("sizeof(struct dm_ioctl)".to_owned(), size_of::<DmIoctl>()),
        ("sizeof(struct dm_target_spec)".to_owned(), size_of::<DmTargetSpec>()),
        ("offsetof(struct dm_target_deps, dev)".to_owned(), size_of::<DmTargetDeps>()),
        ("sizeof(struct dm_name_list)".to_owned(), size_of::<DmNameList>()),
        ("offsetof(struct dm_target_versions, name)".to_owned(), size_of::<DmTargetVersions>()),
        ("offsetof(struct dm_target_msg, message)".to_owned(), size_of::<DmTargetMsg>()),
        ("DM_MAX_TYPE_NAME".to_owned(), DM_MAX_TYPE_NAME),
        ("DM_NAME_LEN".to_owned(), DM_NAME_LEN),
        ("DM_UUID_LEN".to_owned(), DM_UUID_LEN),
    ]);
    facts.into_iter().map(|(name, value)| (name, u64::try_from(value).unwrap())).collect()
}

fn constants() -> Vec<Fact> {
    macro_rules! facts {
        ($($name:ident),* $(,)?) => { vec![$((stringify!($name).to_owned(), u64::from($name))),*] };
    }
    facts![
        DM_IOCTL,
        DM_VERSION_CMD,
        DM_LIST_DEVICES_CMD,
        DM_DEV_CREATE_CMD,
        DM_DEV_REMOVE_CMD,
        DM_DEV_SUSPEND_CMD,
        DM_DEV_STATUS_CMD,
        DM_TABLE_LOAD_CMD,
        DM_TABLE_CLEAR_CMD,
        DM_TABLE_DEPS_CMD,
        DM_TABLE_STATUS_CMD,
        DM_LIST_VERSIONS_CMD,
        DM_TARGET_MSG_CMD,
        DM_DEV_ARM_POLL_CMD,
        DM_GET_TARGET_VERSION_CMD,
        DM_READONLY_FLAG,
        DM_SUSPEND_FLAG,
        DM_STATUS_TABLE_FLAG,
        DM_ACTIVE_PRESENT_FLAG,
        DM_INACTIVE_PRESENT_FLAG,
        DM_BUFFER_FULL_FLAG,
        DM_SKIP_LOCKFS_FLAG,
        DM_NOFLUSH_FLAG,
        DM_QUERY_INACTIVE_TABLE_FLAG,
        DM_UUID_FLAG,
        DM_DATA_OUT_FLAG,
        DM_DEFERRED_REMOVE,
        DM_INTERNAL_SUSPEND_FLAG,
        DM_NAME_LIST_FLAG_HAS_UUID,
        DM_NAME_LIST_FLAG_DOESNT_HAVE_UUID,
    ]
}

fn requests() -> Vec<Fact> {
    let request =
        |command: Command| nix::request_code_readwrite!(DM_IOCTL, command.number(), HEADER_BYTES);
    [
        ("DM_VERSION", Command::Version),
        ("DM_LIST_DEVICES", Command::ListDevices),
        ("DM_DEV_CREATE", Command::Create),
        ("DM_DEV_REMOVE", Command::Remove),
        ("DM_DEV_SUSPEND", Command::Suspend),
        ("DM_DEV_SUSPEND", Command::Resume),
        ("DM_DEV_STATUS", Command::Info),
        ("DM_TABLE_LOAD", Command::TableLoad),
        ("DM_TABLE_CLEAR", Command::TableClear),
        ("DM_TABLE_DEPS", Command::TableDeps),
        ("DM_TABLE_STATUS", Command::TableStatus),
        ("DM_LIST_VERSIONS", Command::ListVersions),
        ("DM_TARGET_MSG", Command::Message),
        ("DM_DEV_ARM_POLL", Command::ArmPoll),
        ("DM_GET_TARGET_VERSION", Command::TargetVersion),
    ]
    .into_iter()
    .map(|(name, command)| (name.to_owned(), request(command)))
    .chain([
        ("BLKDISCARD".to_owned(), nix::request_code_none!(0x12, 119)),
        ("BLKRRPART".to_owned(), nix::request_code_none!(0x12, 95)),
        ("BLKFLSBUF".to_owned(), nix::request_code_none!(0x12, 97)),
        ("BLKZEROOUT".to_owned(), nix::request_code_none!(0x12, 127)),
    ])
    .collect()
}

/// A program that prints each fact as C knows it.
fn program(facts: &[Fact]) -> String {
    let mut source = String::from(
        "#include <stddef.h>\n#include <stdio.h>\n#include <linux/fs.h>\n\
         #include <linux/dm-ioctl.h>\nint main(void) {\n",
    );
    for (expression, _) in facts {
        writeln!(source, "printf(\"%llu\\n\", (unsigned long long)({expression}));").unwrap();
    }
    source.push_str("return 0;\n}\n");
    source
}

#[allow(clippy::disallowed_methods, reason = "a test may run a compiler")]
fn run(program: &str, arguments: &[&str]) -> std::io::Result<std::process::Output> {
    Process::new(program).args(arguments).output()
}

/// The reason why the comparison cannot be made here.
fn missing_tools(compiler: &str) -> Option<String> {
    match run(compiler, &["--version"]) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Some(format!("there is no C compiler ({compiler})"));
        }
        other => {
            other.unwrap();
        }
    }
    let header = "/usr/include/linux/dm-ioctl.h";
    (!std::path::Path::new(header).exists()).then(|| format!("{header} is not installed"))
}

#[test]
fn every_size_offset_and_number_is_that_of_the_header() {
    if let Some(reason) = missing_tools("cc") {
        eprintln!("skipped: {reason}");
        return;
    }
    let facts: Vec<Fact> =
        [sizes_and_offsets(), constants(), requests()].into_iter().flatten().collect();
    let directory = tempfile::tempdir().unwrap();
    let [source, binary] = ["facts.c", "facts"].map(|name| directory.path().join(name));
    std::fs::write(&source, program(&facts)).unwrap();
    let output = run("cc", &["-o", binary.to_str().unwrap(), source.to_str().unwrap()]).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let output = run(binary.to_str().unwrap(), &[]).unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let numbers: Vec<u64> = printed.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(numbers.len(), facts.len());
    for ((expression, ours), theirs) in facts.iter().zip(numbers) {
        assert_eq!(*ours, theirs, "{expression}");
    }
}
