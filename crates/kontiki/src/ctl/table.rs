//! The boxed table of `-w table`: titles centred in capitals, cells to the right.

/// Rows below titles.
pub struct Table {
    titles: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these titles; every row must have as many cells.
    pub fn new(titles: &[&'static str], rows: Vec<Vec<String>>) -> Table {
        assert!(rows.iter().all(|row| row.len() == titles.len()), "a cell for every title");
        Table { titles: titles.to_vec(), rows }
    }

    /// The box as text.
    pub fn draw(&self) -> String {
        let titles: Vec<String> = self.titles.iter().map(|title| title.replace('_', " ").to_uppercase()).collect();
        let widths: Vec<usize> = (0..titles.len())
            .map(|column| {
                let cells = self.rows.iter().map(|row| width(&row[column]));
                cells.chain([width(&titles[column])]).max().expect("there is at least the title")
            })
            .collect();
        let rule: String = widths.iter().map(|width| format!("+{}", "-".repeat(width + 2))).collect::<String>() + "+\n";
        let line = |cells: &[String], pad: &dyn Fn(&str, usize) -> String| -> String {
            let cells = cells.iter().zip(&widths).map(|(cell, width)| format!("| {} ", pad(cell, *width)));
            cells.collect::<String>() + "|\n"
        };
        let mut text = rule.clone() + &line(&titles, &centre) + &rule;
        for row in &self.rows {
            text += &line(row, &right);
        }
        text + &rule
    }

    /// The rows with commas between cells: how `-w simple` prints the same facts.
    pub fn lines(&self) -> String {
        self.rows.iter().map(|row| row.join(", ") + "\n").collect()
    }
}

fn width(text: &str) -> usize {
    text.chars().count()
}

fn right(cell: &str, column: usize) -> String {
    format!("{cell:>column$}")
}

fn centre(title: &str, column: usize) -> String {
    let left = (column - width(title)) / 2;
    format!("{}{title:<rest$}", " ".repeat(left), rest = column - left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box() {
        let cells = |words: [&str; 3]| words.map(str::to_string).to_vec();
        let table = Table::new(
            &["endpoint", "HASH_REVISION", "x"],
            vec![cells(["127.0.0.1:25379", "7", ""]), cells(["b", "12", "long cell"])],
        );
        let text = "\
+-----------------+---------------+-----------+
|    ENDPOINT     | HASH REVISION |     X     |
+-----------------+---------------+-----------+
| 127.0.0.1:25379 |             7 |           |
|               b |            12 | long cell |
+-----------------+---------------+-----------+
";
        assert_eq!(table.draw(), text);
        assert_eq!(table.lines(), "127.0.0.1:25379, 7, \nb, 12, long cell\n");
    }
}
