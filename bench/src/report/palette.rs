//! Which colour, marker and line a server has: the same in every chart and table of every run.
//!
//! The hue and the marker say the package, so the I/O model; the line says the variant of it. They
//! come from the server's place in the catalogue, not from its place in the run, so that a run of
//! three servers paints them as a run of all does. The hues themselves are in `chart.css`.

use std::collections::BTreeMap;

use server_process::catalogue::{self, SERVERS};

use crate::results::{Origin, ServerInfo};

use super::markup::{Markup, Px};

/// Hues of the packages of this workspace: `h0` … `h5`.
const MODEL_HUES: usize = 6;
/// Hue of the yardsticks.
const YARDSTICK_HUE: usize = 6;
/// Hue of servers that a user added.
const GIVEN_HUE: usize = 7;
/// Kinds of line: `d0` (solid) … `d6`.
const LINES: usize = 7;
/// The line of the A/A control, which has the hue of its original.
const CONTROL_LINE: usize = 2;

/// The look of one server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Style {
    /// Index of a hue, and of the marker that goes with it.
    pub hue: usize,
    /// Index of a kind of line.
    pub line: usize,
}

impl Style {
    /// The classes that give an element this look.
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
        let mut next = |hue: usize| {
            let count = if hue == YARDSTICK_HUE { &mut yardsticks } else { &mut given };
            *count += 1;
            Style { hue, line: (*count - 1) % LINES }
        };
        let reference = servers.iter().find(|server| server.reference);
        let original = reference.and_then(|reference| in_catalogue(&reference.name));
        let look = |server: &ServerInfo| match server.origin {
            Origin::Workspace => in_catalogue(&server.name).unwrap_or_else(|| next(GIVEN_HUE)),
            Origin::Control => Style {
                hue: original.map_or(YARDSTICK_HUE, |original| original.hue),
                line: CONTROL_LINE,
            },
            Origin::Yardstick => next(YARDSTICK_HUE),
            Origin::Given => next(GIVEN_HUE),
        };
        let looks: Vec<Style> = servers.iter().map(look).collect();
        Palette(servers.iter().map(|server| server.name.clone()).zip(looks).collect())
    }

    /// The look of the server called `name`.
    pub(super) fn style(&self, name: &str) -> Style {
        self.0.get(name).copied().unwrap_or(Style { hue: GIVEN_HUE, line: 0 })
    }
}

/// Package by package the hues, variant by variant the lines.
fn in_catalogue(name: &str) -> Option<Style> {
    let server = SERVERS.iter().find(|server| server.name == name)?;
    let mut packages: Vec<&str> = SERVERS.iter().map(|server| server.package).collect();
    packages.dedup();
    let package = packages.iter().position(|package| *package == server.package)?;
    let variant = catalogue::of_package(server.package).position(|other| other.name == name)?;
    Some(Style { hue: package % MODEL_HUES, line: variant % LINES })
}

/// Markers by hue: corners, turn in degrees, and for stars how deep the notches are (1: none).
const MARKERS: [(u32, f64, f64); 8] = [
    (0, 0.0, 1.0),   // circle
    (4, 45.0, 1.0),  // square
    (3, 0.0, 1.0),   // triangle
    (4, 0.0, 1.0),   // diamond
    (3, 180.0, 1.0), // triangle on its head
    (6, 30.0, 1.0),  // hexagon
    (4, 45.0, 0.4),  // cross
    (5, 0.0, 0.45),  // star
];

/// Draws the marker of `style` around (x, y); `hollow` says that the figure is doubtful.
pub(super) fn draw_marker(markup: &mut Markup, style: Style, (x, y): (f64, f64), hollow: bool) {
    let class = if hollow { "hollow" } else { "mark" };
    let (corners, turn, notch) = MARKERS[style.hue % MARKERS.len()];
    if corners == 0 {
        markup.leaf("circle", &[("class", &class), ("cx", &Px(x)), ("cy", &Px(y)), ("r", &4)]);
        return;
    }
    // Fewer corners enclose less: they reach farther out to look as large.
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
    markup.leaf("path", &[("class", &class), ("d", &path)]);
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
    fn a_server_looks_the_same_whoever_else_takes_part() {
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

    /// Linear red, green and blue.
    type Colour = [f64; 3];

    fn colour(hex: &str) -> Colour {
        [1, 3, 5].map(|at| {
            let value = f64::from(u8::from_str_radix(&hex[at..at + 2], 16).unwrap()) / 255.0;
            if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        })
    }

    /// What `selector` sets in the light and in the dark part of the style sheet.
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
        let all: Vec<_> = (0..8).map(|hue| both(&format!(".h{hue}"), "color")).collect();
        [0, 1].map(|theme| all.iter().map(|pair| pair[theme]).collect())
    }

    fn luminance(colour: Colour) -> f64 {
        0.2126 * colour[0] + 0.7152 * colour[1] + 0.0722 * colour[2]
    }

    /// Contrast as WCAG 2 defines it.
    fn contrast(one: Colour, other: Colour) -> f64 {
        let (one, other) = (luminance(one) + 0.05, luminance(other) + 0.05);
        one.max(other) / one.min(other)
    }

    /// Seen with normal eyes, without red, green and blue cones (Machado, Oliveira and Fernandes,
    /// 2009).
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

    /// CIELAB, in which a distance of 2 is just noticeable.
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
