//! Comparisons as Markdown, and the place in the README that is rewritten with them.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::{Context, Result};

use crate::{
    contestant::{DORMOUSE, FLOOR},
    figures::{Better, Figure, Section},
    report::show,
    results::Results,
};

/// Who takes part: version, command, settings, what is missing.
pub(crate) fn contestants(results: &Results) -> String {
    let mut table = "| server | runs as | settings | has not |\n|---|---|---|---|\n".to_owned();
    for contestant in &results.contestants {
        let [version, settings, lacks] = [&contestant.version, &contestant.settings, &contestant.lacks];
        let _ = writeln!(table, "| {version} | `{}` | {settings} | {lacks} |", contestant.command);
    }
    table
}

/// A section's table; nothing when it was not run.
pub(crate) fn section(results: &Results, section: Section) -> Option<String> {
    let trials = results.trials(section)?;
    let figures = section.figures();
    let first = figures.first()?;
    let mut table = format!("**{}**\n\n| server |", section.title());
    table.extend(figures.iter().map(|figure| format!(" {} |", figure.name)));
    let _ = writeln!(table, " to Dormouse |\n|---|{}", "--:|".repeat(figures.len() + 1));
    let ours = results.value(section, DORMOUSE, first).map(|(middle, ..)| middle);
    for contestant in &results.contestants {
        let name = contestant.name.as_str();
        let cells = figures.iter().map(|figure| cell(results, section, name, figure).unwrap_or("–".into()));
        let cells: Vec<String> = cells.collect();
        if cells.iter().all(|cell| cell == "–") && !trials.failures.contains_key(name) {
            continue;
        }
        let _ = write!(table, "| {}", contestant.version);
        if let Some(failure) = trials.failures.get(name) {
            let _ = write!(table, " (a round failed: {})", failure.replace('|', "/").replace('\n', " "));
        }
        table.extend(cells.iter().map(|cell| format!(" | {cell}")));
        let ratio = results.value(section, name, first).zip(ours).map(|((theirs, ..), ours)| theirs / ours);
        let ratio = ratio.map_or("–".to_owned(), |ratio| format!("{ratio:.2} ×"));
        let _ = writeln!(table, " | {ratio} |");
    }
    let _ = writeln!(
        table,
        "\nMedian (smallest – largest) of {}; best in bold. `{}`",
        rounds(trials.rounds),
        trials.command
    );
    if let Some(note) = section.note() {
        let _ = writeln!(table, "{note}");
    }
    Some(table)
}

fn rounds(count: usize) -> String {
    if count == 1 { "one round".to_owned() } else { format!("{count} rounds") }
}

fn cell(results: &Results, section: Section, contestant: &str, figure: &Figure) -> Option<String> {
    let (middle, low, high) = results.value(section, contestant, figure)?;
    let spread =
        if low == high { String::new() } else { format!(" ({} – {})", bare(low, figure), bare(high, figure)) };
    let shown = show(middle, figure.unit);
    let best = contestant != FLOOR && leads(results, section, contestant, figure);
    Some(if best { format!("**{shown}**{spread}") } else { format!("{shown}{spread}") })
}

/// A number as its unit shows it, without the unit's name.
fn bare(value: f64, figure: &Figure) -> String {
    let shown = show(value, figure.unit);
    shown.split_once(' ').map_or(shown.trim_end_matches("/s").to_owned(), |(number, unit)| match unit {
        "ms" | "s" | "µs" => shown.clone(),
        _ => number.to_owned(),
    })
}

/// Whether nobody but a floor has a better median.
pub(crate) fn leads(results: &Results, section: Section, contestant: &str, figure: &Figure) -> bool {
    let of = |name: &str| results.value(section, name, figure).map(|(middle, ..)| middle);
    let Some(mine) = of(contestant) else { return false };
    let others = results.contestants.iter().filter(|other| other.name != FLOOR).filter_map(|other| of(&other.name));
    match figure.better {
        Better::Lower => others.into_iter().all(|other| mine <= other),
        Better::Higher => others.into_iter().all(|other| mine >= other),
        Better::Neither => false,
    }
}

/// Figures in which Dormouse is not first, one in a line.
pub(crate) fn behind(results: &Results) -> String {
    let mut lines = String::new();
    for section in Section::ALL {
        for figure in section.figures().iter().filter(|figure| figure.better != Better::Neither) {
            let Some((ours, ..)) = results.value(section, DORMOUSE, figure) else { continue };
            if leads(results, section, DORMOUSE, figure) {
                continue;
            }
            let first = results
                .contestants
                .iter()
                .find(|other| other.name != FLOOR && leads(results, section, &other.name, figure));
            if let Some((first, (theirs, ..))) =
                first.and_then(|first| Some((first, results.value(section, &first.name, figure)?)))
            {
                let (ours, theirs) = (show(ours, figure.unit), show(theirs, figure.unit));
                let _ = writeln!(lines, "{}, {}: {ours}; {}: {theirs}", section.name(), figure.name, first.version);
            }
        }
    }
    lines
}

/// Puts `text` between `<!-- bench:NAME -->` and `<!-- /bench:NAME -->`.
pub(crate) fn put(path: &Path, name: &str, text: &str) -> Result<()> {
    let old = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let new = between(&old, name, text).with_context(|| format!("{} has no place for {name}", path.display()))?;
    if new != old {
        fs::write(path, new).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn between(old: &str, name: &str, text: &str) -> Option<String> {
    let (open, close) = (format!("<!-- bench:{name} -->"), format!("<!-- /bench:{name} -->"));
    let begin = old.find(&open)? + open.len();
    let end = begin + old.get(begin..)?.find(&close)?;
    Some(format!("{}\n{}\n{}", old.get(..begin)?, text.trim_end(), old.get(end..)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contestant::{Contestant, Figures};

    fn results(rates: &[(&str, f64)]) -> Results {
        let mut results = Results::default();
        results.begin(Section::Storm, 1, "bench/run storm");
        for (name, rate) in rates {
            let contestant =
                Contestant { name: (*name).to_owned(), version: (*name).to_owned(), ..Contestant::dormouse() };
            results.present(std::slice::from_ref(&contestant));
            let trial = Figures::from_iter([("taken in".to_owned(), (*rate).into())]);
            results.keep(Section::Storm, &contestant, Ok(vec![trial]));
        }
        results
    }

    #[test]
    fn the_best_is_bold_but_for_the_floor_and_what_we_do_not_lead_is_told() {
        let results = results(&[("dormouse", 10.0), ("bun", 20.0), ("raw", 90.0)]);
        let table = section(&results, Section::Storm).unwrap();
        assert!(table.contains("| bun | **20/s**") && table.contains("2.00 ×"), "{table}");
        assert!(table.contains("| raw | 90/s"), "{table}");
        assert_eq!(behind(&results), "storm, taken in: 10/s; bun: 20/s\n");
        assert_eq!(section(&results, Section::Echo), None);
    }

    #[test]
    fn only_what_is_between_the_markers_is_replaced() {
        let old = "a\n<!-- bench:x -->\nold\n<!-- /bench:x -->\nb <!-- bench:y --><!-- /bench:y -->";
        let new = between(old, "x", "new\n").unwrap();
        assert_eq!(new, "a\n<!-- bench:x -->\nnew\n<!-- /bench:x -->\nb <!-- bench:y --><!-- /bench:y -->");
        assert_eq!(between(&new, "x", "new\n").unwrap(), new);
        assert_eq!(between(old, "z", ""), None);
    }
}
