//! The growth curves of bulks, as SVG: time against routes, both logarithmic, readable on light and on dark.

use std::fmt::Write as _;

/// One size.
#[derive(Debug, Clone, Copy)]
pub(super) struct Point {
    pub(super) routes: usize,
    /// Seconds with the whole answer.
    pub(super) whole: f64,
    /// Seconds with the short one.
    pub(super) brief: f64,
    /// Seconds of the floor.
    pub(super) bare: f64,
    /// Highest memory of the service, in megabytes.
    pub(super) memory: f64,
}

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 470.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 40.0;
const TOP: f64 = 90.0;
const BOTTOM: f64 = 60.0;

/// The decades that the axes show: routes from 10^2 to 10^6, seconds from 10^-3 to 10^2.
const ROUTES: (i32, i32) = (2, 6);
const SECONDS: (i32, i32) = (-3, 2);

/// Colours that stand out on white and on black.
const CURVES: [(&str, &str, &str); 3] = [
    ("this service, whole answer", "#d9822b", "0"),
    ("this service, short answer", "#2f9e6e", "0"),
    ("floor: bare SQLite, same rows", "#4f8fe0", "6 4"),
];

fn across(routes: f64) -> f64 {
    let (from, to) = (f64::from(ROUTES.0), f64::from(ROUTES.1));
    LEFT + (routes.log10() - from) / (to - from) * (WIDTH - LEFT - RIGHT)
}

fn down(seconds: f64) -> f64 {
    let (from, to) = (f64::from(SECONDS.0), f64::from(SECONDS.1));
    HEIGHT - BOTTOM - (seconds.log10() - from) / (to - from) * (HEIGHT - TOP - BOTTOM)
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn routes(point: &Point) -> f64 {
    point.routes as f64
}

/// The drawing.
pub(super) fn draw(points: &[Point]) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
         font-family=\"system-ui, sans-serif\" font-size=\"13\">\n\
         <title>Time of a bulk acknowledgement against its size, beside the floor</title>\n\
         <style>.ink {{ fill: #444 }} .grid {{ stroke: #888; stroke-opacity: .35 }}\n\
         @media (prefers-color-scheme: dark) {{ .ink {{ fill: #ccc }} }}</style>\n"
    );
    // Writing to a string does not fail.
    let mut put = |line: std::fmt::Arguments<'_>| {
        let _ = svg.write_fmt(line);
        svg.push('\n');
    };
    for decade in ROUTES.0..=ROUTES.1 {
        let (x, top, bottom) = (across(10_f64.powi(decade)), TOP, HEIGHT - BOTTOM);
        put(format_args!(
            "<path class=\"grid\" d=\"M{x:.1} {top:.1}V{bottom:.1}\"/>"
        ));
        let label = ["100", "1,000", "10,000", "100,000", "1,000,000"]
            .get(usize::try_from(decade - ROUTES.0).unwrap_or_default())
            .copied()
            .unwrap_or_default();
        let y = bottom + 20.0;
        put(format_args!(
            "<text class=\"ink\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">{label}</text>"
        ));
    }
    for decade in SECONDS.0..=SECONDS.1 {
        let (y, right) = (down(10_f64.powi(decade)), WIDTH - RIGHT);
        put(format_args!(
            "<path class=\"grid\" d=\"M{LEFT:.1} {y:.1}H{right:.1}\"/>"
        ));
        let label = ["1 ms", "10 ms", "100 ms", "1 s", "10 s", "100 s"]
            .get(usize::try_from(decade - SECONDS.0).unwrap_or_default())
            .copied()
            .unwrap_or_default();
        let (x, y) = (LEFT - 10.0, y + 4.0);
        put(format_args!(
            "<text class=\"ink\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"end\">{label}</text>"
        ));
    }
    let middle = f64::midpoint(LEFT, WIDTH - RIGHT);
    let y = HEIGHT - 14.0;
    put(format_args!(
        "<text class=\"ink\" x=\"{middle:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">routes in one bulk, \
         HTTP in to answer out</text>"
    ));
    let value: [fn(&Point) -> f64; 3] = [|p| p.whole, |p| p.brief, |p| p.bare];
    for (index, ((name, colour, dash), value)) in CURVES.iter().zip(value).enumerate() {
        let line: Vec<String> = points
            .iter()
            .map(|point| format!("{:.1} {:.1}", across(routes(point)), down(value(point))))
            .collect();
        put(format_args!(
            "<path fill=\"none\" stroke=\"{colour}\" stroke-width=\"2.5\" stroke-dasharray=\"{dash}\" d=\"M{}\"/>",
            line.join("L")
        ));
        for point in points {
            let (x, y) = (across(routes(point)), down(value(point)));
            put(format_args!(
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"{colour}\"/>"
            ));
        }
        let y = 24.0 + 20.0 * f64::from(u32::try_from(index).unwrap_or_default());
        put(format_args!(
            "<path stroke=\"{colour}\" stroke-width=\"2.5\" stroke-dasharray=\"{dash}\" d=\"M{LEFT:.1} {:.1}h34\"/>\
             <text class=\"ink\" x=\"{:.1}\" y=\"{y:.1}\">{name}</text>",
            y - 4.0,
            LEFT + 44.0
        ));
    }
    for point in points {
        let (x, y) = (across(routes(point)), HEIGHT - BOTTOM - 8.0);
        put(format_args!(
            "<text class=\"ink\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\" font-size=\"11\">{:.0} MB</text>",
            point.memory
        ));
    }
    let (x, y) = (WIDTH - RIGHT, TOP - 50.0);
    put(format_args!(
        "<text class=\"ink\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"end\" font-size=\"11\">above the axis: highest \
         memory of the service</text>"
    ));
    svg.push_str("</svg>\n");
    svg
}

#[cfg(test)]
mod tests {
    use super::{Point, across, down, draw};

    #[test]
    fn ten_times_more_is_one_decade_further_everywhere() {
        let steps = [1e2, 1e3, 1e4].map(across);
        assert!((steps[2] - steps[1] - (steps[1] - steps[0])).abs() < 1e-9);
        assert!(down(1.0) > down(10.0), "more time is higher up");
    }

    #[test]
    fn every_point_has_a_mark_on_each_curve() {
        let point = |routes| Point {
            routes,
            whole: 0.02,
            brief: 0.015,
            bare: 0.01,
            memory: 90.0,
        };
        let svg = draw(&[point(100), point(1_000)]);
        assert_eq!(svg.matches("<circle").count(), 6);
        assert!(svg.ends_with("</svg>\n") && !svg.contains("NaN"));
    }
}
