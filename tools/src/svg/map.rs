//! A pool's data device from its first to its last block, and below it the part of each volume.
#![forbid(unsafe_code)]

use thinly_engine::metadata::CellBlocks;
use thinly_engine::pool::{MapBar, PoolMap};
use thinly_engine::units::{Bytes, DataBlocks};

use super::columns::{Frame, Outlines};
use super::escape;
use crate::size::{human, percent};
use crate::time::short;

/// How many cells can be drawn: each is at least a pixel wide.
pub const CELL_COUNT: usize = 1000;
/// How many volumes and snapshots get a bar of their own.
pub const BAR_COUNT: usize = 40;

const STRIP: Frame = Frame { left: 290, top: 110, width: 1000, height: 60 };
const BAR: Frame = Frame { top: 230, height: 16, ..STRIP };
const BAR_STEP: u64 = 22;
const MARGIN: u64 = 8;
const PAGE_WIDTH: u64 = STRIP.left + STRIP.width + 200;
/// Characters of a name that have room left of its bar.
const NAME_CHARS_MAX: usize = 36;
const NAME_HEAD_CHARS: usize = 22;

// Told apart by every eye: blue and orange of Okabe and Ito.
const STYLE: &str = "text{font:12px sans-serif;fill:#222}.h{font-size:20px}.l{text-anchor:end}\
.m{text-anchor:middle}.e{fill:#0072b2}.s{fill:#e69f00}.f{fill:#e4e4e4}";

/// Draws a map.
pub fn pool_map(map: &PoolMap) -> String {
    let bars: u64 = map.bars.iter().map(|_| BAR_STEP).sum();
    let height = BAR.top + bars + 30;
    let mut lines = vec![
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {PAGE_WIDTH} {height}\" \
             width=\"{PAGE_WIDTH}\" height=\"{height}\" shape-rendering=\"crispEdges\">"
        ),
        format!("<style>{STYLE}</style>"),
        format!("<rect width=\"{PAGE_WIDTH}\" height=\"{height}\" fill=\"#fff\"/>"),
    ];
    head(map, &mut lines);
    legend(map, &mut lines);
    let whole = format!("pool {}", map.pool);
    lines.push(group(map, STRIP, "pool", &whole, &map.cells));
    scale(map, &mut lines);
    let top = BAR.top - MARGIN;
    if !map.bars.is_empty() {
        let right = STRIP.left + STRIP.width + MARGIN;
        lines.push(text("l", STRIP.left - MARGIN, top, "most mapped first"));
        lines.push(text("", right, top, "exclusive, of mapped"));
    }
    let tops = (BAR.top..).step_by(usize::try_from(BAR_STEP).unwrap_or(usize::MAX));
    for (bar, top) in map.bars.iter().zip(tops) {
        bar_lines(map, bar, Frame { top, ..BAR }, &mut lines);
    }
    lines.push(text("", STRIP.left, height - 10, &explanation(map)));
    lines.push("</svg>\n".to_owned());
    lines.join("\n")
}

fn head(map: &PoolMap, lines: &mut Vec<String>) {
    let (total, block) = (human(total_bytes(map)), human(map.block_size.bytes()));
    let title = format!("Pool {}", map.pool);
    lines.push(format!("<title>{}</title>", escape(&title)));
    lines.push(text("h", STRIP.left, 32, &title));
    let moment = short(map.read_at);
    let about = format!("{total} of data in blocks of {block}, at {moment} UTC");
    lines.push(text("", STRIP.left, 56, &about));
}

fn legend(map: &PoolMap, lines: &mut Vec<String>) {
    let total = total_bytes(map);
    let sum = CellBlocks::sum(&map.cells);
    let [exclusive, shared] = [sum.exclusive, sum.shared].map(|blocks| bytes(map, blocks));
    let free = Bytes::new(total.get().saturating_sub(bytes(map, sum.mapped()).get()));
    for (class, left, what, bytes) in [
        ("e", STRIP.left, "exclusive to one", exclusive),
        ("s", STRIP.left + 300, "shared by several", shared),
        ("f", STRIP.left + 600, "free", free),
    ] {
        let amount = format!("{what}: {} ({} %)", human(bytes), percent(bytes, total));
        lines.push(format!(
            "<rect class=\"{class}\" x=\"{left}\" y=\"78\" width=\"14\" height=\"14\"/>"
        ));
        lines.push(text("", left + 20, 90, &amount));
    }
}

/// Quarters of the data device.
fn scale(map: &PoolMap, lines: &mut Vec<String>) {
    let total = total_bytes(map).get();
    let bottom = STRIP.top + STRIP.height;
    for quarter in 0..=4 {
        let x = STRIP.left + STRIP.width * quarter / 4;
        let at = u64::try_from(u128::from(total) * u128::from(quarter) / 4).unwrap_or(total);
        lines.push(format!("<path d=\"M{x} {bottom}v6\" stroke=\"#222\"/>"));
        lines.push(text("m", x, bottom + 20, &human(Bytes::new(at))));
    }
}

fn bar_lines(map: &PoolMap, bar: &MapBar, frame: Frame, lines: &mut Vec<String>) {
    let name = bar.holder.to_string();
    let sum = CellBlocks::sum(&bar.cells);
    let [exclusive, mapped] = [sum.exclusive, sum.mapped()].map(|blocks| human(bytes(map, blocks)));
    let base = frame.top + frame.height - 3;
    lines.push(text("l", frame.left - MARGIN, base, &shortened(&name)));
    lines.push(group(map, frame, "bar", &name, &bar.cells));
    let right = frame.left + frame.width + MARGIN;
    lines.push(text("", right, base, &format!("{exclusive}, of {mapped}")));
}

/// The columns of a frame; who looks closer is told the exact amounts.
fn group(map: &PoolMap, frame: Frame, class: &str, name: &str, cells: &[CellBlocks]) -> String {
    let Frame { left, top, width, height } = frame;
    let Outlines { exclusive, shared } = frame.columns(map.grid, cells);
    let sum = CellBlocks::sum(cells);
    let [alone, several] = [sum.exclusive, sum.shared].map(|blocks| bytes(map, blocks).get());
    let name = escape(name);
    format!(
        "<g class=\"{class}\"><title>{name}: {alone} bytes exclusive, {several} bytes shared</title>\n\
         <rect class=\"f\" x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{height}\"/>\n\
         <path class=\"e\" d=\"{exclusive}\"/>\n<path class=\"s\" d=\"{shared}\"/></g>"
    )
}

fn explanation(map: &PoolMap) -> String {
    let cell = map.grid.blocks_of(0);
    let cell = human(bytes(map, cell.end.saturating_sub(cell.start)));
    format!(
        "A column is {cell} of the data device, as high as the share that is held; however little, it is seen."
    )
}

fn text(class: &str, x: u64, y: u64, text: &str) -> String {
    format!("<text class=\"{class}\" x=\"{x}\" y=\"{y}\">{}</text>", escape(text))
}

/// A name without its middle, when it is too long: both ends tell names of a kind apart.
fn shortened(name: &str) -> String {
    let count = name.chars().count();
    if count <= NAME_CHARS_MAX {
        return name.to_owned();
    }
    let head = name.chars().take(NAME_HEAD_CHARS);
    let tail = name.chars().skip(count - (NAME_CHARS_MAX - NAME_HEAD_CHARS - 1));
    head.chain(std::iter::once('\u{2026}')).chain(tail).collect()
}

fn bytes(map: &PoolMap, blocks: u64) -> Bytes {
    map.block_size.length_of(DataBlocks::new(blocks))
}

fn total_bytes(map: &PoolMap) -> Bytes {
    map.block_size.length_of(map.grid.total_data_blocks())
}
