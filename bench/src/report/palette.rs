//! The colour, marker and line of a server: the same in every chart and table of every run.
//!
//! The hue and the marker show the package, which is the I/O model. The line shows the variant of
//! the model. All three follow from the server's place in the catalogue, not from its place in the
//! run, so a run of three servers looks like a run of all. `chart.css` defines the hues.

use std::collections::BTreeMap;

use server_process::catalogue::{self, SERVERS};

use crate::results::{Origin, ServerInfo};

use super::svg::{Px, Svg};

/// Hues of the packages of this workspace: `h0` … `h6`. An eighth package has the first hue again,
/// with a marker of its own.
const MODEL_HUES: usize = 7;
/// Markers of the packages of this workspace.
const MODEL_MARKERS: usize = 8;
/// Hue and marker of the yardsticks.
const YARDSTICK: (usize, usize) = (7, 8);
/// Hue and marker of servers that a user added.
const GIVEN: (usize, usize) = (8, 9);
/// Kinds of line: `d0` (solid) … `d8`.
const LINES: usize = 9;
/// The line of the A/A control, which has the hue and the marker of the reference.
const CONTROL_LINE: usize = 2;

/// The look of one server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Style {
    /// Index of a hue, `h0` … `h8` in the style sheet.
    pub hue: usize,
    /// Index of a marker.
    pub marker: usize,
    /// Index of a kind of line, `d0` … `d8` in the style sheet.
    pub line: usize,
}

impl Style {
    /// The classes of the style sheet for this look.
    pub(super) fn class(self) -> String {
        format!("series h{} d{}", self.hue, self.line)
    }
}

/// The looks of the servers of a run, by name.
#[derive(Debug)]
pub(super) struct Palette(BTreeMap<String, Style>);

impl Palette {
    /// The looks of `servers`.
    pub(super) fn of(servers: &[ServerInfo]) -> Palette {
        let mut yardsticks = 0;
        let mut given = 0;
        let mut next = |(hue, marker): (usize, usize)| {
            let count = if (hue, marker) == YARDSTICK { &mut yardsticks } else { &mut given };
            *count += 1;
            Style { hue, marker, line: (*count - 1) % LINES }
        };
        let reference = servers.iter().find(|server| server.reference);
        let original = reference.and_then(|reference| in_catalogue(&reference.name));
        let look = |server: &ServerInfo| match server.origin {
            Origin::Workspace => in_catalogue(&server.name).unwrap_or_else(|| next(GIVEN)),
            Origin::Control => {
                let (hue, marker) =
                    original.map_or(YARDSTICK, |original| (original.hue, original.marker));
                Style { hue, marker, line: CONTROL_LINE }
            }
            Origin::Yardstick => next(YARDSTICK),
            Origin::Given => next(GIVEN),
        };
        let looks: Vec<Style> = servers.iter().map(look).collect();
        Palette(servers.iter().map(|server| server.name.clone()).zip(looks).collect())
    }

    /// The look of the server called `name`.
    pub(super) fn style(&self, name: &str) -> Style {
        let (hue, marker) = GIVEN;
        self.0.get(name).copied().unwrap_or(Style { hue, marker, line: 0 })
    }
}

/// The look of a server of the catalogue: hue and marker by package, line by variant.
fn in_catalogue(name: &str) -> Option<Style> {
    let server = SERVERS.iter().find(|server| server.name == name)?;
    let mut packages: Vec<&str> = SERVERS.iter().map(|server| server.package).collect();
    packages.dedup();
    let package = packages.iter().position(|package| *package == server.package)?;
    let variant = catalogue::of_package(server.package).position(|other| other.name == name)?;
    let (hue, marker) = (package % MODEL_HUES, package % MODEL_MARKERS);
    Some(Style { hue, marker, line: variant % LINES })
}

/// The markers: number of corners, turn in degrees, and the inner radius of a star as a share of
/// the outer radius (1 for a polygon).
const MARKERS: [(u32, f64, f64); 10] = [
    (0, 0.0, 1.0),   // circle
    (4, 45.0, 1.0),  // square
    (3, 0.0, 1.0),   // triangle
    (4, 0.0, 1.0),   // diamond
    (3, 180.0, 1.0), // triangle on its tip
    (3, 90.0, 1.0),  // triangle on its side
    (6, 30.0, 1.0),  // hexagon
    (4, 0.0, 0.4),   // star of four
    (4, 45.0, 0.4),  // cross
    (5, 0.0, 0.45),  // star of five
];

/// Draws the marker of `style` around (x, y). A hollow marker stands for a doubtful figure.
pub(super) fn draw_marker(svg: &mut Svg, style: Style, (x, y): (f64, f64), hollow: bool) {
    let class = if hollow { "hollow" } else { "mark" };
    let (corners, turn, notch) = MARKERS[style.marker % MARKERS.len()];
    if corners == 0 {
        svg.leaf("circle", &[("class", &class), ("cx", &Px(x)), ("cy", &Px(y)), ("r", &4)]);
        return;
    }
    // A shape of few corners encloses less area, so it needs a larger radius to look as large.
    let radius = if corners == 3 || notch < 1.0 { 6.0 } else { 5.2 };
    let steps = corners * 2;
    let mut path = String::new();
    for step in (0..steps).filter(|step| notch < 1.0 || step % 2 == 0) {
        let angle = (turn + f64::from(step) * 360.0 / f64::from(steps)).to_radians();
        let reach = if step % 2 == 0 { radius } else { radius * notch };
        let command = if step == 0 { 'M' } else { 'L' };
        let corner = (Px(x + reach * angle.sin()), Px(y - reach * angle.cos()));
        path += &format!("{command}{} {}", corner.0, corner.1);
    }
    path.push('Z');
    svg.leaf("path", &[("class", &class), ("d", &path)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    const CSS: &str = include_str!("chart.css");

    fn server(name: &str, origin: Origin) -> ServerInfo {
        ServerInfo {
            name: name.to_owned(),
            origin,
            command: vec![],
            reference: name == "epoll-selector",
            spins: false,
            scans: false,
            concurrency: None,
        }
    }

    #[test]
    fn a_server_looks_the_same_in_a_run_of_any_servers() {
        let all: Vec<_> = SERVERS.iter().map(|one| server(one.name, Origin::Workspace)).collect();
        let palette = Palette::of(&all);
        for info in &all {
            let alone = Palette::of(std::slice::from_ref(info));
            assert_eq!(alone.style(&info.name), palette.style(&info.name));
        }
    }

    #[test]
    fn every_server_looks_different_and_the_control_has_the_hue_of_its_original() {
        let mut servers: Vec<_> =
            SERVERS.iter().map(|one| server(one.name, Origin::Workspace)).collect();
        servers.extend(["tokio", "tokio-multi"].map(|name| server(name, Origin::Yardstick)));
        servers.extend(["go", "c"].map(|name| server(name, Origin::Given)));
        let palette = Palette::of(&servers);
        for (index, one) in servers.iter().enumerate() {
            for other in &servers[index + 1..] {
                assert_ne!(palette.style(&one.name), palette.style(&other.name));
            }
        }
        servers.push(server("epoll-selector (again)", Origin::Control));
        let palette = Palette::of(&servers);
        let control = palette.style("epoll-selector (again)");
        assert_eq!(control.hue, palette.style("epoll-selector").hue);
    }

    #[test]
    fn the_style_sheet_has_a_different_rule_for_every_kind_of_line() {
        let rule = |line: usize| {
            let (_, rest) = CSS.split_once(&format!(".chart .d{line} .line {{")).unwrap();
            rest.split_once('}').unwrap().0
        };
        let rules: std::collections::BTreeSet<&str> = (1..LINES).map(rule).collect();
        assert_eq!(rules.len(), LINES - 1);
    }

    /// Linear red, green and blue.
    type Colour = [f64; 3];

    fn colour(hex: &str) -> Colour {
        [1, 3, 5].map(|at| {
            let value = f64::from(u8::from_str_radix(&hex[at..at + 2], 16).unwrap()) / 255.0;
            if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        })
    }

    /// The colours that `selector` sets in the light and in the dark part of the style sheet.
    fn both(selector: &str, property: &str) -> [Colour; 2] {
        let (light, dark) = CSS.split_once("@media").unwrap();
        [light, dark].map(|part| {
            let rule = part.split_once(&format!("{selector} {{")).unwrap().1;
            let rule = rule.split_once('}').unwrap().0;
            let value = rule.rsplit_once(&format!("{property}: ")).unwrap().1;
            colour(&value[..7])
        })
    }

    fn hues() -> [Vec<Colour>; 2] {
        let all: Vec<_> = (0..=GIVEN.0).map(|hue| both(&format!(".h{hue}"), "color")).collect();
        [0, 1].map(|theme| all.iter().map(|pair| pair[theme]).collect())
    }

    fn luminance(colour: Colour) -> f64 {
        0.2126 * colour[0] + 0.7152 * colour[1] + 0.0722 * colour[2]
    }

    /// The contrast of two colours, as WCAG 2 defines it.
    fn contrast(one: Colour, other: Colour) -> f64 {
        let (one, other) = (luminance(one) + 0.05, luminance(other) + 0.05);
        one.max(other) / one.min(other)
    }

    /// What normal eyes see, then eyes without red, green and blue cones (Machado, Oliveira and
    /// Fernandes, 2009).
    const EYES: [[[f64; 3]; 3]; 4] = [
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ],
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ],
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ],
    ];

    fn seen(colour: Colour, eyes: &[[f64; 3]; 3]) -> Colour {
        eyes.map(|row| (0..3).map(|i| row[i] * colour[i]).sum::<f64>().clamp(0.0, 1.0))
    }

    /// The colour in CIELAB, where a distance of 2 is just noticeable.
    fn lab(colour: Colour) -> [f64; 3] {
        let root = |t: f64| if t > 0.008856 { t.cbrt() } else { 7.787 * t + 16.0 / 116.0 };
        let x = root((0.4124 * colour[0] + 0.3576 * colour[1] + 0.1805 * colour[2]) / 0.95047);
        let y = root(luminance(colour));
        let z = root((0.0193 * colour[0] + 0.1192 * colour[1] + 0.9505 * colour[2]) / 1.08883);
        [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
    }

    #[test]
    fn hues_stay_apart_for_every_kind_of_colour_blindness() {
        for hues in hues() {
            for eyes in &EYES {
                let seen: Vec<_> = hues.iter().map(|hue| lab(seen(*hue, eyes))).collect();
                for (index, one) in seen.iter().enumerate() {
                    for other in &seen[index + 1..] {
                        let squares = one.iter().zip(other).map(|(a, b)| (a - b).powi(2));
                        assert!(squares.sum::<f64>().sqrt() > 20.0, "{one:?} {other:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn lines_have_a_contrast_of_3_and_text_of_4_5_on_their_card() {
        let cards = both(".chart .card", "fill");
        for (hues, card) in hues().iter().zip(cards) {
            assert!(hues.iter().all(|hue| contrast(*hue, card) >= 3.0));
        }
        for text in [".chart text", ".chart .soft"] {
            for (text, card) in both(text, "fill").into_iter().zip(cards) {
                assert!(contrast(text, card) >= 4.5);
            }
        }
    }
}
