//! The course of a run of `million` as an SVG file: memory by part, stacked, over time, and the number of connections as a
//! line. Linear on both axes.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::{
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use crate::{
    parts::{PARTS, Sample},
    report::{gibibytes, grouped},
};

const WIDTH: i32 = 900;
const HEIGHT: i32 = 420;
const LEFT: i32 = 70;
const RIGHT: i32 = 640;
const TOP: i32 = 64;
const BOTTOM: i32 = 370;

/// Servers in our colour, the kernel in blues.
const COLORS: [RGBColor; PARTS.len()] = [
    RGBColor(217, 95, 2),
    RGBColor(230, 171, 2),
    RGBColor(90, 120, 160),
    RGBColor(150, 175, 205),
    RGBColor(190, 205, 220),
    RGBColor(120, 120, 120),
];
const GRID: RGBColor = RGBColor(225, 225, 225);

type Failure = DrawingAreaErrorKind<std::io::Error>;
type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

/// Draws it; nothing when there is nothing.
pub(crate) fn draw(course: &[Sample], connections: u64, path: &Path) -> Result<()> {
    let Some(last) = course.last() else { return Ok(()) };
    let most = course.iter().map(|sample| sample.parts.iter().sum()).fold(1.0, f64::max);
    let scale = Scale { seconds: last.seconds.max(1e-3), bytes: most * 1.05 };
    let area = SVGBackend::new(path, (WIDTH as u32, HEIGHT as u32)).into_drawing_area();
    let failed = |error: Failure| anyhow!("cannot draw {}: {error}", path.display());
    paint(&area, course, connections, &scale).map_err(failed)?;
    area.present().map_err(failed)
}

struct Scale {
    seconds: f64,
    bytes: f64,
}

impl Scale {
    fn x(&self, seconds: f64) -> i32 {
        LEFT + (seconds / self.seconds * f64::from(RIGHT - LEFT)) as i32
    }

    fn y(&self, bytes: f64) -> i32 {
        BOTTOM - (bytes / self.bytes * f64::from(BOTTOM - TOP)) as i32
    }
}

/// Where an axis is named: multiples of `unit` by a power of two, six at most.
fn marks(most: f64, unit: f64) -> impl Iterator<Item = f64> {
    let mut step = unit;
    while most / step > 6.0 {
        step *= 2.0;
    }
    (0..=(most / step) as u32).map(move |mark| f64::from(mark) * step)
}

fn text(size: i32, horizontal: HPos) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&BLACK).pos(Pos::new(horizontal, VPos::Center))
}

fn paint(area: &Area<'_>, course: &[Sample], connections: u64, scale: &Scale) -> Result<(), Failure> {
    area.fill(&WHITE)?;
    let title = format!("{} WebSockets, both ends on one machine: memory by part", grouped(connections as f64));
    area.draw_text(&title, &text(17, HPos::Left), (14, 20))?;
    area.draw_text("growth since before the first process; seconds", &text(13, HPos::Left), (14, 42))?;
    for bytes in marks(scale.bytes, 1024.0 * 1024.0) {
        area.draw(&PathElement::new([(LEFT, scale.y(bytes)), (RIGHT, scale.y(bytes))], GRID))?;
        area.draw_text(&gibibytes(bytes), &text(12, HPos::Right), (LEFT - 6, scale.y(bytes)))?;
    }
    for seconds in marks(scale.seconds, 15.0) {
        area.draw_text(&format!("{seconds:.0}"), &text(12, HPos::Center), (scale.x(seconds), BOTTOM + 14))?;
    }
    stack(area, course, scale)?;
    let line: Vec<(i32, i32)> = course
        .iter()
        .map(|sample| {
            let share = sample.connections / connections.max(1) as f64;
            (scale.x(sample.seconds), scale.y(share * scale.bytes * 0.97))
        })
        .collect();
    area.draw(&PathElement::new(line, BLACK.stroke_width(2)))?;
    let legend = (RIGHT + 14, TOP + 6);
    area.draw(&PathElement::new([legend, (legend.0 + 14, legend.1)], BLACK.stroke_width(2)))?;
    area.draw_text("connections", &text(13, HPos::Left), (legend.0 + 20, legend.1))
}

/// The parts above each other, the largest first, so that the small ones lie on top.
fn stack(area: &Area<'_>, course: &[Sample], scale: &Scale) -> Result<(), Failure> {
    let Some(last) = course.last() else { return Ok(()) };
    let mut order: Vec<usize> = (0..PARTS.len()).collect();
    order.sort_by(|one, other| last.parts[*other].total_cmp(&last.parts[*one]));
    let mut below = vec![0.0; course.len()];
    for (row, part) in order.into_iter().enumerate() {
        let above: Vec<f64> = course.iter().zip(&below).map(|(sample, below)| below + sample.parts[part]).collect();
        let point = |(sample, bytes): (&Sample, &f64)| (scale.x(sample.seconds), scale.y(*bytes));
        let mut outline: Vec<(i32, i32)> = course.iter().zip(&above).map(point).collect();
        outline.extend(course.iter().zip(&below).rev().map(point));
        area.draw(&Polygon::new(outline, COLORS[part].filled()))?;
        let (x, y) = (RIGHT + 14, TOP + 30 + 36 * row as i32);
        area.draw(&Rectangle::new([(x, y - 6), (x + 14, y + 6)], COLORS[part].filled()))?;
        area.draw_text(PARTS[part], &text(13, HPos::Left), (x + 20, y))?;
        area.draw_text(&gibibytes(last.parts[part]), &text(12, HPos::Left), (x + 20, y + 15))?;
        below = above;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_has_few_round_marks() {
        assert_eq!(marks(8.6, 1.0).collect::<Vec<_>>(), [0.0, 2.0, 4.0, 6.0, 8.0]);
        assert_eq!(marks(0.5, 1.0).collect::<Vec<_>>(), [0.0]);
    }

    #[test]
    fn the_largest_part_is_named_first_and_the_connections_have_their_line() {
        let sample = |seconds: f64| {
            let parts = std::array::from_fn(|part| if part == 2 { 9e9 } else { 1e6 } * seconds);
            Sample { seconds, connections: seconds * 1e5, parts, available: 0.0 }
        };
        let path = std::env::temp_dir().join(format!("dormouse-million-{}.svg", std::process::id()));
        draw(&[sample(0.0), sample(1.0), sample(2.0)], 200_000, &path).unwrap();
        let svg = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let at = |text: &str| svg.find(text).unwrap_or_else(|| panic!("no {text} in {svg}"));
        assert!(at(PARTS[2]) < at(PARTS[0]) && at("200,000 WebSockets") < at("connections"), "{svg}");
        assert!(svg.contains("<polygon") && svg.contains("16.76 GiB"));
    }
}
