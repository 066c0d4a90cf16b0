//! Lines as SVG.

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;

use crate::results::{Axis, Plot, number};

const SIZE: (u32, u32) = (900, 440);
/// The chart; what is right of it tells the lines apart, where it hides none of them.
const CHART_WIDTH: u32 = 700;
const LEGEND_TOP: i32 = 56;
const LEGEND_LINE: i32 = 20;
/// Colours that stay apart for colour-blind eyes (Okabe and Ito).
const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(60, 60, 60),
    RGBColor(160, 150, 0),
];

/// One picture.
pub(super) fn svg(plot: &Plot) -> Result<String> {
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        root.fill(&WHITE).map_err(failed)?;
        let (chart, legend) = root.split_horizontally(CHART_WIDTH);
        name_lines(&legend, plot)?;
        let x = bounds(plot, &plot.x, |point| point.0);
        let y = bounds(plot, &plot.y, |point| point.1);
        let (lx, ly) = (plot.x.is_logarithmic, plot.y.is_logarithmic);
        match (lx, ly) {
            (true, true) => draw(&chart, plot, (x.0..x.1).log_scale(), (y.0..y.1).log_scale())?,
            (true, false) => draw(&chart, plot, (x.0..x.1).log_scale(), y.0..y.1)?,
            (false, true) => draw(&chart, plot, x.0..x.1, (y.0..y.1).log_scale())?,
            (false, false) => draw(&chart, plot, x.0..x.1, y.0..y.1)?,
        }
        root.present().map_err(failed)?;
    }
    Ok(text)
}

fn failed(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("the picture: {error}")
}

/// From a little below the least value to a little above the greatest.
fn bounds(plot: &Plot, axis: &Axis, of: impl Fn(&(f64, f64)) -> f64) -> (f64, f64) {
    let values = || plot.series.iter().flat_map(|series| &series.points).map(&of);
    let most = values().fold(f64::MIN_POSITIVE, f64::max);
    if !axis.is_logarithmic {
        return (0.0, most * 1.05);
    }
    let least = values().filter(|&value| value > 0.0).fold(f64::MAX, f64::min).min(most);
    (least / 1.3, most * 1.3)
}

fn draw<X, Y>(root: &DrawingArea<SVGBackend<'_>, Shift>, plot: &Plot, x: X, y: Y) -> Result<()>
where
    X: AsRangedCoord<Value = f64>,
    Y: AsRangedCoord<Value = f64>,
    X::CoordDescType: ValueFormatter<f64>,
    Y::CoordDescType: ValueFormatter<f64>,
{
    let mut chart = ChartBuilder::on(root)
        .caption(&plot.title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(x, y)
        .map_err(failed)?;
    let tick = |value: &f64| label(*value);
    chart
        .configure_mesh()
        .x_desc(&plot.x.label)
        .y_desc(&plot.y.label)
        .x_label_formatter(&tick)
        .y_label_formatter(&tick)
        .light_line_style(RGBColor(240, 240, 240))
        .bold_line_style(RGBColor(215, 215, 215))
        .draw()
        .map_err(failed)?;
    for (series, colour) in plot.series.iter().zip(COLOURS.iter().cycle()) {
        let positive = |value: f64, axis: &Axis| !axis.is_logarithmic || value > 0.0;
        let points = series.points.iter().copied();
        let points: Vec<(f64, f64)> =
            points.filter(|&(x, y)| positive(x, &plot.x) && positive(y, &plot.y)).collect();
        let style = colour.stroke_width(2);
        chart.draw_series(LineSeries::new(points, style).point_size(3)).map_err(failed)?;
    }
    Ok(())
}

/// Which colour is which line.
fn name_lines(area: &DrawingArea<SVGBackend<'_>, Shift>, plot: &Plot) -> Result<()> {
    let mut y = LEGEND_TOP;
    for (series, colour) in plot.series.iter().zip(COLOURS.iter().cycle()) {
        let line = PathElement::new([(0, y), (18, y)], colour.stroke_width(3));
        area.draw(&line).map_err(failed)?;
        let name = Text::new(series.name.as_str(), (24, y - 6), ("sans-serif", 13));
        area.draw(&name).map_err(failed)?;
        y += LEGEND_LINE;
    }
    Ok(())
}

/// A tick without needless digits.
fn label(value: f64) -> String {
    if value >= 1.0 && value.fract() == 0.0 { format!("{value:.0}") } else { number(value) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Series;

    #[test]
    fn every_line_and_label_is_in_the_picture() {
        let plot = Plot {
            file: "growth".to_owned(),
            title: "Creating".to_owned(),
            x: Axis::logarithmic("volumes"),
            y: Axis::logarithmic("ms"),
            series: vec![
                Series { name: "ours".to_owned(), points: vec![(10.0, 1.0), (1000.0, 1.1)] },
                Series {
                    name: "lvcreate".to_owned(),
                    points: vec![(10.0, 700.0), (1000.0, 900.0)],
                },
            ],
        };
        let text = svg(&plot).unwrap();
        let document = roxmltree::Document::parse(&text).unwrap();
        let told: Vec<&str> = document.descendants().filter_map(|node| node.text()).collect();
        for word in ["Creating", "volumes", "ms", "ours", "lvcreate"] {
            assert!(told.iter().any(|text| text.trim() == word), "no {word} in {told:?}");
        }
        let lines = document.descendants().filter(|node| node.has_tag_name("polyline"));
        assert!(lines.count() >= 2);
    }
}
