//! A plot of a ladder: arrival error and load of the core against calls, as SVG.

use std::fmt::Write as _;

use super::report::{CaseReport, StepReport};

/// Size of the picture, and where its axes are.
const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 690.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 360.0;
/// Ends of the logarithmic axis, in powers of ten of a millisecond.
const LOWEST: f64 = -2.0;
const HIGHEST: f64 = 3.0;
const ERROR_COLOUR: &str = "#b3261e";
const LOAD_COLOUR: &str = "#1e5fb3";

/// Draws it.
pub fn plot(report: &CaseReport) -> String {
    let mut steps: Vec<&StepReport> = report.steps.iter().collect();
    steps.sort_by_key(|step| step.calls);
    let most = steps.last().map_or(1, |step| step.calls).max(1) as f64;
    let x = |calls: usize| LEFT + (RIGHT - LEFT) * calls as f64 / most;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <path d=\"M{LEFT} {TOP}V{BOTTOM}H{RIGHT}V{TOP}\" fill=\"none\" stroke=\"#888\"/>\n"
    );
    let mut label = |x: f64, y: f64, anchor: &str, colour: &str, text: &str| {
        let _ = writeln!(
            svg,
            "<text x=\"{x:.0}\" y=\"{y:.0}\" text-anchor=\"{anchor}\" fill=\"{colour}\">{text}</text>"
        );
    };
    for (power, name) in (-2..=3).zip(["0.01", "0.1", "1", "10", "100", "1,000"]) {
        label(LEFT - 8.0, error_y(10f64.powi(power)) + 4.0, "end", ERROR_COLOUR, name);
    }
    for percent in [0, 25, 50, 75, 100] {
        let y = load_y(f64::from(percent) / 100.0) + 4.0;
        label(RIGHT + 8.0, y, "start", LOAD_COLOUR, &format!("{percent} %"));
    }
    for quarter in 0..=4 {
        let calls = (most * f64::from(quarter) / 4.0).round() as usize;
        label(x(calls), BOTTOM + 18.0, "middle", "#333", &calls.to_string());
    }
    let middle = (LEFT + RIGHT) / 2.0;
    let title = format!("{}: {} calls clean on one core", report.case, report.clean);
    label(middle, TOP - 18.0, "middle", "#333", &title);
    label(middle, BOTTOM + 38.0, "middle", "#333", "calls");
    label(LEFT, TOP - 6.0, "middle", ERROR_COLOUR, "p99 arrival error, ms");
    label(RIGHT, TOP - 6.0, "middle", LOAD_COLOUR, "processor");
    let limit = error_y(5.0);
    let _ = writeln!(
        svg,
        "<path d=\"M{LEFT} {limit:.1}H{RIGHT}\" stroke=\"{ERROR_COLOUR}\" stroke-dasharray=\"4 4\"/>"
    );
    for (colour, y) in [
        (
            ERROR_COLOUR,
            &(|step: &StepReport| error_y(step.error_ms.p99)) as &dyn Fn(&StepReport) -> f64,
        ),
        (LOAD_COLOUR, &|step: &StepReport| load_y(step.core)),
    ] {
        let points: Vec<String> =
            steps.iter().map(|step| format!("{:.1},{:.1}", x(step.calls), y(step))).collect();
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            points.join(" ")
        );
        for (point, step) in points.iter().zip(&steps) {
            let (x, y) = point.split_once(',').unwrap_or_default();
            let fill = if step.clean { colour } else { "white" };
            let _ = writeln!(
                svg,
                "<circle cx=\"{x}\" cy=\"{y}\" r=\"3\" fill=\"{fill}\" stroke=\"{colour}\"/>"
            );
        }
    }
    svg.push_str("</svg>\n");
    svg
}

fn error_y(ms: f64) -> f64 {
    let power = ms.max(1e-9).log10().clamp(LOWEST, HIGHEST);
    BOTTOM - (BOTTOM - TOP) * (power - LOWEST) / (HIGHEST - LOWEST)
}

fn load_y(load: f64) -> f64 {
    BOTTOM - (BOTTOM - TOP) * load.clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_where_the_picture_ends() {
        assert!((error_y(0.01) - BOTTOM).abs() < 1e-9);
        assert!((error_y(1e9) - TOP).abs() < 1e-9);
        assert!((error_y(0.0) - BOTTOM).abs() < 1e-9);
        assert!((load_y(1.0) - TOP).abs() < 1e-9);
    }

    #[test]
    fn a_ladder_without_steps_is_drawn_too() {
        let empty = CaseReport {
            case: "pcmu".to_owned(),
            clean: 0,
            broken: None,
            steps: Vec::new(),
            latency: None,
            tear_down_per_second: 0.0,
        };
        assert!(plot(&empty).ends_with("</svg>\n"));
    }
}
