//! The curves of a training run in one SVG.

use std::error::Error;
use std::path::Path;

use plotters::prelude::*;
use training_wheels::distill::StepReport;

use super::font;

/// The number of steps in the moving average of a curve.
const WINDOW: usize = 25;

/// Draws the losses, the prices and the help used from `metrics.jsonl` into an SVG.
pub(crate) fn draw(metrics: &Path, svg: &Path, levels: &[f64]) -> Result<(), Box<dyn Error>> {
    font::register()?;
    let text = std::fs::read_to_string(metrics)?;
    let reports = text.lines().map(serde_json::from_str).collect::<Result<Vec<StepReport>, _>>()?;
    let root = SVGBackend::new(svg, (960, 900)).into_drawing_area();
    root.fill(&WHITE)?;
    let panels = root.split_evenly((3, 1));
    let names = ["forward", "words", "help", "path"].map(String::from);
    curves(&panels[0], "losses, nats per token", &reports, &names, WINDOW)?;
    let prices: Vec<String> = levels.iter().map(|level| format!("price {:.0}%", 100.0 * level)).collect();
    curves(&panels[1], "prices of help, nats", &reports, &prices, 1)?;
    adherence(&panels[2], &reports, levels)?;
    root.present()?;
    Ok(())
}

type Panel<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn curves(
    panel: &Panel<'_>,
    title: &str,
    reports: &[StepReport],
    names: &[String],
    window: usize,
) -> Result<(), Box<dyn Error>> {
    let mean = |reports: &[StepReport], name: &String| {
        reports.iter().filter_map(|report| report.parts.get(name)).sum::<f64>() / reports.len() as f64
    };
    let lines: Vec<Vec<(f64, f64)>> = names
        .iter()
        .map(|name| {
            reports
                .windows(window.min(reports.len()).max(1))
                .map(|near| (near[near.len() - 1].step as f64, mean(near, name)))
                .collect()
        })
        .collect();
    let last = reports.last().map_or(1.0, |report| report.step as f64);
    let top = lines.iter().flatten().map(|point| point.1).fold(0.0_f64, f64::max);
    let mut chart = ChartBuilder::on(panel)
        .caption(title, ("sans-serif", 18))
        .margin(8)
        .x_label_area_size(28)
        .y_label_area_size(48)
        .build_cartesian_2d(0.0..last, 0.0..1.05 * top.max(0.1))?;
    chart.configure_mesh().x_desc("step").draw()?;
    for (index, (name, line)) in names.iter().zip(lines).enumerate() {
        let colour = Palette99::pick(index).mix(1.0);
        chart
            .draw_series(LineSeries::new(line, colour.stroke_width(2)))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour));
    }
    chart.configure_series_labels().border_style(BLACK).background_style(WHITE.mix(0.8)).draw()?;
    Ok(())
}

/// The help used at the end of the run against the budget.
fn adherence(panel: &Panel<'_>, reports: &[StepReport], levels: &[f64]) -> Result<(), Box<dyn Error>> {
    let mut chart = ChartBuilder::on(panel)
        .caption("help used against budget, percent of tokens", ("sans-serif", 18))
        .margin(8)
        .x_label_area_size(28)
        .y_label_area_size(48)
        .build_cartesian_2d(0.0..100.0, 0.0..100.0)?;
    chart.configure_mesh().x_desc("budget").draw()?;
    chart.draw_series(LineSeries::new([(0.0, 0.0), (100.0, 100.0)], BLACK.mix(0.4)))?;
    let used = |level: &f64| {
        let used = reports.last()?.parts.get(&format!("used {:.0}%", 100.0 * level))?;
        Some(Circle::new((100.0 * level, 100.0 * used), 4, BLUE.filled()))
    };
    chart.draw_series(levels.iter().filter_map(used))?;
    Ok(())
}
