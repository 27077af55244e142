//! The figures of an evaluation, each as SVG and as PNG.

use std::error::Error;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;
use training_wheels::eval::{ByMetric, Interval, PARTS, Point, Results};
use training_wheels::text::write_atomically;

use crate::{Metric, font, systems::System};

const SIZE: (u32, u32) = (880, 520);
/// What the chart has of the width; the rest is the legend's.
const CHART: u32 = 740;

/// Colours that people who see few of them can tell apart, dark enough for a line on white.
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

/// A chart of points.
pub(crate) struct Figure {
    /// The name of its files.
    pub(crate) name: &'static str,
    pub(crate) title: String,
    x: String,
    y: String,
    series: Vec<Series>,
    /// A line where both axes are the same.
    diagonal: bool,
    /// The names of whole numbers on the x axis.
    ticks: Vec<String>,
}

struct Series {
    name: String,
    /// x, y, and the ends of the interval of y.
    points: Vec<[f64; 4]>,
    joined: bool,
}

impl Metric {
    fn of<T: Copy>(self, by: &ByMetric<T>) -> T {
        match self {
            Self::Bleu => by.bleu,
            Self::Chrf => by.chrf,
            Self::RougeL => by.rouge_l,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Bleu => "BLEU",
            Self::Chrf => "chrF",
            Self::RougeL => "ROUGE-L",
        }
    }
}

/// All figures of the results on one device.
pub(crate) fn figures(results: &Results, device: &str, metric: Metric) -> Vec<Figure> {
    let points: Vec<&Point> = results.points.iter().filter(|point| point.device == device).collect();
    let quality = |name, title: &str, x: &str, of: &dyn Fn(&Point) -> f64| {
        let place = |point: &Point| {
            let Interval { value, low, high } = metric.of(&point.intervals);
            [of(point), value, low, high]
        };
        let y = format!("{}, 95% intervals", metric.name());
        chart(name, &format!("{} against {title}", metric.name()), x, &y, by_decoder(&points, |_| true, place))
    };
    let help_rate = |point: &Point| 100.0 * point.row.help_rate;
    let used = chart(
        "budget",
        "help used against the budget in words, no ledger unless said",
        "budget, % of tokens",
        "help used, % of tokens",
        by_decoder(
            &points,
            |system| matches!(system, System::Learned | System::AsTrained | System::Ledger),
            |point| flat(100.0 * point.row.budget, help_rate(point)),
        ),
    );
    let asks = |point: &&&Point| point.row.decoder == System::Learned.to_string();
    let by_budget = |shares: &dyn Fn(&Point) -> Vec<f64>| {
        let series = |point: &&Point| Series {
            name: format!("budget {:.0}%", 100.0 * point.row.budget),
            points: shares(point).iter().enumerate().map(|(x, &y)| flat(x as f64, 100.0 * y)).collect(),
            joined: true,
        };
        points.iter().filter(asks).map(series).collect::<Vec<_>>()
    };
    let mut position = chart(
        "position",
        "help by position in the text",
        "tenth of the text",
        "help, % of tokens",
        by_budget(&|point| point.by_position.iter().map(|share| share.rate()).collect()),
    );
    position.ticks = (1..=PARTS).map(|part| part.to_string()).collect();
    let kinds: Vec<String> = points.first().map_or(vec![], |point| point.by_kind.keys().cloned().collect());
    let mut kind = chart(
        "kind",
        "help by kind of token",
        "",
        "help, % of tokens",
        by_budget(&|point| {
            kinds.iter().map(|kind| point.by_kind.get(kind).map_or(0.0, |share| share.rate())).collect()
        }),
    );
    kind.ticks = kinds.clone();
    let odds = Series {
        name: "a token".into(),
        points: results.log_odds.iter().map(|&[log_odds, distance]| flat(distance, log_odds)).collect(),
        joined: false,
    };
    let all = vec![
        quality("help", "help used", "help used, % of tokens", &help_rate),
        quality("calls", "teacher calls", "teacher calls for each token", &|point| point.row.teacher_calls_per_token),
        quality(
            "latency",
            "measured latency",
            "time of a token over the teacher's, at the run's batch size",
            &|point| point.latency,
        ),
        quality(
            "latency-modelled",
            "modelled latency",
            "time of a token over the teacher's, modelled at batch 1",
            &|point| point.latency_modelled,
        ),
        Figure { diagonal: true, ..used },
        position,
        kind,
        chart(
            "log-odds",
            "log-odds of asking at the student's tokens, told 20%, against the distance D to the teacher",
            "D, nats",
            "log-odds of asking, nats",
            vec![odds],
        ),
    ];
    all.into_iter().filter(|figure| figure.series.iter().any(|series| !series.points.is_empty())).collect()
}

fn chart(name: &'static str, title: &str, x: &str, y: &str, series: Vec<Series>) -> Figure {
    Figure { name, title: title.into(), x: x.into(), y: y.into(), series, diagonal: false, ticks: vec![] }
}

fn flat(x: f64, y: f64) -> [f64; 4] {
    [x, y, y, y]
}

/// A series for each decoder, in the order of the points.
fn by_decoder(points: &[&Point], wanted: impl Fn(System) -> bool, place: impl Fn(&Point) -> [f64; 4]) -> Vec<Series> {
    let mut series: Vec<Series> = Vec::new();
    for point in points {
        if !point.row.decoder.parse().is_ok_and(&wanted) {
            continue;
        }
        let at = series.iter().position(|series| series.name == point.row.decoder).unwrap_or_else(|| {
            series.push(Series { name: point.row.decoder.clone(), points: vec![], joined: true });
            series.len() - 1
        });
        series[at].points.push(place(point));
    }
    series
}

impl Figure {
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
        let all = || self.series.iter().flat_map(|series| &series.points);
        let (left, right) = span(all().map(|point| point[0]));
        let (low, high) = span(all().flat_map(|point| [point[2], point[3]]));
        let (panel, legend) = root.split_horizontally(CHART);
        let mut chart = ChartBuilder::on(&panel)
            .caption(&self.title, ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(60)
            .build_cartesian_2d(left..right, low..high)?;
        let short = |x: &f64| format!("{x:.3}").trim_end_matches('0').trim_end_matches('.').to_owned();
        let tick = |x: &f64| match self.ticks.is_empty() {
            true => short(x),
            false if x.fract() == 0.0 => self.ticks.get(*x as usize).cloned().unwrap_or_default(),
            false => String::new(),
        };
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .x_labels(if self.ticks.is_empty() { 10 } else { self.ticks.len() })
            .x_label_formatter(&tick)
            .y_label_formatter(&short)
            .x_desc(&self.x)
            .y_desc(&self.y)
            .label_style(("sans-serif", 13))
            .axis_desc_style(("sans-serif", 14))
            .draw()?;
        if self.diagonal {
            let ends = [(left.max(low), left.max(low)), (right.min(high), right.min(high))];
            chart.draw_series(LineSeries::new(ends, BLACK.mix(0.4)))?;
        }
        for (index, series) in self.series.iter().enumerate() {
            let colour = COLOURS[index % COLOURS.len()];
            let places = || series.points.iter().map(|point| (point[0], point[1]));
            if series.joined {
                chart.draw_series(LineSeries::new(places(), colour.stroke_width(2)))?;
            }
            let bars = series.points.iter().filter(|point| point[2] < point[3]);
            chart.draw_series(bars.map(|&[x, _, low, high]| PathElement::new([(x, low), (x, high)], colour)))?;
            let size = if series.joined { 4_i32 } else { 2 };
            let y = 60 + 22 * index as i32;
            // Colours that have run out begin anew with another mark.
            if index < COLOURS.len() {
                chart.draw_series(places().map(|place| Circle::new(place, size, colour.filled())))?;
                legend.draw(&Circle::new((4, y), 4, colour.filled()))?;
            } else {
                chart.draw_series(places().map(|place| TriangleMarker::new(place, size + 2, colour.filled())))?;
                legend.draw(&TriangleMarker::new((4, y), 6, colour.filled()))?;
            }
            legend.draw(&Text::new(series.name.clone(), (14, y - 7), ("sans-serif", 13)))?;
        }
        root.present()?;
        Ok(())
    }
}

/// The smallest span with some room that holds all values.
fn span(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
    let room = (0.05 * (high - low)).max(0.01);
    (low - room, high + room)
}
