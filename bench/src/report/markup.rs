//! HTML and SVG, written so that nothing can be forgotten to be escaped.
//!
//! Names of servers come from users, reasons from operating systems. Whatever is not a literal of
//! this program passes through [`Markup::text`] or an attribute, and both escape. There is no other
//! way in.

use std::fmt::{self, Display, Write};

/// A growing piece of HTML or SVG.
#[derive(Clone, Debug, Default)]
pub(super) struct Markup(String);

/// Names and values of an element's attributes.
pub(super) type Attributes<'a> = &'a [(&'static str, &'a dyn Display)];

impl Markup {
    /// `<name …>`, what `inner` writes, and `</name>`.
    pub(super) fn element(
        &mut self,
        name: &'static str,
        attributes: Attributes,
        inner: impl FnOnce(&mut Markup),
    ) {
        self.start(name, attributes);
        self.0.push('>');
        inner(self);
        self.0.push_str("</");
        self.0.push_str(name);
        self.0.push_str(">\n");
    }

    /// An element that holds text only.
    pub(super) fn text_element(
        &mut self,
        name: &'static str,
        attributes: Attributes,
        text: impl Display,
    ) {
        self.start(name, attributes);
        self.0.push('>');
        self.text(text);
        self.0.push_str("</");
        self.0.push_str(name);
        self.0.push('>');
    }

    /// An element without content: `<name …/>`. In HTML only for void elements such as `meta`.
    pub(super) fn leaf(&mut self, name: &'static str, attributes: Attributes) {
        self.start(name, attributes);
        self.0.push_str("/>");
    }

    /// Text, escaped.
    pub(super) fn text(&mut self, text: impl Display) {
        // Writing to a String cannot fail.
        let _ = write!(Escaper(&mut self.0), "{text}");
    }

    /// A literal of this program that is markup already, such as a style sheet. The lifetime keeps
    /// data out.
    pub(super) fn literal(&mut self, markup: &'static str) {
        self.0.push_str(markup);
    }

    /// A finished piece.
    pub(super) fn append(&mut self, piece: &Markup) {
        self.0.push_str(&piece.0);
    }

    /// The text so far.
    pub(super) fn into_string(self) -> String {
        self.0
    }

    fn start(&mut self, name: &'static str, attributes: Attributes) {
        self.0.push('<');
        self.0.push_str(name);
        for (name, value) in attributes {
            self.0.push(' ');
            self.0.push_str(name);
            self.0.push_str("=\"");
            self.text(value);
            self.0.push('"');
        }
    }
}

/// Escapes what is written to it, for text and for quoted attributes alike.
struct Escaper<'a>(&'a mut String);

impl Write for Escaper<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            match character {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                '\n' | '\t' => self.0.push(character),
                _ if is_disallowed(character) => self.0.push(char::REPLACEMENT_CHARACTER),
                _ => self.0.push(character),
            }
        }
        Ok(())
    }
}

/// Characters that XML 1.0 forbids (a single one makes an SVG file unreadable), and those that
/// change the direction of the text after them, so that a name could disguise what follows it.
fn is_disallowed(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        || matches!(character, '\u{fffe}' | '\u{ffff}')
}

/// A coordinate: a tenth of a pixel is finer than anyone sees, and keeps the page small.
#[derive(Clone, Copy, Debug)]
pub(super) struct Px(pub f64);

impl Display for Px {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `+ 0.0` turns -0 into 0.
        let rounded = (self.0 * 10.0).round() / 10.0 + 0.0;
        write!(f, "{}", if rounded.is_finite() { rounded } else { 0.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> String {
        let mut markup = Markup::default();
        markup.text(text);
        markup.into_string()
    }

    #[test]
    fn text_and_attributes_cannot_become_markup() {
        assert_eq!(text("<script>'\"&"), "&lt;script&gt;&#39;&quot;&amp;");
        let mut markup = Markup::default();
        markup.leaf("path", &[("d", &"\"><script>"), ("x", &Px(1.26))]);
        assert_eq!(markup.into_string(), "<path d=\"&quot;&gt;&lt;script&gt;\" x=\"1.3\"/>");
    }

    #[test]
    fn characters_that_xml_forbids_or_that_reverse_text_are_replaced() {
        assert_eq!(text("a\0b\x1b[31m\u{202e}c"), "a\u{fffd}b\u{fffd}[31m\u{fffd}c");
        assert_eq!(text("line\nline\tµ 日本"), "line\nline\tµ 日本");
    }

    #[test]
    fn a_coordinate_is_short_and_always_a_number() {
        let all = [1.0, 1.26, -0.01, f64::NAN, f64::INFINITY].map(|x| Px(x).to_string());
        assert_eq!(all, ["1", "1.3", "0", "0", "0"]);
    }
}
