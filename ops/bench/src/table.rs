//! Figures by name, medians over the runs, beside target and ceiling.

/// What a figure is held against.
#[derive(Debug, Clone, PartialEq)]
pub enum Goal {
    None,
    AtLeast(f64),
    AtMost(f64),
    /// At least this share of another figure.
    Share(f64, &'static str),
}

struct Row {
    name: &'static str,
    unit: &'static str,
    goal: Goal,
    /// A figure of the same run that this one cannot exceed.
    ceiling: Option<&'static str>,
    values: Vec<f64>,
}

#[derive(Default)]
pub struct Table {
    rows: Vec<Row>,
}

impl Table {
    /// Adds one run's figure.
    pub fn add(
        &mut self,
        name: &'static str,
        unit: &'static str,
        value: f64,
        goal: Goal,
        ceiling: Option<&'static str>,
    ) {
        eprintln!("  {name}: {} {unit}", number(value));
        match self.rows.iter_mut().find(|r| r.name == name) {
            Some(row) => row.values.push(value),
            None => self.rows.push(Row { name, unit, goal, ceiling, values: vec![value] }),
        }
    }

    fn median(&self, name: &str) -> Option<f64> {
        let row = self.rows.iter().find(|r| r.name == name)?;
        let mut values = row.values.clone();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    }

    pub fn lines(&self) -> Vec<String> {
        let line = |cells: [&str; 5]| {
            format!("{:<58}{:>12} {:<9}{:<34}{}", cells[0], cells[1], cells[2], cells[3], cells[4])
                .trim_end()
                .to_owned()
        };
        let mut lines = vec![line(["what", "median", "", "target", "share of the ceiling of this run"])];
        for row in &self.rows {
            let value = self.median(row.name).unwrap_or_default();
            let verdict = |met: bool| if met { "met" } else { "MISSED" };
            let target = match &row.goal {
                Goal::None => String::new(),
                Goal::AtLeast(t) => format!(">= {}: {}", number(*t), verdict(value >= *t)),
                Goal::AtMost(t) => format!("<= {}: {}", number(*t), verdict(value <= *t)),
                Goal::Share(share, of) => {
                    let met = value >= share * self.median(of).unwrap_or(f64::INFINITY);
                    format!(">= {share} of the ceiling: {}", verdict(met))
                }
            };
            let share = row.ceiling.and_then(|name| Some((name, self.median(name)?)));
            let share = share.map(|(name, c)| format!("{:.2} of {name} ({})", value / c, number(c)));
            lines.push(line([row.name, &number(value), row.unit, &target, &share.unwrap_or_default()]));
        }
        lines
    }
}

/// Thousands apart, three digits where they matter.
fn number(value: f64) -> String {
    if value < 100.0 {
        return format!("{value:.2}");
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
