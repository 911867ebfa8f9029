//! A section's first figure as bars, in an SVG file: logarithmic, as some peers lie a hundredfold apart; the thin line is the
//! spread over the rounds. Best at the top, Dormouse in colour, the floor in grey.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::{
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use crate::{
    contestant::{DORMOUSE, FLOOR},
    figures::{Better, Section},
    report::show,
    results::Results,
};

const WIDTH: i32 = 900;
const ROW: i32 = 30;
const HEAD: i32 = 64;
const FOOT: i32 = 34;
/// Where bars begin, and how long the longest is.
const LEFT: i32 = 300;
const LENGTH: i32 = 460;

const OURS: RGBColor = RGBColor(217, 95, 2);
const THEIRS: RGBColor = RGBColor(90, 120, 160);
const GREY: RGBColor = RGBColor(170, 170, 170);
const GRID: RGBColor = RGBColor(225, 225, 225);

struct Bar {
    label: String,
    color: RGBColor,
    middle: f64,
    low: f64,
    high: f64,
}

/// Draws `section` into `path`; nothing when nobody has a figure.
pub(crate) fn draw(results: &Results, section: Section, path: &Path) -> Result<()> {
    let Some(figure) = section.figures().first() else { return Ok(()) };
    let mut bars: Vec<Bar> = results
        .contestants
        .iter()
        .filter_map(|contestant| {
            let (middle, low, high) = results.value(section, &contestant.name, figure)?;
            let color = match contestant.name.as_str() {
                DORMOUSE => OURS,
                FLOOR => GREY,
                _ => THEIRS,
            };
            // A logarithm has no place for nothing.
            (middle > 0.0).then(|| Bar {
                label: contestant.version.clone(),
                color,
                middle,
                low: low.max(middle / 1e3),
                high,
            })
        })
        .collect();
    bars.sort_by(|one, other| one.middle.total_cmp(&other.middle));
    if figure.better == Better::Higher {
        bars.reverse();
    }
    let smallest = bars.iter().map(|bar| bar.low).fold(f64::INFINITY, f64::min);
    let largest = bars.iter().map(|bar| bar.high).fold(0.0, f64::max);
    if bars.is_empty() || !smallest.is_finite() {
        return Ok(());
    }
    // The shortest bar is still one.
    let scale = Scale { from: (smallest / 2.0).log10(), to: largest.log10() };
    let height = HEAD + ROW * bars.len() as i32 + FOOT;
    let area = SVGBackend::new(path, (WIDTH as u32, height as u32)).into_drawing_area();
    let failed = |error: DrawingAreaErrorKind<std::io::Error>| anyhow!("cannot draw {}: {error}", path.display());
    paint(&area, section, &bars, &scale).map_err(failed)?;
    area.present().map_err(failed)
}

struct Scale {
    from: f64,
    to: f64,
}

impl Scale {
    fn place(&self, value: f64) -> i32 {
        let share = (value.log10() - self.from) / (self.to - self.from);
        LEFT + (share.clamp(0.0, 1.0) * f64::from(LENGTH)) as i32
    }
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn paint(
    area: &Area<'_>,
    section: Section,
    bars: &[Bar],
    scale: &Scale,
) -> Result<(), DrawingAreaErrorKind<std::io::Error>> {
    let figure = &section.figures()[0];
    let text = |size: i32, horizontal| {
        let font = ("sans-serif", size).into_font();
        font.color(&BLACK).pos(Pos::new(horizontal, VPos::Center))
    };
    area.fill(&WHITE)?;
    area.draw_text(section.title(), &text(17, HPos::Left), (14, 20))?;
    let way = if figure.better == Better::Lower { "less is better" } else { "more is better" };
    area.draw_text(&format!("{}, {way}, logarithmic", figure.name), &text(13, HPos::Left), (14, 42))?;
    let bottom = HEAD + ROW * bars.len() as i32;
    for power in scale.from.ceil() as i32..=scale.to.floor() as i32 {
        let value = 10f64.powi(power);
        let x = scale.place(value);
        area.draw(&PathElement::new([(x, HEAD - 6), (x, bottom)], GRID))?;
        area.draw_text(&show(value, figure.unit), &text(12, HPos::Center), (x, bottom + 14))?;
    }
    for (row, bar) in bars.iter().enumerate() {
        let middle = HEAD + ROW * row as i32 + ROW / 2;
        let end = scale.place(bar.middle);
        area.draw_text(&bar.label, &text(13, HPos::Right), (LEFT - 8, middle))?;
        area.draw(&Rectangle::new([(LEFT, middle - 9), (end, middle + 9)], bar.color.filled()))?;
        let (low, high) = (scale.place(bar.low), scale.place(bar.high));
        area.draw(&PathElement::new([(low, middle), (high, middle)], BLACK))?;
        area.draw_text(&show(bar.middle, figure.unit), &text(13, HPos::Left), (end.max(high) + 8, middle))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contestant::{Contestant, Figures};

    #[test]
    fn a_plot_shows_everyone_with_the_best_first() {
        let mut results = Results::default();
        results.begin(Section::Storm, 1, "bench/run storm");
        for (name, rate) in [("dormouse", 10.0), ("bun", 2_000.0)] {
            let contestant = Contestant { name: name.to_owned(), version: name.to_owned(), ..Contestant::dormouse() };
            results.present(std::slice::from_ref(&contestant));
            let trial = Figures::from_iter([("taken in".to_owned(), rate.into())]);
            results.keep(Section::Storm, &contestant, Ok(vec![trial]));
        }
        let path = std::env::temp_dir().join(format!("dormouse-plot-{}.svg", std::process::id()));
        draw(&results, Section::Storm, &path).unwrap();
        let svg = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let at = |text: &str| svg.find(text).unwrap_or_else(|| panic!("no {text} in {svg}"));
        assert!(at("bun") < at("dormouse") && svg.contains("2,000/s"), "{svg}");
    }
}
