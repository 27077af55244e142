//! The figures of an evaluation, each as SVG and as PNG.

use std::error::Error;
use std::path::Path;

use plotters::chart::ChartContext;
use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use training_wheels::eval::statistics::Interval;
use training_wheels::eval::{HelpCounts, Measurement, Results};
use training_wheels::text::write_atomically;

use super::SAMPLED_PERCENT;
use super::flags::Metric;
use super::systems::System;
use crate::run::font;

const SIZE: (u32, u32) = (880, 520);
/// The width of the chart. The legend has the rest.
const CHART: u32 = 740;

/// Colours that colour-blind people can tell apart, dark enough for a line on white.
const COLOURS: [RGBColor; 10] = [
    RGBColor(0, 0, 0),
    RGBColor(110, 110, 110),
    RGBColor(0, 114, 178),
    RGBColor(86, 180, 233),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(120, 60, 160),
    RGBColor(140, 90, 40),
];
/// The distance of two lines in the legend, and the position of the first, pixels.
const LEGEND_LINE: i32 = 22;
const LEGEND_TOP: i32 = 60;

/// A chart of points.
pub(crate) struct Figure {
    /// The name of its files, without an extension.
    name: &'static str,
    title: String,
    x: String,
    y: String,
    series: Vec<Series>,
    /// The name of the line on which both axes are equal, if it is drawn.
    diagonal: Option<&'static str>,
    /// The names of the whole numbers on the x axis, if it has names.
    ticks: Vec<String>,
}

struct Series {
    name: String,
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

/// Quality against help, teacher calls and latency.
fn quality_figures(points: &[&Measurement], metric: Metric) -> Vec<Figure> {
    type X = fn(&Measurement) -> f64;
    let axes: [(&str, &str, &str, X); 4] = [
        ("help", "help used", "help used, % of tokens", help_used),
        ("calls", "teacher calls", "teacher calls per token", |point| point.row.teacher_calls_per_token),
        ("latency", "measured latency", "time per token at the batch size of the run, teacher alone = 1", |point| {
            point.latency
        }),
        (
            "latency-modelled",
            "modelled latency",
            "modelled time per token at batch size 1, teacher alone = 1",
            |point| point.latency_modelled,
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
    let figure = Figure::new(
        "position",
        "Help by position in the text (calibrated)",
        "tenth of the text",
        "help, % of tokens",
        series,
    );
    Figure { ticks: (1..=tenths).map(|tenth| tenth.to_string()).collect(), ..figure }
}

fn kind_figure(calibrated: &[&Measurement]) -> Figure {
    let kinds: Vec<String> = calibrated.first().map_or(vec![], |point| point.by_kind.keys().cloned().collect());
    let series = by_budget(calibrated, |point| {
        kinds.iter().map(|kind| point.by_kind.get(kind).copied().unwrap_or_default()).collect()
    });
    let figure =
        Figure::new("kind", "Help by kind of token (calibrated)", "kind of token", "help, % of tokens", series);
    Figure { ticks: kinds, ..figure }
}

/// Whether the student asks where it differs from its teacher.
fn log_odds_figure(log_odds: &[[f64; 2]]) -> Figure {
    let points = log_odds.iter().map(|&[log_odds, divergence]| flat(divergence, log_odds)).collect();
    Figure::new(
        "log-odds",
        &format!("Log-odds of asking against divergence from the teacher, budget {SAMPLED_PERCENT}%"),
        "divergence from the teacher at a token, nats",
        "log-odds of asking, nats",
        vec![Series { name: "one token".into(), points, joined: false }],
    )
}

fn help_used(point: &Measurement) -> f64 {
    100.0 * point.row.help_rate
}

/// A point without an interval.
fn flat(x: f64, y: f64) -> [f64; 4] {
    [x, y, y, y]
}

/// A series for each decoder, in the order of the points.
fn by_decoder(points: &[&Measurement], place: impl Fn(&Measurement) -> [f64; 4]) -> Vec<Series> {
    let mut series: Vec<Series> = Vec::new();
    for point in points {
        let decoder = &point.row.decoder;
        match series.iter_mut().find(|series| series.name == *decoder) {
            Some(series) => series.points.push(place(point)),
            None => series.push(Series { name: decoder.clone(), points: vec![place(point)], joined: true }),
        }
    }
    series
}

/// A series for each budget, with the rate of help in each group of tokens.
fn by_budget(points: &[&Measurement], groups: impl Fn(&Measurement) -> Vec<HelpCounts>) -> Vec<Series> {
    let mut series = Vec::new();
    for point in points {
        let mut rates = Vec::new();
        for (group, counts) in groups(point).into_iter().enumerate() {
            rates.push(flat(group as f64, 100.0 * counts.rate()));
        }
        let name = format!("budget {:.0}%", 100.0 * point.row.budget);
        series.push(Series { name, points: rates, joined: true });
    }
    series
}

type Chart<'a, B> = ChartContext<'a, B, Cartesian2d<RangedCoordf64, RangedCoordf64>>;
type Legend<B> = DrawingArea<B, Shift>;

impl Figure {
    fn new(name: &'static str, title: &str, x: &str, y: &str, series: Vec<Series>) -> Self {
        Self { name, title: title.into(), x: x.into(), y: y.into(), series, diagonal: None, ticks: vec![] }
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

    fn draw<B: DrawingBackend>(&self, root: &DrawingArea<B, Shift>) -> Result<(), Box<dyn Error>>
    where
        B::ErrorType: 'static,
    {
        root.fill(&WHITE)?;
        let points = || self.series.iter().flat_map(|series| &series.points);
        let x = span(points().map(|point| point[0]));
        let y = span(points().flat_map(|point| [point[2], point[3]]));
        let (panel, legend) = root.split_horizontally(CHART);
        let mut chart = ChartBuilder::on(&panel)
            .caption(&self.title, ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(60)
            .build_cartesian_2d(x.0..x.1, y.0..y.1)?;
        self.draw_axes(&mut chart)?;
        if let Some(name) = self.diagonal {
            let (low, high) = (x.0.max(y.0), x.1.min(y.1));
            chart.draw_series(LineSeries::new([(low, low), (high, high)], BLACK.mix(0.4)))?;
            let height = LEGEND_TOP + LEGEND_LINE * self.series.len() as i32;
            legend.draw(&PathElement::new([(0, height), (8, height)], BLACK.mix(0.4)))?;
            legend.draw(&Text::new(name, (14, height - 7), ("sans-serif", 13)))?;
        }
        for (index, series) in self.series.iter().enumerate() {
            series.draw(index, &mut chart, &legend)?;
        }
        root.present()?;
        Ok(())
    }

    fn draw_axes<B: DrawingBackend>(&self, chart: &mut Chart<'_, B>) -> Result<(), Box<dyn Error>>
    where
        B::ErrorType: 'static,
    {
        let number = |x: &f64| format!("{x:.3}").trim_end_matches('0').trim_end_matches('.').to_owned();
        let tick = |x: &f64| match self.ticks.is_empty() {
            true => number(x),
            false if x.fract() == 0.0 && *x >= 0.0 => self.ticks.get(*x as usize).cloned().unwrap_or_default(),
            false => String::new(),
        };
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .x_labels(if self.ticks.is_empty() { 10 } else { self.ticks.len() })
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
    /// Draws the series with the given index, and its line in the legend.
    fn draw<B: DrawingBackend>(
        &self,
        index: usize,
        chart: &mut Chart<'_, B>,
        legend: &Legend<B>,
    ) -> Result<(), Box<dyn Error>>
    where
        B::ErrorType: 'static,
    {
        let colour = COLOURS[index % COLOURS.len()];
        let places = || self.points.iter().map(|point| (point[0], point[1]));
        if self.joined {
            chart.draw_series(LineSeries::new(places(), colour.stroke_width(2)))?;
        }
        let bars = self.points.iter().filter(|point| point[2] < point[3]);
        chart.draw_series(bars.map(|&[x, _, low, high]| PathElement::new([(x, low), (x, high)], colour)))?;
        let size = if self.joined { 4_i32 } else { 2 };
        let height = LEGEND_TOP + LEGEND_LINE * index as i32;
        // After the last colour, the first one follows with another mark.
        if index < COLOURS.len() {
            chart.draw_series(places().map(|place| Circle::new(place, size, colour.filled())))?;
            legend.draw(&Circle::new((4, height), 4, colour.filled()))?;
        } else {
            chart.draw_series(places().map(|place| TriangleMarker::new(place, size + 2, colour.filled())))?;
            legend.draw(&TriangleMarker::new((4, height), 6, colour.filled()))?;
        }
        legend.draw(&Text::new(self.name.clone(), (14, height - 7), ("sans-serif", 13)))?;
        Ok(())
    }
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
