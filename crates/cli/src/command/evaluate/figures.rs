//! The figures of an evaluation, each as SVG and as PNG.

use std::error::Error;
use std::path::Path;

use plotters::chart::ChartContext;
use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use wheels_eval::statistics::Interval;
use wheels_eval::{HelpCounts, Measurement, Results};
use wheels_text::write_atomically;

use super::asked::PERCENT;
use super::flags::Metric;
use super::systems::System;
use crate::run::font;

const SIZE: (u32, u32) = (800, 480);
/// The width of the chart. The labels at its right side have the rest.
const CHART: u32 = 670;

/// The largest number of curves in a figure, beside the student and the teacher alone.
const MAX_CURVES: usize = 7;
/// Colours that colour-blind people can tell apart, dark enough for a line on white.
const COLOURS: [RGBColor; MAX_CURVES] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(140, 90, 40),
    RGBColor(86, 180, 233),
    RGBColor(120, 60, 160),
];

/// The height of a label and the width of one of its characters, pixels.
const LABEL_HEIGHT: i32 = 17;
const CHARACTER_WIDTH: i32 = 7;
/// The distance of a label from its point, pixels.
const LABEL_DISTANCE: i32 = 9;

/// A chart of points, or of bars if its groups have names.
pub(crate) struct Figure {
    /// The name of its files, without an extension.
    name: &'static str,
    title: String,
    x: String,
    y: String,
    series: Vec<Series>,
    /// The name of the line on which both axes are equal, if it is drawn.
    diagonal: Option<&'static str>,
    /// The names of the groups of bars. Bar n of each series belongs to group n. Empty for a chart of points.
    groups: Vec<String>,
}

struct Series {
    name: String,
    colour: RGBColor,
    /// x, y, and the ends of the interval of y.
    points: Vec<[f64; 4]>,
    joined: bool,
}

/// All figures of the results on one device.
pub(crate) fn figures(results: &Results, device: &str, metric: Metric) -> Vec<Figure> {
    let points: Vec<&Measurement> = results.points.iter().filter(|point| point.device == device).collect();
    let mut figures = quality_figures(&points, metric);
    figures.push(budget_figure(&points));
    let calibrated = System::Calibrated.to_string();
    let calibrated: Vec<&Measurement> = points.into_iter().filter(|point| point.row.decoder == calibrated).collect();
    figures.push(position_figure(&calibrated));
    figures.push(kind_figure(&calibrated));
    figures.push(log_odds_figure(&results.log_odds));
    figures.retain(|figure| figure.series.iter().any(|series| !series.points.is_empty()));
    figures
}

/// Quality against teacher calls and latency.
fn quality_figures(points: &[&Measurement], metric: Metric) -> Vec<Figure> {
    type X = fn(&Measurement) -> f64;
    let axes: [(&str, &str, &str, X); 4] = [
        ("calls", "teacher calls", "teacher calls, % of tokens", |point| 100.0 * point.row.teacher_calls_per_token),
        ("latency", "measured latency", "time per token at the batch size of the run, teacher alone = 1", |point| {
            point.latency
        }),
        (
            "latency-modelled",
            "modelled latency",
            "modelled time per token at batch size 1, teacher alone = 1",
            |point| point.latency_modelled,
        ),
        (
            "latency-equal-calls",
            "modelled latency with a large teacher",
            "modelled time per token if all teacher calls take the same time, teacher alone = 1",
            |point| point.latency_equal_calls.expect("measurements of this version have it"),
        ),
    ];
    let score = metric.name();
    let mut figures = Vec::new();
    for (name, against, x_axis, x) in axes {
        let series = by_decoder(points, |point| {
            let Interval { value, low, high } = metric.of(&point.intervals);
            [x(point), value, low, high]
        });
        let y_axis = format!("{score}, with 95% intervals");
        figures.push(Figure::new(name, &format!("{score} against {against}"), x_axis, &y_axis, series));
    }
    figures
}

/// How the student keeps budgets that it reads in its prompts.
fn budget_figure(points: &[&Measurement]) -> Figure {
    let asks = |point: &&Measurement| {
        let system = point.row.decoder.parse();
        matches!(system, Ok(System::Calibrated | System::Uncalibrated | System::Enforced))
    };
    let points: Vec<&Measurement> = points.iter().copied().filter(asks).collect();
    let series = by_decoder(&points, |point| flat(100.0 * point.row.budget, help_used(point)));
    let figure =
        Figure::new("budget", "Help used against the budget", "budget, % of tokens", "help used, % of tokens", series);
    Figure { diagonal: Some("used = budget"), ..figure }
}

fn position_figure(calibrated: &[&Measurement]) -> Figure {
    let series = by_budget(calibrated, |point| point.by_position.to_vec());
    let tenths = calibrated.first().map_or(0, |point| point.by_position.len());
    let title = "Help by position in the text (calibrated)";
    let figure = Figure::new("position", title, "tenth of the text", "help, % of tokens", series);
    Figure { groups: (1..=tenths).map(|tenth| tenth.to_string()).collect(), ..figure }
}

fn kind_figure(calibrated: &[&Measurement]) -> Figure {
    let kinds: Vec<String> = calibrated.first().map_or(vec![], |point| point.by_kind.keys().cloned().collect());
    let series = by_budget(calibrated, |point| {
        kinds.iter().map(|kind| point.by_kind.get(kind).copied().unwrap_or_default()).collect()
    });
    let title = "Help by kind of token (calibrated)";
    let figure = Figure::new("kind", title, "kind of token", "help, % of tokens", series);
    Figure { groups: kinds, ..figure }
}

/// Whether the student asks where it differs from its teacher.
fn log_odds_figure(log_odds: &[[f64; 2]]) -> Figure {
    let points = log_odds.iter().map(|&[log_odds, divergence]| flat(divergence, log_odds)).collect();
    Figure::new(
        "log-odds",
        &format!("Log-odds of asking against divergence from the teacher, budget {PERCENT}%"),
        "divergence from the teacher at a token, nats",
        "log-odds of asking, nats",
        vec![Series { name: "one token".into(), colour: COLOURS[0], points, joined: false }],
    )
}

fn help_used(point: &Measurement) -> f64 {
    100.0 * point.row.help_rate
}

/// A point without an interval.
fn flat(x: f64, y: f64) -> [f64; 4] {
    [x, y, y, y]
}

/// The student and the teacher alone, and a curve for each of the first decoders. Drafts of several lengths are one curve.
fn by_decoder(points: &[&Measurement], place: impl Fn(&Measurement) -> [f64; 4]) -> Vec<Series> {
    let mut alone = Vec::new();
    let mut curves: Vec<Series> = Vec::new();
    for point in points {
        let (decoder, at) = (&point.row.decoder, place(point));
        let system = decoder.parse();
        if let Ok(System::Student | System::Teacher) = system {
            alone.push(Series { name: format!("{decoder} alone"), colour: BLACK, points: vec![at], joined: true });
            continue;
        }
        let drafts = curves.iter().position(|curve| curve.name.starts_with("draft:"));
        match (system, drafts, curves.iter().position(|curve| curve.name == *decoder)) {
            (Ok(System::Draft(length)), Some(drafts), _) => {
                curves[drafts].name += &format!(", {length}");
                curves[drafts].points.push(at);
            }
            (_, _, Some(known)) => curves[known].points.push(at),
            _ if curves.len() == MAX_CURVES => {}
            _ => {
                let colour = COLOURS[curves.len()];
                curves.push(Series { name: decoder.clone(), colour, points: vec![at], joined: true });
            }
        }
    }
    alone.extend(curves);
    alone
}

/// A series for each budget, with the rate of help in each group of tokens.
fn by_budget(points: &[&Measurement], groups: impl Fn(&Measurement) -> Vec<HelpCounts>) -> Vec<Series> {
    let mut series = Vec::new();
    for (index, point) in points.iter().enumerate().take(MAX_CURVES) {
        let mut rates = Vec::new();
        for (group, counts) in groups(point).into_iter().enumerate() {
            rates.push(flat(group as f64, 100.0 * counts.rate()));
        }
        let name = format!("budget {:.0}%", 100.0 * point.row.budget);
        series.push(Series { name, colour: COLOURS[index], points: rates, joined: false });
    }
    series
}

type Area<B> = DrawingArea<B, Shift>;
type Chart<'a, B> = ChartContext<'a, B, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

impl Figure {
    fn new(name: &'static str, title: &str, x: &str, y: &str, series: Vec<Series>) -> Self {
        Self { name, title: title.into(), x: x.into(), y: y.into(), series, diagonal: None, groups: vec![] }
    }

    /// Writes NAME.svg and NAME.png into a folder, and returns the SVG.
    pub(crate) fn save(&self, folder: &Path) -> Result<String, Box<dyn Error>> {
        font::register()?;
        let path = folder.join(self.name);
        self.draw(&BitMapBackend::new(&path.with_extension("png"), SIZE).into_drawing_area())?;
        let mut svg = String::new();
        self.draw(&SVGBackend::with_string(&mut svg, SIZE).into_drawing_area())?;
        write_atomically(path.with_extension("svg"), &svg)?;
        Ok(svg)
    }

    fn draw<B: DrawingBackend>(&self, root: &Area<B>) -> Result<(), Box<dyn Error>>
    where
        B::ErrorType: 'static,
    {
        root.fill(&WHITE)?;
        let points = || self.series.iter().flat_map(|series| &series.points);
        let (mut x, mut y) = (span(points().map(|at| at[0])), span(points().flat_map(|at| [at[2], at[3]])));
        if !self.groups.is_empty() {
            (x, y.0) = ((-0.5, self.groups.len() as f64 - 0.5), 0.0);
        }
        let (panel, _) = root.split_horizontally(CHART);
        let mut chart = ChartBuilder::on(&panel)
            .caption(&self.title, ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(56)
            .build_cartesian_2d(x.0..x.1, y.0..y.1)?;
        self.draw_axes(&mut chart)?;
        let mut labels = Vec::new();
        if let Some(name) = self.diagonal {
            let (low, high) = (x.0.max(y.0), x.1.min(y.1));
            let colour = RGBColor(110, 110, 110);
            chart.draw_series(LineSeries::new([(low, low), (high, high)], colour))?;
            labels.push(Label { text: name.into(), colour, at: chart.backend_coord(&(high, high)) });
        }
        for (index, series) in self.series.iter().enumerate() {
            if self.groups.is_empty() {
                labels.extend(series.draw_points(&mut chart)?);
            } else {
                series.draw_bars(index, self.series.len(), &mut chart)?;
                let line = LABEL_HEIGHT + 4;
                let at = (CHART as i32, 48 + line * index as i32);
                root.draw(&Rectangle::new([(at.0, at.1 - 5), (at.0 + 10, at.1 + 5)], series.colour.filled()))?;
                labels.push(Label { text: series.name.clone(), colour: BLACK, at: (at.0 + 6, at.1) });
            }
        }
        draw_labels(root, labels, points().map(|at| chart.backend_coord(&(at[0], at[1]))))?;
        root.present()?;
        Ok(())
    }

    fn draw_axes<B: DrawingBackend>(&self, chart: &mut Chart<'_, B>) -> Result<(), Box<dyn Error>>
    where
        B::ErrorType: 'static,
    {
        let number = |x: &f64| format!("{x:.3}").trim_end_matches('0').trim_end_matches('.').to_owned();
        let tick = |x: &f64| match self.groups.is_empty() {
            true => number(x),
            false if x.fract() == 0.0 && *x >= 0.0 => self.groups.get(*x as usize).cloned().unwrap_or_default(),
            false => String::new(),
        };
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .x_labels(if self.groups.is_empty() { 10 } else { self.groups.len() })
            .x_label_formatter(&tick)
            .y_label_formatter(&number)
            .x_desc(&self.x)
            .y_desc(&self.y)
            .label_style(("sans-serif", 13))
            .axis_desc_style(("sans-serif", 14))
            .draw()?;
        Ok(())
    }
}

impl Series {
    /// Draws the points with their intervals, and returns the label of the last one if they are joined.
    fn draw_points<B: DrawingBackend>(&self, chart: &mut Chart<'_, B>) -> Result<Option<Label>, Box<dyn Error>>
    where
        B::ErrorType: 'static,
    {
        let colour = self.colour;
        let places = || self.points.iter().map(|point| (point[0], point[1]));
        if self.joined {
            chart.draw_series(LineSeries::new(places(), colour.stroke_width(2)))?;
        }
        let bars = self.points.iter().filter(|point| point[2] < point[3]);
        chart.draw_series(bars.map(|&[x, _, low, high]| PathElement::new([(x, low), (x, high)], colour.mix(0.5))))?;
        let size = if self.joined { 4_i32 } else { 2 };
        chart.draw_series(places().map(|place| Circle::new(place, size, colour.filled())))?;
        let last = places().max_by(|left, right| left.0.total_cmp(&right.0));
        let last = last.filter(|_| self.joined);
        Ok(last.map(|place| Label { text: self.name.clone(), colour, at: chart.backend_coord(&place) }))
    }

    /// Draws a bar in each group. `index` is that of this series, of `all`.
    fn draw_bars<B: DrawingBackend>(
        &self,
        index: usize,
        all: usize,
        chart: &mut Chart<'_, B>,
    ) -> Result<(), Box<dyn Error>>
    where
        B::ErrorType: 'static,
    {
        let width = 0.8 / all as f64;
        chart.draw_series(self.points.iter().map(|&[group, height, ..]| {
            let left = group - 0.4 + width * index as f64;
            Rectangle::new([(left, 0.0), (left + width, height)], self.colour.filled())
        }))?;
        Ok(())
    }
}

/// The name of a curve, beside a point of it.
struct Label {
    text: String,
    colour: RGBColor,
    /// The point, pixels.
    at: (i32, i32),
}

/// Draws labels at the right side of their points, each as near as it covers no other label and no point.
fn draw_labels<B: DrawingBackend>(
    root: &Area<B>,
    mut labels: Vec<Label>,
    points: impl Iterator<Item = (i32, i32)>,
) -> Result<(), Box<dyn Error>>
where
    B::ErrorType: 'static,
{
    labels.sort_by_key(|label| (label.at.1, label.at.0));
    // The middles of what is in the way, and half of their heights.
    let mut taken: Vec<([i32; 2], i32, i32)> = points.map(|(x, y)| ([x, x], y, 4)).collect();
    for Label { text, colour, at } in labels {
        let width = CHARACTER_WIDTH * text.chars().count() as i32;
        let left = (at.0 + LABEL_DISTANCE).min(SIZE.0 as i32 - width);
        let is_free = |middle: i32| {
            taken.iter().all(|&([other_left, right], other, half)| {
                right < left || left + width < other_left || (middle - other).abs() >= half + LABEL_HEIGHT / 2
            })
        };
        let distances = (0..SIZE.1 as i32 / 2).flat_map(|distance| [-distance, distance]);
        let middle = distances.map(|distance| at.1 + distance).find(|&middle| is_free(middle)).unwrap_or(at.1);
        if (middle - at.1).abs() > LABEL_HEIGHT / 2 {
            root.draw(&PathElement::new([at, (left, middle)], colour.mix(0.5)))?;
        }
        root.draw(&Text::new(text, (left, middle - 7), ("sans-serif", 14).into_font().color(&colour)))?;
        taken.push(([left, left + width], middle, LABEL_HEIGHT / 2));
    }
    Ok(())
}

/// The range of some values, with a little room on both sides.
fn span(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    for value in values {
        (low, high) = (low.min(value), high.max(value));
    }
    let room = (0.05 * (high - low)).max(0.01);
    (low - room, high + room)
}
