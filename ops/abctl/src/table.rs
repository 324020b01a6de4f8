//! Tables for people: columns as wide as what is in them, measured as a terminal shows it.

use anstyle::Style;
use unicode_width::UnicodeWidthStr;

/// Names longer than this are cut; numbers never are.
pub const NAME_WIDTH: usize = 32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    Left,
    Right,
}

pub struct Cell {
    text: String,
    style: Style,
}

pub struct Table {
    columns: Vec<Align>,
    /// None for a table that explains itself.
    heads: Option<Vec<Cell>>,
    rows: Vec<Vec<Cell>>,
}

/// Between two columns.
const GAP: usize = 2;

impl From<String> for Cell {
    fn from(text: String) -> Cell {
        Cell { text, style: Style::new() }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Cell {
        text.to_owned().into()
    }
}

impl Cell {
    pub fn styled(mut self, style: Style) -> Cell {
        self.style = style;
        self
    }
}

impl Table {
    /// With a head above each column, aligned as what is below it.
    pub fn new<const N: usize>(heads: [(&str, Align); N]) -> Table {
        let mut table = Table { columns: Vec::new(), heads: Some(Vec::new()), rows: Vec::new() };
        heads.into_iter().for_each(|(head, align)| table.column(head, align));
        table
    }

    pub fn headless<const N: usize>(columns: [Align; N]) -> Table {
        Table { columns: columns.into(), heads: None, rows: Vec::new() }
    }

    /// One more column, for the rows to come.
    pub fn column(&mut self, head: &str, align: Align) {
        self.columns.push(align);
        if let Some(heads) = &mut self.heads {
            heads.push(Cell::from(head).styled(Style::new().dimmed()));
        }
    }

    pub fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Whether nothing is below the heads.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Lines, each with its end, indented by `indent`. Columns with nothing below their head are left out.
    pub fn render(&self, indent: usize) -> String {
        let widths: Vec<usize> = (0..self.columns.len()).map(|i| self.width(i)).collect();
        let mut text = String::new();
        for row in self.heads.iter().chain(&self.rows) {
            // Spaces owed before the next cell that shows, so that no line ends with any.
            let mut owed = indent;
            for ((cell, align), width) in row.iter().zip(&self.columns).zip(&widths).filter(|(_, w)| **w > 0)
            {
                let fill = width.saturating_sub(cell.text.width());
                if cell.text.is_empty() {
                    owed += fill + GAP;
                    continue;
                }
                let before = if *align == Align::Right { fill } else { 0 };
                text.extend(std::iter::repeat_n(' ', owed + before));
                text.push_str(&painted(&cell.text, cell.style));
                owed = fill - before + GAP;
            }
            text.push('\n');
        }
        text
    }

    fn width(&self, column: usize) -> usize {
        let width = |row: &Vec<Cell>| row.get(column).map_or(0, |cell| cell.text.width());
        let below = self.rows.iter().map(width).max().unwrap_or(0);
        let head = self.heads.as_ref().map_or(0, width);
        if below == 0 && !self.rows.is_empty() { 0 } else { below.max(head) }
    }
}

/// With the style around it; without one, as it is.
pub fn painted(text: &str, style: Style) -> String {
    format!("{style}{text}{style:#}")
}

/// A user's text in at most `width` columns of a terminal, cut with an ellipsis, without what would move the cursor.
pub fn fit(text: &str, width: usize) -> String {
    let clean = clean(text);
    if clean.width() <= width {
        return clean;
    }
    let ends = clean.char_indices().map(|(at, c)| at + c.len_utf8());
    let kept = ends.filter_map(|end| clean.get(..end)).take_while(|s| s.width() < width).last().unwrap_or("");
    format!("{kept}…")
}

/// Control characters, and those that turn the direction of writing, as the replacement character.
pub fn clean(text: &str) -> String {
    let moves = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if moves(c) { '\u{fffd}' } else { c }).collect()
}
