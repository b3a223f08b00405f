//! Stacked bars: the system calls per message by name, coloured by purpose.
//!
//! A model that reads and writes makes two calls per message to move bytes. The models differ in
//! the other calls, which find out *when* to move bytes. The colours show this difference.

use crate::results::SyscallRate;

use super::format::Unit;
use super::palette::{Style, draw_marker};
use super::picture::{LINE, MARGIN, Picture, TEXT, fit, text_width, wrap};
use super::svg::{Attributes, Px};

/// A bar for each server.
pub(super) struct StackChart {
    pub title: String,
    pub bars: Vec<Bar>,
}

/// The system calls of one server.
pub(super) struct Bar {
    pub name: String,
    pub style: Style,
    /// The calls by name, the most frequent first; or the reason why there are none.
    pub calls: Result<Vec<SyscallRate>, String>,
}

/// Purposes of system calls. The position of a purpose is the number of its colour (`p0` …).
const PURPOSES: [(&str, &[&str]); 3] = [
    (
        "moves bytes",
        &[
            "read", "readv", "recv", "recvfrom", "recvmsg", "write", "writev", "send", "sendto",
            "sendmsg",
        ],
    ),
    (
        "waits, or asks which sockets are ready",
        &[
            "accept",
            "accept4",
            "clock_nanosleep",
            "epoll_pwait",
            "epoll_pwait2",
            "epoll_wait",
            "futex",
            "io_uring_enter",
            "nanosleep",
            "poll",
            "ppoll",
            "pselect6",
            "sched_yield",
            "select",
        ],
    ),
    (
        "opens, closes, registers",
        &[
            "close",
            "epoll_ctl",
            "eventfd2",
            "fcntl",
            "getpeername",
            "ioctl",
            "setsockopt",
            "shutdown",
            "timerfd_settime",
        ],
    ),
];
/// The purpose of all other calls, which have the fourth colour.
const OTHER: &str = "other";

/// A bar longer than this multiple of the median bar is cut. A server that spins makes thousands of
/// calls per message, and a bar of full length would make all other bars invisible.
const CUT: f64 = 4.0;

/// Height of a bar, in pixels.
const BAR: f64 = 16.0;

/// The number of a call's purpose.
fn purpose(call: &str) -> usize {
    PURPOSES.iter().position(|(_, calls)| calls.contains(&call)).unwrap_or(PURPOSES.len())
}

impl Bar {
    /// All calls per message; `None` without any.
    fn total(&self) -> Option<f64> {
        let calls = self.calls.as_ref().ok()?;
        let total: f64 = calls.iter().map(|call| call.per_message).filter(|n| n.is_finite()).sum();
        (total > 0.0).then_some(total)
    }

    /// The calls by name, as text.
    fn text(&self) -> String {
        match &self.calls {
            Err(reason) => reason.clone(),
            Ok(calls) if calls.is_empty() => "no system calls".to_owned(),
            Ok(calls) => {
                let calls = calls.iter().filter(|call| call.per_message.is_finite());
                let each = calls
                    .map(|call| format!("{} {}", call.name, Unit::Number.format(call.per_message)));
                each.collect::<Vec<_>>().join(" · ")
            }
        }
    }
}

impl StackChart {
    /// Draws the chart `width` pixels wide. Returns the drawing and its height in pixels.
    pub(super) fn draw(&self, width: f64) -> (Picture, f64) {
        let (mut picture, title_end) = Picture::new(&self.title, self.description(), width);
        let mut y = self.draw_legend(&mut picture, title_end, width);
        let full = self.full();
        for bar in &self.bars {
            y = draw_bar(&mut picture, bar, full, y, width);
        }
        (picture, y + 2.0)
    }

    /// The number of calls whose bar has the full width.
    fn full(&self) -> f64 {
        let mut totals: Vec<f64> = self.bars.iter().filter_map(Bar::total).collect();
        totals.sort_by(f64::total_cmp);
        let median = totals.get(totals.len() / 2).copied().unwrap_or(1.0);
        totals.into_iter().filter(|total| *total <= CUT * median).fold(median, f64::max)
    }

    /// Draws the names of the colours. Returns the y below them.
    fn draw_legend(&self, picture: &mut Picture, top: f64, width: f64) -> f64 {
        let (mut x, mut y) = (MARGIN, top + TEXT);
        let names = PURPOSES.iter().map(|(name, _)| *name).chain([OTHER]);
        for (index, name) in names.enumerate() {
            let needed = 16.0 + text_width(name, TEXT) + 12.0;
            if x > MARGIN && x + needed > width {
                (x, y) = (MARGIN, y + LINE);
            }
            picture.rect(&format!("p{index}"), (x, y - 10.0), (11.0, 11.0));
            picture.text("soft", "start", (x + 16.0, y), name);
            x += needed;
        }
        y + 12.0
    }

    /// The chart in words.
    fn description(&self) -> String {
        let bars = self.bars.iter().map(|bar| match bar.total() {
            Some(total) => {
                format!("{}: {} in all, {}.", bar.name, Unit::Number.format(total), bar.text())
            }
            None => format!("{}: {}.", bar.name, bar.text()),
        });
        format!("System calls per message by name. {}", bars.collect::<Vec<_>>().join(" "))
    }
}

/// Draws one server: its name and total, the bar, the calls by name. Returns the y below them.
fn draw_bar(picture: &mut Picture, bar: &Bar, full: f64, top: f64, width: f64) -> f64 {
    let inner = width - 2.0 * MARGIN;
    let text_y = top + TEXT;
    picture.body().element("g", &[("class", &bar.style.class())], |group| {
        draw_marker(group, bar.style, (MARGIN + 6.0, text_y - 4.0), false);
        let name: Attributes = &[("x", &Px(MARGIN + 18.0)), ("y", &Px(text_y))];
        group.text_element("text", name, fit(&bar.name, inner * 0.65));
    });
    let total = bar.total();
    if let Some(total) = total {
        let cut = if total > full { ", bar not to scale" } else { "" };
        let text = format!("{}{cut}", Unit::Number.format(total));
        picture.text("", "end", (width - MARGIN, text_y), text);
    }
    let mut y = text_y + 5.0;
    if let (Some(_), Ok(calls)) = (total, &bar.calls) {
        let mut calls: Vec<&SyscallRate> =
            calls.iter().filter(|call| call.per_message.is_finite()).collect();
        calls.sort_by_key(|call| purpose(&call.name)); // stable: the most frequent first in each
        let mut x = MARGIN;
        for call in calls {
            let length = (call.per_message / full * inner).min(MARGIN + inner - x);
            let class = format!("p{}", purpose(&call.name));
            picture.body().element("g", &[], |group| {
                let tip =
                    format!("{}: {} per message", call.name, Unit::Number.format(call.per_message));
                group.text_element("title", &[], tip);
                // A pixel of card between neighbours keeps them apart.
                let (x, y, length) = (Px(x), Px(y), Px((length - 1.0).max(0.5)));
                let attributes: Attributes = &[
                    ("class", &class),
                    ("x", &x),
                    ("y", &y),
                    ("width", &length),
                    ("height", &BAR),
                ];
                group.leaf("rect", attributes);
            });
            x += length;
        }
        if full < total.unwrap_or_default() {
            let (x, y) = (Px(MARGIN + inner - 24.0), Px(y));
            for offset in [0.0, 8.0] {
                let path = format!("M{x} {y}m{offset} 0h4l-6 {BAR}h-4Z");
                picture.body().leaf("path", &[("class", &"card"), ("d", &path)]);
            }
        }
        y += BAR;
    }
    for line in wrap(&bar.text(), inner / TEXT).into_iter().take(3) {
        y += LINE - 2.0;
        picture.text("soft", "start", (MARGIN, y), line);
    }
    y + 16.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(rates: &[(&str, f64)]) -> Bar {
        let rate = |(name, per_message): &(&str, f64)| SyscallRate {
            name: (*name).to_owned(),
            per_message: *per_message,
        };
        let calls = Ok(rates.iter().map(rate).collect());
        Bar { name: "a".to_owned(), style: Style { hue: 0, marker: 0, line: 0 }, calls }
    }

    #[test]
    fn a_server_that_spins_does_not_hide_the_others() {
        let chart = StackChart {
            title: String::new(),
            bars: vec![bar(&[("read", 2.0)]), bar(&[("read", 3.0)]), bar(&[("recvfrom", 5000.0)])],
        };
        assert_eq!(chart.full(), 3.0);
    }

    #[test]
    fn without_calls_a_bar_has_no_length() {
        let chart =
            StackChart { title: String::new(), bars: vec![bar(&[]), bar(&[("x", f64::NAN)])] };
        let (picture, height) = chart.draw(360.0);
        let text = picture.finish(height, "x").into_string();
        assert!(text.contains("no system calls") && !text.contains("NaN"), "{text}");
    }

    #[test]
    fn every_call_has_one_purpose() {
        assert_eq!(purpose("recvfrom"), 0);
        assert_eq!(purpose("epoll_ctl"), 2);
        assert_eq!(purpose("brk"), 3);
        let all: Vec<_> = PURPOSES.iter().flat_map(|(_, calls)| *calls).collect();
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(all.len(), distinct.len());
    }
}
