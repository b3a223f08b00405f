//! The parts of every chart: a size, a card, a title, lines, and a description for readers who do
//! not see the picture.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::svg::{Attributes, Px, Svg};

/// Size of ordinary text, in pixels.
pub(super) const TEXT: f64 = 12.0;
/// Height of a line of ordinary text, in pixels.
pub(super) const LINE: f64 = 16.0;
/// Room between a card's edge and what is on it, in pixels.
pub(super) const MARGIN: f64 = 14.0;
/// The start of every chart file. The identifier of the chart follows.
pub(super) const FILE_START: &str =
    r#"<svg xmlns="http://www.w3.org/2000/svg" class="chart" role="img" aria-labelledby=""#;
/// A narrower chart is for a phone. In pixels.
pub(super) const NARROW_MAX: f64 = 450.0;

/// Mean width of a character as a share of the font size. Fonts differ; this is the value of a wide
/// font.
const ADVANCE: f64 = 0.56;

/// Mean width of a character of a title, in ems of ordinary text: the title is larger, and bold.
const TITLE_ADVANCE: f64 = 15.0 * 1.12;
/// Height of a line of a title, in pixels.
const TITLE_LINE: f64 = 20.0;

/// An unfinished drawing.
#[derive(Debug)]
pub(super) struct Picture {
    title: String,
    description: String,
    width: f64,
    body: Svg,
}

impl Picture {
    /// Returns a drawing of `width` pixels with only a title, and the y below the title.
    pub(super) fn new(title: &str, description: String, width: f64) -> (Picture, f64) {
        let mut body = Svg::default();
        let mut y = MARGIN;
        for line in wrap(title, (width - 2.0 * MARGIN) / TITLE_ADVANCE) {
            y += TITLE_LINE;
            let baseline = Px(y - 5.0);
            let attributes: Attributes = &[("class", &"title"), ("x", &MARGIN), ("y", &baseline)];
            body.text_element("text", attributes, line);
        }
        (Picture { title: title.to_owned(), description, width, body }, y + 4.0)
    }

    /// The SVG to draw into.
    pub(super) fn body(&mut self) -> &mut Svg {
        &mut self.body
    }

    /// Draws text. `anchor` says which part of the text is at `x`: "start", "end" or "middle".
    pub(super) fn text(
        &mut self,
        class: &str,
        anchor: &str,
        (x, y): (f64, f64),
        text: impl std::fmt::Display,
    ) {
        let (x, y) = (Px(x), Px(y));
        self.body.text_element(
            "text",
            &[("class", &class), ("text-anchor", &anchor), ("x", &x), ("y", &y)],
            text,
        );
    }

    /// Draws a straight line.
    pub(super) fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        let path = format!("M{} {}L{} {}", Px(from.0), Px(from.1), Px(to.0), Px(to.1));
        self.body.leaf("path", &[("class", &class), ("d", &path)]);
    }

    /// Draws a filled rectangle.
    pub(super) fn rect(&mut self, class: &str, (x, y): (f64, f64), (width, height): (f64, f64)) {
        let (x, y, width, height) = (Px(x), Px(y), Px(width.max(0.0)), Px(height.max(0.0)));
        self.body.leaf(
            "rect",
            &[("class", &class), ("x", &x), ("y", &y), ("width", &width), ("height", &height)],
        );
    }

    /// Returns the finished drawing for a page that has the style sheet. `id` is the prefix of its
    /// identifiers, and `height` is in pixels.
    pub(super) fn finish(self, height: f64, id: &str) -> Svg {
        self.with_style(height, id, None)
    }

    /// Returns the finished drawing as a file. `origin` names the run in the last line of the
    /// picture, since people copy pictures without the page.
    pub(super) fn finish_file(mut self, height: f64, id: &str, origin: &str) -> Svg {
        for (index, line) in wrap(origin, (self.width - 2.0 * MARGIN) / TEXT).iter().enumerate() {
            self.text("soft", "start", (MARGIN, height + index as f64 * LINE), line);
        }
        self.with_style(height + LINE, id, Some(super::CHART_CSS))
    }

    fn with_style(self, height: f64, id: &str, style: Option<&'static str>) -> Svg {
        let mut file = Svg::default();
        let (title_id, description_id) = (format!("{id}-t"), format!("{id}-d"));
        let view = format!("0 0 {} {}", Px(self.width), Px(height));
        let labelled = format!("{title_id} {description_id}");
        let (width, height) = (Px(self.width), Px(height));
        let attributes: Attributes = &[
            ("xmlns", &"http://www.w3.org/2000/svg"),
            ("class", &"chart"),
            ("role", &"img"),
            ("aria-labelledby", &labelled),
            ("viewBox", &view),
            ("width", &width),
            ("height", &height),
        ];
        file.element("svg", attributes, |svg| {
            svg.text_element("title", &[("id", &title_id)], &self.title);
            svg.text_element("desc", &[("id", &description_id)], &self.description);
            if let Some(style) = style {
                svg.element("style", &[], |element| element.style_sheet(style));
            }
            let card: Attributes =
                &[("class", &"card"), ("width", &width), ("height", &height), ("rx", &8)];
            svg.leaf("rect", card);
            svg.append(&self.body);
        });
        file
    }
}

/// The estimated width of `text`, in pixels. `size` is the font size.
pub(super) fn text_width(text: &str, size: f64) -> f64 {
    text.width() as f64 * size * ADVANCE
}

/// Returns `text`, cut to about `width` pixels of ordinary text. An ellipsis marks a cut.
pub(super) fn fit(text: &str, width: f64) -> String {
    let room = (width / (TEXT * ADVANCE)).max(1.0) as usize;
    if text.width() <= room {
        return text.to_owned();
    }
    let mut used = 1; // the ellipsis
    let fits = |letter: &char| {
        used += letter.width().unwrap_or(0);
        used <= room
    };
    text.chars().take_while(fits).chain(['…']).collect()
}

/// Returns `text` in lines of about `ems` times the font size, broken between words, and within a
/// word that is longer than a line.
pub(super) fn wrap(text: &str, ems: f64) -> Vec<String> {
    let room = (ems / ADVANCE).max(8.0) as usize;
    let options = textwrap::Options::new(room).word_splitter(textwrap::WordSplitter::NoHyphenation);
    textwrap::wrap(text, options).into_iter().map(String::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_wrapped_between_words_and_within_long_words() {
        assert_eq!(wrap("one two three", 4.5), ["one two", "three"]);
        assert_eq!(wrap("abcdefghijklmnop", 4.5), ["abcdefgh", "ijklmnop"]);
        assert_eq!(wrap("", 4.5), [""]);
    }

    #[test]
    fn a_long_name_is_cut_at_the_end_of_its_room() {
        assert_eq!(fit("epoll", 100.0), "epoll");
        let cut = fit(&"x".repeat(100), 67.2);
        assert_eq!((cut.chars().count(), cut.ends_with('…')), (10, true));
        // A letter of this script is as wide as two others.
        assert_eq!(fit(&"日".repeat(100), 67.2), "日日日日…");
    }
}
