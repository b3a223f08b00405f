//! Stacked bars: what the system calls of a message are, by name, coloured by what they are for.
//!
//! The calls that move bytes are the same two in every model. What a model adds, to find out
//! *when* to make them, is the difference between the models; so that is what the colours show.

use crate::results::SyscallRate;

use super::format::Unit;
use super::markup::{Attributes, Px};
use super::palette::{Style, draw_marker};
use super::picture::{LINE, MARGIN, Picture, TEXT, fit, text_width, wrap};

/// A bar for each server.
pub(super) struct StackChart {
    pub title: String,
    pub bars: Vec<Bar>,
}

/// The system calls of one server.
pub(super) struct Bar {
    pub name: String,
    pub style: Style,
    /// By name, the most frequent first; or why there are none.
    pub calls: Result<Vec<SyscallRate>, String>,
}

/// What a system call is for; the position is the number of its colour (`p0` …).
const PURPOSES: [(&str, &[&str]); 3] = [
    (
        "moves bytes",
        &[
            "read", "readv", "recv", "recvfrom", "recvmsg", "write", "writev", "send", "sendto",
            "sendmsg",
        ],
    ),
    (
        "waits, or asks who is ready",
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
        "keeps the books",
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
/// The fourth colour.
const OTHER: &str = "other";

/// A bar that is more than this many times as long as the median bar is cut: a server that asks
/// again and again makes thousands of calls per message, beside which all others would be
/// invisible.
const CUT: f64 = 4.0;

const BAR: f64 = 16.0;

fn purpose(call: &str) -> usize {
    PURPOSES.iter().position(|(_, calls)| calls.contains(&call)).unwrap_or(PURPOSES.len())
}

impl Bar {
    /// All calls per message.
    fn total(&self) -> Option<f64> {
        let calls = self.calls.as_ref().ok()?;
        let total: f64 = calls.iter().map(|call| call.per_message).filter(|n| n.is_finite()).sum();
        (total > 0.0).then_some(total)
    }

    /// By name, in words.
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
    /// Draws it `width` pixels wide; also says how high it became.
    pub(super) fn draw(&self, width: f64) -> (Picture, f64) {
        let (mut picture, title_end) = Picture::new(&self.title, self.description(), width);
        let mut y = self.draw_legend(&mut picture, title_end, width);
        let full = self.full();
        for bar in &self.bars {
            y = draw_bar(&mut picture, bar, full, y, width);
        }
        (picture, y + 2.0)
    }

    /// The number of calls that fills the width.
    fn full(&self) -> f64 {
        let mut totals: Vec<f64> = self.bars.iter().filter_map(Bar::total).collect();
        totals.sort_by(f64::total_cmp);
        let median = totals.get(totals.len() / 2).copied().unwrap_or(1.0);
        totals.into_iter().filter(|total| *total <= CUT * median).fold(median, f64::max)
    }

    /// Names the colours; says where it ended.
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

/// One server: its name and total, the bar, the calls by name. Says where it ended.
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
        let cut = if total > full { ", the bar is cut" } else { "" };
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
        Bar { name: "a".to_owned(), style: Style { hue: 0, line: 0 }, calls }
    }

    #[test]
    fn a_server_that_asks_again_and_again_does_not_hide_the_others() {
        let chart = StackChart {
            title: String::new(),
            bars: vec![bar(&[("read", 2.0)]), bar(&[("read", 3.0)]), bar(&[("recvfrom", 5000.0)])],
        };
        assert_eq!(chart.full(), 3.0);
    }

    #[test]
    fn without_a_call_there_is_no_length_and_no_division_by_zero() {
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
