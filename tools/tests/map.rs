//! The drawing of a pool: well-formed, to scale, and never empty where something is.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::path::Path;

use roxmltree::{Document, Node};
use thinly::json::MapJson;
use thinly::svg::{BAR_COUNT, CELL_COUNT, pool_map};
use thinly_engine::catalogue::{PoolName, Timestamp, VolumeName};
use thinly_engine::metadata::{CellBlocks, CellGrid};
use thinly_engine::pool::{Holder, MapBar, PoolMap};
use thinly_engine::units::{BlockSize, DataBlocks, ThinId};

fn cell(exclusive: u64, shared: u64) -> CellBlocks {
    CellBlocks { exclusive, shared }
}

fn bar(holder: Holder, cells: Vec<CellBlocks>) -> MapBar {
    MapBar { holder, cells }
}

fn volume(name: &str) -> Holder {
    Holder::Volume(VolumeName::new(name).unwrap())
}

fn map(total_blocks: u64, cells: Vec<CellBlocks>, bars: Vec<MapBar>) -> PoolMap {
    let grid = CellGrid::new(DataBlocks::new(total_blocks), cells.len());
    assert_eq!(grid.cell_count(), cells.len());
    PoolMap {
        pool: PoolName::new("p0").unwrap(),
        block_size: BlockSize::DEFAULT,
        read_at: Timestamp(1_709_210_096_007),
        grid,
        cells,
        bars,
    }
}

/// Five cells of ten blocks.
fn small() -> PoolMap {
    let id = ThinId::new(9).unwrap();
    let cells = vec![cell(10, 0), cell(0, 10), cell(3, 4), cell(0, 0), cell(1, 0)];
    let web = vec![cell(10, 0), cell(0, 10), cell(0, 4), cell(0, 0), cell(0, 0)];
    let copy = vec![cell(0, 0), cell(0, 10), cell(3, 4), cell(0, 0), cell(0, 0)];
    let gone = vec![cell(0, 0), cell(0, 0), cell(0, 0), cell(0, 0), cell(1, 0)];
    let long = format!("pvc-{}-tail", "0123456789".repeat(9));
    let bars = vec![
        bar(volume("a <b> & \"c\" 'd' \u{ffff}"), web),
        bar(volume(&long), copy),
        bar(Holder::Deleted(id), gone),
        bar(Holder::Orphan(id), vec![cell(0, 0); 5]),
        bar(Holder::Others(3), vec![cell(0, 0); 5]),
    ];
    map(50, cells, bars)
}

/// A column: left, top, width and height.
type Column = [u64; 4];

fn columns(path: &str) -> Vec<Column> {
    let column = |text: &str| {
        let parts = text.split(|c: char| !c.is_ascii_digit()).filter(|part| !part.is_empty());
        let numbers: Vec<u64> = parts.map(|part| part.parse().unwrap()).collect();
        let [left, top, width, height, back] = numbers[..] else { panic!("{text}") };
        assert_eq!(text, format!("{left} {top}h{width}v{height}h-{back}z"));
        assert_eq!(width, back);
        [left, top, width, height]
    };
    path.split('M').skip(1).map(column).collect()
}

/// A strip or a bar as it is drawn.
struct Drawn {
    title: String,
    frame: Column,
    exclusive: Vec<Column>,
    shared: Vec<Column>,
}

fn drawn(group: Node<'_, '_>) -> Drawn {
    let of = |name: &str, class: Option<&str>| {
        let fits = |node: &Node<'_, '_>| {
            node.has_tag_name(("http://www.w3.org/2000/svg", name))
                && node.attribute("class") == class
        };
        group.children().find(fits).unwrap()
    };
    let frame = of("rect", Some("f"));
    let path = |class| columns(of("path", Some(class)).attribute("d").unwrap());
    Drawn {
        title: of("title", None).text().unwrap().to_owned(),
        frame: ["x", "y", "width", "height"]
            .map(|side| frame.attribute(side).unwrap().parse().unwrap()),
        exclusive: path("e"),
        shared: path("s"),
    }
}

fn groups(drawing: &str) -> Vec<Drawn> {
    let document = Document::parse(drawing).unwrap();
    let groups: Vec<Drawn> = document
        .descendants()
        .filter(|node| node.has_tag_name(("http://www.w3.org/2000/svg", "g")))
        .map(drawn)
        .collect();
    for Drawn { title, frame, exclusive, shared } in &groups {
        let mut taken = BTreeSet::new();
        for [left, top, width, height] in exclusive.iter().chain(shared) {
            assert!(*left >= frame[0] && left + width <= frame[0] + frame[2], "{title}");
            assert!(*top >= frame[1] && top + height <= frame[1] + frame[3], "{title}");
            for x in *left..left + width {
                assert!(
                    (*top..top + height).all(|y| taken.insert((x, y))),
                    "{title}: twice at {x}"
                );
            }
        }
    }
    groups
}

fn area(columns: &[Column]) -> u64 {
    columns.iter().map(|[_, _, width, height]| width * height).sum()
}

#[test]
fn a_small_pool() {
    insta::assert_snapshot!(pool_map(&small()));
    let value = MapJson::new(&small(), Path::new("p0.svg"), 1234);
    insta::assert_snapshot!(serde_json::to_string_pretty(&value).unwrap());
}

#[test]
fn names_are_text_and_nothing_else() {
    let groups = groups(&pool_map(&small()));
    let titles: Vec<&str> = groups.iter().map(|group| group.title.as_str()).collect();
    let block = BlockSize::DEFAULT.bytes().get();
    assert_eq!(
        titles[0],
        format!("pool p0: {} bytes exclusive, {} bytes shared", 14 * block, 14 * block)
    );
    assert!(titles[1].starts_with("a <b> & \"c\" 'd' \u{fffd}: "), "{titles:?}");
    assert!(
        titles[2].starts_with("pvc-0123456789") && titles[2].contains("89-tail: "),
        "{titles:?}"
    );
    assert_eq!(titles[5], "3 others: 0 bytes exclusive, 0 bytes shared");
}

/// Where each cell is of one kind, areas are exact.
#[test]
fn widths_and_heights_are_to_scale() {
    let kinds = [cell(10, 0), cell(0, 10), cell(0, 0), cell(5, 5)];
    for count in [1, 3, 7, 400, 999, 1000] {
        let cells: Vec<CellBlocks> = kinds.iter().copied().cycle().take(count).collect();
        let total = 10 * u64::try_from(count).unwrap();
        let groups = groups(&pool_map(&map(total, cells.clone(), vec![bar(volume("web"), cells)])));
        for Drawn { frame: [left, _, width, height], exclusive, shared, .. } in groups {
            let edge = |cell: usize| left + u64::try_from(cell).unwrap() * width / (total / 10);
            let expected = |kind: fn(&CellBlocks) -> u64| -> u64 {
                let cells = kinds.iter().cycle().take(count).enumerate();
                cells.map(|(at, cell)| (edge(at + 1) - edge(at)) * height * kind(cell) / 10).sum()
            };
            assert_eq!(area(&exclusive), expected(|cell| cell.exclusive), "{count} cells");
            assert_eq!(area(&shared), expected(|cell| cell.shared), "{count} cells");
        }
    }
}

/// 10 TiB in blocks of 128 KiB, with one block here and there.
#[test]
fn a_single_block_of_a_large_pool_is_seen() {
    let mut cells = vec![cell(0, 0); CELL_COUNT];
    (cells[0], cells[500], cells[999]) = (cell(1, 0), cell(1, 1), cell(0, 1));
    let bars = (0..=BAR_COUNT).map(|n| bar(volume(&format!("v{n}")), cells.clone()));
    let groups = groups(&pool_map(&map(80 << 20, cells.clone(), bars.collect())));
    assert_eq!(groups.len(), BAR_COUNT + 2);
    for Drawn { title, frame: [left, ..], exclusive, shared, .. } in groups {
        let places = |columns: &[Column]| -> Vec<u64> {
            assert!(columns.iter().all(|[_, _, width, height]| *width == 1 && *height >= 2));
            columns.iter().map(|column| column[0] - left).collect()
        };
        assert_eq!(
            (places(&exclusive), places(&shared)),
            (vec![0, 500], vec![500, 999]),
            "{title}"
        );
    }
}

#[test]
fn a_pool_without_blocks_or_devices_is_drawn() {
    for total in [0, 5] {
        let cells = vec![cell(0, 0); usize::try_from(total).unwrap()];
        let groups = groups(&pool_map(&map(total, cells, Vec::new())));
        assert_eq!((groups.len(), area(&groups[0].exclusive)), (1, 0));
    }
}
