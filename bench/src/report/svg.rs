//! A writer of SVG that escapes everything.
//!
//! Names of servers come from users, and reasons come from operating systems. Text reaches the SVG
//! only through [`Svg::text`] or an attribute, and both escape it. Only a `&'static str` can enter
//! unescaped: a string of this program.

use std::fmt::{self, Display, Write};

/// A growing piece of SVG. In a page of maud, it stands as it is: `(svg)`.
#[derive(Clone, Debug, Default)]
pub(super) struct Svg(String);

/// Names and values of an element's attributes.
pub(super) type Attributes<'a> = &'a [(&'static str, &'a dyn Display)];

impl Svg {
    /// Writes `<name …>`, what `inner` writes, and `</name>`.
    pub(super) fn element(
        &mut self,
        name: &'static str,
        attributes: Attributes,
        inner: impl FnOnce(&mut Svg),
    ) {
        self.start(name, attributes);
        self.0.push('>');
        inner(self);
        self.0.push_str("</");
        self.0.push_str(name);
        self.0.push_str(">\n");
    }

    /// Writes an element that holds text only.
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

    /// Writes an element without content: `<name …/>`.
    pub(super) fn leaf(&mut self, name: &'static str, attributes: Attributes) {
        self.start(name, attributes);
        self.0.push_str("/>");
    }

    /// Writes text, escaped.
    pub(super) fn text(&mut self, text: impl Display) {
        // Writing to a String cannot fail.
        let _ = write!(Escaper(&mut self.0), "{text}");
    }

    /// Writes the style sheet as it is. The lifetime keeps data out.
    pub(super) fn style_sheet(&mut self, css: &'static str) {
        self.0.push_str(css);
    }

    /// Writes a finished piece.
    pub(super) fn append(&mut self, piece: &Svg) {
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

impl maud::Render for Svg {
    fn render_to(&self, page: &mut String) {
        page.push_str(&self.0);
    }
}

/// Escapes what is written to it, for text and for quoted attributes.
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
                character => self.0.push(harmless(character)),
            }
        }
        Ok(())
    }
}

/// Returns `character`, or the replacement character for a harmful one: control characters, which
/// XML 1.0 forbids and which steer a terminal, and characters that reverse the direction of text,
/// by which a name could disguise the text after it. Line ends and tabs are harmless.
fn harmless(character: char) -> char {
    match character {
        '\n' | '\t' => character,
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{fffe}' | '\u{ffff}' => {
            char::REPLACEMENT_CHARACTER
        }
        _ if character.is_control() => char::REPLACEMENT_CHARACTER,
        _ => character,
    }
}

/// Returns `text` without harmful characters.
pub(super) fn harmless_text(text: &str) -> String {
    text.chars().map(harmless).collect()
}

/// A coordinate, to a tenth of a pixel. Nobody sees more, and the page stays small.
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
        let mut svg = Svg::default();
        svg.text(text);
        svg.into_string()
    }

    #[test]
    fn text_and_attributes_cannot_become_elements() {
        assert_eq!(text("<script>'\"&"), "&lt;script&gt;&#39;&quot;&amp;");
        let mut svg = Svg::default();
        svg.leaf("path", &[("d", &"\"><script>"), ("x", &Px(1.26))]);
        assert_eq!(svg.into_string(), "<path d=\"&quot;&gt;&lt;script&gt;\" x=\"1.3\"/>");
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
