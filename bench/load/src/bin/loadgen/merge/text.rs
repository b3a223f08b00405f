//! The sum as text.

use std::fmt;

use loadgen::report::{Notes, group_digits};

use super::{Client, Sum};

/// A sum as text, wrapped at a width.
pub(super) struct Text<'a> {
    sum: &'a Sum,
    width: usize,
}

impl Sum {
    /// The sum as text, with notes wrapped at `width` columns.
    pub(super) fn text(&self, width: usize) -> Text<'_> {
        Text { sum: self, width }
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Text { sum: Sum { clients, result, latency, warnings, invalid, .. }, width } = *self;
        writeln!(f, "{} log(s), added up\n", clients.len())?;
        for Client { log, header } in clients {
            writeln!(
                f,
                "  {log}: {} messages in {:.3} s, {} /s, to {}",
                group_digits(header.messages as f64, ' '),
                header.seconds,
                group_digits(header.messages_per_second, ' '),
                header.address
            )?;
        }
        writeln!(
            f,
            "\n  messages     {} in all; {}",
            group_digits(result.messages as f64, ' '),
            match result.messages_per_second {
                Some(rate) => format!("{} /s in all", group_digits(rate, ' ')),
                None => "rate unavailable".to_owned(),
            }
        )?;
        writeln!(
            f,
            "  time         {:.3} s; all clients ran in {:.3} s of it",
            result.seconds, result.common_seconds
        )?;
        write!(f, "{}", latency.text())?;
        if !(warnings.is_empty() && invalid.is_empty()) {
            writeln!(f)?;
        }
        write!(f, "{}", Notes { warnings, invalid, width })
    }
}
