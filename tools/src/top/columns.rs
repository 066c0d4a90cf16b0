//! Tables that leave out columns where there is no room. Pure.
#![forbid(unsafe_code)]

use ratatui::text::{Line, Span};

use super::theme::{Theme, Tone};

const GAP: usize = 2;

/// What is left for a sentence before other columns go.
const SENTENCE_LEAST: usize = 24;

/// A column of a table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    pub(super) title: &'static str,
    pub(super) is_right: bool,
    /// Columns of a higher rank are left out first; those of rank 0 never.
    pub(super) rank: u8,
    /// Whether it is cut before others are left out.
    pub(super) is_sentence: bool,
}

/// A column whose text begins at its left.
pub(super) const fn left(title: &'static str, rank: u8) -> Column {
    Column { title, is_right: false, rank, is_sentence: false }
}

/// A column of sentences.
pub(super) const fn sentence(title: &'static str) -> Column {
    Column { title, is_right: false, rank: 0, is_sentence: true }
}

/// A column of numbers.
pub(super) const fn right(title: &'static str, rank: u8) -> Column {
    Column { title, is_right: true, rank, is_sentence: false }
}

/// A cell.
#[derive(Debug, Clone, Default)]
pub(super) struct Cell {
    pub(super) text: String,
    pub(super) tone: Tone,
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: text.into(), tone: Tone::Plain }
    }
}

/// A cell with a tone.
pub(super) fn toned(text: impl Into<String>, tone: Tone) -> Cell {
    Cell { text: text.into(), tone }
}

/// The widths of columns in so much room; `None` for those that are left out. What does not fit even
/// so is cut.
fn widths(columns: &[Column], rows: &[Vec<Cell>], room: usize) -> Vec<Option<usize>> {
    let natural = |at: usize| {
        let cells = rows.iter().filter_map(|row| row.get(at)).map(|cell| chars(&cell.text));
        cells.chain(columns.get(at).map(|column| chars(column.title))).max().unwrap_or(0)
    };
    let mut widths: Vec<Option<usize>> = (0..columns.len()).map(|at| Some(natural(at))).collect();
    let total = |widths: &[Option<usize>]| {
        let least = |(column, width): (&Column, &Option<usize>)| {
            width.map(|width| if column.is_sentence { width.min(SENTENCE_LEAST) } else { width })
        };
        let shown: Vec<usize> = columns.iter().zip(widths).filter_map(least).collect();
        shown.iter().sum::<usize>() + GAP * shown.len().saturating_sub(1)
    };
    while total(&widths) > room {
        let shown = (0..columns.len()).filter(|at| widths[*at].is_some() && columns[*at].rank > 0);
        let Some(last) = shown.max_by_key(|at| columns[*at].rank) else { break };
        widths[last] = None;
    }
    let mut left = room;
    for width in &mut widths {
        *width = width.map(|width| width.min(left)).filter(|width| *width > 0);
        left = width.map_or(left, |width| left.saturating_sub(width + GAP));
    }
    widths
}

/// The header and the rows of a table as lines.
pub(super) fn lines(
    columns: &[Column],
    rows: &[Vec<Cell>],
    room: usize,
    theme: Theme,
) -> (Line<'static>, Vec<Line<'static>>) {
    let widths = widths(columns, rows, room);
    let titles: Vec<Cell> = columns.iter().map(|column| column.title.into()).collect();
    let line = |cells: &[Cell]| {
        let mut spans = Vec::new();
        for ((column, cell), width) in columns.iter().zip(cells).zip(&widths) {
            let Some(width) = width else { continue };
            if !spans.is_empty() {
                spans.push(Span::raw(" ".repeat(GAP)));
            }
            let text = padded(&cell.text, *width, column.is_right);
            spans.push(Span::styled(text, theme.style(cell.tone)));
        }
        Line::from(spans)
    };
    (line(&titles).style(theme.header()), rows.iter().map(|row| line(row)).collect())
}

/// The first row to show of `count` in so much room, for the chosen one to be among them.
pub(super) const fn first_shown(chosen: usize, count: usize, room: usize) -> usize {
    if count <= room || chosen < room {
        return 0;
    }
    chosen + 1 - room
}

/// A bar of so many per cent.
pub(super) fn bar(percent: u64, width: usize) -> String {
    let percent = usize::try_from(percent.min(100)).unwrap_or(100);
    let filled = (percent * width).div_ceil(100);
    format!("[{}{}]", "|".repeat(filled), " ".repeat(width - filled))
}

fn padded(text: &str, width: usize, is_right: bool) -> String {
    let cut: String = if chars(text) > width && width > 0 {
        text.chars().take(width - 1).chain(['~']).collect()
    } else {
        text.chars().take(width).collect()
    };
    if is_right { format!("{cut:>width$}") } else { format!("{cut:<width$}") }
}

fn chars(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const COLUMNS: [Column; 3] = [left("NAME", 0), right("SIZE", 1), left("WHEN", 2)];

    fn text(room: usize) -> Vec<String> {
        let row = |name: &str| vec![name.into(), "1.00 GiB".into(), "2024-02-29".into()];
        let rows = [row("web"), row("a-longer-name")];
        let (header, lines) = lines(&COLUMNS, &rows, room, Theme::new(false));
        [header].into_iter().chain(lines).map(|line| line.to_string()).collect()
    }

    #[test]
    fn columns_go_by_rank_and_the_name_is_cut_last() {
        assert_eq!(
            text(80),
            [
                "NAME               SIZE  WHEN      ",
                "web            1.00 GiB  2024-02-29",
                "a-longer-name  1.00 GiB  2024-02-29",
            ]
        );
        assert_eq!(
            text(30),
            ["NAME               SIZE", "web            1.00 GiB", "a-longer-name  1.00 GiB"]
        );
        assert_eq!(text(8), ["NAME    ", "web     ", "a-longe~"]);
        assert_eq!(text(0), ["", "", ""]);
    }

    #[test]
    fn a_sentence_is_cut_before_columns_go_and_they_go_before_it_says_nothing() {
        let columns = [left("SEEN", 2), left("POOL", 1), left("EVENT", 0), sentence("")];
        let told = "a sentence of forty letters, or a few more";
        let row = vec!["12:34:56".into(), "p0".into(), "health".into(), told.into()];
        let text = |room| {
            let (_, rows) = lines(&columns, std::slice::from_ref(&row), room, Theme::new(false));
            rows[0].to_string()
        };
        assert_eq!(text(80), format!("12:34:56  p0    health  {told}"));
        assert_eq!(text(50), "12:34:56  p0    health  a sentence of forty lette~");
        assert_eq!(text(40), "p0    health  a sentence of forty lette~");
        assert_eq!(text(20), "health  a sentence ~");
        assert_eq!(text(7), "health");
    }

    #[test]
    fn bars_are_full_only_when_all_is_used() {
        assert_eq!(bar(0, 4), "[    ]");
        assert_eq!(bar(1, 4), "[|   ]");
        assert_eq!(bar(50, 4), "[||  ]");
        assert_eq!(bar(1000, 4), "[||||]");
    }

    proptest! {
        #[test]
        fn the_chosen_row_is_shown(count in 1_usize..1000, at in 0_usize..1000, room in 1_usize..100) {
            let chosen = at % count;
            let first = first_shown(chosen, count, room);
            prop_assert!(first <= chosen && chosen < first + room);
        }

        #[test]
        fn no_line_is_longer_than_its_room(room in 0_usize..100) {
            for line in text(room) {
                prop_assert!(line.chars().count() <= room);
            }
        }
    }
}
